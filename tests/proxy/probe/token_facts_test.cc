#include "proxy/probe/token_facts.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/base64.h"
#include "tests/support/catch.h"

using namespace starttls;

namespace {

using Words = std::vector<std::string>;

std::string url_encoded(std::string_view text) {
  auto encoded =
      base64::encode(std::span{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  std::replace(encoded.begin(), encoded.end(), '+', '-');
  std::replace(encoded.begin(), encoded.end(), '/', '_');
  encoded.resize(encoded.find_last_not_of('=') + 1);
  return encoded;
}

std::string jwt(std::string_view claims) {
  return url_encoded(R"({"alg":"RS256","typ":"JWT"})") + '.' + url_encoded(claims) + ".c2ln";
}

constexpr UnixTime second(std::int64_t count) {
  return {std::chrono::seconds{count}};
}

}  // namespace

TEST_CASE("token facts: the claims of a token that a person gave", "[probe][login]") {
  const auto facts = read_token(
      jwt(R"({"aud":"https://outlook.office365.com","iss":"https://sts.windows.net/t/",)"
          R"("iat":1700000000,"nbf":1700000001,"exp":1700003600.5,"appid":"4711",)"
          R"("scp":"SMTP.Send IMAP.AccessAsUser.All","upn":"scan@example.com","sub":"x"})"));
  CHECK(facts.readable);
  CHECK(facts.issued_at == second(1700000000));
  CHECK(facts.not_before == second(1700000001));
  CHECK(facts.expires_at == second(1700003600));
  CHECK(facts.audience == Words{"https://outlook.office365.com"});
  CHECK(facts.scope == Words{"SMTP.Send", "IMAP.AccessAsUser.All"});
  CHECK(facts.roles.empty());
  CHECK(facts.application == "4711");
  CHECK(facts.user == "scan@example.com");
  CHECK(facts.issuer == "https://sts.windows.net/t/");
}

TEST_CASE("token facts: other spellings of the same claims", "[probe][login]") {
  const auto facts =
      read_token(jwt(R"({"aud":["a","b"],"azp":"app","scope":["s","t"],"roles":["SMTP.SendAsApp"],)"
                     R"("preferred_username":"u"})"));
  CHECK(facts.audience == Words{"a", "b"});
  CHECK(facts.scope == Words{"s", "t"});
  CHECK(facts.roles == Words{"SMTP.SendAsApp"});
  CHECK(facts.application == "app");
  CHECK(facts.user == "u");
  CHECK_FALSE(facts.issued_at);
  CHECK_FALSE(facts.expires_at);
}

TEST_CASE("token facts: a token that is no JWT tells nothing", "[probe][login]") {
  // "e30" is "{}".
  for (const auto& token : {std::string("ya29.opaque-token"), std::string(), std::string("a.b.c"),
                            std::string("e30.e30"), std::string("!.e30.c"), jwt("{}") + ".a.b",
                            jwt("[]"), jwt("not json"), std::string("..")}) {
    CAPTURE(token);
    CHECK_FALSE(read_token(token).readable);
  }
}

TEST_CASE("token facts: claims of the wrong kind are left out", "[probe][login]") {
  const auto facts = read_token(jwt(
      R"({"aud":7,"iat":"soon","exp":-1,"nbf":1e300,"scp":{"a":1},"roles":[1,null],"upn":[]})"));
  CHECK(facts.readable);
  CHECK(facts.audience.empty());
  CHECK_FALSE(facts.issued_at);
  CHECK_FALSE(facts.expires_at);
  CHECK_FALSE(facts.not_before);
  CHECK(facts.scope.empty());
  CHECK(facts.roles.empty());
  CHECK(facts.user.empty());
}

TEST_CASE("token facts: texts are printable and bounded", "[probe][login]") {
  const auto facts =
      read_token(jwt("{\"upn\":\"a\\u001b[31mb\\n\",\"aud\":\"" + std::string(5000, 'x') + "\"}"));
  CHECK(facts.user == "a[31mb");
  REQUIRE(facts.audience.size() == 1);
  CHECK(facts.audience[0].size() == 256);
}

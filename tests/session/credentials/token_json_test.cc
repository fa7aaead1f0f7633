#include "lib/session/credentials/token_json.h"

#include <string>
#include <string_view>

#include "lib/base/base64.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::chrono_literals;

namespace {

std::string token_in(std::string_view json) {
  const auto found = read_token_json(json);
  return found ? std::string{found->secret.reveal()} : "none";
}

std::optional<UnixTime> expiry_in(std::string_view payload) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(payload.data());
  auto text = base64::encode({bytes, payload.size()});
  text.resize(text.find_last_not_of('=') + 1);
  for (auto& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return expiry_of_jwt("e30." + text + ".c2ln");
}

}  // namespace

TEST_CASE("token json: the answers of endpoints and of command line tools are read",
          "[session][login]") {
  CHECK(token_in(R"({"token_type":"Bearer","expires_in":3599,"access_token":"ab.c-d_"})") ==
        "ab.c-d_");
  CHECK(token_in(R"({ "accessToken" : "x" , "expiresOn" : "2026-01-01 00:00:00", "n": null })") ==
        "x");
  CHECK(token_in(R"({"a":{"access_token":"no","b":[1,{"c":[]},"d"]},"access_token":"yes"})") ==
        "yes");
  CHECK(token_in(R"({"access_token":"a\u0041\/\"\\"})") == "aA/\"\\");
  CHECK(token_in(R"({"name":"\u00e9\u20ac\ud83d\ude00","access_token":"t"})") == "t");
  CHECK(token_in("{\"t\":true,\"f\":false,\"n\":-1.5e+3,\"access_token\":\"t\"} \t") == "t");
}

TEST_CASE("token json: ends are read as numbers and as texts", "[session][login]") {
  const auto end = [](const std::string& member) {
    return read_token_json("{\"access_token\":\"t\"," + member + "}").value().end;
  };
  CHECK(end("\"expires_in\":60").after == 60s);
  CHECK(end("\"expires_in\":\"60\"").after == 60s);
  CHECK(end("\"expires_in\":60.9").after == 60s);
  CHECK(end("\"expires_in\":-5").after == 0s);
  CHECK(end("\"expires_in\":1e300").after == 100'000'000'000s);
  CHECK_FALSE(end("\"expires_in\":\"soon\"").after);
  CHECK_FALSE(end("\"expires_in\":null").after);
  CHECK_FALSE(end("\"expires_in\":{}").after);
  CHECK(end("\"expires_on\":1700000000").at == UnixTime{1'700'000'000s});
  CHECK(end("\"expires_on\":\"1700000000\"").at == UnixTime{1'700'000'000s});
}

TEST_CASE("token json: anything but one object with one token is refused",
          "[session][login][security]") {
  for (const std::string_view json : {"",
                                      "{",
                                      "{}",
                                      "[]",
                                      "null",
                                      "\"access_token\"",
                                      R"({"access_token":1})",
                                      R"({"access_token":null})",
                                      R"({"access_token":["t"]})",
                                      R"({"access_token":{"a":"t"}})",
                                      R"({"a":{"access_token":"t"}})",
                                      R"({"access_token":"t"}x)",
                                      R"({"access_token":"t"}{})",
                                      R"({"access_token":"t",})",
                                      R"({"access_token":"t" "a":1})",
                                      R"({"access_token" "t"})",
                                      R"({access_token:"t"})",
                                      R"({'access_token':'t'})",
                                      R"({"access_token":"t)",
                                      R"({"access_token":"\x"})",
                                      R"({"access_token":"\u12"})",
                                      R"({"access_token":"\u12g4"})",
                                      R"({"access_token":"a","access_token":"b"})",
                                      R"({"access_token":"a","accessToken":"b"})",
                                      R"({"n":01,"access_token":"t"})",
                                      R"({"n":1.,"access_token":"t"})",
                                      R"({"n":+1,"access_token":"t"})",
                                      R"({"n":1e,"access_token":"t"})",
                                      R"({"n":tru,"access_token":"t"})",
                                      "{\"access_token\":\"a\tb\"}"}) {
    CAPTURE(json);
    CHECK(token_in(json) == "none");
  }
}

TEST_CASE("token json: deep nesting is refused", "[session][login][security]") {
  const auto nested = [](std::size_t depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') +
           ",\"access_token\":\"t\"}";
  };
  CHECK(token_in(nested(10)) == "t");
  CHECK(token_in(nested(16)) == "none");
  CHECK(token_in(nested(100'000)) == "none");
  std::string objects;
  for (int i = 0; i < 50'000; ++i) objects += "{\"a\":";
  CHECK(token_in(objects) == "none");
}

TEST_CASE("token json: every cut of an answer is refused", "[session][login][security]") {
  const std::string_view json =
      R"({"a":[1,{"b":"\u00e9"}],"access_token":"t","expires_in":1e3,"x":true})";
  REQUIRE(token_in(json) == "t");
  for (std::size_t size = 0; size < json.size(); ++size) {
    CHECK(token_in(json.substr(0, size)) == "none");
  }
}

TEST_CASE("token json: a JWT says when it ends", "[session][login]") {
  CHECK(expiry_in(R"({"aud":"x","exp":1700000000,"scp":["a"]})") == UnixTime{1'700'000'000s});
  CHECK(expiry_in(R"({"exp":1700000000.5,"n":"??>>~~"})") == UnixTime{1'700'000'000s});
  CHECK_FALSE(expiry_in(R"({"exp":"1700000000"})"));
  CHECK_FALSE(expiry_in("{}"));
  CHECK_FALSE(expiry_in("x"));
  for (const std::string_view token :
       {"", "a", "a.b", "e30.e30", "..", "e30.e30.x", "a.b.c.d", "e30.e!0.x", "ya29.a0AfB-x"}) {
    CHECK_FALSE(expiry_of_jwt(token));
  }
}

TEST_CASE("token json: an error of a token endpoint is known by its code", "[session][login]") {
  CHECK(endpoint_error_in(R"({"error":"invalid_grant","error_description":"AADSTS700082"})") ==
        "invalid_grant");
  for (const auto* text : {"", "{}", "ya29.t", R"({"error":1})", R"(["error"])", R"({"error")",
                           R"({"error":"a\u001bb"})", R"({"error":"eyJhbGciOi.J9"})"}) {
    CHECK(endpoint_error_in(text).empty());
  }
  CHECK(endpoint_error_in("{\"error\":\"" + std::string(41, 'a') + "\"}").empty());
}

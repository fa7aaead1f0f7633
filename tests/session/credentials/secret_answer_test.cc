#include "lib/session/credentials/secret_answer.h"

#include <string>
#include <string_view>

#include "lib/base/login_settings.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::chrono_literals;
using metrics::SecretFailure;

namespace {

FreshSecret found_in(const SecretAnswer& answer) {
  const auto* const found = std::get_if<FreshSecret>(&answer);
  REQUIRE(found != nullptr);
  return *found;
}

std::string text_of(const SecretAnswer& answer) {
  return std::string{found_in(answer).secret.reveal()};
}

SecretFailure failure_in(const SecretAnswer& answer) {
  const auto* const failure = std::get_if<NoSecret>(&answer);
  REQUIRE(failure != nullptr);
  CHECK(failure->error.code == Errc::login);
  return failure->failure;
}

}  // namespace

TEST_CASE("secret answer: the secret is the first line", "[session][login]") {
  for (const auto* const text : {"pass word", "pass word\n", "pass word\r\n", "pass word\nnext",
                                 "\xEF\xBB\xBFpass word\n"}) {
    INFO(text);
    CHECK(text_of(secret_in(text, true, false)) == "pass word");
  }
  CHECK(text_of(secret_in(" a \n", true, false)) == " a ");  // blanks stay
  CHECK(text_of(secret_in("a\nb", false, false)) == "a");
}

TEST_CASE("secret answer: an empty first line is no secret", "[session][login]") {
  for (const auto* const text :
       {"", "\n", "\r\n", "\nsecret\n", "\xEF\xBB\xBF", "\xEF\xBB\xBF\n"}) {
    CHECK(failure_in(secret_in(text, true, false)) == SecretFailure::empty);
  }
}

TEST_CASE("secret answer: a secret that could be a command is refused",
          "[session][login][security]") {
  CHECK(failure_in(secret_in("a\rb\n", true, false)) == SecretFailure::malformed);
  CHECK(failure_in(secret_in(std::string_view("a\0b\n", 4), true, false)) ==
        SecretFailure::malformed);
  CHECK(failure_in(secret_in("a\x01"
                             "b\n",
                             true, true)) == SecretFailure::malformed);
  CHECK(text_of(secret_in("a\x01"
                          "b\n",
                          true, false)) ==
        "a\x01"
        "b");
}

TEST_CASE("secret answer: a first line that is too long is refused, and what follows is not read",
          "[session][login][security]") {
  const std::string longest(kMaxSecret, 'a');
  CHECK(text_of(secret_in(longest + "\n", true, true)) == longest);
  CHECK(failure_in(secret_in(longest + "a\n", true, true)) == SecretFailure::malformed);
  CHECK(failure_in(secret_in("aaa", false, false)) == SecretFailure::malformed);
  CHECK(text_of(secret_in("a\n\x01\x02{", false, true)) == "a");
}

TEST_CASE("secret answer: JSON is read only for tokens", "[session][login]") {
  const std::string json = R"({"access_token": "abc", "expires_in": 3600})";
  CHECK(text_of(secret_in(json, true, false)) == json);
  const auto found = found_in(secret_in(json + "\r\n", true, true));
  CHECK(found.secret == Secret{"abc"});
  CHECK(found.end.after == 3600s);
  CHECK(text_of(secret_in("\xEF\xBB\xBF  " + json, true, true)) == "abc");
  CHECK(failure_in(secret_in("{\n \"access_token\": \"a\" }\n", true, true)) ==
        SecretFailure::malformed);
  CHECK(failure_in(secret_in(R"({"access_token": ""})", true, true)) == SecretFailure::empty);
}

TEST_CASE("secret answer: a token in JSON is judged like any other", "[session][login][security]") {
  for (const std::string_view token : {"a\\u0001b", "a\\nb", "a\\r", "\\u0000"}) {
    const auto json = "{\"access_token\": \"" + std::string(token) + "\"}";
    CHECK(failure_in(secret_in(json, true, true)) == SecretFailure::malformed);
  }
  const std::string long_one(kMaxSecret + 1, 'a');
  CHECK(failure_in(secret_in("{\"access_token\":\"" + long_one + "\"}", true, true)) ==
        SecretFailure::malformed);
}

TEST_CASE("secret answer: the end of a JWT counts if it is earlier", "[session][login]") {
  // {"exp":1000}
  const std::string jwt = "eyJhbGciOiJub25lIn0.eyJleHAiOjEwMDB9.x";
  CHECK(found_in(secret_in(jwt, true, true)).end.at == UnixTime{1000s});
  CHECK_FALSE(found_in(secret_in(jwt, true, false)).end.at);  // a password may look like one
  const auto both = [&jwt](const std::string& on) {
    return found_in(secret_in("{\"access_token\":\"" + jwt + "\",\"expires_on\":" + on + "}", true,
                              true))
        .end.at;
  };
  CHECK(both("999") == UnixTime{999s});
  CHECK(both("1001") == UnixTime{1000s});
}

TEST_CASE("secret answer: the earlier of two ends counts", "[session][login]") {
  const UnixTime now{100s};
  CHECK_FALSE(SecretEnd{}.as_time(now));
  CHECK(SecretEnd{.after = 10s}.as_time(now) == UnixTime{110s});
  CHECK(SecretEnd{.at = UnixTime{7s}}.as_time(now) == UnixTime{7s});
  CHECK(SecretEnd{.after = 10s, .at = UnixTime{120s}}.as_time(now) == UnixTime{110s});
  CHECK(SecretEnd{.after = 10s, .at = UnixTime{105s}}.as_time(now) == UnixTime{105s});
}

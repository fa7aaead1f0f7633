#include "lib/base/jwt.h"

#include <string>
#include <string_view>

#include "tests/support/catch.h"

using namespace starttls;

namespace {

/// Returns "HEADER|CLAIMS", or "none" if `token` is no JWT.
std::string parts_of(std::string_view token) {
  const auto parts = split_jwt(token);
  if (!parts) return "none";
  return std::string{parts->header.reveal()} + "|" + std::string{parts->claims.reveal()};
}

}  // namespace

TEST_CASE("jwt: header and claims are decoded, the signature is left out", "[base][login]") {
  CHECK(parts_of("e30.eyJhIjoxfQ.c2ln") == R"({}|{"a":1})");
  CHECK(parts_of("e30.eyJhIjoxfQ.not!base64") == R"({}|{"a":1})");
  CHECK(parts_of("YQ.YWI.YWJj") == "a|ab");
  CHECK(parts_of("YWJj.YWJjZA.") == "abc|abcd");
  // The two characters that differ from plain base64.
  CHECK(parts_of("-_-_.YQ.x") == "\xfb\xff\xbf|a");
  CHECK(parts_of("..") == "|");
}

TEST_CASE("jwt: anything but three parts in base64url is refused", "[base][login][security]") {
  for (const std::string_view token :
       {"", "e30", "e30.e30", "e30.e30.x.y", "e30.e30.a.b.c", "e!0.e30.x", "e30.e!0.x", "Y.YQ.x",
        "YR.YQ.x", "ya29.a0AfB-x"}) {
    CAPTURE(token);
    CHECK(parts_of(token) == "none");
  }
}

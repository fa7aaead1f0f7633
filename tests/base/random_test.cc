#include "lib/base/random.h"

#include <set>
#include <string>

#include "tests/support/catch.h"

TEST_CASE("random: tokens have 32 hexadecimal digits, and no two are equal", "[base]") {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string token = starttls::random_token();
    CHECK(token.size() == 32);
    CHECK(token.find_first_not_of("0123456789abcdef") == std::string::npos);
    seen.insert(token);
  }
  CHECK(seen.size() == 1000);
}

#include "lib/session/credentials/password.h"

#include <string>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;

TEST_CASE("password: a text with two dollar signs, and one at its start, is a hash",
          "[session][login]") {
  CHECK(is_hash(Secret{"$y$j9T$x"}));
  CHECK(is_hash(Secret{"$unknown$x"}));
  CHECK_FALSE(is_hash(Secret{"open sesame"}));
  CHECK_FALSE(is_hash(Secret{"$ecret"}));
  CHECK_FALSE(is_hash(Secret{"a$6$b"}));
  CHECK_FALSE(is_hash(Secret{"$"}));
  CHECK_FALSE(is_hash(Secret{}));
}

TEST_CASE("password: only the hashed password has the hash", "[session][login][security]") {
  for (const auto* const hash :
       {"$6$saltsalt$e/"
        "5XKibXPLqVcfjpD.ouauaJrAOL5V0uo80Lt7n7EbRdRiCx3HbQ90yjOHr.G0T.mx79PEMRy8nmtr0qSYhQp1",
        "$5$rounds=1000$saltsalt$nKsyTQBmKz4GdCft0Sv/FbzLiu0y3wFdEXOzudLQLJ5",
        "$y$j75$saltsaltsalt$/t.p6VFaMssrvW9hjFBIPSCdXaaCzdMD9V8t0nx8fL.",
        "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"}) {
    INFO(hash);
    CHECK(has_hash(Secret{"open sesame"}, Secret{hash}));
    CHECK_FALSE(has_hash(Secret{"open sesamf"}, Secret{hash}));
    CHECK_FALSE(has_hash(Secret{}, Secret{hash}));
    CHECK_FALSE(has_hash(Secret{std::string("open sesame\0x", 13)}, Secret{hash}));
    // The library takes at most 512 bytes, and fails beyond.
    CHECK_FALSE(has_hash(Secret{std::string(600, 'a')}, Secret{hash}));
  }
}

TEST_CASE("password: a hash that the library does not know has no password",
          "[session][login][security]") {
  for (const auto* const hash : {"$", "$6$", "$unknown$salt$hash", "$6$saltsalt", "$*0", "$*1"}) {
    INFO(hash);
    CHECK_FALSE(has_hash(Secret{"open sesame"}, Secret{hash}));
  }
}

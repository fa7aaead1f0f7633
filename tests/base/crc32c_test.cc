#include "lib/base/crc32c.h"

#include <string_view>

#include "tests/support/catch.h"

using namespace starttls;

TEST_CASE("crc32c: the check value of the algorithm, computed at once and in pieces", "[base]") {
  Crc32c whole;
  whole.update("123456789");
  CHECK(whole.value() == 0xe3069283U);
  Crc32c pieces;
  for (const char c : std::string_view("123456789")) pieces.update({&c, 1});
  CHECK(pieces.value() == whole.value());
  CHECK(Crc32c{}.value() == 0);
}

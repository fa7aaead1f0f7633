#include "lib/base/secret.h"

#include <string>
#include <type_traits>
#include <utility>

#include "tests/support/catch.h"

namespace starttls {
namespace {

TEST_CASE("a wiped text is empty, and so is its memory") {
  std::string text = "a password that does not fit into a short string";
  const char* const memory = text.data();
  const auto size = text.size();
  wipe(text);
  CHECK(text.empty());
  CHECK(std::string(memory, size) == std::string(size, '\0'));
}

TEST_CASE("a moved secret leaves nothing behind, short or long") {
  for (const char* text : {"short", "one that is long enough to be allocated on the heap"}) {
    Secret from{text};
    const Secret to{std::move(from)};
    CHECK(to.reveal() == text);
    CHECK(from.empty());  // NOLINT(bugprone-use-after-move): that is the point
  }
}

TEST_CASE("secrets compare by all their bytes") {
  CHECK(Secret{"abc"} == Secret{"abc"});
  CHECK_FALSE(Secret{"abc"} == Secret{"abd"});
  CHECK_FALSE(Secret{"abc"} == Secret{"ab"});
  CHECK(Secret{} == Secret{""});
}

TEST_CASE("a secret converts to no text") {
  CHECK_FALSE(std::is_convertible_v<Secret, std::string>);
  CHECK_FALSE(std::is_convertible_v<Secret, std::string_view>);
}

}  // namespace
}  // namespace starttls

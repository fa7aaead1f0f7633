#include "lib/base/secret.h"

#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

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

TEST_CASE("a guard wipes at the end of its scope, unless the memory is kept") {
  std::array<char, 8> buffer{};
  std::string text;
  std::vector<std::uint8_t> bytes;
  const auto fill = [&] {
    buffer.fill('x');
    text.assign(100, 'x');
    bytes.assign(100, 'x');
  };
  fill();
  const char* const memory = text.data();
  {
    const WipeAtEnd wiped_buffer(buffer);
    const WipeAtEnd wiped_text(text);
    const WipeAtEnd wiped_bytes(bytes);
  }
  CHECK(buffer == std::array<char, 8>{});
  CHECK(text.empty());
  CHECK(std::string(memory, 100) == std::string(100, '\0'));
  CHECK(bytes.empty());
  fill();
  {
    WipeAtEnd kept(text);
    kept.keep();
  }
  CHECK(text == std::string(100, 'x'));
}

TEST_CASE("a text that gets more room keeps its content") {
  std::string text = "abc";
  make_room(text, 100);
  CHECK(text == "abc");
  CHECK(text.capacity() >= 100);
  const char* const memory = text.data();
  make_room(text, 50);
  CHECK(text.data() == memory);
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

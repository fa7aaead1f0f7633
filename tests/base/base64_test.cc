#include "lib/base/base64.h"

#include <string>
#include <string_view>

#include "lib/base/pin.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace std::string_literals;

namespace {

std::span<const std::uint8_t> as_uint8(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// Returns the decoded text, or "refused" if `text` is not a valid encoding.
std::string decoded(std::string_view text) {
  const auto out = base64::decode(text);
  return out ? std::string(out->begin(), out->end()) : "refused";
}

}  // namespace

TEST_CASE("base64: the vectors of RFC 4648 section 10, both ways", "[base]") {
  struct Row {
    std::string_view plain;
    std::string_view encoded;
  };
  for (const auto& [plain, encoded] :
       {Row{"", ""}, Row{"f", "Zg=="}, Row{"fo", "Zm8="}, Row{"foo", "Zm9v"},
        Row{"foob", "Zm9vYg=="}, Row{"fooba", "Zm9vYmE="}, Row{"foobar", "Zm9vYmFy"}}) {
    CHECK(base64::encode(as_uint8(plain)) == encoded);
    CHECK(decoded(encoded) == plain);
  }
}

TEST_CASE("base64: every byte comes back, at every length", "[base]") {
  std::string all;
  for (int round = 0; round < 300; ++round) {
    CHECK(decoded(base64::encode(as_uint8(all))) == all);
    all += static_cast<char>(round * 7 & 0xff);
  }
  CHECK(base64::encode(as_uint8("\xfb\xff\xbf")) == "+/+/");
}

TEST_CASE("base64: missing, extra or misplaced padding is refused", "[base]") {
  for (const auto* text : {"Z", "Zg", "Zg=", "Zg===", "Zm9vYg", "Z===", "====", "=",
                           "==", "===", "Zg==Zg==", "Zm=v", "=Zm9", "Zm8=="}) {
    CAPTURE(text);
    CHECK(decoded(text) == "refused");
  }
}

TEST_CASE("base64: only one of several texts for the same bytes is accepted", "[base]") {
  for (const auto* text : {"Zh==", "Zo==", "Z/==", "Zm9=", "Zm+="}) {
    CAPTURE(text);
    CHECK(decoded(text) == "refused");
  }
}

TEST_CASE("base64: no other alphabet, no white space, no NUL", "[base]") {
  for (const auto& text : {"Zm9-"s, "Zm9_"s, "Zm 9v"s, " Zm9v"s, "Zm9v\n"s, "Zm9v\r\n"s, "Zm9\0"s,
                           "Zm9v\0\0\0\0"s, "Zm\xc3\xbc"s, "Zm9v    "s}) {
    CAPTURE(text);
    CHECK(decoded(text) == "refused");
  }
}

TEST_CASE("pin: a pin is written the way it is read", "[base]") {
  const std::string text = "sha256:" + base64::encode(as_uint8(std::string(32, '\x5a')));
  const auto pin = parse_pin(text);
  REQUIRE(pin);
  CHECK(pin->bytes[0] == 0x5a);
  CHECK(pin->bytes[31] == 0x5a);
  CHECK(to_string(*pin) == text);
  CHECK(*pin == *parse_pin(text));
  CHECK_FALSE(*pin == Pin{});
}

TEST_CASE("pin: a text of another kind, size or spelling is refused", "[base]") {
  const auto of_size = [](std::size_t size) {
    return base64::encode(as_uint8(std::string(size, 'x')));
  };
  REQUIRE(parse_pin("sha256:" + of_size(32)));
  for (const auto& text :
       {""s, "sha256:"s, "sha256"s, of_size(32), "sha1:" + of_size(20), "sha256:" + of_size(31),
        "sha256:" + of_size(33), "SHA256:" + of_size(32), "sha256//" + of_size(32),
        "sha256: " + of_size(32), " sha256:" + of_size(32), "sha256:" + of_size(32) + "\n",
        "sha256:" + of_size(32).substr(0, 43), "sha256:" + std::string(64, 'a')}) {
    CAPTURE(text);
    CHECK_FALSE(parse_pin(text));
  }
}

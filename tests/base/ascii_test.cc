#include "lib/base/ascii.h"

#include "tests/support/catch.h"

using namespace starttls;

TEST_CASE("ascii: comparison ignores the case of letters only", "[base]") {
  CHECK(ascii::iequals("StartTLS", "STARTTLS"));
  CHECK_FALSE(ascii::iequals("[", "{"));
  CHECK_FALSE(ascii::iequals("STARTTLS", "STARTTL"));
  CHECK(ascii::istarts_with("starttls x", "STARTTLS"));
  CHECK_FALSE(ascii::istarts_with("start", "STARTTLS"));
  CHECK(ascii::iends_with("scram-sha-1-plus", "-PLUS"));
}

TEST_CASE("ascii: letters, digits and control characters are those of ASCII", "[base]") {
  for (const char c : {'0', '9', 'a', 'z', 'A', 'Z'}) CHECK(ascii::is_alphanumeric(c));
  for (const char c : {'/', ':', '@', '[', '`', '{', '\xe9'})
    CHECK_FALSE(ascii::is_alphanumeric(c));
  for (const char c : {'\0', '\t', '\x1f', '\x7f'}) CHECK(ascii::is_control(c));
  for (const char c : {' ', '~', '\x80', '\x9b'}) CHECK_FALSE(ascii::is_control(c));
}

TEST_CASE("ascii: NUL, CR and LF make more than one line of a text", "[base]") {
  CHECK(ascii::is_one_line(""));
  CHECK(ascii::is_one_line("caf\xc3\xa9\t\x01"));
  for (const char c : {'\0', '\r', '\n'}) CHECK_FALSE(ascii::is_one_line(std::string("a") + c));
}

TEST_CASE("ascii: words are split at the first space", "[base]") {
  CHECK(ascii::first_word("EHLO a b") == "EHLO");
  CHECK(ascii::first_word("QUIT") == "QUIT");
  CHECK(ascii::after_first_word("EHLO  a b ") == "a b");
  CHECK(ascii::after_first_word("QUIT").empty());
}

TEST_CASE("ascii: numbers have digits only, and do not overflow", "[base]") {
  CHECK(ascii::parse_number("0") == 0U);
  CHECK(ascii::parse_number("18446744073709551615") == UINT64_MAX);
  CHECK_FALSE(ascii::parse_number("18446744073709551616"));
  CHECK_FALSE(ascii::parse_number(""));
  CHECK_FALSE(ascii::parse_number("-1"));
  CHECK_FALSE(ascii::parse_number("+1"));
  CHECK_FALSE(ascii::parse_number("5 "));
}

TEST_CASE("ascii: escaped text has no control character, is cut, and shows what it escapes",
          "[base][security]") {
  CHECK(ascii::escape("a\r\n\t\\\"") == "a\\r\\n\\t\\\\\\\"");
  CHECK(ascii::escape(std::string_view{"\0\x1b\xff", 3}) == "\\x00\\x1b\\xff");
  CHECK(ascii::escape("abcdef", 3) == "abc...");
  CHECK(ascii::printable("a\x1b[31mb\xc3\xa9\r\n") == "a[31mb");
  CHECK(ascii::printable(std::string(600, 'x')).size() == 512);
}

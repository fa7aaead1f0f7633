#include "lib/proto/imap_id.h"

#include <string>
#include <string_view>

#include "lib/proto/lines.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;
using namespace std::string_view_literals;
using imap::IdCommand;
using imap::read_id;

namespace {

constexpr LineRules kRules{.end = LineEnd::crlf_or_lf, .violation = Errc::client_protocol};

/// Reads an ID once. Returns "ARGUMENTS|BYTES LEFT" for a whole ID and "BAD|LAST LINE|BYTES LEFT"
/// for a malformed one. If bytes are missing, returns "..." and a "+" per literal that waits. On an
/// error, returns "!" and the reason.
std::string read_once(std::string_view input) {
  const auto id = read_id(input, kRules);
  if (!id.state) {
    CHECK(id.state.error().code == Errc::client_protocol);
    CHECK(id.state.error().evidence.empty());
    return "!" + id.state.error().reason;
  }
  REQUIRE(id.size <= input.size());
  const std::string left(input.substr(id.size));
  switch (*id.state) {
    case IdCommand::State::incomplete:
      return "..." + std::string(id.continuations, '+');
    case IdCommand::State::malformed:
      return "BAD|" + std::string(id.last_line) + '|' + left;
    case IdCommand::State::whole:
      break;
  }
  return id.arguments + '|' + left;
}

/// Does the same, and checks that every shorter input is incomplete or gives the same error.
std::string read(std::string_view input) {
  const auto result = read_once(input);
  const bool failed = result.starts_with('!');
  const auto id = read_id(input, kRules);
  for (std::size_t size = 0; size < input.size(); ++size) {
    const auto part = read_once(input.substr(0, size));
    if (id.state && *id.state != IdCommand::State::incomplete && size >= id.size) break;
    const bool goes_on = part.starts_with("...");
    if (goes_on || (failed && part == result)) continue;
    FAIL_CHECK("cut at " << size << ": " << part);
  }
  return result;
}

/// Returns the ID with these arguments as the server gets it, without its end.
std::string cleaned(std::string_view arguments) {
  const auto result = read(std::string(arguments) + "\r\n");
  return result.substr(0, result.find("\r\n|"));
}

bool is_refused(std::string_view arguments) {
  const auto result = read(std::string(arguments) + "\r\n");
  return result.starts_with("BAD|") && result.ends_with('|');
}

}  // namespace

TEST_CASE("imap id: D15: a plain spelling passes unchanged, with its line's end", "[proto][imap]") {
  for (const std::string_view arguments :
       {"NIL"sv, "(\"name\" \"x\")"sv, "(\"name\" NIL)"sv, "(\"name\" \"\" \"\" NIL)"sv,
        "(\"name\" \"a \\\"b\\\" \\\\ (c) {5} NIL\")"sv, "(\"name\" \"\xc3\xa9\")"sv,
        "(\"a\" \"x-originating-ip\" \"b\" \"x-proxy-ttl\")"sv, ""sv}) {
    for (const std::string_view end : {"\r\n"sv, "\n"sv}) {
      const auto line = std::string(arguments) + std::string(end);
      CHECK(read(line + "b NOOP\r\n") == line + "|b NOOP\r\n");
    }
  }
}

TEST_CASE("imap id: D15: fields about the client's connection are removed",
          "[proto][imap][security]") {
  for (const std::string name :
       {"x-originating-ip", "x-originating-port", "x-connected-ip", "x-connected-port",
        "x-connected-name", "x-proxy-ttl", "x-session-id", "x-session-ext-id", "x-forward-",
        "x-forward-user", "X-ORIGINATING-IP", "X-Proxy-TTL", "x-FORWARD-X"}) {
    INFO(name);
    const auto field = '"' + name + "\" \"192.0.2.1\"";
    CHECK(cleaned("(" + field + ")") == "NIL");
    CHECK(cleaned("(\"" + name + "\" NIL)") == "NIL");
    CHECK(cleaned("(" + field + " \"name\" \"x\")") == "(\"name\" \"x\")");
    CHECK(cleaned("(\"name\" \"x\" " + field + ")") == "(\"name\" \"x\")");
    CHECK(cleaned("(\"name\" \"x\" " + field + " \"y\" NIL)") == "(\"name\" \"x\" \"y\" NIL)");
    CHECK(cleaned("(" + field + " " + field + ")") == "NIL");
    // The same holds for every spelling that a server reads as this name.
    std::string escaped;
    for (const char c : name) escaped += {'\\', c};
    CHECK(cleaned("(\"" + escaped + "\" \"1\")") == "NIL");
    CHECK(cleaned("(\"name\"\"x\"\"" + name + "\"\"1\")") == "(\"name\" \"x\")");
    CHECK(cleaned("  (  \"" + name + "\"   \"1\"  )  ") == "NIL");
    const auto size = std::to_string(name.size());
    CHECK(cleaned("({" + size + "+}\r\n" + name + " {1+}\r\n1)") == "NIL");
    CHECK(cleaned("({" + size + "}\n" + name + "{1}\r\n1)") == "NIL");
    CHECK(cleaned("({00" + size + "+}\r\n" + name + "\"1\")") == "NIL");
  }
  for (const auto* name : {"x-originating", "x-proxy-ttl2", "xx-originating-ip", "x-sessions",
                           "x-originating ip", " x-originating-ip", "x-multiplex", "x-"}) {
    const auto arguments = "(\"" + std::string(name) + "\" \"1\")";
    CHECK(cleaned(arguments) == arguments);
  }
}

TEST_CASE("imap id: D15: the server always gets the same spelling", "[proto][imap][security]") {
  CHECK(cleaned("()") == "NIL");
  CHECK(cleaned("nil") == "NIL");
  CHECK(cleaned("  NIL  ") == "NIL");
  CHECK(cleaned("(\"a\" nIl)") == "(\"a\" NIL)");
  CHECK(cleaned("(\"a\"  \"b\")") == "(\"a\" \"b\")");
  CHECK(cleaned("(\"\\a\" \"\\b\\\\\\\"\")") == "(\"a\" \"b\\\\\\\"\")");
  // A server that reads two quotes as one would see other fields here.
  CHECK(cleaned("(\"a\"\"b\" \"c\" \"x-originating-ip\" \"1\" \"e\"\"f\" \"g\")") ==
        "(\"a\" \"b\" \"c\" \"x-originating-ip\" \"1\" \"e\" \"f\" \"g\")");
}

TEST_CASE("imap id: D14: literals become quoted strings", "[proto][imap]") {
  CHECK(read("({4+}\r\nname {2+}\r\na\")\r\nb NOOP\r\n") == "(\"name\" \"a\\\"\")\r\n|b NOOP\r\n");
  CHECK(read("({4}\r\nname \"x\" {0}\r\n {1}\r\n\\)\n") == "(\"name\" \"x\" \"\" \"\\\\\")\n|");
  CHECK(read("(\"a\" {15+}\r\nb) {5} (NIL\"x\"))\r\n") == "(\"a\" \"b) {5} (NIL\\\"x\\\")\")\r\n|");
  // The text of a literal is neither a command nor a part of the list.
  CHECK(read("(\"a\" {10+}\r\nb STARTTLS)\r\n") == "(\"a\" \"b STARTTLS\")\r\n|");
  CHECK(read("(\"a\" {11+}\r\n\" \"x\" \"y\")x)\r\n") ==
        "(\"a\" \"\\\" \\\"x\\\" \\\"y\\\")x\")\r\n|");
}

TEST_CASE("imap id: D14: literals that wait for a + are counted as they come", "[proto][imap]") {
  CHECK(read("({4}\r\n") == "...+");
  CHECK(read("({4}\r\nname {1}\r") == "...+");
  CHECK(read("({4}\r\nname {1}\r\n") == "...++");
  CHECK(read("({4+}\r\nname {1}\r\n") == "...+");
  CHECK(read("({4+}\r\nnam") == "...");
  const auto whole = read_id("({4}\r\nname {1}\r\nx)\r\n", kRules);
  CHECK(whole.continuations == 2);
  // No + is sent for a literal that is refused.
  const auto refused = read_id("({4}\r\nname {1025}\r\n", kRules);
  CHECK(refused.continuations == 1);
  CHECK(refused.last_line == " {1025}");
  // Literals before an error count, however they arrive.
  CHECK(read_id("({4}\r\nname \0"sv, kRules).continuations == 1);
}

TEST_CASE("imap id: D15: a malformed ID is refused", "[proto][imap][security]") {
  for (const std::string_view arguments : {"("sv,
                                           ")"sv,
                                           "(\"a\")"sv,
                                           "(\"a\" \"b\" \"c\")"sv,
                                           "(\"a\" \"b\""sv,
                                           "(\"a\" \"b"sv,
                                           "(\"a\" \"b\\"sv,
                                           "(\"a\" \"b\\\")"sv,
                                           "\"a\" \"b\""sv,
                                           "(a \"b\")"sv,
                                           "(\"a\" b)"sv,
                                           "(NIL \"b\")"sv,
                                           "(\"a\" NILL)"sv,
                                           "(\"a\" NIL\"b\" NIL)"sv,
                                           "NIL)"sv,
                                           "NIL NIL"sv,
                                           "NIL (\"a\" \"b\")"sv,
                                           "(\"a\" \"b\") x"sv,
                                           "(\"a\" \"b\"))"sv,
                                           "(\"a\" \"b\")(\"c\" \"d\")"sv,
                                           "((\"a\" \"b\"))"sv,
                                           "(\"a\" (\"b\"))"sv,
                                           "((\"x-proxy-ttl\" \"1\"))"sv,
                                           "(\"a\"\t\"b\")"sv,
                                           "\t(\"a\" \"b\")"sv,
                                           "(\"a\" \"b\")\t"sv,
                                           "[\"a\" \"b\"]"sv,
                                           "(\"a\" 'b')"sv,
                                           "*"sv,
                                           "{3}x"sv,
                                           "(\"a\" {3}x"sv,
                                           "(\"a\" {3} "sv,
                                           "(\"a\" {-3}"sv,
                                           "(\"a\" {3-}"sv,
                                           "(\"a\" {+}"sv,
                                           "(\"a\" {}"sv,
                                           "(\"a\" {3++}"sv,
                                           "(\"a\" { 3}"sv,
                                           "(\"a\" {{3}"sv,
                                           "(\"a\" ~{3}"sv,
                                           "(\"a\"{3}{3}"sv,
                                           "(\"a\" \"b{3}"sv,
                                           "(\"a\" b{3}"sv,
                                           "{3}"sv,
                                           "({3} \"b\")"sv,
                                           "NIL {3}"sv,
                                           "(\"a\" \"b\") {3}"sv,
                                           "(\"a\" {1025}"sv,
                                           "(\"a\" {99999999999999999999}"sv,
                                           "(\"a\" {99999999999999999999+}"sv}) {
    INFO(arguments);
    CHECK(is_refused(arguments));
  }
  // Text that no quoted string can hold.
  for (const auto text : {"a\0b"sv, "a\rb"sv, "a\nb"sv, "\r\n\0"sv}) {
    const auto literal = "{3+}\r\n" + std::string(text);
    CHECK(is_refused("(\"a\" " + literal + ")"));
    CHECK(is_refused("(" + literal + " \"a\")"));
    // The first fault counts. The start of the next literal is still known.
    CHECK(read("(\"a\" " + literal + " {5+}\r\nb X\r\n") == "BAD| {5+}|b X\r\n");
  }
}

TEST_CASE("imap id: D15: fields, names and values are bounded", "[proto][imap][security]") {
  const auto fields = [](int count) {
    std::string list;
    for (int i = 0; i < count; ++i) list += list.empty() ? "\"a\" NIL" : " \"a\" NIL";
    return '(' + list + ')';
  };
  CHECK(cleaned(fields(30)) == fields(30));
  CHECK(is_refused(fields(31)));
  const auto field = [](std::size_t name, std::size_t value) {
    return "(\"" + std::string(name, 'n') + "\" \"" + std::string(value, 'v') + "\")";
  };
  CHECK(cleaned(field(30, 1024)) == field(30, 1024));
  CHECK(is_refused(field(31, 1)));
  CHECK(is_refused(field(1, 1025)));
  CHECK(is_refused("({31+}\r\n" + std::string(31, 'n') + " NIL)"));
  CHECK(cleaned("(\"a\" {1024+}\r\n" + std::string(1024, '"') + ")").size() == 8 + 2 * 1024);

  // The whole ID is at most one line, both as it came and as it is passed on.
  const std::string_view too_long = "!client sent an ID that is too long";
  std::string literals = "(";
  for (int i = 0; i < 7; ++i) literals += "\"a\" {1024+}\r\n" + std::string(1024, 'v') + ' ';
  CHECK(read_once(literals) == "...");
  CHECK(read_once(literals + "\"a\" {1024+}\r\n") == too_long);
  CHECK(read_once(literals + "\"a\" \"" + std::string(1024, 'v')) ==
        "!client sent a line that is too long");
  std::string quotes = "(";
  for (int i = 0; i < 5; ++i) quotes += "\"a\" {1024+}\r\n" + std::string(1024, '"') + ' ';
  CHECK(is_refused(quotes + ")"));
}

TEST_CASE("imap id: a line that breaks a rule is refused", "[proto][imap][security]") {
  CHECK(read("(\"a\" \"\0\")\r\n"sv) == "!client sent a NUL");
  CHECK(read("(\"a\" \"\r\")\r\n") == "!client sent a CR without LF");
  CHECK(read("(\"a\" {1+}\r\nb \0)\r\n"sv) == "!client sent a NUL");
  CHECK(read("NIL\r") == "...");
  CHECK(read("") == "...");
  CHECK(read("(\"a\" \"b\nc\")\r\n") == "BAD|(\"a\" \"b|c\")\r\n");
}

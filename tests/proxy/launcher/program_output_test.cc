#include "proxy/launcher/program_output.h"

#include <string>

#include "tests/support/catch.h"

namespace starttls::launcher {
namespace {

constexpr ProgramEnd kSuccess{ProgramEnd::Kind::exited, 0};
constexpr ProgramEnd kStatus1{ProgramEnd::Kind::exited, 1};
constexpr auto kNotShown =
    "exit status 1 (the last line of its standard error is not shown: it may contain a secret)";

std::string failure_after(std::string_view error, std::string_view output = {}) {
  ProgramOutput program;
  program.add_output(output);
  program.add_error(error);
  return program.answer(3, kStatus1).text;
}

TEST_CASE("launcher: the output of a program that succeeds is its answer", "[proxy][launcher]") {
  ProgramOutput program;
  program.add_output("s3cr");
  program.add_error("renewed\n");
  program.add_output("et\nmore\n");
  const auto answer = program.answer(3, kSuccess);
  CHECK(answer.kind == Answer::Kind::output);
  CHECK(answer.id == 3);
  CHECK(answer.text == "s3cret\nmore\n");
}

TEST_CASE("launcher: output that is too long is cut, and that is said", "[proxy][launcher]") {
  ProgramOutput program;
  program.add_output(std::string(kMaxOutput - 1, 'a'));
  program.add_output("a");
  CHECK(program.answer(3, kSuccess).kind == Answer::Kind::output);
  program.add_output("a");
  const auto answer = program.answer(3, kSuccess);
  CHECK(answer.kind == Answer::Kind::beginning);
  CHECK(answer.text.size() == kMaxOutput);
}

TEST_CASE("launcher: a failure says how the program ended, and not its output",
          "[proxy][launcher][security]") {
  CHECK(failure_after("", "s3cret\n") == "exit status 1");
  ProgramOutput program;
  program.add_output("s3cret\n");
  program.add_error("no such account\n");
  CHECK(program.answer(3, {ProgramEnd::Kind::killed, 9}).text ==
        "ended by signal 9: no such account");
  const auto late = program.answer(3, {ProgramEnd::Kind::too_late, 0});
  CHECK(late.kind == Answer::Kind::timeout);
  CHECK(late.text == "did not end in time: no such account");
}

TEST_CASE("launcher: a program that succeeds without a first line has failed, and says why",
          "[proxy][launcher]") {
  const auto* const output = GENERATE("", "\n", "\r\nsecret\n", "\xef\xbb\xbf\n");
  ProgramOutput program;
  program.add_output(output);
  program.add_error("no token today\n");
  const auto answer = program.answer(3, kSuccess);
  CHECK(answer.kind == Answer::Kind::failure);
  CHECK(answer.text == "exit status 0, but the first line of its output is empty: no token today");
}

TEST_CASE("launcher: the last line of standard error is shown, escaped and cut",
          "[proxy][launcher]") {
  CHECK(failure_after("first\nlast\n") == "exit status 1: last");
  CHECK(failure_after("first\nlast") == "exit status 1: last");
  CHECK(failure_after("first\r\nlast\r\n\n  \n") == "exit status 1: last");
  CHECK(failure_after("\x1b[31mno\x07") == "exit status 1: \\x1b[31mno\\x07");
  std::string words;
  for (int i = 0; i < 200; ++i) words += "word ";
  CHECK(failure_after(words).size() <= 320);
}

TEST_CASE("launcher: a line that may have a secret in it is not shown",
          "[proxy][launcher][security]") {
  const auto* const line =
      GENERATE("got eyJhbGci", "header: bearer abc", "key 0123456789abcdefABCDEF-_ is old",
               "token abcdefghijklmnopqrstuvw-X", "token X-abcdefghijklmnopqrstuvw",
               "the secret is s3cret", "value \"s3cret-too\" refused");
  CHECK(failure_after(line, "s3cret\nnext: s3cret-too\n") == kNotShown);
}

TEST_CASE("launcher: common words are shown", "[proxy][launcher]") {
  const auto* const line =
      GENERATE("starttls-token: invalid_grant: authorize box@example.com again",
               "cannot execute /usr/lib/the-program-with-a-name-that-is-long",
               "cannot read /var/lib/starttls-proxy/tokens: Permission denied");
  CHECK(failure_after(line, "") == std::string("exit status 1: ") + line);
}

}  // namespace
}  // namespace starttls::launcher

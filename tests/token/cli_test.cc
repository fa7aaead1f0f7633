#include "token/cli.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace starttls::token {
namespace {

using Action = CommandLine::Action;

CommandLine parsed(std::vector<std::string> arguments) {
  auto command = parse_command_line(std::move(arguments));
  REQUIRE(command);
  return *command;
}

TEST_CASE("command line: each command has its account and its options") {
  auto command = parsed({"authorize", "a@b.c", "--provider", "google", "--client-id=x", "--paste",
                         "--tenant", "t", "--scope", "s", "--store", "/s", "--config", "/c"});
  CHECK(command.action == Action::authorize);
  CHECK(command.account == "a@b.c");
  CHECK(command.choice.provider == "google");
  CHECK(command.choice.client_id == "x");
  CHECK(command.choice.tenant == "t");
  CHECK(command.choice.scope == "s");
  CHECK(command.store == "/s");
  CHECK(command.config == "/c");
  CHECK(command.paste);

  CHECK(parsed({"access", "a"}).action == Action::access);
  CHECK(parsed({"access", "--from-stdin"}).from_stdin);
  CHECK(parsed({"--store", "/s", "list"}).action == Action::list);
  CHECK(parsed({"forget", "a"}).action == Action::forget);
  CHECK(parsed({"--help"}).action == Action::help);
  CHECK(parsed({"access", "-h"}).action == Action::help);
  CHECK(parsed({"help"}).action == Action::help);
  CHECK(parsed({"-V"}).action == Action::version);
}

TEST_CASE("command line: what does not go together is refused, with the usage") {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"fetch"},
      {"authorize"},
      {"access"},
      {"forget"},
      {"list", "a"},
      {"access", "a", "--from-stdin"},
      {"access", "a", "b"},
      {"access", "a", "--provider", "google"},
      {"access", "a", "--paste"},
      {"authorize", "a", "--from-stdin"},
      {"authorize", "a", "--token", "x"},
      {"authorize", "a", "--provider"},
  };
  for (const auto& arguments : wrong) {
    const auto command = parse_command_line(arguments);
    REQUIRE_FALSE(command);
    CHECK(command.error().status == Exit::usage);
    CHECK(command.error().reason.find("Usage: starttls-token") != std::string::npos);
  }
}

TEST_CASE("help: it names the providers") {
  CHECK(help_text().find("--provider NAME    fastmail, google, office365, yahoo\n") !=
        std::string::npos);
}

}  // namespace
}  // namespace starttls::token

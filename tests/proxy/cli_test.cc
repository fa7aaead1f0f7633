#include "proxy/cli.h"

#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "lib/config/schema.h"
#include "tests/support/catch.h"

using namespace starttls;
using Action = CommandLine::Action;
using Arguments = std::vector<std::string>;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string usage_error(const Arguments& arguments) {
  const auto parsed = parse_command_line(arguments);
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().code == Errc::config);
  const auto& text = parsed.error().reason;
  CHECK_THAT(text, ContainsSubstring("\nUsage: starttls-proxy"));
  return text.substr(0, text.find('\n'));
}

const Arguments kOffice = {"--protocol",     "smtp",       "--listen",
                           "127.0.0.1:2525", "--upstream", "smtp.example.com:587"};

Arguments office_and(const Arguments& more) {
  Arguments all = kOffice;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_CASE("command line: a file is run or checked", "[cli]") {
  const auto run = parse_command_line(Arguments{"--config", "a.toml"});
  REQUIRE(run);
  CHECK(run->action == Action::run);
  CHECK(run->config_file == "a.toml");
  CHECK(run->flags.empty());

  const auto check = parse_command_line(Arguments{"--check", "--config=a.toml"});
  REQUIRE(check);
  CHECK(check->action == Action::check);
  CHECK(check->config_file == "a.toml");
}

TEST_CASE("command line: flags make a service, or check it", "[cli]") {
  const auto run = parse_command_line(kOffice);
  REQUIRE(run);
  CHECK(run->action == Action::run);
  CHECK(run->config_file.empty());
  REQUIRE(run->flags.size() == 3);
  CHECK(run->flags[0].name == "--protocol");
  CHECK(run->flags[0].values == Arguments{"smtp"});

  const auto check = parse_command_line(office_and({"--check"}));
  REQUIRE(check);
  CHECK(check->action == Action::check);
}

TEST_CASE("command line: each key's flag arrives with its values, repeated ones in order",
          "[cli]") {
  for (const auto& key : config::keys()) {
    if (key.flag.empty() || key.required) continue;
    CAPTURE(key.flag);
    const auto parsed =
        parse_command_line(office_and({std::string(key.flag), "a", std::string(key.flag), "[b]"}));
    REQUIRE(parsed);
    const auto found =
        std::find_if(parsed->flags.begin(), parsed->flags.end(),
                     [&key](const config::Flag& flag) { return flag.name == key.flag; });
    REQUIRE(found != parsed->flags.end());
    CHECK(found->values == Arguments{"a", "[b]"});
  }
}

TEST_CASE("command line: an empty value counts as a value in both notations", "[cli]") {
  const auto parsed = parse_command_line(
      office_and({"--server-name=", "--ca-file", "", "--hostname=a=b", "--workers", "-1"}));
  REQUIRE(parsed);
  const auto values = [&parsed](std::string_view name) {
    for (const auto& flag : parsed->flags) {
      if (flag.name == name) return flag.values;
    }
    return Arguments{};
  };
  CHECK(values("--server-name") == Arguments{""});
  CHECK(values("--ca-file") == Arguments{""});
  CHECK(values("--hostname") == Arguments{"a=b"});
  CHECK(values("--workers") == Arguments{"-1"});
}

TEST_CASE("command line: a certificate for clients has its two flags", "[cli]") {
  const auto parsed = parse_command_line(
      office_and({"--downstream-tls=starttls", "--chain", "a.pem", "--key=a.key"}));
  REQUIRE(parsed);
  REQUIRE(parsed->flags.size() == 6);
  for (const auto* name : {"--downstream-tls", "--chain", "--key"}) {
    CHECK(std::count_if(parsed->flags.begin(), parsed->flags.end(),
                        [name](const config::Flag& flag) { return flag.name == name; }) == 1);
  }
  CHECK(usage_error({"--config", "a.toml", "--key", "a.key"}) ==
        "--config and --key cannot be used together: write the setting into the file");
}

TEST_CASE("command line: a second value after a flag is refused", "[cli]") {
  CHECK_THAT(usage_error(office_and({"--allow", "::1", "127.0.0.1"})),
             ContainsSubstring("unexpected argument '127.0.0.1'"));
}

TEST_CASE("command line: convert accepts files, --strict and nothing else", "[cli]") {
  const auto convert = parse_command_line(Arguments{"convert", "stunnel.conf"});
  REQUIRE(convert);
  CHECK(convert->action == Action::convert);
  CHECK(convert->files == Arguments{"stunnel.conf"});
  CHECK(parse_command_line(Arguments{"convert", "a", "b"})->files == Arguments{"a", "b"});
  CHECK_FALSE(convert->strict);
  for (const auto& strict : {Arguments{"convert", "--strict", "a"}, {"convert", "a", "--strict"}}) {
    CHECK(parse_command_line(strict)->files == Arguments{"a"});
    CHECK(parse_command_line(strict)->strict);
  }
  CHECK(parse_command_line(Arguments{"convert", "--help"})->action == Action::help);
  for (const auto& wrong :
       {Arguments{"convert"}, Arguments{"convert", ""}, Arguments{"convert", "--check"},
        Arguments{"convert", "a", ""}, Arguments{"convert", "a", "--check"},
        Arguments{"convert", "--strict"}, Arguments{"convert", "--strict=a"}}) {
    CHECK(usage_error(wrong) ==
          "convert takes --strict, the names of files of stunnel, and nothing else");
  }
}

TEST_CASE("command line: help and version need nothing else", "[cli]") {
  CHECK(parse_command_line(Arguments{"--help"})->action == Action::help);
  CHECK(parse_command_line(Arguments{"-h"})->action == Action::help);
  CHECK(parse_command_line(Arguments{"help"})->action == Action::help);
  CHECK(parse_command_line(Arguments{"help", "probe"})->action == Action::help);
  CHECK(parse_command_line(Arguments{"--version"})->action == Action::version);
  CHECK(parse_command_line(Arguments{"-V"})->action == Action::version);
  CHECK(parse_command_line(Arguments{"convert", "-V"})->action == Action::version);
}

TEST_CASE("command line: a check prints JSON if it is asked to", "[cli]") {
  CHECK_FALSE(parse_command_line(office_and({"--check"}))->json);
  for (const auto& arguments :
       {office_and({"--check", "--json"}), Arguments{"--json", "--config", "a.toml", "--check"}}) {
    const auto parsed = parse_command_line(arguments);
    REQUIRE(parsed);
    CHECK(parsed->action == Action::check);
    CHECK(parsed->json);
  }
  CHECK(usage_error({"--config", "a.toml", "--json"}) == "--json needs --check or probe");
}

TEST_CASE("command line: a contradictory command line is a usage error with a reason", "[cli]") {
  CHECK(usage_error({}) ==
        "there are no settings: give --config, or --protocol, --listen and --upstream");
  CHECK(usage_error({"--check"}) ==
        "without --config, these options are missing: --protocol, --listen, --upstream");
  CHECK(usage_error({"--protocol", "smtp", "--upstream", "a:25"}) ==
        "without --config, these options are missing: --listen");
  CHECK(usage_error({"--config", "a.toml", "--upstream", "a:25"}) ==
        "--config and --upstream cannot be used together: write the setting into the file");
  CHECK(usage_error({"--config", "a.toml", "--log-level", "debug"}) ==
        "--config and --log-level cannot be used together: write the setting into the file");
  CHECK(usage_error({"--config", ""}) == "--config: the name of the file is empty");
  CHECK(usage_error({"--confg", "a.toml"}) == "unknown option '--confg': did you mean '--config'?");
  CHECK(usage_error({"--lisen=127.0.0.1:25"}) ==
        "unknown option '--lisen': did you mean '--listen'?");
  CHECK(usage_error({"a.toml"}) == "unexpected argument 'a.toml': did you mean '--config a.toml'?");
  CHECK(usage_error({"--config", "a.toml", "b.toml"}) == "unexpected argument 'b.toml'");
  CHECK(usage_error({"serve"}) == "unexpected argument 'serve'");
  CHECK_THAT(usage_error({"--config"}), ContainsSubstring("--config"));
  CHECK_THAT(usage_error({"--config", "a", "--config", "b"}), ContainsSubstring("--config"));
  CHECK(usage_error({"--check=yes"}) == "unexpected argument 'yes'");
  CHECK_THAT(usage_error(office_and({"--allow"})), ContainsSubstring("--allow"));
}

TEST_CASE("command line: a probe refuses original-destination", "[cli][probe]") {
  CHECK(usage_error({"probe", "--protocol", "imap", "--upstream", "original-destination"}) ==
        "a probe has no client that chose a server: give --upstream the server's address");
}

TEST_CASE("command line: a probe is a service that listens nowhere", "[cli][probe]") {
  const auto probe =
      parse_command_line(Arguments{"probe", "--protocol", "imap", "--upstream=a:143"});
  REQUIRE(probe);
  CHECK(probe->action == Action::probe);
  CHECK_FALSE(probe->json);
  CHECK(probe->config_file.empty());
  const auto listen =
      std::find_if(probe->flags.begin(), probe->flags.end(),
                   [](const config::Flag& flag) { return flag.name == "--listen"; });
  REQUIRE(listen != probe->flags.end());
  CHECK(listen->values == Arguments{"127.0.0.1:0"});

  // The whole command line of a service works too. Its listeners do not matter.
  Arguments whole = {"probe", "--json"};
  whole.insert(whole.end(), kOffice.begin(), kOffice.end());
  const auto of_service = parse_command_line(whole);
  REQUIRE(of_service);
  CHECK(of_service->json);
  CHECK(of_service->flags.size() == 3);
  CHECK(of_service->flags.back().values == Arguments{"127.0.0.1:0"});

  CHECK(parse_command_line(Arguments{"probe", "--help"})->action == Action::help);
  CHECK(parse_command_line(Arguments{"probe", "--version"})->action == Action::version);
}

TEST_CASE("command line: a probe of a service in a file", "[cli][probe]") {
  const auto probe = parse_command_line(Arguments{"probe", "--config", "a.toml"});
  REQUIRE(probe);
  CHECK(probe->action == Action::probe);
  CHECK(probe->config_file == "a.toml");
  CHECK(probe->flags.empty());
  CHECK(probe->service.empty());
  CHECK_FALSE(probe->login.wanted);
  const auto one = parse_command_line(
      Arguments{"probe", "--config=a.toml", "--service", "office", "--login", "scanner", "--json"});
  REQUIRE(one);
  CHECK(one->service == "office");
  CHECK(one->login.wanted);
  CHECK(one->login.account == "scanner");
  CHECK(one->json);
}

TEST_CASE("command line: the account of a login may be left out in a file", "[cli][probe]") {
  for (const auto& arguments : {Arguments{"probe", "--config", "a.toml", "--login"},
                                Arguments{"probe", "--login", "--config", "a.toml"},
                                Arguments{"probe", "--config", "a.toml", "--login="}}) {
    const auto probe = parse_command_line(arguments);
    REQUIRE(probe);
    CHECK(probe->login.wanted);
    CHECK(probe->login.account.empty());
    CHECK(probe->config_file == "a.toml");
  }
}

TEST_CASE("command line: a login without a file of settings", "[cli][probe]") {
  const Arguments server = {"probe", "--protocol", "smtp", "--upstream", "a:587"};
  const auto with = [&server](const Arguments& more) {
    auto whole = server;
    whole.insert(whole.end(), more.begin(), more.end());
    return whole;
  };
  const auto probe =
      parse_command_line(with({"--login", "box", "--login-file", "-", "--login-token"}));
  REQUIRE(probe);
  CHECK(probe->login.account == "box");
  CHECK(probe->login.file == "-");
  CHECK(probe->login.token);
  CHECK(usage_error(with({"--login"})) == "--login needs the name of the account");
  CHECK_THAT(usage_error(with({"--login", "box"})),
             ContainsSubstring("--login needs --login-file"));
  CHECK(usage_error(with({"--login-file", "f"})) == "--login-file needs --login");
  CHECK(usage_error(with({"--login-token"})) == "--login-token needs --login");
  CHECK(usage_error(with({"--service", "a"})) == "--service needs --config");
}

TEST_CASE("command line: options of a probe need a probe", "[cli][probe]") {
  CHECK(usage_error(office_and({"--login", "box"})) == "--login needs probe");
  CHECK(usage_error({"--config", "a.toml", "--service", "a"}) == "--service needs probe");
}

TEST_CASE("command line: a contradictory probe command is a usage error", "[cli][probe]") {
  CHECK(usage_error({"probe"}) == "for a probe, these options are missing: --protocol, --upstream");
  CHECK(usage_error({"probe", "--protocol", "smtp"}) ==
        "for a probe, these options are missing: --upstream");
  constexpr auto* kNotHere = "probe does not take --check";
  CHECK(usage_error({"probe", "--config", "a.toml", "--check"}) == kNotHere);
  CHECK(usage_error({"probe", "--config", "a.toml", "--protocol", "smtp"}) ==
        "--config and --protocol cannot be used together: write the setting into the file");
  CHECK(usage_error({"probe", "--config", ""}) == "--config: the name of the file is empty");
  CHECK(usage_error({"probe", "--protocol", "smtp", "--upstream", "a:25", "--check"}) == kNotHere);
  CHECK(usage_error({"probe", "--protocol", "smtp", "--upstream", "a:25", "--upstream", "b:25"}) ==
        "probe connects to one server at a time: give --upstream once");
  CHECK(usage_error({"probe", "--protocol", "smtp", "a:25"}) == "unexpected argument 'a:25'");
  CHECK(usage_error(office_and({"--json"})) == "--json needs --check or probe");
  CHECK(usage_error(office_and({"probe"})) == "unexpected argument 'probe'");
}

TEST_CASE("command line: typed control characters do not reach the terminal", "[cli][security]") {
  CHECK(usage_error({"--x\x1b[31m"}).find('\x1b') == std::string::npos);
  CHECK(usage_error({"\x1b[31m"}).find('\x1b') == std::string::npos);
}

TEST_CASE("help: it names every flag, in lines that fit a terminal", "[cli]") {
  const auto text = help_text();
  for (const auto& key : config::keys()) {
    if (key.flag.empty()) continue;
    CHECK_THAT(text,
               ContainsSubstring("  " + std::string(key.flag) + " " + std::string(key.operand)));
  }
  for (const auto* own :
       {"--config FILE", "--check", "-V, --version", "-h, --help", "probe", "--json",
        "--help | --version", "man starttls-proxy`", "man starttls-proxy.toml`"}) {
    CHECK_THAT(text, ContainsSubstring(own));
  }
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    CAPTURE(line);
    CHECK(line.size() <= 80);
    rest.remove_prefix(line.size() + 1);
  }
}

TEST_CASE("help: each of its examples is a command line that works", "[cli]") {
  const auto text = help_text();
  std::vector<Action> actions;
  std::string_view rest = text;
  for (auto at = rest.find("\n    starttls-proxy "); at != std::string_view::npos;
       at = rest.find("\n    starttls-proxy ")) {
    rest.remove_prefix(at + 1);
    auto end = rest.find('\n');
    while (rest[end - 1] == '\\') end = rest.find('\n', end + 1);
    Arguments words;
    std::istringstream command{std::string(rest.substr(0, end))};
    for (std::string word; command >> word;) {
      if (word != "\\") words.push_back(word);
    }
    const auto parsed = parse_command_line(Arguments{words.begin() + 1, words.end()});
    REQUIRE(parsed);
    actions.push_back(parsed->action);
  }
  CHECK(actions == std::vector{Action::run, Action::check, Action::probe, Action::probe});
}

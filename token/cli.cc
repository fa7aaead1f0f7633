#include "token/cli.h"

#include <algorithm>
#include <utility>

#include <CLI/CLI.hpp>

#include "lib/base/ascii.h"
#include "token/providers.h"

namespace starttls::token {
namespace {

constexpr std::string_view kUsage =
    "Usage: starttls-token authorize ACCOUNT [--provider NAME] [OPTION ...]\n"
    "       starttls-token access ACCOUNT | access --from-stdin\n"
    "       starttls-token list\n"
    "       starttls-token forget ACCOUNT\n"
    "       starttls-token --help | --version\n";

constexpr std::string_view kOptions =
    "\n"
    "Gets OAuth access tokens for mail accounts, and renews them. ACCOUNT is the name at\n"
    "the provider, such as scan@example.com.\n"
    "\n"
    "Commands:\n"
    "  authorize   once, by a person: a code that is confirmed in a browser\n"
    "  access      prints an access token that can be used for five minutes or longer\n"
    "  list        prints the accounts, and when their tokens end\n"
    "  forget      removes the tokens of an account from this machine\n"
    "\n"
    "Options of all commands:\n"
    "  --config FILE      accounts and clients (/etc/starttls-proxy/tokens.toml)\n"
    "  --store DIR        where the tokens are (/var/lib/starttls-proxy/tokens)\n"
    "\n"
    "Options of authorize, for accounts that the file does not have:\n"
    "  --provider NAME    PROVIDERS\n"
    "  --client-id ID     the client that is registered with the provider\n"
    "  --tenant NAME      the tenant of Microsoft 365\n"
    "  --scope SCOPES     instead of the provider's scopes for mail\n"
    "Further option of authorize:\n"
    "  --paste            no browser on this machine: the address is pasted\n"
    "\n"
    "Option of access:\n"
    "  --from-stdin       the account is the first line of standard input\n"
    "\n"
    "Exit status:\n"
    "  0   success\n"
    "  64  the command line is wrong\n"
    "  66  there is no such account, or no person has authorized it\n"
    "  69  the certificate of the provider is not acceptable\n"
    "  70  memory has run out, or the program has a bug\n"
    "  71  the system refuses something that the program needs\n"
    "  74  the store or the output cannot be read or written\n"
    "  75  no answer, HTTP status 429 or 5xx: it may work later\n"
    "  76  the answer is not one of OAuth\n"
    "  77  the access has ended or was refused: authorize again\n"
    "  78  the configuration is wrong, or the provider refuses the client\n"
    "\n"
    "Manual: `man starttls-token`.\n";

tl::unexpected<Failure> usage(const std::string& what) {
  return failed(Exit::usage,
                what + "\n" + std::string(kUsage) + "`starttls-token --help` lists the options.");
}

/// A command, and what belongs to it.
struct Command {
  std::string_view name;
  CommandLine::Action action;
  bool has_account;
};

constexpr Command kCommands[] = {
    {"authorize", CommandLine::Action::authorize, true},
    {"access", CommandLine::Action::access, true},
    {"list", CommandLine::Action::list, false},
    {"forget", CommandLine::Action::forget, true},
};

Outcome<> check(const CommandLine& command, const Command& known) {
  const bool wants_account = known.has_account && !command.from_stdin;
  if (wants_account && command.account.empty()) return usage("the account is missing");
  if (!wants_account && !command.account.empty()) {
    return usage("unexpected argument '" + ascii::escape(command.account) + "'");
  }
  const auto& choice = command.choice;
  const bool of_authorize = command.paste || !choice.provider.empty() ||
                            !choice.client_id.empty() || !choice.tenant.empty() ||
                            !choice.scope.empty();
  if (of_authorize && command.action != CommandLine::Action::authorize) {
    return usage("--provider, --client-id, --tenant, --scope and --paste belong to authorize");
  }
  if (command.from_stdin && command.action != CommandLine::Action::access) {
    return usage("--from-stdin belongs to access");
  }
  return {};
}

}  // namespace

Outcome<CommandLine> parse_command_line(std::vector<std::string> arguments) {
  CommandLine command;
  bool help = false;
  bool version = false;
  std::string word;
  CLI::App app;
  app.set_help_flag();
  app.add_flag("-h,--help", help);
  app.add_flag("-V,--version", version);
  app.add_option("--config", command.config);
  app.add_option("--store", command.store);
  app.add_option("--provider", command.choice.provider);
  app.add_option("--client-id", command.choice.client_id);
  app.add_option("--tenant", command.choice.tenant);
  app.add_option("--scope", command.choice.scope);
  app.add_flag("--paste", command.paste);
  app.add_flag("--from-stdin", command.from_stdin);
  app.add_option("command", word);
  app.add_option("account", command.account);
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 wants the last one first
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return usage(ascii::escape(error.what()));
  }
  if (help || word == "help") {
    command.action = CommandLine::Action::help;
    return command;
  }
  if (version) {
    command.action = CommandLine::Action::version;
    return command;
  }
  if (word.empty()) return usage("the command is missing");
  const auto* const known =
      std::find_if(std::begin(kCommands), std::end(kCommands),
                   [&word](const Command& each) { return each.name == word; });
  if (known == std::end(kCommands)) {
    return usage("unknown command '" + ascii::escape(word) + "'");
  }
  command.action = known->action;
  if (auto good = check(command, *known); !good) return failed(std::move(good.error()));
  return command;
}

std::string help_text() {
  constexpr std::string_view kPlace = "PROVIDERS";
  std::string text = std::string(kUsage) + std::string(kOptions);
  text.replace(text.find(kPlace), kPlace.size(), provider_names());
  return text;
}

}  // namespace starttls::token

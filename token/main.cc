// starttls-token: OAuth access tokens for mail accounts. See docs/token.md.

#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/log_sink.h"
#include "lib/base/secret.h"
#include "lib/base/standard_descriptors.h"
#include "lib/base/utc.h"
#include "token/access.h"
#include "token/authorize.h"
#include "token/cli.h"
#include "token/failure.h"
#include "token/http.h"
#include "token/listing.h"
#include "token/settings.h"
#include "token/store.h"

namespace starttls::token {
namespace {

void print_error(std::string_view text) {
  log::print_error("starttls-token", text);
}

Outcome<> print(std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return failed(Exit::io,
                    "the output cannot be written: " + std::generic_category().message(errno));
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

/// Reads the account's name and LF, as the proxy writes it to a socket. It may send nothing more.
Outcome<std::string> account_from_stdin() {
  constexpr std::size_t kMaxAccount = 255;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  std::string account;
  while (account.size() <= kMaxAccount) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return failed(Exit::usage, "no account arrived on standard input");
    ::pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) break;
    if (input.revents == 0) continue;
    char c = 0;
    const auto got = ::read(STDIN_FILENO, &c, 1);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    if (c == '\n') return account;
    account += c;
  }
  return failed(Exit::usage, "standard input has no line with an account");
}

/// Becomes the user that the store belongs to, if this is root: the tokens then belong to the same
/// user whichever user runs the command, and root talks to no endpoint.
Outcome<> become_owner(const std::string& store) {
  if (::geteuid() != 0) return {};
  struct ::stat status = {};
  if (::stat(store.c_str(), &status) != 0 || status.st_uid == 0) return {};
  if (::setgroups(1, &status.st_gid) != 0 || ::setgid(status.st_gid) != 0 ||
      ::setuid(status.st_uid) != 0) {
    return failed(Exit::system, "cannot become the owner of " + ascii::escape(store) + ": " +
                                    std::generic_category().message(errno));
  }
  return {};
}

Outcome<Settings> settings_of(const CommandLine& command) {
  Settings settings;
  const bool given = !command.config.empty();
  const std::string path = given ? command.config : std::string(kDefaultConfig);
  if (given || ::access(path.c_str(), F_OK) == 0) {
    auto loaded = load_settings(path);
    if (!loaded) return loaded;
    settings = std::move(*loaded);
  }
  if (!command.store.empty()) settings.store = command.store;
  return settings;
}

Outcome<> forget(const Settings& settings, const std::string& account) {
  if (auto good = check_account(account); !good) return good;
  const auto store = Store::open(settings.store);
  if (!store) return failed(store.error());
  const auto lock = store->lock(account, settings.timeout + std::chrono::seconds{10});
  if (!lock) return failed(lock.error());
  const auto existed = store->forget(account);
  if (!existed) return failed(existed.error());
  if (!*existed) {
    return failed(Exit::no_input, ascii::escape(account) + ": there is no such account");
  }
  return {};
}

Outcome<> print_token(const Surroundings& with, std::string_view account) {
  const auto token = access_token(with, account);
  if (!token) return failed(token.error());
  std::string line;
  line.reserve(token->reveal().size() + 1);
  line += token->reveal();
  line += '\n';
  auto printed = print(line);
  wipe(line);
  return printed;
}

Outcome<> run(const CommandLine& command) {
  if (command.action == CommandLine::Action::help) return print(help_text());
  if (command.action == CommandLine::Action::version) {
    return print("starttls-token " STARTTLS_VERSION "\n");
  }
  auto settings = settings_of(command);
  if (!settings) return failed(std::move(settings.error()));
  if (auto became = become_owner(settings->store); !became) return became;

  const HttpSettings http{.ca_file = settings->ca_file, .limit = settings->timeout};
  const Surroundings with{
      .settings = std::move(*settings),
      .now = [] { return UnixTime::of(std::chrono::system_clock::now()); },
      .make_http = [http] { return make_http(http); },
  };
  switch (command.action) {
    case CommandLine::Action::authorize:
      return authorize(with, command.account, command.choice,
                       command.paste ? Return::by_hand : Return::by_itself);
    case CommandLine::Action::access: {
      if (!command.from_stdin) return print_token(with, command.account);
      const auto account = account_from_stdin();
      if (!account) return failed(account.error());
      return print_token(with, *account);
    }
    case CommandLine::Action::list: {
      const auto text = listing(with.settings, with.now());
      if (!text) return failed(text.error());
      return print(*text);
    }
    case CommandLine::Action::forget:
      return forget(with.settings, command.account);
    case CommandLine::Action::help:
    case CommandLine::Action::version:
      break;
  }
  return {};
}

int main_status(int argc, char** argv) {
  // A core file would contain tokens.
  const ::rlimit none{0, 0};
  if (!open_standard_descriptors() || ::setrlimit(RLIMIT_CORE, &none) != 0) {
    return static_cast<int>(Exit::system);
  }
  (void)std::signal(SIGPIPE, SIG_IGN);
  const auto command = parse_command_line({argv + 1, argv + argc});
  const auto done = command ? run(*command) : failed(command.error());
  if (done) return 0;
  print_error(done.error().reason);
  return static_cast<int>(done.error().status);
}

}  // namespace
}  // namespace starttls::token

int main(int argc, char** argv) {
  try {
    return starttls::token::main_status(argc, argv);
  } catch (const std::exception& error) {
    starttls::token::print_error(error.what());
  } catch (...) {
    starttls::token::print_error("an unknown error");
  }
  return static_cast<int>(starttls::token::Exit::software);
}

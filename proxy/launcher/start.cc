#include "proxy/launcher/start.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/config/load.h"
#include "lib/net/signals.h"
#include "lib/proto/protocols.h"
#include "proxy/confinement/sandbox.h"
#include "proxy/exit_status.h"
#include "proxy/launcher/child.h"
#include "proxy/launcher/launcher.h"

namespace starttls::launcher {
namespace {

/// How long the launcher may take to start.
constexpr int kStartMilliseconds = 10'000;

tl::unexpected<Error> not_started(const std::string& why) {
  return fail(Errc::system, "cannot start the launcher for the programs of logins: " + why);
}

/// Reads the configuration as the proxy does at a reload.
Result<ProgramTable> read_programs(const std::string& config_file) {
  std::vector<std::string_view> protocols;
  for (const auto& protocol : proto::protocols()) protocols.push_back(protocol.name);
  config::Config config;
  const auto problems = config::load_file(config_file, protocols, config);
  if (problems.empty()) return ProgramTable(config);
  return fail(Errc::config, problems.front().where + ": " + problems.front().text);
}

/// Keeps `pair`, and no other descriptor of the proxy. It gets the number 3.
bool keep_only(Descriptor& pair) noexcept {
  constexpr int kPair = STDERR_FILENO + 1;
  Descriptor null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  if (null.get() < 0) return false;
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::dup2(null.get(), fd) < 0) return false;
  }
  null.reset();  // it may have the number that the pair gets
  if (pair.get() != kPair) {
    if (::dup3(pair.get(), kPair, O_CLOEXEC) < 0) return false;
    static_cast<void>(pair.release());  // closed below
    pair = Descriptor{kPair};
  }
  close_from(kPair + 1);
  return true;
}

/// Gives up all rights that executing programs does not need. Programs inherit that: they get no
/// capability back, and setuid has no effect on them.
Result<> give_up_rights(const std::optional<User>& user) {
  auto limited = user ? become(*user, 0) : keep_capabilities(0);
  if (!limited) return limited;
  if (auto forbidden = forbid_core_files(); !forbidden) return forbidden;
  // A change of the user resets the last two, so they come last. Not dumpable: no program can look
  // into the launcher, although it is of the same user.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0) {
    return fail(Errc::system, "cannot give up rights: " + system_text(errno));
  }
  return {};
}

void tell(const Descriptor& pair, Answer::Kind kind, std::string text) {
  const auto packet = to_packet(Answer{kind, 0, std::move(text)});
  static_cast<void>(::send(pair.get(), packet.data(), packet.size(), MSG_NOSIGNAL));
}

/// The launcher's whole life.
[[noreturn]] void be_launcher(Setting setting, const std::optional<User>& user) {
  net::leave_signals_to_others();
  std::signal(SIGCHLD, SIG_DFL);  // an ignored one would leave us without exit statuses
  static_cast<void>(::prctl(PR_SET_NAME, "mail-launcher", 0, 0, 0));
  if (!keep_only(setting.pair)) ::_exit(kExitSystem);
  setting.environment = reduced_environment(user ? user->uid : ::geteuid());
  if (const auto limited = give_up_rights(user); !limited) {
    tell(setting.pair, Answer::Kind::failure, limited.error().reason);
    ::_exit(kExitSystem);
  }
  tell(setting.pair, Answer::Kind::ready, "");
  int status = 0;
  {
    Launcher launcher(std::move(setting));
    if (!launcher.serve()) status = kExitSystem;
  }
  ::_exit(status);
}

/// Waits for the launcher's first words.
Result<> await_ready(const Descriptor& pair) {
  pollfd readable{pair.get(), POLLIN, 0};
  int count = 0;
  do {
    count = ::poll(&readable, 1, kStartMilliseconds);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return not_started(system_text(errno));
  if (count == 0) return not_started("it does not answer");
  std::array<char, kMaxAnswer> packet{};
  const auto size = ::recv(pair.get(), packet.data(), packet.size(), MSG_DONTWAIT);
  if (size < 0) return not_started(system_text(errno));
  const auto answer = parse_answer({packet.data(), static_cast<std::size_t>(size)});
  if (!answer) return not_started("it has ended");
  if (answer->kind != Answer::Kind::ready) return not_started(answer->text);
  return {};
}

}  // namespace

Result<std::optional<Process>> start_if_needed(const std::string& config_file,
                                               const config::Config& config,
                                               const std::optional<User>& user,
                                               const std::function<void()>& forget) {
  if (!has_programs(config)) return std::nullopt;
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return not_started("socketpair: " + system_text(errno));
  }
  Process process{.pair = Descriptor{ends[0]}};
  Setting setting{.proxy = ::getpid(),
                  .pair = Descriptor{ends[1]},
                  .programs = ProgramTable(config),
                  .read_programs = [config_file] { return read_programs(config_file); },
                  .environment = {}};
  process.pid = ::fork();
  if (process.pid < 0) return not_started("fork: " + system_text(errno));
  if (process.pid == 0) {
    process.pair.reset();
    forget();
    be_launcher(std::move(setting), user);
  }
  setting.pair.reset();
  if (auto ready = await_ready(process.pair); !ready) {
    process.pair.reset();
    static_cast<void>(::kill(process.pid, SIGKILL));
    static_cast<void>(::waitpid(process.pid, nullptr, 0));
    return fail(std::move(ready.error()));
  }
  return process;
}

}  // namespace starttls::launcher

#include "proxy/launcher/child.h"

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace starttls::launcher {
namespace {

constexpr std::string_view kDefaultPath =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The status that a shell reports for a program that cannot be executed.
constexpr int kNotExecuted = 127;

struct Pipe {
  Descriptor read;
  Descriptor write;
};

std::optional<Pipe> make_pipe() noexcept {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  Pipe pipe{Descriptor{ends[0]}, Descriptor{ends[1]}};
  const int flags = ::fcntl(ends[0], F_GETFL);
  if (flags < 0 || ::fcntl(ends[0], F_SETFL, flags | O_NONBLOCK) != 0) return std::nullopt;
  return pipe;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const auto& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

/// Ends the child with a line for the log.
[[noreturn]] void give_up(const char* what, const char* about) noexcept {
  const char* const words = std::strerror(errno);
  for (const std::string_view part : {std::string_view(what), std::string_view(about),
                                      std::string_view(": "), std::string_view(words)}) {
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, part.data(), part.size());
  }
  ::_exit(kNotExecuted);
}

/// Resets all signals to their defaults and unblocks them: a program would inherit both.
void forget_signals() noexcept {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// Gives a program its standard descriptors, and no others.
void set_descriptors(int output, int error) noexcept {
  // Ours are above 2, since 0, 1 and 2 are open in the launcher.
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0) give_up("cannot open ", "/dev/null");
  if (::dup2(error, STDERR_FILENO) < 0 || ::dup2(output, STDOUT_FILENO) < 0 ||
      ::dup2(null, STDIN_FILENO) < 0) {
    give_up("cannot set descriptors", "");
  }
  close_from(STDERR_FILENO + 1);
}

[[noreturn]] void become_program(char* const* arguments, char* const* environment, int output,
                                 int error, pid_t launcher) noexcept {
  ::setsid();  // no terminal to ask for a password on, and a group of its own
  set_descriptors(output, error);
  ::umask(S_IRWXG | S_IRWXO);
  if (::chdir("/") != 0) give_up("cannot change to ", "/");
  forget_signals();
  // It does not outlive the launcher.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) give_up("prctl", "");
  if (::getppid() != launcher) ::_exit(kNotExecuted);
  ::execve(arguments[0], arguments, environment);
  give_up("cannot execute ", arguments[0]);
}

}  // namespace

std::string system_text(int number) {
  return std::generic_category().message(number);
}

std::vector<std::string> reduced_environment(uid_t uid) {
  std::vector<std::string> all;
  const char* const path = std::getenv("PATH");
  all.emplace_back(path != nullptr ? std::string("PATH=") + path : std::string(kDefaultPath));
  std::vector<char> buffer(16UL * 1024);
  passwd entry{};
  passwd* found = nullptr;
  static_cast<void>(::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found));
  all.emplace_back(std::string("HOME=") + (found != nullptr ? found->pw_dir : "/"));
  if (const char* const lang = std::getenv("LANG"); lang != nullptr) {
    all.emplace_back(std::string("LANG=") + lang);
  }
  return all;
}

void close_from(int first) noexcept {
  const auto low = static_cast<unsigned>(first);
  if (::syscall(SYS_close_range, low, UINT_MAX, 0) == 0) return;
  // An old kernel, or the filter of a container.
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = 1024;
  for (auto fd = low; fd < limit.rlim_cur; ++fd) ::close(static_cast<int>(fd));
}

std::optional<Child> start_child(const std::vector<std::string>& arguments,
                                 const std::vector<std::string>& environment) {
  auto output = make_pipe();
  auto error = make_pipe();
  if (!output || !error) return std::nullopt;
  const auto argument_list = pointers(arguments);
  const auto environment_list = pointers(environment);
  const pid_t launcher = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return std::nullopt;
  if (pid == 0) {
    become_program(argument_list.data(), environment_list.data(), output->write.get(),
                   error->write.get(), launcher);
  }
  return Child{pid, std::move(output->read), std::move(error->read)};
}

void kill_group(pid_t pid) noexcept {
  ::kill(-pid, SIGKILL);
  ::kill(pid, SIGKILL);  // it may not have its group yet
}

}  // namespace starttls::launcher

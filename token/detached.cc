#include "token/detached.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

#include "lib/base/descriptor.h"

namespace starttls::token {
namespace {

// The result on the pipe: one byte, then the token, or the reason of a failure. The byte is an exit
// status, so 0 is success.

tl::unexpected<Failure> system_error(std::string_view what) {
  return failed(Exit::system, std::string(what) + ": " + std::generic_category().message(errno));
}

void send_result(int fd, char status, std::string_view text) noexcept {
  // A reader that is gone does not matter: the result is in the store. SIGPIPE is ignored.
  if (::write(fd, &status, 1) != 1) return;
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

[[noreturn]] void run_child(const std::function<Outcome<Secret>()>& work, int pipe) noexcept {
  (void)::setsid();
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) (void)std::signal(signal, SIG_IGN);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (null < 0 || ::dup2(null, fd) < 0) ::_exit(static_cast<int>(Exit::system));
  }
  try {
    const auto result = work();
    if (result) {
      send_result(pipe, 0, result->reveal());
    } else {
      send_result(pipe, static_cast<char>(result.error().status), result.error().reason);
    }
  } catch (const std::exception& error) {
    send_result(pipe, static_cast<char>(Exit::software), error.what());
  }
  ::_exit(0);
}

}  // namespace

Outcome<Secret> detached(const std::function<Outcome<Secret>()>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe");
  const Descriptor from{ends[0]};
  Descriptor to{ends[1]};
  const pid_t child = ::fork();
  if (child < 0) return system_error("fork");
  if (child == 0) run_child(work, to.get());
  to.reset();

  constexpr std::size_t kMost = std::size_t{64} << 10U;
  std::string text(kMost, '\0');
  std::size_t size = 0;
  while (size < text.size()) {  // the end is certain, because `work` ends
    const auto got = ::read(from.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  const std::string_view result = std::string_view{text}.substr(0, size);
  if (result.empty()) return failed(Exit::software, "the process that renews the token has ended");
  if (result.front() != 0) {
    return failed(static_cast<Exit>(result.front()), std::string(result.substr(1)));
  }
  Secret token{result.substr(1)};
  wipe(text);
  return token;
}

}  // namespace starttls::token

#include "proxy/supervisor/notifier.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/ascii.h"
#include "proxy/supervisor/environment.h"

namespace starttls {
namespace {

/// The time that we need to end, beyond our own time-outs.
constexpr std::chrono::seconds kSlack{5};

tl::unexpected<Error> unreachable(const std::string& address) {
  return fail(Errc::config, "NOTIFY_SOCKET '" + ascii::escape(address) +
                                "': " + std::generic_category().message(errno));
}

/// Returns the time of CLOCK_MONOTONIC. With it, the supervisor distinguishes the READY of a new
/// reload from that of an older one.
std::string monotonic_microseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto since = std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
  return std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

}  // namespace

Result<Notifier> Notifier::take() {
  const auto address = systemd::take_variable("NOTIFY_SOCKET");
  const systemd::WatchdogVariables watchdog{.period = systemd::take_variable("WATCHDOG_USEC"),
                                            .pid = systemd::take_variable("WATCHDOG_PID")};
  Notifier notifier;
  auto period = systemd::watchdog_period(watchdog, static_cast<std::uint64_t>(::getpid()));
  if (!period) return fail(std::move(period.error()));
  notifier.watchdog_ = *period;
  if (!address || address->empty()) return notifier;

  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const bool abstract = address->front() == '@';
  if (!abstract && address->front() != '/') {
    return fail(Errc::config, "NOTIFY_SOCKET '" + ascii::escape(*address) +
                                  "': neither a path nor the name of an abstract socket");
  }
  errno = ENAMETOOLONG;
  if (address->size() >= sizeof(name.sun_path)) return unreachable(*address);
  std::memcpy(name.sun_path, address->data(), address->size());
  if (abstract) name.sun_path[0] = '\0';
  const auto size = offsetof(sockaddr_un, sun_path) + address->size() + (abstract ? 0 : 1);

  notifier.socket_ = net::Socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const int fd = notifier.socket_.get();
  if (fd < 0 ||
      ::connect(fd, reinterpret_cast<const sockaddr*>(&name), static_cast<socklen_t>(size)) != 0) {
    return unreachable(*address);
  }
  // A supervisor that is slow to read must get READY, so sending may wait. One that does not read
  // must not stop us, so the wait is short. Messages that are repeated do not wait.
  const timeval patience{.tv_sec = 1, .tv_usec = 0};
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)));
  return notifier;
}

void Notifier::ready(std::string_view status) {
  last_status_ = status;
  send("READY=1\nSTATUS=" + last_status_);
}

void Notifier::reloading() {
  send("RELOADING=1\nMONOTONIC_USEC=" + monotonic_microseconds());
}

void Notifier::stopping(std::chrono::milliseconds patience, std::string_view status) {
  last_status_ = status;
  const std::chrono::microseconds longest = patience + kSlack;
  send("STOPPING=1\nEXTEND_TIMEOUT_USEC=" + std::to_string(longest.count()) +
       "\nSTATUS=" + last_status_);
}

void Notifier::alive() {
  send("WATCHDOG=1", Patience::none);
}

void Notifier::status(std::string_view text) {
  if (text == last_status_) return;
  last_status_ = text;
  send("STATUS=" + last_status_, Patience::none);
}

/// Sends a message. It is lost if the supervisor does not read it. Then the supervisor has ended,
/// or will end this process because the message is missing.
void Notifier::send(const std::string& text, Patience patience) {
  if (!is_heard()) return;
  const int flags = patience == Patience::none ? MSG_NOSIGNAL | MSG_DONTWAIT : MSG_NOSIGNAL;
  static_cast<void>(::send(socket_.get(), text.data(), text.size(), flags));
}

}  // namespace starttls

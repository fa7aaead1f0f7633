#include "lib/net/signals.h"

#include <csignal>
#include <string>
#include <utility>

#include "lib/net/address.h"

namespace starttls::net {

Signals::Signals(Loop& loop, std::function<void(int)> on_signal)
    : loop_(loop), on_signal_(std::move(on_signal)) {}

Result<> Signals::open(std::initializer_list<int> numbers) {
  for (const int number : numbers) {
    if (const int status = open(number); status != 0) {
      return fail(Errc::system,
                  "cannot watch the signal " + std::to_string(number) + ": " + error_text(status));
    }
  }
  return {};
}

/// Returns libuv's status.
int Signals::open(int number) {
  auto* const handle = new uv_signal_t{};
  if (const int status = uv_signal_init(loop_.raw(), handle); status != 0) {
    delete handle;  // libuv has not taken it
    return status;
  }
  handles_.push_back(handle);
  handle->data = this;
  return uv_signal_start(
      handle,
      [](uv_signal_t* signal, int received) noexcept {
        static_cast<Signals*>(signal->data)->on_signal_(received);
      },
      number);
}

Signals::~Signals() {
  // With the last handle libuv restores the default action, so a signal would kill us just before
  // the end. Block them.
  sigset_t ours;
  sigemptyset(&ours);
  for (const uv_signal_t* handle : handles_) sigaddset(&ours, handle->signum);
  ::pthread_sigmask(SIG_BLOCK, &ours, nullptr);
  for (uv_signal_t* handle : handles_) {
    uv_close(reinterpret_cast<uv_handle_t*>(handle),
             [](uv_handle_t* closed) noexcept { delete reinterpret_cast<uv_signal_t*>(closed); });
  }
}

void leave_signals_to_others() noexcept {
  sigset_t others;
  sigfillset(&others);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
    sigdelset(&others, fault);
  }
  ::pthread_sigmask(SIG_BLOCK, &others, nullptr);
}

void ignore_signals_of_writes() noexcept {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace starttls::net

#include "lib/net/signals.h"

#include <csignal>
#include <utility>

namespace starttls::net {

Signals::Signals(Loop& loop, std::initializer_list<int> numbers, std::function<void(int)> on_signal)
    : on_signal_(std::move(on_signal)) {
  for (const int number : numbers) {
    auto* handle = handles_.emplace_back(new uv_signal_t{});
    expect_success(uv_signal_init(loop.raw(), handle));
    handle->data = this;
    expect_success(uv_signal_start(
        handle,
        [](uv_signal_t* signal, int received) noexcept {
          static_cast<Signals*>(signal->data)->on_signal_(received);
        },
        number));
  }
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

#include "proxy/last_words.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <thread>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include "lib/net/exhaustion.h"
#include "proxy/exit_status.h"

namespace starttls {
namespace {

constexpr const char* kMessage = "ended by an unexpected exception";
/// How long other threads wait for the first one that reports.
constexpr std::chrono::seconds kPatience{1};

std::atomic<log::Logger*> current_log{nullptr};
std::atomic_flag is_reported = ATOMIC_FLAG_INIT;
thread_local bool speaking = false;

/// Writes the line without allocating memory, since there may be none.
void write_standard_error(const char* reason) noexcept {
  std::array<char, 512> line{};
  static_cast<void>(
      std::snprintf(line.data(), line.size(), "starttls-proxy: %s: %.400s\n", kMessage, reason));
  const std::string_view text(line.data());
  // Do not wait for a pipe that is not read. The loss of the line cannot be reported either.
  pollfd ready{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return;
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

void tell(const char* reason) noexcept {
  auto* const log = current_log.load();
  if (log == nullptr || !log->last_words(kMessage, reason)) write_standard_error(reason);
}

/// Lets one thread report. All others end the process here.
void report_once() noexcept {
  if (std::exchange(speaking, true)) std::_Exit(kExitSoftware);  // while reporting
  if (!is_reported.test_and_set()) return;
  std::this_thread::sleep_for(kPatience);
  std::_Exit(kExitSoftware);
}

[[noreturn]] void on_terminate() noexcept {
  report_once();
  if (const auto exception = std::current_exception(); exception == nullptr) {
    tell("terminated without an exception");
  } else {
    try {
      std::rethrow_exception(exception);
    } catch (const std::exception& error) {
      tell(error.what());
    } catch (...) {
      tell("an exception of an unknown kind");
    }
  }
  std::_Exit(kExitSoftware);
}

/// Ends the process as std::bad_alloc does.
void on_exhaustion() noexcept {
  report_once();
  tell("std::bad_alloc");
  std::_Exit(kExitSoftware);
}

}  // namespace

void end_with_last_words() noexcept {
  std::set_terminate(&on_terminate);
  net::on_memory_exhausted(&on_exhaustion);
}

LastWordsInLog::LastWordsInLog(log::Logger& log) noexcept {
  current_log = &log;
}

LastWordsInLog::~LastWordsInLog() {
  current_log = nullptr;
}

}  // namespace starttls

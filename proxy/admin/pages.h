#pragma once

// Answers the admin endpoint's requests from the facts that the control loop has, and by asking
// workers. The watchdog asks for /healthz, too.
//
// A question to the workers is a round. It is posted to each of their loops, and the answers that
// arrive before the deadline are put together. Requests that arrive during a round share its
// answer. A worker that owes an answer is not asked again, so nothing piles up if a worker hangs.

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/log.h"
#include "lib/net/loop.h"
#include "lib/net/timer.h"
#include "proxy/admin/content.h"
#include "proxy/admin/http.h"
#include "proxy/admin/status.h"
#include "proxy/recent_failures.h"
#include "proxy/state.h"
#include "proxy/worker.h"

namespace starttls {

/// Lives on the control loop's thread. The workers' threads end before it.
class AdminPages {
 public:
  /// How long a worker may take to answer.
  static constexpr std::chrono::seconds kPatience{2};
  /// The most sessions that one worker lists. Listing them keeps it from its mail for a few
  /// milliseconds.
  static constexpr std::size_t kMaxListed = 1000;

  using Workers = std::vector<std::unique_ptr<Worker>>;
  using Reply = std::function<void(AdminResponse)>;

  /// `state`, `workers` and `failures` are read at each request, as they are then.
  AdminPages(net::Loop& loop, const State& state, const Workers& workers,
             const session::SecretStore& secrets, const RecentFailures& failures,
             const log::Logger& log);
  AdminPages(const AdminPages&) = delete;
  AdminPages& operator=(const AdminPages&) = delete;

  void make(AdminPage page, Reply reply);

  void on_draining() noexcept { draining_ = true; }
  void on_launcher_ended() noexcept { launcher_ended_ = true; }
  /// Expects no more answers from this worker, because its loop has stopped.
  void on_worker_drained(std::size_t index);
  void on_reloaded();
  void on_reload_failed() noexcept { last_reload_successful_ = false; }

 private:
  enum class Question : std::uint8_t { turning, sessions };
  enum class Owes : std::uint8_t { nothing, to_earlier, to_this };

  struct Round {
    std::vector<Owes> workers;
    std::vector<Reply> replies;  // not empty: it is under way
    Listing listing;
    std::unique_ptr<net::Timer> deadline;
  };

  [[nodiscard]] std::vector<std::string> all_obstacles(UnixTime now) const;
  [[nodiscard]] AdminResponse readiness() const;
  [[nodiscard]] Status status() const;
  [[nodiscard]] AdminResponse metrics();
  void ask(Question question, Reply reply);
  void on_answer(Question question, std::size_t worker);
  void finish_if_answered(Question question);
  void finish(Question question);
  [[nodiscard]] Round& round(Question question) noexcept {
    return rounds_[static_cast<std::size_t>(question)];
  }

  net::Loop& loop_;
  const State& state_;
  const Workers& workers_;
  const session::SecretStore& secrets_;
  const RecentFailures& failures_;
  const log::Logger& log_;
  ProcessReader process_;
  std::array<Round, 2> rounds_;
  std::vector<bool> drained_;  // by worker
  std::chrono::system_clock::time_point last_reload_;
  UnixTime started_;
  bool last_reload_successful_ = true;
  bool draining_ = false;
  bool launcher_ended_ = false;
};

}  // namespace starttls

#pragma once

// The launcher's loop. It has one thread, and waits for the proxy, for its children and for their
// output at the same time. The proxy only ever says which account needs its program.
//
// At most kMaxRunning programs run at once, and at most kMaxWaiting requests wait for that. While
// an answer cannot be sent, no request is read. So nothing grows, whatever the proxy does.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "lib/base/descriptor.h"
#include "lib/base/error.h"
#include "proxy/launcher/message.h"
#include "proxy/launcher/program_table.h"

namespace starttls::launcher {

/// Reads the configuration. Errors: config, in words for the log.
using ReadPrograms = std::function<Result<ProgramTable>()>;

struct Setting {
  pid_t proxy = 0;       ///< the parent
  Descriptor pair = {};  ///< the launcher's end
  ProgramTable programs = {};
  ReadPrograms read_programs = {};       ///< for a reload
  std::vector<std::string> environment;  ///< of programs
};

class Launcher {
 public:
  static constexpr std::size_t kMaxRunning = 32;
  static constexpr std::size_t kMaxWaiting = 256;

  explicit Launcher(Setting setting);
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  ~Launcher();

  /// Serves until the proxy has ended, or sends what it never sends. Ends all programs then.
  /// Returns false if the system refuses to wait.
  [[nodiscard]] bool serve();

 private:
  using Clock = std::chrono::steady_clock;
  struct Run;
  struct Waiting {
    std::uint64_t id;
    Program program;
    Clock::time_point deadline;
  };

  [[nodiscard]] bool open_signals();
  [[nodiscard]] bool wait();
  void on_signals();
  void on_request();
  void on_run(const Account& account, std::uint64_t id);
  void on_reload(std::uint64_t id);
  void start_waiting();
  void start(const Waiting& next);
  void end_late(Clock::time_point now);
  void reap();
  void end_run(pid_t pid, int code, int status);
  void answer(Answer answer);
  void send_answers();
  [[nodiscard]] int milliseconds_to_wait() const;

  Setting setting_;
  Descriptor signals_;
  std::vector<std::unique_ptr<Run>> runs_;
  std::deque<Waiting> waiting_;
  std::deque<std::string> answers_;  // packets that the pair has no room for yet
  bool ends_ = false;
};

}  // namespace starttls::launcher

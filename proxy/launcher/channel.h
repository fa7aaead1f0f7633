#pragma once

// The proxy's end of the launcher. It sends the names of accounts and gets output of programs.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "lib/base/descriptor.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/loop.h"
#include "lib/net/socket_watch.h"
#include "lib/net/timer.h"
#include "lib/session/credentials/program_runner.h"
#include "proxy/launcher/message.h"

namespace starttls::launcher {

/// Lives on one loop's thread.
class Channel final : public session::ProgramRunner {
 public:
  /// The most requests that may be under way.
  static constexpr std::size_t kMaxPending = 256;
  /// The time that an answer may take after the program's own time is over.
  static constexpr std::chrono::milliseconds kMargin{2000};
  /// The time that the launcher may take to read the configuration.
  static constexpr std::chrono::milliseconds kReloadTime{10'000};

  using OnReloaded = std::function<void(Result<>)>;

  /// `on_ended` is called once, from the loop, when the launcher has ended. All requests fail then.
  /// `pair` is the proxy's end of it.
  Channel(net::Loop& loop, Descriptor pair, log::Logger& log, std::function<void()> on_ended);
  ~Channel() override = default;

  /// Begins to listen to the launcher. Called once, before all requests. Errors: system.
  [[nodiscard]] Result<> open() { return watch_->open(pair_.get()); }

  void run(Request request, OnOutput on_output) override;
  /// Has the launcher read the configuration. It holds for all later requests. `on_reloaded` is
  /// called once, later, unless this object is destroyed before. Errors: login; the evidence says
  /// why.
  void reload(OnReloaded on_reloaded);

  [[nodiscard]] bool has_ended() const noexcept { return pair_.get() < 0; }

 private:
  struct Pending {
    OnOutput on_output = {};  // one of these two
    OnReloaded on_reloaded = {};
    std::optional<session::NoSecret> failure = {};  // known already, to be reported later
    std::unique_ptr<net::Timer> timer = {};
    Account account = {};  // of a program
  };

  void begin(launcher::Request request, Pending pending, std::chrono::milliseconds patience);
  void on_readable();
  [[nodiscard]] bool on_answer(Answer& answer);
  void on_timer(std::uint64_t id);
  void end();
  void log_failure(const Account& account, const std::string& words);
  static void report(const Pending& pending, const session::NoSecret& failure);

  net::Loop& loop_;
  Descriptor pair_;
  log::Logger& log_;
  std::function<void()> on_ended_;
  std::map<std::uint64_t, Pending> pending_;
  std::uint64_t last_id_ = 0;
  std::optional<net::SocketWatch> watch_;  // of `pair_`; nothing: the launcher has ended
};

}  // namespace starttls::launcher

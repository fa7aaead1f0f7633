#include "proxy/supervisor/heartbeat.h"

#include <algorithm>
#include <utility>

namespace starttls {

Heartbeat::Heartbeat(net::Loop& loop, Notifier& notifier, std::function<Load()> load,
                     std::function<void(OnHealth)> ask_health)
    : notifier_(notifier),
      load_(std::move(load)),
      ask_health_(std::move(ask_health)),
      status_timer_(loop, [this] { report_status(); }),
      watchdog_timer_(loop, [this] { report_alive(); }) {}

void Heartbeat::begin() {
  if (!notifier_.is_heard()) return;
  notifier_.ready(status());
  status_timer_.start(kStatusInterval);
  if (notifier_.watchdog()) report_alive();
}

void Heartbeat::reloading() {
  notifier_.reloading();
}

void Heartbeat::reloaded(bool successful) {
  reload_failed_ = !successful;
  notifier_.ready(status());
}

void Heartbeat::stopping(std::chrono::milliseconds patience) {
  stopping_ = true;
  notifier_.stopping(patience, status());
}

/// Sends a sign of life only if all loops turn.
void Heartbeat::report_alive() {
  // Twice as often as necessary, as sd_watchdog_enabled(3) advises.
  const auto half =
      std::chrono::duration_cast<std::chrono::milliseconds>(*notifier_.watchdog() / 2);
  watchdog_timer_.start(std::max(half, std::chrono::milliseconds{1}));
  ask_health_([this](bool healthy) {
    if (healthy) notifier_.alive();
  });
}

void Heartbeat::report_status() {
  status_timer_.start(kStatusInterval);
  notifier_.status(status());
}

std::string Heartbeat::status() const {
  const auto [sessions, services] = load_();
  std::string text = std::to_string(sessions) + (sessions == 1 ? " session" : " sessions");
  if (stopping_) return "stopping: " + text + " may finish";
  text += ", " + std::to_string(services) + (services == 1 ? " service" : " services");
  if (reload_failed_) text += "; the last reload failed, see the log";
  return text;
}

}  // namespace starttls

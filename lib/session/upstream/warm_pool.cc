#include "lib/session/upstream/warm_pool.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>

#include "lib/base/side.h"

namespace starttls::session {

/// One connection, from its first attempt until nothing is left of it or a session has it.
class WarmPool::Entry final : LegEvents, OpenerEvents {
 public:
  enum class State : std::uint8_t {
    opening,
    ready,
    leaving,  // we have said goodbye
    gone,     // the pool will forget it
  };

  explicit Entry(WarmPool& pool) : pool_(pool), target_(pool.service_) {
    const auto give_up_at = pool.loop_.now() + pool.service_->config.timeouts.prelude;
    opener_ = std::make_unique<UpstreamOpener>(pool.context_, target_, give_up_at,
                                               static_cast<OpenerEvents&>(*this));
  }

  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() { enter(State::gone); }

  void start() { opener_->start(); }

  [[nodiscard]] State state() const noexcept { return state_; }
  /// Returns the time until which it waits, for a client or for the server's goodbye.
  [[nodiscard]] std::chrono::milliseconds due() const noexcept { return due_; }
  /// Destroys the opener, if it is done. Not to be called inside one of the opener's calls.
  void forget_opener() {
    if (state_ != State::opening) opener_.reset();
  }

  [[nodiscard]] std::optional<UpstreamConnection> take(LegEvents& events) {
    // Something waits in the kernel. It will be reported, and the connection is not for a client.
    if (!opened_.leg->stream().is_quiet()) return std::nullopt;
    enter(State::gone);
    opened_.leg->set_events(events);
    opened_.connected_at = net::Loop::precise_now();
    return std::move(opened_);
  }

  /// Says goodbye to the server, as its protocol wants it.
  void leave() {
    enter(State::leaving);
    due_ = pool_.loop_.now() + kLinger;
    opened_.leg->write(goodbye());
    opened_.leg->finish();
  }

  /// Says goodbye, with no time to wait for an answer.
  void leave_at_once() {
    if (state_ != State::ready) return;
    opened_.leg->write(goodbye());
    opened_.leg->end_write();
  }

 private:
  void enter(State state) {
    pool_.metrics_.warm_connections((state == State::ready ? 1 : 0) -
                                    (state_ == State::ready ? 1 : 0));
    state_ = state;
  }

  // OpenerEvents
  void on_opening(OpeningStage) override {}
  void on_attempt_failed(const Error&, NextAttempt) override {}

  void on_opened() override {
    opened_ = opener_->take(*this);
    if (!opened_.leg->input().empty()) {
      refuse(Error{Errc::protocol, "the server sent more than its greeting",
                   peer_words(opened_.leg->input())});
      return;
    }
    enter(State::ready);
    ready_at_ = pool_.loop_.now();
    due_ = ready_at_ + pool_.plan_.lifetime(ready_at_, pool_.chance());
    pool_.on_ready();
  }

  void on_not_opened(const Error& error) override {
    opened_ = opener_->take(*this);
    refuse(error);
  }

  void refuse(const Error& error) {
    enter(State::gone);
    pool_.on_failed(error, opener_->address());
    if (opened_.leg == nullptr) return;
    enter(State::leaving);
    due_ = pool_.loop_.now() + kLinger;
    opened_.leg->finish();
  }

  // LegEvents
  /// Gives the connection up: no client may get one on which the server has spoken.
  void on_leg_input(Leg&) override { lose("the server sent bytes that no command asked for"); }
  void on_leg_data(Leg&, std::span<const std::byte>) override {}
  void on_leg_secured(Leg&) override {}
  void on_leg_end(Leg&, LegEnd, std::string_view) override {
    lose("the server closed the connection");
  }
  void on_leg_drained(Leg&) override {}
  void on_leg_write_failed(Leg&, Error) override {}
  void on_leg_failed(Leg&, Error error) override { lose(error.reason); }
  void on_leg_finished(Leg&) override {
    if (state_ != State::leaving) return;
    enter(State::gone);
    pool_.wake();
  }

  void lose(std::string_view reason) {
    if (state_ != State::ready) return;
    const auto age = pool_.loop_.now() - ready_at_;
    leave();
    pool_.on_lost(age, opened_.server, reason);
  }

  [[nodiscard]] std::string goodbye() const {
    return std::string{pool_.service_->protocol->capabilities.goodbye} + "\r\n";
  }

  WarmPool& pool_;
  Target target_;
  std::unique_ptr<UpstreamOpener> opener_;
  UpstreamConnection opened_;
  std::chrono::milliseconds ready_at_{};
  std::chrono::milliseconds due_{};
  State state_ = State::opening;
};

WarmPool::WarmPool(WorkerContext context, log::Logger& log, std::shared_ptr<const Service> service)
    : context_(context),
      loop_(context.loop),
      metrics_(context.metrics),
      log_(log),
      service_(std::move(service)),
      plan_(service_->config.upstream.warm),
      timer_(loop_, [this] { tick(); }),
      chances_(std::random_device{}()) {
  wake();
}

WarmPool::~WarmPool() {
  for (const auto& entry : entries_) entry->leave_at_once();
}

std::optional<UpstreamConnection> WarmPool::take(LegEvents& events) {
  // Take the youngest: the server will keep it for longest.
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if ((*entry)->state() != Entry::State::ready) continue;
    if (auto opened = (*entry)->take(events)) {
      plan_.on_served();
      wake();
      return opened;
    }
  }
  return std::nullopt;
}

/// True if connections opened under our service's policy may serve `service`.
bool WarmPool::suits(const Service& service) const noexcept {
  // A context is kept over a reload if policy and files are the same.
  return service.config == service_->config &&
         service.own_name->text() == service_->own_name->text() &&
         service.upstream_tls == service_->upstream_tls;
}

void WarmPool::tick() {
  const auto now = loop_.now();
  for (const auto& entry : entries_) {
    entry->forget_opener();
    if (entry->state() == Entry::State::ready && entry->due() <= now) {
      plan_.on_served();
      entry->leave();
    }
  }
  std::erase_if(entries_, [now](const auto& entry) {
    return entry->state() == Entry::State::gone ||
           (entry->state() == Entry::State::leaving && entry->due() <= now);
  });

  const auto count = [this](Entry::State state) {
    return static_cast<std::size_t>(
        std::count_if(entries_.begin(), entries_.end(),
                      [state](const auto& entry) { return entry->state() == state; }));
  };
  const auto wanted = plan_.to_open({.ready = count(Entry::State::ready),
                                     .opening = count(Entry::State::opening),
                                     .leaving = count(Entry::State::leaving)},
                                    now);
  for (std::size_t i = 0; i < wanted; ++i) {
    entries_.push_back(std::make_unique<Entry>(*this));
    entries_.back()->start();
  }
  schedule();
}

/// Sets the timer to the next due time; all other changes wake us.
void WarmPool::schedule() {
  const auto now = loop_.now();
  std::optional<std::chrono::milliseconds> next;
  const auto at = [&next](std::chrono::milliseconds due) {
    next = next ? std::min(*next, due) : due;
  };
  if (plan_.paused_until() > now) at(plan_.paused_until());
  for (const auto& entry : entries_) {
    switch (entry->state()) {
      case Entry::State::opening:
        break;  // it reports by itself
      case Entry::State::ready:
      case Entry::State::leaving:
        at(entry->due());
        break;
      case Entry::State::gone:
        at(now);
        break;
    }
  }
  if (next) timer_.start(*next - now);
}

/// Returns a number from 0 to 1; only to spread the times of many connections.
double WarmPool::chance() {
  chances_ = chances_ * 1664525U + 1013904223U;
  return static_cast<double>(chances_ >> 16U) / 65535.0;
}

void WarmPool::on_ready() {
  plan_.on_opened();
  wake();
  log_.debug("warm connection ready", {{"service", service_->config.name}});
  if (std::exchange(failing_, false)) {
    log_.info("connections are kept warm again", {{"service", service_->config.name}});
  }
}

void WarmPool::on_failed(const Error& error, const Address& address) {
  plan_.on_failed(loop_.now(), chance());
  wake();
  const bool news = !std::exchange(failing_, true);
  log_.write(news ? log::Level::warn : log::Level::debug, "no warm connection",
             {{"service", service_->config.name},
              {"leg", name(Side::upstream)},
              {"peer", to_string(address)},
              {"error", name(error.code)},
              {"reason", error.reason},
              {"evidence", error.evidence}});
}

void WarmPool::on_lost(std::chrono::milliseconds age, std::string_view server,
                       std::string_view reason) {
  plan_.on_lost(age, loop_.now(), chance());
  wake();
  log_.debug("warm connection lost", {{"service", service_->config.name},
                                      {"peer", server},
                                      {"age_ms", static_cast<std::uint64_t>(age.count())},
                                      {"reason", reason}});
}

}  // namespace starttls::session

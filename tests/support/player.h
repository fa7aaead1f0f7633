#pragma once

// Drives a role the way a session does. It keeps the bytes that the role leaves unconsumed, and
// offers them again with the next bytes. It stops at a verdict or an error. The dialogue tests and
// the fuzzer use it.

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/proto/role.h"

namespace starttls::test {

enum class Peer : std::uint8_t { server, client };

/// Answers a role's `log_in`, as the owner of the accounts does.
using Accounts = std::function<Result<proto::Credentials>(const proto::LoginRequest&)>;

/// Everything that a role has said and decided so far.
struct Outcome {
  std::string to_server;
  std::string to_client;
  std::array<proto::Verdict, 2> verdict{};  ///< by side; upstream roles use the server's only
  std::array<std::string, 2> unread;        ///< by side
  std::string greeting;                     ///< of an upstream role
  std::string fallback_reason;              ///< of an upstream role
  std::optional<Error> error;

  // The login of the client, if the dialogue has accounts.
  std::vector<proto::LoginRequest> requests;
  std::vector<proto::LoginReport> reports;  ///< one per login that has a result
  unsigned pauses = 0;
  unsigned reconnections = 0;
  /// The length of `to_server` when the first credentials came. Nothing before it is of our login.
  std::optional<std::size_t> credentials_at;

  [[nodiscard]] proto::Verdict verdict_of(Peer side) const {
    return verdict[static_cast<std::size_t>(side)];
  }
  [[nodiscard]] const std::string& unread_of(Peer side) const {
    return unread[static_cast<std::size_t>(side)];
  }
};

/// One role under way.
class Player {
 public:
  Player() = default;
  Player(const Player&) = delete;
  Player& operator=(const Player&) = delete;
  virtual ~Player() = default;

  virtual void begin() = 0;
  /// Reports the end of the handshake that `start_tls` asked for. Unread bytes of the clear text
  /// are gone.
  virtual void secured() = 0;
  /// Reports that the server has been silent for a while after the handshake.
  virtual void quiet() {}
  virtual void feed(Peer side, std::string_view bytes) = 0;
  /// Reports that the server has hung up.
  virtual void lost() {}

  [[nodiscard]] virtual std::string_view state() const = 0;
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }

 protected:
  [[nodiscard]] std::string& unread(Peer side) {
    return outcome_.unread[static_cast<std::size_t>(side)];
  }
  void on_verdict(Peer side, const Result<proto::Verdict>& verdict) {
    if (!verdict) {
      outcome_.error = verdict.error();
    } else {
      outcome_.verdict[static_cast<std::size_t>(side)] = *verdict;
    }
  }
  /// Calls `step` with the unread input. `step` returns how much of it is used up.
  template <typename Step>
  void run(Peer side, std::string_view bytes, Step step) {
    unread(side) += bytes;
    if (outcome_.error || outcome_.verdict_of(side) != proto::Verdict::need_more) return;
    const Result<proto::Step> result = step(std::string_view(unread(side)));
    if (!result) {
      outcome_.error = result.error();
      return;
    }
    if (result->consumed > unread(side).size()) {
      outcome_.error = Error{Errc::system, "consumed more than there was"};
      return;
    }
    unread(side).erase(0, result->consumed);
    on_verdict(side, result->verdict);
  }

  Outcome outcome_;
};

class UpstreamPlayer final : public Player {
 public:
  explicit UpstreamPlayer(std::unique_ptr<proto::UpstreamRole> role) : role_(std::move(role)) {}

  void begin() override { on_verdict(Peer::server, role_->begin(outcome_.to_server)); }
  void secured() override {
    if (outcome_.error || outcome_.verdict_of(Peer::server) != proto::Verdict::start_tls) return;
    unread(Peer::server).clear();
    on_verdict(Peer::server, role_->secured(outcome_.to_server));
    note_results();
  }
  void quiet() override {
    if (outcome_.error || outcome_.verdict_of(Peer::server) != proto::Verdict::need_more) return;
    on_verdict(Peer::server, role_->on_quiet(outcome_.to_server));
  }
  void feed(Peer side, std::string_view bytes) override {
    run(side, bytes,
        [this](std::string_view input) { return role_->step(input, outcome_.to_server); });
    note_results();
  }
  [[nodiscard]] std::string_view state() const override { return role_->state(); }

 private:
  void note_results() {
    outcome_.greeting = role_->greeting();
    outcome_.fallback_reason = role_->fallback_reason();
  }

  std::unique_ptr<proto::UpstreamRole> role_;
};

/// If it has accounts, it answers `log_in`, `pause` and `reconnect` at once. So these verdicts do
/// not stop the role. Otherwise they do.
class DownstreamPlayer final : public Player {
 public:
  DownstreamPlayer(std::unique_ptr<proto::DownstreamRole> role, std::string greeting,
                   Accounts accounts = {})
      : role_(std::move(role)), greeting_(std::move(greeting)), accounts_(std::move(accounts)) {}

  void begin() override { on_verdict(Peer::client, role_->begin(greeting_, outcome_.to_client)); }
  void secured() override {
    if (outcome_.error || !ended_by(proto::Verdict::start_tls)) return;
    outcome_.verdict = {};
    unread(Peer::client).clear();
    on_verdict(Peer::client, role_->secured(outcome_.to_client));
    if (!unread(Peer::server).empty()) from_server({});
  }
  void feed(Peer side, std::string_view bytes) override {
    feed_part(side, bytes);
    if (accounts_) go_on_with_login();
  }
  /// Like `feed`, but the accounts answer later, at the next call of `feed`.
  void feed_part(Peer side, std::string_view bytes) {
    // No more words in the clear: the server's words wait for the handshake.
    if (ended_by(proto::Verdict::start_tls) || ended_by(proto::Verdict::finish)) {
      unread(side) += bytes;
      return;
    }
    if (side == Peer::server) {
      from_server(bytes);
    } else {
      from_client(bytes);
    }
  }
  void lost() override {
    const auto& verdict = outcome_.verdict;
    if (outcome_.error || verdict != decltype(outcome_.verdict){})
      return;  // not the role's concern
    unread(Peer::server).clear();
    on_verdict(Peer::server, role_->on_server_lost("connection closed", outcome_.to_client));
    note_report();
    if (accounts_) go_on_with_login();
  }
  [[nodiscard]] std::string_view state() const override { return role_->state(); }

 private:
  /// True if either side has brought this verdict. Such a verdict holds for both sides.
  [[nodiscard]] bool ended_by(proto::Verdict verdict) const {
    return outcome_.verdict_of(Peer::client) == verdict ||
           outcome_.verdict_of(Peer::server) == verdict;
  }
  void from_client(std::string_view bytes) {
    const auto before = outcome_.verdict_of(Peer::client);
    run(Peer::client, bytes, [this](std::string_view input) {
      return role_->from_client(input, outcome_.to_client, outcome_.to_server);
    });
    note_report();
    const auto after = outcome_.verdict_of(Peer::client);
    if (before != after && after == proto::Verdict::relay) from_server({});
  }
  void from_server(std::string_view bytes) {
    run(Peer::server, bytes, [this](std::string_view input) {
      return role_->from_server(input, outcome_.to_client, outcome_.to_server);
    });
    note_report();
    // A login's success makes both directions opaque.
    if (accounts_ && outcome_.verdict_of(Peer::server) == proto::Verdict::relay) {
      outcome_.verdict[static_cast<std::size_t>(Peer::client)] = proto::Verdict::relay;
    }
  }

  /// Notes a result of a login. There is none while the next login is under way.
  void note_report() {
    const auto* report = role_->login_report();
    if (report != nullptr && !has_report_) outcome_.reports.push_back(*report);
    has_report_ = report != nullptr;
  }

  /// Answers the role as long as it asks, and offers it what it has not read.
  void go_on_with_login() {
    while (!outcome_.error) {
      auto verdict = outcome_.verdict_of(Peer::client);
      if (verdict == proto::Verdict::need_more) verdict = outcome_.verdict_of(Peer::server);
      const auto answered = answer(verdict);
      if (!answered) return;
      outcome_.verdict = {};
      on_verdict(Peer::server, *answered);
      note_report();
      if (outcome_.error || outcome_.verdict_of(Peer::server) != proto::Verdict::need_more) {
        continue;
      }
      if (!unread(Peer::server).empty()) from_server({});
      if (!outcome_.error) from_client({});
    }
  }

  /// Returns the role's next verdict, or nothing if this one is no question of a login.
  std::optional<Result<proto::Verdict>> answer(proto::Verdict verdict) {
    switch (verdict) {
      case proto::Verdict::log_in:
        outcome_.requests.push_back(role_->login_request());
        if (!outcome_.credentials_at) outcome_.credentials_at = outcome_.to_server.size();
        return role_->on_credentials(accounts_(outcome_.requests.back()), outcome_.to_client,
                                     outcome_.to_server);
      case proto::Verdict::pause:
        ++outcome_.pauses;
        return role_->after_pause(outcome_.to_client);
      case proto::Verdict::reconnect:
        ++outcome_.reconnections;
        unread(Peer::server).clear();
        return role_->reconnected(outcome_.to_server);
      case proto::Verdict::need_more:
      case proto::Verdict::start_tls:
      case proto::Verdict::greeted:
      case proto::Verdict::relay:
      case proto::Verdict::finish:
        break;
    }
    return std::nullopt;
  }

  std::unique_ptr<proto::DownstreamRole> role_;
  std::string greeting_;
  Accounts accounts_;
  bool has_report_ = false;
};

}  // namespace starttls::test

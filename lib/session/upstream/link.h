#pragma once

// Gets a session its server connection: a warm one, or a new one; the first, or a fresh one that
// replaces another.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "lib/session/client/identity.h"
#include "lib/session/context.h"
#include "lib/session/leg.h"
#include "lib/session/upstream/opener.h"
#include "lib/session/upstream/target.h"

namespace starttls::session {

/// Events of a link.
class LinkEvents {
 public:
  virtual void on_opening(OpeningStage stage) = 0;
  /// Reports that an address has failed, and that another attempt follows.
  virtual void on_attempt_failed(const Error& error, NextAttempt next) = 0;
  /// Hands over the server's leg, which is ready.
  virtual void on_linked(UpstreamConnection connection) = 0;
  virtual void on_not_linked(const Error& error) = 0;

 protected:
  ~LinkEvents() = default;
};

/// Belongs to one session, on its worker's thread.
class ServerLink final : OpenerEvents {
 public:
  /// The arguments outlive us. Legs that are handed over report to `leg_events`.
  ServerLink(const SessionContext& env, std::shared_ptr<const Service> service, Leg& client,
             const ClientIdentity& identity, LegEvents& leg_events, LinkEvents& events);
  ServerLink(const ServerLink&) = delete;
  ServerLink& operator=(const ServerLink&) = delete;

  /// Finds the client's server. Called once, before `open`. Errors: as Target::settle.
  [[nodiscard]] Result<> settle();

  // Each call ends in `on_linked` or `on_not_linked`, perhaps from inside the call. `give_up_at` is
  // on the loop's clock.

  /// Gets a warm connection, or opens one.
  void open(std::chrono::milliseconds give_up_at);
  /// Does the same, and says goodbye on `old`.
  void replace(std::unique_ptr<Leg> old, std::chrono::milliseconds give_up_at);
  /// Opens a connection on which TLS is not asked for, because the server has hung up on `old` when
  /// it was.
  void replace_in_the_clear(std::unique_ptr<Leg> old, std::chrono::milliseconds give_up_at);

  /// Ends an opening that is under way or has failed, and returns its connection, if there is one.
  [[nodiscard]] std::optional<UpstreamConnection> abandon();

  [[nodiscard]] const Target& target() const noexcept { return target_; }
  /// Returns the address in use, or the one that is tried.
  [[nodiscard]] const Address& address() const noexcept;
  /// Returns the name by which the configuration knows the server in use: `server_name`, the host
  /// of its address, or the address itself if it has no host name.
  [[nodiscard]] std::string server_name() const;
  /// Returns the opening's state, for logs: see Opening. "" if no opening is under way.
  [[nodiscard]] std::string_view state() const noexcept {
    return opener_ == nullptr ? std::string_view{} : opener_->state();
  }
  /// Returns the server's own words after the error `greeting_refused`, if the client may have
  /// them.
  [[nodiscard]] std::string refusal() const {
    return opener_ == nullptr ? std::string{} : opener_->refusal();
  }

 private:
  void on_opening(OpeningStage stage) override { events_.on_opening(stage); }
  void on_attempt_failed(const Error& error, NextAttempt next) override {
    events_.on_attempt_failed(error, next);
  }
  void on_opened() override;
  void on_not_opened(const Error& error) override { events_.on_not_linked(error); }

  [[nodiscard]] bool use_warm();
  void make_opener(std::chrono::milliseconds give_up_at);
  [[nodiscard]] UpstreamConnection take();

  const SessionContext& env_;
  Leg& client_;
  const ClientIdentity& identity_;
  LegEvents& leg_events_;
  LinkEvents& events_;
  Target target_;
  std::unique_ptr<UpstreamOpener> opener_;  // until the leg is ready, or to the end if it fails
  std::size_t address_index_ = 0;           // of the target: the server's address
};

}  // namespace starttls::session

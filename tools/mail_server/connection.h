#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/tls_mode.h"
#include "lib/net/loop.h"
#include "lib/net/timer.h"
#include "lib/session/leg.h"
#include "lib/tls/context.h"
#include "tools/mail_server/protocol.h"

namespace starttls::bench {

/// The settings that all connections of a backend share. Immutable.
struct Settings {
  MakeProtocol make_protocol;
  TlsMode tls;
  std::shared_ptr<const tls::Context> context;  ///< null with TlsMode::none
  Mailbox mailbox;
  std::size_t record = 0;  ///< bytes of the pattern written at once; 0 = as many as possible
};

/// The connection of one client. It performs what its protocol wants. It holds a command and one
/// read of pipelined input after it. It also holds the replies to one read that the kernel did not
/// take.
class Connection final : session::LegEvents {
 public:
  using OnEnded = std::function<void(Connection&)>;

  /// Calls `on_ended` once, at the end. Destroy the connection later, by `Loop::defer`: the calls
  /// that the connection itself has deferred run before that.
  Connection(const Settings& settings, net::Stream::Ptr stream, OnEnded on_ended);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  /// Ends at once.
  void stop();

 private:
  void on_leg_input(session::Leg& leg) override;
  void on_leg_data(session::Leg& leg, std::span<const std::byte> plaintext) override;
  void on_leg_secured(session::Leg& leg) override;
  void on_leg_end(session::Leg& leg, session::LegEnd end, std::string_view how) override;
  void on_leg_drained(session::Leg& leg) override;
  void on_leg_write_failed(session::Leg& leg, Error error) override;
  void on_leg_failed(session::Leg& leg, Error error) override;
  void on_leg_finished(session::Leg& leg) override;

  std::size_t run(std::string_view input);
  void run_waiting();
  void start_tls();
  void greet();
  void send_pattern();
  void balance();
  void finish();
  void end();

  [[nodiscard]] bool busy() const noexcept { return want_ != Want::input; }

  const Settings& settings_;
  OnEnded on_ended_;
  net::Loop& loop_;
  session::Leg leg_;
  std::unique_ptr<Protocol> protocol_;
  std::optional<net::Timer> linger_;
  std::string waiting_;  // input that arrived together with the command in work
  std::string reply_;
  Want want_ = Want::input;          // the current work for the protocol
  std::uint64_t pattern_bytes_ = 0;  // still to be sent
  std::uint64_t pattern_offset_ = 0;
  bool ended_ = false;
};

}  // namespace starttls::bench

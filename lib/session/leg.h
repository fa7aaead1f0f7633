#pragma once

// Theory of operation.
//
// A leg is one connection and its TLS: a stream and, once TLS begins, an engine. To its session it
// is an endpoint of plaintext, with or without TLS below.
//
// Bytes that arrive are delivered in one of two ways. During a prelude they are collected in
// `input()`, up to a limit, and the session consumes the part that its role understood. In the
// relay they are handed on as a span of the loop's slab, and nothing is kept. Clear text stays in
// the slab that the kernel read into; ciphertext is opened from that slab into the plain slab.
//
// Plaintext that is written is sealed from the caller's memory into the loop's wire slab and given
// to the kernel at once. Only an unsent tail is kept, by the stream.
//
// Only this file enforces the rule against injected commands and replies. `start_tls` refuses if
// even one byte waits that came in the clear after the line that starts TLS. It may wait in
// `input()` or still in the kernel (CVE-2011-0411, CVE-2021-38371 and their family).
//
// A leg ends cleanly (FIN in the clear, close_notify under TLS) or is cut. `finish()` is our own
// end: it sends the queued bytes, close_notify and FIN. Then it discards input until the peer's
// FIN. A socket that is closed with unread input sends RST, which would destroy the last words on
// their way.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/net/stream.h"
#include "lib/session/endpoint.h"
#include "lib/tls/engine.h"

namespace starttls::session {

inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Leg;

enum class LegEnd : std::uint8_t {
  clean,  ///< the peer said that no more bytes follow
  cut,  ///< the connection ended, but the peer did not say so: TLS without close_notify, or a reset
};

/// Events of a leg, for its session. The leg lives until the session drops it, which must not
/// happen inside these calls.
class LegEvents {
 public:
  /// Reports in the prelude that `input()` has grown.
  virtual void on_leg_input(Leg& leg) = 0;
  /// Hands over plaintext in the relay. It is in a slab of the loop, and gone when the call
  /// returns.
  virtual void on_leg_data(Leg& leg, std::span<const std::byte> plaintext) = 0;
  /// Offers a burst in the relay, for `Leg::splice_to`: see net::StreamEvents::on_stream_burst.
  virtual void on_leg_burst(Leg& leg, std::size_t bytes) {
    static_cast<void>(leg);
    static_cast<void>(bytes);
  }
  virtual void on_leg_secured(Leg& leg) = 0;
  /// Reports that the peer's direction is over.
  virtual void on_leg_end(Leg& leg, LegEnd end, std::string_view how) = 0;
  /// Reports that the kernel has taken all written bytes.
  virtual void on_leg_drained(Leg& leg) = 0;
  /// Reports that the peer takes no bytes any more.
  virtual void on_leg_write_failed(Leg& leg, Error error) = 0;
  /// Reports that the handshake failed or a record was bad. Nothing more will come, and an alert
  /// has been written if there was one to send.
  virtual void on_leg_failed(Leg& leg, Error error) = 0;
  /// Reports that both directions are over, after `finish`.
  virtual void on_leg_finished(Leg& leg) = 0;

 protected:
  ~LegEvents() = default;
};

class Leg final : public DialogueEndpoint, net::StreamEvents {
 public:
  /// Largest input, in clear text or plaintext, that may wait for a role; then the peer is not
  /// read.
  static constexpr std::size_t kMaxInput = 64UL * 1024;
  /// The same for a client before it is greeted: the longest line (SMTP AUTH, RFC 4954 §4.5.2).
  /// Other bytes that it sends early wait in the kernel.
  static constexpr std::size_t kMaxEarlyInput = 12UL * 1024;
  /// Size of one read during a prelude.
  static constexpr std::size_t kPreludeRead = 16UL * 1024;

  /// Takes a connected stream.
  Leg(net::Stream::Ptr stream, LegEvents& events) noexcept;
  Leg(const Leg&) = delete;
  Leg& operator=(const Leg&) = delete;

  /// Reports to `events` from here on.
  void set_events(LegEvents& events) noexcept { events_ = &events; }

  /// Begins to read into `input()`.
  void start();

  [[nodiscard]] std::string_view input() const noexcept override { return input_.view(); }
  /// Returns the end of `input()` that has just come. Only inside `on_leg_input`.
  [[nodiscard]] std::string_view news() const noexcept {
    return input_.view().substr(input_.size() - news_size_);
  }
  /// Drops the first `bytes` of `input()`. Does nothing after `finish`: a write between looking at
  /// the input and this call may have failed and ended the leg.
  void consume(std::size_t bytes) override;
  /// Sets how much `input()` may hold before the peer is not read any more; `kMaxInput` at first.
  /// Under TLS a whole record may come on top.
  void limit_input(std::size_t bytes);
  /// Hands on bytes as they arrive, from here on. Bytes that wait in `input()` come first, from
  /// inside this call.
  void start_relay();

  /// Starts TLS from the first byte, those in `input()` included. The steps of the handshake wait
  /// in `lane` of the TurnBudget. Errors of the handshake come by `on_leg_failed`.
  void start_implicit_tls(std::unique_ptr<tls::Engine> engine, net::TurnBudget::Lane lane);
  /// Starts TLS after STARTTLS: writes `go_ahead` (may be empty) and begins the handshake. Errors:
  /// attack; then nothing was written.
  [[nodiscard]] Result<> start_tls(std::string_view go_ahead, std::unique_ptr<tls::Engine> engine,
                                   net::TurnBudget::Lane lane);

  void write(std::span<const std::byte> plaintext) override;
  void write(std::string_view text) { write(std::as_bytes(std::span{text})); }
  [[nodiscard]] std::size_t queued() const noexcept override { return stream_->queued(); }
  /// Reports bursts to the session from here on. Only if nothing is encrypted, on either leg.
  void offer_bursts() noexcept { stream_->offer_bursts(); }
  /// Passes up to `bytes` on to `to` unseen; see net::Stream::splice_to.
  [[nodiscard]] std::size_t splice_to(Leg& to, std::size_t bytes) {
    return stream_->splice_to(*to.stream_, bytes);
  }
  void pause_reading() noexcept override;
  void resume_reading() override;
  void end_write() override;

  /// Ends both directions cleanly; see above. The caller sets the deadline.
  void finish();
  /// Closes the connection with RST.
  void reset() noexcept { stream_->reset(); }

  /// True if the handshake was completed, even if the leg has failed since.
  [[nodiscard]] bool secured() const noexcept override {
    return engine_ != nullptr && engine_->established();
  }
  /// True if no TLS has begun.
  [[nodiscard]] bool is_clear() const noexcept { return security_ == Security::clear; }
  /// True if written bytes go out. That is false during a handshake, and after one that failed.
  [[nodiscard]] bool writable() const noexcept override {
    return security_ == Security::clear || (security_ == Security::secured && !write_ended_);
  }
  /// True if both directions are over, after `finish`.
  [[nodiscard]] bool finished() const noexcept {
    return delivery_ == Delivery::discard && peer_ended_ && stream_->queued() == 0;
  }
  /// Returns the server's certificates, if the upstream engine was set to keep them: see
  /// Engine::peer_chain.
  [[nodiscard]] std::vector<tls::CertificateInfo> peer_chain() const {
    return engine_ == nullptr ? std::vector<tls::CertificateInfo>{} : engine_->peer_chain();
  }
  /// Remembers a server that has not answered a large ClientHello; true if it is one: see
  /// Engine::note_unanswered_hello. Only upstream, when the handshake has failed.
  [[nodiscard]] bool note_unanswered_hello() {
    return engine_ != nullptr && engine_->note_unanswered_hello();
  }
  /// Returns why the client is not accepted; null if it is. Only downstream, when secured.
  [[nodiscard]] const Error* refusal() const noexcept { return engine_->refusal(); }
  /// Returns the facts about the client. Only downstream, when secured.
  [[nodiscard]] const tls::ClientFacts& client_facts() const noexcept {
    return engine_->client_facts();
  }
  /// Returns the name that the client asks for, "" if it asks for none: see Engine::wanted_name.
  /// Only downstream.
  [[nodiscard]] std::string_view wanted_name() const noexcept {
    return engine_ == nullptr ? std::string_view{} : engine_->wanted_name();
  }
  /// Returns the facts for the session line; only when secured.
  [[nodiscard]] tls::Facts facts() const { return engine_->facts(); }
  [[nodiscard]] net::Stream& stream() noexcept { return *stream_; }
  [[nodiscard]] const net::Stream& stream() const noexcept { return *stream_; }

 private:
  enum class Security : std::uint8_t { clear, handshaking, secured, failed };
  enum class Delivery : std::uint8_t { collect, relay, discard };

  void on_stream_data(std::span<std::byte> bytes) override;
  void on_stream_end(const Error* error) override;
  void on_stream_drained() override;
  void on_stream_write_failed(Error error) override;
  void on_stream_burst(std::size_t bytes) override;

  [[nodiscard]] bool has_clear_input() const noexcept;
  [[nodiscard]] std::string take_handshake_input();
  void step_handshake(std::span<const std::byte> wire);
  [[nodiscard]] bool is_client_gone() const noexcept;
  void advance_handshake(std::span<const std::byte> wire);
  void open(std::span<const std::byte> wire);
  void deliver(std::span<std::byte> plaintext);
  void fail_tls(Error error);
  void send_close_notify();
  void report_if_finished();
  void read();
  void read_as_limited();

  net::Stream::Ptr stream_;
  LegEvents* events_;
  std::unique_ptr<tls::Engine> engine_;
  PooledText input_;
  std::size_t input_limit_ = kMaxInput;
  std::size_t news_size_ = 0;
  /// A step of the handshake that waits for the loop's turn, and the ciphertext for it. The stream
  /// is not read meanwhile.
  struct WaitingStep {
    PooledText wire;
    net::TurnBudget::Place place;
  };
  std::unique_ptr<WaitingStep> waiting_step_;
  net::TurnBudget::Lane lane_;   // of the handshake's steps
  bool hello_answered_ = false;  // bytes of the handshake have been written
  Security security_ = Security::clear;
  Delivery delivery_ = Delivery::collect;
  bool paused_ = false;      // by the session, because the other leg is full
  bool input_full_ = false;  // by ourselves
  bool peer_ended_ = false;
  bool write_ended_ = false;
};

}  // namespace starttls::session

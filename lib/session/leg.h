#pragma once

// Theory of operation.
//
// A leg is one connection and its TLS: a stream and, once there is one, an engine. To its session
// it is an endpoint of plaintext, whatever happens below.
//
// What arrives is delivered in one of two ways. During a prelude it is collected in `input()`,
// bounded, and the session consumes the part that its role understood. In the relay it is handed on
// as a span of the loop's slab, with nothing kept: clear text is the slab the kernel read into;
// ciphertext is opened from that slab into the plain slab.
//
// What is written is sealed from the caller's memory into the loop's wire slab and given to the
// kernel at once. Only an unsent tail is kept, by the stream.
//
// The rule against injected commands and replies stands here and nowhere else: `start_tls` refuses
// when a single octet waits that came in the clear behind the line that starts TLS, be it in
// `input()` or still in the kernel (CVE-2011-0411, CVE-2021-38371 and their family).
//
// A leg ends cleanly (FIN in the clear, close_notify under TLS) or is cut. `finish()` is our own
// end: what is queued, close_notify, FIN; then input is discarded until the peer's FIN, because
// closing a socket with unread input sends RST, which would destroy the last words on their way.

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
  clean,  ///< the peer said that this was all
  cut,  ///< the connection ended, but the peer did not say so: TLS without close_notify, or a reset
};

/// What a leg tells its session. The leg lives until the session drops it, which it may do inside
/// none of these calls.
class LegEvents {
 public:
  /// Prelude: `input()` has grown.
  virtual void on_leg_input(Leg& leg) = 0;
  /// Relay: plaintext in a slab of the loop, gone when the call returns.
  virtual void on_leg_data(Leg& leg, std::span<const std::byte> plaintext) = 0;
  virtual void on_leg_secured(Leg& leg) = 0;
  /// The peer's direction is over.
  virtual void on_leg_end(Leg& leg, LegEnd end, std::string_view how) = 0;
  /// All that was written has been taken by the kernel.
  virtual void on_leg_drained(Leg& leg) = 0;
  /// The peer takes nothing any more.
  virtual void on_leg_write_failed(Leg& leg, Error error) = 0;
  /// The handshake failed or a record was bad: nothing more will come, and what an alert could say
  /// has been written.
  virtual void on_leg_failed(Leg& leg, Error error) = 0;
  /// After `finish`: both directions are over.
  virtual void on_leg_finished(Leg& leg) = 0;

 protected:
  ~LegEvents() = default;
};

class Leg final : public DialogueEndpoint, net::StreamEvents {
 public:
  /// Clear text or plaintext that may wait for a role; then the peer is not read.
  static constexpr std::size_t kMaxInput = 64UL * 1024;
  /// The same for a client before it is greeted: the longest line (SMTP AUTH, RFC 4954 §4.5.2).
  /// What it sends ahead of time waits in the kernel.
  static constexpr std::size_t kMaxEarlyInput = 12UL * 1024;
  /// One read during a prelude.
  static constexpr std::size_t kPreludeRead = 16UL * 1024;

  /// Takes a connected stream.
  Leg(net::Stream::Ptr stream, LegEvents& events) noexcept;
  Leg(const Leg&) = delete;
  Leg& operator=(const Leg&) = delete;

  /// From here on somebody else is told.
  void set_events(LegEvents& events) noexcept { events_ = &events; }

  /// Begins to read, into `input()`.
  void start();

  [[nodiscard]] std::string_view input() const noexcept override { return input_.view(); }
  /// Inside `on_leg_input`: the end of `input()` that has just come.
  [[nodiscard]] std::string_view news() const noexcept {
    return input_.view().substr(input_.size() - news_size_);
  }
  /// Drops the first `bytes` of `input()`. Does nothing after `finish`: a write between looking at
  /// the input and this call may have failed and ended the leg.
  void consume(std::size_t bytes) override;
  /// How much `input()` may hold before the peer is not read any more: `kMaxInput` at first. Under
  /// TLS a whole record may come on top.
  void limit_input(std::size_t bytes);
  /// From here on what arrives is handed on; what waits in `input()` first, from inside this call.
  void start_relay();

  /// TLS from the first byte, those in `input()` included. TurnBudget of the handshake wait in
  /// `lane`. Errors of the handshake come by `on_leg_failed`.
  void start_implicit_tls(std::unique_ptr<tls::Engine> engine, net::TurnBudget::Lane lane);
  /// STARTTLS: writes `go_ahead` (may be empty) and begins the handshake. Errors: attack, and then
  /// nothing was written.
  [[nodiscard]] Result<> start_tls(std::string_view go_ahead, std::unique_ptr<tls::Engine> engine,
                                   net::TurnBudget::Lane lane);

  void write(std::span<const std::byte> plaintext) override;
  void write(std::string_view text) { write(std::as_bytes(std::span{text})); }
  [[nodiscard]] std::size_t queued() const noexcept override { return stream_->queued(); }
  void pause_reading() noexcept override;
  void resume_reading() override;
  void end_write() override;

  /// Ends both directions in peace; see above. The caller sets the deadline.
  void finish();
  /// RST.
  void reset() noexcept { stream_->reset(); }

  /// The handshake was completed, whatever came after it.
  [[nodiscard]] bool secured() const noexcept override {
    return engine_ != nullptr && engine_->established();
  }
  /// What is written goes out: not during a handshake, nor after one that failed.
  [[nodiscard]] bool writable() const noexcept override {
    return security_ == Security::clear || (security_ == Security::secured && !write_ended_);
  }
  /// After `finish`: both directions are over.
  [[nodiscard]] bool finished() const noexcept {
    return delivery_ == Delivery::discard && peer_ended_ && stream_->queued() == 0;
  }
  /// Upstream, where the engine was told to keep it: see Engine::peer_chain.
  [[nodiscard]] std::vector<tls::CertificateInfo> peer_chain() const {
    return engine_ == nullptr ? std::vector<tls::CertificateInfo>{} : engine_->peer_chain();
  }
  /// Downstream, when secured: why the client is not accepted; null where it is.
  [[nodiscard]] const Error* refusal() const noexcept { return engine_->refusal(); }
  /// Downstream, when secured: see Engine::take_client_facts.
  [[nodiscard]] tls::ClientFacts take_client_facts() { return engine_->take_client_facts(); }
  /// What the session line says; only when secured.
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

  [[nodiscard]] bool has_clear_input() const noexcept;
  [[nodiscard]] std::string take_handshake_input();
  void step_handshake(std::span<const std::byte> wire);
  [[nodiscard]] bool is_client_gone() const noexcept;
  void advance_handshake(std::span<const std::byte> wire);
  void open(std::span<const std::byte> wire);
  void deliver(std::span<const std::byte> plaintext);
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
  bool hello_answered_ = false;  // something of the handshake has been written
  Security security_ = Security::clear;
  Delivery delivery_ = Delivery::collect;
  bool paused_ = false;      // by the session: the other leg is full
  bool input_full_ = false;  // by ourselves
  bool peer_ended_ = false;
  bool write_ended_ = false;
};

}  // namespace starttls::session

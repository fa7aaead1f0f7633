#pragma once

// The connection of a client of the load generator: a blocking socket, with TLS if wanted.

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "lib/base/address.h"
#include "lib/base/buffer.h"
#include "lib/base/tls_mode.h"
#include "lib/tls/context.h"
#include "lib/tls/engine.h"

namespace starttls::bench {

/// Thrown if the other side, or the way to it, did not do what it should. `what` says what was
/// received.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The address that clients connect to, and the way they do it. Shared by all threads.
struct Target {
  Address address;  ///< an IP literal or a unix socket
  TlsMode tls = TlsMode::none;
  std::shared_ptr<const tls::Context> context;  ///< null with TlsMode::none
  std::string server_name;
  bool resume = false;     ///< offer the sessions of earlier connections
  std::size_t record = 0;  ///< plaintext bytes of a TLS record that is sent; 0 = as many as fit
};

/// One connection, to be used by one thread. Every function throws Failure, also if nothing happens
/// for a minute. Working memory belongs to the thread, so that thousands of connections can be
/// held.
class Connection {
 public:
  explicit Connection(const Target& target);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  /// Performs the handshake. No data that was sent in the clear may be waiting.
  void start_tls();
  void send(std::string_view bytes);
  /// Returns the next bytes; empty at the end of the connection. They are valid until the next call
  /// of any connection of this thread.
  [[nodiscard]] std::string_view receive();

  /// Returns null without TLS.
  [[nodiscard]] const tls::Engine* engine() const noexcept { return engine_.get(); }

 private:
  std::size_t receive_wire();
  void send_wire(std::string_view bytes);

  const Target& target_;
  int fd_ = -1;
  BufferPool pool_;  // one per connection: an idle connection outlives the thread that opened it
  std::unique_ptr<tls::Engine> engine_;
  std::string early_;  // plaintext that came with the end of the handshake
  bool ended_ = false;
};

}  // namespace starttls::bench

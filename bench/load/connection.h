#pragma once

// A blocking socket and, where there is one, its TLS: what a client of the load generator talks
// through.

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

/// The other side, or the way to it, did not do what it should; `what` says what was heard.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Where clients connect to, and how. Shared by all threads.
struct Target {
  Address address;  ///< an IP literal or a unix socket
  TlsMode tls = TlsMode::none;
  std::shared_ptr<const tls::Context> context;  ///< null with TlsMode::none
  std::string server_name;
  bool resume = false;     ///< offer the sessions of earlier connections
  std::size_t record = 0;  ///< plaintext octets of a TLS record that is sent; 0 = as many as fit
};

/// Every function throws Failure, also where nothing happens for a minute. Working memory belongs
/// to the thread, so that thousands of connections can be held; one connection is for one thread.
class Connection {
 public:
  explicit Connection(const Target& target);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  /// The handshake; nothing may wait that was sent in the clear.
  void start_tls();
  void send(std::string_view octets);
  /// What comes next; empty at the end of the connection. Valid until the next call of any
  /// connection of this thread.
  [[nodiscard]] std::string_view receive();

  /// Null without TLS.
  [[nodiscard]] const tls::Engine* engine() const noexcept { return engine_.get(); }

 private:
  std::size_t receive_wire();
  void send_wire(std::string_view octets);

  const Target& target_;
  int fd_ = -1;
  BufferPool pool_;  // of this connection: idle ones outlive the thread that made them
  std::unique_ptr<tls::Engine> engine_;
  std::string early_;  // plaintext that came with the end of the handshake
  bool ended_ = false;
};

}  // namespace starttls::bench

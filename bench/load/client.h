#pragma once

// A mail client that knows no TLS: what stands before the proxy under test.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "lib/base/address.h"

namespace starttls::bench {

/// The other side, or the way to it, did not do what it should; `what` says what was heard.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One SMTP session over a blocking socket. Every function throws Failure, also where nothing
/// happens for a minute.
class Client {
 public:
  /// Connects to an IP literal or a unix socket and waits for the greeting.
  explicit Client(const Address& address);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  /// EHLO; it must be answered with 250.
  void hello();
  /// EHLO and MAIL: from here on a proxy relays.
  void commit();
  /// One message of `octets` of the pattern, a multiple of kPatternLine; its receiver must say that
  /// all of it arrived.
  void send_message(std::uint64_t octets);
  /// Has the backend send `octets` and compares them with the pattern.
  void fetch(std::uint64_t octets);
  /// QUIT, and the end of the connection.
  void quit();

 private:
  /// Sends one line and returns the last line of the reply, whose code must be `code`.
  std::string command(std::string_view line, std::string_view code);
  std::string reply(std::string_view code);
  std::string read_line();
  /// Fills the buffer; false at the end of the connection.
  bool receive();
  void send_all(std::string_view octets);

  int fd_;
  std::string buffer_;
  std::string_view unread_;  // of the buffer
};

}  // namespace starttls::bench

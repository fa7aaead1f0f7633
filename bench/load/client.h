#pragma once

// A mail client in front of the proxy under test. It drives one session step by step; the steps are
// the same in all protocols.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bench/load/connection.h"

namespace starttls::bench {

/// One client session. Every function throws Failure. Each protocol is a subclass with its own
/// commands.
class Client {
 public:
  explicit Client(const Target& target) : target_(target), connection_(target) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client() = default;

  /// Reads the greeting and starts TLS if the target wants it. Goes on until the server itself must
  /// have answered.
  void open();
  /// Sends login or envelope. From here on a proxy relays, and messages can be sent.
  virtual void commit() = 0;
  /// Sends one message of `bytes` bytes of the pattern, a multiple of kPatternLine. Its receiver
  /// must confirm that all of it arrived. Call it after `commit`.
  virtual void send_message(std::uint64_t bytes) = 0;
  /// Lets the backend send `bytes` bytes and compares them with the pattern. Call it after
  /// `commit`.
  void fetch(std::uint64_t bytes);
  /// Sends a command that does nothing, and reads its reply.
  virtual void round_trip() = 0;
  /// Sends the last command, and waits for the end of the connection.
  void quit();

  /// Returns null without TLS.
  [[nodiscard]] const tls::Engine* engine() const noexcept { return connection_.engine(); }

 protected:
  virtual void greeting() = 0;
  /// Sends STARTTLS, and waits for the go-ahead.
  virtual void ask_for_tls() = 0;
  /// Does the first steps of a protocol once TLS is up, or at the start of a session without TLS.
  virtual void introduce() {}
  virtual void ask_for(std::uint64_t bytes) = 0;
  virtual void say_goodbye() = 0;

  void say(std::string_view bytes) { connection_.send(bytes); }
  /// Returns the next line without its end.
  [[nodiscard]] std::string line();
  /// Returns the next line, which must begin this way.
  std::string expect(std::string_view beginning);
  /// Skips lines until one begins this way, and returns that one.
  std::string expect_last(std::string_view beginning);
  /// Sends `bytes` bytes of the pattern, then `end`.
  void say_pattern(std::uint64_t bytes, std::string_view end);
  /// Throws unless the backend reports that this many bytes of the pattern arrived.
  static void check_arrived(std::string_view answer, std::uint64_t bytes);

 private:
  const Target& target_;
  Connection connection_;
  std::string unread_;
};

/// Connects. Returns null if there is no such protocol.
[[nodiscard]] std::unique_ptr<Client> make_client(std::string_view protocol, const Target& target);
/// True if clients of this protocol can send messages.
[[nodiscard]] bool can_send(std::string_view protocol) noexcept;

}  // namespace starttls::bench

#pragma once

// A mail client in front of the proxy under test: one session, driven step by step, the same steps
// in all protocols.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bench/load/connection.h"

namespace starttls::bench {

/// Every function throws Failure. A protocol is a subclass that knows its words.
class Client {
 public:
  explicit Client(const Target& target) : target_(target), connection_(target) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client() = default;

  /// Greeting and, as the target wants it, TLS; until the server itself must have answered.
  void open();
  /// Login or envelope: from here on a proxy relays, and messages can go.
  virtual void commit() = 0;
  /// One message of `octets` of the pattern, a multiple of kPatternLine; its receiver must say that
  /// all of it arrived. After `commit`.
  virtual void send_message(std::uint64_t octets) = 0;
  /// Has the backend send `octets` and compares them with the pattern. After `commit`.
  void fetch(std::uint64_t octets);
  /// A command that does nothing, and its reply.
  virtual void round_trip() = 0;
  /// The last command, and the end of the connection.
  void quit();

  /// Null without TLS.
  [[nodiscard]] const tls::Engine* engine() const noexcept { return connection_.engine(); }

 protected:
  virtual void greeting() = 0;
  /// STARTTLS, up to the go-ahead.
  virtual void ask_for_tls() = 0;
  /// What a client hears or says when TLS is up, or first of all without it.
  virtual void introduce() {}
  virtual void ask_for(std::uint64_t octets) = 0;
  virtual void say_goodbye() = 0;

  void say(std::string_view octets) { connection_.send(octets); }
  /// The next line without its end.
  [[nodiscard]] std::string line();
  /// A line that begins so; it is returned.
  std::string expect(std::string_view beginning);
  /// Skips lines until one begins so.
  std::string expect_last(std::string_view beginning);
  /// `octets` of the pattern and then `end`.
  void say_pattern(std::uint64_t octets, std::string_view end);
  /// Throws unless the backend says that so many octets of the pattern arrived.
  static void check_arrived(std::string_view answer, std::uint64_t octets);

 private:
  const Target& target_;
  Connection connection_;
  std::string unread_;
};

/// Connects. Null where there is no such protocol.
[[nodiscard]] std::unique_ptr<Client> make_client(std::string_view protocol, const Target& target);
/// Whether its clients can send messages at all.
[[nodiscard]] bool can_send(std::string_view protocol) noexcept;

}  // namespace starttls::bench

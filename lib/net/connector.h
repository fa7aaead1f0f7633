#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/net/loop.h"
#include "lib/net/resolver.h"
#include "lib/net/stream.h"
#include "lib/net/timer.h"

namespace starttls::net {

/// Connects to one configured address. It resolves the name and tries the addresses, IPv6 and IPv4
/// in turn. The next attempt starts after 250 ms, or as soon as one fails (RFC 8305 §5). The first
/// established connection is handed over, the others are dropped.
///
/// May be destroyed at any time on the loop's thread; nothing is reported then.
class Connector {
 public:
  /// An established connection.
  struct Connected {
    Stream::Ptr stream;
    SocketAddress server;  ///< the address that took it
  };
  using OnDone = std::function<void(Result<Connected>)>;

  /// Time between the starts of two attempts (RFC 8305 §8).
  static constexpr std::chrono::milliseconds kAttemptDelay{250};
  /// Largest number of attempts: a name with more addresses is a fault or an attack.
  static constexpr std::size_t kMaxAddresses = 16;
  /// Largest number of attempts at once. Each takes a descriptor, and a name with many silent
  /// addresses must not take all that the process has.
  static constexpr std::size_t kMaxAtOnce = 3;

  /// `per_address` is the time that one address may take. Errors: unreachable, timeout. The
  /// evidence has each address with the system's words.
  Connector(Loop& loop, Resolver& resolver, Address address, std::chrono::milliseconds per_address,
            OnDone done);
  /// Connects from an address that is not ours (see `socket_of_another`). Only addresses of its
  /// family are tried.
  Connector(Loop& loop, Resolver& resolver, Address address, std::chrono::milliseconds per_address,
            const SocketAddress& source, OnDone done);
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;
  ~Connector();

  /// Begins. `done` is called from the loop, once.
  void start();

 private:
  struct Attempt;

  void resolve();
  void on_resolved(const NameAnswer& answer);
  void try_next();
  [[nodiscard]] Result<> take_source(Attempt& attempt) const;
  void note_failure(const SocketAddress& address, Error error);
  void on_attempt(Attempt& attempt, Result<> result);
  void give_up();

  Loop& loop_;
  Resolver& resolver_;
  Address address_;
  std::chrono::milliseconds per_address_;
  OnDone done_;
  std::unique_ptr<const SocketAddress> source_;  // null: the system chooses
  std::unique_ptr<Resolver::Lookup> lookup_;     // under way
  std::deque<SocketAddress> left_;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  Timer next_attempt_;
  Error last_error_{Errc::unreachable, "no address"};
  std::string evidence_;
};

}  // namespace starttls::net

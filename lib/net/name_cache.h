#pragma once

// The names that the process knows, and when it asks again. Pure: times are passed in.
//
// An answer is kept for its TTL. A failure is kept for a moment, so that a burst of clients does
// not become a burst of queries. If the name servers fail, the last good answer serves for up to an
// hour (RFC 8767). While a query is under way, its askers wait a little; then they get the old
// answer.

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/net/address.h"

namespace starttls::net {

/// The addresses of a name in the order in which they should be tried (RFC 6724). No ports.
using Addresses = std::vector<SocketAddress>;
/// Errors: unreachable; evidence: the resolver's words.
using NameAnswer = Result<std::shared_ptr<const Addresses>>;

/// A cache of names. Not thread-safe.
class NameCache {
 public:
  using Time = std::chrono::milliseconds;  ///< monotonic

  static constexpr Time kMinTtl{std::chrono::seconds{1}};
  static constexpr Time kMaxTtl{std::chrono::minutes{5}};
  /// How long a failure is the answer.
  static constexpr Time kFailure{std::chrono::seconds{2}};
  /// How long a good answer, counted from its arrival, may replace a failure of the name servers.
  static constexpr Time kStale{std::chrono::hours{1}};
  /// How long askers wait for a query before they get the old answer.
  static constexpr Time kPatience{500};

  struct Known {
    std::optional<NameAnswer> answer;  ///< to be used now; nothing: wait for a query
    bool must_ask = false;             ///< no query is under way, and the asker must begin one
  };
  [[nodiscard]] Known look(const std::string& name, Time now);
  /// Notes that a query has begun. Forgets names that are of no use any more.
  void on_asked(const std::string& name, Time now);
  /// Notes the addresses that a query has found (not empty). Returns the answer.
  NameAnswer on_found(const std::string& name, Addresses addresses, std::chrono::seconds ttl,
                      Time now);
  /// Notes that a query has failed. `final` means that the name servers say that there is no such
  /// name or address, so an older answer is wrong. Returns the answer, which may be that older one.
  NameAnswer on_failed(const std::string& name, Error error, bool final, Time now);

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    std::shared_ptr<const Addresses> good;
    Time good_at{};
    Time good_until{};
    std::optional<Error> failure;
    Time failed_until{};
    std::optional<Time> asked_at;  // a query is under way

    [[nodiscard]] bool is_usable(Time now) const noexcept {
      return good != nullptr && now < good_at + kStale;
    }
    [[nodiscard]] NameAnswer best(Time now) const;
  };

  std::map<std::string, Entry> entries_;
};

}  // namespace starttls::net

#pragma once

// Remembers the secrets that sources have given, and decides when a source is asked. Without I/O
// and without a clock.
//
// While a source is asked for an account, later requests for that account wait for the same answer.
// A secret is kept for its lifetime, or until shortly before the end that its source or the secret
// itself names. Both clocks count: a machine that sleeps stops one of them, and a clock that is set
// back moves the other. A failure is remembered for a moment, so that a flood of logins does not
// become a flood of requests.

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/session/credentials/secret_answer.h"

namespace starttls::session {

class SecretCache {
 public:
  using Milliseconds = std::chrono::milliseconds;

  /// A secret is not used in its last minutes: the server must accept it until the login is over.
  static constexpr std::chrono::minutes kMargin{5};
  static constexpr std::chrono::seconds kFailureKept{5};
  /// The most accounts of which something is kept.
  static constexpr std::size_t kMaxAccounts = 1000;
  /// The most requests that wait for one account.
  static constexpr std::size_t kMaxWaiting = 1000;
  /// The most accounts for which one source is asked at once. Others wait.
  static constexpr std::size_t kAtOnce = 8;

  struct Times {
    Milliseconds steady{};  ///< from any moment on
    Milliseconds wall{};    ///< since 1970
  };
  struct Account {
    std::string source;
    std::string user;

    auto operator<=>(const Account&) const = default;
  };
  /// A request, by a number that its owner chose.
  using Ticket = std::uint64_t;

  struct Asked {
    std::optional<SecretAnswer> answer = {};  ///< nothing: the request waits
    bool fetch = false;                       ///< its owner must ask the source now
  };
  /// Asks for the secret of an account. `refused` is the one that the server has refused, or null:
  /// it is dropped, and fetched afresh once.
  [[nodiscard]] Asked ask(Ticket ticket, const Account& account, Milliseconds lifetime,
                          const Secret* refused, Times now);

  struct Fetched {
    std::vector<Ticket> waiting;      ///< the requests that get this answer
    std::optional<Ticket> next = {};  ///< the source must now be asked for this request
  };
  /// Takes the answer of a source.
  [[nodiscard]] Fetched on_fetched(const Account& account, const SecretAnswer& answer, Times now);

  /// Forgets a request that waits. Its source's answer is kept all the same.
  void give_up(Ticket ticket, const Account& account) noexcept;

  /// Drops what is kept of sources that are not wanted any more.
  void keep_sources(const std::function<bool(const std::string& source)>& is_wanted);
  /// Wipes the secrets that must not be used any more. Returns true if something is left to wipe.
  bool drop_expired(Times now);

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  enum class State : std::uint8_t { idle, queued, fetching };
  struct Entry {
    State state = State::idle;
    Milliseconds lifetime{};
    std::vector<Ticket> waiting = {};
    std::optional<FreshSecret> kept = {};
    Times kept_until = {};
    std::optional<Secret> refused = {};          // dropped; its successor is on its way
    std::optional<Milliseconds> confirmed = {};  // when the source gave the refused one again
    std::optional<NoSecret> failure = {};
    Milliseconds failure_until{};
    std::uint64_t last_use = 0;
  };
  struct Source {
    std::size_t fetching = 0;
    std::deque<Account> queue = {};
  };
  using Entries = std::map<Account, Entry>;

  [[nodiscard]] Entry* entry_of(const Account& account);
  [[nodiscard]] static bool is_under_way(const Entry& entry) noexcept;
  void drop_if_expired(Entry& entry, Times now) noexcept;
  [[nodiscard]] std::optional<SecretAnswer> known(Entry& entry, const Secret* refused, Times now);
  void remember(Entry& entry, const NoSecret& failure, Times now);
  void keep(Entry& entry, const FreshSecret& secret, Times now);
  [[nodiscard]] std::optional<Ticket> next_of(Source& source);

  Entries entries_;
  std::map<std::string, Source> sources_;  // those that are asked
  std::uint64_t uses_ = 0;
};

}  // namespace starttls::session

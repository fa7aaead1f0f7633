#pragma once

// The keys that encrypt a server's session tickets before these leave the process (RFC 5077 §4).
// Such a key opens the sessions that it protects, so each key lives for a day at most.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/base/error.h"

namespace starttls::tls {

/// A key of tickets, wiped by its destructor.
struct TicketKey {
  static constexpr std::size_t kSize = 48;

  std::array<std::uint8_t, 16> name{};  ///< written in the ticket, in the clear
  std::array<std::uint8_t, 16> aes{};   ///< AES-128-CBC
  std::array<std::uint8_t, 16> hmac{};  ///< HMAC-SHA256

  TicketKey() = default;
  explicit TicketKey(std::span<const std::uint8_t, kSize> bytes) noexcept;
  TicketKey(const TicketKey&) = default;
  TicketKey& operator=(const TicketKey&) = default;
  ~TicketKey();
};

/// The time for which a ticket, and with it a session, can be resumed.
inline constexpr std::chrono::hours kTicketLifetime{12};

/// Keys of which one encrypts and all decrypt. Thread-safe.
class TicketKeys {
 public:
  using Clock = std::chrono::steady_clock;

  /// Returns the random keys of this process. A new one is made every 12 hours, after which the old
  /// one decrypts for 12 more. They outlive reloads, and are never written to a disk.
  [[nodiscard]] static std::shared_ptr<TicketKeys> of_process();
  /// Reads the keys of a file that replicas share. Its lines are base64 of 48 bytes (name, AES key,
  /// HMAC key: 16 each, the same as in nginx); the first encrypts. Empty lines and lines that begin
  /// with '#' are skipped. The file must be one that is_kept_secret. Errors: config, with the
  /// file's name and the line.
  [[nodiscard]] static Result<std::shared_ptr<TicketKeys>> read(const std::string& path);

  /// Makes keys that never change.
  explicit TicketKeys(std::vector<TicketKey> keys) : keys_(std::move(keys)) {}
  /// Makes random keys that are rotated; `now` is the time at which the first one is made.
  explicit TicketKeys(Clock::time_point now);
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  /// Returns the key for a new ticket, or nothing if the system gives no random bytes.
  [[nodiscard]] std::optional<TicketKey> encrypting(Clock::time_point now);

  struct Found {
    TicketKey key;
    bool is_current = false;  ///< else the ticket is due to be renewed
  };
  /// Returns the key that a ticket names, or nothing if it is not known.
  [[nodiscard]] std::optional<Found> find(std::span<const std::uint8_t, 16> name,
                                          Clock::time_point now);

 private:
  [[nodiscard]] bool rotates() const noexcept { return made_ != Clock::time_point{}; }
  bool rotate(Clock::time_point now);

  std::mutex mutex_;
  std::vector<TicketKey> keys_;  // the first encrypts
  Clock::time_point made_{};     // of the first; keys of a file have none
};

}  // namespace starttls::tls

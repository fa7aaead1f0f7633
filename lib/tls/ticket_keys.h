#pragma once

// The keys under which a server's session tickets leave the process (RFC 5077 §4): whoever has one
// can read the sessions it protects, so each lives for a day at most.

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

/// Wiped when it goes.
struct TicketKey {
  static constexpr std::size_t kSize = 48;

  std::array<std::uint8_t, 16> name{};  ///< stands in the ticket, in the clear
  std::array<std::uint8_t, 16> aes{};   ///< AES-128-CBC
  std::array<std::uint8_t, 16> hmac{};  ///< HMAC-SHA256

  TicketKey() = default;
  explicit TicketKey(std::span<const std::uint8_t, kSize> octets) noexcept;
  TicketKey(const TicketKey&) = default;
  TicketKey& operator=(const TicketKey&) = default;
  ~TicketKey();
};

/// How long a ticket, and with it a session, can be resumed.
inline constexpr std::chrono::hours kTicketLifetime{12};

/// One encrypts, all decrypt. Thread-safe.
class TicketKeys {
 public:
  using Clock = std::chrono::steady_clock;

  /// Random keys of this process: a new one every 12 hours, after which the old one decrypts for 12
  /// more. They outlive reloads, and no disk sees them.
  [[nodiscard]] static std::shared_ptr<TicketKeys> of_process();
  /// Keys of a file that replicas share: lines of base64 of 48 octets (name, AES key, HMAC key: 16
  /// each, as nginx has them), the first encrypts. Empty lines and lines that begin with '#' are
  /// skipped. The file must be its owner's alone. Errors: config, with the file's name and the
  /// line.
  [[nodiscard]] static Result<std::shared_ptr<TicketKeys>> read(const std::string& path);

  /// Keys that stay as they are.
  explicit TicketKeys(std::vector<TicketKey> keys) : keys_(std::move(keys)) {}
  /// Random keys, rotated; `now` is when the first one is made.
  explicit TicketKeys(Clock::time_point now);
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  /// For a new ticket. Nothing where the system gives no random octets.
  [[nodiscard]] std::optional<TicketKey> encrypting(Clock::time_point now);

  struct Found {
    TicketKey key;
    bool is_current = false;  ///< else the ticket is due to be renewed
  };
  /// For a ticket that names its key.
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

#pragma once

// The interface between the data plane and TLS: records in, plaintext out, and back. Everything
// works from the caller's slab into the caller's slab; a codec owns no payload buffer of its own.

#include <cstddef>
#include <memory>
#include <span>

#include "lib/base/error.h"

namespace starttls::tls {

/// The output for the peer: a codec appends TLS bytes to `buffer` and raises `used`. They are sent
/// even if the call fails, because an alert may be among them.
struct WireOut {
  std::span<std::byte> buffer;
  std::size_t used = 0;

  [[nodiscard]] std::span<std::byte> free() const noexcept { return buffer.subspan(used); }
  [[nodiscard]] std::span<const std::byte> written() const noexcept { return buffer.first(used); }
};

struct OpenedRecords {
  std::size_t consumed = 0;   ///< bytes of input used; a partial record at the end is kept inside
  std::size_t produced = 0;   ///< bytes of plaintext
  bool close_notify = false;  ///< the peer has ended its direction; nothing follows
};

/// Largest record on the wire (RFC 8446 §5.2, RFC 5246 §6.2.3).
inline constexpr std::size_t kMaxRecordPlain = 16384;
inline constexpr std::size_t kMaxRecordWire = 5 + kMaxRecordPlain + 2048;
/// Records in a row that bring no payload, such as KeyUpdates. BoringSSL allows as many.
inline constexpr unsigned kMaxIdleRecords = 32;
/// Minimum room for plaintext that `open` needs: a record, its type, and what an attacker may have
/// added after it before it is refused.
inline constexpr std::size_t kMinPlainRoom = kMaxRecordPlain + 256;
/// Maximum bytes that sealing adds to each record (TLS 1.3: header 5, type 1, tag 16; TLS 1.2: 5 +
/// 8 + 16; CBC: 5 + 16 + 16 + 32, twice for the 1/n-1 split of TLS 1.0).
inline constexpr std::size_t kMaxRecordOverhead = 160;

/// Returns the maximum room that `seal` needs for `plain` bytes.
[[nodiscard]] constexpr std::size_t sealed_size_bound(std::size_t plain) noexcept {
  return plain + (plain / kMaxRecordPlain + 2) * kMaxRecordOverhead;
}

/// One leg's record layer after the handshake. Not thread-safe; lives on its worker.
class RecordCodec {
 public:
  RecordCodec() = default;
  RecordCodec(const RecordCodec&) = delete;
  RecordCodec& operator=(const RecordCodec&) = delete;
  virtual ~RecordCodec() = default;

  /// Opens records from `wire` into `plain` until either is exhausted. If `plain` is filled
  /// (`produced == plain.size()`) the rest of a record may be kept inside. Then call again, with
  /// what is left of `wire` or with nothing, until `plain` is not filled. The record layer's own
  /// messages (KeyUpdate, alerts) go to `out`. Errors: tls. Then `opened` has what was produced
  /// before the bad record, and nothing of the bad record or after it.
  [[nodiscard]] virtual Result<> open(std::span<const std::byte> wire, std::span<std::byte> plain,
                                      WireOut& out, OpenedRecords& opened) = 0;
  /// Seals all of `plain`; `out` must have `sealed_size_bound(plain.size())` free. Errors: tls.
  [[nodiscard]] virtual Result<> seal(std::span<const std::byte> plain, WireOut& out) = 0;
  /// Seals close_notify: our direction ends (RFC 8446 §6.1). Safe to repeat.
  virtual void close(WireOut& out) noexcept = 0;
};

}  // namespace starttls::tls

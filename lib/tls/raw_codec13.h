#pragma once

// The record layer of TLS 1.3 (RFC 8446 §5) over the bare ciphers. Theory of operation:
//
// The library does the handshake. Then this codec takes over its traffic secrets and sequence
// numbers. From there on records are opened from the slab that the kernel filled into the plain
// slab, and sealed from there into the wire slab. The cipher's own pass is the only one over the
// payload. Keys are expanded for a burst of records and wiped after it (expanded_key.h), because
// an idle session should hold only what it needs. Only a record that a read has cut in two is
// copied, once, into a block of the pool.
//
// With the keys come the duties: alerts and close_notify both ways, KeyUpdate both ways, and a
// KeyUpdate of our own before the cipher's limit (§5.5). Tickets go to the library, which knows
// what a session is. Padding, sizes, types, and the cost of a flood of records without content are
// checked here. Every error of a peer ends the connection with the alert that the RFC names. No
// part of a record is seen before all of it is authenticated.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "lib/base/buffer.h"
#include "lib/base/tls_settings.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/record_codec.h"

namespace starttls::tls {

struct RawCodec13Options {
  BufferPool& pool;
  RecordCipher cipher = RecordCipher::library;
  /// Smallest number of bytes at once for which `cipher` is used; the library's own is for less.
  std::size_t cipher_from = 0;
  /// Client role: handles a NewSessionTicket, its header included; false = it is malformed. Server
  /// role: empty, and a ticket is an error.
  std::function<bool(std::span<const std::byte> message)> on_ticket = {};
  /// Maximum records of payload sealed under one key. AES-GCM is good for 2^24.5 of full size
  /// (§5.5).
  std::uint64_t max_records = std::uint64_t{1} << 24U;
};

/// Takes over from `ssl`, after its handshake and with nothing left for it to read or to send.
/// Returns null if that is impossible: not TLS 1.3, a cipher that is not known here, or bytes
/// pending. The codec does not need `ssl` afterwards.
[[nodiscard]] std::unique_ptr<RecordCodec> make_raw_codec13(const SSL& ssl,
                                                            RawCodec13Options options);

/// One direction's application_traffic_secret_N (RFC 8446 §7.1) and the number of its next record.
struct TrafficKeys {
  std::span<const std::uint8_t> secret;
  std::uint64_t sequence = 0;
};
/// Makes a codec from bare keys; copies them. `suite` is the cipher suite's number. Returns null if
/// the suite is not known or a secret is not as long as its hash.
[[nodiscard]] std::unique_ptr<RecordCodec> make_raw_codec13(std::uint16_t suite,
                                                            const TrafficKeys& read,
                                                            const TrafficKeys& write,
                                                            RawCodec13Options options);

}  // namespace starttls::tls

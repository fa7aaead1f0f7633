#pragma once

#include <memory>

#include "lib/tls/boringssl.h"
#include "lib/tls/record_codec.h"
#include "lib/tls/wire_bio.h"

namespace starttls::tls {

/// Makes a codec that uses the library's own record layer, for every version. `ssl` has completed
/// its handshake and reads and writes through `io`; both outlive the codec.
///
/// Copies of payload: opening, wire -> the library's record buffer (decrypted in place) -> plain;
/// sealing, plain -> the library's write buffer (encrypted on the way) -> wire. The library frees
/// both buffers when they are empty.
[[nodiscard]] std::unique_ptr<RecordCodec> make_ssl_codec(SSL& ssl, WireIo& io);

}  // namespace starttls::tls

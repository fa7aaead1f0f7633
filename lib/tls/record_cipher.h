#pragma once

// The ciphers of records. AES-GCM has two implementations: the TLS library's, and that of
// libipsec-mb. The latter is several times as fast on CPUs with vector AES, if the TLS library does
// not use that itself. Both give the same bytes.

#include <string>

#include "lib/base/tls_settings.h"

namespace starttls::tls {

/// Returns the cipher for a setting. `automatic` is libipsec-mb if this build and this CPU have it,
/// it agrees with the library in a self-test, and it is faster in a trial of about a millisecond;
/// otherwise the library. The answer is found once per process. Thread-safe.
[[nodiscard]] RecordCipher choose_record_cipher(RecordCipherChoice setting);
/// Returns the name and version of a cipher's library, for people.
[[nodiscard]] std::string describe(RecordCipher cipher);

/// True if both ciphers seal and open the same: RFC 8448 §3 and records of many sizes with random
/// keys, and every damaged record is refused. Call it only if `multi_buffer::is_available`.
[[nodiscard]] bool ciphers_agree();

}  // namespace starttls::tls

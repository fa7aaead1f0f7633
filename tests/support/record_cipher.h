#pragma once

#include <cstdlib>

#include "lib/base/tls_settings.h"
#include "lib/tls/multi_buffer.h"

namespace starttls::test {

/// Returns the cipher of this run: libipsec-mb's if there is one. Test programs that use it run
/// twice, once with the TLS library's cipher: see tests/tls/CMakeLists.txt.
inline RecordCipher record_cipher() {
  return tls::multi_buffer::is_available() && std::getenv("STARTTLS_LIBRARY_CIPHER") == nullptr
             ? RecordCipher::multi_buffer
             : RecordCipher::library;
}

}  // namespace starttls::test

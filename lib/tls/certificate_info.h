#pragma once

#include <optional>
#include <string>

#include "lib/base/utc.h"
#include "lib/tls/name_match.h"

namespace starttls::tls {

/// The facts about a certificate that `probe` shows. Subject and issuer are escaped.
struct CertificateInfo {
  std::string subject;
  std::string issuer;
  PresentedNames names;                ///< as the certificate has them, not escaped
  std::optional<UnixTime> not_before;  ///< nothing: it cannot be read
  std::optional<UnixTime> not_after;   ///< the last valid second; nothing: it cannot be read
  std::string key;                     ///< "RSA 2048", "ECDSA 256"
  std::string pin;                     ///< "sha256:BASE64"
};

}  // namespace starttls::tls

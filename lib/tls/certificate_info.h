#pragma once

#include <chrono>
#include <string>

namespace starttls::tls {

/// A certificate in words, as `probe` shows it. Texts are escaped.
struct CertificateInfo {
  std::string subject;
  std::string issuer;
  std::string names;
  std::string not_before;  ///< "2026-01-31 12:00:00 UTC"
  std::string not_after;
  std::string key;                   ///< "RSA 2048", "ECDSA 256"
  std::string pin;                   ///< "sha256:BASE64"
  std::chrono::seconds valid_for{};  ///< negative: it ended that long ago
};

}  // namespace starttls::tls

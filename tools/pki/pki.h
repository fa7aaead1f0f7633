#pragma once

// Throw-away certificates, made in memory. They are right, or wrong in every way that tests need.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace starttls::pki {

enum class KeyType : std::uint8_t {
  ecdsa_p256,
  ecdsa_p384,
  ecdsa_p521,
  ed25519,
  rsa_4096,
  rsa_2048,
  rsa_1024,
};
enum class Usage : std::uint8_t { server, client, unspecified };  ///< extended key usage
enum class Digest : std::uint8_t { sha256, sha1 };

struct CertificateOptions {
  std::string common_name;
  std::vector<std::string> dns_names = {};     ///< written as they are, NUL included
  std::vector<std::string> ip_addresses = {};  ///< literals
  KeyType key = KeyType::ecdsa_p256;
  std::chrono::seconds not_before = std::chrono::hours{-1};      ///< from now
  std::chrono::seconds not_after = std::chrono::hours{24 * 30};  ///< from now
  std::optional<std::chrono::seconds> begins = std::nullopt;  ///< since 1970; replaces not_before
  std::optional<std::chrono::seconds> ends = std::nullopt;    ///< since 1970; replaces not_after
  Usage usage = Usage::server;
  bool ca = false;
  std::optional<int> path_length = std::nullopt;  ///< of a CA
  std::vector<std::string> permitted_dns = {};    ///< name constraint of a CA
  Digest digest = Digest::sha256;                 ///< of the signature on it
  bool authority_key_id = true;                   ///< it has the identifier of its issuer's key
};

/// A certificate, its private key and the chain up to its root. Copies share them. Throws
/// std::runtime_error if the library fails: the cause is never a peer here.
class Identity {
 public:
  [[nodiscard]] static Identity self_signed(const CertificateOptions& options);
  /// Makes a certificate with a fresh key, signed by this one even if this one is not a CA.
  [[nodiscard]] Identity issue(const CertificateOptions& options) const;
  /// Makes a certificate of the key of `subject`, signed by this one. It is a renewal or a
  /// cross-signature.
  [[nodiscard]] Identity issue_for(const Identity& subject,
                                   const CertificateOptions& options) const;

  [[nodiscard]] std::string certificate_pem() const;
  /// Returns the chain as a server sends it: this certificate and those above it. A self-signed
  /// root is left out, but a self-signed certificate is its own chain.
  [[nodiscard]] std::string chain_pem() const;
  [[nodiscard]] std::string key_pem() const;  ///< PKCS #8, unencrypted

 private:
  struct Impl;
  explicit Identity(std::shared_ptr<const Impl> impl) noexcept;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace starttls::pki

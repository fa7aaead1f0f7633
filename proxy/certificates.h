#pragma once

// Our own certificates: when they are valid, and what is wrong with them. Without a clock or a log.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/base/side.h"
#include "lib/base/utc.h"
#include "lib/config/config.h"
#include "lib/config/describe.h"
#include "lib/config/load.h"
#include "proxy/state.h"

namespace starttls {

/// A certificate that the configuration names, with the limits of its whole chain. Names and issuer
/// are those of the chain's first certificate.
struct CertificateInUse {
  std::string service;
  Side side;
  std::string file;         ///< of its chain
  UnixTime not_before;      ///< the latest one of the chain
  UnixTime not_after;       ///< the earliest one of the chain
  std::string names = {};   ///< "a.example, b.example", printable, bounded
  std::string issuer = {};  ///< printable
  unsigned rsa_bits = 0;    ///< of the chain's weakest RSA key, 0 without one
  std::size_t row = 0;      ///< its row in `certificates`
  std::array<std::uint8_t, 32> chain_digest = {};  ///< another chain has another

  // The subjects of the certificates that have these limits, printable. "" = the first one.
  std::string latest_begin_of = {};
  std::string earliest_end_of = {};
  std::string weakest_key_of = {};
};

/// Returns our certificates, service by service, the clients' leg first. The certificate for
/// servers is there once, even if the legs to several destinations use it.
[[nodiscard]] std::vector<CertificateInUse> certificates_of(const Services& services);

/// A fault of a certificate that a person must do something about.
struct CertificateFinding {
  enum class Kind : std::uint8_t { not_yet_valid, expired, ends_soon, weak_key };

  Kind kind;
  std::string text;          ///< follows the certificate: "expired on ..."
  std::string subject = {};  ///< of the certificate concerned; "" = the first one of the chain

  /// Returns "the certificate", with its subject if it is not the first one of the chain.
  [[nodiscard]] std::string certificate() const;
  /// Returns a whole sentence: "the certificate in FILE expired on ...".
  [[nodiscard]] std::string sentence(const std::string& file) const;
  /// True if peers refuse the certificate now. Otherwise it is a warning.
  [[nodiscard]] bool is_error() const noexcept {
    return kind == Kind::not_yet_valid || kind == Kind::expired;
  }
};

/// A certificate with at most this much time left should be renewed.
inline constexpr std::chrono::hours kRenewal{24 * 14};

[[nodiscard]] std::vector<CertificateFinding> look_at(const CertificateInUse& certificate,
                                                      UnixTime now);

/// Returns the first moment after `now` at which look_at finds something else; nothing if there is
/// none.
[[nodiscard]] std::optional<UnixTime> next_change(std::span<const CertificateInUse> certificates,
                                                  UnixTime now);

/// Returns lines about a chain for `config::describe`: names, issuer, end, and WARNING for each
/// finding that is not an error. Nothing if no service uses it.
[[nodiscard]] std::vector<config::DescribedLine> describe_chain(
    const std::string& chain, std::span<const CertificateInUse> certificates, UnixTime now);

/// Returns the certificates that peers refuse now, as problems of the configuration.
[[nodiscard]] config::Problems certificate_problems(const State& state, UnixTime now);

}  // namespace starttls

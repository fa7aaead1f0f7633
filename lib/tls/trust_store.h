#pragma once

// The certificates that a Context trusts.
//
// The library looks for an issuer by its name and uses the first that fits. If an authority has a
// renewed certificate (one name, one key), the library may use the expired one, and refuse a good
// server. So the library gets only the certificates that are valid now. If that finds no path, it
// gets all of them, because then the reason to report is "expired" and not "unknown".

#include <mutex>
#include <vector>

#include "lib/base/utc.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/fingerprint.h"

namespace starttls::tls {

/// Thread-safe, except `add`.
class TrustStore {
 public:
  /// Makes an empty store. Out of memory ends the process.
  TrustStore();

  /// Adds a certificate; `der` is what the store's fingerprint covers. False if the library refuses
  /// the certificate.
  [[nodiscard]] bool add(const CRYPTO_BUFFER* der, bssl::UniquePtr<X509> certificate);

  [[nodiscard]] X509_STORE* all() const noexcept { return all_.get(); }
  /// Returns a store of those that are valid at `now`, or `all` itself if there are no others.
  [[nodiscard]] bssl::UniquePtr<X509_STORE> valid_at(UnixTime now) const;

  [[nodiscard]] const std::vector<bssl::UniquePtr<X509>>& certificates() const noexcept {
    return certificates_;
  }
  /// Returns a digest that is equal if two stores hold the same certificates in the same order.
  [[nodiscard]] Digest contents() const noexcept;

 private:
  /// A store of the certificates valid from `from` until `until`, both included.
  struct Selection {
    UnixTime from;
    UnixTime until;
    bssl::UniquePtr<X509_STORE> store;
  };
  [[nodiscard]] Selection select(UnixTime now) const;

  bssl::UniquePtr<X509_STORE> all_;
  std::vector<bssl::UniquePtr<X509>> certificates_;
  Fingerprint contents_;
  mutable std::mutex mutex_;
  mutable Selection current_;
};

}  // namespace starttls::tls

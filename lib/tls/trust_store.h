#pragma once

// The certificates that a Context trusts.
//
// The library looks for an issuer by its name and takes one that fits. Of an authority and its
// renewal (one name, one key) it may take the expired one, and refuse a good server. So the library
// is given only those that are valid now. It is given all of them if that finds no path, because
// then the reason to report is "expired" and not "unknown".

#include <mutex>
#include <vector>

#include "lib/base/utc.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/fingerprint.h"

namespace starttls::tls {

/// Thread-safe, except `add`.
class TrustStore {
 public:
  /// Out of memory ends the process.
  TrustStore();

  /// `der` is what the fingerprint of the store counts. False if the library does not take it.
  [[nodiscard]] bool add(const CRYPTO_BUFFER* der, bssl::UniquePtr<X509> certificate);

  [[nodiscard]] X509_STORE* all() const noexcept { return all_.get(); }
  /// Those that are valid at `now`; `all` itself if there are no others.
  [[nodiscard]] bssl::UniquePtr<X509_STORE> valid_at(UnixTime now) const;

  [[nodiscard]] const std::vector<bssl::UniquePtr<X509>>& certificates() const noexcept {
    return certificates_;
  }
  /// Equal if two stores hold the same certificates in the same order.
  [[nodiscard]] Digest contents() const noexcept;

 private:
  /// Right from `from` until `until`, both included.
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

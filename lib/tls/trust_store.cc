#include "lib/tls/trust_store.h"

#include <algorithm>
#include <new>
#include <utility>

#include "lib/tls/verify.h"

namespace starttls::tls {
namespace {

bssl::UniquePtr<X509_STORE> new_store() {
  bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  if (!store) throw std::bad_alloc();
  return store;
}

}  // namespace

TrustStore::TrustStore() : all_(new_store()) {}

bool TrustStore::add(const CRYPTO_BUFFER* der, bssl::UniquePtr<X509> certificate) {
  if (X509_STORE_add_cert(all_.get(), certificate.get()) != 1) return false;
  contents_.add(der);
  certificates_.push_back(std::move(certificate));
  return true;
}

bssl::UniquePtr<X509_STORE> TrustStore::valid_at(UnixTime now) const {
  const std::lock_guard lock(mutex_);
  if (!current_.store || now < current_.from || now > current_.until) current_ = select(now);
  return bssl::UpRef(current_.store);
}

TrustStore::Selection TrustStore::select(UnixTime now) const {
  constexpr std::chrono::seconds kOne{1};
  Selection out{.from = {std::chrono::seconds::min()},
                .until = {std::chrono::seconds::max()},
                .store = nullptr};
  std::vector<X509*> valid;
  for (const auto& certificate : certificates_) {
    const UnixTime begins = time_of(X509_get0_notBefore(certificate.get()));
    const UnixTime ends = time_of(X509_get0_notAfter(certificate.get()));
    if (now < begins) {
      out.until = std::min(out.until, UnixTime{begins.since_1970 - kOne});
    } else if (now > ends) {
      out.from = std::max(out.from, UnixTime{ends.since_1970 + kOne});
    } else {
      out.from = std::max(out.from, begins);
      out.until = std::min(out.until, ends);
      valid.push_back(certificate.get());
    }
  }
  if (valid.size() == certificates_.size()) {
    out.store = bssl::UpRef(all_);
    return out;
  }
  out.store = new_store();
  for (X509* const each : valid) {
    if (X509_STORE_add_cert(out.store.get(), each) != 1) throw std::bad_alloc();
  }
  return out;
}

Digest TrustStore::contents() const noexcept {
  Fingerprint copy = contents_;
  return copy.finish();
}

}  // namespace starttls::tls

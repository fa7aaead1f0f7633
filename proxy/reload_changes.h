#pragma once

// The changes that a reload has made, as the log reports them. Without a clock or a log.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "lib/config/config.h"
#include "proxy/certificates.h"

namespace starttls {

/// The names of services, by the change that they had. Services are the same if their names are.
struct ServiceChanges {
  std::vector<std::string> added = {};
  std::vector<std::string> removed = {};
  std::vector<std::string> changed = {};
  std::size_t kept = 0;  ///< services without any change of their settings
};
[[nodiscard]] ServiceChanges service_changes(std::span<const config::Service> before,
                                             std::span<const config::Service> after);

/// A chain that is in use now and was not in use before.
struct CertificateChange {
  CertificateInUse certificate;
  bool replaced = false;  ///< another chain of the same file was in use before
};
/// Returns each such chain once, even if several services use it.
[[nodiscard]] std::vector<CertificateChange> certificate_changes(
    std::span<const CertificateInUse> before, std::span<const CertificateInUse> after);

/// Returns "a, b", or "a, b and 7 more" if there are more than ten.
[[nodiscard]] std::string listed(std::span<const std::string> names);

}  // namespace starttls

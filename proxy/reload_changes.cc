#include "proxy/reload_changes.h"

#include <algorithm>

namespace starttls {
namespace {

const config::Service* find(std::span<const config::Service> all, const std::string& name) {
  const auto found = std::find_if(
      all.begin(), all.end(), [&name](const config::Service& each) { return each.name == name; });
  return found == all.end() ? nullptr : &*found;
}

bool same_file(const CertificateInUse& one, const CertificateInUse& other) {
  return one.file == other.file;
}

bool same_chain(const CertificateInUse& one, const CertificateInUse& other) {
  return same_file(one, other) && one.chain_digest == other.chain_digest;
}

}  // namespace

ServiceChanges service_changes(std::span<const config::Service> before,
                               std::span<const config::Service> after) {
  ServiceChanges changes;
  for (const auto& service : after) {
    const auto* const old = find(before, service.name);
    if (old == nullptr) {
      changes.added.push_back(service.name);
    } else if (*old == service) {
      ++changes.kept;
    } else {
      changes.changed.push_back(service.name);
    }
  }
  for (const auto& service : before) {
    if (find(after, service.name) == nullptr) changes.removed.push_back(service.name);
  }
  return changes;
}

std::vector<CertificateChange> certificate_changes(std::span<const CertificateInUse> before,
                                                   std::span<const CertificateInUse> after) {
  std::vector<CertificateChange> changes;
  for (const auto& each : after) {
    const auto is_same_chain = [&each](const CertificateInUse& old) {
      return same_chain(old, each);
    };
    const auto is_same_file = [&each](const CertificateInUse& old) { return same_file(old, each); };
    if (std::any_of(before.begin(), before.end(), is_same_chain)) continue;
    const bool reported = std::any_of(
        changes.begin(), changes.end(),
        [&is_same_chain](const auto& change) { return is_same_chain(change.certificate); });
    if (reported) continue;
    changes.push_back({each, std::any_of(before.begin(), before.end(), is_same_file)});
  }
  return changes;
}

std::string listed(std::span<const std::string> names) {
  constexpr std::size_t kMost = 10;
  std::string text;
  for (const auto& name : names.first(std::min(names.size(), kMost))) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
  return text;
}

}  // namespace starttls

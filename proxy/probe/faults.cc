#include "proxy/probe/faults.h"

#include <algorithm>
#include <cstddef>

#include "lib/tls/name_match.h"
#include "proxy/probe/times.h"

namespace starttls {
namespace {

/// Returns the fault for a reason of lib/tls/verify.cc.
Fault fault_of(std::string_view reason) noexcept {
  struct Words {
    std::string_view part;
    Fault fault;
  };
  constexpr Words kWords[] = {{"pin mismatch", Fault::wrong_pin},
                              {"name mismatch", Fault::wrong_name},
                              {"not yet valid", Fault::not_yet_valid},
                              {"expired", Fault::expired},
                              {"self-signed", Fault::self_signed},
                              {"unknown CA", Fault::unknown_ca},
                              {"too weak", Fault::weak},
                              {"is signed with", Fault::weak},
                              {"of an unknown kind", Fault::weak},
                              {"cannot be read", Fault::unreadable}};
  // The names of the certificate follow the words of the policy, and may be such words too. So the
  // first words count.
  Fault found = Fault::other;
  std::size_t first = std::string_view::npos;
  for (const auto& [part, fault] : kWords) {
    const auto at = reason.find(part);
    if (at >= first) continue;
    first = at;
    found = fault;
  }
  return found;
}

/// Returns what the server's own certificate shows by itself.
std::vector<Fault> seen_faults(const ProbeReport& report) {
  std::vector<Fault> seen;
  const auto& leaf = report.chain.front();
  if (leaf.not_after && report.time > *leaf.not_after) seen.push_back(Fault::expired);
  if (leaf.not_before && report.time < *leaf.not_before) seen.push_back(Fault::not_yet_valid);
  if (!report.server_name.empty() && !tls::names_match(leaf.names, report.server_name)) {
    seen.push_back(Fault::wrong_name);
  }
  return seen;
}

std::string sentence(Fault fault, const ProbeReport& report) {
  const auto& leaf = report.chain.front();
  switch (fault) {
    case Fault::expired:
      return "the certificate expired on " + time_text(leaf.not_after);
    case Fault::not_yet_valid:
      return "the certificate is not valid before " + time_text(leaf.not_before);
    case Fault::wrong_name:
      return "the certificate does not name " + report.server_name;
    case Fault::unknown_ca:
    case Fault::self_signed:
    case Fault::wrong_pin:
    case Fault::weak:
    case Fault::unreadable:
    case Fault::other:
      break;  // only the policy finds these
  }
  return std::string(name(fault));
}

}  // namespace

std::string_view name(Fault fault) noexcept {
  switch (fault) {
    case Fault::unknown_ca:
      return "unknown_ca";
    case Fault::self_signed:
      return "self_signed";
    case Fault::expired:
      return "expired";
    case Fault::not_yet_valid:
      return "not_yet_valid";
    case Fault::wrong_name:
      return "wrong_name";
    case Fault::wrong_pin:
      return "wrong_pin";
    case Fault::weak:
      return "weak";
    case Fault::unreadable:
      return "unreadable";
    case Fault::other:
      return "other";
  }
  return "other";
}

std::vector<Fault> faults(const ProbeReport& report) {
  std::vector<Fault> all;
  if (report.error && report.error->code == Errc::certificate) {
    all.push_back(fault_of(report.error->reason));
    // The first certificate of the chain is then not the server's.
    if (all.front() == Fault::unreadable) return all;
  }
  if (report.chain.empty()) return all;
  for (const Fault fault : seen_faults(report)) {
    if (std::find(all.begin(), all.end(), fault) == all.end()) all.push_back(fault);
  }
  return all;
}

std::vector<std::string> further_faults(const ProbeReport& report) {
  const bool refused = report.error && report.error->code == Errc::certificate;
  const auto all = faults(report);
  std::vector<std::string> sentences;
  for (std::size_t i = refused ? 1 : 0; i < all.size(); ++i) {
    sentences.push_back(sentence(all[i], report));
  }
  return sentences;
}

}  // namespace starttls

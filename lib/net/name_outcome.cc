#include "lib/net/name_outcome.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include <ares.h>
#include <netinet/in.h>

namespace starttls::net {
namespace {

SocketAddress to_address(const ares_addrinfo_node& node) {
  SocketAddress address;
  std::memcpy(&address.storage, node.ai_addr, node.ai_addrlen);
  address.size = node.ai_addrlen;
  return address;
}

/// Returns the smallest TTL of the answer. An alias that points elsewhere makes the addresses wrong
/// as well, so the aliases on the way count too.
std::chrono::seconds smallest_ttl(const ares_addrinfo& found) {
  int ttl = std::numeric_limits<int>::max();
  for (const auto* node = found.nodes; node != nullptr; node = node->ai_next) {
    ttl = std::min(ttl, node->ai_ttl);
  }
  for (const auto* alias = found.cnames; alias != nullptr; alias = alias->next) {
    ttl = std::min(ttl, alias->ttl);
  }
  // A TTL of 2^31 or more counts as 0 (RFC 2181 §8). c-ares returns it as a negative number.
  return std::chrono::seconds{std::max(ttl, 0)};
}

}  // namespace

NameOutcome name_outcome(int status, const ares_addrinfo* found) {
  using Kind = NameOutcome::Kind;
  NameOutcome outcome;
  const ares_addrinfo_node* node = status == ARES_SUCCESS ? found->nodes : nullptr;
  for (; node != nullptr; node = node->ai_next) {
    if (node->ai_family != AF_INET && node->ai_family != AF_INET6) continue;
    outcome.addresses.push_back(to_address(*node));
  }
  if (!outcome.addresses.empty()) {
    outcome.kind = Kind::found;
    outcome.ttl = smallest_ttl(*found);
    if (found->name != nullptr) outcome.canonical = found->name;
    for (const auto* alias = found->cnames; alias != nullptr; alias = alias->next) {
      if (alias->name != nullptr) outcome.canonical = alias->name;
    }
    return outcome;
  }
  const bool final = status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA ||
                     status == ARES_EBADNAME;
  outcome.kind = final ? Kind::no_such_name : Kind::failed;
  outcome.words = ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status);
  return outcome;
}

}  // namespace starttls::net

#pragma once

// Turns the result of a c-ares query into ours. There is no socket and no clock here.

#include <chrono>
#include <cstdint>
#include <string>

#include "lib/net/name_cache.h"

struct ares_addrinfo;

namespace starttls::net {

/// The end of a query for a name.
struct NameOutcome {
  enum class Kind : std::uint8_t {
    found,
    no_such_name,  ///< the name servers say that there is no such name, or no address
    failed,        ///< no answer, or no usable one
  };
  Kind kind = Kind::failed;
  Addresses addresses;         ///< found: not empty, in RFC 6724's order
  std::chrono::seconds ttl{};  ///< the smallest, also of aliases; 0 if it comes from a file
  std::string canonical;       ///< found: the name that the addresses belong to
  std::string words;           ///< otherwise: c-ares's text
};

/// Returns the outcome of a query that c-ares has ended with `status`. `found` may be null, unless
/// the status is success. For a query of both families, `no_such_name` may be the status of one
/// only.
[[nodiscard]] NameOutcome name_outcome(int status, const ares_addrinfo* found);

}  // namespace starttls::net

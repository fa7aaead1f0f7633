#pragma once

// The parts of a stunnel service that decide if it can be converted: its addresses and its
// protocol.

#include <optional>
#include <string>
#include <vector>

#include "lib/base/address.h"
#include "proxy/convert/annotated_file.h"
#include "proxy/convert/stunnel_conf.h"

namespace starttls::stunnel {

/// The parts of a service, as they are found.
struct Service {
  const Section& section;
  bool client = false;      ///< stunnel's client mode: the server has TLS, the client has none
  std::string negotiation;  ///< stunnel's protocol; "" = TLS from the first byte
  std::string protocol;     ///< ours
  std::vector<std::string> listen;
  std::vector<std::string> connect;
  bool sends_proxy = false;  ///< a PROXY header has the client's address
  bool from_client = false;  ///< the server sees the client's address
};

/// Reads a service. `taken` are the addresses of the services before it. If it cannot be converted,
/// it is noted in `file` as left out.
[[nodiscard]] std::optional<Service> read_service(const Section& section,
                                                  const std::vector<Address>& taken,
                                                  AnnotatedFile& file);

}  // namespace starttls::stunnel

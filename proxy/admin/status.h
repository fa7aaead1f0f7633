#pragma once

// The state of the process in one struct: services, sessions, certificates, failures. The page for
// people and the JSON for programs are made of it. There is no socket, no thread and no clock here.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/side.h"
#include "lib/base/tls_mode.h"
#include "lib/base/utc.h"
#include "lib/metrics/metrics.h"
#include "proxy/certificates.h"
#include "proxy/recent_failures.h"
#include "proxy/state.h"

namespace starttls {

struct ServiceStatus {
  enum class State : std::uint8_t {
    serving,
    draining,   ///< no new clients are served
    not_ready,  ///< clients or servers refuse its certificate
  };

  std::string name;
  std::string protocol;
  std::vector<std::string> listen;
  std::vector<std::string> servers;  ///< empty: the address that each client meant to reach
  TlsMode downstream_tls = TlsMode::none;
  TlsMode upstream_tls = TlsMode::none;
  std::string_view verify;  ///< "full", "pin" or "none"; "" without TLS
  State state = State::serving;
  metrics::SessionCounts sessions = {};
};
[[nodiscard]] std::string_view name(ServiceStatus::State state) noexcept;

struct CertificateStatus {
  enum class Owner : std::uint8_t { proxy, server };
  enum class State : std::uint8_t { valid, ends_soon, expired, not_yet_valid };

  Owner owner = Owner::proxy;
  std::string service;
  Side leg = Side::downstream;
  std::string name;  ///< the file of our chain, or the server's address
  UnixTime not_after;
  State state = State::valid;
};
[[nodiscard]] std::string_view name(CertificateStatus::Owner owner) noexcept;
[[nodiscard]] std::string_view name(CertificateStatus::State state) noexcept;

/// The state of the process at `now`.
struct Status {
  std::string version;
  std::string host;  ///< our own name
  UnixTime now;
  UnixTime started;
  UnixTime loaded;  ///< the configuration in use
  bool last_reload_successful = true;
  bool draining = false;
  std::vector<std::string> obstacles = {};  ///< why the process is not ready: see obstacles()
  std::vector<ServiceStatus> services = {};
  std::vector<CertificateStatus> certificates = {};  ///< the one that ends first is the first one
  std::vector<RecentFailures::Entry> failures = {};  ///< newest first
};

/// A server's certificate with at most this much time left ends soon. It is shorter than kRenewal:
/// operators of servers renew theirs late, and we cannot.
inline constexpr std::chrono::hours kServerRenewal{24 * 7};

/// Returns the states of the services, in the order of the configuration.
[[nodiscard]] std::vector<ServiceStatus> services_status(const Services& services, bool draining,
                                                         UnixTime now);

/// Returns the states of our certificates and of those that servers have shown, sorted by their
/// ends.
[[nodiscard]] std::vector<CertificateStatus> certificates_status(
    const std::vector<CertificateInUse>& ours,
    const std::vector<metrics::ServerCertificateExpiry>& of_servers, UnixTime now);

/// Returns the sum of all services.
[[nodiscard]] metrics::SessionCounts all_sessions(const Status& status) noexcept;

/// Returns one word for all: "ready", "draining" or "not ready".
[[nodiscard]] std::string_view overall(const Status& status) noexcept;

}  // namespace starttls

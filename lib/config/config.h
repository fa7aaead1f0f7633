#pragma once

// Plain structs and defaults: a configuration that was found right.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/address.h"
#include "lib/base/log.h"
#include "lib/base/pin.h"
#include "lib/base/tls_mode.h"
#include "lib/base/tls_settings.h"
#include "lib/base/tls_version.h"
#include "lib/config/notation.h"

namespace starttls::config {

using LogLevel = log::Level;
using LogFormat = log::Format;
enum class SendProxy : std::uint8_t { no, v1, v2 };

struct Timeouts {
  std::chrono::milliseconds connect{std::chrono::seconds{10}};
  std::chrono::milliseconds handshake{std::chrono::seconds{10}};
  std::chrono::milliseconds prelude{std::chrono::seconds{30}};
  std::chrono::milliseconds command{std::chrono::minutes{5}};
  std::chrono::milliseconds idle{std::chrono::minutes{35}};

  friend bool operator==(const Timeouts&, const Timeouts&) = default;
};

struct Downstream {
  TlsMode tls = TlsMode::none;
  std::vector<ChainAndKey> certificates;  ///< chosen by SNI; the first is the default
  std::string client_ca;                  ///< "" = no client certificate is asked for; absolute
  TlsVersion min_tls = TlsVersion::tls1_2;
  std::string ticket_keys;              ///< "" = the process's own; absolute
  std::vector<Network> allow;           ///< empty = anyone
  std::vector<Network> proxy_protocol;  ///< peers that begin with a PROXY header, and are believed
  std::size_t max_per_client = 0;       ///< sessions of one client address; 0 = no limit

  friend bool operator==(const Downstream&, const Downstream&) = default;
};

struct Upstream {
  std::vector<Address> address;  ///< tried in order
  /// Instead of `address`, which is empty then: wherever each client meant to go.
  bool original_destination = false;
  TlsMode tls = TlsMode::starttls;
  Verification verify = Verification::full;
  std::string server_name;  ///< "" = the host of the address
  std::string ca_file;      ///< "" = the system's trust store; absolute
  std::vector<Pin> pins;    ///< any one must match; with Verification::none they alone decide
  ChainAndKey certificate;  ///< ours; both "" = none
  TlsVersion min_tls = TlsVersion::tls1_2;
  bool from_client = false;              ///< connect from the client's own address
  SendProxy send_proxy = SendProxy::no;  ///< a PROXY header before anything else
  bool greeting_text = true;
  std::size_t warm = 0;  ///< connections a worker keeps ready, past their prelude

  friend bool operator==(const Upstream&, const Upstream&) = default;
};

/// What is expected of servers in some networks, where that is not what the service says.
struct Destination {
  std::vector<Network> networks;
  std::optional<TlsMode> tls;
  std::optional<Verification> verify;
  std::optional<std::string> server_name;
  std::optional<std::vector<Pin>> pins;

  friend bool operator==(const Destination&, const Destination&) = default;
};

struct Service {
  std::string name;
  std::string protocol;
  std::vector<Address> listen;
  Downstream downstream;
  Upstream upstream;
  std::vector<Destination> destinations;
  Timeouts timeouts;

  friend bool operator==(const Service&, const Service&) = default;
};

struct Proxy {
  unsigned workers = 0;  ///< 0 = one per CPU the process may use
  std::string hostname;  ///< "" = the system's FQDN, else an address literal
  std::string user;      ///< who to become when started as root; "" = nobody else
  std::chrono::milliseconds drain_timeout{std::chrono::seconds{30}};
  std::size_t max_sessions = 0;  ///< 0 = what RLIMIT_NOFILE allows
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
  bool sandbox = true;

  friend bool operator==(const Proxy&, const Proxy&) = default;
};

struct Admin {
  std::optional<Address> listen;  ///< nothing: there is no such endpoint

  friend bool operator==(const Admin&, const Admin&) = default;
};

struct Log {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  std::string file;  ///< "" = standard error; absolute

  friend bool operator==(const Log&, const Log&) = default;
};

struct Config {
  Proxy proxy;
  Log log;
  Admin admin;
  std::vector<Service> services;
  std::vector<std::string> secret_files;  ///< named by "${file:PATH}"

  friend bool operator==(const Config&, const Config&) = default;
};

/// The name sent as SNI and verified where `upstream` connects to `address`: `server_name`, else
/// the host, without the dot that may end it (RFC 6066 §3) and without an interface. Never a name
/// heard from the server or from DNS.
[[nodiscard]] std::string peer_name(const Upstream& upstream, const Address& address);

/// The settings of the server leg where `destination` says what is expected.
[[nodiscard]] Upstream upstream_at(const Upstream& service, const Destination& destination);

/// The row whose network has the longest prefix of those that contain `address` (IPv4 as
/// ::ffff:a.b.c.d, in network order), its index in `destinations`; nothing where none does.
[[nodiscard]] std::optional<std::size_t> most_specific(
    std::span<const Destination> destinations, std::span<const std::uint8_t, 16> address) noexcept;

/// Whether these settings want a name to be verified and have none of their own. An address is no
/// name: who sits on the way may hold a certificate for it, or for any other.
[[nodiscard]] bool lacks_name(const Upstream& upstream) noexcept;

}  // namespace starttls::config

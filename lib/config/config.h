#pragma once

// Plain structs and defaults: what the configuration says, after it was found right.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/pin.h"
#include "lib/base/tls_mode.h"
#include "lib/base/tls_settings.h"
#include "lib/base/tls_version.h"

namespace starttls::config {

using LogLevel = log::Level;
using LogFormat = log::Format;
enum class SendProxy : std::uint8_t { no, v1, v2 };

using starttls::Address;

/// "HOST:PORT", "[::1]:PORT", "[fe80::1%eth0]:PORT" or "unix:PATH". IP literals come out in one
/// spelling, so that equal addresses compare equal; to_string gives the notation back. Refuses what
/// no TCP connection can have: IPv4 written as IPv6, multicast, a link-local address without its
/// interface. Errors: config, and what is wrong with `text` in words that follow it ("'x': the port
/// is missing"); the evidence is these words alone, for a text that must not be told.
[[nodiscard]] Result<Address> parse_address(std::string_view text);

/// A host's name (letters, digits, '-', '_' and dots; RFC 1035 §2.3.4 limits) or an IP literal.
/// Errors: config, as parse_address.
[[nodiscard]] Result<> check_host(const std::string& host);

/// Whether `host` is an IPv4 or IPv6 literal, without brackets.
[[nodiscard]] bool is_ip_literal(const std::string& host) noexcept;

/// Whether only this machine can reach a listener there: a loopback literal or a unix socket. Where
/// an inherited socket listens is not known here: false.
[[nodiscard]] bool is_local(const Address& address) noexcept;

/// Whether who listens at one is in the way of who listens at the other: they are the same, or one
/// has all addresses of the port. Never where the system chooses the port.
[[nodiscard]] bool overlap(const Address& one, const Address& other) noexcept;

/// Where an IPv4 address begins in an IPv6 network that holds it (::ffff:0:0/96).
inline constexpr unsigned kMappedBits = 96;

/// An IPv4 or IPv6 network; IPv4 is kept as ::ffff:a.b.c.d, its prefix + kMappedBits.
struct Network {
  std::uint8_t bytes[16] = {};
  unsigned prefix = 128;

  friend bool operator==(const Network&, const Network&) = default;
};
/// "10.0.0.0/8", "2001:db8::/32" or a single address. Errors: config, as parse_address; bits set
/// behind the prefix are one, for they say that something else was meant.
[[nodiscard]] Result<Network> parse_network(std::string_view text);
[[nodiscard]] std::string to_string(const Network& network);

/// Whether `address` (IPv4 as ::ffff:a.b.c.d, in network order) lies in `network`. An IPv6 network
/// never contains an IPv4 address: "::/0" is all of IPv6 and no more.
[[nodiscard]] bool contains(const Network& network,
                            std::span<const std::uint8_t, 16> address) noexcept;

/// Whether one of `networks` contains it.
[[nodiscard]] bool contains(std::span<const Network> networks,
                            std::span<const std::uint8_t, 16> address) noexcept;

/// "10s", "5m", "1h30m", "250ms": whole numbers, each unit once, the larger first. Errors: config,
/// as parse_address; zero and more than a day are among them.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);
[[nodiscard]] std::string to_string(std::chrono::milliseconds duration);

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

/// "port 465 is for TLS from the first byte": how the port contradicts the mode; "" if it does not.
[[nodiscard]] std::string port_mistake(TlsMode tls, const Address& address);
/// Returns settings that can work and are seldom meant: a port that contradicts the mode, `allow`
/// and `listen` that exclude each other. One sentence each.
[[nodiscard]] std::vector<std::string> likely_mistakes(const Service& service);

/// What a person should know before relying on the service: likely mistakes, verification switched
/// off, a leg that is or may stay in the clear. One sentence each, for the log at start and for
/// `--check`.
[[nodiscard]] std::vector<std::string> warnings(const Service& service);
/// The same of the admin endpoint.
[[nodiscard]] std::vector<std::string> warnings(const Admin& admin);
/// The user that has started the process.
enum class StartedBy : std::uint8_t { user, root };
/// The same of the process.
[[nodiscard]] std::vector<std::string> warnings(const Proxy& proxy, StartedBy started_by);

/// A line of `describe`: a label and a text.
struct DescribedLine {
  std::string label;
  std::string text;
};
/// Returns the lines that describe a certificate chain, by its file.
using DescribeChain = std::function<std::vector<DescribedLine>(const std::string& chain)>;

/// The effective policy of each service in plain words, as `--check` prints it: lines, each ended.
/// The lines of `describe_chain` follow the chain's name.
[[nodiscard]] std::string describe(const Config& config, StartedBy started_by = StartedBy::user,
                                   const DescribeChain& describe_chain = {});

}  // namespace starttls::config

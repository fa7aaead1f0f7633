#pragma once

// A configuration without problems: plain structs and their defaults.

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
#include "lib/base/login_settings.h"
#include "lib/base/pin.h"
#include "lib/base/secret.h"
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
  std::vector<Network> proxy_protocol;  ///< peers that begin with a PROXY header, which is believed
  std::size_t max_per_client = 0;       ///< sessions of one client address; 0 = no limit

  friend bool operator==(const Downstream&, const Downstream&) = default;
};

struct Upstream {
  std::vector<Address> address;  ///< tried in order
  /// True if the server is the address that each client meant to reach. `address` is empty then.
  bool original_destination = false;
  TlsMode tls = TlsMode::starttls;
  Verification verify = Verification::full;
  std::string server_name;  ///< "" = the host of the address
  std::string ca_file;      ///< "" = the system's trust store; absolute
  std::vector<Pin> pins;    ///< any one must match; with Verification::none they alone decide
  ChainAndKey certificate;  ///< ours; both "" = none
  TlsVersion min_tls = TlsVersion::tls1_2;
  PostQuantum post_quantum = PostQuantum::automatic;
  bool from_client = false;              ///< connect from the client's own address
  SendProxy send_proxy = SendProxy::no;  ///< a PROXY header before anything else
  bool greeting_text = true;
  std::size_t warm = 0;  ///< connections that each worker keeps ready, after their prelude

  friend bool operator==(const Upstream&, const Upstream&) = default;
};

/// The settings for servers in some networks, if they differ from those of the service.
struct Destination {
  std::vector<Network> networks;
  std::optional<TlsMode> tls;
  std::optional<Verification> verify;
  std::optional<std::string> server_name;
  std::optional<std::vector<Pin>> pins;

  friend bool operator==(const Destination&, const Destination&) = default;
};

/// The source of the secret by which the proxy logs in to the server. At most one is set.
struct SecretSource {
  std::optional<Secret> text = {};  ///< from the configuration itself
  std::string file = {};            ///< read at each login: its first line; absolute
  bool token = false;  ///< the secret is an OAuth access token; of a row: see Account::token
  /// A unix socket that is asked for the secret of an account; absolute.
  std::string socket = {};
  /// A program and its arguments: it prints the secret. The program's path is absolute. "{user}" in
  /// an argument is the account at the server.
  std::vector<std::string> command = {};

  /// True if the secret is asked for, and kept for a while.
  [[nodiscard]] bool is_asked() const noexcept { return !socket.empty() || !command.empty(); }
  /// True if the secret comes from outside at a login.
  [[nodiscard]] bool is_fetched() const noexcept { return !file.empty() || is_asked(); }
  [[nodiscard]] bool is_set() const noexcept { return text.has_value() || is_fetched(); }
  friend bool operator==(const SecretSource&, const SecretSource&) = default;
};

/// The proxy's login at the server.
struct Login {
  LoginWhen when = LoginWhen::client;
  Mechanism mechanism = Mechanism::automatic;
  std::string user;  ///< at the server; "" = the name that the client logged in with
  SecretSource source;
  /// How long a secret from a socket or a command is kept.
  std::chrono::milliseconds lifetime{std::chrono::minutes{30}};
  std::chrono::milliseconds timeout{std::chrono::seconds{10}};  ///< of the source

  friend bool operator==(const Login&, const Login&) = default;
};

/// The name of a row for any name that no other row has.
inline constexpr std::string_view kAnyAccount = "*";

/// A name by which clients may log in to the proxy.
struct Account {
  std::string name;  ///< or `kAnyAccount`
  /// The client's password: text, or a crypt(3) hash, "$ID$...". Empty: anything will do. Nothing:
  /// the client's own password is passed on to the server.
  std::optional<Secret> password;
  std::string user;                ///< "" = the service's
  SecretSource source;             ///< not set = the service's, see `source_of`
  std::optional<bool> token = {};  ///< replaces that of the source; nothing = the service's

  friend bool operator==(const Account&, const Account&) = default;
};

struct Service {
  std::string name;
  std::string protocol;
  std::vector<Address> listen;
  Downstream downstream;
  Upstream upstream;
  std::vector<Destination> destinations;
  std::optional<Login> login;     ///< nothing: logins pass unseen
  std::vector<Account> accounts;  ///< only with a login
  Timeouts timeouts;

  friend bool operator==(const Service&, const Service&) = default;
};

struct Proxy {
  unsigned workers = 0;  ///< 0 = one per CPU the process may use
  std::string hostname;  ///< "" = the system's FQDN, otherwise an address literal
  std::string user;      ///< the user to become when started as root; "" = no change
  std::chrono::milliseconds drain_timeout{std::chrono::seconds{30}};
  std::size_t max_sessions = 0;  ///< 0 = as many as RLIMIT_NOFILE allows
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
  RecordCipherChoice record_cipher = RecordCipherChoice::automatic;
  bool sandbox = true;

  friend bool operator==(const Proxy&, const Proxy&) = default;
};

struct Admin {
  std::optional<Address> listen;  ///< empty if there is no such endpoint

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

/// Returns the name sent as SNI and verified when `upstream` connects to `address`. It is
/// `server_name`, otherwise the host, without a final dot (RFC 6066 §3) and without an interface.
/// It is never a name from the server or from DNS.
[[nodiscard]] std::string peer_name(const Upstream& upstream, const Address& address);

/// Returns the settings of the server leg for a server that `destination` describes.
[[nodiscard]] Upstream upstream_at(const Upstream& service, const Destination& destination);

/// Returns the index in `destinations` of the row with the longest prefix among the networks that
/// contain `address`. The address is in network order, IPv4 as ::ffff:a.b.c.d. Returns nothing if
/// no network contains it.
[[nodiscard]] std::optional<std::size_t> most_specific(
    std::span<const Destination> destinations, std::span<const std::uint8_t, 16> address) noexcept;

/// Returns the source of the secret for an account: its own, otherwise that of the service. The
/// same holds for `token`, whichever source it is. A secret in the configuration is no token.
[[nodiscard]] SecretSource source_of(const Login& login, const Account& account);
/// Returns the account's name at the server; "" = the name that the client logged in with.
[[nodiscard]] const std::string& user_of(const Login& login, const Account& account) noexcept;
/// Returns the account's name at the server as far as the configuration gives it: the row's own
/// name is one, too, if there is no other. "" = any name that a client logs in with.
[[nodiscard]] const std::string& fixed_user_of(const Login& login, const Account& account) noexcept;
/// True if clients that log in by this name use a secret of the proxy. Without a password of its
/// own, the row passes on the client's.
[[nodiscard]] bool uses_proxy_secret(const Login& login, const Account& account) noexcept;

/// True if a server must prove its identity before it hears anything: by its certificate's chain
/// and name, or by its key.
[[nodiscard]] bool proves_server(const Upstream& upstream) noexcept;

/// True if these settings require a name to verify and have none of their own. An address does not
/// count as a name. An attacker on the path may have a certificate for it, or for any other.
[[nodiscard]] bool lacks_name(const Upstream& upstream) noexcept;

}  // namespace starttls::config

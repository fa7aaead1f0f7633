#include <algorithm>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/config/build.h"
#include "lib/config/exposure.h"
#include "lib/config/login_rules.h"

namespace starttls::config {
namespace {

constexpr std::string_view kAdminListen = "admin.listen";
constexpr std::string_view kName = "service.name";
constexpr std::string_view kListen = "service.listen";
constexpr std::string_view kDownstreamTls = "service.downstream.tls";
constexpr std::string_view kCertificates = "service.downstream.certificates";
constexpr std::string_view kChain = "service.downstream.certificates.chain";
constexpr std::string_view kKey = "service.downstream.certificates.key";
constexpr std::string_view kClientCa = "service.downstream.client_ca";
constexpr std::string_view kTicketKeys = "service.downstream.ticket_keys";
constexpr std::string_view kAllow = "service.downstream.allow";
constexpr std::string_view kMaxPerClient = "service.downstream.max_per_client";
constexpr std::string_view kProxyProtocol = "service.downstream.proxy_protocol";
constexpr std::string_view kAddress = "service.upstream.address";
constexpr std::string_view kUpstreamTls = "service.upstream.tls";
constexpr std::string_view kVerify = "service.upstream.verify";
constexpr std::string_view kServerName = "service.upstream.server_name";
constexpr std::string_view kPins = "service.upstream.pins";
constexpr std::string_view kWarm = "service.upstream.warm";
constexpr std::string_view kSendProxy = "service.upstream.send_proxy";
constexpr std::string_view kSource = "service.upstream.source";
constexpr std::string_view kDestination = "service.destination";
constexpr std::string_view kClientCertificate = "service.upstream.certificate";
constexpr std::string_view kClientChain = "service.upstream.certificate.chain";
constexpr std::string_view kClientKey = "service.upstream.certificate.key";

/// True if a connection to `server` may arrive at a listener at `listen`.
bool reaches(const Address& server, const Address& listen) {
  if (server.is_unix() || listen.is_unix() || listen.is_inherited()) return server == listen;
  if (server.port != listen.port || server.port == 0) return false;
  if (server == listen) return true;
  const bool by_name = ascii::iequals(server.host, "localhost");
  const auto is_any = [](const Address& each) {
    return each.host == "0.0.0.0" || each.host == "::";
  };
  // A listener at the wildcard address has only the addresses of its family (IPV6_V6ONLY). As the
  // address of a server, the wildcard address means this machine.
  const auto is_v6 = [](const Address& each) { return each.host.find(':') != std::string::npos; };
  const bool here = by_name || is_local(server) || is_any(server);
  if (!here || (!by_name && is_v6(server) != is_v6(listen))) return false;
  if (is_any(listen)) return true;
  const bool usual = by_name || is_any(server);  // and not another address of 127/8
  return usual && (listen.host == "127.0.0.1" || listen.host == "::1");
}

/// The rules, applied service by service in the order of the source. A finding about two services
/// has the place of the second.
class Validator {
 public:
  Validator(const Config& config, const Settings& settings, const Source& source,
            Findings& findings)
      : config_(config), settings_(settings), source_(source), findings_(findings) {}

  void run() {
    for (std::size_t i = 0; i < config_.services.size(); ++i) {
      required_keys(i);
      unique_name(i);
      unique_listen(i);
      not_where_admin_is(i);
      both_halves(i, kChain, kKey);
      both_halves(i, kClientChain, kClientKey);
      certificate_for_tls(i);
      no_idle_certificate(i);
      no_idle_tls_settings(i);
      required_client_certificate(i);
      no_open_relay(i);
      verifiable_name(i);
      something_to_keep_warm(i);
      no_loop(i);
      clients_with_addresses(i);
      no_idle_client_rules(i);
      destinations(i);
      check_login(service(i), section(i), findings_);
    }
  }

 private:
  [[nodiscard]] bool from_file() const { return source_.kind == Source::Kind::file; }
  [[nodiscard]] const Section& section(std::size_t i) const { return settings_.services[i]; }
  [[nodiscard]] const Service& service(std::size_t i) const { return config_.services[i]; }

  /// Returns the key as the user writes it.
  [[nodiscard]] std::string written(std::string_view path) const {
    return std::string(from_file() ? path : find_key(path)->flag);
  }

  void add(std::size_t i, std::string_view path, const std::string& text) {
    const auto* const setting = section(i).find(path);
    const auto& place = setting == nullptr ? section(i).place : setting->value.place;
    findings_.add(place, from_file() ? std::string(path) + ": " + text : text);
  }

  /// Returns how messages call the value of a key that is given. That is its meaning, or the text
  /// as written if it holds "${...}".
  [[nodiscard]] std::string shown_name(std::size_t i) const {
    return shown(section(i).find(kName)->value, "'" + service(i).name + "'");
  }
  [[nodiscard]] std::string shown_address(std::size_t i, std::string_view path,
                                          const std::vector<Address>& all,
                                          const Address& one) const {
    const auto index = static_cast<std::size_t>(&one - all.data());
    return shown(section(i).find(path)->value, index, all.size(), to_string(one));
  }
  [[nodiscard]] std::string shown_listen(std::size_t i, const Address& one) const {
    return shown_address(i, kListen, service(i).listen, one);
  }
  [[nodiscard]] std::string shown_upstream(std::size_t i, const Address& one) const {
    return shown_address(i, kAddress, service(i).upstream.address, one);
  }

  void required_keys(std::size_t i) {
    for (const auto& key : keys()) {
      if (!key.required || section(i).find(key.path) != nullptr) continue;
      if (from_file()) {
        findings_.add(section(i).place, std::string(key.path) + ": is required");
      } else if (!key.flag.empty()) {
        findings_.add({std::string(key.flag), section(i).place.rank}, "is required");
      }
    }
  }

  void unique_name(std::size_t i) {
    const auto& name = service(i).name;
    if (name.empty()) return;
    for (std::size_t j = 0; j < i; ++j) {
      if (service(j).name != name) continue;
      add(i, kName,
          shown_name(i) + " is already the name of the service at " + section(j).place.where);
      return;
    }
  }

  void unique_listen(std::size_t i) {
    for (const auto& address : service(i).listen) {
      // The system chooses a free port.
      if (!address.is_unix() && !address.is_inherited() && address.port == 0) continue;
      for (std::size_t j = 0; j < i; ++j) {
        const auto& others = service(j).listen;
        if (std::find(others.begin(), others.end(), address) == others.end()) continue;
        add(i, kListen,
            shown_listen(i, address) + " is already used by the service at " +
                section(j).place.where);
      }
    }
  }

  /// Refuses a listener at the address of the admin endpoint, or beside it on the same port. There
  /// clients would reach one or the other, depending on the address they connect to.
  void not_where_admin_is(std::size_t i) {
    const auto& admin = config_.admin.listen;
    if (!admin) return;
    for (const auto& address : service(i).listen) {
      if (!overlap(address, *admin)) continue;
      add(i, kListen,
          shown_listen(i, address) +
              (address == *admin ? " is already used by " : " conflicts with ") +
              written(kAdminListen));
    }
  }

  /// Requires both halves of the pair on a command line. In a file they are members of one table.
  void both_halves(std::size_t i, std::string_view chain_path, std::string_view key_path) {
    const bool chain = section(i).find(chain_path) != nullptr;
    const bool key = section(i).find(key_path) != nullptr;
    if (chain && !key) add(i, chain_path, "needs " + written(key_path) + " too");
    if (key && !chain) add(i, key_path, "needs " + written(chain_path) + " too");
  }

  void certificate_for_tls(std::size_t i) {
    const auto& downstream = service(i).downstream;
    if (downstream.tls == TlsMode::none || !downstream.certificates.empty()) return;
    if (section(i).is_bad(kCertificates)) return;
    add(i, kDownstreamTls,
        shown(section(i).find(kDownstreamTls)->value,
              "'" + std::string(name(downstream.tls)) + "'") +
            " needs a certificate: add " +
            (from_file() ? R"(downstream.certificates = [{ chain = "a.pem", key = "a.key" }])"
                         : "--chain FILE --key FILE"));
  }

  /// Refuses a certificate without downstream TLS, because the user expects encryption.
  void no_idle_certificate(std::size_t i) {
    const auto& downstream = service(i).downstream;
    if (downstream.tls != TlsMode::none || downstream.certificates.empty()) return;
    if (section(i).is_bad(kDownstreamTls)) return;
    const auto path = from_file() ? kCertificates : section(i).find(kChain) ? kChain : kKey;
    no_effect(i, path, kDownstreamTls);
  }

  void no_effect(std::size_t i, std::string_view path, std::string_view mode_path) {
    add(i, path,
        "has no effect while " + written(mode_path) +
            " is 'none': set 'starttls' there, or leave this out");
  }

  /// Refuses the other TLS settings that have no effect on a leg in the clear.
  void no_idle_tls_settings(std::size_t i) {
    const auto& down = service(i).downstream;
    const auto& up = service(i).upstream;
    if (down.tls == TlsMode::none && !section(i).is_bad(kDownstreamTls)) {
      if (!down.client_ca.empty()) no_effect(i, kClientCa, kDownstreamTls);
      if (!down.ticket_keys.empty()) no_effect(i, kTicketKeys, kDownstreamTls);
    }
    const auto& rows = service(i).destinations;
    const bool is_clear =
        up.tls == TlsMode::none && std::all_of(rows.begin(), rows.end(), [](const auto& row) {
          return row.tls.value_or(TlsMode::none) == TlsMode::none;
        });
    if (is_clear && !section(i).is_bad(kUpstreamTls)) {
      if (!up.pins.empty()) no_effect(i, kPins, kUpstreamTls);
      if (!up.certificate.chain.empty()) {
        no_effect(i, from_file() ? kClientCertificate : kClientChain, kUpstreamTls);
      }
    }
  }

  /// Refuses to require a certificate of clients that may stay in the clear, which show none.
  void required_client_certificate(std::size_t i) {
    const auto& down = service(i).downstream;
    if (down.tls != TlsMode::opportunistic || down.client_ca.empty()) return;
    add(i, kClientCa,
        "cannot be required of clients that may stay in the clear: set " + written(kDownstreamTls) +
            " to 'starttls'");
  }

  /// Refuses an open relay. To the server, every client looks like this machine, or like the owner
  /// of our certificate. The same rule checks an inherited socket at start
  /// (InheritedSockets::check).
  void no_open_relay(std::size_t i) {
    const Exposure risk = exposure(service(i));
    if (risk == Exposure::none) return;
    for (const auto key : {kAllow, kDownstreamTls, kClientCa, kSendProxy, kSource}) {
      if (section(i).is_bad(key)) return;
    }
    if (has_bad_login(section(i))) return;

    const auto& listen = service(i).listen;
    const auto open = std::find_if(listen.begin(), listen.end(), [&](const Address& each) {
      return !each.is_inherited() && is_exposed_at(each, service(i), risk);
    });
    if (open == listen.end()) return;
    const auto* const wide = wide_network(service(i).downstream);
    if (risk == Exposure::secret && wide != nullptr) {
      const auto& allow = service(i).downstream.allow;
      const auto index = static_cast<std::size_t>(wide - allow.data());
      add(i, kAllow,
          shown(section(i).find(kAllow)->value, index, allow.size(), to_string(*wide)) +
              " is too wide: its clients could use the proxy's secret at the server "
              "([service.login]). Name networks no wider than /16 (IPv6 /48), give each "
              "[[service.account]] a password, or set " +
              written(kClientCa));
      return;
    }
    add(i, kListen,
        exposure_error(risk, shown_listen(i, *open),
                       from_file() ? Spelling::keys : Spelling::flags));
  }

  void verifiable_name(std::size_t i) {
    const auto& upstream = service(i).upstream;
    if (upstream.tls == TlsMode::none || upstream.verify == Verification::none) return;
    if (!upstream.server_name.empty()) return;
    if (section(i).is_bad(kUpstreamTls) || section(i).is_bad(kVerify) ||
        section(i).is_bad(kServerName)) {
      return;
    }
    for (const auto& address : upstream.address) {
      if (!address.is_unix()) continue;
      add(i, kAddress,
          shown_upstream(i, address) + " gives no name to verify: set " + written(kServerName));
    }
    // With rows, the proxy refuses connections to servers that no row is about. Without rows it
    // would refuse all of them, so that is a finding.
    if (upstream.original_destination && service(i).destinations.empty() &&
        !section(i).is_bad(kAddress) && !section(i).is_bad(kDestination)) {
      add(i, kAddress,
          "the address a client meant to reach gives no name to verify: " +
              std::string(from_file() ? "write [[service.destination]] rows, or set " : "set ") +
              written(kServerName));
    }
  }

  /// Refuses warm connections that cannot work. A connection is warmed before there is a client, so
  /// its prelude must not need one. There must also be a prelude. A plain relay has none, because
  /// the client must hear the greeting as it comes.
  void something_to_keep_warm(std::size_t i) {
    if (service(i).upstream.warm == 0) return;
    const auto& upstream = service(i).upstream;
    const bool tells = upstream.send_proxy != SendProxy::no;
    if (upstream.original_destination || upstream.from_client || tells) {
      add(i, kWarm,
          "cannot be used with " +
              (upstream.from_client ? written(kSource)
               : tells              ? written(kSendProxy)
                       : written(kAddress) + (from_file() ? R"( = "original-destination")"
                                                          : " original-destination")) +
              ": a connection that depends on the client cannot be made before it comes");
      return;
    }
    if (section(i).is_bad(kDownstreamTls) || section(i).is_bad(kUpstreamTls)) return;
    if (service(i).downstream.tls != TlsMode::none || service(i).upstream.tls != TlsMode::none) {
      return;
    }
    add(i, kWarm,
        "has no effect while " + written(kDownstreamTls) + " and " + written(kUpstreamTls) +
            " are both 'none': a plain relay does nothing before a client comes; leave this out");
  }

  /// Refuses a loop of services, as far as the configuration shows it. Loops by way of names and of
  /// the machine's own addresses are found at run time (session::LoopGuard).
  void no_loop(std::size_t i) {
    for (const auto& address : service(i).upstream.address) {
      if (is_served_by(address, i)) {
        add(i, kAddress, shown_upstream(i, address) + " is where this service itself listens");
        continue;
      }
      std::vector<bool> seen(i);
      for (std::size_t j = 0; j < i; ++j) {
        if (!is_served_by(address, j) || !leads_to(j, i, seen)) continue;
        add(i, kAddress,
            shown_upstream(i, address) + " leads back to this service, through the service at " +
                section(j).place.where);
        break;
      }
    }
  }

  [[nodiscard]] bool is_served_by(const Address& address, std::size_t i) const {
    const auto& listen = service(i).listen;
    return std::any_of(listen.begin(), listen.end(),
                       [&address](const Address& each) { return reaches(address, each); });
  }

  /// True if clients of service `from` reach service `to`, directly or through services before
  /// `to`.
  [[nodiscard]] bool leads_to(std::size_t from, std::size_t to, std::vector<bool>& seen) const {
    if (seen[from]) return false;
    seen[from] = true;
    const auto& addresses = service(from).upstream.address;
    return std::any_of(addresses.begin(), addresses.end(), [&](const Address& address) {
      if (is_served_by(address, to)) return true;
      for (std::size_t next = 0; next < to; ++next) {
        if (is_served_by(address, next) && leads_to(next, to, seen)) return true;
      }
      return false;
    });
  }

  /// Refuses what a unix socket cannot have: its clients have no address, and meant to reach no
  /// other server.
  void clients_with_addresses(std::size_t i) {
    const auto& upstream = service(i).upstream;
    const auto& listen = service(i).listen;
    const auto local = std::find_if(listen.begin(), listen.end(),
                                    [](const Address& each) { return each.is_unix(); });
    if (local == listen.end()) return;
    if (upstream.original_destination) {
      add(i, kListen,
          "connections cannot be redirected to " + shown_listen(i, *local) + ": listen on a port");
    } else if (upstream.from_client) {
      add(i, kSource, "clients of " + shown_listen(i, *local) + " have no address to connect from");
    }
  }

  /// Refuses rules about clients' addresses that have no effect because no client has an address.
  void no_idle_client_rules(std::size_t i) {
    const auto& listen = service(i).listen;
    if (listen.empty() || !std::all_of(listen.begin(), listen.end(),
                                       [](const Address& each) { return each.is_unix(); })) {
      return;
    }
    constexpr auto kNoEffect = "has no effect: clients of unix sockets have no address";
    if (!service(i).downstream.proxy_protocol.empty()) add(i, kProxyProtocol, kNoEffect);
    if (service(i).downstream.max_per_client > 0) add(i, kMaxPerClient, kNoEffect);
  }

  void destinations(std::size_t i) {
    const auto* const rows = section(i).find(kDestination);
    if (service(i).destinations.empty() || rows->bad || section(i).is_bad(kAddress)) return;
    const auto& upstream = service(i).upstream;
    if (!upstream.original_destination) {
      add(i, kDestination,
          R"(has no effect: it is for services with upstream.address = "original-destination")");
      return;
    }
    if (section(i).is_bad(kUpstreamTls) || section(i).is_bad(kVerify) ||
        section(i).is_bad(kServerName)) {
      return;
    }
    for (std::size_t row = 0; row < service(i).destinations.size(); ++row) {
      destination(i, row, rows->value.elements[row]);
    }
  }

  /// Checks each rule of the server leg for one row.
  void destination(std::size_t i, std::size_t row, const Value& written_row) {
    const auto& one = service(i).destinations[row];
    const auto& members = written_row.elements;
    const auto find_member = [&members](std::string_view member) {
      return std::find_if(members.begin(), members.end(),
                          [member](const Value& each) { return each.key == member; });
    };
    const auto add_here = [&](std::string_view member, const std::string& text) {
      const auto found = find_member(member);
      findings_.add(found == members.end() ? written_row.place : found->place,
                    std::string(kDestination) + "." + std::string(member) + ": " + text);
    };
    if (one.networks.empty()) add_here("networks", "must name at least one network");
    for (const auto& network : one.networks) {
      for (std::size_t j = 0; j < row; ++j) {
        const auto& others = service(i).destinations[j].networks;
        if (std::find(others.begin(), others.end(), network) == others.end()) continue;
        const auto index = static_cast<std::size_t>(&network - one.networks.data());
        add_here("networks",
                 shown(*find_member("networks"), index, one.networks.size(), to_string(network)) +
                     " is already in an earlier row");
      }
    }
    const Upstream upstream = upstream_at(service(i).upstream, one);
    if (lacks_name(upstream)) {
      add_here("server_name", "is required: without a name, the server cannot be verified");
    }
    if (upstream.tls == TlsMode::none) {
      constexpr auto kNoEffect = "has no effect while tls is 'none'";
      if (one.pins && !one.pins->empty()) add_here("pins", kNoEffect);
      if (one.server_name) add_here("server_name", kNoEffect);
    } else if (one.server_name && !one.verify && upstream.verify == Verification::none &&
               upstream.pins.empty()) {
      // A user that writes a name expects it to be checked.
      add_here("server_name",
               "is not checked while service.upstream.verify is 'none': set verify in this row");
    }
  }

  const Config& config_;
  const Settings& settings_;
  const Source& source_;
  Findings& findings_;
};

}  // namespace

void validate(const Config& config, const Settings& settings, const Source& source,
              Findings& findings) {
  Validator(config, settings, source, findings).run();
}

}  // namespace starttls::config

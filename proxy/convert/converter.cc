#include "proxy/convert/converter.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/config/config.h"
#include "lib/config/expand.h"
#include "lib/config/exposure.h"
#include "lib/config/mistakes.h"
#include "lib/proto/protocols.h"
#include "proxy/convert/annotated_file.h"
#include "proxy/convert/stunnel_conf.h"
#include "proxy/convert/stunnel_versions.h"
#include "proxy/convert/toml_table.h"
#include "proxy/exit_status.h"
#include "proxy/output.h"

namespace starttls {
namespace {

using stunnel::AnnotatedFile;
using stunnel::is_yes;
using stunnel::Option;
using stunnel::Section;

/// Returns the mail protocol that is usual on the port of `address`, or "".
std::string_view protocol_of_port(const std::string& address) {
  const auto parsed = config::parse_address(address);
  if (!parsed || parsed->is_unix()) return "";
  if (parsed->port == 587 || parsed->port == 2525) return "smtp";
  for (const auto& protocol : proto::protocols()) {
    if (parsed->port == protocol.port || parsed->port == protocol.tls_port) return protocol.name;
  }
  return "";
}

class Converter {
 public:
  explicit Converter(std::string_view text) : file_(text) {}

  Conversion run();

 private:
  /// The parts of a service, as they are found.
  struct Service {
    const Section& section;
    bool client = false;      ///< stunnel's client mode: the server has TLS, the client has none
    std::string negotiation;  ///< stunnel's protocol; "" = TLS from the first byte
    std::string protocol;     ///< ours
    std::string listen;
    std::vector<std::string> connect;
  };

  void convert_log();
  void collect_certificates_by_name();
  [[nodiscard]] std::optional<std::string> convert(const Section& section);
  [[nodiscard]] bool read_addresses(Service& service);
  [[nodiscard]] bool read_protocol(Service& service);
  void doubt_port(const Service& service, const Option* option, const std::string& written);
  [[nodiscard]] bool downstream(const Service& service, TomlTable& out);
  void fence(const Service& service, const config::Downstream& downstream, TomlTable& out);
  [[nodiscard]] bool client_certificates(const Service& service, TomlTable& out);
  [[nodiscard]] bool upstream(const Service& service, TomlTable& out);
  void verification(const Service& service, const std::string& name);
  [[nodiscard]] std::optional<std::string> certificate(const Section& section);
  void timeout(const Section& section, std::string_view option, const std::string& key,
               TomlTable& out);
  void rest(const Service& service);
  [[nodiscard]] std::string label(const std::string& name);

  AnnotatedFile file_;
  std::map<std::string, const Section*> by_name_;
  std::map<const Section*, std::vector<std::string>> more_certificates_;
  std::set<std::string> labels_;
  std::set<std::string> listening_;  ///< addresses of the services so far
  TomlTable proxy_;
  TomlTable log_;
};

void Converter::convert_log() {
  const auto& global = file_.global();
  if (const auto* const debug = file_.last(global, "debug")) {
    constexpr std::string_view kLevels[] = {"error", "error", "error", "error",
                                            "warn",  "info",  "info",  "debug"};
    if (const auto level = stunnel::syslog_level(debug->value)) {
      if (kLevels[*level] != "info") log_.set("level", toml(kLevels[*level]));
    } else {
      file_.note(global, debug, "'" + debug->value + "' is no level");
    }
  }
  if (const auto* const output = file_.last(global, "output")) {
    if (output->value == "/dev/stdout") {
      file_.note(global, output, "the log goes to standard error");
    } else if (output->value != "/dev/stderr") {
      log_.set("file", toml(output->value));
    }
  }
}

/// Collects the certificates of sections with "sni = PRIMARY:NAME". Each is one more certificate of
/// the primary service, if both have one server.
void Converter::collect_certificates_by_name() {
  for (const auto& section : file_.services()) by_name_.emplace(section.name, &section);
  for (const auto& section : file_.services()) {
    const auto* const sni = file_.last(section, "sni");
    if (sni == nullptr || file_.yes(section, "client")) continue;
    const auto primary = by_name_.find(sni->value.substr(0, sni->value.find(':')));
    if (primary == by_name_.end()) continue;
    const auto* const own = file_.last(section, "connect");
    const auto* const its = file_.last(*primary->second, "connect");
    // With a protocol, stunnel has connected to the primary's server before it knows the name.
    const bool one_server = own == nullptr || (its != nullptr && own->value == its->value) ||
                            file_.last(*primary->second, "protocol") != nullptr;
    const std::string of_primary = "[" + ascii::escape(primary->second->name) + "]";
    const auto demanded = file_.demand(section);
    const auto by_primary = file_.demand(*primary->second);
    if (!one_server) {
      file_.leave_out(section, sni, "the certificate is chosen by name, the server is not");
    } else if (!demanded.empty() && demanded != by_primary) {
      file_.leave_out(section, sni,
                      "its clients had to show a certificate that " + of_primary +
                          " does not demand, and one service has one rule for all its names");
    } else if (auto pair = certificate(section)) {
      if (demanded.empty() && !by_primary.empty()) {
        file_.note(section, sni,
                   "its clients must show a certificate here, as those of " + of_primary);
      }
      for (const auto* const name : {"sslVersion", "sslVersionMin", "sslVersionMax", "options"}) {
        for (const auto* const option : section.all(name)) {
          file_.note(section, option,
                     "is the same for all names here: what " + of_primary + " has");
        }
      }
      auto& more = more_certificates_[primary->second];
      const bool known = pair == certificate(*primary->second) ||
                         std::find(more.begin(), more.end(), *pair) != more.end();
      if (!known) more.push_back(std::move(*pair));
    }
  }
}

bool Converter::read_addresses(Service& service) {
  const auto& section = service.section;
  for (const auto* const option : file_.all(section, "connect")) {
    auto address = stunnel::address(option->value, "127.0.0.1");
    if (!address) {
      file_.note(section, option, "'" + option->value + "' is no address");
    } else if (std::find(service.connect.begin(), service.connect.end(), *address) ==
               service.connect.end()) {
      service.connect.push_back(std::move(*address));
    }
  }
  if (service.connect.empty()) {
    const auto* const exec = file_.last(section, "exec");
    file_.leave_out(
        section, exec,
        exec != nullptr ? "a server is reached by its address only" : "there is no connect");
    return false;
  }
  const auto* const accept = file_.last(section, "accept");
  if (accept == nullptr) {
    file_.leave_out(section, nullptr, "there is no accept");
    return false;
  }
  auto address = stunnel::address(accept->value, "0.0.0.0");
  if (!address) {
    file_.leave_out(section, accept, "'" + accept->value + "' is no address");
    return false;
  }
  const auto parsed = config::parse_address(*address);
  if (parsed && !parsed->is_unix() &&
      !config::is_ip_literal(std::string(without_interface(parsed->host)))) {
    const bool v6 = ascii::iequals(parsed->host, "ip6-localhost");
    address = (v6 ? "[::1]:" : "127.0.0.1:") + std::to_string(parsed->port);
    if (!v6 && !ascii::iequals(parsed->host, "localhost")) {
      file_.note(
          section, accept,
          "listens on an address, not on a name: put that of " + parsed->host + " for 127.0.0.1");
    }
  }
  if (std::find(service.connect.begin(), service.connect.end(), *address) !=
      service.connect.end()) {
    file_.leave_out(section, accept, "it would connect to itself");
    return false;
  }
  if (listening_.contains(*address)) {
    file_.leave_out(section, accept, *address + " belongs to another service");
    return false;
  }
  service.listen = std::move(*address);
  return true;
}

/// Finds out the protocol that both sides speak. stunnel names it only if it negotiates TLS.
bool Converter::read_protocol(Service& service) {
  const auto& section = service.section;
  if (const auto* const protocol = file_.last(section, "protocol")) {
    if (ascii::iequals(protocol->value, "proxy")) {
      file_.note(
          section, protocol,
          "no PROXY header is sent: the server sees the proxy's address, and must not expect one");
    } else {
      for (const char c : protocol->value) service.negotiation += ascii::to_lower(c);
      if (proto::find_protocol(service.negotiation) == nullptr) {
        file_.leave_out(section, protocol, "'" + protocol->value + "' is no mail protocol");
        return false;
      }
      service.protocol = service.negotiation;
      return true;
    }
  }
  auto addresses = service.connect;
  addresses.push_back(service.listen);
  for (const auto& address : addresses) {
    service.protocol = protocol_of_port(address);
    if (!service.protocol.empty()) return true;
  }
  for (const auto& protocol : proto::protocols()) {
    for (std::size_t at = 0; at < section.name.size(); ++at) {
      if (!ascii::istarts_with(std::string_view(section.name).substr(at), protocol.name)) continue;
      service.protocol = protocol.name;
      return true;
    }
  }
  file_.leave_out(section, nullptr, "neither its ports nor its name say that it is mail");
  return false;
}

/// Returns cert and key as a table; nothing if there are none, or none that can be used.
std::optional<std::string> Converter::certificate(const Section& section) {
  const auto* const cert = file_.last(section, "cert");
  if (cert == nullptr) return std::nullopt;
  const auto* const key = file_.last(section, "key");
  const auto& key_file = key == nullptr ? cert->value : key->value;
  const auto usable = [&](const Option* option, const std::string& file) {
    const bool pem = !ascii::istarts_with(file, "pkcs11:") && !ascii::iends_with(file, ".p12") &&
                     !ascii::iends_with(file, ".pfx") && !file.empty();
    if (!pem) file_.note(section, option, "certificates and keys come from PEM files only");
    return pem;
  };
  if (!usable(cert, cert->value) || !usable(key, key_file)) return std::nullopt;
  return "{ chain = " + toml(cert->value) + ", key = " + toml(key_file) + " }";
}

/// Converts the options for the certificates that clients must show (server mode).
bool Converter::client_certificates(const Service& service, TomlTable& out) {
  const auto& section = service.section;
  const auto [chain, peer, level] = file_.verified(section);
  for (const auto* const name : {"checkHost", "checkIP", "checkEmail"}) {
    if (const auto* const check = file_.last(section, name)) {
      file_.leave_out(section, check, "the names in clients' certificates are not looked at");
      return false;
    }
  }
  if (const auto* const secrets = file_.last(section, "PSKsecrets")) {
    file_.leave_out(section, secrets, "pre-shared keys are not supported");
    return false;
  }
  if (!chain && !peer) {
    if (level != nullptr && level->value == "1") {
      file_.note(section, level,
                 "clients are not asked for a certificate unless each must show one");
    }
    return true;
  }
  const auto* const ca_file = file_.last(section, "CAfile");
  if (ca_file == nullptr) {
    file_.leave_out(
        section, file_.last(section, "CApath"),
        "clients' certificates are verified by the CAs of one file (downstream.client_ca)");
    return false;
  }
  out.set("downstream.client_ca", toml(ca_file->value));
  if (peer) {
    file_.note(
        section, ca_file,
        "any certificate that a CA in this file has issued is accepted, where stunnel wanted one "
        "of the file itself");
  }
  return true;
}

/// Notes a port that contradicts the mode. Without `protocol`, stunnel negotiates nothing, and TLS
/// begins with the first byte.
void Converter::doubt_port(const Service& service, const Option* option,
                           const std::string& written) {
  const auto address = config::parse_address(written);
  if (!address) return;
  const auto mode = service.negotiation.empty() ? TlsMode::implicit : TlsMode::starttls;
  if (const auto mistake = config::port_mistake(mode, *address); !mistake.empty()) {
    file_.note(service.section, option, mistake + ": see that the mode is the right one");
  }
}

bool Converter::downstream(const Service& service, TomlTable& out) {
  const auto& section = service.section;
  if (service.client) {
    fence(service, {}, out);
    return true;
  }

  auto pair = certificate(section);
  if (!pair) {
    file_.leave_out(section, nullptr, "clients are to use TLS, and there is no certificate for it");
    return false;
  }
  std::string list = "[" + *pair;
  if (const auto more = more_certificates_.find(&section); more != more_certificates_.end()) {
    for (const auto& each : more->second) list += ", " + each;
  }
  out.set("downstream.tls", toml(service.negotiation.empty() ? "implicit" : "starttls"));
  doubt_port(service, file_.last(section, "accept"), service.listen);
  out.set("downstream.certificates", list + "]");
  if (!client_certificates(service, out)) return false;
  config::Downstream downstream;
  downstream.tls = service.negotiation.empty() ? TlsMode::implicit : TlsMode::starttls;
  if (file_.demands_certificates(section)) {
    downstream.client_ca = file_.last(section, "CAfile")->value;
  }
  fence(service, downstream, out);
  return true;
}

/// Adds `downstream.allow` if it is needed. stunnel accepts every client, but our file must say
/// which clients may connect.
void Converter::fence(const Service& service, const config::Downstream& downstream,
                      TomlTable& out) {
  const auto listen = config::parse_address(service.listen);
  if (!listen || config::is_local(*listen)) return;
  config::Service converted;
  converted.protocol = service.protocol;
  converted.downstream = downstream;
  if (config::exposure(converted) == config::Exposure::none) return;
  out.set("downstream.allow", R"(["127.0.0.1", "::1"])");
  file_.note(
      service.section, file_.last(service.section, "accept"),
      "stunnel let anyone in; here downstream.allow has this machine only: add the networks of "
      "your clients");
}

/// Notes how stunnel's verification of the server differed from ours (client mode).
void Converter::verification(const Service& service, const std::string& name) {
  const auto& section = service.section;
  const auto [chain, peer, level] = file_.verified(section);
  if (peer) {
    const auto* option = file_.last(section, "verifyPeer");
    file_.note(
        section, option == nullptr ? level : option,
        "stunnel wanted one certificate; here its chain and the name " + name +
            " are verified. To want its key, add upstream.pins, which `starttls-proxy probe` "
            "prints; where nothing but the key is to count, upstream.verify = \"none\" too");
  } else if (!chain) {
    file_.note(
        section, nullptr,
        "stunnel did not verify the server; here its chain and the name " + name +
            " are verified. `starttls-proxy probe` says whether the server passes, and what to do "
            "where not");
  } else if (file_.all(section, "checkHost").empty() && file_.all(section, "checkIP").empty()) {
    file_.note(section, nullptr, "stunnel took any name; here the server's must be " + name);
  }
}

bool Converter::upstream(const Service& service, TomlTable& out) {
  const auto& section = service.section;
  out.set("upstream.address", toml(service.connect));
  if (!service.client) {
    out.set("upstream.tls", toml("none"));
    return true;
  }
  if (service.negotiation.empty()) out.set("upstream.tls", toml("implicit"));
  for (const auto& address : service.connect) {
    doubt_port(service, file_.last(section, "connect"), address);
  }

  auto names = file_.all(section, "checkHost");
  for (const auto* const address : file_.all(section, "checkIP")) names.push_back(address);
  const auto* const sni = file_.last(section, "sni");
  const Option* wanted = names.empty() ? sni : names.front();
  if (wanted != nullptr && !config::check_host(wanted->value)) {
    if (!wanted->value.empty()) {
      file_.note(section, wanted, "'" + wanted->value + "' is no host's name");
    }
    wanted = nullptr;
  }
  for (std::size_t i = 1; i < names.size(); ++i) {
    file_.note(section, names[i], "one name is verified, the first: " + names.front()->value);
  }
  if (sni != nullptr && (wanted == nullptr || wanted->value != sni->value)) {
    file_.note(section, sni, "the name that is verified is the one that is sent");
  }
  if (const auto* const email = file_.last(section, "checkEmail")) {
    file_.note(section, email, "a server's certificate is verified by its host's name or address");
  }

  const auto host = [](const std::string& address) {
    const auto parsed = config::parse_address(address);
    return parsed && !parsed->is_unix() ? std::string(without_interface(parsed->host))
                                        : std::string{};
  };
  const bool differs =
      std::any_of(service.connect.begin(), service.connect.end(), [&](const std::string& address) {
        return wanted != nullptr ? host(address) != wanted->value : host(address).empty();
      });
  if (differs && wanted == nullptr) {
    file_.leave_out(section, file_.last(section, "connect"),
                    "a unix socket gives no name to verify: set checkHost");
    return false;
  }
  if (differs) out.set("upstream.server_name", toml(wanted->value));
  verification(service, wanted != nullptr ? wanted->value : host(service.connect.front()));

  if (const auto* const ca_file = file_.last(section, "CAfile")) {
    out.set("upstream.ca_file", toml(ca_file->value));
  } else if (const auto* const ca_path = file_.last(section, "CApath");
             ca_path != nullptr && ca_path->value != "/etc/ssl/certs" &&
             ca_path->value != "/etc/ssl/certs/") {
    file_.note(section, ca_path,
               "the system's trust store is used: put the CAs into one file for upstream.ca_file");
  }
  if (auto pair = certificate(section)) out.set("upstream.certificate", *pair);
  if (const auto* const secrets = file_.last(section, "PSKsecrets")) {
    file_.note(section, secrets, "pre-shared keys are not supported");
  }
  return true;
}

void Converter::timeout(const Section& section, std::string_view name, const std::string& key,
                        TomlTable& out) {
  const auto* const option = file_.last(section, name);
  if (option == nullptr) return;
  const auto number = ascii::parse_number(option->value);
  const auto duration =
      number ? config::parse_duration(option->value + "s") : fail(Errc::config, "");
  if (duration) {
    out.set(key, toml(config::to_string(*duration)));
  } else {
    file_.note(section, option,
               "'" + option->value + "' s is no time from a second to a day; " + key +
                   " keeps its default");
  }
}

/// Notes the options that matter only if they differ from what holds here anyway.
void Converter::rest(const Service& service) {
  const auto& section = service.section;
  if (const auto* const resume = file_.last(section, "sessionResume"); resume && !is_yes(resume)) {
    file_.note(section, resume, "sessions are resumed");
  }
  if (const auto* const renegotiation = file_.last(section, "renegotiation");
      is_yes(renegotiation)) {
    file_.note(section, renegotiation, "there is no renegotiation");
  }
  if (const auto* const failover = file_.last(section, "failover");
      failover && service.connect.size() > 1 && !ascii::iequals(failover->value, "prio")) {
    file_.note(section, failover, "servers are tried in order");
  }
  for (const auto* const option : file_.all(section, "socket")) {
    if (option->value.find(":TCP_NODELAY") == std::string::npos) {
      file_.note(section, option, ascii::escape(option->value) + " has no counterpart");
    }
  }
  if (const auto* const name = file_.last(section, "protocolHost")) {
    if (service.protocol == "smtp" && proxy_.empty() && config::check_host(name->value) &&
        !config::is_ip_literal(name->value)) {
      proxy_.set("hostname", toml(name->value));
      file_.note(section, name, "is the name for all services here: proxy.hostname");
    } else if (proxy_.empty()) {
      file_.note(section, name, "'" + ascii::escape(name->value) + "' has no place here");
    }
  }
}

/// Returns a name that is allowed here, and that no other service has.
std::string Converter::label(const std::string& name) {
  std::string base;
  for (const char c : name.substr(0, 48)) {
    const char lower = ascii::to_lower(c);
    const bool good = ascii::is_digit(c) || (lower >= 'a' && lower <= 'z') || c == '.' || c == '_';
    base += good ? c : '-';
  }
  if (base.empty()) base = "service";
  std::string unique = base;
  for (std::size_t i = 2; !labels_.insert(unique).second; ++i) {
    unique = base + "-" + std::to_string(i);
  }
  return unique;
}

std::optional<std::string> Converter::convert(const Section& section) {
  Service service{section, file_.yes(section, "client"), {}, {}, {}, {}};
  if (!service.client && file_.last(section, "sni") != nullptr) {
    const auto* const sni = file_.last(section, "sni");
    if (!by_name_.contains(sni->value.substr(0, sni->value.find(':')))) {
      file_.leave_out(section, sni, "there is no service of that name");
    }
    return std::nullopt;  // a certificate of another service, see collect_certificates_by_name
  }
  if (!read_addresses(service) || !read_protocol(service)) return std::nullopt;

  TomlTable table;
  table.set("name", toml(label(section.name)));
  table.set("protocol", toml(service.protocol));
  table.set("listen", toml(service.listen));
  if (!downstream(service, table) || !upstream(service, table)) return std::nullopt;
  convert_versions(file_, section, service.client, table);
  timeout(section, "TIMEOUTconnect", "timeouts.connect", table);
  timeout(section, "TIMEOUTidle", "timeouts.idle", table);
  rest(service);
  listening_.insert(service.listen);
  return table.text("[[service]]");
}

Conversion Converter::run() {
  convert_log();
  collect_certificates_by_name();

  Conversion result;
  std::string services;
  for (const auto& section : file_.services()) {
    if (const auto text = convert(section)) {
      services += "\n" + *text;
      ++result.services;
    }
  }
  if (file_.services().empty()) {
    file_.note(file_.global(), nullptr, "there is no [service]: inetd mode has no counterpart");
  }
  if (result.services > 0) {
    result.toml = "# Relative paths are relative to this file's folder.\n";
    if (!proxy_.empty()) result.toml += "\n" + proxy_.text("[proxy]");
    if (!log_.empty()) result.toml += "\n" + log_.text("[log]");
    result.toml += services;
  }
  result.notes = file_.take_notes();
  return result;
}

}  // namespace

Conversion convert_stunnel(std::string_view text) {
  return Converter(text).run();
}

int convert_file(const std::string& path) {
  const auto text = config::read_file(path);
  if (!text) {
    std::fprintf(stderr, "starttls-proxy: %s: cannot be read: %s\n", path.c_str(),
                 text.error().reason.c_str());
    return kExitConfig;
  }
  const auto result = convert_stunnel(*text);
  const int printed = print_output(result.toml, 0);
  for (const auto& note : result.notes) {
    std::fprintf(stderr, "%s: %s\n", path.c_str(), note.c_str());
  }
  if (result.services == 0) {
    std::fprintf(stderr, "starttls-proxy: %s: no service could be converted\n", path.c_str());
  }
  return result.services == 0 ? kExitConfig : printed;
}

}  // namespace starttls

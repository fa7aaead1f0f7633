#include "proxy/convert/converter.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/config/config.h"
#include "lib/config/exposure.h"
#include "lib/config/mistakes.h"
#include "proxy/convert/annotated_file.h"
#include "proxy/convert/stunnel_conf.h"
#include "proxy/convert/stunnel_login.h"
#include "proxy/convert/stunnel_service.h"
#include "proxy/convert/stunnel_verification.h"
#include "proxy/convert/stunnel_versions.h"
#include "proxy/convert/toml_table.h"

namespace starttls {
namespace {

using stunnel::AnnotatedFile;
using stunnel::is_yes;
using stunnel::Option;
using stunnel::Section;
using stunnel::Service;

/// The parts that all files of a result share.
struct Shared {
  std::set<std::string> labels;
  std::vector<Address> listening;  ///< addresses of the services so far
  std::string hostname;            ///< "" = the default
  std::string log_level;           ///< "" = the default
};

/// The result for one file.
struct Part {
  Conversion counts;     ///< without `toml`
  std::string head;      ///< comments
  std::string services;  ///< tables, and the comments between them
};

class Converter {
 public:
  Converter(const stunnel::Source& source, Shared& shared)
      : source_(source), file_(source.text), shared_(shared) {}

  Part run();

 private:
  void convert_log();
  void collect_certificates_by_name();
  [[nodiscard]] std::optional<std::string> convert(const Section& section);
  void doubt_port(const Service& service, const Option* option, const std::string& written);
  [[nodiscard]] bool downstream(const Service& service, TomlTable& out);
  void fence(const Service& service, const config::Downstream& downstream, TomlTable& out);
  [[nodiscard]] bool client_certificates(const Service& service, TomlTable& out);
  [[nodiscard]] bool upstream(const Service& service, TomlTable& out);
  [[nodiscard]] std::optional<std::string> certificate(const Section& section);
  void timeout(const Section& section, std::string_view option, const std::string& key,
               TomlTable& out);
  void rest(const Service& service);
  [[nodiscard]] std::string label(const std::string& name);
  void note_lost_certificates(const std::vector<std::string>& tables);
  [[nodiscard]] std::string to_string(const stunnel::Note& note) const;
  [[nodiscard]] Part finish(const std::vector<std::string>& tables);

  const stunnel::Source& source_;
  AnnotatedFile file_;
  std::map<std::string, const Section*> by_name_;
  std::map<const Section*, std::vector<std::string>> more_certificates_;
  Shared& shared_;
};

void Converter::convert_log() {
  const auto& global = file_.global();
  if (const auto* const debug = file_.last(global, "debug")) {
    constexpr std::string_view kLevels[] = {"error", "error", "error", "error",
                                            "warn",  "info",  "info",  "debug"};
    if (const auto level = stunnel::syslog_level(debug->value)) {
      if (shared_.log_level.empty()) {
        if (kLevels[*level] != "info") shared_.log_level = kLevels[*level];
      } else if (kLevels[*level] != shared_.log_level) {
        file_.note(global, debug, "the log level of an earlier file holds for all services");
      }
    } else {
      file_.note(global, debug, "'" + debug->value + "' is not a log level");
    }
  }
  // A file would get the lines of two programs, and a sandboxed service cannot open stunnel's.
  if (const auto* const output = file_.last(global, "output");
      output != nullptr && output->value != "/dev/stderr") {
    file_.note(global, output,
               "the log goes to standard error (journald reads it); for a file of its own, set "
               "log.file");
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
      file_.leave_out(section, sni, "a name chooses the certificate here, and not the server");
    } else if (!demanded.empty() && demanded != by_primary) {
      file_.leave_out(section, sni,
                      "its clients had to show a certificate, which " + of_primary +
                          " does not demand; one service has one rule for all its names");
    } else if (auto pair = certificate(section)) {
      if (demanded.empty() && !by_primary.empty()) {
        file_.note(
            section, sni,
            "its clients must show a certificate here, as the clients of " + of_primary + " must");
      }
      for (const auto* const name : {"sslVersion", "sslVersionMin", "sslVersionMax", "options"}) {
        for (const auto* const option : section.all(name)) {
          file_.note(section, option, "is the same for all names here: the value of " + of_primary);
        }
      }
      auto& more = more_certificates_[primary->second];
      const bool known = pair == certificate(*primary->second) ||
                         std::find(more.begin(), more.end(), *pair) != more.end();
      if (!known) more.push_back(std::move(*pair));
    } else {
      file_.leave_out(section, sni, "there is no certificate for this name");
    }
  }
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
    if (!pem) file_.note(section, option, "certificates and keys must be in PEM files");
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
      file_.leave_out(section, check, "the names in clients' certificates are not checked");
      return false;
    }
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
    file_.leave_out(section, file_.last(section, "CApath"),
                    "the CAs for clients' certificates must be in one file (downstream.client_ca)");
    return false;
  }
  out.set("downstream.client_ca", toml(ca_file->value));
  if (peer) {
    file_.note(
        section, ca_file,
        "stunnel accepted only certificates that are in this file; here every certificate is "
        "accepted that a CA in it has issued");
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
    file_.note(service.section, option, mistake + ": check that the mode is right");
  }
}

bool Converter::downstream(const Service& service, TomlTable& out) {
  const auto& section = service.section;
  if (service.client) {
    fence(service, {}, out);
    return true;
  }

  // Such a service may have no certificate.
  if (const auto* const secrets = file_.last(section, "PSKsecrets")) {
    file_.leave_out(section, secrets, "pre-shared keys are not supported");
    return false;
  }
  auto pair = certificate(section);
  if (!pair) {
    file_.leave_out(section, nullptr, "there is no certificate to show to clients");
    return false;
  }
  std::string list = "[" + *pair;
  if (const auto more = more_certificates_.find(&section); more != more_certificates_.end()) {
    for (const auto& each : more->second) list += ", " + each;
  }
  out.set("downstream.tls", toml(service.negotiation.empty() ? "implicit" : "starttls"));
  doubt_port(service, file_.last(section, "accept"), service.listen.front());
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
  const auto listen = config::parse_address(service.listen.front());
  if (!listen || config::is_local(*listen)) return;
  config::Service converted;
  converted.protocol = service.protocol;
  converted.downstream = downstream;
  converted.upstream.send_proxy =
      service.sends_proxy ? config::SendProxy::v1 : config::SendProxy::no;
  converted.upstream.from_client = service.from_client;
  if (config::exposure(converted) == config::Exposure::none) return;
  // At an address of its own, this machine is a client with that address, not with 127.0.0.1.
  const std::string host(without_interface(listen->host));
  const bool any = host == "0.0.0.0" || host == "::";
  out.set("downstream.allow", any ? R"(["127.0.0.1", "::1"])" : "[" + toml(host) + "]");
  std::string networks = "add the networks of your clients";
  if (!any && host.find(':') == std::string::npos) {
    networks += ", such as \"" + host.substr(0, host.rfind('.')) + ".0/24\"";
  }
  file_.note(
      service.section, file_.last(service.section, "accept"),
      "stunnel accepted every client; here downstream.allow has this machine only: " + networks);
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
      file_.note(section, wanted, "'" + wanted->value + "' is not a host name");
    }
    wanted = nullptr;
  }
  for (std::size_t i = 1; i < names.size(); ++i) {
    file_.note(section, names[i], "only the first name is verified: " + names.front()->value);
  }
  if (sni != nullptr && (wanted == nullptr || wanted->value != sni->value)) {
    file_.note(section, sni, "the name that is verified is also the one that is sent (SNI)");
  }
  if (const auto* const email = file_.last(section, "checkEmail")) {
    file_.note(section, email, "a server's certificate is verified by its host name or address");
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
  note_verification(file_, service,
                    wanted != nullptr ? wanted->value : host(service.connect.front()));

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
    file_.note(section, secrets,
               "pre-shared keys are not supported: the server needs a certificate");
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
               "'" + option->value + "' seconds is not a time from one second to one day; " + key +
                   " keeps its default");
  }
}

/// Notes the options that matter only if they differ from what holds here anyway.
void Converter::rest(const Service& service) {
  const auto& section = service.section;
  if (const auto* const resume = file_.last(section, "sessionResume"); resume && !is_yes(resume)) {
    file_.note(section, resume, "TLS sessions are resumed here");
  }
  if (const auto* const renegotiation = file_.last(section, "renegotiation");
      is_yes(renegotiation)) {
    file_.note(section, renegotiation, "TLS is not renegotiated here");
  }
  if (const auto* const failover = file_.last(section, "failover");
      failover && service.connect.size() > 1 && !ascii::iequals(failover->value, "prio")) {
    file_.note(section, failover, "servers are tried in order; there is no round robin");
  }
  for (const auto* const option : file_.all(section, "socket")) {
    if (option->value.find(":TCP_NODELAY") == std::string::npos) {
      file_.note(section, option, ascii::escape(option->value) + " has no counterpart");
    }
  }
  if (const auto* const name = file_.last(section, "protocolHost")) {
    if (service.protocol != "smtp" || !config::check_host(name->value) ||
        config::is_ip_literal(name->value)) {
      file_.note(section, name, "'" + ascii::escape(name->value) + "' is not used here");
    } else if (shared_.hostname.empty()) {
      shared_.hostname = name->value;
      file_.note(section, name, "is the name for all services here: proxy.hostname");
    } else if (shared_.hostname != name->value) {
      file_.note(section, name, "proxy.hostname is " + shared_.hostname + " for all services");
    }
  }
}

/// Returns a name that is allowed here, and that no other service has.
std::string Converter::label(const std::string& name) {
  std::string base;
  for (const char c : name.substr(0, 48)) {
    base += ascii::is_alphanumeric(c) || c == '.' || c == '_' ? c : '-';
  }
  if (base.empty()) base = "service";
  std::string unique = base;
  for (std::size_t i = 2; !shared_.labels.insert(unique).second; ++i) {
    unique = base + "-" + std::to_string(i);
  }
  return unique;
}

std::optional<std::string> Converter::convert(const Section& section) {
  if (!file_.yes(section, "client") && file_.last(section, "sni") != nullptr) {
    const auto* const sni = file_.last(section, "sni");
    if (!by_name_.contains(sni->value.substr(0, sni->value.find(':')))) {
      file_.leave_out(section, sni, "there is no service of that name");
    }
    return std::nullopt;  // a certificate of another service, see collect_certificates_by_name
  }
  const auto found = stunnel::read_service(section, shared_.listening, file_);
  if (!found) return std::nullopt;
  const Service& service = *found;

  TomlTable table;
  const auto name = label(section.name);
  table.set("name", toml(name));
  table.set("protocol", toml(service.protocol));
  table.set("listen", toml(service.listen));
  if (!downstream(service, table) || !upstream(service, table)) return std::nullopt;
  if (service.sends_proxy) table.set("upstream.send_proxy", toml("v1"));
  if (service.from_client) table.set("upstream.source", toml("client"));
  convert_login(file_, service, name, table);
  convert_versions(file_, section, service.client, table);
  timeout(section, "TIMEOUTconnect", "timeouts.connect", table);
  timeout(section, "TIMEOUTidle", "timeouts.idle", table);
  rest(service);
  for (const auto& each : service.listen) {
    shared_.listening.push_back(*config::parse_address(each));
  }
  return table.text("[[service]]");
}

Part Converter::run() {
  convert_log();
  collect_certificates_by_name();
  std::vector<std::string> tables;  // one per section; "" = it has none
  for (const auto& section : file_.services()) tables.push_back(convert(section).value_or(""));
  note_lost_certificates(tables);
  if (file_.services().empty()) {
    const bool has_others = file_.last(file_.global(), "include") != nullptr;
    file_.note(file_.global(), nullptr,
               has_others ? "there is no [service] in this file itself"
                          : "there is no [service]: inetd mode has no counterpart");
  }
  return finish(tables);
}

/// Notes the certificates for services that are not converted.
void Converter::note_lost_certificates(const std::vector<std::string>& tables) {
  const auto& sections = file_.services();
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (!tables[i].empty() || file_.is_left_out(sections[i])) continue;
    const auto* const sni = file_.last(sections[i], "sni");
    const auto* const primary = by_name_.at(sni->value.substr(0, sni->value.find(':')));
    if (!tables[static_cast<std::size_t>(primary - sections.data())].empty()) continue;
    file_.leave_out(sections[i], sni,
                    "its service [" + ascii::escape(primary->name) + "] is not converted");
  }
}

std::string Converter::to_string(const stunnel::Note& note) const {
  return (note.line == 0 ? "" : source_.place(note.line) + ": ") + note.text;
}

/// Puts the tables together, each after the notes about its section.
Part Converter::finish(const std::vector<std::string>& tables) {
  Part part;
  auto& counts = part.counts;
  const auto& sections = file_.services();
  counts.sections = sections.size();
  counts.left_out = file_.left_out();
  counts.services = static_cast<std::size_t>(
      std::count_if(tables.begin(), tables.end(), [](const auto& each) { return !each.empty(); }));
  const auto notes = file_.take_notes();
  for (const auto& note : notes) counts.notes.push_back(to_string(note));

  auto note = notes.begin();
  const auto comments_before = [&](std::size_t i) {
    constexpr auto kEnd = std::numeric_limits<std::size_t>::max();
    const auto line = i < sections.size() ? sections[i].line : kEnd;
    std::string text;
    for (; note != notes.end() && note->line < line; ++note) text += "# " + to_string(*note) + "\n";
    return text;
  };
  part.head = comments_before(0);
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const auto text = comments_before(i + 1) + tables[i];
    if (!text.empty()) part.services += "\n" + text;
  }
  return part;
}

std::string table_of(std::string_view header, const std::string& key, const std::string& value) {
  if (value.empty()) return {};
  TomlTable table;
  table.set(key, toml(value));
  return "\n" + table.text(header);
}

}  // namespace

Conversion convert_stunnel(std::span<const stunnel::Source> files) {
  Shared shared;
  Conversion whole;
  std::string head;
  std::string services;
  for (const auto& file : files) {
    auto part = Converter(file, shared).run();
    whole.sections += part.counts.sections;
    whole.services += part.counts.services;
    whole.left_out += part.counts.left_out;
    for (const auto& note : part.counts.notes) {
      whole.notes.push_back((file.path.empty() ? "" : file.path + ": ") + note);
    }
    if (files.size() == 1) {
      head = std::move(part.head);
    } else {
      services += "\n# From " + file.path + ":\n" + part.head;
    }
    services += part.services;
  }
  if (whole.services == 0) return whole;
  whole.toml = "# Relative paths are relative to this file's folder.\n" + head +
               table_of("[proxy]", "hostname", shared.hostname) +
               table_of("[log]", "level", shared.log_level) + services;
  return whole;
}

Conversion convert_stunnel(std::string_view text) {
  const stunnel::Source source{.path = {}, .text = std::string(text)};
  return convert_stunnel({&source, 1});
}

}  // namespace starttls

#include "proxy/check_report.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/base/ascii.h"
#include "lib/base/login_settings.h"
#include "lib/base/side.h"
#include "lib/base/tls_mode.h"
#include "lib/base/tls_version.h"
#include "lib/config/schema.h"
#include "lib/tls/library.h"
#include "proxy/login_files.h"

namespace starttls {
namespace {

using Json = nlohmann::ordered_json;

std::string counted(std::size_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

template <class Element>
Json texts(const std::vector<Element>& all) {
  Json list = Json::array();
  for (const auto& each : all) list.push_back(to_string(each));
  return list;
}

Json pair(const ChainAndKey& files) {
  if (files.chain.empty()) return nullptr;
  Json json;
  json["chain"] = files.chain;
  json["key"] = files.key;
  return json;
}

std::string_view word(Verification verification) noexcept {
  return verification == Verification::full ? "full" : "none";
}

Json word(config::SendProxy version) {
  switch (version) {
    case config::SendProxy::no:
      return nullptr;
    case config::SendProxy::v1:
      return "v1";
    case config::SendProxy::v2:
      return "v2";
  }
  return nullptr;
}

std::string_view word(PostQuantumSupport support) noexcept {
  switch (support) {
    case PostQuantumSupport::none:
      return "none";
    case PostQuantumSupport::with_key_share:
      return "with_key_share";
    case PostQuantumSupport::full:
      return "full";
  }
  return "none";
}

Json verified_names(const config::Upstream& up) {
  std::vector<std::string> names;
  const auto add = [&names](std::string name) {
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) return;
    names.push_back(std::move(name));
  };
  if (up.tls != TlsMode::none && up.verify == Verification::full) {
    if (up.original_destination) add(config::peer_name(up, {}));
    for (const auto& address : up.address) add(config::peer_name(up, address));
  }
  return names;
}

Json downstream(const config::Downstream& down) {
  Json json;
  json["tls"] = name(down.tls);
  json["min_tls"] = number(down.min_tls);
  json["certificates"] = Json::array();
  for (const auto& each : down.certificates) json["certificates"].push_back(pair(each));
  json["client_ca"] = text_or_null(down.client_ca);
  json["ticket_keys"] = text_or_null(down.ticket_keys);
  json["allow"] = texts(down.allow);
  json["proxy_protocol"] = texts(down.proxy_protocol);
  json["max_per_client"] = down.max_per_client;
  return json;
}

Json upstream(const config::Upstream& up) {
  Json json;
  json["address"] = texts(up.address);
  if (up.original_destination) json["address"].push_back("original-destination");
  json["tls"] = name(up.tls);
  json["min_tls"] = number(up.min_tls);
  json["post_quantum"] = up.post_quantum == PostQuantum::off ? "off" : "auto";
  json["verify"] = word(up.verify);
  json["server_name"] = text_or_null(up.server_name);
  json["verified_names"] = verified_names(up);
  json["ca_file"] = text_or_null(up.ca_file);
  json["pins"] = texts(up.pins);
  json["certificate"] = pair(up.certificate);
  json["source"] = up.from_client ? Json("client") : Json(nullptr);
  json["send_proxy"] = word(up.send_proxy);
  json["greeting_text"] = up.greeting_text;
  json["warm"] = up.warm;
  return json;
}

Json destination(const config::Upstream& service, const config::Destination& row) {
  const auto up = config::upstream_at(service, row);
  Json json;
  json["networks"] = texts(row.networks);
  json["tls"] = name(up.tls);
  json["verify"] = word(up.verify);
  json["server_name"] = text_or_null(up.server_name);
  json["pins"] = texts(up.pins);
  return json;
}

/// Returns the word for a secret that is set: programs see that there is one, and no more.
Json hidden(bool is_set) {
  return is_set ? Json("hidden") : Json(nullptr);
}

void add_source(const config::SecretSource& source, Json& json) {
  json["secret"] = hidden(source.text.has_value());
  json["file"] = text_or_null(source.file);
  json["socket"] = text_or_null(source.socket);
  // Without its arguments, which may be secrets.
  json["command"] = source.command.empty() ? Json(nullptr) : Json(source.command.front());
  json["token"] = source.token;
}

Json login(const std::optional<config::Login>& login) {
  if (!login) return nullptr;
  Json json;
  json["when"] = login->when == LoginWhen::connect ? "connect" : "client";
  json["mechanism"] = name(login->mechanism);
  json["user"] = text_or_null(login->user);
  add_source(login->source, json);
  json["lifetime"] = config::to_string(login->lifetime);
  json["timeout"] = config::to_string(login->timeout);
  return json;
}

Json account(const config::Login& login, const config::Account& account) {
  const auto& source = config::uses_proxy_secret(login, account) ? config::source_of(login, account)
                                                                 : config::SecretSource{};
  Json json;
  json["name"] = account.name;
  json["password"] = account.password && account.password->empty()
                         ? Json("")
                         : hidden(account.password.has_value());
  json["user"] = text_or_null(config::user_of(login, account));
  add_source(source, json);
  return json;
}

Json timeouts(const config::Timeouts& timeouts) {
  Json json;
  json["connect"] = config::to_string(timeouts.connect);
  json["handshake"] = config::to_string(timeouts.handshake);
  json["prelude"] = config::to_string(timeouts.prelude);
  json["command"] = config::to_string(timeouts.command);
  json["idle"] = config::to_string(timeouts.idle);
  return json;
}

Json service(const config::Service& service) {
  Json json;
  json["name"] = service.name;
  json["protocol"] = service.protocol;
  json["listen"] = texts(service.listen);
  json["downstream"] = downstream(service.downstream);
  json["upstream"] = upstream(service.upstream);
  json["destination"] = Json::array();
  for (const auto& row : service.destinations) {
    json["destination"].push_back(destination(service.upstream, row));
  }
  json["login"] = login(service.login);
  json["account"] = Json::array();
  for (const auto& each : service.accounts) {
    json["account"].push_back(account(*service.login, each));
  }
  json["timeouts"] = timeouts(service.timeouts);
  return json;
}

/// Takes ":NUMBER" from the end of `text`. Returns nothing, and takes nothing, if it ends
/// otherwise.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto number = ascii::parse_number(text.substr(colon + 1));
  if (number) text = text.substr(0, colon);
  return number;
}

Json error(const config::Problem& problem, bool from_file) {
  std::string_view where = problem.where;
  std::string_view message = problem.text;
  Json line;
  Json column;
  std::string_view key;
  if (from_file) {
    const auto last = take_number(where);
    const auto first = last ? take_number(where) : std::nullopt;
    if (first) {
      line = *first;
      column = *last;
    } else if (last) {
      line = *last;
    }
    const auto end = message.find(": ");
    const auto start = message.substr(0, end);
    if (end != std::string_view::npos &&
        (config::find_key(start) != nullptr || config::is_section(start))) {
      key = start;
      message.remove_prefix(end + 2);
    }
  } else {
    key = std::exchange(where, {});
  }
  Json json;
  json["file"] = text_or_null(std::string(where));
  json["line"] = std::move(line);
  json["column"] = std::move(column);
  json["key"] = text_or_null(std::string(key));
  json["message"] = message;
  return json;
}

/// Splits the names of a certificate, as OwnCertificate has them, into a list.
Json split_names(std::string_view names) {
  constexpr std::string_view kSeparator = ", ";
  Json list = Json::array();
  if (names == "no name") return list;
  for (auto end = names.find(kSeparator); end != std::string_view::npos;
       end = names.find(kSeparator)) {
    list.push_back(names.substr(0, end));
    names.remove_prefix(end + kSeparator.size());
  }
  if (!names.empty()) list.push_back(names);
  return list;
}

Json certificate(const CertificateInUse& each, UnixTime now) {
  Json json;
  json["service"] = each.service;
  json["leg"] = name(each.side);
  json["file"] = each.file;
  json["names"] = split_names(each.names);
  json["issuer"] = each.issuer;
  json["not_before"] = rfc3339(each.not_before);
  json["not_after"] = rfc3339(each.not_after);
  json["days_left"] = days_until(each.not_after, now);
  return json;
}

}  // namespace

std::vector<CheckWarning> check_warnings(const config::Config& config, config::StartedBy started_by,
                                         std::span<const CertificateInUse> certificates,
                                         UnixTime now) {
  std::vector<CheckWarning> found;
  const auto add = [&found](const std::string& service, std::vector<std::string> texts) {
    for (auto& text : texts) found.push_back({service, std::move(text)});
  };
  add("", config::check_warnings(config.proxy, started_by));
  add("", config::warnings(config.admin));
  for (const auto& service : config.services) {
    for (const auto& each : certificates) {
      if (each.service != service.name) continue;
      for (const auto& finding : look_at(each, now)) {
        if (finding.is_error()) continue;
        found.push_back({each.service, finding.sentence(each.file)});
      }
    }
    add(service.name, config::warnings(service));
    add(service.name, login_file_warnings(service));
  }
  return found;
}

std::string summary(const CheckReport& report) {
  std::string text;
  if (!report.errors.empty()) {
    text = counted(report.errors.size(), "error");
  } else {
    text =
        "ok: " + counted(report.config == nullptr ? 0 : report.config->services.size(), "service");
  }
  if (!report.warnings.empty()) text += ", " + counted(report.warnings.size(), "warning");
  return text;
}

std::string to_json(const CheckReport& report, UnixTime now) {
  Json json;
  json["ok"] = report.errors.empty();
  json["services"] = Json::array();
  json["admin"]["listen"] = nullptr;
  json["process"] = nullptr;
  if (report.config != nullptr) {
    const auto& config = *report.config;
    for (const auto& each : config.services) json["services"].push_back(service(each));
    if (config.admin.listen) json["admin"]["listen"] = to_string(*config.admin.listen);
    json["process"] = Json::object();
    json["process"]["user"] = text_or_null(config.proxy.user);
    json["process"]["sandbox"] = config.proxy.sandbox;
    json["process"]["tls_library"] = tls::library_version();
    json["process"]["post_quantum"] = word(tls::post_quantum_support());
  }
  json["errors"] = Json::array();
  for (const auto& each : report.errors) {
    json["errors"].push_back(error(each, !report.config_file.empty()));
  }
  json["warnings"] = Json::array();
  for (const auto& each : report.warnings) {
    Json warning;
    warning["service"] = text_or_null(each.service);
    warning["message"] = each.text;
    json["warnings"].push_back(std::move(warning));
  }
  json["certificates"] = Json::array();
  for (const auto& each : report.certificates) {
    json["certificates"].push_back(certificate(each, now));
  }
  // A file's name may hold any bytes.
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace starttls

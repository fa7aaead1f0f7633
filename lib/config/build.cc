#include "lib/config/build.h"

#include <algorithm>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/config/expand.h"
#include "lib/config/unknown.h"

namespace starttls::config {
namespace {

using Kind = Value::Kind;

std::string wrong_kind(const std::string& path, std::string_view wanted, const Value& value) {
  return path + ": must be " + std::string(wanted) + ", not " + std::string(kind_name(value));
}

void assign_table(const Value& table, const std::string& prefix, Section& section,
                  Settings& settings, Findings& findings);

void assign_services(const Value& services, Settings& settings, Findings& findings) {
  constexpr std::string_view kWanted = "an array of tables: write [[service]]";
  if (services.kind != Kind::list || services.elements.empty()) {
    findings.add(services.key_place, "service: must be " + std::string(kWanted));
  }
  if (services.kind != Kind::list) return;
  for (const auto& service : services.elements) {
    if (service.kind != Kind::table) {
      findings.add(service.place, wrong_kind("service", "a table", service));
      continue;
    }
    Section section;
    section.place = service.place;
    assign_table(service, "service", section, settings, findings);
    settings.services.push_back(std::move(section));
  }
}

void assign_table(const Value& table, const std::string& prefix, Section& section,
                  Settings& settings, Findings& findings) {
  for (const auto& member : table.elements) {
    const std::string path = prefix.empty() ? member.key : prefix + "." + member.key;
    // A quoted name may contain dots; no key of ours does, so it must not pass for a path.
    const bool quoted = member.key.find('.') != std::string::npos;
    if (path == "service") {
      assign_services(member, settings, findings);
    } else if (const Key* const key = quoted ? nullptr : find_key(path)) {
      section.settings.push_back({key, path, member});
    } else if (quoted || !is_section(path)) {
      findings.add(
          member.key_place,
          unknown_key(path) + (quoted ? " (a dot inside quotes is part of the name)" : ""));
    } else if (member.kind != Kind::table) {
      findings.add(member.place, wrong_kind(path, "a table", member));
    } else {
      section.tables.push_back(path);
      assign_table(member, path, section, settings, findings);
    }
  }
}

/// Expands every string in `value`; `path` is its key. A string that cannot be expanded becomes a
/// finding.
void expand_all(Value& value, const std::string& path, const Source& source, Findings& findings,
                std::vector<std::string>& files) {
  if (value.kind == Kind::text) {
    if (auto text = expand(value.text, source.folder, files)) {
      if (value.text.find("${") != std::string::npos) value.written = value.text;
      value.text.swap(*text);
      wipe(*text);
    } else {
      findings.add(value.place, path + ": " + text.error().reason);
    }
  }
  for (auto& element : value.elements) {
    // A member's name has not been checked yet, so it may hold anything.
    const auto name = element.key.empty() ? "" : "." + ascii::escape(element.key);
    expand_all(element, path + name, source, findings, files);
  }
}

void read(Section& section, const Source& source, Findings& findings, Output target) {
  for (auto& setting : section.settings) {
    const auto before = findings.size();
    expand_all(setting.value, setting.path, source, findings, target.config.secret_files);
    if (findings.size() == before) {
      setting.key->read({setting.path, setting.value, source, findings}, target);
    }
    setting.bad = findings.size() > before;
  }
}

/// Makes an empty [service.login] a login, too.
void complete_login(const Section& section, Service& service) {
  const auto& tables = section.tables;
  if (!service.login && std::find(tables.begin(), tables.end(), "service.login") != tables.end()) {
    service.login.emplace();
  }
}

}  // namespace

const Setting* Section::find(std::string_view path) const noexcept {
  const auto found = std::find_if(settings.begin(), settings.end(),
                                  [path](const Setting& each) { return each.path == path; });
  return found == settings.end() ? nullptr : &*found;
}

bool Section::is_bad(std::string_view path) const noexcept {
  const auto* const setting = find(path);
  return setting != nullptr && setting->bad;
}

Settings assign(const Value& root, Findings& findings) {
  Settings settings;
  settings.global.place = root.place;
  assign_table(root, "", settings.global, settings, findings);
  const bool has_service = std::any_of(root.elements.begin(), root.elements.end(),
                                       [](const Value& member) { return member.key == "service"; });
  if (!has_service) findings.add(root.place, "no [[service]]: at least one is required");
  return settings;
}

void build(Settings settings, const Source& source, Findings& findings, Config& config,
           Places* places) {
  config = {};
  Service model;  // takes the file's own timeouts
  read(settings.global, source, findings, {config, model});
  for (auto& section : settings.services) {
    Service service = model;
    read(section, source, findings, {config, service});
    complete_login(section, service);
    config.services.push_back(std::move(service));
  }
  validate(config, settings, source, findings);
  if (places != nullptr) *places = Places(settings, source.kind == Source::Kind::file);
}

}  // namespace starttls::config

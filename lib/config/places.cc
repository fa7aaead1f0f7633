#include "lib/config/places.h"

#include <algorithm>

#include "lib/config/build.h"
#include "lib/config/schema.h"
#include "lib/config/value.h"

namespace starttls::config {

Places::Places(const Settings& settings, bool from_file) : from_file_(from_file) {
  add(std::nullopt, settings.global);
  for (std::size_t i = 0; i < settings.services.size(); ++i) {
    const auto& section = settings.services[i];
    services_.push_back({i, {}, 0, section.place.where, section.place.rank, std::nullopt});
    add(i, section);
  }
}

void Places::add(std::optional<std::size_t> service, const Section& section) {
  for (const auto& setting : section.settings) {
    const auto& value = setting.value;
    add(service, setting.path, 0, value);
    const auto add_members = [&](const Value& table, std::size_t row) {
      for (const auto& member : table.elements) {
        add(service, setting.path + "." + member.key, row, member);
      }
    };
    if (value.kind == Value::Kind::table) add_members(value, 0);
    if (value.kind != Value::Kind::list) continue;
    std::size_t row = 0;
    for (const auto& element : value.elements) {
      if (element.kind == Value::Kind::table) add_members(element, row++);
    }
  }
}

void Places::add(std::optional<std::size_t> service, const std::string& key, std::size_t row,
                 const Value& value) {
  values_.push_back({service, key, row, value.place.where, value.place.rank,
                     value.written ? std::optional(quoted(value)) : std::nullopt});
}

const Places::Written* Places::find(const ValueName& value) const noexcept {
  const auto found = std::find_if(values_.begin(), values_.end(), [&value](const Written& each) {
    return each.service == value.service && each.key == value.key && each.row == value.row;
  });
  return found == values_.end() ? nullptr : &*found;
}

Problem Places::problem(const ValueName& value, std::string_view text) const {
  const auto* written = find(value);
  if (written == nullptr && value.service && *value.service < services_.size()) {
    written = &services_[*value.service];
  }
  Problem problem;
  if (written != nullptr) {
    problem.where = written->where;
    problem.rank = written->rank;
  }
  if (from_file_) {
    problem.text = std::string(value.key) + ": ";
  } else if (const auto* const key = find_key(value.key); key != nullptr) {
    problem.where = key->flag;
  }
  problem.text += text;
  return problem;
}

std::string Places::shown(const ValueName& value, std::string name) const {
  const auto* const written = find(value);
  if (written != nullptr && written->quoted) return *written->quoted;
  return name;
}

}  // namespace starttls::config

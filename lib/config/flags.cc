#include <filesystem>
#include <system_error>

#include "lib/config/build.h"
#include "lib/config/load.h"
#include "lib/config/unknown.h"

namespace starttls::config {
namespace {

Value word(const std::string& text, const Place& place) {
  Value value;
  value.kind = Value::Kind::word;
  value.text = text;
  value.place = place;
  return value;
}

Value value_of(const Flag& flag, const Place& place) {
  if (flag.values.size() == 1) return word(flag.values.front(), place);
  Value value;
  value.kind = Value::Kind::list;
  value.place = place;
  for (const auto& text : flag.values) value.elements.push_back(word(text, place));
  return value;
}

}  // namespace

Problems load_flags(std::span<const Flag> flags, std::span<const std::string_view> protocols,
                    Config& config, Places* places) {
  Findings findings;
  Settings settings;
  auto& service = settings.services.emplace_back();
  service.place.rank = flags.size();  // missing keys come last
  for (std::size_t i = 0; i < flags.size(); ++i) {
    const auto& flag = flags[i];
    const Place place{flag.name, i};
    const Key* const key = find_flag(flag.name);
    if (key == nullptr) {
      findings.add(place, unknown_flag(flag.name));
      continue;
    }
    auto& section = key->path.starts_with("service.") ? service : settings.global;
    section.settings.push_back({key, std::string(key->path), value_of(flag, place)});
  }

  std::error_code error;
  const auto folder = std::filesystem::current_path(error);  // empty on error: paths stay relative
  build(std::move(settings), {Source::Kind::flags, folder, protocols}, findings, config, places);
  auto& only = config.services.front();
  only.name = only.protocol;
  return findings.sorted();
}

}  // namespace starttls::config

#include "lib/config/load.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <toml++/toml.h>

#include "lib/base/ascii.h"
#include "lib/base/regular_file.h"
#include "lib/base/secret.h"
#include "lib/config/build.h"
#include "lib/config/expand.h"

namespace starttls::config {
namespace {

namespace fs = std::filesystem;

Place place_of(const toml::source_region& region, const std::string& path) {
  const auto line = std::uint64_t{region.begin.line};
  const auto column = std::uint64_t{region.begin.column};
  return {path + ":" + std::to_string(line) + ":" + std::to_string(column), line << 32U | column};
}

/// Makes a value of a node, and wipes the text in the node: it may be a secret.
Value convert(toml::node& node, const std::string& path) {
  Value value;
  value.place = place_of(node.source(), path);
  switch (node.type()) {
    case toml::node_type::string:
      value.kind = Value::Kind::text;
      value.text = node.as_string()->get();
      wipe(node.as_string()->get());
      break;
    case toml::node_type::integer:
      value.kind = Value::Kind::number;
      value.number = node.as_integer()->get();
      break;
    case toml::node_type::boolean:
      value.kind = Value::Kind::boolean;
      value.boolean = node.as_boolean()->get();
      break;
    case toml::node_type::array:
      value.kind = Value::Kind::list;
      for (auto& element : *node.as_array()) value.elements.push_back(convert(element, path));
      break;
    case toml::node_type::table:
      value.kind = Value::Kind::table;
      for (auto&& [key, member] : *node.as_table()) {
        auto& last = value.elements.emplace_back(convert(member, path));
        last.key = key.str();
        last.key_place = place_of(key.source(), path);
      }
      break;
    case toml::node_type::floating_point:
      value.text = "a number with a fraction";
      break;
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      value.text = "a date or time";
      break;
    case toml::node_type::none:
      value.text = "nothing";
      break;
  }
  return value;
}

/// Returns the words for an error of the parser. If a string without quotes is the likely cause,
/// they say so instead: the parser tries to read such a string as a value of another type.
std::string explained(std::string_view description) {
  constexpr std::string_view kTypes[] = {"value", "boolean", "floating-point", "decimal integer",
                                         "time"};
  const bool other_type =
      std::any_of(std::begin(kTypes), std::end(kTypes), [description](std::string_view type) {
        return description.starts_with("Error while parsing " + std::string(type) + ":");
      });
  if (!other_type) return ascii::printable(description);
  return R"(not a value of TOML: a string is written in straight quotes, such as "smtp")";
}

/// Parses a text. It finds at most one error, because the parser stops at the first.
std::optional<Value> parse(std::string_view toml, const std::string& path, Findings& findings) {
  try {
    auto root = toml::parse(toml, std::string_view{path});
    return convert(root, path);
  } catch (const toml::parse_error& error) {
    findings.add(place_of(error.source(), path), explained(error.description()));
    return std::nullopt;
  }
}

}  // namespace

Problems load_file(const std::string& path, std::span<const std::string_view> protocols,
                   Config& config, Places* places) {
  auto text = read_any_file(path, kMaxFile);
  if (!text) return {{path, "cannot be read: " + text.error().reason}};
  auto problems = load_text(*text, path, protocols, config, places);
  wipe(*text);
  return problems;
}

Problems load_text(std::string_view toml, const std::string& path,
                   std::span<const std::string_view> protocols, Config& config, Places* places) {
  Findings findings;
  const auto root = parse(toml, path, findings);
  if (!root) return findings.sorted();

  std::error_code error;
  const auto folder = fs::absolute(path, error).parent_path();  // on error "": paths stay relative
  build(assign(*root, findings), {Source::Kind::file, folder, protocols}, findings, config, places);
  return findings.sorted();
}

}  // namespace starttls::config

#include "token/toml_file.h"

#include <toml++/toml.h>

#include "lib/base/ascii.h"

namespace starttls::token {
namespace {

std::string place_of(const std::string& path, const toml::source_region& region) {
  return path + ":" + std::to_string(std::uint64_t{region.begin.line});
}

// NOLINTNEXTLINE(misc-no-recursion): the parser limits the depth
void append(std::vector<Section>& sections, const toml::table& table, const std::string& name,
            const std::string& path) {
  const auto own = sections.size();
  sections.push_back(
      {.name = name, .place = place_of(path, table.source()), .values = {}, .not_text = {}});
  for (const auto& [key, value] : table) {
    const std::string label{key.str()};
    auto full = name;
    if (!full.empty()) full += ".";
    full += label;
    if (const auto* const text = value.as_string()) {
      sections[own].values.emplace(label, text->get());
    } else if (const auto* const inner = value.as_table()) {
      append(sections, *inner, full, path);
    } else if (value.is_array_of_tables()) {
      for (const auto& element : *value.as_array()) {
        append(sections, *element.as_table(), full, path);
      }
    } else {
      sections[own].not_text.push_back(label);
    }
  }
}

}  // namespace

Outcome<std::vector<Section>> sections_of(std::string_view toml, const std::string& path) {
  try {
    const toml::table root = toml::parse(toml, std::string_view{path});
    std::vector<Section> sections;
    append(sections, root, "", path);
    return sections;
  } catch (const toml::parse_error& error) {
    return failed(Exit::config,
                  place_of(path, error.source()) + ": " + ascii::printable(error.description()));
  }
}

}  // namespace starttls::token

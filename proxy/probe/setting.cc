#include "proxy/probe/setting.h"

#include <cassert>

#include "lib/config/schema.h"

namespace starttls {

using config::Spelling;

std::string setting_name(Spelling spelling, std::string_view key) {
  if (spelling == Spelling::keys) return std::string(key);
  const auto* const row = config::find_key("service." + std::string(key));
  assert(row != nullptr && !row->flag.empty());
  return std::string(row->flag);
}

std::string setting(Spelling spelling, std::string_view key, std::string_view value) {
  const std::string start = setting_name(spelling, key);
  if (spelling == Spelling::flags) return start + ' ' + std::string(value);
  const std::string quoted = '"' + std::string(value) + '"';
  const bool is_list = key == "upstream.pins";
  return start + " = " + (is_list ? '[' + quoted + ']' : quoted);
}

std::string both_settings(Spelling spelling, const std::string& one, const std::string& other) {
  return one + (spelling == Spelling::flags ? " " : " and ") + other;
}

}  // namespace starttls

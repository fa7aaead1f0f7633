#include "token/json.h"

#include <cstdint>
#include <limits>

#include "lib/base/ascii.h"

namespace starttls::token {

std::optional<std::int64_t> JsonObject::number(const char* key) const {
  constexpr auto kLargest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const auto found = value_.find(key);
  if (found == value_.end()) return std::nullopt;
  std::optional<std::uint64_t> value;
  if (found->is_number_unsigned()) value = found->get<std::uint64_t>();
  // Version 1 of Microsoft's endpoint writes expires_in as text.
  if (found->is_string()) value = ascii::parse_number(found->get_ref<const std::string&>());
  if (!value || *value > kLargest) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

}  // namespace starttls::token

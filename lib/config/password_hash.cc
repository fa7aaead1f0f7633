#include "lib/config/password_hash.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "lib/base/ascii.h"

namespace starttls::config {
namespace {

/// A method of crypt(5): its prefix, and the length of the hash after the last '$'. With bcrypt
/// the salt is a part of it.
struct HashMethod {
  std::string_view prefix;
  std::size_t length;
};

constexpr HashMethod kHashMethods[] = {{"$1$", 22},  {"$2a$", 53}, {"$2b$", 53},
                                       {"$2y$", 53}, {"$5$", 43},  {"$6$", 86},
                                       {"$7$", 43},  {"$y$", 43},  {"$gy$", 43}};

/// The alphabet of hashes and salts; '$', '=' and ',' are between their parts.
bool is_hash_character(char c) noexcept {
  return ascii::is_alphanumeric(c) || c == '.' || c == '/';
}

}  // namespace

bool has_form_of_hash(std::string_view text) noexcept {
  return text.starts_with('$') && text.find('$', 1) != std::string_view::npos;
}

bool is_password_hash(std::string_view text) noexcept {
  const auto* const method =
      std::find_if(std::begin(kHashMethods), std::end(kHashMethods),
                   [text](const HashMethod& each) { return text.starts_with(each.prefix); });
  if (method == std::end(kHashMethods)) return false;
  const auto rest = text.substr(method->prefix.size());
  const auto hash = rest.substr(rest.rfind('$') + 1);  // npos + 1 is 0
  return hash.size() != rest.size() && hash.size() == method->length &&
         std::all_of(hash.begin(), hash.end(), is_hash_character);
}

}  // namespace starttls::config

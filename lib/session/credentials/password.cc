#include "lib/session/credentials/password.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include <crypt.h>

#include "lib/config/password_hash.h"

namespace starttls::session {

bool is_hash(const Secret& password) noexcept {
  return config::has_form_of_hash(password.reveal());
}

bool has_hash(const Secret& given, const Secret& hash) {
  // The library wants texts that end in NUL, and leaves the password in its work space.
  std::string phrase{given.reveal()};
  std::string setting{hash.reveal()};
  const auto space = std::make_unique<crypt_data>();
  const char* made = phrase.find('\0') == std::string::npos
                         ? ::crypt_r(phrase.c_str(), setting.c_str(), space.get())
                         : nullptr;
  // A failure is a null pointer, or a text that begins with "*" and is no hash.
  const bool equal = made != nullptr && *made == '$' && Secret{made} == hash;
  wipe(phrase);
  wipe(setting);
  wipe(std::span{reinterpret_cast<char*>(space.get()), sizeof(crypt_data)});
  return equal;
}

}  // namespace starttls::session

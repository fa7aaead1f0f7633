#include "tools/mail_server/sasl.h"

#include "lib/base/ascii.h"

namespace starttls::bench {

std::optional<Sasl> Sasl::begin(std::string_view mechanism, bool has_initial_response) noexcept {
  const std::uint8_t answered = has_initial_response ? 1 : 0;
  if (ascii::iequals(mechanism, "PLAIN")) return Sasl{1, answered};
  if (ascii::iequals(mechanism, "LOGIN")) return Sasl{2, answered};
  return std::nullopt;
}

std::string_view Sasl::challenge() const noexcept {
  if (wanted_ == 1) return "";
  return answered_ == 0 ? "VXNlcm5hbWU6" : "UGFzc3dvcmQ6";  // "Username:", "Password:"
}

}  // namespace starttls::bench

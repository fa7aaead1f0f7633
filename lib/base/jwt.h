#pragma once

#include <optional>
#include <string_view>

#include "lib/base/secret.h"

namespace starttls {

/// The parts of a JSON Web Token (RFC 7519) that hold JSON: all but its signature.
struct JwtParts {
  Secret header;
  Secret claims;
};

/// Splits a token in its compact form (RFC 7515 §7.1) and decodes the parts. Nothing if it has not
/// three parts in base64url: five would be an encrypted token (RFC 7516). The JSON may be of any
/// kind, and the signature is not checked.
[[nodiscard]] std::optional<JwtParts> split_jwt(std::string_view token);

}  // namespace starttls

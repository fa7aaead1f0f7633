#pragma once

// The encodings of OAuth: base64url (RFC 7515 §2), forms and queries
// (application/x-www-form-urlencoded, RFC 6749 appendix B), and addresses of endpoints.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/secret.h"
#include "token/failure.h"

namespace starttls::token {

/// Base64 of RFC 4648 §5, without padding.
[[nodiscard]] std::string base64url(std::span<const std::uint8_t> bytes);

/// Encodes everything except the unreserved characters of RFC 3986 §2.3.
[[nodiscard]] std::string percent_encode(std::string_view text);

/// The fields of a query, decoded, in their order. Returns nothing if an escape is malformed.
using Fields = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] std::optional<Fields> parse_query(std::string_view query);
/// Returns the value of the only field of this name. Returns nothing if there is none or a second
/// one (RFC 6749 §3.1: parameters must not be included more than once).
[[nodiscard]] std::optional<std::string> field(const Fields& fields, std::string_view name);

/// The body of a request, or a query. Its memory is wiped, because most forms contain secrets.
class Form {
 public:
  Form() = default;
  Form(const Form&) = delete;
  Form(Form&&) = default;
  Form& operator=(const Form&) = delete;
  Form& operator=(Form&&) = default;
  ~Form() = default;

  void add(std::string_view name, std::string_view value);
  /// The same, for a value that no message may repeat.
  void add(std::string_view name, const Secret& value);
  [[nodiscard]] std::string_view encoded() const noexcept { return text_.reveal(); }
  /// True if `words` repeat a secret of this form.
  [[nodiscard]] bool leaks_into(std::string_view words) const;

 private:
  Secret text_;
  std::vector<Secret> secrets_;
};

/// Checks the address of an endpoint: https, or http on this machine's loopback, without user
/// name and fragment. `key` names it in errors. Errors: config.
[[nodiscard]] Outcome<> check_endpoint(std::string_view key, std::string_view url);

/// An address of this machine's loopback, for a redirect (RFC 8252 §7.3).
struct LoopbackAddress {
  std::string host;        ///< "127.0.0.1" or "localhost"
  unsigned port = 0;       ///< 0: any
  std::string path = "/";  ///< begins with '/'
};
/// Reads "http://127.0.0.1[:PORT]/PATH". Errors: config.
[[nodiscard]] Outcome<LoopbackAddress> parse_redirect(std::string_view url);

}  // namespace starttls::token

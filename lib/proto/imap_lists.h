#pragma once

// The capability lists of an IMAP server, as the client may see them (RFC 9051 §7.2.2).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace starttls::proto::imap {

/// The changes to a list.
struct ListEdit {
  enum class Login : std::uint8_t {
    passes,   ///< the client's login passes
    ours,     ///< the client logs in to the proxy
    is_over,  ///< it has logged in
  };

  bool offers_starttls = false;
  bool bars_external = false;  ///< our own certificate would speak for any client
  Login login = Login::passes;
};

/// Returns the capabilities that a line has, as words; nothing if it has none.
[[nodiscard]] std::optional<std::string_view> find_list(std::string_view line) noexcept;

/// Returns a line of the server, its end included, as the client may see it. Only capabilities are
/// edited.
[[nodiscard]] std::string edit_list(std::string_view raw, const ListEdit& how);

}  // namespace starttls::proto::imap

#pragma once

// How to ask a server what it can do, for people who want to see it (`starttls-proxy probe`). The
// preludes ask only where their outcome depends on it.

#include <string_view>

namespace starttls::proto {

struct CapabilityQuery {
  std::string_view command;    ///< without CRLF; "" = the greeting is the list
  bool says_hostname = false;  ///< our name follows the command
  std::string_view goodbye;    ///< without CRLF
  bool (*complete)(std::string_view reply) = nullptr;  ///< whether all of the reply is there
};

/// Replies of SMTP: the last line's code is followed by no hyphen (RFC 5321 §4.2.1).
[[nodiscard]] bool is_whole_smtp_reply(std::string_view reply) noexcept;
/// Up to the line with the tag of `kImapCapabilityCommand`, or a BYE.
[[nodiscard]] bool is_whole_imap_reply(std::string_view reply) noexcept;
/// Up to the lone dot where the first line announces a list ("+OK"; NNTP: a code 1xx), else one
/// line (RFC 1939 §3, RFC 3977 §3.1.1).
[[nodiscard]] bool is_whole_pop3_list(std::string_view reply) noexcept;
[[nodiscard]] bool is_whole_nntp_list(std::string_view reply) noexcept;

inline constexpr std::string_view kImapCapabilityCommand = "probe CAPABILITY";
inline constexpr std::string_view kImapGoodbye = "probe LOGOUT";

}  // namespace starttls::proto

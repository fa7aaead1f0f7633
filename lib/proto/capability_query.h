#pragma once

// The way to ask a server for its capabilities, for people who want to see them (`starttls-proxy
// probe`). The preludes ask only if their outcome depends on the answer.

#include <string_view>

namespace starttls::proto {

struct CapabilityQuery {
  std::string_view command;    ///< without CRLF; "" = the greeting is the list
  bool says_hostname = false;  ///< our name follows the command
  std::string_view goodbye;    ///< without CRLF
  bool (*complete)(std::string_view reply) = nullptr;  ///< true if all of the reply is there
};

/// True if an SMTP reply is whole: no hyphen follows the code of the last line (RFC 5321 §4.2.1).
[[nodiscard]] bool is_whole_smtp_reply(std::string_view reply) noexcept;
/// True if the reply has the line with the tag of `kImapCapabilityCommand`, or a BYE.
[[nodiscard]] bool is_whole_imap_reply(std::string_view reply) noexcept;
/// True if the reply is whole. It goes up to the lone dot if the first line announces a list
/// ("+OK"; NNTP: a code 1xx). Otherwise it is one line (RFC 1939 §3, RFC 3977 §3.1.1).
[[nodiscard]] bool is_whole_pop3_list(std::string_view reply) noexcept;
[[nodiscard]] bool is_whole_nntp_list(std::string_view reply) noexcept;

inline constexpr std::string_view kImapCapabilityCommand = "probe CAPABILITY";
inline constexpr std::string_view kImapGoodbye = "probe LOGOUT";

}  // namespace starttls::proto

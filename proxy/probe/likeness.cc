#include "proxy/probe/likeness.h"

#include <algorithm>
#include <iterator>

#include "lib/base/ascii.h"

namespace starttls {
namespace {

struct Row {
  std::string_view start;  ///< of the line
  std::string_view word;   ///< a word that the line must have too; "" = none
  Likeness likeness;
};

constexpr Likeness kSmtp{"SMTP", "smtp lmtp"};
constexpr Likeness kTls{"TLS", "", true};

constexpr Row kRows[] = {
    // Servers of LMTP greet as those of SMTP do (RFC 2033 §4.1). Only some name their protocol.
    {"220", "LMTP", {"LMTP", "lmtp"}},
    {"220", "", kSmtp},
    {"421", "", kSmtp},
    {"554", "", kSmtp},
    {"* ", "", {"IMAP", "imap"}},
    {"+OK", "", {"POP3", "pop3"}},
    {"-ERR", "", {"POP3", "pop3"}},
    {"\"", "", {"ManageSieve", "sieve"}},
    {"200 ", "", {"NNTP", "nntp"}},
    {"201 ", "", {"NNTP", "nntp"}},
    {"HTTP/", "", {"HTTP", ""}},
    {"SSH-", "", {"SSH", ""}},
    // A record's type, alert or handshake, and the major version (RFC 8446 §5.1).
    {"\\x15\\x03", "", kTls},
    {"\\x16\\x03", "", kTls},
};

bool has_word(std::string_view line, std::string_view word) noexcept {
  for (; !line.empty(); line = ascii::after_first_word(line)) {
    if (ascii::iequals(ascii::first_word(line), word)) return true;
  }
  return false;
}

}  // namespace

const Likeness* likeness_of(std::string_view line) noexcept {
  const auto* const row = std::find_if(std::begin(kRows), std::end(kRows), [line](const Row& each) {
    return line.starts_with(each.start) && (each.word.empty() || has_word(line, each.word));
  });
  return row == std::end(kRows) ? nullptr : &row->likeness;
}

}  // namespace starttls

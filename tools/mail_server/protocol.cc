#include "tools/mail_server/protocol.h"

namespace starttls::bench {
namespace {

struct Row {
  std::string_view name;
  MakeProtocol make;
};

constexpr Row kProtocols[] = {
    {"smtp", make_smtp}, {"lmtp", make_lmtp},   {"imap", make_imap},
    {"pop3", make_pop3}, {"sieve", make_sieve}, {"nntp", make_nntp},
};

}  // namespace

MakeProtocol find_protocol(std::string_view name) noexcept {
  for (const Row& row : kProtocols) {
    if (row.name == name) return row.make;
  }
  return nullptr;
}

std::string protocol_names() {
  std::string names;
  for (const Row& row : kProtocols) {
    if (!names.empty()) names += ", ";
    names += row.name;
  }
  return names;
}

}  // namespace starttls::bench

#include "lib/proto/protocols.h"

#include <array>

#include "lib/base/ascii.h"
#include "lib/proto/clear_port.h"
#include "lib/proto/lines.h"
#include "lib/proto/quoted.h"

namespace starttls::proto {
namespace {

/// Maximum bytes of a server's name in a reply, so that the reason has room.
constexpr std::size_t kMaxServerName = 128;

std::string_view words_for(const Parts::Words& words, const Error& error) noexcept {
  switch (error.code) {
    case Errc::config:
    case Errc::system:
    case Errc::unreachable:
    case Errc::timeout:
    case Errc::closed:
      return words.unavailable;
    case Errc::greeting_refused:
    case Errc::limit:
    case Errc::not_allowed:
    case Errc::draining:
      return words.refused;
    case Errc::tls_not_offered:
    case Errc::tls_refused:
    case Errc::attack:
    case Errc::protocol:
    case Errc::too_many_errors:
    case Errc::client_login:
      return words.policy;
    case Errc::login:
      return error.timed_out ? words.unavailable : words.policy;
    case Errc::handshake:
    case Errc::certificate:
    case Errc::tls:  // a record that does not decrypt is a cryptographic failure as well
      return words.certificate;
    case Errc::client_protocol:
    case Errc::tls_on_clear_port:  // its reply is an alert
      return words.client_protocol;
  }
  return words.unavailable;
}

}  // namespace

std::span<const Protocol> protocols() noexcept {
  // ALPN: the IANA registry has imap and pop3 (RFC 7301), managesieve and nntp. For SMTP, servers
  // know "smtp", and Exim "esmtp" too.
  static const std::array kProtocols{
      Protocol{parts::smtp(), "smtp", 25, 465, "smtp esmtp"},
      Protocol{parts::lmtp(), "lmtp", 24, 0, ""},
      Protocol{parts::imap(), "imap", 143, 993, "imap"},
      Protocol{parts::pop3(), "pop3", 110, 995, "pop3"},
      Protocol{parts::sieve(), "sieve", 4190, 0, "managesieve"},
      Protocol{parts::nntp(), "nntp", 119, 563, "nntp"},
  };
  return kProtocols;
}

const Protocol* find_protocol(std::string_view name) noexcept {
  for (const auto& protocol : protocols()) {
    if (protocol.name == name) return &protocol;
  }
  return nullptr;
}

std::string failure_reply(const Protocol& protocol, const Error& error, std::string_view hostname,
                          std::string_view server) {
  if (error.code == Errc::tls_on_clear_port) return std::string(kUnexpectedMessage);
  constexpr std::string_view kEnd = "\r\n";
  const auto room = kMaxOwnLine - kEnd.size() - protocol.words.suffix.size();
  std::string text = ascii::printable(hostname) + ' ';
  if (!server.empty()) {
    text += protocol.words.server;
    text += ' ' + ascii::printable(server, kMaxServerName) + ": ";
  }
  text += ascii::printable(error.reason);
  if (protocol.words.suffix == "\"") std::erase_if(text, needs_backslash);
  std::string reply(words_for(protocol.words, error));
  reply += text;
  if (reply.size() > room) reply.resize(room);
  reply += protocol.words.suffix;
  reply += kEnd;
  return reply;
}

}  // namespace starttls::proto

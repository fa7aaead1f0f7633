#include "lib/proto/protocols.h"

#include <array>

#include "lib/base/ascii.h"
#include "lib/proto/line_negotiator.h"
#include "lib/proto/smtp.h"

namespace starttls::proto {
namespace {

// Enhanced status codes: RFC 3463, RFC 5248. 4.4.1 no answer from host, 4.3.2 system not accepting
// messages, 4.7.0 security status, 4.7.5 cryptographic failure, 5.5.2 syntax error. All but the
// client's own errors are temporary: a legacy mailer then keeps its mail.
constexpr Protocol::Words kSmtpWords{
    .unavailable = "421 4.4.1 ",
    .refused = "421 4.3.2 ",
    .policy = "421 4.7.0 ",
    .certificate = "421 4.7.5 ",
    .client_protocol = "500 5.5.2 ",
    .suffix = "",
};

constexpr std::array kProtocols{
    Protocol{"smtp", 25, 465, kSmtpWords, smtp_upstream, smtp_downstream},
    Protocol{"lmtp", 24, 0, kSmtpWords, lmtp_upstream, lmtp_downstream},
};

std::string_view words_for(const Protocol::Words& words, Errc code) noexcept {
  switch (code) {
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
      return words.policy;
    case Errc::handshake:
    case Errc::certificate:
    case Errc::tls:  // a record that does not decrypt is a cryptographic failure as well
      return words.certificate;
    case Errc::client_protocol:
      return words.client_protocol;
  }
  return words.unavailable;
}

}  // namespace

std::span<const Protocol> protocols() noexcept {
  return kProtocols;
}

const Protocol* find_protocol(std::string_view name) noexcept {
  for (const auto& protocol : kProtocols) {
    if (protocol.name == name) return &protocol;
  }
  return nullptr;
}

std::string failure_reply(const Protocol& protocol, const Error& error, std::string_view hostname) {
  constexpr std::string_view kEnd = "\r\n";
  const auto room = kMaxOwnLine - kEnd.size() - protocol.words.suffix.size();
  std::string reply(words_for(protocol.words, error.code));
  reply += ascii::printable(hostname);
  reply += ' ';
  reply += ascii::printable(error.reason);
  if (reply.size() > room) reply.resize(room);
  reply += protocol.words.suffix;
  reply += kEnd;
  return reply;
}

}  // namespace starttls::proto

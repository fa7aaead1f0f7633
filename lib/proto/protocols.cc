#include "lib/proto/protocols.h"

#include <array>

#include "lib/base/ascii.h"
#include "lib/proto/clear_port.h"
#include "lib/proto/imap.h"
#include "lib/proto/lines.h"
#include "lib/proto/nntp.h"
#include "lib/proto/pop3.h"
#include "lib/proto/sieve.h"
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

// RFC 3206: temporary and no fault of the user's, so a client does not ask for another password.
constexpr std::string_view kPop3Failure = "-ERR [SYS/TEMP] ";
constexpr Protocol::Words kPop3Words{
    .unavailable = kPop3Failure,
    .refused = kPop3Failure,
    .policy = kPop3Failure,
    .certificate = kPop3Failure,
    .client_protocol = "-ERR ",
    .suffix = "",
};

// RFC 3977 §3.2.1: 400 service not or no longer available, 501 syntax error.
constexpr std::string_view kNntpFailure = "400 ";
constexpr Protocol::Words kNntpWords{
    .unavailable = kNntpFailure,
    .refused = kNntpFailure,
    .policy = kNntpFailure,
    .certificate = kNntpFailure,
    .client_protocol = "501 ",
    .suffix = "",
};

// RFC 9051 §7.1.5: BYE ends the session, whenever. RFC 5530 §3: UNAVAILABLE is temporary, CLIENTBUG
// says whose error it is.
constexpr std::string_view kImapFailure = "* BYE [UNAVAILABLE] ";
constexpr Protocol::Words kImapWords{
    .unavailable = kImapFailure,
    .refused = kImapFailure,
    .policy = kImapFailure,
    .certificate = kImapFailure,
    .client_protocol = "* BYE [CLIENTBUG] ",
    .suffix = "",
};

// RFC 5804 §1.2.1 and §1.3: BYE ends the session, TRYLATER says that it is no fault of the user's.
constexpr std::string_view kSieveFailure = "BYE (TRYLATER) \"";
constexpr Protocol::Words kSieveWords{
    .unavailable = kSieveFailure,
    .refused = kSieveFailure,
    .policy = kSieveFailure,
    .certificate = kSieveFailure,
    .client_protocol = "NO \"",
    .suffix = "\"",
};

constexpr CapabilityQuery kSmtpQuery{
    .command = "EHLO", .says_hostname = true, .goodbye = "QUIT", .complete = is_whole_smtp_reply};
constexpr CapabilityQuery kLmtpQuery{
    .command = "LHLO", .says_hostname = true, .goodbye = "QUIT", .complete = is_whole_smtp_reply};
constexpr CapabilityQuery kImapQuery{
    .command = kImapCapabilityCommand, .goodbye = kImapGoodbye, .complete = is_whole_imap_reply};
constexpr CapabilityQuery kPop3Query{
    .command = "CAPA", .goodbye = "QUIT", .complete = is_whole_pop3_list};
constexpr CapabilityQuery kSieveQuery{.command = "", .goodbye = "LOGOUT"};
constexpr CapabilityQuery kNntpQuery{
    .command = "CAPABILITIES", .goodbye = "QUIT", .complete = is_whole_nntp_list};

// ALPN: the IANA registry has imap and pop3 (RFC 7301), managesieve and nntp; for SMTP servers know
// "smtp", and Exim "esmtp" too.
constexpr std::array kProtocols{
    Protocol{"smtp", 25, 465, "smtp esmtp", kSmtpQuery, kSmtpWords, smtp_upstream, smtp_downstream},
    Protocol{"lmtp", 24, 0, "", kLmtpQuery, kSmtpWords, lmtp_upstream, lmtp_downstream},
    Protocol{"imap", 143, 993, "imap", kImapQuery, kImapWords, imap_upstream, imap_downstream},
    Protocol{"pop3", 110, 995, "pop3", kPop3Query, kPop3Words, pop3_upstream, pop3_downstream},
    Protocol{"sieve", 4190, 0, "managesieve", kSieveQuery, kSieveWords, sieve_upstream,
             sieve_downstream},
    Protocol{"nntp", 119, 563, "nntp", kNntpQuery, kNntpWords, nntp_upstream, nntp_downstream},
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
    case Errc::tls_on_clear_port:  // its reply is an alert
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
  if (error.code == Errc::tls_on_clear_port) return std::string(kUnexpectedMessage);
  constexpr std::string_view kEnd = "\r\n";
  const auto room = kMaxOwnLine - kEnd.size() - protocol.words.suffix.size();
  std::string text = ascii::printable(hostname) + ' ' + ascii::printable(error.reason);
  // Inside a quoted string nothing may end it or escape its end.
  if (protocol.words.suffix == "\"") {
    std::erase_if(text, [](char c) { return c == '"' || c == '\\'; });
  }
  std::string reply(words_for(protocol.words, error.code));
  reply += text;
  if (reply.size() > room) reply.resize(room);
  reply += protocol.words.suffix;
  reply += kEnd;
  return reply;
}

}  // namespace starttls::proto

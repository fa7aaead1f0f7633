#include "lib/proto/imap_downstream.h"
#include "lib/proto/imap_upstream.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/parts.h"

namespace starttls::proto {
namespace {

// RFC 9051 §7.1.5: BYE ends the session, at any time. RFC 5530 §3: UNAVAILABLE is temporary,
// CLIENTBUG means that the client made the error.
constexpr std::string_view kImapFailure = "* BYE [UNAVAILABLE] ";
constexpr Parts::Words kImapWords{
    .unavailable = kImapFailure,
    .refused = kImapFailure,
    .policy = kImapFailure,
    .certificate = kImapFailure,
    .client_protocol = "* BYE [CLIENTBUG] ",
};

}  // namespace

Parts parts::imap() {
  return {.words = kImapWords,
          .capabilities = {.command = kImapCapabilityCommand,
                           .goodbye = kImapGoodbye,
                           .complete = is_whole_imap_reply},
          .login = &login::kImap,
          .upstream = imap_upstream,
          .downstream = make_role<DownstreamRole, ImapDownstream>};
}

}  // namespace starttls::proto

#include "lib/session/phase.h"

#include <algorithm>

#include "lib/session/close_policy.h"

namespace starttls::session {
namespace {

using std::chrono::milliseconds;

milliseconds left(milliseconds patience, milliseconds since, milliseconds now) noexcept {
  return std::max(milliseconds{0}, since + patience - now);
}

}  // namespace

std::string_view name(Phase phase) noexcept {
  switch (phase) {
    case Phase::accepted:
      return "accepted";
    case Phase::proxy_header:
      return "proxy_header";
    case Phase::downstream_handshake:
      return "downstream_handshake";
    case Phase::connecting:
      return "connecting";
    case Phase::upstream_handshake:
      return "upstream_handshake";
    case Phase::upstream_prelude:
      return "upstream_prelude";
    case Phase::dialogue:
      return "dialogue";
    case Phase::downstream_starttls:
      return "downstream_starttls";
    case Phase::login:
      return "login";
    case Phase::relay:
      return "relay";
    case Phase::finishing:
      return "finishing";
    case Phase::ended:
      return "ended";
  }
  return "";
}

Deadline deadline_of(Phase phase, const config::Timeouts& timeouts,
                     const PhaseFacts& facts) noexcept {
  constexpr std::string_view kHandshake = "the TLS handshake with the client timed out";
  const auto prelude = left(timeouts.prelude, facts.accepted_at, facts.now);
  const auto command = left(timeouts.command, facts.greeted_at, facts.now);
  switch (phase) {
    case Phase::proxy_header:
      if (facts.awaits_header) return {prelude, Expiry::fail, "no PROXY header came in time"};
      [[fallthrough]];
    case Phase::downstream_handshake:
      return {std::min(timeouts.handshake, prelude), Expiry::handshake_failed, kHandshake};
    case Phase::downstream_starttls:
      return {facts.awaits_client_tls ? std::min(timeouts.handshake, command) : timeouts.handshake,
              Expiry::handshake_failed, kHandshake};
    case Phase::dialogue:
      // Bytes of such a client reach no server, so no server would end one that only sends NOOP. It
      // has as long as for one command, counted from the greeting.
      if (facts.awaits_client_tls) {
        return {command, Expiry::fail, "the client did not begin TLS in time"};
      }
      if (facts.awaits_server) {
        return {timeouts.command, Expiry::server_silent, "the server did not answer in time"};
      }
      return {timeouts.command, Expiry::fail, "the client sent no command in time"};
    case Phase::login:
      return {left(timeouts.prelude, facts.login_at, facts.now), Expiry::server_lost,
              "the login at the server took too long"};
    case Phase::relay:
      return {timeouts.idle, Expiry::ask_close_policy};
    case Phase::finishing:
      return {facts.resets ? ClosePolicy::kDeliveryPoll : ClosePolicy::kLinger,
              Expiry::ask_close_policy};
    case Phase::accepted:
    case Phase::connecting:  // the opener has the deadlines of this one and the next two
    case Phase::upstream_handshake:
    case Phase::upstream_prelude:
    case Phase::ended:
      break;
  }
  return {};
}

}  // namespace starttls::session

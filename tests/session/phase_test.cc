#include "lib/session/phase.h"

#include <cstddef>

#include "lib/session/close_policy.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::chrono_literals;

namespace {

config::Timeouts timeouts() {
  config::Timeouts out;
  out.prelude = 30'000ms;
  out.handshake = 10'000ms;
  out.command = 300'000ms;
  out.idle = 600'000ms;
  return out;
}

void check_deadline(Phase phase, const PhaseFacts& facts, std::chrono::milliseconds patience,
                    Expiry expiry) {
  const auto deadline = deadline_of(phase, timeouts(), facts);
  INFO(name(phase));
  CHECK(deadline.patience == patience);
  CHECK(deadline.expiry == expiry);
}

}  // namespace

TEST_CASE("phase: all phases before the greeting share one deadline", "[session][phase]") {
  const PhaseFacts early{.now = 5000ms, .accepted_at = 1000ms};
  const PhaseFacts late{.now = 25'000ms, .accepted_at = 1000ms};
  const PhaseFacts header{.now = 25'000ms, .accepted_at = 1000ms, .awaits_header = true};
  check_deadline(Phase::proxy_header, early, 10'000ms, Expiry::handshake_failed);
  check_deadline(Phase::proxy_header, header, 6000ms, Expiry::fail);
  check_deadline(Phase::downstream_handshake, early, 10'000ms, Expiry::handshake_failed);
  check_deadline(Phase::downstream_handshake, late, 6000ms, Expiry::handshake_failed);
  check_deadline(Phase::downstream_handshake, {.now = 99'000ms}, 0ms, Expiry::handshake_failed);
}

TEST_CASE("phase: a client that must begin TLS has the time of one command for it",
          "[session][phase][security]") {
  const PhaseFacts facts{.now = 100'000ms, .greeted_at = 20'000ms, .awaits_client_tls = true};
  check_deadline(Phase::dialogue, facts, 220'000ms, Expiry::fail);
  check_deadline(Phase::dialogue, {.now = 100'000ms, .greeted_at = 20'000ms}, 300'000ms,
                 Expiry::fail);
  check_deadline(Phase::downstream_starttls, facts, 10'000ms, Expiry::handshake_failed);
  // The handshake has what is left of it.
  const PhaseFacts late{.now = 315'000ms, .greeted_at = 20'000ms, .awaits_client_tls = true};
  check_deadline(Phase::downstream_starttls, late, 5000ms, Expiry::handshake_failed);
  const PhaseFacts by_choice{.now = 315'000ms, .greeted_at = 20'000ms};
  check_deadline(Phase::downstream_starttls, by_choice, 10'000ms, Expiry::handshake_failed);
}

TEST_CASE("phase: a server that does not answer a command is at fault, and not the client",
          "[session][phase]") {
  check_deadline(Phase::dialogue, {.awaits_server = true}, 300'000ms, Expiry::server_silent);
  check_deadline(Phase::dialogue, {.awaits_client_tls = true, .awaits_server = true}, 300'000ms,
                 Expiry::fail);
}

TEST_CASE("phase: a login has the time of a prelude, from the client's login on",
          "[session][phase][login]") {
  check_deadline(Phase::login, {.now = 100'000ms, .login_at = 95'000ms}, 25'000ms,
                 Expiry::server_lost);
  check_deadline(Phase::login, {.now = 200'000ms, .login_at = 95'000ms}, 0ms, Expiry::server_lost);
}

TEST_CASE("phase: the close policy decides about relays and ends", "[session][phase]") {
  check_deadline(Phase::relay, {}, 600'000ms, Expiry::ask_close_policy);
  check_deadline(Phase::finishing, {}, ClosePolicy::kLinger, Expiry::ask_close_policy);
  check_deadline(Phase::finishing, {.resets = true}, ClosePolicy::kDeliveryPoll,
                 Expiry::ask_close_policy);
}

TEST_CASE("phase: the opener has its own deadlines", "[session][phase]") {
  for (const auto phase : {Phase::accepted, Phase::connecting, Phase::upstream_handshake,
                           Phase::upstream_prelude, Phase::ended}) {
    INFO(name(phase));
    CHECK_FALSE(deadline_of(phase, timeouts(), {}).patience);
  }
}

#include "lib/session/client/handshake.h"

#include <utility>

namespace starttls::session {

Result<std::unique_ptr<tls::Engine>> ClientHandshake::begin(net::Loop& loop) {
  if (loop.turn_budget().is_full(lane())) {
    return fail(Errc::limit, "too many TLS handshakes are waiting");
  }
  began_at_ = net::Loop::precise_now();
  return tls::Engine::server(service_.downstream_tls, loop.pool());
}

Result<> ClientHandshake::on_secured(Leg& client, metrics::Tally& tally) const {
  if (const Error* refusal = client.refusal()) return fail(*refusal);
  const tls::Facts facts = client.facts();
  tally.handshake_done({.side = Side::downstream,
                        .version = facts.number,
                        .group = facts.group,
                        .resumed = facts.resumed,
                        .took = net::Loop::precise_now() - began_at_});
  return {};
}

}  // namespace starttls::session

#include "lib/session/client/admission.h"

#include <utility>

namespace starttls::session {

Admission::Admission(const config::Service& settings, const net::SocketAddress& peer,
                     ClientTable& clients)
    : settings_(settings), clients_(clients), identity_(settings, peer) {}

Result<Admitted> Admission::begin() {
  if (identity_.awaits_header()) return Admitted::not_yet;
  if (auto allowed = admit(); !allowed) return fail(std::move(allowed.error()));
  return admitted();
}

Result<Admission::Step> Admission::look(std::string_view news) {
  const bool awaited = identity_.awaits_header();
  const auto header = identity_.look(news);
  if (!header) return fail(header.error());
  if (awaited && !identity_.awaits_header()) {
    if (auto allowed = admit(); !allowed) return fail(std::move(allowed.error()));
  }
  return Step{*header, admitted()};
}

/// Checks the client, now that its address is known.
Result<> Admission::admit() {
  const auto& settings = settings_.downstream;
  if (auto allowed = identity_.check(settings); !allowed) return allowed;
  if (!identity_.address()) return {};
  auto seat = clients_.take(settings_.name, *identity_.address(), settings.max_per_client);
  if (!seat) return fail(std::move(seat.error()));
  seat_ = std::move(*seat);
  return {};
}

/// Returns `not_yet` while more bytes must be looked at. On a leg with TLS from the first byte,
/// only the first bytes distinguish a forbidden header from the handshake.
Admitted Admission::admitted() const noexcept {
  if (identity_.awaits_header()) return Admitted::not_yet;
  const bool must_look = identity_.is_watching() && settings_.downstream.tls == TlsMode::implicit;
  return must_look ? Admitted::not_yet : Admitted::yes;
}

}  // namespace starttls::session

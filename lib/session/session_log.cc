// What a session says of itself: its events, and one line at its end.

#include "lib/session/session.h"

namespace starttls::session {
namespace {

std::uint64_t as_ms(std::chrono::nanoseconds time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

tls::Facts clear_leg() {
  tls::Facts facts;
  facts.version = "none";
  return facts;
}

/// What the server had to show: "pin" where that was its key and nothing else.
std::string_view verify_name(const config::Upstream& upstream) noexcept {
  if (upstream.verify == Verification::full) return "full";
  return upstream.pins.empty() ? "none" : "pin";
}

}  // namespace

std::string_view Session::state() const noexcept {
  if (before_greeting() && opener_ != nullptr && !opener_->state().empty()) return opener_->state();
  if (downstream_role_ != nullptr) return downstream_role_->state();
  return kPhaseNames[static_cast<std::size_t>(phase_)];
}

SessionStatus Session::status() const {
  const auto version = [](const Leg* leg) {
    return std::string(leg != nullptr && leg->secured() ? leg->facts().version : "none");
  };
  return {.session = id_,
          .service = service_->config.name,
          .client = client_name_,
          .server = server_name_,
          .downstream_tls = version(&client_),
          .upstream_tls = version(server_.get()),
          .phase = std::string(kPhaseNames[static_cast<std::size_t>(phase_)]),
          .state = std::string(state()),
          .age = net::Loop::precise_now() - born_at_,
          .bytes_to_server = bytes_to_server(),
          .bytes_to_client = bytes_to_client()};
}

void Session::log_event(log::Level level, std::string_view message, const Error& error, Side side,
                        Repetition repetition) {
  if (!env_.log.enabled(level)) return;
  const std::string peer = side == Side::upstream ? to_string(address()) : client_name_;
  const log::Field fields[] = {{"session", id_},         {"service", service_->config.name},
                               {"leg", name(side)},      {"peer", peer},
                               {"state", state()},       {"error", name(error.code)},
                               {"reason", error.reason}, {"evidence", error.evidence}};
  if (repetition == Repetition::told) {
    env_.log.write(level, message, fields);
  } else {
    env_.log.fault(level,
                   {std::string{message}, service_->config.name, std::string{name(side)},
                    std::string{name(error.code)}, error.reason},
                   fields);
  }
}

void Session::log_session() {
  const auto& settings = target_.upstream();
  const bool secured = server_ != nullptr && server_->secured();
  const tls::Facts up = secured ? server_->facts() : clear_leg();
  const tls::Facts down = client_.secured() ? client_.facts() : clear_leg();
  const auto since_birth = [this](std::chrono::nanoseconds at) {
    return at == std::chrono::nanoseconds{} ? 0 : as_ms(at - born_at_);
  };
  // Encryption without identity is said on every line, not only at start.
  const bool unverified = secured && settings.verify == Verification::none && settings.pins.empty();
  env_.log.write(unverified ? log::Level::warn : log::Level::info, "session",
                 {{"session", id_},
                  {"service", service_->config.name},
                  {"client", client_name_},
                  {"server", server_name_},
                  {"downstream_tls", down.version},
                  {"downstream_cipher", down.cipher},
                  {"downstream_resumed", down.resumed},
                  {"upstream_tls", up.version},
                  {"upstream_cipher", up.cipher},
                  {"upstream_resumed", up.resumed},
                  {"upstream_verify", secured ? verify_name(settings) : ""},
                  {"bytes_to_server", bytes_to_server()},
                  {"bytes_to_client", bytes_to_client()},
                  {"connect_ms", since_birth(connected_at_)},
                  {"prelude_ms", since_birth(greeted_at_)},
                  {"total_ms", since_birth(net::Loop::precise_now())},
                  {"outcome", name(outcome_)},
                  {"reason", reason_}});
}

}  // namespace starttls::session

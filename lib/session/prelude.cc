#include "lib/session/prelude.h"

#include <utility>

#include "lib/base/secret.h"
#include "lib/proto/clear_port.h"
#include "lib/session/credentials/login_facts.h"
#include "lib/session/policy.h"

namespace starttls::session {

Prelude::Prelude(const SessionContext& env, const std::shared_ptr<const Service>& service,
                 Leg& client, const net::SocketAddress& peer, SessionRecord& record,
                 LegEvents& leg_events, PreludeHost& host)
    : env_(env),
      service_(*service),
      client_(client),
      record_(record),
      host_(host),
      admission_(settings(), peer, env.clients),
      client_handshake_(service_),
      link_(env, service, client, admission_.identity(), leg_events, *this) {}

void Prelude::start() {
  const auto admitted = admission_.begin();
  if (!admitted) {
    host_.fail(admitted.error());
  } else if (*admitted == Admitted::yes) {
    begin();
  } else {
    host_.enter(Phase::proxy_header);
  }
}

/// Returns the deadline for reaching a server. All phases before the greeting share one time; a
/// fresh connection has as much again.
std::chrono::milliseconds Prelude::give_up_at() const {
  return (dialogue_ == nullptr ? host_.accepted_at() : env_.loop.now()) +
         settings().timeouts.prelude;
}

/// True if there is nothing to conduct: any bytes of the client pass, a TLS record included.
bool Prelude::is_plain_relay() const noexcept {
  return !settings().login &&
         relays_from_first_byte(settings().downstream.tls, link_.target().upstream().tls);
}

std::string_view Prelude::state() const noexcept {
  const Phase phase = host_.phase();
  const bool is_opening = phase >= Phase::connecting && phase <= Phase::upstream_prelude;
  if (is_opening && !link_.state().empty()) return link_.state();
  return dialogue_ != nullptr ? dialogue_->state() : std::string_view{};
}

// --- Until the client is greeted -----------------------------------------------------------------

bool Prelude::look_for_header(std::string_view news) {
  if (!looks_for_header()) return true;
  const auto& identity = admission_.identity();
  const bool was_conveyed = identity.is_conveyed();
  const auto step = admission_.look(news);
  if (!was_conveyed && identity.is_conveyed()) {
    record_.on_conveyed(net::to_string(net::socket_address(*identity.address())),
                        net::to_string(net::socket_address(*identity.destination())));
  }
  if (!step) {
    host_.fail(step.error());
    return false;
  }
  if (step->header > 0) client_.consume(step->header);
  if (host_.phase() != Phase::proxy_header) return true;
  if (step->admitted == Admitted::yes) begin();
  return false;
}

void Prelude::begin() {
  if (settings().downstream.tls != TlsMode::implicit) {
    connect();
    return;
  }
  auto engine = client_handshake_.begin(env_.loop);
  if (!engine) {
    host_.fail(engine.error());
    return;
  }
  host_.enter(Phase::downstream_handshake);
  client_.start_implicit_tls(std::move(*engine), client_handshake_.lane());
}

void Prelude::connect() {
  if (const auto settled = link_.settle(); !settled) {
    host_.fail(settled.error());
  } else {
    link_.open(give_up_at());
  }
}

void Prelude::on_opening(OpeningStage stage) {
  constexpr Phase kByStage[] = {Phase::connecting, Phase::upstream_handshake,
                                Phase::upstream_prelude};
  host_.enter(kByStage[static_cast<std::size_t>(stage)]);
}

void Prelude::on_attempt_failed(const Error& error, NextAttempt next) {
  host_.log_event(next == NextAttempt::smaller_hello
                      ? "upstream failed, trying a smaller ClientHello"
                      : "upstream failed, trying the next address",
                  error, Side::upstream, SessionRecord::Repetition::counted);
}

void Prelude::on_linked(UpstreamConnection connection) {
  server_ = &host_.keep_server(connection);
  refused_tls_ = connection.refused_tls;
  if (!connection.fallback_reason.empty()) {
    record_.tally().plaintext_fallback(Side::upstream);
    host_.log_event("continuing in the clear",
                    Error{Errc::tls_not_offered, connection.fallback_reason}, Side::upstream,
                    SessionRecord::Repetition::written);
  }
  server_left_ = false;
  server_lost_ = false;
  if (is_plain_relay()) {
    record_.on_greeted(connection.connected_at);
    start_plain_relay();
  } else if (dialogue_ == nullptr) {
    greet_client(connection.greeting);
  } else if (const auto replaced = dialogue_->replace_server(*server_); !replaced) {
    host_.fail(replaced.error());
  } else {
    resume_dialogue();
  }
}

void Prelude::greet_client(std::string_view greeting) {
  // Such a client understands no greeting (D7).
  if (!client_.secured() && proto::begins_with_tls(client_.input())) {
    host_.fail(proto::tls_on_clear_port());
    return;
  }
  record_.on_greeted(net::Loop::precise_now());
  client_.limit_input(Leg::kMaxInput);
  const auto mode = effective_mode(link_.target().upstream().tls, server_->secured());
  dialogue_ =
      std::make_unique<Dialogue>(service_.protocol->downstream(role_settings(link_.target(), mode)),
                                 client_, *server_, record_.traffic());
  host_.enter(Phase::dialogue);
  if (const auto begun = dialogue_->begin(greeting); !begun) {
    fail_dialogue(Side::upstream, begun.error());
  } else {
    hear_both();
  }
}

void Prelude::start_plain_relay() {
  // Done before the relay starts, so that no bytes are looked at twice.
  std::string early{client_.input()};
  client_.limit_input(Leg::kMaxInput);
  client_.consume(early.size());
  host_.enter(Phase::relay);
  server_->start_relay();
  host_.pass_to_server(std::as_bytes(std::span{early}));
  wipe(early);  // it may be a login
  client_.start_relay();
  if (client_ended_) host_.end_to_server();
}

// --- While the downstream role works between the legs --------------------------------------------

/// Goes on after the client's handshake, or with a fresh connection to the server.
void Prelude::resume_dialogue() {
  host_.enter(Phase::dialogue);
  if (goes_on(dialogue_->resume(), Side::downstream)) hear_both();
}

void Prelude::hear_both() {
  if (!server_->input().empty()) on_server_input();
  on_client_input();
}

void Prelude::on_client_input() {
  if (host_.phase() != Phase::dialogue) return;
  if (has_refused_tls() && server_->stream().is_over()) {
    try_again_in_the_clear();
    return;
  }
  const auto commands = dialogue_->commands();
  const auto next = dialogue_->on_client_input();
  if (dialogue_->commands() != commands) host_.arm_deadline();  // a complete command
  if (!goes_on(next, Side::downstream)) return;
  if (*next == Dialogue::Next::commit) commit();
  // A half-closed client's end travels after its last whole line; the rest is not a command.
  if (client_ended_ && !is_over()) host_.end_to_server();
  if (dialogue_ != nullptr && !is_over()) dialogue_->balance();
}

void Prelude::on_server_input() {
  if (dialogue_ == nullptr || is_over()) return;
  if (host_.phase() == Phase::downstream_starttls)
    return;  // its bytes wait until the client can receive them
  if (login_ != nullptr && login_->is_waiting()) return;
  const auto next = dialogue_->on_server_input();
  if (!goes_on(next, Side::upstream)) return;
  if (*next == Dialogue::Next::relay) {
    relay_server();
    return;
  }
  dialogue_->balance();
  if (login_ == nullptr) return;
  // The client's bytes have waited for the login, or for a fresh connection after it.
  if (host_.phase() == Phase::login && login_->is_over()) host_.enter(Phase::dialogue);
  on_client_input();
}

/// Returns false if the dialogue is over, or interrupted by a handshake or a login.
bool Prelude::goes_on(const Result<Dialogue::Next>& next, Side side) {
  using NextStep = Dialogue::Next;
  if (is_over()) return false;  // a write has failed
  if (next && (*next == NextStep::log_in || *next == NextStep::pause)) begin_login();
  note_login();
  if (!next) {
    fail_dialogue(side, next.error());
    return false;
  }
  switch (*next) {
    case NextStep::go_on:
    case NextStep::commit:
    case NextStep::relay:
      return true;
    case NextStep::start_tls:
      start_client_tls();
      break;
    case NextStep::finish:
      host_.finish(Outcome::ok(), "");
      break;
    case NextStep::log_in:
    case NextStep::pause:
    case NextStep::reconnect:
      step_login(*next);
      break;
  }
  return false;
}

void Prelude::fail_dialogue(Side side, const Error& error) {
  if (error.code == Errc::attack) record_.tally().attacked(side, error.attack);
  host_.fail_on(side, error);
}

void Prelude::commit() {
  relay_client();
  on_server_input();
}

void Prelude::relay_client() {
  if (settings().downstream.tls == TlsMode::opportunistic && !client_.secured()) {
    record_.tally().plaintext_fallback(Side::downstream);
  }
  host_.enter(Phase::relay);
  client_.start_relay();
}

/// Lets the server's bytes pass unseen. After a login the client's do so from here on, too.
void Prelude::relay_server() {
  const bool after_login = host_.phase() == Phase::login;
  if (after_login) relay_client();
  if (is_over()) return;
  dialogue_.reset();
  login_.reset();
  host_.start_server_relay();
  if (after_login && client_ended_ && !is_over()) host_.end_to_server();
}

// --- The client's login --------------------------------------------------------------------------

void Prelude::begin_login() {
  if (host_.phase() == Phase::login) return;
  if (login_ == nullptr) {
    login_ = std::make_unique<ClientLogin>(
        WorkerContext{env_.loop, env_.resolver, env_.work, env_.secrets, record_.tally()},
        *service_.accounts);
  }
  login_->begin(env_.loop.now());
  host_.enter(Phase::login);
}

/// Notes and counts the result of a login, once.
void Prelude::note_login() {
  if (login_ == nullptr) return;
  const auto* const report = login_->take_result(dialogue_->login_report());
  if (report == nullptr) return;
  record_.on_login(*report);
  count_login(record_.tally(), *report);
  if (!report->failure) return;
  const bool is_clients = report->failure->code == Errc::client_login;
  host_.log_event("login failed", *report->failure, is_clients ? Side::downstream : Side::upstream,
                  SessionRecord::Repetition::counted);
}

/// Does what the role's login needs next.
void Prelude::step_login(Dialogue::Next next) {
  if (next == Dialogue::Next::pause) {
    login_->pause([this] { go_on_with_login(dialogue_->after_pause()); });
  } else if (next == Dialogue::Next::log_in) {
    login_->ask(dialogue_->login_request(), [this](Result<proto::Credentials> credentials) {
      go_on_with_login(dialogue_->on_credentials(
          for_server(std::move(credentials),
                     {link_.target().upstream(), link_.address(), server_->secured()})));
    });
  } else {
    login_->stop();
    server_ = nullptr;
    link_.replace(host_.release_server(), give_up_at());
  }
}

/// Goes on after a wait. Bytes that came meanwhile are read now.
void Prelude::go_on_with_login(const Result<Dialogue::Next>& next) {
  // An attack during a wait is the server's: the client is not heard.
  const bool is_attack = !next && next.error().code == Errc::attack;
  if (!goes_on(next, is_attack ? Side::upstream : Side::downstream)) return;
  if (server_lost_) {
    host_.finish(Outcome::ok(), "");
    return;
  }
  if (login_->is_over()) {
    host_.enter(Phase::dialogue);
  } else {
    host_.arm_deadline();
  }
  hear_both();
}

bool Prelude::goes_on_without_server(std::string_view how) {
  login_->drop_request();
  const auto next = dialogue_->on_server_lost(how);
  if (next && *next == Dialogue::Next::go_on) return false;
  server_lost_ = true;
  static_cast<void>(goes_on(next, Side::upstream));
  return true;
}

void Prelude::on_login_expired(std::string_view reason) {
  if (login_->is_pausing()) return;  // the client is answered soon
  if (login_->is_asking()) {
    login_->drop_request();
    go_on_with_login(dialogue_->on_credentials(fail(Errc::login, std::string{reason})));
  } else if (!goes_on_without_server(reason)) {
    host_.fail(Error{Errc::timeout, std::string{reason}});
  }
}

std::optional<UpstreamConnection> Prelude::abandon() {
  if (login_ != nullptr) login_->stop();
  return link_.abandon();
}

// --- The client's TLS, and fresh connections -----------------------------------------------------

void Prelude::start_client_tls() {
  auto engine = client_handshake_.begin(env_.loop);
  if (!engine) {
    host_.fail(engine.error());
    return;
  }
  const std::string go_ahead = dialogue_->go_ahead();
  host_.enter(Phase::downstream_starttls);
  auto started = client_.start_tls(go_ahead, std::move(*engine), client_handshake_.lane());
  if (started) {
    record_.traffic().passed(metrics::Direction::to_client, go_ahead.size());
    return;
  }
  record_.tally().attacked(Side::downstream, started.error().attack);
  const Error error = dialogue_->refuse_injection(std::move(started.error()));
  host_.log_event("session failed", error, Side::downstream, SessionRecord::Repetition::counted);
  host_.finish(error.code, error.reason);
}

/// Ends the session. After a handshake that failed nothing more goes out, and certainly not in the
/// clear. A refused certificate is different: TLS is up, so the client can trust our reply, and
/// only the client reads it (RFC 3207 §4.1).
void Prelude::on_client_handshake_failed(const Error& error) {
  record_.tally().handshake_failed(Side::downstream, error.code);
  host_.fail(error);
}

/// True if the server has received only our request for TLS, has refused it, and has said nothing
/// to the client.
bool Prelude::has_refused_tls() const noexcept {
  return refused_tls_ && host_.phase() == Phase::dialogue && dialogue_->is_unused();
}

/// Opens a new connection after the server has hung up on our request for TLS. The client does not
/// notice (D1).
void Prelude::try_again_in_the_clear() {
  server_ = nullptr;
  link_.replace_in_the_clear(host_.release_server(), give_up_at());
}

void Prelude::on_client_secured() {
  const Phase phase = host_.phase();
  if (const auto accepted = client_handshake_.on_secured(client_, record_.tally()); !accepted) {
    on_client_handshake_failed(accepted.error());
  } else if (phase == Phase::downstream_handshake) {
    connect();
  } else if (phase == Phase::downstream_starttls &&
             (dialogue_->server_has_heard() || server_left_)) {
    server_ = nullptr;
    link_.replace(host_.release_server(), give_up_at());
  } else if (phase == Phase::downstream_starttls) {
    resume_dialogue();
  }
}

bool Prelude::wait_for_server() {
  client_ended_ = true;
  // A half-closed client that has sent something wants an answer.
  return !client_.input().empty() && host_.phase() != Phase::proxy_header;
}

bool Prelude::on_server_end(std::string_view how, bool client_has_ended) {
  if (dialogue_ == nullptr || server_ == nullptr) return false;
  switch (host_.phase()) {
    case Phase::downstream_starttls:
      server_left_ = true;  // it is replaced after the handshake
      return true;
    case Phase::relay:
      // The client has committed, and replies to earlier commands are missing. What has come
      // passes.
      dialogue_->give_up_server();
      relay_server();
      return is_over();
    case Phase::dialogue:
      break;
    default:
      return false;
  }
  if (has_refused_tls() && !client_has_ended) {
    try_again_in_the_clear();
    return true;
  }
  if (!dialogue_->awaits_server()) return false;
  host_.fail_on(Side::upstream,
                {Errc::closed, "the server closed the connection", std::string{how}});
  return true;
}

/// Ends the session without a server. A client that has begun with TLS understands no words (D7).
void Prelude::on_not_linked(const Error& error) {
  const bool is_clear = settings().downstream.tls != TlsMode::implicit && !client_.secured();
  const bool is_lost = dialogue_ == nullptr && is_clear && !is_plain_relay() &&
                       proto::begins_with_tls(client_.input());
  host_.fail(is_lost ? proto::tls_on_clear_port() : error);
}

void Prelude::on_drained() {
  if (dialogue_ != nullptr && server_ != nullptr) dialogue_->balance();
}

}  // namespace starttls::session

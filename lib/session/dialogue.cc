#include "lib/session/dialogue.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "lib/base/secret.h"

namespace starttls::session {
namespace {

using Next = Dialogue::Next;

/// Shortens the server's words to their status. Once the client has spoken, a server may repeat its
/// words, a password among them.
Error without_echo(Error error) {
  constexpr std::size_t kStatus = 16;
  auto& evidence = error.evidence;
  const auto end = std::min(evidence.find(' '), kStatus);
  if (end < evidence.size()) evidence.resize(end);
  return error;
}

/// Returns the step for a verdict; `relay` is the step for the verdict of that name on this side.
Next next_step(proto::Verdict verdict, Next relay) noexcept {
  switch (verdict) {
    case proto::Verdict::need_more:
    case proto::Verdict::greeted:
      return Next::go_on;
    case proto::Verdict::start_tls:
      return Next::start_tls;
    case proto::Verdict::relay:
      return relay;
    case proto::Verdict::finish:
      return Next::finish;
    case proto::Verdict::log_in:
      return Next::log_in;
    case proto::Verdict::pause:
      return Next::pause;
    case proto::Verdict::reconnect:
      return Next::reconnect;
  }
  return Next::go_on;
}

}  // namespace

void say(DialogueEndpoint& client, std::string_view text, Traffic& traffic) {
  if (text.empty() || !client.writable()) return;
  traffic.passed(metrics::Direction::to_client, text.size());
  client.write(std::as_bytes(std::span{text}));
}

Result<> Dialogue::begin(std::string_view greeting) {
  std::string to_client;
  const auto verdict = role_->begin(greeting, to_client);
  send_to_client(to_client);
  if (!verdict) return fail(verdict.error());
  return {};
}

Result<Next> Dialogue::on_client_input() {
  std::string to_client;
  std::string to_server;
  const auto step = role_->from_client(client_.input(), to_client, to_server);
  send_to_client(to_client);
  if (!step) {
    wipe(to_server);
    return fail(step.error());
  }
  send_to_server(to_server);
  client_.consume(step->consumed);
  if (step->consumed > 0 && !role_->is_skipping()) ++commands_;
  return act_on(step->verdict, Next::commit);
}

Result<Next> Dialogue::on_server_input() {
  std::string to_client;
  std::string to_server;
  const auto step = role_->from_server(server_->input(), to_client, to_server);
  send_to_client(to_client);
  if (!step) {
    wipe(to_server);
    return fail(without_echo(step.error()));
  }
  send_to_server(to_server);
  if (step->consumed > 0) server_has_spoken_ = true;
  server_->consume(step->consumed);
  return act_on(step->verdict, Next::relay);
}

Result<Next> Dialogue::on_credentials(Result<proto::Credentials> credentials) {
  // Words that came meanwhile are no answer to the command that comes now. The role judges them.
  if (!server_->input().empty()) {
    if (auto early = on_server_input(); !early) return early;
  }
  std::string to_client;
  std::string to_server;
  const auto verdict = role_->on_credentials(std::move(credentials), to_client, to_server);
  send_to_client(to_client);
  if (verdict) {
    send_to_server(to_server);
  } else {
    wipe(to_server);
  }
  return act_on(verdict, Next::relay);
}

Result<Next> Dialogue::after_pause() {
  std::string to_client;
  const auto verdict = role_->after_pause(to_client);
  send_to_client(to_client);
  return act_on(verdict, Next::relay);
}

Result<Next> Dialogue::on_server_lost(std::string_view how) {
  std::string to_client;
  const auto verdict = role_->on_server_lost(how, to_client);
  send_to_client(to_client);
  return act_on(verdict, Next::relay);
}

Result<Next> Dialogue::act_on(const Result<proto::Verdict>& verdict, Next relay) {
  if (!verdict) return fail(verdict.error());
  awaits_tls_ = *verdict == proto::Verdict::start_tls;
  awaits_server_ = *verdict == proto::Verdict::reconnect;
  return next_step(*verdict, relay);
}

Result<Next> Dialogue::resume() {
  std::string to_client;
  std::string to_server;
  Result<proto::Verdict> verdict = proto::Verdict::need_more;
  if (std::exchange(awaits_tls_, false)) verdict = role_->secured(to_client);
  if (std::exchange(awaits_server_, false)) verdict = role_->reconnected(to_server);
  send_to_client(to_client);
  if (verdict) send_to_server(to_server);
  return act_on(verdict, Next::relay);
}

Result<> Dialogue::replace_server(DialogueEndpoint& server) {
  server_ = &server;
  server_has_heard_ = false;
  server_has_spoken_ = false;
  // The role was made for the old leg, and so were the lists that the client has seen.
  if (server_was_secured_ && !server.secured()) {
    return fail(Errc::tls_not_offered, "the server no longer offers STARTTLS");
  }
  return {};
}

bool Dialogue::server_has_heard() const noexcept {
  return server_has_heard_;
}

bool Dialogue::is_unused() const noexcept {
  return !server_has_heard_ && !server_has_spoken_;
}

bool Dialogue::awaits_server() const noexcept {
  return role_->awaits_server() || !server_->input().empty();
}

void Dialogue::give_up_server() {
  std::string to_client;
  role_->give_up_server(to_client);
  send_to_client(to_client);
}

Error Dialogue::refuse_injection(Error error) {
  error.evidence = fmt::format("{} bytes", client_.input().size());
  send_to_client(role_->injection_reply());
  return error;
}

void Dialogue::balance() {
  const bool waits = client_.queued() > 0 || server_->queued() > 0;
  for (DialogueEndpoint* leg : {&client_, server_}) {
    if (waits) {
      leg->pause_reading();
    } else {
      leg->resume_reading();
    }
  }
}

/// Sends the text, and wipes it: it may be a login.
void Dialogue::send_to_server(std::string& text) {
  if (text.empty()) return;
  server_has_heard_ = true;
  traffic_.passed(metrics::Direction::to_server, text.size());
  server_->write(std::as_bytes(std::span{text}));
  wipe(text);
}

}  // namespace starttls::session

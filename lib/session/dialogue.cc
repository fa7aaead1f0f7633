#include "lib/session/dialogue.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

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
    case proto::Verdict::pause:
    case proto::Verdict::reconnect:
      break;
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
  if (!step) return fail(step.error());
  send_to_server(to_server);
  client_.consume(step->consumed);
  if (step->consumed > 0) ++commands_;
  awaits_tls_ = step->verdict == proto::Verdict::start_tls;
  return next_step(step->verdict, Next::commit);
}

Result<Next> Dialogue::on_server_input() {
  std::string to_client;
  std::string to_server;
  const auto step = role_->from_server(server_->input(), to_client, to_server);
  send_to_client(to_client);
  if (!step) return fail(without_echo(step.error()));
  send_to_server(to_server);
  server_->consume(step->consumed);
  awaits_tls_ = step->verdict == proto::Verdict::start_tls;
  return next_step(step->verdict, Next::relay);
}

Result<> Dialogue::resume() {
  if (!std::exchange(awaits_tls_, false)) return {};
  std::string to_client;
  const auto verdict = role_->secured(to_client);
  send_to_client(to_client);
  if (!verdict) return fail(verdict.error());
  return {};
}

Result<> Dialogue::replace_server(DialogueEndpoint& server) {
  server_ = &server;
  server_has_heard_ = false;
  // The role was made for the old leg, and so were the lists that the client has seen.
  if (server_was_secured_ && !server.secured()) {
    return fail(Errc::tls_not_offered, "the server no longer offers STARTTLS");
  }
  return {};
}

bool Dialogue::server_has_heard() const noexcept {
  return server_has_heard_;
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

void Dialogue::send_to_server(std::string_view text) {
  if (text.empty()) return;
  server_has_heard_ = true;
  traffic_.passed(metrics::Direction::to_server, text.size());
  server_->write(std::as_bytes(std::span{text}));
}

}  // namespace starttls::session

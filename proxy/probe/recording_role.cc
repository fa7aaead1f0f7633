#include "proxy/probe/recording_role.h"

#include <utility>

#include "lib/proto/lines.h"

namespace starttls {

std::string question(const proto::CapabilityQuery& query, std::string_view hostname) {
  std::string line{query.command};
  if (query.says_hostname) line += ' ' + std::string{hostname};
  return line + "\r\n";
}

Result<bool> is_whole_answer(const proto::CapabilityQuery& query, std::string_view input) {
  if (query.complete(input)) return true;
  if (input.size() < proto::kMaxReply) return false;
  return fail(Errc::protocol, "server sent a reply that is too long");
}

RecordingRole::RecordingRole(std::unique_ptr<proto::UpstreamRole> role,
                             const proto::CapabilityQuery& query, std::string_view hostname,
                             Heard& heard)
    : role_(std::move(role)), query_(query), question_(question(query, hostname)), heard_(heard) {}

Result<proto::Verdict> RecordingRole::begin(std::string& to_server) {
  return role_->begin(to_server);
}

Result<proto::Step> RecordingRole::step(std::string_view input, std::string& to_server) {
  if (is_asking_) return on_answer(input, to_server);
  std::string out;
  auto step = role_->step(input, out);
  copy_results();
  // If the role refuses some words, they are somewhere in the rest, so all of it is kept.
  words_ += input.substr(0, step ? step->consumed : input.size());
  if (!step) {
    record_words();
    return step;
  }
  if (out.empty()) {
    if (step->verdict == proto::Verdict::greeted) record_words();
    return step;
  }
  const bool was_greeting = !is_greeted_;
  record_words();
  const bool has_question = !query_.command.empty();
  role_has_asked_ = has_question && out.starts_with(query_.command);
  if (was_greeting && has_question && !role_has_asked_ && !is_secured_) {
    is_asking_ = true;
    held_ = std::move(out);
    held_verdict_ = step->verdict;
    to_server += question_;
    return proto::Step{.consumed = step->consumed};
  }
  to_server += out;
  return step;
}

Result<proto::Step> RecordingRole::on_answer(std::string_view input, std::string& to_server) {
  const auto whole = is_whole_answer(query_, input);
  if (!whole) return fail(whole.error());
  if (!*whole) return proto::Step{};
  heard_.capabilities = input;
  is_asking_ = false;
  to_server += std::exchange(held_, {});
  return proto::Step{.consumed = input.size(), .verdict = held_verdict_};
}

Result<proto::Verdict> RecordingRole::secured(std::string& to_server) {
  is_secured_ = true;
  auto verdict = role_->secured(to_server);
  copy_results();
  return verdict;
}

Result<proto::Verdict> RecordingRole::on_quiet(std::string& to_server) {
  return role_->on_quiet(to_server);
}

std::string_view RecordingRole::state() const noexcept {
  return is_asking_ ? "capabilities" : role_->state();
}

/// Keeps the greeting, and the list if the role has asked for it. The answer to STARTTLS is left to
/// the role.
void RecordingRole::record_words() {
  auto words = std::exchange(words_, {});
  if (words.empty() || is_secured_) return;
  if (!std::exchange(is_greeted_, true)) {
    heard_.greeting = std::move(words);
  } else if (std::exchange(role_has_asked_, false)) {
    heard_.capabilities = std::move(words);
  }
}

void RecordingRole::copy_results() {
  greeting_ = role_->greeting();
  fallback_reason_ = role_->fallback_reason();
  server_closes_ = role_->server_closes();
}

}  // namespace starttls

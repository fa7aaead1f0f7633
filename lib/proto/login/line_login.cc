#include "lib/proto/login/line_login.h"

#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/quoted.h"

namespace starttls::proto {
namespace {

/// Returns the text after the one blank that follows a verb: names and passwords may have others.
std::string_view after_blank(std::string_view argument) noexcept {
  return argument.substr(argument.empty() ? 0 : 1);
}

}  // namespace

Action LineLogin::start_sasl(std::string_view mechanism,
                             std::optional<std::string_view> initial_response) {
  name_.reset();
  const auto known = SaslServer::find(mechanism);
  if (!known) return refuse(words_.hidden);
  sasl_.emplace(*known);
  return next(sasl_->begin(initial_response));
}

Action LineLogin::on_response(std::optional<std::string_view> response) {
  return next(response ? sasl_->on_response(*response) : SaslServer::Status::malformed);
}

Action LineLogin::next(SaslServer::Status status) {
  switch (status) {
    case SaslServer::Status::going_on: {
      const auto challenge = sasl_->challenge();
      if (challenge.empty()) return {Action::Kind::challenge, std::string(words_.empty_challenge)};
      std::string line(words_.challenge);
      line += challenge;
      line += words_.challenge_end;
      return {Action::Kind::challenge, std::move(line)};
    }
    case SaslServer::Status::complete:
      return submit(std::exchange(sasl_, std::nullopt)->take());
    case SaslServer::Status::cancelled:
      sasl_.reset();
      return refuse(words_.cancelled);
    case SaslServer::Status::malformed:
      break;
  }
  sasl_.reset();
  return refuse(words_.malformed);
}

Action LineLogin::take_name(std::string_view argument, std::string_view answer) {
  name_.reset();
  if (argument.empty()) return refuse(words_.malformed);
  name_ = after_blank(argument);
  return {Action::Kind::answer, std::string(answer)};
}

Action LineLogin::take_password(std::string_view argument, std::string_view answer) {
  if (!name_) return refuse(answer);
  return submit({.name = *std::exchange(name_, std::nullopt),
                 .password = Secret(after_blank(argument)),
                 .mechanism = Mechanism::native});
}

Action LineLogin::submit(ClientLogin login) {
  gate_.submit(std::move(login));
  return {Action::Kind::log_in};
}

void LineLogin::forget() {
  name_.reset();
  sasl_.reset();
  gate_.offer() = {};
}

void LineLogin::begin_offer() {
  auto& offer = gate_.offer();
  offer = {};
  offer.known = true;
  offer.native = words_.dialect.native_unless_denied;
}

void LineLogin::read_offer(std::string_view line) {
  words_.dialect.read_offer(line, gate_.offer());
}

std::string LineLogin::success(const ServerLogin::Reply& reply) const {
  std::string list;
  if (words_.edit_list != nullptr) list = words_.edit_list(reply.lines);
  return list + std::string(words_.success);
}

/// Returns the same words for a wrong name and for a wrong password (LP13).
std::string LineLogin::refusal() const {
  return std::string(words_.refusal);
}

std::string LineLogin::passed_refusal(const ServerLogin::Reply& reply) const {
  std::string head = reply.code + ' ';
  if (const auto finer = reply.finer_code(); !finer.empty()) head += std::string(finer) + ' ';
  if (words_.dialect.strings) head += '"';
  return with_text(head, reply.words().empty() ? kRefusedByServer : reply.words());
}

std::string LineLogin::unavailable(std::string_view reason) const {
  return with_text(words_.unavailable, reason);
}

/// Returns a line of our own. `head` has the quote before a text that is a string.
std::string LineLogin::with_text(std::string_view head, std::string_view text) const {
  const auto end = words_.text_end;
  auto words = ascii::printable(text, kMaxOwnLine - head.size() - end.size());
  if (words_.dialect.strings) std::erase_if(words, needs_backslash);
  return std::string(head).append(words).append(end);
}

}  // namespace starttls::proto

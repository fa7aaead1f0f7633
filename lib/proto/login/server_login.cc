#include "lib/proto/login/server_login.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/login/login_dialect.h"

namespace starttls::proto {
namespace {

/// Bytes by which a secret is known again. Short enough to be found in a line that was cut.
constexpr std::size_t kHead = 16;

/// True if `text` has a byte that would end a line or, in a token's message, a field of it. The
/// rest would be a command or a field of its own (LP17).
bool breaks_message(std::string_view text, bool token) noexcept {
  return !ascii::is_one_line(text) || (token && text.find('\x01') != std::string_view::npos);
}

/// True if the mechanism can carry what we have. A token never goes where a password is expected,
/// unless the configuration names the mechanism.
bool carries(Mechanism mechanism, const Credentials& credentials) noexcept {
  switch (mechanism) {
    case Mechanism::xoauth2:
    case Mechanism::oauthbearer:
      return credentials.token;
    case Mechanism::plain:
    case Mechanism::login:
      return !credentials.token || credentials.mechanism == mechanism;
    case Mechanism::native:
      return !credentials.token;
    case Mechanism::automatic:
      break;
  }
  return false;
}

/// Returns the mechanism to use: the one of the configuration, or the best that the server lists.
/// The protocol's own login comes last, because a server that lists PLAIN may prefer it.
std::optional<Mechanism> choose(const LoginOffer& offer, bool has_native,
                                const Credentials& credentials) {
  for (const auto mechanism : {Mechanism::oauthbearer, Mechanism::xoauth2, Mechanism::plain,
                               Mechanism::login, Mechanism::native}) {
    const auto wanted = credentials.mechanism;
    if (wanted != Mechanism::automatic && wanted != mechanism) continue;
    if (!carries(mechanism, credentials)) continue;
    const bool offered = mechanism == Mechanism::native ? has_native && offer.native
                                                        : offer.has(sasl_name(mechanism));
    if (offered) return mechanism;
  }
  return std::nullopt;
}

/// Cuts `text` off where it repeats `head`, the beginning of a secret. If the text was cut itself,
/// its end may be a part of it. A few bytes are no sign of a secret.
void cut_at(std::string& text, std::string_view head) {
  constexpr std::size_t kShortest = 4;
  if (head.size() < kShortest) return;
  if (const auto at = text.find(head); at != std::string::npos) text.resize(at);
  for (auto size = head.size(); size-- > kShortest;) {
    if (!text.ends_with(head.substr(0, size))) continue;
    text.resize(text.size() - size);
    return;
  }
}

/// Returns the mechanisms that the server lists, for people.
std::string listed(const LoginOffer& offer) {
  constexpr std::size_t kMaxListed = 200;
  std::string names;
  for (const auto& name : offer.mechanisms) {
    if (!names.empty()) names += ' ';
    names += name;
  }
  return ascii::printable(names, kMaxListed);
}

/// Returns the finer code at the beginning of a reply's text: see ServerLogin::Reply.
std::string_view finer_code_in(std::string_view text) noexcept {
  constexpr std::size_t kMaxCode = 64;
  const auto word = ascii::first_word(text);
  const bool enhanced = word.size() >= 5 && ascii::is_digit(word[0]) && word[1] == '.' &&
                        word.find_first_not_of("0123456789.") == std::string_view::npos;
  const bool bracketed = (word.starts_with('[') && word.ends_with(']')) ||
                         (word.starts_with('(') && word.ends_with(')'));
  return word.size() <= kMaxCode && (enhanced || bracketed) ? word : std::string_view{};
}

/// Returns the code of a reply, and the finer one.
std::string code_of(const ServerLogin::Reply& reply) {
  const auto finer = reply.finer_code();
  return finer.empty() ? reply.code : reply.code + ' ' + std::string(finer);
}

/// Returns the part of a refusal that the log gets as evidence.
std::string evidence_of(const ServerLogin::Reply& reply, ReplyInLog wanted) {
  if (wanted == ReplyInLog::code) return code_of(reply);
  return peer_words(reply.code + ' ' + reply.text);
}

/// True for the code by which Microsoft 365 says that the login of mail clients is switched off.
bool is_switched_off(const ServerLogin::Reply& reply) noexcept {
  return reply.code == "535" && reply.finer_code() == "5.7.139";
}

}  // namespace

bool LoginOffer::has(std::string_view mechanism) const noexcept {
  return std::any_of(mechanisms.begin(), mechanisms.end(),
                     [=](const auto& name) { return ascii::iequals(name, mechanism); });
}

std::string_view ServerLogin::Reply::finer_code() const noexcept {
  return finer_code_in(text);
}

std::string_view ServerLogin::Reply::words() const noexcept {
  const std::string_view all = text;
  const auto finer = finer_code();
  return finer.empty() ? all : all.substr(std::min(all.size(), finer.size() + 1));
}

Result<> usable(const Credentials& credentials) {
  const auto code = credentials.passed_on ? Errc::client_login : Errc::login;
  if (credentials.user.empty()) return fail(code, "the login name is empty");
  if (credentials.user.size() > kMaxLoginName) return fail(code, "the login name is too long");
  if (breaks_message(credentials.user, credentials.token)) {
    return fail(code, "the login name has a control character");
  }
  const auto secret = credentials.secret.reveal();
  if (secret.empty()) return fail(code, "the secret is empty");
  if (secret.size() > kMaxSecret) return fail(code, "the secret is too long");
  if (breaks_message(secret, credentials.token)) {
    return fail(code, "the secret has a control character");
  }
  return {};
}

ServerLogin::ServerLogin(const LoginDialect& dialect, Credentials credentials, LoginOffer offer,
                         std::string tag, LineRules rules)
    : dialect_(dialect),
      credentials_(std::move(credentials)),
      offer_(std::move(offer)),
      tag_(std::move(tag)),
      replies_(dialect.replies(rules)),
      secret_head_(credentials_.secret.reveal().substr(0, kHead)) {}

ServerLogin::~ServerLogin() = default;

ServerLogin::Status ServerLogin::begin(std::string& to_server) {
  if (auto fits = usable(credentials_); !fits) {
    unusable_ = std::move(fits.error());
    return finish(Status::refused);
  }
  if (offer_.known) return log_in(to_server);
  offer_ = {.native = dialect_.native_unless_denied};
  asks_for_list_ = true;
  command_tag_ = dialect_.tagged ? tag_ + std::to_string(++commands_) : tag_;
  to_server += login::list_question(dialect_, command_tag_);
  replies_->expect(LoginStep::list, command_tag_);
  return status_;
}

/// Chooses a mechanism, and sends its command.
ServerLogin::Status ServerLogin::log_in(std::string& to_server) {
  const auto chosen = choose(offer_, dialect_.native != nullptr, credentials_);
  if (!chosen) return finish(Status::not_offered);
  mechanism_ = *chosen;
  command_tag_ = tag_ + std::to_string(++commands_);
  if (mechanism_ == Mechanism::native) {
    [[maybe_unused]] const bool said = say_next(to_server);
    assert(said && "every login has a command");
    return status_;
  }
  sasl_.emplace(mechanism_, credentials_);
  std::optional<Secret> first;
  if (sasl_->speaks_first()) first = sasl_->next();
  if (first) message_head_ = Secret(first->reveal().substr(0, kHead));
  say(login::sasl_command(dialect_, command_tag_, sasl_name(mechanism_), first,
                          offer_.initial_response),
      to_server);
  first_ = std::move(first);  // it is still there if the command had no room for it
  expect_reply_of_sasl();
  return status_;
}

/// Sends the next message. Returns false if none is due.
bool ServerLogin::say_next(std::string& to_server) {
  if (mechanism_ == Mechanism::native) {
    const auto message = dialect_.native(credentials_, command_tag_, messages_);
    if (!message) return false;
    replies_->expect(messages_++ == 0 ? LoginStep::name : LoginStep::secret, command_tag_);
    say(*message, to_server);
    return true;
  }
  auto response = first_ ? std::exchange(first_, std::nullopt) : sasl_->next();
  if (!response) return false;
  message_head_ = Secret(response->reveal().substr(0, kHead));
  say(login::sasl_response(dialect_, *response), to_server);
  expect_reply_of_sasl();
  return true;
}

/// True if the message with the secret was sent. The server cannot accept a login before that.
bool ServerLogin::server_has_secret() const noexcept {
  return !sasl_ || (!first_ && sasl_->has_given_secret());
}

void ServerLogin::expect_reply_of_sasl() {
  replies_->expect(server_has_secret() ? LoginStep::sasl_secret : LoginStep::sasl, command_tag_);
}

/// Appends a message. The driver wipes `to_server`. A text that grows leaves a copy of what it
/// held, so it grows before the secret is in it.
void ServerLogin::say(const Secret& message, std::string& to_server) {
  to_server.reserve(to_server.size() + message.reveal().size());
  to_server += message.reveal();
}

Result<ServerLogin::Progress> ServerLogin::on_input(std::string_view input,
                                                    std::string& to_server) {
  Progress progress{.status = status_};
  bool spoke = false;
  while (progress.status == Status::going_on) {
    const auto rest = input.substr(progress.consumed);
    if (spoke && !replies_->comes_unasked(rest)) {
      return fail(without_secret(replies_->unasked(rest).value()));
    }
    const auto piece = replies_->next(rest);
    if (!piece) return fail(without_secret(piece.error()));
    if (!piece->has_value()) break;
    if (const auto size = meter_.add({(*piece)->raw, (*piece)->raw}); !size) {
      return fail(without_secret(size.error()));
    }
    const auto written_before = to_server.size();
    const auto status = on_piece(**piece, to_server);
    if (!status) return fail(without_secret(status.error()));
    progress.consumed += (*piece)->raw.size();
    progress.status = *status;
    if (to_server.size() != written_before) {
      spoke = true;
      meter_.reset();
    }
  }
  return progress;
}

Result<ServerLogin::Status> ServerLogin::on_piece(const LoginPiece& piece, std::string& to_server) {
  using Kind = LoginPiece::Kind;
  if (piece.passes) reply_.lines += piece.raw;
  if (asks_for_list_ && !piece.list_line.empty()) dialect_.read_offer(piece.list_line, offer_);
  if (piece.kind == Kind::part) return status_;
  if (piece.kind == Kind::challenge) return on_challenge(piece, to_server);
  if (asks_for_list_ && piece.kind != Kind::goodbye) return on_list(piece, to_server);
  reply_.code = piece.code;
  reply_.text = ascii::printable(piece.text, kMaxLine);
  if (piece.kind == Kind::success) return on_success();
  // Characters that are left out may be a part of the secret, or hide it.
  for (const std::string& text : {piece.text, reply_.text}) {
    const auto told = without_secret(text);
    if (told != text) reply_.text = ascii::printable(finer_code_in(told));
  }
  return finish(piece.kind == Kind::goodbye ? Status::gone : Status::refused);
}

/// Goes on when the list has ended. A server without lists knows only its protocol's own login.
Result<ServerLogin::Status> ServerLogin::on_list(const LoginPiece& piece, std::string& to_server) {
  if (piece.kind == LoginPiece::Kind::refusal) offer_ = {.native = dialect_.native != nullptr};
  offer_.known = true;
  asks_for_list_ = false;
  return log_in(to_server);
}

/// Ends a login well. A mechanism's success before its secret is a reply to something else.
Result<ServerLogin::Status> ServerLogin::on_success() {
  if (!server_has_secret()) {
    return fail(Errc::protocol, "server accepted a login before it had the secret");
  }
  return finish(Status::succeeded);
}

/// Answers a challenge. Its text does not matter. After our response it is the server's error,
/// which has to be answered as well: both sides would wait for ever otherwise.
Result<ServerLogin::Status> ServerLogin::on_challenge(const LoginPiece& piece,
                                                      std::string& to_server) {
  if (!say_next(to_server)) {
    return fail(Errc::protocol, "server asked for more than the login has");
  }
  if (sasl_ && sasl_->has_answered_error()) error_status_ = error_status(piece.text);
  return status_;
}

/// Ends the exchange. The secret is not needed any more.
ServerLogin::Status ServerLogin::finish(Status status) {
  status_ = status;
  sasl_.reset();
  first_.reset();
  credentials_.secret = Secret();
  secret_head_ = Secret();
  message_head_ = Secret();
  return status;
}

std::string ServerLogin::without_secret(std::string text) const {
  cut_at(text, secret_head_.reveal());
  cut_at(text, message_head_.reveal());
  return text;
}

Error ServerLogin::without_secret(Error error) const {
  error.evidence = without_secret(std::move(error.evidence));
  return error;
}

std::string_view ServerLogin::state() const noexcept {
  if (status_ != Status::going_on) return "done";
  return asks_for_list_ ? "login_list" : "login";
}

Error login_failure(const ServerLogin& login, ServerLogin::Status status, ReplyInLog wanted) {
  if (login.unusable_) return *login.unusable_;
  if (status == ServerLogin::Status::not_offered) {
    const auto names = listed(login.offer_);
    if (names.empty()) return {Errc::login, "login_not_offered: the server lists no mechanism"};
    return {Errc::login, "login_not_offered: the server lists " + names};
  }
  const auto& reply = login.reply_;
  auto evidence = evidence_of(reply, wanted);
  if (!login.error_status_.empty()) evidence += " (status " + login.error_status_ + ')';
  if (status == ServerLogin::Status::gone) {
    return {Errc::login, "server ended the login: " + code_of(reply), std::move(evidence)};
  }
  const auto code = login.credentials_.passed_on ? Errc::client_login : Errc::login;
  constexpr std::string_view kRemedy =
      ": SMTP AUTH is switched off for the tenant or the mailbox: switch it on there";
  std::string reason = "server refused the login: " + code_of(reply);
  if (is_switched_off(reply)) reason += kRemedy;
  return Error{code, std::move(reason), std::move(evidence)};
}

}  // namespace starttls::proto

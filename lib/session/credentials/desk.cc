#include "lib/session/credentials/desk.h"

#include <chrono>
#include <utility>

#include "lib/session/credentials/password.h"

namespace starttls::session {
namespace {

// Reading a file must not wait for a flood of passwords.
enum Work : std::uint8_t { hashing, reading };

Error too_many_wait() {
  return Error{Errc::login, "too many logins are under way"};
}

}  // namespace

CredentialsDesk::CredentialsDesk(const WorkerContext& context, const Accounts& accounts)
    : context_(context), accounts_(accounts), timer_(context.loop, [this] { on_timer(); }) {}

void CredentialsDesk::ask(const proto::LoginRequest& request, OnAnswer on_answer) {
  cancel();
  on_answer_ = std::move(on_answer);
  refused_ = request.refused;
  auto decision = accounts_.decide(request);
  if (!decision) {
    answer(fail(std::move(decision.error())));
    return;
  }
  decision_ = std::move(*decision);
  if (!decision_.hash) {
    on_checked(decision_.right);
    return;
  }
  job_ = context_.work.run<bool>(
      context_.loop, {&accounts_, hashing},
      [given = request.password, hash = *decision_.hash] { return has_hash(given, hash); },
      [this](bool has) { on_checked(decision_.right && (has || !decision_.hash_decides)); });
  if (job_ == nullptr) answer(fail(too_many_wait()));
}

void CredentialsDesk::cancel() noexcept {
  timer_.stop();
  job_.reset();
  ticket_.reset();
  on_answer_ = nullptr;
  answer_.reset();
  decision_ = {};
}

/// Goes on with the result of the password's check. Nothing asks for a secret before that.
void CredentialsDesk::on_checked(bool right) {
  job_.reset();
  if (!right) {
    answer(fail(wrong_login()));
  } else if (!decision_.file.empty()) {
    read_file();
  } else if (decision_.request.source.is_asked()) {
    ask_store();
  } else {
    give(decision_.credentials.secret);
  }
}

void CredentialsDesk::ask_store() {
  auto request = decision_.request;
  if (refused_ && !given_.empty()) request.refused = given_;
  ticket_ = context_.secrets.ask(context_.loop, std::move(request),
                                 [this](SecretAnswer answer) { on_secret(std::move(answer)); });
  timer_.start(accounts_.timeout());
}

void CredentialsDesk::read_file() {
  job_ = context_.work.run<SecretAnswer>(
      context_.loop, {&accounts_, reading},
      [path = decision_.file, token = decision_.credentials.token] {
        return read_secret(path, token);
      },
      [this](SecretAnswer answer) { on_secret(std::move(answer)); });
  if (job_ == nullptr) {
    refuse({metrics::SecretFailure::busy, too_many_wait()});
  } else {
    timer_.start(accounts_.timeout());
  }
}

void CredentialsDesk::on_secret(SecretAnswer answer) {
  job_.reset();
  ticket_.reset();
  timer_.stop();
  if (const auto* failure = std::get_if<NoSecret>(&answer)) {
    refuse(*failure);
    return;
  }
  auto& found = std::get<FreshSecret>(answer);
  const auto& request = decision_.request;
  if (!decision_.file.empty() && request.user_is_fixed) {
    const auto end = found.end.as_time(UnixTime::of(std::chrono::system_clock::now()));
    if (end) context_.secrets.note_end(request.service, request.user, *end);
  }
  give(std::move(found.secret));
}

void CredentialsDesk::give(Secret secret) {
  if (refused_ && secret == given_) {
    answer(fail(Errc::login, "the server refuses the secret, and its source has no other"));
    return;
  }
  given_ = secret;
  decision_.credentials.secret = std::move(secret);
  answer(std::move(decision_.credentials));
}

void CredentialsDesk::refuse(const NoSecret& failure) {
  context_.metrics.secret_failed(failure.failure);
  auto error = failure.error;
  error.timed_out = failure.failure == metrics::SecretFailure::timeout;
  answer(fail(std::move(error)));
}

/// Reports the result from the loop, because the role that asks is in the middle of a call.
void CredentialsDesk::answer(Result<proto::Credentials> result) {
  answer_.emplace(std::move(result));
  timer_.start(std::chrono::milliseconds{0});
}

void CredentialsDesk::on_timer() {
  if (answer_) {
    deliver();
    return;
  }
  job_.reset();
  ticket_.reset();
  refuse(too_late());
}

void CredentialsDesk::deliver() {
  // The callback may ask again, or destroy us.
  const auto on_answer = std::exchange(on_answer_, nullptr);
  auto result = std::move(*answer_);
  cancel();
  on_answer(std::move(result));
}

}  // namespace starttls::session

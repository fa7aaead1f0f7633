#include "proxy/launcher/channel.h"

#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <sys/socket.h>

namespace starttls::launcher {
namespace {

using metrics::SecretFailure;
using session::NoSecret;

NoSecret no_output(SecretFailure failure, std::string reason, std::string evidence = {}) {
  return {failure, Error{Errc::login, std::move(reason), std::move(evidence)}};
}

NoSecret launcher_is_gone() {
  return no_output(SecretFailure::unreachable,
                   "the process that runs the programs of logins has ended");
}

NoSecret nothing_can_be_asked() {
  return no_output(SecretFailure::busy, "too many programs are waited for");
}

NoSecret not_in_time() {
  return no_output(SecretFailure::timeout, "the program of the secret did not end in time");
}

/// Returns the failure that an answer reports; nothing if it is no failure.
std::optional<NoSecret> failure_in(const Answer& answer) {
  switch (answer.kind) {
    case Answer::Kind::failure:
      return no_output(SecretFailure::failed, "the program of the secret failed", answer.text);
    case Answer::Kind::busy:
      return no_output(SecretFailure::busy, "too many programs are waited for", answer.text);
    case Answer::Kind::timeout: {
      auto failure = not_in_time();
      failure.error.evidence = answer.text;
      return failure;
    }
    case Answer::Kind::ready:
    case Answer::Kind::output:
    case Answer::Kind::beginning:
    case Answer::Kind::reloaded:
      break;
  }
  return std::nullopt;
}

bool is_output(const Answer& answer) noexcept {
  return answer.kind == Answer::Kind::output || answer.kind == Answer::Kind::beginning;
}

}  // namespace

Channel::Channel(net::Loop& loop, Descriptor pair, log::Logger& log, std::function<void()> on_ended)
    : loop_(loop), pair_(std::move(pair)), log_(log), on_ended_(std::move(on_ended)) {
  watch_.emplace(loop_, [this] { on_readable(); });
}

void Channel::run(Request request, OnOutput on_output) {
  begin({.account = {std::move(request.service), std::move(request.account),
                     std::move(request.user)}},
        {.on_output = std::move(on_output)}, request.timeout + kMargin);
}

void Channel::reload(OnReloaded on_reloaded) {
  begin({.kind = launcher::Request::Kind::reload}, {.on_reloaded = std::move(on_reloaded)},
        kReloadTime);
}

/// Sends a request. If that is not possible, the failure is reported from the loop.
void Channel::begin(launcher::Request request, Pending pending,
                    std::chrono::milliseconds patience) {
  request.id = ++last_id_;
  const auto packet = to_packet(request);
  if (has_ended()) {
    pending.failure = launcher_is_gone();
  } else if (!packet || pending_.size() >= kMaxPending ||
             ::send(pair_.get(), packet->data(), packet->size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    pending.failure = nothing_can_be_asked();  // if it has ended, that is reported by itself
  }
  pending.timer = std::make_unique<net::Timer>(loop_, [this, id = request.id] { on_timer(id); });
  pending.timer->start(pending.failure ? std::chrono::milliseconds{0} : patience);
  pending.account = std::move(request.account);
  pending_.emplace(request.id, std::move(pending));
}

void Channel::on_timer(std::uint64_t id) {
  auto pending = pending_.extract(id);
  const auto& failure = pending.mapped().failure;
  report(pending.mapped(), failure ? *failure : not_in_time());
}

void Channel::on_readable() {
  // One for each turn: the loop has other work.
  std::array<char, kMaxAnswer> packet{};
  const auto size = ::recv(pair_.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  const bool whole = size > 0 && static_cast<std::size_t>(size) <= packet.size();
  auto answer =
      whole ? parse_answer({packet.data(), static_cast<std::size_t>(size)}) : std::nullopt;
  wipe(packet);
  if (!answer || !on_answer(*answer)) end();
}

/// Reports an answer to the request that it is for. Returns false if the launcher never says this.
bool Channel::on_answer(Answer& answer) {
  const auto found = pending_.find(answer.id);
  // It may have been given up.
  if (found == pending_.end()) {
    wipe(answer.text);
    return true;
  }
  const bool for_reload = found->second.on_reloaded != nullptr;
  const bool right = for_reload ? answer.kind == Answer::Kind::reloaded : is_output(answer);
  const auto failure = failure_in(answer);
  if (!right && !failure) {
    wipe(answer.text);
    return false;
  }
  const auto pending = pending_.extract(found);
  if (failure) {
    if (!for_reload) log_failure(pending.mapped().account, answer.text);
    report(pending.mapped(), *failure);
  } else if (for_reload) {
    pending.mapped().on_reloaded({});
  } else {
    Output output{Secret{answer.text}, answer.kind == Answer::Kind::output};
    wipe(answer.text);
    pending.mapped().on_output(std::move(output));
  }
  return true;
}

/// Logs why a run gave no secret, once, however many logins wait for it.
void Channel::log_failure(const Account& account, const std::string& words) {
  log_.warn("a program gave no secret",
            {{"service", account.service}, {"user", account.user}, {"reason", words}});
}

void Channel::report(const Pending& pending, const NoSecret& failure) {
  if (pending.on_output) {
    pending.on_output(failure);
  } else {
    pending.on_reloaded(fail(failure.error));
  }
}

void Channel::end() {
  watch_.reset();
  pair_.reset();
  for (const auto& [id, pending] : std::exchange(pending_, {})) {
    report(pending, launcher_is_gone());
  }
  on_ended_();
}

}  // namespace starttls::launcher

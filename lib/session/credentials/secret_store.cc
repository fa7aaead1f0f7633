#include "lib/session/credentials/secret_store.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace starttls::session {
namespace {

/// How much longer than the program the process that runs it may take to answer.
constexpr std::chrono::seconds kLauncherGrace{2};
constexpr std::chrono::minutes kSweepInterval{1};

SecretCache::Times times_on(const net::Loop& loop) {
  return {loop.now(), std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())};
}

/// Returns a text that two sources share only if they are the same in everything. Sources of
/// different services may be the same one.
std::string key_of_source(const config::SecretSource& source, std::chrono::milliseconds lifetime,
                          std::chrono::milliseconds timeout) {
  std::string key;
  const auto add = [&key](std::string_view part) {
    key += std::to_string(part.size());
    key += ':';
    key += part;
  };
  add(source.token ? "token" : "password");
  add(std::to_string(lifetime.count()));
  add(std::to_string(timeout.count()));
  add(source.socket);
  for (const auto& part : source.command) add(part);
  return key;
}

SecretAnswer secret_of(std::variant<ProgramRunner::Output, NoSecret> output, bool token) {
  if (auto* const failure = std::get_if<NoSecret>(&output)) return std::move(*failure);
  const auto& whole = std::get<ProgramRunner::Output>(output);
  return secret_in(whole.text.reveal(), whole.whole, token);
}

}  // namespace

/// A request. Its loop's thread alone uses `on_answer`, and the store's thread all else.
struct SecretStore::Waiting {
  net::Loop& loop;
  OnAnswer on_answer;  // empty: called, or given up
  SecretRequest request;
  SecretCache::Account account = {};
  SecretCache::Ticket ticket = 0;
};

SecretStore::Ticket::Ticket(SecretStore& store, std::shared_ptr<Waiting> waiting) noexcept
    : store_(store), waiting_(std::move(waiting)) {}

SecretStore::Ticket::~Ticket() {
  if (!waiting_->on_answer) return;
  waiting_->on_answer = nullptr;
  store_.loop_.post([&store = store_, waiting = std::move(waiting_)] { store.forget(waiting); });
}

SecretStore::SecretStore(net::Loop& loop, net::Resolver& resolver, ProgramRunner& programs)
    : loop_(loop), resolver_(resolver), programs_(programs), sweep_(loop, [this] { sweep(); }) {}

std::unique_ptr<SecretStore::Ticket> SecretStore::ask(net::Loop& asker, SecretRequest request,
                                                      OnAnswer on_answer) {
  auto waiting = std::make_shared<Waiting>(
      Waiting{.loop = asker, .on_answer = std::move(on_answer), .request = std::move(request)});
  loop_.post([this, waiting] { begin(waiting); });
  return std::make_unique<Ticket>(*this, std::move(waiting));
}

void SecretStore::begin(const std::shared_ptr<Waiting>& waiting) {
  const auto& request = waiting->request;
  waiting->account = {key_of_source(request.source, request.lifetime, request.timeout),
                      request.user};
  waiting->ticket = ++next_ticket_;
  const auto asked = cache_.ask(waiting->ticket, waiting->account, request.lifetime,
                                request.refused ? &*request.refused : nullptr, times_on(loop_));
  if (asked.answer) {
    answer(waiting, *asked.answer);
    return;
  }
  waiting_.emplace(waiting->ticket, waiting);
  if (asked.fetch) fetch(request);
}

void SecretStore::forget(const std::shared_ptr<Waiting>& waiting) noexcept {
  if (waiting_.erase(waiting->ticket) == 0) return;
  cache_.give_up(waiting->ticket, waiting->account);
}

void SecretStore::fetch(const SecretRequest& request) {
  const auto id = ++next_fetch_;
  const auto& source = request.source;
  auto& fetch = fetches_[id];
  fetch.account = {key_of_source(source, request.lifetime, request.timeout), request.user};
  if (source.socket.empty()) {
    run_program(request, id);
    return;
  }
  fetch.socket = std::make_unique<SocketRequest>(
      loop_, resolver_,
      SocketRequest::Question{.socket = source.socket,
                              .user = request.user,
                              .token = source.token,
                              .timeout = request.timeout},
      [this, id](SecretAnswer answer) { on_fetched(id, std::move(answer)); });
}

void SecretStore::run_program(const SecretRequest& request, std::uint64_t id) {
  auto& deadline = fetches_[id].deadline;
  deadline = std::make_unique<net::Timer>(loop_, [this, id] { on_fetched(id, too_late()); });
  deadline->start(request.timeout + kLauncherGrace);
  programs_.run({.service = request.service,
                 .account = request.account,
                 .user = request.user,
                 .timeout = request.timeout},
                [this, id, token = request.source.token](
                    std::variant<ProgramRunner::Output, NoSecret> output) {
                  on_fetched(id, secret_of(std::move(output), token));
                });
}

void SecretStore::on_fetched(std::uint64_t id, SecretAnswer answer) {
  const auto fetch = fetches_.extract(id);
  if (fetch.empty()) return;  // it came too late
  const auto now = times_on(loop_);
  if (auto* const found = std::get_if<FreshSecret>(&answer)) {
    // Later answers from the cache must not count from their own time on.
    found->end.at = found->end.as_time({std::chrono::floor<std::chrono::seconds>(now.wall)});
  }
  const auto fetched = cache_.on_fetched(fetch.mapped().account, answer, now);
  for (const auto ticket : fetched.waiting) {
    const auto waiting = waiting_.extract(ticket);
    if (!waiting.empty()) this->answer(waiting.mapped(), answer);
  }
  if (fetched.next) this->fetch(waiting_.at(*fetched.next)->request);
  if (!std::exchange(sweeps_, true)) sweep_.start(kSweepInterval);
}

void SecretStore::answer(const std::shared_ptr<Waiting>& waiting, const SecretAnswer& answer) {
  const auto& request = waiting->request;
  const auto* const found = std::get_if<FreshSecret>(&answer);
  if (found != nullptr && found->end.at && request.user_is_fixed) {
    ends_[{request.service, request.user}] = *found->end.at;
  }
  waiting->loop.post([waiting, answer] {
    const auto on_answer = std::exchange(waiting->on_answer, nullptr);
    if (on_answer) on_answer(answer);
  });
}

void SecretStore::sweep() {
  sweeps_ = cache_.drop_expired(times_on(loop_));
  if (sweeps_) sweep_.start(kSweepInterval);
}

void SecretStore::keep_sources_of(const std::vector<config::Service>& services) {
  std::set<std::string> wanted;
  for (const auto& service : services) {
    if (!service.login) continue;
    const auto& login = *service.login;
    const auto add = [&](const config::SecretSource& source) {
      if (source.is_asked()) wanted.insert(key_of_source(source, login.lifetime, login.timeout));
    };
    add(login.source);
    for (const auto& account : service.accounts) add(config::source_of(login, account));
  }
  std::erase_if(ends_, [&services](const auto& each) {
    return std::none_of(services.begin(), services.end(), [&each](const config::Service& service) {
      return service.name == each.first.first;
    });
  });
  cache_.keep_sources([&wanted](const std::string& source) { return wanted.contains(source); });
}

std::optional<UnixTime> SecretStore::end_of(const std::string& service,
                                            const std::string& user) const {
  const auto found = ends_.find({service, user});
  if (found == ends_.end()) return std::nullopt;
  return found->second;
}

void SecretStore::note_end(std::string service, std::string user, UnixTime end) {
  loop_.post([this, account = std::pair{std::move(service), std::move(user)}, end] {
    ends_[account] = end;
  });
}

NoPrograms::NoPrograms(net::Loop& loop) : timer_(loop, [this] { refuse_all(); }) {}

void NoPrograms::run(Request, OnOutput on_output) {
  refused_.push_back(std::move(on_output));
  timer_.start(std::chrono::milliseconds{0});
}

void NoPrograms::refuse_all() {
  for (const auto& on_output : std::exchange(refused_, {})) {
    on_output(NoSecret{metrics::SecretFailure::unreachable,
                       Error{Errc::login, "no process is there to run the program of the secret"}});
  }
}

}  // namespace starttls::session

#include "proxy/admin/pages.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "lib/base/random.h"
#include "lib/session/credentials/login_facts.h"
#include "proxy/admin/status_json.h"
#include "proxy/admin/status_page.h"
#include "proxy/server_certificates.h"

namespace starttls {

AdminPages::AdminPages(net::Loop& loop, const State& state, const Workers& workers,
                       const session::SecretStore& secrets, const RecentFailures& failures,
                       const log::Logger& log)
    : loop_(loop),
      state_(state),
      workers_(workers),
      secrets_(secrets),
      failures_(failures),
      log_(log),
      drained_(state.metrics->workers()),
      last_reload_(std::chrono::system_clock::now()),
      started_(UnixTime::of(last_reload_)) {
  for (const auto question : {Question::turning, Question::sessions}) {
    round(question).workers.resize(drained_.size());
    round(question).deadline =
        std::make_unique<net::Timer>(loop_, [this, question] { finish(question); });
  }
}

void AdminPages::make(AdminPage page, Reply reply) {
  switch (page) {
    case AdminPage::index:
      reply(status_page(status(), random_token()));
      return;
    case AdminPage::metrics:
      reply(metrics());
      return;
    case AdminPage::healthz:
      ask(Question::turning, std::move(reply));
      return;
    case AdminPage::readyz:
      reply(readiness());
      return;
    case AdminPage::sessions:
      ask(Question::sessions, std::move(reply));
      return;
    case AdminPage::status:
      reply(status_json(status()));
      return;
  }
}

std::vector<std::string> AdminPages::all_obstacles(UnixTime now) const {
  auto found = obstacles(draining_, certificates_of(state_.services), now);
  if (launcher_ended_) found.emplace_back("the launcher has ended, logins by command fail");
  return found;
}

AdminResponse AdminPages::readiness() const {
  return verdict("ready", all_obstacles(UnixTime::of(std::chrono::system_clock::now())));
}

Status AdminPages::status() const {
  const auto now = UnixTime::of(std::chrono::system_clock::now());
  return {.version = STARTTLS_VERSION,
          .host = state_.services.front()->own_name->text(),
          .now = now,
          .started = started_,
          .loaded = UnixTime::of(last_reload_),
          .last_reload_successful = last_reload_successful_,
          .draining = draining_,
          .obstacles = all_obstacles(now),
          .services = services_status(state_.services, draining_, now),
          .certificates = certificates_status(certificates_of(state_.services),
                                              server_certificates_of(state_.services), now),
          .failures = failures_.all()};
}

AdminResponse AdminPages::metrics() {
  metrics::Snapshot facts{.lost_log_lines = log_.lost_lines(),
                          .last_reload_successful = last_reload_successful_,
                          .draining = draining_,
                          .last_reload = last_reload_,
                          .server_certificates = server_certificates_of(state_.services),
                          .process = process_.read()};
  for (const auto& worker : workers_) facts.buffer_bytes += worker->buffer_bytes();
  for (auto& each : certificates_of(state_.services)) {
    facts.certificates.push_back(
        {std::move(each.service), each.side, std::move(each.file), each.not_after});
  }
  for (const auto& service : state_.config.services) {
    for (auto& user : session::fixed_token_users(service)) {
      auto end = secrets_.end_of(service.name, user);
      facts.secrets.push_back({service.name, std::move(user), end});
    }
  }
  return {.content = AdminResponse::Content::metrics, .body = state_.metrics->text(facts)};
}

void AdminPages::on_reloaded() {
  last_reload_ = std::chrono::system_clock::now();
  last_reload_successful_ = true;
}

// --- Asking the workers --------------------------------------------------------------------------

void AdminPages::ask(Question question, Reply reply) {
  Round& asked = round(question);
  asked.replies.push_back(std::move(reply));
  if (asked.replies.size() > 1) return;
  asked.listing = {};
  asked.deadline->start(kPatience);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (drained_[i]) continue;
    if (std::exchange(asked.workers[i], Owes::to_this) != Owes::nothing) continue;
    const auto answer = [this, question, i](std::vector<session::SessionStatus> sessions,
                                            std::size_t open) {
      loop_.post([this, question, i, open, sessions = std::move(sessions)] {
        auto& listing = round(question).listing;
        listing.open += open;
        listing.sessions.insert(listing.sessions.end(), sessions.begin(), sessions.end());
        on_answer(question, i);
      });
    };
    workers_[i]->list_sessions(question == Question::sessions ? kMaxListed : 0, answer);
  }
  finish_if_answered(question);
}

void AdminPages::on_answer(Question question, std::size_t worker) {
  round(question).workers[worker] = Owes::nothing;
  finish_if_answered(question);
}

void AdminPages::on_worker_drained(std::size_t index) {
  drained_[index] = true;
  on_answer(Question::turning, index);
  on_answer(Question::sessions, index);
}

void AdminPages::finish_if_answered(Question question) {
  const Round& asked = round(question);
  const bool all =
      std::find(asked.workers.begin(), asked.workers.end(), Owes::to_this) == asked.workers.end();
  if (all && !asked.replies.empty()) finish(question);
}

void AdminPages::finish(Question question) {
  Round& asked = round(question);
  asked.deadline->stop();
  std::vector<std::string> silent;
  for (std::size_t i = 0; i < asked.workers.size(); ++i) {
    if (asked.workers[i] != Owes::to_this) continue;
    asked.workers[i] = Owes::to_earlier;
    silent.push_back(fmt::format("worker {} has not answered within {} s", i, kPatience.count()));
  }
  asked.listing.complete = silent.empty() && asked.listing.sessions.size() == asked.listing.open;
  const auto response =
      question == Question::turning ? verdict("healthy", silent) : to_json(asked.listing);
  asked.listing = {};
  for (const auto& reply : std::exchange(asked.replies, {})) reply(response);
}

}  // namespace starttls

#include "proxy/worker.h"

#include <algorithm>
#include <latch>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "lib/net/thread.h"
#include "proxy/confinement/sandbox.h"

namespace starttls {
namespace {

/// Longer than any handshake takes.
constexpr std::chrono::seconds kHandshakesInReload{1};

}  // namespace

Worker::Worker(Shared& shared, net::Loop& loop, unsigned index, std::function<void()> on_drained)
    : shared_(shared),
      index_(index),
      on_drained_(std::move(on_drained)),
      loop_(loop),
      context_{loop,  shared.resolver,   shared.work,    shared.secrets, shared.log,
               *this, shared.loop_guard, shared.clients, index} {}

Worker::~Worker() {
  if (!thread_.joinable()) return;
  if (!runs_) may_run_.set_value(false);
  thread_.join();
}

Result<> Worker::start() {
  std::latch begun{1};
  auto started = net::start_thread(fmt::format("worker {}", index_), [this, &begun] {
    if (shared_.sandboxed) give_up_files();
    begun.count_down();
    if (may_run_.get_future().get()) loop_.run();
  });
  if (!started) return fail(std::move(started.error()));
  thread_ = std::move(*started);
  begun.wait();
  return {};
}

void Worker::run() {
  runs_ = true;
  may_run_.set_value(true);
}

Result<> Worker::listen(ListenerChange change) {
  return apply(change);
}

void Worker::change_listeners(ListenerChange change) {
  // In a shared_ptr, because a std::function must be copyable, and sockets are not.
  loop_.post([this, shared = std::make_shared<ListenerChange>(std::move(change))] {
    if (drain_deadline_ != nullptr) return;
    if (const auto applied = apply(*shared); !applied) {
      shared_.log.error("not listening", {{"reason", applied.error().reason}});
    }
  });
}

/// Carries out a change. Opens each listener that can be opened. The error is that of the last one
/// that cannot.
Result<> Worker::apply(ListenerChange& change) {
  Listenings before;
  before.swap(listeners_);
  for (auto& [id, service] : change.kept) {
    auto node = before.extract(id);
    if (node.empty()) continue;
    node.mapped().service = std::move(service);
    listeners_.insert(std::move(node));
  }
  Result<> result;
  end_listeners(std::move(before), kHandshakesInReload);
  for (auto& [id, socket, service, holder] : change.opened) {
    const auto kind =
        net::local_port(socket) == 0 ? net::Stream::Kind::unix_socket : net::Stream::Kind::tcp;
    Listening& entry = listeners_[id];
    entry.service = std::move(service);
    entry.listener = std::make_unique<net::Listener>(
        loop_, kind, [this, &entry](net::Listener::Connection client) {
          on_client(std::move(client), entry.service);
        });
    if (auto opened = entry.listener->open(std::move(socket), holder); !opened) {
      result = std::move(opened);
    }
  }
  keep_warm();
  return result;
}

/// Keeps one pool per service that wants one. A pool stays if its connections suit a present
/// service.
void Worker::keep_warm() {
  auto before = std::exchange(warm_, {});
  for (const auto& [id, listening] : listeners_) {
    const auto& service = listening.service;
    if (service->config.upstream.warm == 0 || warm_.contains(service.get())) continue;
    auto& pool = warm_[service.get()];
    const auto old = std::find_if(before.begin(), before.end(), [&service](const auto& each) {
      return each.second != nullptr && each.second->suits(*service);
    });
    if (old == before.end()) {
      pool = std::make_unique<session::WarmPool>(
          session::WorkerContext{loop_, shared_.resolver, shared_.work, shared_.secrets,
                                 service->metrics->of_worker(index_)},
          shared_.log, service);
    } else {
      pool = std::move(old->second);
      pool->rename(service);
    }
  }
}

std::optional<session::UpstreamConnection> Worker::take_warm(const session::Service& service,
                                                             session::LegEvents& events) {
  const auto pool = warm_.find(&service);
  return pool == warm_.end() ? std::nullopt : pool->second->take(events);
}

void Worker::on_client(net::Listener::Connection client,
                       const std::shared_ptr<const session::Service>& service) {
  auto session = std::make_unique<session::Session>(
      context_, service, std::move(client.stream), client.peer,
      fmt::format("{:08x}.{}.{}", shared_.run_id, index_, next_session_++));
  session::Session& born = *session;
  sessions_.emplace(&born, std::move(session));

  const std::size_t open = ++shared_.sessions;
  if (client.room == net::Listener::Room::last) {
    born.refuse(Error{Errc::limit, "too many sessions", "no descriptor is left for this process"});
  } else if (open > shared_.max_sessions) {
    born.refuse(Error{Errc::limit, "too many sessions",
                      "max_sessions = " + std::to_string(shared_.max_sessions)});
  } else {
    born.start();
  }
}

void Worker::on_session_ended(session::Session& session) {
  if (auto failed = session.failure()) {
    shared_.failures.add(std::move(*failed), UnixTime::of(std::chrono::system_clock::now()));
  }
  // The session is in the middle of its own call, so it is erased in the loop's next turn.
  loop_.defer([this, ended = &session] {
    sessions_.erase(ended);
    --(lingering_.erase(ended) > 0 ? shared_.lingering : shared_.sessions);
    finish_drain_if_empty();
  });
}

/// Gives the session's place back. Otherwise clients that may not come in could keep out those that
/// may.
bool Worker::may_linger(session::Session& session) {
  lingering_.insert(&session);
  --shared_.sessions;
  return ++shared_.lingering <= kMaxLingering;
}

void Worker::list_sessions(std::size_t limit, OnListed on_listed) {
  loop_.post([this, limit, on_listed = std::move(on_listed)] {
    std::vector<session::SessionStatus> listed;
    for (const auto& [key, session] : sessions_) {
      if (listed.size() == limit) break;
      listed.push_back(session->status());
    }
    on_listed(std::move(listed), sessions_.size());
  });
}

void Worker::drain(std::chrono::milliseconds patience) {
  loop_.post([this, patience] { begin_drain(patience); });
}

void Worker::begin_drain(std::chrono::milliseconds patience) {
  // Half of the time, so that the clients that come last have some of it, too.
  end_listeners(std::exchange(listeners_, {}), patience / 2);
  warm_.clear();
  // Set this after all listeners are in `ending_`. Otherwise the first that ends could be taken for
  // the last.
  drain_deadline_ = std::make_unique<net::Timer>(loop_, [this] {
    for (const auto& [key, session] : sessions_) session->stop();
  });
  drain_deadline_->start(patience);
  finish_drain_if_empty();
}

/// Ends these listeners. A client that has connected already is served, as if it had come a moment
/// earlier, while we listened.
void Worker::end_listeners(Listenings all, std::chrono::milliseconds patience) {
  while (!all.empty()) {
    const auto id = all.begin()->first;
    Listening& ending = ending_.insert(all.extract(all.begin())).position->second;
    const auto end = ending.listener->begin_end();
    if (end.resets_some && !shared_.resets_logged.exchange(true)) {
      shared_.log.debug(
          "a client that connects at this moment may be reset: the process may not set a socket "
          "filter",
          {});
    }
    const auto wanted = std::min(end.patience, patience);
    if (wanted.count() == 0) {
      take_last(id);
      continue;
    }
    ending.last_call = std::make_unique<net::Timer>(loop_, [this, id] { take_last(id); });
    ending.last_call->start(wanted);
  }
}

void Worker::take_last(std::uint64_t id) {
  const auto ended = ending_.extract(id);
  ended.mapped().listener->accept_queued();
  finish_drain_if_empty();
}

void Worker::finish_drain_if_empty() {
  if (drain_deadline_ == nullptr || !ending_.empty() || !sessions_.empty()) return;
  drain_deadline_.reset();
  loop_.stop();
  on_drained_();
}

}  // namespace starttls

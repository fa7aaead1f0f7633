#include "proxy/server.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "lib/config/describe.h"
#include "lib/net/descriptor_limit.h"
#include "lib/net/loop.h"
#include "lib/net/resolver.h"
#include "lib/net/signals.h"
#include "lib/net/timer.h"
#include "lib/tls/record_cipher.h"
#include "proxy/admin/endpoint.h"
#include "proxy/admin/pages.h"
#include "proxy/certificate_watch.h"
#include "proxy/config_files.h"
#include "proxy/confinement/user.h"
#include "proxy/descriptor_limits.h"
#include "proxy/exit_status.h"
#include "proxy/file_watch.h"
#include "proxy/launcher/channel.h"
#include "proxy/launcher/program_table.h"
#include "proxy/listeners.h"
#include "proxy/login_files.h"
#include "proxy/reload_changes.h"
#include "proxy/reload_problems.h"
#include "proxy/supervisor/heartbeat.h"
#include "proxy/system_name.h"
#include "proxy/worker.h"

namespace starttls {
namespace {

/// How often we look at certificates, keys, CA and ticket files.
constexpr std::chrono::seconds kWatchInterval{2};
/// How often the log is looked after, and how often while lines wait for a slow reader.
constexpr std::chrono::milliseconds kLogInterval{1000};
constexpr std::chrono::milliseconds kLogRetry{50};
/// How long the last lines may wait for a slow reader.
constexpr std::chrono::milliseconds kLastLines{500};

/// The control loop's side of the process: workers, listeners, signals, reload.
class Server {
 public:
  explicit Server(ServerSetup setup)
      : state_(std::move(setup.state)),
        reload_(setup.reload),
        confine_(setup.confine),
        inherited_(setup.inherited),
        log_(setup.log),
        loops_(setup.loops),
        control_(*loops_.front()),
        resolver_(control_),
        no_programs_(control_),
        launcher_(setup.launcher ? std::make_unique<launcher::Channel>(
                                       control_, std::move(setup.launcher->pair), log_,
                                       [this] { on_launcher_ended(); })
                                 : nullptr),
        secrets_(control_, resolver_, programs()),
        system_name_(control_, state_.system_name,
                     [this](const std::string& name) { on_system_name(name); }),
        shared_{.log = log_,
                .resolver = resolver_,
                .secrets = secrets_,
                .sandboxed = state_.config.proxy.sandbox,
                .run_id = std::random_device{}()},
        descriptors_(net::raise_descriptor_limit()),
        listeners_(log_, shared_.loop_guard, inherited_),
        watch_timer_(control_, [this] { check_watched_files(); }),
        log_timer_(control_, [this] { tend_log(); }),
        heartbeat_(
            control_, setup.notifier,
            [this] {
              return Heartbeat::Load{.sessions = shared_.sessions.load(),
                                     .services = state_.services.size()};
            },
            [this](Heartbeat::OnHealth on_health) { ask_health(std::move(on_health)); }),
        certificates_(control_, log_),
        pages_(control_, state_, workers_, secrets_, shared_.failures, log_),
        admin_(control_, log_, [this](AdminPage page, AdminEndpoint::Reply reply) {
          pages_.make(page, std::move(reply));
        }) {
    watch_.follow(watched_files(state_.config), setup.loaded_at);
  }

  /// Serves until a signal ends it. Returns the exit status. Errors: system.
  Result<int> run();

 private:
  void make_workers();
  [[nodiscard]] Result<> start_threads(net::Signals& signals);
  /// The planned listeners of a state, and the planned admin endpoint.
  struct ListenPlan {
    Listeners::Plan services;
    AdminEndpoint::Plan admin;
  };
  [[nodiscard]] Result<ListenPlan> plan_listening(const State& state,
                                                  const std::optional<net::Owner>& owner);
  [[nodiscard]] Result<ListenPlan> plan_start();
  [[nodiscard]] Result<> begin_listening(ListenPlan& plan);
  [[nodiscard]] Result<> listen_all(ListenPlan& plan);
  [[nodiscard]] static Result<> may_take_over(const ListenPlan& plan);
  [[nodiscard]] static Result<> take_over(ListenPlan& plan);
  void on_signal(int number);
  void reopen_log();
  void tend_log();
  void drain();
  void ask_health(Heartbeat::OnHealth on_health);
  void check_watched_files();
  bool reload(Reread what, std::vector<std::string>& problems);
  bool replace_state(Reread what, std::vector<std::string>& problems);
  void log_changes(const State& old, const Listeners::Plan& listeners);
  void report(const std::vector<std::string>& problems);
  void warn_of_policies(const State* previous);
  void warn_of_unused_sockets();
  void look_for_system_name();
  void on_system_name(const std::string& name);
  void apply_limits();
  [[nodiscard]] Result<> start_work(const config::Config& config);
  [[nodiscard]] session::ProgramRunner& programs() noexcept;
  void reload_programs();
  void on_launcher_ended();

  State state_;
  const ReloadState& reload_;
  const Confine& confine_;
  const InheritedSockets& inherited_;
  log::Logger& log_;
  const Loops& loops_;
  net::Loop& control_;
  net::Resolver resolver_;
  session::NoPrograms no_programs_;
  std::unique_ptr<launcher::Channel> launcher_;  // null if no service had a command at the start
  session::SecretStore secrets_;
  SystemName system_name_;
  Shared shared_;
  std::size_t descriptors_;  // the most that the process may have
  Listeners listeners_;
  FileWatch watch_;
  net::Timer watch_timer_;
  net::Timer log_timer_;
  Heartbeat heartbeat_;
  CertificateWatch certificates_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::size_t running_ = 0;  // workers that have not drained
  AdminPages pages_;
  AdminEndpoint admin_;
  int status_ = EXIT_SUCCESS;
  bool draining_ = false;
  ReloadProblems waiting_;  // why the files on disk are not used; empty if they are
  std::vector<std::string> unused_sockets_;  // names of inherited ones
};

Result<int> Server::run() {
  warn_of_policies(nullptr);
  certificates_.follow(state_.services);
  warn_of_unused_sockets();
  make_workers();
  auto plan = plan_start();
  if (!plan) return fail(std::move(plan.error()));
  if (auto confined = confine_(); !confined) return fail(std::move(confined.error()));
  net::Signals signals(control_, [this](int number) { on_signal(number); });
  if (auto started = start_threads(signals); !started) {
    log_.error("cannot start", {{"reason", started.error().reason}});
    return kExitSystem;
  }
  if (auto begun = begin_listening(*plan); !begun) return fail(std::move(begun.error()));
  apply_limits();

  watch_timer_.start(kWatchInterval);
  log_timer_.start(kLogInterval);
  for (const auto& worker : workers_) worker->run();
  log_.info("ready",
            {{"workers", std::uint64_t{workers_.size()}},
             {"hostname", state_.services.front()->own_name->text()},
             {"max_sessions", std::uint64_t{shared_.max_sessions.load()}},
             {"record_cipher",
              tls::describe(tls::choose_record_cipher(state_.config.proxy.record_cipher))}});
  heartbeat_.begin();
  look_for_system_name();
  control_.run();
  workers_.clear();  // joins
  log_.info("stopped", {});
  log_.finish(kLastLines);
  return status_;
}

void Server::make_workers() {
  running_ = state_.metrics->workers();
  for (unsigned i = 0; i < running_; ++i) {
    workers_.push_back(std::make_unique<Worker>(shared_, *loops_[i + 1], i, [this, i] {
      control_.post([this, i] {
        pages_.on_worker_drained(i);
        if (--running_ == 0) control_.stop();
      });
    }));
  }
}

/// Binds all addresses. Errors: system.
Result<Server::ListenPlan> Server::plan_start() {
  // The sockets belong to the user that binds at a reload, and in the next process that starts
  // beside this one. Only sockets of one user share a port.
  std::optional<net::Owner> owner;
  if (state_.user) owner = net::Owner{state_.user->uid, state_.user->gid};
  auto plan = plan_listening(state_, owner);
  if (!plan || !state_.user) return plan;
  // If that user could not complete the takeover, root can still remove what it has bound.
  auto may = act_as(*state_.user, [&plan] { return may_take_over(*plan); });
  if (!may) return fail(std::move(may.error()));
  return plan;
}

/// Starts what the system can refuse, before paths are taken over. Errors: system.
Result<> Server::start_threads(net::Signals& signals) {
  auto started = signals.open({SIGTERM, SIGINT, SIGHUP, SIGUSR1});
  if (started && launcher_ != nullptr) started = launcher_->open();
  if (started) started = start_work(state_.config);
  for (const auto& worker : workers_) {
    if (started) started = worker->start();
  }
  return started;
}

/// Listens on all bound addresses. Errors: system.
Result<> Server::begin_listening(ListenPlan& plan) {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (auto result = workers_[i]->listen(std::move(plan.services.changes[i])); !result) {
      return result;
    }
  }
  if (auto listening = admin_.listen(plan.admin); !listening) return listening;
  if (auto taken = take_over(plan); !taken) return taken;
  listeners_.commit(plan.services);
  admin_.commit(std::move(plan.admin));
  return {};
}

Result<Server::ListenPlan> Server::plan_listening(const State& state,
                                                  const std::optional<net::Owner>& owner) {
  auto admin = admin_.plan(state.config.admin.listen, owner, listeners_.ports());
  if (!admin) return fail(std::move(admin.error()));
  const auto& old = state_.config.admin.listen;
  auto services =
      listeners_.plan(state.services, workers_.size(), owner, old ? old->port : std::uint16_t{0});
  if (!services) return fail(std::move(services.error()));
  return ListenPlan{std::move(*services), std::move(*admin)};
}

/// Listens on the new TCP sockets, and for the admin endpoint. If two processes have bound a port,
/// the first one to listen gets it. Workers would notice a failure too late.
Result<> Server::listen_all(ListenPlan& plan) {
  for (const auto& change : plan.services.changes) {
    for (const auto& opened : change.opened) {
      // A supervisor's socket listens already, and so does a unix socket.
      if (opened.holder == net::Holder::supervisor) continue;
      if (net::listening_address(opened.socket).is_unix()) continue;
      if (auto listening = net::begin_listening(opened.socket); !listening) return listening;
    }
  }
  return admin_.listen(plan.admin);
}

Result<> Server::may_take_over(const ListenPlan& plan) {
  for (const auto& takeover : plan.services.takeovers) {
    if (auto may = takeover.may_complete(); !may) return may;
  }
  const auto* admin = plan.admin.takeover();
  return admin != nullptr ? admin->may_complete() : Result<>{};
}

/// Takes over the paths. This is the last step of a start or a reload that can fail. Once a path is
/// taken over, clients cannot find the other process's socket any more. So everything else must
/// have succeeded.
Result<> Server::take_over(ListenPlan& plan) {
  for (auto& takeover : plan.services.takeovers) {
    if (auto completed = takeover.complete(); !completed) return completed;
  }
  auto* admin = plan.admin.takeover();
  return admin != nullptr ? admin->complete() : Result<>{};
}

void Server::on_signal(int number) {
  switch (number) {
    case SIGUSR1:
      reopen_log();
      return;
    case SIGHUP: {
      if (draining_) return;
      std::vector<std::string> problems;
      if (!reload(Reread::everything, problems)) report(problems);
      return;
    }
    default:            // TERM, INT
      if (draining_) {  // asked twice: now
        log_.settle();
        log_.warn("stopped at once", {{"sessions", std::uint64_t{shared_.sessions.load()}}});
        log_.finish(kLastLines);
        std::_Exit(EXIT_SUCCESS);
      }
      drain();
  }
}

void Server::reopen_log() {
  if (auto reopened = log_.open(state_.config.log.file); !reopened) {
    log_.error("log not reopened", {{"reason", reopened.error().reason}});
  }
}

void Server::tend_log() {
  log_timer_.start(log_.tick() ? kLogInterval : kLogRetry);
}

void Server::drain() {
  draining_ = true;
  pages_.on_draining();
  admin_.on_draining();
  watch_timer_.stop();
  log_.info("draining", {{"sessions", std::uint64_t{shared_.sessions.load()}}});
  heartbeat_.stopping(state_.config.proxy.drain_timeout);
  for (const auto& worker : workers_) worker->drain(state_.config.proxy.drain_timeout);
}

/// Asks if the process is healthy, that is, if all loops turn.
void Server::ask_health(Heartbeat::OnHealth on_health) {
  pages_.make(AdminPage::healthz, [on_health = std::move(on_health)](const AdminResponse& health) {
    on_health(health.status == HttpStatus::ok);
  });
}

void Server::check_watched_files() {
  watch_timer_.start(kWatchInterval);
  const auto now = ReloadProblems::Clock::now();
  if (watch_.changed()) {
    waiting_.clear();
    if (std::vector<std::string> problems; !reload(Reread::files, problems)) {
      waiting_.set(std::move(problems), now);
    }
    return;
  }
  switch (waiting_.on_unchanged(now)) {
    case ReloadProblems::Step::nothing:
      return;
    case ReloadProblems::Step::waits:
      log_.info("a certificate waits for its key", {{"reason", waiting_.all().front()}});
      return;
    case ReloadProblems::Step::failed:
      report(waiting_.all());
      waiting_.clear();
  }
}

bool Server::reload(Reread what, std::vector<std::string>& problems) {
  heartbeat_.reloading();
  const bool replaced = replace_state(what, problems);
  heartbeat_.reloaded(replaced);
  return replaced;
}

/// Builds the new state completely and swaps it in. On an error, the old one stays as it is.
bool Server::replace_state(Reread what, std::vector<std::string>& problems) {
  const auto loaded_at = FileWatch::Clock::now();
  static_cast<void>(watch_.changed());  // later changes are for the next reload
  auto fresh = reload_(state_, what, problems);
  if (!fresh) return false;
  if (launcher_ == nullptr && launcher::has_programs(fresh->config)) {
    problems.emplace_back(launcher::kFirstCommand);
    return false;
  }
  // If a later step fails, the threads stay. They do nothing until a service has a login.
  if (auto started = start_work(fresh->config); !started) {
    problems.push_back(started.error().reason);
    return false;
  }
  auto plan = plan_listening(*fresh, {});
  if (!plan) {
    problems.push_back(plan.error().reason);
    return false;
  }
  if (auto listening = listen_all(*plan); !listening) {
    problems.push_back(listening.error().reason);
    return false;
  }
  const auto& log_config = fresh->config.log;
  if (log_config.file != state_.config.log.file) {
    if (auto opened = log_.open(log_config.file); !opened) {
      problems.push_back(log_file_problem(*fresh, opened.error()));
      return false;
    }
  }
  if (auto taken = take_over(*plan); !taken) {
    problems.push_back(taken.error().reason);
    if (log_config.file != state_.config.log.file) reopen_log();
    return false;
  }

  log_.set(log_config.level, log_config.format);
  if (fresh->config.proxy.workers != state_.config.proxy.workers) {
    log_.warn("proxy.workers has changed: restart the proxy to apply it", {});
  }
  if (fresh->config.proxy.user != state_.config.proxy.user) {
    log_.warn("proxy.user has changed: restart the proxy to apply it", {});
  }
  if (fresh->config.proxy.sandbox != state_.config.proxy.sandbox) {
    log_.warn("proxy.sandbox has changed: restart the proxy to apply it", {});
  }
  if (what == Reread::everything) reload_programs();
  listeners_.begin(plan->services);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    workers_[i]->change_listeners(std::move(plan->services.changes[i]));
  }
  const State old = std::exchange(state_, std::move(*fresh));
  apply_limits();
  secrets_.keep_sources_of(state_.config.services);
  listeners_.commit(plan->services);
  admin_.commit(std::move(plan->admin));
  pages_.on_reloaded();
  watch_.follow(watched_files(state_.config), loaded_at);
  waiting_.clear();
  log_changes(old, plan->services);
  look_for_system_name();
  warn_of_policies(&old);
  certificates_.follow(state_.services);
  warn_of_unused_sockets();
  return true;
}

/// Logs what a reload has changed: services, listeners, and certificates with their ends.
void Server::log_changes(const State& old, const Listeners::Plan& listeners) {
  const auto changes = service_changes(old.config.services, state_.config.services);
  const auto certificates =
      certificate_changes(certificates_of(old.services), certificates_of(state_.services));
  std::vector<log::Field> fields{{"services", std::uint64_t{state_.services.size()}},
                                 {"added", std::uint64_t{changes.added.size()}},
                                 {"removed", std::uint64_t{changes.removed.size()}},
                                 {"changed", std::uint64_t{changes.changed.size()}},
                                 {"kept", std::uint64_t{changes.kept}},
                                 {"opened", std::uint64_t{listeners.opened}},
                                 {"closed", std::uint64_t{listeners.closed}},
                                 {"certificates", std::uint64_t{certificates.size()}}};
  const std::string added = listed(changes.added);
  const std::string removed = listed(changes.removed);
  const std::string changed = listed(changes.changed);
  if (!added.empty()) fields.emplace_back("added_services", added);
  if (!removed.empty()) fields.emplace_back("removed_services", removed);
  if (!changed.empty()) fields.emplace_back("changed_services", changed);
  log_.write(log::Level::info, "reloaded", fields);
  for (const auto& [certificate, replaced] : certificates) {
    log_.info(replaced ? "certificate replaced" : "certificate added",
              {{"file", certificate.file},
               {"names", certificate.names},
               {"not_after", rfc3339(certificate.not_after)}});
  }
}

void Server::report(const std::vector<std::string>& problems) {
  pages_.on_reload_failed();
  for (std::string problem : problems) {
    if (state_.config.proxy.sandbox && problem.find("Permission denied") != std::string::npos) {
      problem +=
          " (the sandbox allows only folders that were in use at the start: restart the proxy)";
    }
    log_.error("not reloaded, the old configuration stays", {{"reason", problem}});
  }
}

/// Logs the warnings of each service that was not served like this before, and of the admin
/// endpoint if it has changed.
void Server::warn_of_policies(const State* previous) {
  if (previous == nullptr || previous->config.admin != state_.config.admin) {
    for (const std::string& warning : config::warnings(state_.config.admin)) {
      log_.warn("policy", {{"warning", warning}});
    }
  }
  for (const auto& service : state_.config.services) {
    if (previous != nullptr) {
      const auto& old = previous->config.services;
      if (std::find(old.begin(), old.end(), service) != old.end()) continue;
    }
    for (const std::string& warning : config::warnings(service)) {
      log_.warn("policy", {{"service", service.name}, {"warning", warning}});
    }
    for (const std::string& warning : login_file_warnings(service)) {
      log_.warn("policy", {{"service", service.name}, {"warning", warning}});
    }
  }
}

/// Warns of inherited sockets that no service uses, once each time that one goes out of use.
void Server::warn_of_unused_sockets() {
  auto unused = inherited_.unused(state_.config);
  for (const auto& name : unused) {
    if (std::find(unused_sockets_.begin(), unused_sockets_.end(), name) != unused_sockets_.end()) {
      continue;
    }
    log_.warn("an inherited socket is used by no service: its connections will not be answered",
              {{"name", name}});
  }
  unused_sockets_ = std::move(unused);
}

/// Looks for the name in the background: a silent name server must delay neither the start nor a
/// reload.
void Server::look_for_system_name() {
  if (state_.config.proxy.hostname.empty()) {
    system_name_.look();
  } else {
    system_name_.stop();
  }
}

void Server::on_system_name(const std::string& name) {
  log_.info("hostname known", {{"hostname", name}});
}

/// Starts the threads for logins, if a service has one. They are this thread's children, inside the
/// sandbox, and may read files. A worker's may not. Errors: system.
Result<> Server::start_work(const config::Config& config) {
  const auto& all = config.services;
  const bool needed =
      std::any_of(all.begin(), all.end(), [](const auto& each) { return each.login.has_value(); });
  return needed ? shared_.work.start() : Result<>{};
}

session::ProgramRunner& Server::programs() noexcept {
  if (launcher_ == nullptr) return no_programs_;
  return *launcher_;
}

/// Has the launcher read the configuration, too. From now on it runs the commands of that one.
void Server::reload_programs() {
  if (launcher_ == nullptr) return;
  launcher_->reload([this](const Result<>& reloaded) {
    if (reloaded || launcher_->has_ended()) return;
    const auto& error = reloaded.error();
    log_.error("the launcher has not read the configuration, its old commands stay",
               {{"reason", error.evidence.empty() ? error.reason : error.evidence}});
  });
}

/// Ends the process in good order. Nothing starts the launcher again except a supervisor, which
/// starts the whole program anew.
void Server::on_launcher_ended() {
  log_.error("the launcher has ended, logins by command fail and the proxy drains", {});
  status_ = kExitSoftware;
  pages_.on_launcher_ended();
  if (!draining_) drain();
}

/// Sets the limit of sessions.
void Server::apply_limits() {
  shared_.max_sessions = session_limit(descriptor_needs(state_.config, workers_.size()),
                                       descriptors_, state_.config.proxy.max_sessions);
}

}  // namespace

Result<int> serve(ServerSetup setup) {
  return Server(std::move(setup)).run();
}

}  // namespace starttls

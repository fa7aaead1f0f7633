#include "proxy/server.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sched.h>
#include <sys/resource.h>

#include "lib/net/address.h"
#include "lib/net/listener.h"
#include "lib/net/loop.h"
#include "lib/net/signals.h"
#include "lib/session/service.h"
#include "proxy/worker.h"

namespace starttls {
namespace {

/// Descriptors that are not sessions': listeners, loops, log, resolver, connection attempts.
constexpr std::size_t kReservedDescriptors = 128;
/// A session has two connections, and a third while it tries another address.
constexpr std::size_t kDescriptorsPerSession = 2;

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

/// Sessions that the descriptor limit allows; the soft limit is raised to the hard one first.
std::size_t sessions_within_limits() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));  // if not, the old limit counts
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  const auto descriptors = static_cast<std::size_t>(limit.rlim_cur);
  const auto usable =
      descriptors > 2 * kReservedDescriptors ? descriptors - kReservedDescriptors : descriptors / 2;
  return std::max<std::size_t>(1, usable / kDescriptorsPerSession);
}

using Workers = std::vector<std::unique_ptr<Worker>>;

/// Where a service listens, its real port included.
struct Bound {
  const session::Service& service;
  std::string address;
};

/// Binds the service's addresses once a worker, before any of them serves.
Result<> listen(const Workers& workers, const std::shared_ptr<const session::Service>& service,
                std::vector<Bound>& out) {
  for (const Address& wanted : service->config.listen) {
    auto first = net::bind_listener(wanted);
    if (!first) return fail(std::move(first.error()));
    out.push_back({*service, net::local_name(*first)});
    Address bound = wanted;
    if (!bound.is_unix()) bound.port = net::local_port(*first);
    // The other workers' sockets first: the first one tells which port was found.
    for (std::size_t i = 1; i < workers.size(); ++i) {
      auto socket = bound.is_unix() ? net::duplicate(*first) : net::bind_listener(bound);
      if (!socket) return fail(std::move(socket.error()));
      if (auto result = workers[i]->listen(std::move(*socket), service); !result) return result;
    }
    if (auto result = workers[0]->listen(std::move(*first), service); !result) return result;
  }
  return {};
}

}  // namespace

Services make_services(const config::Config& config, std::vector<Error>& problems) {
  const std::string hostname =
      config.proxy.hostname.empty() ? net::default_hostname() : config.proxy.hostname;
  Services services;
  for (const config::Service& service : config.services) {
    auto made = session::make_service(service, hostname);
    if (made) {
      services.push_back(std::move(*made));
    } else {
      problems.push_back(std::move(made.error()));
    }
  }
  return services;
}

Result<int> serve(const config::Config& config, const Services& services, log::Logger& log) {
  net::ignore_broken_pipes();
  for (const auto& service : services) {
    for (const std::string& warning : config::warnings(service->config)) {
      log.warn("policy", {{"service", service->config.name}, {"warning", warning}});
    }
  }

  const std::size_t possible = sessions_within_limits();
  Shared shared{.log = log, .run_id = std::random_device{}()};
  shared.max_sessions =
      config.proxy.max_sessions == 0 ? possible : std::min(config.proxy.max_sessions, possible);

  net::Loop control;
  const unsigned count = config.proxy.workers == 0 ? usable_cpus() : config.proxy.workers;
  unsigned running = count;  // of the control loop's thread
  Workers workers;
  for (unsigned i = 0; i < count; ++i) {
    workers.push_back(std::make_unique<Worker>(shared, i, [&control, &running] {
      control.post([&control, &running] {
        if (--running == 0) control.stop();
      });
    }));
  }
  std::vector<Bound> bound;
  for (const auto& service : services) {
    if (auto result = listen(workers, service, bound); !result) {
      return fail(std::move(result.error()));
    }
  }
  for (const auto& [service, address] : bound) {
    log.info("listening", {{"service", service.config.name},
                           {"protocol", service.config.protocol},
                           {"address", address}});
  }

  bool draining = false;
  const net::Signals signals(control, {SIGTERM, SIGINT, SIGUSR1}, [&](int number) {
    if (number == SIGUSR1) {
      if (auto reopened = log.open(config.log.file); !reopened) {
        log.error("log not reopened", {{"reason", reopened.error().reason}});
      }
      return;
    }
    if (draining) std::_Exit(EXIT_SUCCESS);  // asked twice: now
    draining = true;
    log.info("draining", {{"sessions", std::uint64_t{shared.sessions.load()}}});
    for (const auto& worker : workers) worker->drain(config.proxy.drain_timeout);
  });
  log.info("ready", {{"workers", std::uint64_t{count}},
                     {"hostname", services.front()->hostname},
                     {"max_sessions", std::uint64_t{shared.max_sessions}}});
  for (const auto& worker : workers) worker->start();
  control.run();
  workers.clear();  // joins
  log.info("stopped", {});
  return EXIT_SUCCESS;
}

}  // namespace starttls

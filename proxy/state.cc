#include "proxy/state.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include <sched.h>

#include "lib/base/ascii.h"
#include "lib/base/tls_mode.h"
#include "lib/config/load.h"
#include "lib/net/address.h"
#include "lib/net/loop.h"
#include "lib/proto/protocols.h"
#include "lib/tls/context.h"

namespace starttls {
namespace {

const session::Service* find_service(const State* state, const std::string& name) {
  if (state == nullptr) return nullptr;
  const auto found =
      std::find_if(state->services.begin(), state->services.end(),
                   [&name](const auto& service) { return service->config.name == name; });
  return found == state->services.end() ? nullptr : found->get();
}

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

std::shared_ptr<metrics::Registry> new_registry(unsigned workers) {
  return std::make_shared<metrics::Registry>(
      workers == 0 ? usable_cpus() : workers,
      metrics::BuildInfo{.version = STARTTLS_VERSION,
                         .libuv = std::string(ascii::after_first_word(net::library_version())),
                         .boringssl = tls::library_version()});
}

}  // namespace

std::optional<State> load_state(const CommandLine& command, const State* previous,
                                std::vector<std::string>& problems) {
  std::vector<std::string_view> protocols;
  for (const auto& protocol : proto::protocols()) protocols.push_back(protocol.name);

  State state;
  const auto right = problems.size();
  const auto found = command.config_file.empty()
                         ? config::load_flags(command.flags, protocols, state.config)
                         : config::load_file(command.config_file, protocols, state.config);
  for (const auto& problem : found) problems.push_back(problem.where + ": " + problem.text);
  if (!found.empty()) return std::nullopt;

  if (previous == nullptr && !state.config.proxy.user.empty()) {
    if (auto user = find_user(state.config.proxy.user)) {
      take_groups(*user);  // before secrets are read: a reload is to find what the start finds
      state.user = std::move(*user);
    } else {
      problems.push_back(user.error().reason);
    }
  }
  state.metrics =
      previous != nullptr ? previous->metrics : new_registry(state.config.proxy.workers);
  const std::string& configured = state.config.proxy.hostname;
  const session::Common common{
      .hostname = configured.empty() ? net::default_hostname() : configured,
      .record_codec = state.config.proxy.record_codec == config::RecordCodec::ssl
                          ? tls::RecordCodecChoice::library
                          : tls::RecordCodecChoice::automatic,
      .metrics = state.metrics.get()};
  for (const auto& service : state.config.services) {
    auto made = session::make_service(service, common, find_service(previous, service.name));
    if (made) {
      state.services.push_back(std::move(*made));
    } else {
      problems.push_back(made.error().reason);
    }
  }
  if (problems.size() > right) return std::nullopt;
  return state;
}

std::vector<std::string> watched_files(const config::Config& config) {
  std::vector<std::string> files;
  const auto add = [&files](const std::string& file) {
    if (!file.empty() && std::find(files.begin(), files.end(), file) == files.end()) {
      files.push_back(file);
    }
  };
  for (const auto& service : config.services) {
    const auto& down = service.downstream;
    const auto& up = service.upstream;
    for (const auto& [chain, key] : down.certificates) {
      add(chain);
      add(key);
    }
    add(down.client_ca);
    add(down.ticket_keys);
    add(up.certificate.chain);
    add(up.certificate.key);
    const auto verified = [](const config::Upstream& upstream) {
      return upstream.tls != TlsMode::none && upstream.verify == config::Verify::full;
    };
    const auto& rows = service.destinations;
    if (verified(up) || std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
          return verified(config::upstream_at(up, row));
        }))
      add(up.ca_file.empty() ? tls::system_trust_store() : up.ca_file);
  }
  return files;
}

}  // namespace starttls

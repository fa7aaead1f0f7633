#include "lib/metrics/metrics.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "lib/metrics/exposition.h"

namespace starttls::metrics {
namespace {

using Type = Exposition::Type;

/// A service of the page that is being written.
struct Shown {
  std::string name;
  std::shared_ptr<const Service> service;
};

/// Returns the labels of a table's cell at `index`, as `Table::at` counts the cells.
template <class... Labels>
std::array<Label, sizeof...(Labels)> labels_at(std::size_t index) {
  constexpr std::size_t kCount = sizeof...(Labels);
  std::array<Label, kCount> labels{Label{LabelOf<Labels>::kKey, {}}...};
  const std::array<std::span<const std::string_view>, kCount> names{LabelOf<Labels>::kNames...};
  for (std::size_t i = kCount; i-- > 0;) {
    labels[i].value = names[i][index % names[i].size()];
    index /= names[i].size();
  }
  return labels;
}

template <const auto& kBounds>
constexpr auto kBoundsInSeconds = [] {
  std::array<double, kBounds.size()> seconds{};
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    seconds[i] = std::chrono::duration<double>(kBounds[i]).count();
  }
  return seconds;
}();

constexpr Type type_of(const Counter*) {
  return Type::counter;
}
constexpr Type type_of(const Gauge*) {
  return Type::gauge;
}
template <const auto& kBounds>
constexpr Type type_of(const Histogram<kBounds>*) {
  return Type::histogram;
}

template <class T>
using MemberOfTables = T Tables::*;

/// A page that is being written.
class Page {
 public:
  explicit Page(std::vector<Shown> services) : services_(std::move(services)) {}

  /// Adds the family of one table: a series for each of its cells and each service.
  template <class Cell, class... Labels>
  void add(std::string_view name, std::string_view help,
           MemberOfTables<Table<Cell, Labels...>> table) {
    out_.begin(name, type_of(static_cast<const Cell*>(nullptr)), help);
    for (const auto& [service_name, service] : services_) {
      for (std::size_t i = 0; i < Table<Cell, Labels...>::kSize; ++i) {
        std::array<Label, 1 + sizeof...(Labels)> labels{Label{"service", service_name}};
        std::ranges::copy(labels_at<Labels...>(i), labels.begin() + 1);
        typename Cell::Total total{};
        for (const Tally& tally : service->tallies()) {
          (tally.tables().*table).cells()[i].add_to(total);
        }
        sample(static_cast<const Cell*>(nullptr), labels, total);
      }
    }
  }

  /// Adds a family of one number, if there is a number.
  template <class Value>
  void add(std::string_view name, Type type, std::string_view help, std::optional<Value> value) {
    out_.begin(name, type, help);
    if (value) out_.sample({}, *value);
  }

  [[nodiscard]] Exposition& out() noexcept { return out_; }

 private:
  template <class Cell>
  void sample(const Cell*, std::span<const Label> labels, typename Cell::Total total) {
    out_.sample(labels, total);
  }
  template <const auto& kBounds>
  void sample(const Histogram<kBounds>*, std::span<const Label> labels,
              const typename Histogram<kBounds>::Total& total) {
    out_.histogram(labels, kBoundsInSeconds<kBounds>, total.buckets, total.sum_seconds);
  }

  std::vector<Shown> services_;
  Exposition out_;
};

double as_seconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

void add_services(Page& page) {
  page.add("starttls_sessions_open", "Open sessions.", &Tables::sessions_open);
  page.add("starttls_sessions_total", "Ended sessions, by outcome.", &Tables::sessions);
  page.add("starttls_session_duration_seconds",
           "Time from accepting a client to the end of its session.", &Tables::session_duration);
  page.add("starttls_bytes_total", "Plaintext bytes that have passed, preludes included.",
           &Tables::bytes);
  page.add("starttls_connect_failures_total",
           "Connection attempts to server addresses that failed.", &Tables::connect_failures);
  page.add("starttls_handshakes_total", "Completed TLS handshakes.", &Tables::handshakes);
  page.add("starttls_handshake_failures_total",
           "Failed TLS handshakes, refused certificates included.", &Tables::handshake_failures);
  page.add("starttls_handshake_duration_seconds",
           "Time of completed TLS handshakes, round trips included.", &Tables::handshake_duration);
  page.add("starttls_prelude_duration_seconds",
           "Time from accepting a client to its greeting, when the server is trusted.",
           &Tables::prelude_duration);
  page.add("starttls_plaintext_fallbacks_total", "Opportunistic legs that stayed in the clear.",
           &Tables::plaintext_fallbacks);
  page.add("starttls_attacks_total",
           "Events around STARTTLS that only an attacker or a broken peer causes.",
           &Tables::attacks);
  page.add("starttls_truncations_total",
           "Legs that were cut off: TLS without close_notify, or a reset.", &Tables::truncations);
  page.add("starttls_warm_connections",
           "Connections to servers that are ready and wait for a client.",
           &Tables::warm_connections);
  page.add("starttls_logins_total",
           "Logins that have ended: of clients at the proxy, and of the proxy at servers.",
           &Tables::logins);
  page.add("starttls_secret_failures_total",
           "Requests for the secret of a login to which its source gave none.",
           &Tables::secret_failures);
}

void add_certificates(Page& page, const std::vector<CertificateExpiry>& certificates) {
  // Prometheus refuses a page with two samples of equal labels. So the labels are compared as they
  // are written.
  std::map<std::tuple<std::string, Side, std::string>, double> ends;
  for (const auto& [service, side, name, not_after] : certificates) {
    const auto end = static_cast<double>(not_after.since_1970.count());
    const auto [known, is_new] =
        ends.try_emplace({as_label_value(service), side, as_label_value(name)}, end);
    if (!is_new) known->second = std::min(known->second, end);
  }
  page.out().begin("starttls_certificate_expiry_timestamp_seconds", Type::gauge,
                   "Expiry time of a configured certificate.");
  for (const auto& [key, end] : ends) {
    const auto& [service, side, name] = key;
    page.out().sample(
        {{"service", service}, {LabelOf<Side>::kKey, starttls::name(side)}, {"name", name}}, end);
  }
}

void add_server_certificates(Page& page, const std::vector<ServerCertificateExpiry>& certificates) {
  std::map<std::pair<std::string, std::string>, double> ends;
  for (const auto& [service, server, not_after] : certificates) {
    const auto end = static_cast<double>(not_after.since_1970.count());
    const auto [known, is_new] =
        ends.try_emplace({as_label_value(service), as_label_value(server)}, end);
    if (!is_new) known->second = std::min(known->second, end);
  }
  page.out().begin(
      "starttls_server_certificate_expiry_timestamp_seconds", Type::gauge,
      "Expiry time of the certificate that a server showed at the last full handshake.");
  for (const auto& [key, end] : ends) {
    page.out().sample({{"service", key.first}, {"server", key.second}}, end);
  }
}

void add_secrets(Page& page, const std::vector<SecretExpiry>& secrets) {
  std::map<std::pair<std::string, std::string>, double> ends;
  for (const auto& [service, account, end] : secrets) {
    ends.try_emplace({as_label_value(service), as_label_value(account)},
                     end ? static_cast<double>(end->since_1970.count())
                         : std::numeric_limits<double>::quiet_NaN());
  }
  page.out().begin(
      "starttls_secret_expiry_timestamp_seconds", Type::gauge,
      "Expiry time of the last token of a configured account; NaN if it is not known.");
  for (const auto& [key, end] : ends) {
    page.out().sample({{"service", key.first}, {"account", key.second}}, end);
  }
}

/// Adds the numbers of the process. Names and words are those of Prometheus' own client libraries.
void add_process(Page& page, const ProcessStats& process) {
  page.add("process_cpu_seconds_total", Type::counter,
           "Total user and system CPU time spent in seconds.", process.cpu_seconds);
  page.add("process_open_fds", Type::gauge, "Number of open file descriptors.",
           process.open_descriptors);
  page.add("process_max_fds", Type::gauge, "Maximum number of open file descriptors.",
           process.max_descriptors);
  page.add("process_virtual_memory_bytes", Type::gauge, "Virtual memory size in bytes.",
           process.virtual_bytes);
  page.add("process_resident_memory_bytes", Type::gauge, "Resident memory size in bytes.",
           process.resident_bytes);
  page.add("process_start_time_seconds", Type::gauge,
           "Start time of the process since unix epoch in seconds.", process.start_time_seconds);
}

}  // namespace

SessionCounts Service::session_counts() const noexcept {
  SessionCounts counts;
  for (const Tally& tally : tallies_) {
    tally.tables().sessions_open.cells().front().add_to(counts.open);
    const auto& ended = tally.tables().sessions.cells();
    for (std::size_t i = 0; i < counts.ended.size(); ++i) ended[i].add_to(counts.ended[i]);
  }
  return counts;
}

Registry::Registry(unsigned workers, BuildInfo build)
    : workers_(workers), build_(std::move(build)) {}

std::shared_ptr<Service> Registry::service(const std::string& name) {
  const std::lock_guard lock(mutex_);
  std::erase_if(services_, [](const auto& each) { return each.second.expired(); });
  auto& known = services_[name];
  auto service = known.lock();
  if (service == nullptr) {
    service = std::make_shared<Service>(workers_);
    known = service;
  }
  return service;
}

std::string Registry::text(const Snapshot& facts) const {
  std::vector<Shown> services;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, known] : services_) {
      if (auto service = known.lock()) services.push_back({name, std::move(service)});
    }
  }
  Page page(std::move(services));
  page.out().begin("starttls_build_info", Type::gauge, "Versions, as labels; always 1.");
  page.out().sample({{"version", build_.version},
                     {"libuv", build_.libuv},
                     {"tls_library", build_.tls_library},
                     {"record_cipher", build_.record_cipher}},
                    std::uint64_t{1});
  add_services(page);
  add_certificates(page, facts.certificates);
  add_server_certificates(page, facts.server_certificates);
  add_secrets(page, facts.secrets);
  page.add("starttls_buffer_bytes", Type::gauge, "Bytes of payload buffers in use.",
           std::optional{facts.buffer_bytes});
  page.add("starttls_log_lines_lost_total", Type::counter,
           "Log lines that were lost because the reader was too slow or the disk was full.",
           std::optional{facts.lost_log_lines});
  page.add("starttls_config_last_reload_successful", Type::gauge,
           "1 if the last attempt to load the configuration succeeded, otherwise 0.",
           std::optional{std::uint64_t{facts.last_reload_successful}});
  page.add("starttls_config_last_reload_timestamp_seconds", Type::gauge,
           "Time when the configuration in use was loaded.",
           std::optional{as_seconds(facts.last_reload)});
  page.add("starttls_draining", Type::gauge,
           "1 if the process serves no new clients and waits for its sessions to end, otherwise 0.",
           std::optional{std::uint64_t{facts.draining}});
  add_process(page, facts.process);
  return page.out().take();
}

}  // namespace starttls::metrics

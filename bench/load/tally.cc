#include "bench/load/tally.h"

#include <cstdio>
#include <string_view>

#include <nlohmann/json.hpp>

#include "lib/base/ascii.h"

namespace starttls::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Quantile {
  std::string_view name;
  double share;
};

constexpr Quantile kQuantiles[] = {{"p10", 0.1},  {"p25", 0.25},    {"p50", 0.5},
                                   {"p75", 0.75}, {"p90", 0.9},     {"p95", 0.95},
                                   {"p99", 0.99}, {"p99.5", 0.995}, {"p99.9", 0.999}};

/// Returns quantiles in microseconds; null if nothing was measured.
Json to_json(const Histogram& histogram) {
  if (histogram.count() == 0) return nullptr;
  constexpr double kMicro = 1e3;
  Json json{{"count", histogram.count()}};
  for (const auto& [name, share] : kQuantiles) {
    json[std::string(name)] = static_cast<double>(histogram.quantile(share)) / kMicro;
  }
  json["max"] = static_cast<double>(histogram.max()) / kMicro;
  return json;
}

}  // namespace

void Tally::add_session(const Client& client) {
  if (client.engine() == nullptr) return;
  const tls::Facts facts = client.engine()->facts();
  if (facts.resumed) ++resumed_;
  const std::lock_guard lock(mutex_);
  version_ = facts.version;
  cipher_ = facts.cipher;
}

void Tally::add_error(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (errors_++ == 0) first_error_ = what;
}

void Tally::add_times(const Times& times) {
  const std::lock_guard lock(mutex_);
  times_.ready.add(times.ready);
  times_.committed.add(times.committed);
  times_.whole.add(times.whole);
}

void Tally::print() const {
  const std::chrono::duration<double> elapsed = Clock::now() - begin_;
  const Json json{{"bytes", bytes_.load()},
                  {"done", done_.load()},
                  {"resumed", resumed_.load()},
                  {"seconds", elapsed.count()},
                  {"errors", errors_.load()},
                  {"first_error", ascii::escape(first_error_)},
                  {"version", version_},
                  {"cipher", cipher_},
                  {"ready_us", to_json(times_.ready)},
                  {"committed_us", to_json(times_.committed)},
                  {"whole_us", to_json(times_.whole)}};
  std::puts(json.dump().c_str());
  std::fflush(stdout);
}

}  // namespace starttls::bench

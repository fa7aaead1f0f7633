// Reads and checks a whole configuration with ten services.

#include "lib/config/config.h"

#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "bench/micro/tls.h"
#include "lib/config/load.h"
#include "lib/proto/protocols.h"

namespace {

using namespace starttls;

constexpr int kServices = 10;

std::string make_file() {
  const auto [chain, key] = bench::certificates().pair("ecdsa");
  const auto protocols = proto::protocols();
  std::string toml = "[proxy]\nworkers = 2\nhostname = \"proxy.test\"\n";
  for (int number = 0; number < kServices; ++number) {
    toml += fmt::format(
        "[[service]]\n"
        "name = \"service-{0}\"\n"
        "protocol = \"{1}\"\n"
        "listen = [\"127.0.0.1:{2}\", \"[::1]:{2}\"]\n"
        "downstream.tls = \"opportunistic\"\n"
        "downstream.certificates = [{{ chain = \"{3}\", key = \"{4}\" }}]\n"
        "downstream.allow = [\"127.0.0.1\", \"192.168.1.0/24\"]\n"
        "upstream.address = [\"mail-1.example.com:2525\", \"mail-2.example.com:2525\"]\n"
        "upstream.ca_file = \"{5}\"\n"
        "timeouts.idle = \"1h\"\n",
        number, protocols[static_cast<std::size_t>(number) % protocols.size()].name, 2000 + number,
        chain, key, bench::certificates().ca());
  }
  return toml;
}

void config_load(benchmark::State& state) {
  const std::string toml = make_file();
  std::vector<std::string_view> protocols;
  for (const auto& protocol : proto::protocols()) protocols.push_back(protocol.name);
  for (auto _ : state) {
    config::Config config;
    const auto problems = config::load_text(toml, "/micro.toml", protocols, config);
    if (!problems.empty() || config.services.size() != kServices) {
      const std::string why = problems.empty() ? "services" : problems.front().text;
      state.SkipWithError(why.c_str());
      break;
    }
  }
}
BENCHMARK(config_load)->Unit(benchmark::kMicrosecond);

}  // namespace

// Runs both ends of a handshake. That is nearly twice the work of one leg: a server signs, a client
// verifies.

#include <string_view>

#include <benchmark/benchmark.h>

#include "bench/micro/tls.h"

namespace {

using namespace starttls;

void handshake(benchmark::State& state, TlsVersion version, std::string_view certificate,
               std::string_view server) {
  const auto contexts = bench::make_contexts(RecordCodecChoice::automatic, version, certificate);
  BufferPool pool;
  bench::Slabs slabs;
  static_cast<void>(bench::shake_hands(contexts, pool, slabs, server));  // leaves a session
  for (auto _ : state) {
    const auto ends = bench::shake_hands(contexts, pool, slabs, server);
    if (ends.client->facts().resumed != !server.empty()) {
      state.SkipWithError("not the handshake that was meant");
      break;
    }
  }
}

constexpr char kServer[] = "192.0.2.1:25";

BENCHMARK_CAPTURE(handshake, full_ecdsa, TlsVersion::tls1_3, "ecdsa", "");
BENCHMARK_CAPTURE(handshake, full_rsa, TlsVersion::tls1_3, "rsa", "");
BENCHMARK_CAPTURE(handshake, resumed, TlsVersion::tls1_3, "ecdsa", kServer);
BENCHMARK_CAPTURE(handshake, full_tls12, TlsVersion::tls1_2, "ecdsa", "");
BENCHMARK_CAPTURE(handshake, resumed_tls12, TlsVersion::tls1_2, "ecdsa", kServer);

}  // namespace

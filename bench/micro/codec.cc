// Seals and opens records, in batches as large as one read of the relay. Our own record layer is
// measured with each cipher of TLS 1.3, from bare keys. The library's is measured through an
// engine.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/micro/tls.h"
#include "lib/tls/multi_buffer.h"
#include "lib/tls/raw_codec13.h"

namespace {

using namespace starttls;

constexpr std::size_t kBatch = 256UL * 1024;  // bytes of plaintext, as in the loop's slabs
constexpr std::int64_t kRecords[] = {64, 1400, 4096, 16384};

struct Suite {
  std::uint16_t number;
  std::size_t secret_bytes;
  RecordCipher cipher = RecordCipher::library;
};
constexpr Suite kAes128{0x1301, 32};
constexpr Suite kAes256{0x1302, 48};
constexpr Suite kChaCha{0x1303, 32};
// Those of libipsec-mb, if this build and CPU have it.
constexpr Suite kFastAes128{0x1301, 32, RecordCipher::multi_buffer};
constexpr Suite kFastAes256{0x1302, 48, RecordCipher::multi_buffer};

/// The two ends of a connection: each is a codec, or an engine with the library's codec.
template <typename End>
struct Pair {
  std::unique_ptr<End> writer;
  std::unique_ptr<End> reader;
};

Pair<tls::RecordCodec> raw_pair(const Suite& suite, BufferPool& pool) {
  std::array<std::uint8_t, 48> secret{};
  secret.fill(0x5a);
  const tls::TrafficKeys keys{std::span<const std::uint8_t>{secret}.first(suite.secret_bytes)};
  const auto make = [&] {
    return tls::make_raw_codec13(suite.number, keys, keys, {.pool = pool, .cipher = suite.cipher});
  };
  Pair<tls::RecordCodec> pair{make(), make()};
  if (pair.writer == nullptr || pair.reader == nullptr) throw std::runtime_error("no such suite");
  return pair;
}

Pair<tls::Engine> library_pair(TlsVersion version, BufferPool& pool, bench::Slabs& slabs) {
  const auto contexts = bench::make_contexts(RecordCodecChoice::library, version);
  auto ends = bench::shake_hands(contexts, pool, slabs);
  return {std::move(ends.client), std::move(ends.server)};
}

/// Seals `plain` in records of `record` bytes.
template <typename End>
bool seal_batch(End& end, std::span<const std::byte> plain, std::size_t record, tls::WireOut& out) {
  while (!plain.empty()) {
    const auto piece = plain.first(std::min(record, plain.size()));
    if (!end.seal(piece, out)) return false;
    plain = plain.subspan(piece.size());
  }
  return true;
}

std::vector<std::byte> wire_room(std::size_t record) {
  return std::vector<std::byte>((kBatch / record + 2) * tls::sealed_size_bound(record));
}

template <typename End>
void seal(benchmark::State& state, const Pair<End>& pair) {
  const auto record = static_cast<std::size_t>(state.range(0));
  const std::vector<std::byte> plain(kBatch, std::byte{'x'});
  auto room = wire_room(record);
  for (auto _ : state) {
    tls::WireOut out{room};
    if (!seal_batch(*pair.writer, plain, record, out)) {
      state.SkipWithError("not sealed");
      break;
    }
    benchmark::DoNotOptimize(room.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}

template <typename End>
void open(benchmark::State& state, const Pair<End>& pair) {
  const auto record = static_cast<std::size_t>(state.range(0));
  const std::vector<std::byte> plain(kBatch, std::byte{'x'});
  std::vector<std::byte> opened_room(kBatch + 2 * tls::kMaxRecordWire);
  auto room = wire_room(record);
  std::vector<std::byte> answer(4096);
  for (auto _ : state) {
    state.PauseTiming();  // every record has a number, so it can be opened only once
    tls::WireOut wire{room};
    const bool sealed = seal_batch(*pair.writer, plain, record, wire);
    state.ResumeTiming();
    tls::WireOut out{answer};
    tls::OpenedRecords opened;
    const auto result = pair.reader->open(wire.written(), opened_room, out, opened);
    if (!sealed || !result || opened.produced != kBatch) {
      state.SkipWithError("not opened");
      break;
    }
    benchmark::DoNotOptimize(opened_room.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}

bool can_run(benchmark::State& state, const Suite& suite) {
  if (suite.cipher == RecordCipher::library || tls::multi_buffer::is_available()) return true;
  state.SkipWithError("no libipsec-mb, or no vector AES");
  return false;
}

void raw_seal(benchmark::State& state, const Suite& suite) {
  if (!can_run(state, suite)) return;
  BufferPool pool;
  seal(state, raw_pair(suite, pool));
}
void raw_open(benchmark::State& state, const Suite& suite) {
  if (!can_run(state, suite)) return;
  BufferPool pool;
  open(state, raw_pair(suite, pool));
}
void library_seal(benchmark::State& state, TlsVersion version) {
  BufferPool pool;
  bench::Slabs slabs;
  seal(state, library_pair(version, pool, slabs));
}
void library_open(benchmark::State& state, TlsVersion version) {
  BufferPool pool;
  bench::Slabs slabs;
  open(state, library_pair(version, pool, slabs));
}

void record_sizes(benchmark::internal::Benchmark* benchmark) {
  for (const auto bytes : kRecords) benchmark->Arg(bytes);
}

BENCHMARK_CAPTURE(raw_seal, aes128, kAes128)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_seal, aes256, kAes256)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_seal, chacha20, kChaCha)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_seal, fast_aes128, kFastAes128)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_seal, fast_aes256, kFastAes256)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_open, aes128, kAes128)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_open, aes256, kAes256)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_open, chacha20, kChaCha)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_open, fast_aes128, kFastAes128)->Apply(record_sizes);
BENCHMARK_CAPTURE(raw_open, fast_aes256, kFastAes256)->Apply(record_sizes);
BENCHMARK_CAPTURE(library_seal, tls13, TlsVersion::tls1_3)->Apply(record_sizes);
BENCHMARK_CAPTURE(library_open, tls13, TlsVersion::tls1_3)->Apply(record_sizes);
BENCHMARK_CAPTURE(library_seal, tls12, TlsVersion::tls1_2)->Apply(record_sizes);
BENCHMARK_CAPTURE(library_open, tls12, TlsVersion::tls1_2)->Apply(record_sizes);

}  // namespace

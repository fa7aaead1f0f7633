#include "lib/metrics/server_certificates.h"

#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

using starttls::UnixTime;
using starttls::metrics::ServerCertificates;

namespace {

UnixTime end_at(int seconds) {
  return {std::chrono::seconds{seconds}};
}

}  // namespace

TEST_CASE("server certificates: the last one of each server is kept", "[base][metrics]") {
  ServerCertificates all;
  CHECK(all.all().empty());
  all.note("a:25", end_at(1));
  all.note("b:25", end_at(2));
  all.note("a:25", end_at(3));
  const auto seen = all.all();
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].server == "b:25");
  CHECK(seen[1].server == "a:25");
  CHECK(seen[1].not_after == end_at(3));
}

TEST_CASE("server certificates: only the last servers are kept", "[base][metrics][security]") {
  ServerCertificates all;
  constexpr int kServers = 1000;
  for (int i = 0; i < kServers; ++i) {
    all.note("server-" + std::to_string(i), end_at(i));
    CHECK(all.all().size() <= ServerCertificates::kMaxServers);
  }
  const auto seen = all.all();
  REQUIRE(seen.size() == ServerCertificates::kMaxServers);
  CHECK(seen.front().not_after ==
        end_at(kServers - static_cast<int>(ServerCertificates::kMaxServers)));
  CHECK(seen.back().server == "server-999");
}

TEST_CASE("server certificates: workers write while a page is made", "[base][metrics][threads]") {
  ServerCertificates all;
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 2; ++worker) {
    workers.emplace_back([&all, worker] {
      for (int i = 0; i < 2000; ++i) {
        all.note(std::to_string((i * 2 + worker) % 40), end_at(i));
      }
    });
  }
  for (int i = 0; i < 200; ++i) CHECK(all.all().size() <= ServerCertificates::kMaxServers);
  for (auto& worker : workers) worker.join();
  CHECK(all.all().size() == ServerCertificates::kMaxServers);
}

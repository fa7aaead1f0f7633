#include "lib/metrics/metrics.h"

#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/exposition_page.h"

using namespace std::chrono_literals;
using namespace starttls;
using metrics::Direction;
using metrics::LoginOutcome;
using metrics::LoginSide;
using metrics::Registry;
using metrics::SecretFailure;
using metrics::Tally;
using test::Page;

namespace {

constexpr unsigned kWorkers = 2;

metrics::BuildInfo build() {
  return {.version = "0.1.0",
          .libuv = "1.44.2",
          .tls_library = "AWS-LC 5",
          .record_cipher = "AWS-LC 5"};
}

/// Returns facts that do not change.
metrics::Snapshot facts() {
  metrics::Snapshot facts;
  facts.buffer_bytes = 65536;
  facts.lost_log_lines = 12;
  facts.last_reload = std::chrono::system_clock::time_point{1'700'000'000'500ms};
  facts.process = {.cpu_seconds = 1.25,
                   .start_time_seconds = 1.7e9,
                   .virtual_bytes = 1000,
                   .resident_bytes = 500,
                   .open_descriptors = 7,
                   .max_descriptors = 1024};
  return facts;
}

Page page(const Registry& registry) {
  return Page{registry.text(facts())};
}

}  // namespace

TEST_CASE("metrics: a page without services is complete", "[base][metrics]") {
  const Registry registry{kWorkers, build()};
  const Page shown = page(registry);
  CHECK(shown.value("starttls_build_info", {{"version", "0.1.0"},
                                            {"libuv", "1.44.2"},
                                            {"tls_library", "AWS-LC 5"},
                                            {"record_cipher", "AWS-LC 5"}}) == 1);
  CHECK(shown.value("starttls_buffer_bytes") == 65536);
  CHECK(shown.value("starttls_log_lines_lost_total") == 12);
  CHECK(shown.value("starttls_config_last_reload_successful") == 1);
  CHECK(shown.value("starttls_config_last_reload_timestamp_seconds") == 1'700'000'000.5);
  CHECK(shown.value("process_cpu_seconds_total") == 1.25);
  CHECK(shown.value("process_open_fds") == 7);
  CHECK(shown.value("process_max_fds") == 1024);
  CHECK(shown.value("process_virtual_memory_bytes") == 1000);
  CHECK(shown.value("process_resident_memory_bytes") == 500);
  CHECK(shown.value("process_start_time_seconds") == 1.7e9);
}

TEST_CASE("metrics: a value that the system does not report is not on the page",
          "[base][metrics]") {
  const Registry registry{kWorkers, build()};
  const Page shown{registry.text({.last_reload_successful = false})};
  CHECK(shown.value("starttls_config_last_reload_successful") == 0);
  CHECK(shown.value("starttls_draining") == 0);
  CHECK(Page{registry.text({.draining = true})}.value("starttls_draining") == 1);
  CHECK(!shown.has("process_open_fds"));
  CHECK(!shown.has("process_cpu_seconds_total"));
}

TEST_CASE("metrics: all series of a service start at zero", "[base][metrics]") {
  Registry registry{kWorkers, build()};
  const auto office = registry.service("office");
  const Page shown = page(registry);
  const std::vector<std::pair<std::string, std::size_t>> families = {
      {"starttls_sessions_open", 1},
      {"starttls_sessions_total", 2 + kErrcCount},
      {"starttls_session_duration_seconds", 15},
      {"starttls_bytes_total", 2},
      {"starttls_connect_failures_total", 4},
      {"starttls_handshakes_total", 2 * 4 * 2 * 6},
      {"starttls_handshake_failures_total", 2 * 6},
      {"starttls_handshake_duration_seconds", 2 * 15},
      {"starttls_prelude_duration_seconds", 15},
      {"starttls_plaintext_fallbacks_total", 2},
      {"starttls_attacks_total", 2 * 3},
      {"starttls_truncations_total", 2},
      {"starttls_warm_connections", 1},
      {"starttls_logins_total", 2 * 5 * 3},
      {"starttls_secret_failures_total", 7}};
  for (const auto& [name, series] : families) {
    INFO(name);
    const auto& family = shown.family(name);
    CHECK(family.samples.size() == series);
    for (const auto& sample : family.samples) {
      CHECK(sample.value == 0);
      CHECK(sample.labels.at("service") == "office");
    }
  }
}

TEST_CASE("metrics: each step of a session counts in its series", "[base][metrics]") {
  Registry registry{kWorkers, build()};
  const auto office = registry.service("office");
  Tally& metrics_ = office->of_worker(0);

  metrics_.session_opened();
  metrics_.connect_failed(Errc::unreachable);
  metrics_.connect_failed(Errc::limit);  // unexpected here, but still counted
  metrics_.handshake_failed(Side::upstream, Errc::certificate);
  metrics_.handshake_done(
      {Side::upstream, TlsVersion::tls1_3, TlsGroup::x25519_mlkem768, false, 3ms});
  metrics_.handshake_done({Side::downstream, TlsVersion::tls1_2, TlsGroup::p256, true, 11s});
  metrics_.prelude_ended(40ms);
  metrics_.plaintext_fallback(Side::downstream);
  metrics_.attacked(Side::upstream, Attack::preauth);
  metrics_.bytes(Direction::to_server, 1000);
  metrics_.bytes(Direction::to_server, 24);
  metrics_.bytes(Direction::to_client, 7);
  metrics_.truncated(Side::upstream);
  metrics_.warm_connections(3);
  metrics_.warm_connections(-1);
  metrics_.logged_in(LoginSide::client, Mechanism::plain, LoginOutcome::ok);
  metrics_.logged_in(LoginSide::server, Mechanism::xoauth2, LoginOutcome::login);
  metrics_.secret_failed(SecretFailure::timeout);

  const auto with = [](std::map<std::string, std::string> labels) {
    labels.emplace("service", "office");
    return labels;
  };
  {
    const Page shown = page(registry);
    CHECK(shown.value("starttls_sessions_open", with({})) == 1);
    CHECK(shown.value("starttls_connect_failures_total", with({{"reason", "unreachable"}})) == 1);
    CHECK(shown.value("starttls_connect_failures_total", with({{"reason", "other"}})) == 1);
    CHECK(shown.value("starttls_handshake_failures_total",
                      with({{"leg", "upstream"}, {"reason", "certificate"}})) == 1);
    CHECK(shown.value("starttls_handshakes_total", with({{"leg", "upstream"},
                                                         {"version", "TLSv1.3"},
                                                         {"resumed", "false"},
                                                         {"group", "X25519MLKEM768"}})) == 1);
    CHECK(shown.value("starttls_handshakes_total", with({{"leg", "downstream"},
                                                         {"version", "TLSv1.2"},
                                                         {"resumed", "true"},
                                                         {"group", "P-256"}})) == 1);
    const std::string took = "starttls_handshake_duration_seconds";
    CHECK(shown.value(took + "_bucket", with({{"leg", "upstream"}, {"le", "0.0025"}})) == 0);
    CHECK(shown.value(took + "_bucket", with({{"leg", "upstream"}, {"le", "0.005"}})) == 1);
    CHECK(shown.value(took + "_sum", with({{"leg", "upstream"}})) == Approx(0.003));
    CHECK(shown.value(took + "_bucket", with({{"leg", "downstream"}, {"le", "10"}})) == 0);
    CHECK(shown.value(took + "_bucket", with({{"leg", "downstream"}, {"le", "+Inf"}})) == 1);
    CHECK(shown.value("starttls_prelude_duration_seconds_count", with({})) == 1);
    CHECK(shown.value("starttls_plaintext_fallbacks_total", with({{"leg", "downstream"}})) == 1);
    CHECK(shown.value("starttls_plaintext_fallbacks_total", with({{"leg", "upstream"}})) == 0);
    CHECK(shown.value("starttls_attacks_total", with({{"leg", "upstream"}, {"kind", "preauth"}})) ==
          1);
    CHECK(shown.value("starttls_bytes_total", with({{"direction", "to_server"}})) == 1024);
    CHECK(shown.value("starttls_bytes_total", with({{"direction", "to_client"}})) == 7);
    CHECK(shown.value("starttls_truncations_total", with({{"leg", "upstream"}})) == 1);
    CHECK(shown.value("starttls_warm_connections", with({})) == 2);
    CHECK(shown.value("starttls_logins_total",
                      with({{"side", "client"}, {"mechanism", "plain"}, {"outcome", "ok"}})) == 1);
    CHECK(shown.value("starttls_logins_total",
                      with({{"side", "server"}, {"mechanism", "xoauth2"}, {"outcome", "login"}})) ==
          1);
    CHECK(shown.value("starttls_secret_failures_total", with({{"reason", "timeout"}})) == 1);
  }
  metrics_.session_ended(Outcome::truncated(), 90s);
  const Page shown = page(registry);
  CHECK(shown.value("starttls_sessions_open", with({})) == 0);
  CHECK(shown.value("starttls_sessions_total", with({{"outcome", "truncated"}})) == 1);
  CHECK(shown.value("starttls_session_duration_seconds_bucket", with({{"le", "60"}})) == 0);
  CHECK(shown.value("starttls_session_duration_seconds_bucket", with({{"le", "300"}})) == 1);
  CHECK(shown.value("starttls_session_duration_seconds_sum", with({})) == 90);
}

TEST_CASE("metrics: each error that ends a session has its outcome", "[base][metrics]") {
  Registry registry{kWorkers, build()};
  const auto office = registry.service("office");
  Tally& tally = office->of_worker(1);
  CHECK(name(Outcome::ok()) == "ok");
  for (std::size_t i = 0; i < kErrcCount; ++i) {
    const auto code = static_cast<Errc>(i);
    CHECK(name(Outcome{code}) == name(code));
    CHECK(name(code) != "unknown");
    for (std::size_t times = 0; times <= i; ++times) tally.session_ended(code, 1ms);
  }
  CHECK(name(static_cast<Errc>(kErrcCount)) == "unknown");  // there are no more
  const Page shown = page(registry);
  for (std::size_t i = 0; i < kErrcCount; ++i) {
    CHECK(shown.value(
              "starttls_sessions_total",
              {{"service", "office"}, {"outcome", std::string{name(static_cast<Errc>(i))}}}) ==
          static_cast<double>(i + 1));
  }
}

TEST_CASE("metrics: a bucket includes its upper bound", "[base][metrics]") {
  static constexpr std::array<std::chrono::microseconds, 2> kBounds{1ms, 2ms};
  Histogram<kBounds> histogram;
  for (const auto took : {-1ns, 0ns, 1'000'000ns, 1'000'001ns, 2'000'000ns, 2'000'001ns}) {
    histogram.observe(took);
  }
  Histogram<kBounds>::Total total;
  histogram.add_to(total);
  CHECK(total.buckets == std::array<std::uint64_t, 3>{3, 2, 1});
  CHECK(total.sum_seconds == Approx(0.006000001));
}

TEST_CASE("metrics: the page sums the workers, service by service", "[base][metrics]") {
  Registry registry{3, build()};
  const auto office = registry.service("office");
  const auto archive = registry.service("archive");
  for (unsigned worker = 0; worker < 3; ++worker) {
    office->of_worker(worker).session_opened();
    office->of_worker(worker).bytes(Direction::to_client, 10);
  }
  archive->of_worker(2).session_opened();
  // A gauge may go down on one worker and up on another.
  office->of_worker(0).warm_connections(-2);
  office->of_worker(1).warm_connections(5);
  const Page shown = page(registry);
  CHECK(shown.value("starttls_sessions_open", {{"service", "office"}}) == 3);
  CHECK(shown.value("starttls_sessions_open", {{"service", "archive"}}) == 1);
  CHECK(shown.value("starttls_bytes_total", {{"service", "office"}, {"direction", "to_client"}}) ==
        30);
  CHECK(shown.value("starttls_warm_connections", {{"service", "office"}}) == 3);
  // Services are sorted by name, not by the order in which they came.
  CHECK(shown.family("starttls_sessions_open").samples[0].labels.at("service") == "archive");
  CHECK(registry.text(facts()) == registry.text(facts()));
}

TEST_CASE("metrics: a service that a reload keeps goes on counting", "[base][metrics]") {
  Registry registry{kWorkers, build()};
  auto old = registry.service("office");
  old->of_worker(0).session_opened();
  auto fresh = registry.service("office");
  CHECK(fresh == old);
  old.reset();
  fresh->of_worker(0).session_opened();
  CHECK(page(registry).value("starttls_sessions_open", {{"service", "office"}}) == 2);
}

TEST_CASE("metrics: a removed service disappears with its last session", "[base][metrics]") {
  Registry registry{kWorkers, build()};
  auto configured = registry.service("office");
  auto session = configured;
  configured->of_worker(0).session_opened();
  configured.reset();
  CHECK(page(registry).value("starttls_sessions_open", {{"service", "office"}}) == 1);
  session.reset();
  CHECK_THROWS(page(registry).family("starttls_sessions_open"));
  const auto again = registry.service("office");
  CHECK(page(registry).value("starttls_sessions_open", {{"service", "office"}}) == 0);
}

TEST_CASE("metrics: certificates have distinct series, and no sample is there twice",
          "[base][metrics]") {
  const auto at = [](std::int64_t seconds) { return UnixTime{std::chrono::seconds{seconds}}; };
  const Registry registry{kWorkers, build()};
  auto all = facts();
  all.certificates = {{"office", Side::downstream, "mail.test", at(2000)},
                      {"office", Side::upstream, "mail.test", at(3000)},
                      {"archive", Side::downstream, "mail.test", at(4000)},
                      {"office", Side::downstream, "mail.test", at(1000)},
                      {"office", Side::downstream, "a\xFF", at(5000)},
                      {"office", Side::downstream, "a\xFE", at(6000)},
                      {"office", Side::downstream, "old", at(-5)},
                      {"office", Side::downstream, "endless", at(253'402'300'799)}};
  const Page shown{registry.text(all)};
  const std::string name = "starttls_certificate_expiry_timestamp_seconds";
  const auto end = [&](const char* service, const char* leg, const char* cert) {
    return shown.value(name, {{"service", service}, {"leg", leg}, {"name", cert}});
  };
  CHECK(end("office", "downstream", "mail.test") == 1000);
  CHECK(end("office", "upstream", "mail.test") == 3000);
  CHECK(end("archive", "downstream", "mail.test") == 4000);
  CHECK(end("office", "downstream", "a\xEF\xBF\xBD") == 5000);
  CHECK(end("office", "downstream", "old") == -5);
  CHECK(end("office", "downstream", "endless") == 253'402'300'799);  // T1: the year 9999
}

TEST_CASE("metrics: each server's certificate has one series, and the one that ends first counts",
          "[base][metrics]") {
  const auto at = [](std::int64_t seconds) { return UnixTime{std::chrono::seconds{seconds}}; };
  const Registry registry{kWorkers, build()};
  auto all = facts();
  all.server_certificates = {{"office", "smtp.example.com:587", at(2000)},
                             {"archive", "smtp.example.com:587", at(3000)},
                             {"office", "unix:/run/\xFF", at(9000)},
                             {"office", "unix:/run/\xFE", at(5000)},
                             {"office", "x\"} 1\nstarttls_forged 1", at(253'402'300'799)}};
  const Page shown{registry.text(all)};
  const auto end = [&](const char* service, const char* server) {
    return shown.value("starttls_server_certificate_expiry_timestamp_seconds",
                       {{"service", service}, {"server", server}});
  };
  CHECK(end("office", "smtp.example.com:587") == 2000);
  CHECK(end("archive", "smtp.example.com:587") == 3000);
  CHECK(end("office", "unix:/run/\xEF\xBF\xBD") == 5000);
  CHECK(end("office", "x\"} 1\nstarttls_forged 1") == 253'402'300'799);
  CHECK_THROWS(shown.family("starttls_forged"));
}

TEST_CASE("metrics: sessions are summed over workers, by outcome", "[base][metrics]") {
  Registry registry{2, build()};
  const auto office = registry.service("office");
  for (unsigned worker = 0; worker < 2; ++worker) {
    for (int i = 0; i < 3; ++i) office->of_worker(worker).session_opened();
    office->of_worker(worker).session_ended(Outcome::ok(), 1ms);
  }
  office->of_worker(1).session_ended(Errc::timeout, 1ms);
  const auto counts = office->session_counts();
  CHECK(counts.open == 3);
  CHECK(counts.ended[Outcome::ok().index()] == 2);
  CHECK(counts.ended[Outcome{Errc::timeout}.index()] == 1);
  CHECK(counts.ended[Outcome::truncated().index()] == 0);
}

TEST_CASE("metrics: each account's token has one series, with an unknown end too",
          "[base][metrics][login]") {
  const Registry registry{kWorkers, build()};
  auto all = facts();
  all.secrets = {{"office", "scan@example.com", UnixTime{std::chrono::seconds{2000}}},
                 {"office", "scan@example.com", UnixTime{std::chrono::seconds{3000}}},
                 {"office", "erp@example.com", std::nullopt}};
  const Page shown{registry.text(all)};
  const auto end = [&](const char* account) {
    return shown.value("starttls_secret_expiry_timestamp_seconds",
                       {{"service", "office"}, {"account", account}});
  };
  CHECK(end("scan@example.com") == 2000);
  CHECK(std::isnan(end("erp@example.com")));
}

TEST_CASE("metrics: no name can forge a series", "[base][metrics][security]") {
  Registry registry{kWorkers, build()};
  const std::string evil = "x\"} 1\nstarttls_forged 1\n\\";
  const auto service = registry.service(evil);
  service->of_worker(0).session_opened();
  const Page shown = page(registry);
  CHECK(shown.value("starttls_sessions_open", {{"service", evil}}) == 1);
  CHECK_THROWS(shown.family("starttls_forged"));
}

TEST_CASE("metrics: workers count while pages are read and services come and go",
          "[base][metrics][threads]") {
  constexpr std::uint64_t kSessions = 20'000;
  Registry registry{kWorkers, build()};
  const auto office = registry.service("office");
  std::atomic<unsigned> running{kWorkers};
  std::vector<std::thread> workers;
  for (unsigned index = 0; index < kWorkers; ++index) {
    workers.emplace_back([&, index] {
      Tally& tally = office->of_worker(index);
      for (std::uint64_t i = 0; i < kSessions; ++i) {
        tally.session_opened();
        tally.bytes(Direction::to_server, 3);
        tally.handshake_done({Side::upstream, TlsVersion::tls1_3, TlsGroup::x25519, true, 1ms});
        tally.session_ended(Outcome::ok(), 20ms);
        if (i % 100 == 0) static_cast<void>(registry.service(index == 0 ? "office" : "brief"));
      }
      --running;
    });
  }
  double ended = 0;
  do {
    const Page shown = page(registry);  // throws if the page is torn
    const double now =
        shown.value("starttls_sessions_total", {{"service", "office"}, {"outcome", "ok"}});
    CHECK(now >= ended);
    ended = now;
    static_cast<void>(registry.service("reloaded"));
  } while (running > 0);
  for (auto& worker : workers) worker.join();

  const Page shown = page(registry);
  const auto total = static_cast<double>(kWorkers * kSessions);
  CHECK(shown.value("starttls_sessions_open", {{"service", "office"}}) == 0);
  CHECK(shown.value("starttls_sessions_total", {{"service", "office"}, {"outcome", "ok"}}) ==
        total);
  CHECK(shown.value("starttls_bytes_total", {{"service", "office"}, {"direction", "to_server"}}) ==
        3 * total);
  CHECK(shown.value("starttls_session_duration_seconds_count", {{"service", "office"}}) == total);
  CHECK(shown.value("starttls_session_duration_seconds_sum", {{"service", "office"}}) ==
        Approx(0.02 * total));
}

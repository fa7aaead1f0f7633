#include "lib/session/credentials/client_login.h"

#include <memory>
#include <optional>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::chrono_literals;

namespace {

/// The waits of a service that passes passwords on.
struct LoginPlayer {
  static config::Service service() {
    config::Service translating;
    translating.login.emplace();
    return translating;
  }

  std::unique_ptr<net::Loop> loop = net::Loop::create().value();
  net::Resolver resolver{*loop};
  NoPrograms programs{*loop};
  SecretStore secrets{*loop, resolver, programs};
  net::WorkPool work;
  metrics::Tally tally;
  std::optional<Accounts> accounts{service()};
  std::optional<ClientLogin> login{std::in_place,
                                   WorkerContext{*loop, resolver, work, secrets, tally}, *accounts};
};

}  // namespace

TEST_CASE("client login: it is over once the result is known and no wait is left",
          "[session][login]") {
  LoginPlayer it;
  it.login->begin(5ms);
  CHECK(it.login->began_at() == 5ms);
  CHECK_FALSE(it.login->is_over());
  CHECK(it.login->take_result(nullptr) == nullptr);
  const proto::LoginReport report;
  it.login->pause([&] { it.loop->stop(); });
  CHECK(it.login->take_result(&report) == &report);
  CHECK_FALSE(it.login->is_over());
  it.loop->run();
  CHECK(it.login->is_over());
}

TEST_CASE("client login: a result counts once per login", "[session][login]") {
  LoginPlayer it;
  const proto::LoginReport report;
  it.login->begin(1ms);
  CHECK(it.login->take_result(&report) == &report);
  CHECK(it.login->take_result(&report) == nullptr);
  it.login->begin(2ms);
  CHECK(it.login->take_result(&report) == &report);
}

TEST_CASE("client login: a refusal waits, and a second pause does not delay it",
          "[session][login][security]") {
  LoginPlayer it;
  int first = 0;
  int second = 0;
  const auto before = it.loop->now();
  it.login->pause([&] {
    ++first;
    it.loop->stop();
  });
  it.login->pause([&] { ++second; });
  it.loop->run();
  CHECK(it.loop->now() - before >= proto::kRefusalDelay);
  CHECK(first == 1);
  CHECK(second == 0);
  CHECK_FALSE(it.login->is_pausing());
}

TEST_CASE("client login: the end of a session stops all waits", "[session][login]") {
  LoginPlayer it;
  it.login->pause([] { FAIL("a pause that was stopped is over"); });
  proto::LoginRequest request;
  request.name = "ann";
  it.login->ask(request, [](const Result<proto::Credentials>&) { FAIL("an answer came"); });
  CHECK(it.login->is_waiting());
  it.login->stop();
  CHECK_FALSE(it.login->is_waiting());
  // A later pause ends after all that could still come.
  ClientLogin later{WorkerContext{*it.loop, it.resolver, it.work, it.secrets, it.tally},
                    *it.accounts};
  later.pause([&] { it.loop->stop(); });
  it.loop->run();
}

TEST_CASE("client login: the waits may be destroyed by their own end", "[session][login]") {
  LoginPlayer it;
  proto::LoginRequest request;
  request.name = "ann";
  it.login->ask(request, [&](const Result<proto::Credentials>& given) {
    CHECK(given);
    it.login.reset();
    it.loop->stop();
  });
  it.loop->run();
  it.login.emplace(WorkerContext{*it.loop, it.resolver, it.work, it.secrets, it.tally},
                   *it.accounts);
  it.login->pause([&] {
    it.login.reset();
    it.loop->stop();
  });
  it.loop->run();
  CHECK_FALSE(it.login);
}

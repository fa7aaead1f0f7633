#include "lib/session/credentials/desk.h"

#include <functional>
#include <future>
#include <string>
#include <vector>

#include "lib/session/credentials/password.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using namespace starttls::session;

namespace {

// The lanes of a service's work.
constexpr std::uint8_t kHashing = 0;
constexpr std::uint8_t kReading = 1;

constexpr std::string_view kSesame =
    "$5$rounds=1000$saltsalt$nKsyTQBmKz4GdCft0Sv/FbzLiu0y3wFdEXOzudLQLJ5";

/// A service with one account. Its secret is in a file.
struct DeskPlayer {
  explicit DeskPlayer(std::string_view password = "pw") {
    service.login.emplace();
    config::Account row;
    row.name = "scanner";
    row.password = Secret{password};
    row.user = "scan@example.com";
    row.source.file = folder.write("secret", "hunter2\n");
    service.accounts = {row};
    REQUIRE(work.start());
  }

  /// Asks, and runs the loop until the answer is there.
  Result<proto::Credentials> ask(std::string name, std::string_view password,
                                 bool refused = false) {
    std::optional<Result<proto::Credentials>> answer;
    start(std::move(name), password, refused, [&](Result<proto::Credentials> given) {
      answer = std::move(given);
      loop->stop();
    });
    CHECK_FALSE(answer);  // never from inside the call
    loop->run();
    REQUIRE(answer);
    CHECK_FALSE(desk->is_asking());
    return std::move(*answer);
  }
  void start(std::string name, std::string_view password, bool refused,
             CredentialsDesk::OnAnswer on_answer) {
    if (desk == nullptr) {
      accounts.emplace(service);
      desk = std::make_unique<CredentialsDesk>(WorkerContext{*loop, resolver, work, secrets, tally},
                                               *accounts);
    }
    proto::LoginRequest request;
    request.name = std::move(name);
    request.password = Secret{password};
    request.refused = refused;
    desk->ask(request, std::move(on_answer));
  }
  std::uint64_t failures(metrics::SecretFailure reason) {
    return tally.tables().secret_failures.cells()[static_cast<std::size_t>(reason)].value();
  }

  TemporaryFolder folder;
  config::Service service;
  std::unique_ptr<net::Loop> loop = net::Loop::create().value();
  net::Resolver resolver{*loop};
  NoPrograms programs{*loop};
  SecretStore secrets{*loop, resolver, programs};
  metrics::Tally tally;
  std::optional<Accounts> accounts;
  net::WorkPool work;
  std::unique_ptr<CredentialsDesk> desk;
};

}  // namespace

TEST_CASE("credentials: the right password gets the secret that is in the file now",
          "[session][login]") {
  DeskPlayer it;
  const auto first = it.ask("scanner", "pw").value();
  CHECK(first.user == "scan@example.com");
  CHECK(first.secret == Secret{"hunter2"});
  it.folder.write("secret", "hunter3\n");
  CHECK(it.ask("scanner", "pw").value().secret == Secret{"hunter3"});
}

TEST_CASE("credentials: a wrong name and a wrong password get one answer",
          "[session][login][security]") {
  for (const auto password : {std::string_view{"pw"}, kSesame}) {
    DeskPlayer it{password};
    const auto wrong_password = it.ask("scanner", "px").error();
    const auto wrong_name = it.ask("printer", "pw").error();
    CHECK(wrong_password.code == Errc::client_login);
    CHECK(wrong_name.code == wrong_password.code);
    CHECK(wrong_name.reason == wrong_password.reason);
    CHECK(wrong_name.evidence == wrong_password.evidence);
  }
}

TEST_CASE("credentials: a hash is checked", "[session][login][security]") {
  DeskPlayer it{kSesame};
  CHECK(it.ask("scanner", "open sesame").value().secret == Secret{"hunter2"});
  CHECK(it.ask("scanner", std::string{kSesame}).error().code == Errc::client_login);
}

TEST_CASE("credentials: no source is asked for a client with a wrong password",
          "[session][login][security]") {
  DeskPlayer it;
  it.service.accounts.front().source.file = it.folder.file("missing");
  CHECK(it.ask("scanner", "px").error().code == Errc::client_login);
  CHECK(it.failures(metrics::SecretFailure::unreadable) == 0);
  CHECK(it.ask("scanner", "pw").error().code == Errc::login);
  CHECK(it.failures(metrics::SecretFailure::unreadable) == 1);
}

TEST_CASE("credentials: a refused secret is given again only if it has changed",
          "[session][login]") {
  DeskPlayer it;
  REQUIRE(it.ask("scanner", "pw"));
  const auto same = it.ask("scanner", "pw", true).error();
  CHECK(same.code == Errc::login);
  CHECK(same.reason == "the server refuses the secret, and its source has no other");
  it.folder.write("secret", "hunter3\n");
  CHECK(it.ask("scanner", "pw", true).value().secret == Secret{"hunter3"});
}

TEST_CASE("credentials: a request that is given up is not answered", "[session][login]") {
  for (const auto password : {std::string_view{"pw"}, kSesame}) {
    DeskPlayer it{password};
    bool first = false;
    it.start("scanner", "open sesame", false,
             [&](const Result<proto::Credentials>&) { first = true; });
    CHECK(it.desk->is_asking());
    it.desk->cancel();
    CHECK_FALSE(it.desk->is_asking());
    CHECK(it.ask("printer", "x").error().code == Errc::client_login);
    CHECK_FALSE(first);
  }
}

TEST_CASE("credentials: the desk may be destroyed by its answer", "[session][login]") {
  DeskPlayer it;
  it.start("scanner", "pw", false, [&](const Result<proto::Credentials>& given) {
    CHECK(given);
    it.desk.reset();
    it.loop->stop();
  });
  it.loop->run();
  CHECK(it.desk == nullptr);
}

TEST_CASE("credentials: too many logins at once fail for now, and only for now",
          "[session][login][security]") {
  DeskPlayer it{kSesame};
  REQUIRE(it.ask("scanner", "open sesame"));
  std::promise<void> arrived;
  std::promise<void> gate;
  const auto job = [&](std::function<bool()> work) {
    return it.work.run<bool>(*it.loop, {&*it.accounts, kHashing}, std::move(work), [](bool) {});
  };
  std::vector<std::unique_ptr<net::WorkPool::Job>> flood;
  flood.push_back(job([&arrived, opened = gate.get_future().share()] {
    arrived.set_value();
    opened.wait();
    return true;
  }));
  arrived.get_future().wait();
  while (auto next = job([] { return true; })) flood.push_back(std::move(next));
  const auto busy = it.ask("scanner", "open sesame").error();
  CHECK(busy.code == Errc::login);
  CHECK(busy.reason == "too many logins are under way");
  flood.clear();
  gate.set_value();
  CHECK(it.ask("scanner", "open sesame"));
}

TEST_CASE("credentials: without threads a file is not read on the loop", "[session][login]") {
  DeskPlayer it;
  net::WorkPool idle;
  it.accounts.emplace(it.service);
  it.desk = std::make_unique<CredentialsDesk>(
      WorkerContext{*it.loop, it.resolver, idle, it.secrets, it.tally}, *it.accounts);
  CHECK(it.ask("scanner", "pw").error().code == Errc::login);
  CHECK(it.failures(metrics::SecretFailure::busy) == 1);
  it.desk.reset();
}

TEST_CASE("credentials: a source that takes too long fails for now", "[session][login]") {
  DeskPlayer it;
  it.service.login->timeout = std::chrono::milliseconds{1};
  REQUIRE(it.ask("scanner", "px").error().code == Errc::client_login);
  std::promise<void> gate;
  const auto held = it.work.run<bool>(
      *it.loop, {&*it.accounts, kReading},
      [opened = gate.get_future().share()] {
        opened.wait();
        return true;
      },
      [](bool) {});
  const auto late = it.ask("scanner", "pw").error();
  gate.set_value();
  CHECK(late.code == Errc::login);
  CHECK(late.reason == "the secret did not come in time");
  CHECK(late.timed_out);
  CHECK(it.failures(metrics::SecretFailure::timeout) == 1);
}

TEST_CASE("credentials: a program is not asked for a client with a wrong password",
          "[session][login][security]") {
  DeskPlayer it;
  it.service.accounts.front().source = {.command = {"/bin/p"}};
  CHECK(it.ask("scanner", "px").error().code == Errc::client_login);
  CHECK(it.failures(metrics::SecretFailure::unreachable) == 0);
  const auto failed = it.ask("scanner", "pw").error();
  CHECK(failed.code == Errc::login);
  CHECK(failed.reason == "no process is there to run the program of the secret");
  CHECK_FALSE(failed.timed_out);
  CHECK(it.failures(metrics::SecretFailure::unreachable) == 1);
}

TEST_CASE("credentials: the end of a token in a file is noted for a configured account",
          "[session][login]") {
  DeskPlayer it;
  it.service.name = "office";
  it.service.accounts.front().token = true;
  it.folder.write("secret", "{\"access_token\":\"t\",\"expires_on\":4000000000}\n");
  CHECK(it.ask("scanner", "pw").value().secret == Secret{"t"});
  it.loop->post([&] { it.loop->stop(); });
  it.loop->run();
  CHECK(it.secrets.end_of("office", "scan@example.com") ==
        UnixTime{std::chrono::seconds{4'000'000'000}});
}

TEST_CASE("credentials: the end of a token is noted for an account that only a row's name gives",
          "[session][login]") {
  for (const std::string name : {"scanner", "*"}) {
    CAPTURE(name);
    DeskPlayer it;
    it.service.name = "office";
    auto& row = it.service.accounts.front();
    row.name = name;
    row.user.clear();
    row.token = true;
    it.folder.write("secret", "{\"access_token\":\"t\",\"expires_on\":4000000000}\n");
    CHECK(it.ask("scanner", "pw").value().user == "scanner");
    it.loop->post([&] { it.loop->stop(); });
    it.loop->run();
    CHECK(it.secrets.end_of("office", "scanner").has_value() == (name == "scanner"));
  }
}

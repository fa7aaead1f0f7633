#include "lib/session/credentials/secret_store.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::chrono_literals;

namespace {

/// Notes each request. The test gives the output.
struct FakePrograms final : ProgramRunner {
  void run(Request request, OnOutput on_output) override {
    asked.push_back(std::move(request));
    outputs.push_back(std::move(on_output));
  }

  std::vector<Request> asked;
  std::vector<OnOutput> outputs;
};

/// A store and a loop that asks it. No socket is opened.
struct StorePlayer {
  std::unique_ptr<SecretStore::Ticket> ask(const std::string& user = "u",
                                           std::optional<Secret> refused = {}) {
    SecretRequest request{.service = "office",
                          .account = "row",
                          .user = user,
                          .user_is_fixed = true,
                          .source = source,
                          .lifetime = 30min,
                          .timeout = 10s,
                          .refused = std::move(refused)};
    return store.ask(*loop, std::move(request),
                     [this](SecretAnswer answer) { answers.push_back(std::move(answer)); });
  }
  /// Runs what is posted, in as many turns as it takes.
  void turn() {
    for (int i = 0; i < 4; ++i) {
      loop->post([this] { loop->stop(); });
      loop->run();
    }
  }
  void print(std::size_t index, std::string_view text) {
    programs.outputs.at(index)(ProgramRunner::Output{Secret{text}, true});
    turn();
  }
  std::string answer(std::size_t index) const {
    const auto& one = answers.at(index);
    if (const auto* const found = std::get_if<FreshSecret>(&one)) {
      return std::string(found->secret.reveal());
    }
    return std::get<NoSecret>(one).error.reason;
  }

  std::unique_ptr<net::Loop> loop = net::Loop::create().value();
  net::Resolver resolver{*loop};
  FakePrograms programs;
  config::SecretSource source{.token = true, .command = {"/bin/p", "{user}"}};
  std::vector<SecretAnswer> answers;
  SecretStore store{*loop, resolver, programs};
};

}  // namespace

TEST_CASE("secret store: one run of a program serves all waiting logins", "[session][login]") {
  StorePlayer it;
  std::vector<std::unique_ptr<SecretStore::Ticket>> tickets;
  for (int i = 0; i < 50; ++i) tickets.push_back(it.ask());
  it.turn();
  REQUIRE(it.programs.asked.size() == 1);
  CHECK(it.programs.asked[0].service == "office");
  CHECK(it.programs.asked[0].account == "row");
  CHECK(it.programs.asked[0].user == "u");
  CHECK(it.programs.asked[0].timeout == 10s);
  it.print(0, "token\nmore\n");
  CHECK(it.answers.size() == 50);
  CHECK(it.answer(49) == "token");
  tickets.push_back(it.ask());
  it.turn();
  CHECK(it.programs.asked.size() == 1);
  CHECK(it.answer(50) == "token");
}

TEST_CASE("secret store: a request that is given up is not answered", "[session][login]") {
  StorePlayer it;
  auto first = it.ask();
  const auto second = it.ask();
  first.reset();
  it.turn();
  it.print(0, "token");
  CHECK(it.answers.size() == 1);
  auto third = it.ask();
  third.reset();  // before the store has heard of it
  it.turn();
  CHECK(it.answers.size() == 1);
}

TEST_CASE("secret store: a program's failure is the answer, and is remembered",
          "[session][login]") {
  StorePlayer it;
  const auto first = it.ask();
  it.turn();
  it.programs.outputs.at(0)(
      NoSecret{metrics::SecretFailure::failed, Error{Errc::login, "it ended with status 1"}});
  it.turn();
  CHECK(it.answer(0) == "it ended with status 1");
  const auto second = it.ask();
  it.turn();
  CHECK(it.answer(1) == "it ended with status 1");
  CHECK(it.programs.asked.size() == 1);
}

TEST_CASE("secret store: an output that comes twice, or too late, is dropped",
          "[session][login][security]") {
  StorePlayer it;
  const auto first = it.ask();
  it.turn();
  it.print(0, "one");
  it.print(0, "two");
  CHECK(it.answers.size() == 1);
  const auto second = it.ask();
  it.turn();
  CHECK(it.answer(1) == "one");
}

TEST_CASE("secret store: a refused token is fetched afresh", "[session][login]") {
  StorePlayer it;
  const auto first = it.ask();
  it.turn();
  it.print(0, "one");
  const auto second = it.ask("u", Secret{"one"});
  it.turn();
  it.print(1, "two");
  CHECK(it.answer(1) == "two");
}

TEST_CASE("secret store: a source whose service has changed begins anew", "[session][login]") {
  StorePlayer it;
  const auto first = it.ask();
  it.turn();
  it.print(0, "one");
  config::Service service;
  service.name = "another";
  auto& login = service.login.emplace();
  login.source = it.source;
  it.store.keep_sources_of({service});
  const auto second = it.ask();
  it.turn();
  CHECK(it.answer(1) == "one");  // the same program: it is the same source
  login.source.command.emplace_back("--other");
  it.store.keep_sources_of({service});
  const auto third = it.ask();
  it.turn();
  CHECK(it.programs.asked.size() == 2);
}

TEST_CASE("secret store: a source is kept for a row that has its own token", "[session][login]") {
  StorePlayer it;
  const auto first = it.ask();
  it.turn();
  it.print(0, "one");
  config::Service service;
  auto& login = service.login.emplace();
  login.source = it.source;
  login.source.token = false;
  service.accounts.push_back({.name = "row", .password = Secret{"pw"}, .user = {}, .source = {}});
  service.accounts.front().token = true;
  it.store.keep_sources_of({service});
  const auto second = it.ask();
  it.turn();
  CHECK(it.programs.asked.size() == 1);
  CHECK(it.answer(1) == "one");
}

TEST_CASE("secret store: it knows when a configured account's token ends", "[session][login]") {
  StorePlayer it;
  CHECK_FALSE(it.store.end_of("office", "u"));
  const auto first = it.ask();
  it.turn();
  it.print(0, R"({"access_token":"one","expires_on":4000000000})");
  CHECK(it.answer(0) == "one");
  CHECK(it.store.end_of("office", "u") == UnixTime{4'000'000'000s});
  it.store.note_end("office", "v", UnixTime{5s});
  it.turn();
  CHECK(it.store.end_of("office", "v") == UnixTime{5s});
  CHECK_FALSE(it.store.end_of("other", "u"));
}

TEST_CASE("secret store: without a process for programs their logins fail",
          "[session][login][security]") {
  StorePlayer it;
  NoPrograms none{*it.loop};
  SecretStore store{*it.loop, it.resolver, none};
  std::string reason;
  const auto ticket =
      store.ask(*it.loop, {.source = it.source, .timeout = 10s}, [&](const SecretAnswer& answer) {
        reason = std::get<NoSecret>(answer).error.reason;
        it.loop->stop();
      });
  it.loop->run();
  CHECK(reason == "no process is there to run the program of the secret");
}

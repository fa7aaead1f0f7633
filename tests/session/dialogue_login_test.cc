#include <memory>
#include <string>

#include "lib/session/dialogue.h"
#include "tests/session/fake_endpoint.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using proto::Verdict;
using test::FakeEndpoint;
using Next = Dialogue::Next;

namespace {

/// A role with a simple login: a client sends "NAME", the server gets "USER SECRET" and answers
/// "ok" or another word.
class LoginRole final : public proto::DownstreamRole {
 public:
  [[nodiscard]] bool awaits_server() const noexcept override { return false; }
  Result<Verdict> begin(std::string_view, std::string&) override { return Verdict::need_more; }
  Result<proto::Step> from_client(std::string_view input, std::string&, std::string&) override {
    if (state_ != State::idle || input.empty()) return proto::Step{};
    request_.name = input;
    state_ = State::asking;
    report_.reset();
    return proto::Step{input.size(), Verdict::log_in};
  }
  Result<proto::Step> from_server(std::string_view input, std::string& to_client,
                                  std::string&) override {
    if (state_ == State::asking && input == "early") return fail(Errc::protocol, "early words");
    if (state_ != State::waiting || input.empty()) return proto::Step{};
    if (input == "ok") {
      to_client = "welcome";
      report_.emplace();
      return proto::Step{input.size(), Verdict::relay};
    }
    return refuse().map([&](Verdict verdict) { return proto::Step{input.size(), verdict}; });
  }
  Result<Verdict> on_credentials(Result<proto::Credentials> credentials, std::string&,
                                 std::string& to_server) override {
    REQUIRE(state_ == State::asking);
    if (!credentials) return refuse();
    to_server = credentials->user + " " + std::string{credentials->secret.reveal()};
    state_ = State::waiting;
    return Verdict::need_more;
  }
  Result<Verdict> after_pause(std::string& to_client) override {
    REQUIRE(state_ == State::pausing);
    state_ = State::idle;
    to_client = "no";
    if (++refusals_ == 3) return fail(Errc::client_login, "wrong name or password");
    return Verdict::need_more;
  }
  Result<Verdict> on_server_lost(std::string_view, std::string& to_client) override {
    if (state_ == State::idle) return Verdict::need_more;
    state_ = State::idle;
    to_client = "later";
    return Verdict::reconnect;
  }
  Result<Verdict> reconnected(std::string& to_server) override {
    to_server = "hello again";
    return Verdict::need_more;
  }
  Result<Verdict> secured(std::string&) override { return Verdict::need_more; }
  [[nodiscard]] proto::LoginRequest login_request() const override { return request_; }
  [[nodiscard]] const proto::LoginReport* login_report() const noexcept override {
    return report_ ? &*report_ : nullptr;
  }
  [[nodiscard]] std::string_view state() const noexcept override { return "login"; }

 private:
  enum class State : std::uint8_t { idle, asking, waiting, pausing };

  Result<Verdict> refuse() {
    state_ = State::pausing;
    report_.emplace();
    report_->failure = Error{Errc::client_login, "wrong name or password"};
    return Verdict::pause;
  }

  State state_ = State::idle;
  proto::LoginRequest request_;
  std::optional<proto::LoginReport> report_;
  int refusals_ = 0;
};

struct LoginDialogue {
  Result<Next> client_says(std::string_view words) {
    client.arrived += words;
    return dialogue.on_client_input();
  }
  Result<Next> server_says(std::string_view words) {
    server.arrived += words;
    return dialogue.on_server_input();
  }
  static proto::Credentials credentials() {
    proto::Credentials out;
    out.user = "scan@example.com";
    out.secret = Secret{"hunter2"};
    return out;
  }

  metrics::Tally tally;
  Traffic traffic{tally};
  FakeEndpoint client;
  FakeEndpoint server;
  Dialogue dialogue{std::make_unique<LoginRole>(), client, server, traffic};
};

}  // namespace

TEST_CASE("dialogue: a login goes from the client to the server and ends in the relay",
          "[session][dialogue][login]") {
  LoginDialogue it;
  REQUIRE(it.client_says("scanner").value() == Next::log_in);
  CHECK(it.dialogue.login_request().name == "scanner");
  CHECK(it.client.arrived.empty());
  REQUIRE(it.dialogue.on_credentials(it.credentials()).value() == Next::go_on);
  CHECK(it.server.written == "scan@example.com hunter2");
  CHECK(it.dialogue.login_report() == nullptr);
  CHECK(it.server_says("ok").value() == Next::relay);
  CHECK(it.client.written == "welcome");
  CHECK_FALSE(it.dialogue.login_report()->failure);
}

TEST_CASE("dialogue: the role judges words that came while credentials were fetched",
          "[session][dialogue][login][security]") {
  LoginDialogue it;
  REQUIRE(it.client_says("scanner").value() == Next::log_in);
  it.server.arrived = "early";
  const auto next = it.dialogue.on_credentials(it.credentials());
  REQUIRE_FALSE(next);
  CHECK(next.error().reason == "early words");
  CHECK(it.server.written.empty());
}

TEST_CASE("dialogue: a refusal is answered after its pause, and the third one is the last",
          "[session][dialogue][login][security]") {
  LoginDialogue it;
  for (int refusal = 1; refusal <= 3; ++refusal) {
    REQUIRE(it.client_says("scanner").value() == Next::log_in);
    const bool by_server = refusal == 2;
    if (by_server) {
      REQUIRE(it.dialogue.on_credentials(it.credentials()).value() == Next::go_on);
      REQUIRE(it.server_says("no").value() == Next::pause);
    } else {
      REQUIRE(it.dialogue.on_credentials(fail(Errc::client_login, "wrong")).value() == Next::pause);
    }
    CHECK(it.client.take_written().empty());
    CHECK(it.dialogue.login_report()->failure->code == Errc::client_login);
    const auto next = it.dialogue.after_pause();
    CHECK(it.client.take_written() == "no");
    CHECK(next.has_value() == (refusal < 3));
  }
}

TEST_CASE("dialogue: a server that is lost in a login is replaced, and hears the client anew",
          "[session][dialogue][login]") {
  for (const bool has_credentials : {false, true}) {
    LoginDialogue it;
    REQUIRE(it.client_says("scanner").value() == Next::log_in);
    if (has_credentials) REQUIRE(it.dialogue.on_credentials(it.credentials()));
    REQUIRE(it.dialogue.on_server_lost("end of file").value() == Next::reconnect);
    CHECK(it.client.take_written() == "later");
    FakeEndpoint fresh;
    REQUIRE(it.dialogue.replace_server(fresh));
    CHECK(it.dialogue.resume().value() == Next::go_on);
    CHECK(fresh.take_written() == "hello again");
    CHECK(it.dialogue.resume().value() == Next::go_on);
    CHECK(fresh.written.empty());  // once
  }
}

TEST_CASE("dialogue: a server that is lost outside a login ends the session",
          "[session][dialogue][login]") {
  LoginDialogue it;
  CHECK(it.dialogue.on_server_lost("end of file").value() == Next::go_on);
  CHECK(it.client.written.empty());
}

#include "lib/session/dialogue.h"

#include <string>

#include "lib/proto/protocols.h"
#include "tests/session/fake_endpoint.h"
#include "tests/support/catch.h"
#include "tests/support/roles.h"

using namespace starttls;
using namespace starttls::session;
using proto::Verdict;
using test::FakeEndpoint;
using Next = Dialogue::Next;

namespace {

/// A role that does what the test says.
class ScriptedRole final : public proto::DownstreamRole {
 public:
  struct Plan {
    std::string to_client;
    std::string to_server;
    Result<proto::Step> step;
  };

  explicit ScriptedRole(Plan plan) : plan_(std::move(plan)) {}
  [[nodiscard]] bool awaits_server() const noexcept override { return false; }
  Result<Verdict> begin(std::string_view greeting, std::string& to_client) override {
    to_client = greeting;
    return Verdict::need_more;
  }
  Result<proto::Step> from_client(std::string_view, std::string& to_client,
                                  std::string& to_server) override {
    to_client = plan_.to_client;
    to_server = plan_.to_server;
    return plan_.step;
  }
  Result<proto::Step> from_server(std::string_view, std::string& to_client, std::string&) override {
    to_client = plan_.to_client;
    return plan_.step;
  }
  Result<Verdict> secured(std::string& to_client) override {
    to_client = plan_.to_client;
    return Verdict::need_more;
  }
  [[nodiscard]] std::string injection_reply() const override { return "503 no\r\n"; }
  [[nodiscard]] std::string_view state() const noexcept override { return "scripted"; }

 private:
  Plan plan_;
};

/// A dialogue between two legs without sockets.
struct PlayedDialogue {
  explicit PlayedDialogue(ScriptedRole::Plan plan)
      : dialogue(std::make_unique<ScriptedRole>(std::move(plan)), client, server, traffic) {}
  PlayedDialogue(std::string_view protocol, const proto::RoleSettings& settings)
      : dialogue(proto::find_protocol(protocol)->downstream(settings), client, server, traffic) {}

  Result<Next> client_says(std::string_view words) {
    client.arrived += words;
    return dialogue.on_client_input();
  }
  Result<Next> server_says(std::string_view words) {
    server.arrived += words;
    return dialogue.on_server_input();
  }

  metrics::Tally tally;
  Traffic traffic{tally};
  FakeEndpoint client;
  FakeEndpoint server;
  Dialogue dialogue;
};

}  // namespace

TEST_CASE("dialogue: a role's output reaches both sides, and is counted", "[session][dialogue]") {
  PlayedDialogue it({"250 ok\r\n", "NOOP\r\n", proto::Step{4, Verdict::need_more}});
  CHECK(it.client_says("abcdef").value() == Next::go_on);
  CHECK(it.client.written == "250 ok\r\n");
  CHECK(it.server.written == "NOOP\r\n");
  CHECK(it.client.arrived == "ef");
  CHECK(it.traffic.to_client() == 8);
  CHECK(it.traffic.to_server() == 6);
  CHECK(it.dialogue.commands() == 1);
  CHECK(it.dialogue.server_has_heard());
}

TEST_CASE("dialogue: after an error nothing goes to the server", "[session][dialogue][security]") {
  PlayedDialogue it({"500 no\r\n", "RSET\r\n", fail(Errc::client_protocol, "no such command")});
  CHECK(it.client_says("x").error().code == Errc::client_protocol);
  CHECK(it.client.written == "500 no\r\n");
  CHECK(it.server.written.empty());
  CHECK(it.traffic.to_server() == 0);
}

TEST_CASE("dialogue: an error of the server shows its status, not its text",
          "[session][dialogue][security]") {
  PlayedDialogue it(
      {"", "", fail(Errc::protocol, "a bad reply", "535 the password hunter2 is wrong")});
  CHECK(it.server_says("x").error().evidence == "535");
  PlayedDialogue one_word({"", "", fail(Errc::protocol, "a bad reply", "0123456789abcdefghij")});
  CHECK(one_word.server_says("x").error().evidence == "0123456789abcdef");
}

TEST_CASE("dialogue: bytes after STARTTLS are refused, and the log has only their number",
          "[session][dialogue][security]") {
  PlayedDialogue it({"", "", proto::Step{}});
  it.client.arrived = "MAIL FROM:<a@b>\r\n";
  const auto error = it.dialogue.refuse_injection(Error{Errc::attack, "reason", "MAIL FROM:<a@b>"});
  CHECK(error.evidence == "17 bytes");
  CHECK(it.client.written == "503 no\r\n");
}

TEST_CASE("dialogue: each verdict is a step of the session", "[session][dialogue]") {
  struct Case {
    Verdict verdict;
    Next client;
    Next server;
  };
  for (const auto& [verdict, client, server] :
       {Case{Verdict::need_more, Next::go_on, Next::go_on},
        Case{Verdict::start_tls, Next::start_tls, Next::start_tls},
        Case{Verdict::relay, Next::commit, Next::relay},
        Case{Verdict::finish, Next::finish, Next::finish},
        Case{Verdict::log_in, Next::log_in, Next::log_in},
        Case{Verdict::pause, Next::pause, Next::pause},
        Case{Verdict::reconnect, Next::reconnect, Next::reconnect}}) {
    PlayedDialogue it({"", "", proto::Step{0, verdict}});
    CHECK(it.client_says("x").value() == client);
    CHECK(it.server_says("x").value() == server);
  }
}

TEST_CASE("dialogue: a full leg stops both directions until it has room", "[session][dialogue]") {
  for (const bool client_is_full : {true, false}) {
    PlayedDialogue it({"", "", proto::Step{}});
    auto& full = client_is_full ? it.client : it.server;
    full.waiting = 1;
    it.dialogue.balance();
    CHECK(it.client.pauses == 1);
    CHECK(it.server.pauses == 1);
    full.waiting = 0;
    it.dialogue.balance();
    CHECK(it.client.resumes == 1);
    CHECK(it.server.resumes == 1);
  }
}

TEST_CASE("dialogue: a fresh server connection has received nothing", "[session][dialogue]") {
  PlayedDialogue it({"", "NOOP\r\n", proto::Step{}});
  REQUIRE(it.client_says("x"));
  CHECK(it.dialogue.server_has_heard());
  FakeEndpoint fresh;
  REQUIRE(it.dialogue.replace_server(fresh));
  CHECK_FALSE(it.dialogue.server_has_heard());
  REQUIRE(it.client_says("x"));
  CHECK(fresh.written == "NOOP\r\n");
  CHECK(it.server.written == "NOOP\r\n");  // once
}

TEST_CASE("dialogue: a fresh connection without TLS does not follow one with TLS",
          "[session][dialogue][security]") {
  metrics::Tally tally;
  Traffic traffic{tally};
  FakeEndpoint client;
  FakeEndpoint server;
  server.tls = true;
  Dialogue dialogue{std::make_unique<ScriptedRole>(ScriptedRole::Plan{"", "", proto::Step{}}),
                    client, server, traffic};
  FakeEndpoint fresh;
  CHECK(dialogue.replace_server(fresh).error().code == Errc::tls_not_offered);
  fresh.tls = true;
  CHECK(dialogue.replace_server(fresh));
}

// A whole prelude of each protocol, step by step. At each step either leg may fail.

namespace {

struct DialogueLine {
  Side side;
  std::string_view says;
};

struct DialogueScript {
  std::string_view protocol;
  std::string_view greeting;
  std::vector<DialogueLine> lines;
};

constexpr auto kClient = Side::downstream;
constexpr auto kServer = Side::upstream;

const std::vector<DialogueScript>& dialogue_scripts() {
  static const std::vector<DialogueScript> all = {
      {"smtp",
       "220 mx.example ESMTP\r\n",
       {{kClient, "EHLO a.example\r\n"},
        {kServer, "250-mx.example\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n"},
        {kClient, "NOOP\r\n"},
        {kServer, "250 2.0.0 Ok\r\n"},
        {kClient, "MAIL FROM:<a@a.example>\r\n"},
        {kServer, "250 2.1.0 Ok\r\n"}}},
      {"imap",
       "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] mx.example\r\n",
       {{kClient, "a CAPABILITY\r\n"},
        {kServer, "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na OK done\r\n"},
        {kClient, "b LOGIN u p\r\n"},
        {kServer, "b OK logged in\r\n"}}},
      {"pop3",
       "+OK mx.example\r\n",
       {{kClient, "CAPA\r\n"},
        {kServer, "+OK\r\nUSER\r\nUIDL\r\n.\r\n"},
        {kClient, "USER u\r\n"},
        {kServer, "+OK\r\n"}}},
      {"nntp",
       "200 mx.example\r\n",
       {{kClient, "CAPABILITIES\r\n"},
        {kServer, "101 list\r\nVERSION 2\r\nREADER\r\n.\r\n"},
        {kClient, "GROUP a.b\r\n"},
        {kServer, "211 1 1 1 a.b\r\n"}}},
      {"sieve",
       "\"SASL\" \"PLAIN\"\r\nOK\r\n",
       {{kClient, "NOOP\r\n"},
        {kServer, "OK\r\n"},
        {kClient, "AUTHENTICATE \"PLAIN\"\r\n"},
        {kServer, "OK\r\n"}}},
  };
  return all;
}

enum class DialogueFailure : std::uint8_t { none, client_broken, client_words_dropped, role };

/// Plays `script`. `failure` happens before line `at`. Returns the number of lines that were played
/// successfully.
std::size_t play_dialogue(const DialogueScript& script, DialogueFailure failure, std::size_t at) {
  PlayedDialogue it(script.protocol, test::downstream(TlsMode::implicit));
  REQUIRE(it.dialogue.begin(script.greeting));
  bool committed = false;
  for (std::size_t i = 0; i < script.lines.size(); ++i) {
    const auto& line = script.lines[i];
    std::string says{line.says};
    if (i == at) {
      if (failure == DialogueFailure::client_broken) it.client.broken = true;
      // The leg has ended. All its input is gone too.
      if (failure == DialogueFailure::client_words_dropped) it.client.arrived.clear();
      if (failure == DialogueFailure::role) says = std::string("\0\r\n", 3);
    }
    const auto heard = it.server.written.size();
    const auto said = it.client.written.size();
    const auto next = line.side == kClient ? it.client_says(says) : it.server_says(says);
    if (!next) {
      CHECK(it.server.written.size() == heard);
      return i;
    }
    if (it.client.broken) CHECK(it.client.written.size() == said);
    if (*next == Next::commit) committed = true;
    if (*next == Next::relay) REQUIRE(committed);
    // The rest of the committing line belongs to the relay.
    if (committed && line.side == kClient) it.client.arrived.clear();
  }
  CHECK(committed);
  return script.lines.size();
}

}  // namespace

TEST_CASE("dialogue: a failure at every step of the scripts of all protocols",
          "[session][dialogue]") {
  for (const auto& script : dialogue_scripts()) {
    INFO(script.protocol);
    const auto all = script.lines.size();
    REQUIRE(play_dialogue(script, DialogueFailure::none, all) == all);
    for (std::size_t at = 0; at < all; ++at) {
      INFO("step " << at);
      CHECK(play_dialogue(script, DialogueFailure::client_broken, at) == all);
      CHECK(play_dialogue(script, DialogueFailure::client_words_dropped, at) == all);
      const bool committed = at + 1 == all;  // the server's bytes are opaque, or nearly
      if (!committed) CHECK(play_dialogue(script, DialogueFailure::role, at) == at);
    }
  }
}

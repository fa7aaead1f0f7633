#include "lib/session/upstream/opening.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/proto/protocols.h"
#include "tests/support/catch.h"
#include "tests/support/roles.h"

using namespace starttls;
using namespace starttls::session;
using Do = Opening::Step::Do;

namespace {

/// An opening without a socket. `told` is what the server received on the current connection.
struct PlayedOpening {
  PlayedOpening(std::string_view name, TlsMode upstream, std::size_t addresses = 1)
      : protocol(*proto::find_protocol(name)), opening(policy(upstream, addresses)) {}

  Opening::Policy policy(TlsMode upstream, std::size_t addresses) const {
    return {.downstream = TlsMode::none,
            .upstream = upstream,
            .addresses = addresses,
            .has_hello = protocol.capabilities.says_hostname,
            .goodbye = protocol.capabilities.goodbye,
            .make_role =
                [this, upstream](bool tls_refused) {
                  auto settings = test::upstream(upstream);
                  settings.tls_refused = tls_refused;
                  return protocol.upstream(settings);
                },
            .has_time = [this] { return has_time; },
            .has_hung_up = [this] { return has_hung_up; },
            .port_mistake = [this] { return port_mistake; },
            .note_unanswered_hello = [this] { return std::exchange(unanswered, false); }};
  }

  Do connect() {
    input.clear();
    told.clear();
    return perform(opening.on_connected());
  }
  Do says(std::string_view words) {
    input += words;
    return perform(opening.on_input(input));
  }
  Do perform(const Opening::Step& step) {
    input.erase(0, step.consumed);
    told += step.to_server;
    error = step.error;
    with_smaller_hello = step.with_smaller_hello;
    return step.what;
  }

  const proto::Protocol& protocol;
  bool has_time = true;
  bool has_hung_up = false;
  std::string port_mistake;
  mutable bool unanswered = false;  // the server has not answered a large ClientHello
  bool with_smaller_hello = false;
  Opening opening;
  std::string input;
  std::string told;
  std::optional<Error> error;
};

}  // namespace

TEST_CASE("opening: a leg without a prelude opens at once", "[session][opening]") {
  PlayedOpening it("smtp", TlsMode::none);
  CHECK(it.connect() == Do::opened);
  CHECK(it.opening.greeting().empty());
}

TEST_CASE("opening: a role is conducted on every leg if the policy says so", "[session][opening]") {
  const PlayedOpening relayed("smtp", TlsMode::none);
  auto policy = relayed.policy(TlsMode::none, 1);
  policy.always_conducts = true;
  Opening opening(policy);
  CHECK(opening.on_connected().what == Do::wait);
  CHECK(opening.on_input("220 hello\r\n").what == Do::opened);
  CHECK(opening.greeting() == "220 hello\r\n");
}

TEST_CASE("opening: implicit TLS comes before the greeting", "[session][opening]") {
  PlayedOpening it("smtp", TlsMode::implicit);
  CHECK(it.connect() == Do::start_tls);
  CHECK(it.opening.stage() == OpeningStage::handshake);
  CHECK(it.perform(it.opening.on_secured()) == Do::wait);
  CHECK(it.says("220 mx.example ESMTP\r\n") == Do::opened);
  CHECK(it.opening.greeting() == "220 mx.example ESMTP\r\n");
  CHECK(it.told.empty());
}

TEST_CASE("opening: a server that pushes nothing after TLS is asked, once", "[session][opening]") {
  PlayedOpening it("sieve", TlsMode::starttls);
  CHECK(it.connect() == Do::wait);
  CHECK(it.says("\"STARTTLS\"\r\nOK\r\n") == Do::wait);
  CHECK(it.says("OK\r\n") == Do::start_tls);
  CHECK(it.perform(it.opening.on_secured()) == Do::wait);
  CHECK(it.opening.awaits_push());
  CHECK(it.perform(it.opening.on_expired()) == Do::wait);
  CHECK(it.told.ends_with("CAPABILITY\r\nNOOP\r\n"));
  CHECK_FALSE(it.opening.awaits_push());
  CHECK(it.perform(it.opening.on_expired()) == Do::give_up);
  CHECK(it.error->code == Errc::timeout);
}

TEST_CASE("opening: a server is not waited for in silence if its port is for TLS at once",
          "[session][opening]") {
  for (const TlsMode mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    PlayedOpening it("smtp", mode, 2);
    it.port_mistake = "port 465 is for TLS from the first byte";
    CHECK(it.connect() == Do::wait);
    CHECK(it.opening.expects_silence());
    CHECK(it.perform(it.opening.on_expired()) == Do::connect);
    CHECK_FALSE(it.opening.expects_silence());
    CHECK(it.opening.address_index() == 1);
    CHECK(it.connect() == Do::wait);
    CHECK(it.perform(it.opening.on_expired()) == Do::give_up);
    CHECK(it.error->code == Errc::timeout);
    CHECK(it.error->reason ==
          "the server sent nothing: port 465 is for TLS from the first byte; set upstream.tls = "
          "implicit");
  }
}

TEST_CASE("opening: a server that speaks on a port for TLS at once has all the time",
          "[session][opening]") {
  PlayedOpening it("smtp", TlsMode::starttls);
  it.port_mistake = "port 465 is for TLS from the first byte";
  CHECK(it.connect() == Do::wait);
  CHECK(it.says("2") == Do::wait);
  CHECK_FALSE(it.opening.expects_silence());
  CHECK(it.perform(it.opening.on_expired()) == Do::give_up);
  CHECK(it.error->reason == "the server did not answer in time");
}

TEST_CASE("opening: a server has all the time after implicit TLS, whatever its port is for",
          "[session][opening]") {
  PlayedOpening it("smtp", TlsMode::implicit);
  it.port_mistake = "port 25 is for STARTTLS";
  CHECK(it.connect() == Do::start_tls);
  CHECK_FALSE(it.opening.expects_silence());
  CHECK(it.perform(it.opening.on_secured()) == Do::wait);
  CHECK_FALSE(it.opening.expects_silence());
}

TEST_CASE("opening: a server that has heard our hello gets a fresh connection (D1)",
          "[session][opening]") {
  for (const std::string_view refusal : {"250 mx.example\r\n", "250-mx\r\n250 STARTTLS\r\n"}) {
    PlayedOpening it("smtp", TlsMode::opportunistic);
    REQUIRE(it.connect() == Do::wait);
    REQUIRE(it.says("220 mx.example\r\n") == Do::wait);
    auto next = it.says(refusal);
    if (next == Do::wait) next = it.says("454 4.7.0 not now\r\n");
    REQUIRE(next == Do::connect);
    CHECK(it.told.ends_with("QUIT\r\n"));
    CHECK_FALSE(it.error);  // nothing has failed
    CHECK(it.opening.address_index() == 0);
    CHECK_FALSE(it.opening.fallback_reason().empty());

    CHECK(it.connect() == Do::wait);
    CHECK(it.told.empty());  // neither a hello nor STARTTLS
    CHECK(it.says("220 mx.example\r\n") == Do::opened);
    CHECK(it.told.empty());
    CHECK_FALSE(it.opening.fallback_reason().empty());
  }
}

TEST_CASE("opening: other protocols have no hello, and keep the connection", "[session][opening]") {
  PlayedOpening it("pop3", TlsMode::opportunistic);
  REQUIRE(it.connect() == Do::wait);
  REQUIRE(it.says("+OK mx.example\r\n") == Do::wait);
  CHECK(it.says("-ERR no\r\n") == Do::opened);
  CHECK_FALSE(it.opening.fallback_reason().empty());
}

TEST_CASE("opening: a server that hangs up after its refusal gets a fresh connection (D1)",
          "[session][opening]") {
  PlayedOpening it("pop3", TlsMode::opportunistic);
  REQUIRE(it.connect() == Do::wait);
  REQUIRE(it.says("+OK mx.example\r\n") == Do::wait);
  it.has_hung_up = true;
  CHECK(it.says("-ERR no\r\n") == Do::connect);
  CHECK(it.connect() == Do::wait);
  CHECK(it.says("+OK mx.example\r\n") == Do::opened);
  CHECK(it.told.empty());
}

namespace {

/// A server that says with its refusal of TLS that it closes the connection.
struct ClosingServer {
  std::string_view protocol;
  std::vector<std::string_view> words;  ///< the last ones are the refusal
  std::string_view greeting;            ///< on the fresh connection
  std::string_view greeting_for_client;
  std::string_view refusal;  ///< on the fresh connection
};

const ClosingServer kClosingServers[] = {
    {"smtp",
     {"220 mx\r\n", "421 4.3.2 not now\r\n"},
     "220-a\x1b\r\n220 b\r\n",
     "220 a\r\n",
     "554 go\xff\r\n"},
    {"smtp",
     {"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "421 4.7.0 not now\r\n"},
     "220 a\r\n",
     "220 a\r\n",
     "421 go\r\n"},
    {"lmtp",
     {"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "221 bye\r\n"},
     "220 \xffx\r\n",
     "220 x\r\n",
     "554 go\r\n"},
    {"imap",
     {"* OK hi\r\n", "* BYE no\r\nR4nd NO no\r\n"},
     "* OK [CAPABILITY X] \x1b hi\r\n",
     "* OK hi\r\n",
     "* BYE go\r\n"},
    {"sieve",
     {"\"STARTTLS\"\r\nOK\r\n", "BYE \"no\"\r\n"},
     "\"SIEVE\" \"\"\r\nOK\r\n",
     "\"SIEVE\" \"\"\r\nOK\r\n",
     "NO \"go\"\r\n"},
    {"nntp", {"200 hi\r\n", "400 no\r\n"}, "201 \x1bhi\r\n", "201 hi\r\n", "502 go\r\n"},
};

/// Conducts the first connection, until the server has refused TLS.
Do refuse_tls(PlayedOpening& it, const ClosingServer& server) {
  auto next = it.connect();
  for (const auto words : server.words) {
    REQUIRE(next == Do::wait);
    next = it.says(words);
  }
  return next;
}

}  // namespace

TEST_CASE("opening: a server that closes with its refusal gets a fresh connection (N2, N3)",
          "[session][opening]") {
  for (const auto& server : kClosingServers) {
    CAPTURE(server.protocol, server.words.back());
    PlayedOpening it(server.protocol, TlsMode::opportunistic);
    REQUIRE(refuse_tls(it, server) == Do::connect);
    CHECK_FALSE(it.error);
    CHECK_FALSE(it.opening.fallback_reason().empty());
    CHECK(it.connect() == Do::wait);
    CHECK(it.says(server.greeting) == Do::opened);
    CHECK(it.told.empty());  // STARTTLS is not asked for again
    CHECK_FALSE(it.opening.fallback_reason().empty());
  }
}

TEST_CASE("N2 opening: required TLS does not go on after a refusal that closes",
          "[session][opening][security]") {
  for (const auto& server : kClosingServers) {
    CAPTURE(server.protocol, server.words.back());
    PlayedOpening it(server.protocol, TlsMode::starttls);
    CHECK(refuse_tls(it, server) == Do::give_up);
  }
}

TEST_CASE("T24 opening: a fresh connection in the clear is heard like any other in the clear",
          "[session][opening][security]") {
  for (const auto& server : kClosingServers) {
    CAPTURE(server.protocol, server.words.back());
    const auto on_fresh_connection = [&server](std::string_view words) {
      PlayedOpening it(server.protocol, TlsMode::opportunistic);
      REQUIRE(refuse_tls(it, server) == Do::connect);
      REQUIRE(it.connect() == Do::wait);
      it.says(words);
      return it;
    };
    CHECK(on_fresh_connection(server.greeting).opening.greeting() == server.greeting_for_client);
    // A refusal reaches the client in our own words (N4), and early replies end the session (B12).
    const auto refused = on_fresh_connection(server.refusal);
    CHECK(refused.error->code == Errc::greeting_refused);
    CHECK(refused.opening.greeting().empty());
    const auto early = on_fresh_connection(std::string(server.greeting) + "250 early\r\n");
    CHECK(early.error->attack == Attack::unsolicited);
  }
}

TEST_CASE("opening: a server that did not answer a large ClientHello is tried once more",
          "[session][opening][post-quantum]") {
  const bool late = GENERATE(false, true);
  PlayedOpening it("smtp", TlsMode::implicit, 2);
  const auto fail_handshake = [&it, late] {
    return it.perform(late ? it.opening.on_expired()
                           : it.opening.on_failed(Error{Errc::handshake, "closed"}));
  };
  REQUIRE(it.connect() == Do::start_tls);
  it.unanswered = true;
  CHECK(fail_handshake() == Do::connect);
  CHECK(it.error);
  CHECK(it.with_smaller_hello);
  CHECK(it.opening.address_index() == 0);
  CHECK(it.opening.stage() == OpeningStage::connecting);
  REQUIRE(it.connect() == Do::start_tls);
  // The smaller one gets no answer either: on to the next address, and no further.
  CHECK(fail_handshake() == Do::connect);
  CHECK_FALSE(it.with_smaller_hello);
  CHECK(it.opening.address_index() == 1);
  REQUIRE(it.connect() == Do::start_tls);
  CHECK(fail_handshake() == Do::give_up);
}

TEST_CASE("opening: the second attempt after a large ClientHello talks STARTTLS again",
          "[session][opening][post-quantum][security]") {
  PlayedOpening it("smtp", TlsMode::starttls);
  for (const bool unanswered : {true, false}) {
    REQUIRE(it.connect() == Do::wait);
    REQUIRE(it.says("220 mx.example\r\n") == Do::wait);
    REQUIRE(it.says("250-mx\r\n250 STARTTLS\r\n") == Do::wait);
    REQUIRE(it.says("220 go\r\n") == Do::start_tls);
    it.unanswered = unanswered;
    CHECK(it.perform(it.opening.on_failed(Error{Errc::handshake, "closed"})) ==
          (unanswered ? Do::connect : Do::give_up));
  }
}

TEST_CASE("opening: silence is remembered even if no time is left for a second attempt",
          "[session][opening][post-quantum]") {
  PlayedOpening it("smtp", TlsMode::implicit);
  REQUIRE(it.connect() == Do::start_tls);
  it.unanswered = true;
  it.has_time = false;
  CHECK(it.perform(it.opening.on_failed(Error{Errc::handshake, "closed"})) == Do::give_up);
  CHECK_FALSE(it.unanswered);  // it was asked for
}

TEST_CASE("opening: the next address is asked for TLS again", "[session][opening][security]") {
  PlayedOpening it("smtp", TlsMode::opportunistic, 2);
  REQUIRE(it.connect() == Do::wait);
  REQUIRE(it.says("220 mx.example\r\n") == Do::wait);
  REQUIRE(it.says("250 mx.example\r\n") == Do::connect);
  CHECK(it.perform(it.opening.on_failed(Error{Errc::unreachable, "refused"})) == Do::connect);
  CHECK(it.error->code == Errc::unreachable);
  CHECK(it.opening.address_index() == 1);
  CHECK(it.opening.fallback_reason().empty());
  REQUIRE(it.connect() == Do::wait);
  REQUIRE(it.says("220 mx.example\r\n") == Do::wait);
  CHECK(it.told == "EHLO proxy.example\r\n");
}

TEST_CASE("opening: a failed handshake does not continue in the clear",
          "[session][opening][security]") {
  for (const auto mode : {TlsMode::opportunistic, TlsMode::starttls}) {
    PlayedOpening it("smtp", mode);
    REQUIRE(it.connect() == Do::wait);
    REQUIRE(it.says("220 mx.example\r\n") == Do::wait);
    REQUIRE(it.says("250-mx\r\n250 STARTTLS\r\n") == Do::wait);
    REQUIRE(it.says("220 go\r\n") == Do::start_tls);
    CHECK(it.perform(it.opening.on_failed(Error{Errc::certificate, "expired"})) == Do::give_up);
    CHECK(it.error->code == Errc::certificate);
  }
}

// A whole opening of each protocol, step by step. At each step the connection, its TLS or the time
// may fail.

namespace {

struct OpeningEvent {
  enum class EventKind : std::uint8_t { connected, says, secured } kind;
  std::string_view words = {};
};
using EventKind = OpeningEvent::EventKind;

struct OpeningScript {
  std::string_view protocol;
  std::vector<OpeningEvent> events;
};

const std::vector<OpeningScript>& opening_scripts() {
  static const std::vector<OpeningScript> all = {
      {"smtp",
       {{EventKind::connected},
        {EventKind::says, "220 mx.example\r\n"},
        {EventKind::says, "250-mx.example\r\n250 STARTTLS\r\n"},
        {EventKind::says, "220 go\r\n"},
        {EventKind::secured}}},
      {"imap",
       {{EventKind::connected},
        {EventKind::says, "* OK mx.example\r\n"},
        {EventKind::says, "R4nd OK go\r\n"},
        {EventKind::secured},
        {EventKind::says, "* CAPABILITY IMAP4rev1\r\nR4nd OK done\r\n"}}},
      {"pop3",
       {{EventKind::connected},
        {EventKind::says, "+OK mx.example\r\n"},
        {EventKind::says, "+OK go\r\n"},
        {EventKind::secured}}},
      {"nntp",
       {{EventKind::connected},
        {EventKind::says, "200 mx.example\r\n"},
        {EventKind::says, "382 go\r\n"},
        {EventKind::secured}}},
      {"sieve",
       {{EventKind::connected},
        {EventKind::says, "\"STARTTLS\"\r\nOK\r\n"},
        {EventKind::says, "OK\r\n"},
        {EventKind::secured},
        {EventKind::says, "\"SASL\" \"PLAIN\"\r\nOK\r\n"}}},
  };
  return all;
}

enum class OpeningFailure : std::uint8_t { none, reset, tls, timeout, lies };

Do play_event(PlayedOpening& it, const OpeningEvent& event) {
  switch (event.kind) {
    case EventKind::connected:
      return it.connect();
    case EventKind::says:
      return it.says(event.words);
    case EventKind::secured:
      it.input.clear();
      return it.perform(it.opening.on_secured());
  }
  return Do::give_up;
}

Do inject_failure(PlayedOpening& it, OpeningFailure failure) {
  switch (failure) {
    case OpeningFailure::none:
      break;
    case OpeningFailure::reset:
      return it.perform(it.opening.on_failed(Error{Errc::closed, "reset"}));
    case OpeningFailure::tls:
      return it.perform(it.opening.on_failed(Error{Errc::handshake, "bad record"}));
    case OpeningFailure::timeout:
      it.has_time = false;
      return it.perform(it.opening.on_expired());
    case OpeningFailure::lies:
      return it.says(std::string_view{"\0\r\n", 3});
  }
  return Do::wait;
}

/// Plays the whole script. It must end in a leg that is ready and secured.
void play_whole(PlayedOpening& it, const OpeningScript& script) {
  bool secured = false;
  for (std::size_t i = 0; i < script.events.size(); ++i) {
    secured = secured || script.events[i].kind == EventKind::secured;
    const auto next = play_event(it, script.events[i]);
    CHECK((next == Do::opened) == (i + 1 == script.events.size()));
    CHECK(next != Do::give_up);
  }
  CHECK(secured);
}

}  // namespace

TEST_CASE("opening: a failure at every step of the scripts of all protocols",
          "[session][opening]") {
  for (const auto& script : opening_scripts()) {
    INFO(script.protocol);
    PlayedOpening good(script.protocol, TlsMode::starttls);
    play_whole(good, script);
    for (std::size_t at = 1; at < script.events.size(); ++at) {
      INFO("before event " << at);
      for (const auto failure : {OpeningFailure::reset, OpeningFailure::tls,
                                 OpeningFailure::timeout, OpeningFailure::lies}) {
        // A server says nothing during the handshake.
        if (failure == OpeningFailure::lies && script.events[at].kind == EventKind::secured)
          continue;
        for (const std::size_t addresses : {1UL, 2UL}) {
          PlayedOpening it(script.protocol, TlsMode::starttls, addresses);
          for (std::size_t i = 0; i < at; ++i)
            REQUIRE(play_event(it, script.events[i]) != Do::give_up);
          const auto next = inject_failure(it, failure);
          // Only another address can be tried, from the beginning. Without time none is tried.
          const bool another = addresses == 2 && failure != OpeningFailure::timeout;
          REQUIRE(next == (another ? Do::connect : Do::give_up));
          REQUIRE(it.error);
          if (!another) continue;
          CHECK(it.opening.address_index() == 1);
          CHECK(it.opening.stage() == OpeningStage::connecting);
          play_whole(it, script);
        }
      }
    }
  }
}

// The login before the greeting.

namespace {

/// A role that logs in as soon as it is asked, and takes "ok" or "no" for an answer.
class OpeningLogin final : public proto::UpstreamRole {
 public:
  Result<proto::Verdict> begin(std::string&) override { return proto::Verdict::log_in; }
  Result<proto::Step> step(std::string_view input, std::string&) override {
    report_.emplace();
    if (input == "ok") return proto::Step{input.size(), proto::Verdict::greeted};
    report_->failure = Error{Errc::login, "the server refuses the login"};
    return fail(*report_->failure);
  }
  Result<proto::Verdict> secured(std::string&) override { return proto::Verdict::need_more; }
  Result<proto::Verdict> on_credentials(Result<proto::Credentials> credentials,
                                        std::string& to_server) override {
    to_server = "login";
    if (!credentials) return fail(credentials.error());
    return proto::Verdict::need_more;
  }
  [[nodiscard]] const proto::LoginReport* login_report() const noexcept override {
    return report_ ? &*report_ : nullptr;
  }
  [[nodiscard]] std::string_view state() const noexcept override { return "login"; }

 private:
  std::optional<proto::LoginReport> report_;
};

/// An opening with a login, and another address for it.
struct LoginOpening : PlayedOpening {
  LoginOpening() : PlayedOpening("smtp", TlsMode::none, 2) {
    auto with_login = policy(TlsMode::none, 2);
    with_login.always_conducts = true;
    with_login.make_role = [](bool) { return std::make_unique<OpeningLogin>(); };
    opening = Opening{with_login};
  }
};

/// An opening with the role of SMTP that logs in.
struct SmtpLoginOpening : PlayedOpening {
  explicit SmtpLoginOpening(std::size_t addresses = 1) : PlayedOpening("smtp", TlsMode::implicit) {
    auto with_login = policy(TlsMode::implicit, addresses);
    with_login.always_conducts = true;
    with_login.make_role = [this](bool) {
      auto settings = test::upstream(TlsMode::implicit);
      settings.login = LoginWhen::connect;
      return protocol.upstream(settings);
    };
    opening = Opening{with_login};
  }

  const proto::Credentials credentials{.user = "box", .secret = Secret("sesame")};
};

}  // namespace

TEST_CASE("opening: a login comes before the leg is ready", "[session][opening][login]") {
  LoginOpening it;
  REQUIRE(it.connect() == Do::log_in);
  CHECK(it.opening.awaits_credentials());
  REQUIRE(it.perform(it.opening.on_credentials(proto::Credentials{})) == Do::wait);
  CHECK(it.told == "login");
  CHECK_FALSE(it.opening.awaits_credentials());
  CHECK(it.opening.login_report() == nullptr);
  CHECK(it.says("ok") == Do::opened);
  CHECK_FALSE(it.opening.login_report()->failure);
}

TEST_CASE("opening: a login that fails is not tried at the next address",
          "[session][opening][login][security]") {
  for (const auto code : {Errc::login, Errc::client_login}) {
    LoginOpening it;
    REQUIRE(it.connect() == Do::log_in);
    CHECK(it.perform(it.opening.on_credentials(fail(code, "no secret"))) == Do::give_up);
    CHECK(it.error->code == code);
    CHECK(it.told.empty());
  }
  LoginOpening it;
  REQUIRE(it.connect() == Do::log_in);
  REQUIRE(it.perform(it.opening.on_credentials(proto::Credentials{})) == Do::wait);
  CHECK(it.says("no") == Do::give_up);
  CHECK(it.opening.login_report()->failure);
}

TEST_CASE("opening: words that come before the login's first command are not its answer",
          "[session][opening][login][security]") {
  const auto hears = [](std::string_view early) {
    SmtpLoginOpening it;
    REQUIRE(it.connect() == Do::start_tls);
    REQUIRE(it.perform(it.opening.on_secured()) == Do::wait);
    REQUIRE(it.says("220 mx\r\n") == Do::log_in);
    it.perform(it.opening.on_credentials(it.credentials, early));
    CHECK(it.told == (early.empty() ? "EHLO proxy.example\r\n" : ""));
    return it.error ? it.error->code : Errc::system;
  };
  CHECK(hears("") == Errc::system);
  for (const auto* early : {"250-mx\r\n250 AUTH PLAIN\r\n", "235 ok\r\n", "2"}) {
    CHECK(hears(early) == Errc::protocol);
  }
  CHECK(hears("421 4.4.2 idle\r\n") == Errc::login);
}

TEST_CASE("opening: a server that leaves in a login has failed it, and no other address is tried",
          "[session][opening][login][security]") {
  SmtpLoginOpening it(2);
  REQUIRE(it.connect() == Do::start_tls);
  REQUIRE(it.perform(it.opening.on_secured()) == Do::wait);
  REQUIRE(it.says("220 mx\r\n") == Do::log_in);
  CHECK(it.perform(it.opening.on_server_lost(Error{Errc::closed, "closed"})) == Do::give_up);
  CHECK(it.error->code == Errc::login);
  CHECK(it.opening.login_report() != nullptr);
}

TEST_CASE("LP18 opening: a server that has refused a login and leaves is asked once more",
          "[session][opening][login][security]") {
  SmtpLoginOpening it(2);
  const auto log_in = [&it](std::string_view secret) {
    REQUIRE(it.connect() == Do::start_tls);
    REQUIRE(it.perform(it.opening.on_secured()) == Do::wait);
    REQUIRE(it.says("220 mx\r\n") == Do::log_in);
    const proto::Credentials credentials{.user = "box", .secret = Secret(secret)};
    return it.perform(it.opening.on_credentials(credentials));
  };
  REQUIRE(log_in("sesame") == Do::wait);
  REQUIRE(it.says("250-mx\r\n250 AUTH PLAIN\r\n") == Do::wait);
  REQUIRE(it.says("535 5.7.8 no\r\n") == Do::log_in);
  const auto lost = GENERATE(true, false);
  const Error closed{Errc::closed, "closed"};
  if (lost) {
    REQUIRE(it.perform(it.opening.on_server_lost(closed)) == Do::connect);
  } else {
    REQUIRE(it.perform(it.opening.on_credentials(it.credentials, "421 bye\r\n")) == Do::connect);
  }
  CHECK_FALSE(it.error);
  CHECK(it.opening.address_index() == 0);

  SECTION("with another secret") {
    REQUIRE(log_in("another") == Do::wait);
    REQUIRE(it.says("250-mx\r\n250 AUTH PLAIN\r\n") == Do::wait);
    CHECK(it.says("235 ok\r\n") == Do::opened);
  }
  SECTION("which leaves again") {
    REQUIRE(log_in("another") == Do::wait);
    CHECK(it.perform(it.opening.on_server_lost(closed)) == Do::give_up);
    CHECK(it.error->reason == "server refused the login: 535 5.7.8");
  }
  SECTION("which cannot be reached any more") {
    CHECK(it.perform(it.opening.on_failed({Errc::unreachable, "refused"})) == Do::give_up);
    CHECK(it.error->reason == "server refused the login: 535 5.7.8");
  }
  SECTION("with the same secret") {
    CHECK(log_in("sesame") == Do::give_up);
    CHECK(it.error->reason == "server refused the login: 535 5.7.8");
  }
}

TEST_CASE("N1 opening: a server without STARTTLS hears a goodbye", "[session][opening]") {
  PlayedOpening it("smtp", TlsMode::starttls);
  REQUIRE(it.connect() == Do::wait);
  REQUIRE(it.says("220 mx.example\r\n") == Do::wait);
  it.told.clear();
  CHECK(it.says("250 mx.example\r\n") == Do::give_up);
  CHECK(it.told == "QUIT\r\n");
  CHECK(it.error->code == Errc::tls_not_offered);
}

TEST_CASE("opening: a login has the time of the prelude", "[session][opening][login]") {
  LoginOpening it;
  REQUIRE(it.connect() == Do::log_in);
  CHECK(it.perform(it.opening.on_expired()) == Do::give_up);
  CHECK(it.error->code == Errc::timeout);
  CHECK(it.error->reason == "the secret for the login did not come in time");
}

#include "lib/proto/login/login_upstream.h"

#include <string>
#include <vector>

#include "tests/proto/login/login_dialogue.h"
#include "tests/support/roles.h"

using namespace starttls;
using namespace starttls::proto;
using namespace starttls::test;
using Catch::Matchers::ContainsSubstring;

namespace {

/// One answer to `log_in`: credentials, or the reason why there are none.
using Given = Result<Credentials>;

/// Everything that the owner of the accounts saw.
struct Seen {
  std::vector<bool> refused;  ///< of each request
  LoginReport report;
  bool reported = false;
};

/// Answers `log_in` in place of the session, so that a dialogue with the role under it goes on.
class Answering final : public UpstreamRole {
 public:
  Answering(std::unique_ptr<UpstreamRole> role, std::vector<Given> answers, Seen& seen)
      : role_(std::move(role)), answers_(std::move(answers)), seen_(seen) {
    seen_ = {};
  }

  Result<Verdict> begin(std::string& to_server) override {
    return answer(role_->begin(to_server), to_server);
  }
  Result<Step> step(std::string_view input, std::string& to_server) override {
    const auto step = role_->step(input, to_server);
    const auto verdict =
        answer(step ? Result<Verdict>(step->verdict) : fail(step.error()), to_server);
    if (!verdict) return fail(verdict.error());
    return Step{step->consumed, *verdict};
  }
  Result<Verdict> secured(std::string& to_server) override {
    return answer(role_->secured(to_server), to_server);
  }
  std::string_view state() const noexcept override { return role_->state(); }

 private:
  Result<Verdict> answer(Result<Verdict> verdict, std::string& to_server) {
    while (verdict && *verdict == Verdict::log_in && !answers_.empty()) {
      CHECK(role_->login_report() == nullptr);
      seen_.refused.push_back(role_->login_request().refused);
      auto next = std::move(answers_.front());
      answers_.erase(answers_.begin());
      verdict = role_->on_credentials(std::move(next), to_server);
    }
    greeting_ = role_->greeting();
    fallback_reason_ = role_->fallback_reason();
    seen_.reported = role_->login_report() != nullptr;
    if (seen_.reported) seen_.report = *role_->login_report();
    return verdict;
  }

  std::unique_ptr<UpstreamRole> role_;
  std::vector<Given> answers_;
  Seen& seen_;
};

RoleSettings connecting(TlsMode mode) {
  auto settings = upstream(mode);
  settings.login = LoginWhen::connect;
  return settings;
}

UpstreamDialogue talk(std::string_view protocol, TlsMode mode, std::vector<Given> answers,
                      Seen& seen) {
  return UpstreamDialogue{[=, &seen] {
    return std::make_unique<Answering>(find_protocol(protocol)->upstream(connecting(mode)), answers,
                                       seen);
  }};
}

constexpr std::string_view kGreeting = "220 mx.example ESMTP\r\n";
constexpr std::string_view kList = "250-mx.example\r\n250-AUTH PLAIN XOAUTH2\r\n250 AUTH=PLAIN\r\n";
constexpr std::string_view kEhlo = "EHLO proxy.example\r\n";
constexpr std::string_view kAuth = "AUTH PLAIN AGFubgBzZXNhbWU=\r\n";

}  // namespace

TEST_CASE("login upstream: hello and login follow the greeting, which stays the server's",
          "[proto][login]") {
  Seen seen;
  auto d = talk("smtp", TlsMode::implicit, {password()}, seen);
  d.sends("").peer(kGreeting).sends(kEhlo).peer(kList).sends(kAuth);
  CHECK(d.verdict() == Verdict::need_more);
  CHECK(!seen.reported);
  d.peer("235-2.7.0 Wel\r\n235 2.7.0 come\r\n").sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == kGreeting);
  CHECK(seen.refused == std::vector{false});
  CHECK(seen.report.user == "ann");
  CHECK(seen.report.name.empty());
  CHECK(seen.report.server == Mechanism::plain);
  CHECK(!seen.report.failure);
}

TEST_CASE("login upstream: after STARTTLS the login is inside TLS", "[proto][login][security]") {
  Seen seen;
  auto d = talk("lmtp", TlsMode::starttls, {token()}, seen);
  d.peer(kGreeting).sends("LHLO proxy.example\r\n");
  d.peer("250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n").sends("STARTTLS\r\n").peer("220 go\r\n");
  CHECK(d.verdict() == Verdict::start_tls);
  CHECK(seen.refused.empty());
  d.secured().sends("LHLO proxy.example\r\n");
  d.peer("250-mx\r\n250 AUTH XOAUTH2\r\n");
  d.sends("AUTH XOAUTH2 dXNlcj1hbm5AZXhhbXBsZS5jb20BYXV0aD1CZWFyZXIgdDBrZW4BAQ==\r\n");
  d.peer("235 ok\r\n");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == kGreeting);
}

TEST_CASE("login upstream: other services do not log in", "[proto][login]") {
  for (const auto when : {LoginWhen::never, LoginWhen::client}) {
    auto settings = upstream(TlsMode::implicit);
    settings.login = when;
    UpstreamDialogue d{"smtp", settings};
    d.peer(kGreeting).sends("");
    CHECK(d.verdict() == Verdict::greeted);
  }
}

TEST_CASE("login upstream: no secret is sent in the clear", "[proto][login][security]") {
  Seen seen;
  auto none = talk("smtp", TlsMode::none, {password()}, seen);
  none.peer(kGreeting).sends("");
  CHECK(none.error().code == Errc::login);
  auto fell_back = talk("smtp", TlsMode::opportunistic, {password()}, seen);
  fell_back.peer(kGreeting).peer("250 mx\r\n").sends(kEhlo);
  CHECK(fell_back.error().code == Errc::login);
  CHECK(seen.refused.empty());
}

TEST_CASE("LP18 login upstream: a refused secret is replaced once, on the same connection",
          "[proto][login]") {
  Seen seen;
  auto d = talk("smtp", TlsMode::implicit, {token("old"), token()}, seen);
  d.peer(kGreeting).peer(kList).sends(std::string(kEhlo) +
                                      "AUTH XOAUTH2 dXNlcj1hbm5AZXhhbXBsZS5jb2"
                                      "0BYXV0aD1CZWFyZXIgb2xkAQE=\r\n");
  d.peer("334 eyJzdGF0dXMiOiI0MDEifQ==\r\n").sends("\r\n").peer("535 5.7.8 expired\r\n");
  d.sends("AUTH XOAUTH2 dXNlcj1hbm5AZXhhbXBsZS5jb20BYXV0aD1CZWFyZXIgdDBrZW4BAQ==\r\n");
  CHECK(seen.refused == std::vector{false, true});
  CHECK(!seen.reported);
  d.peer("235 ok\r\n");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(!seen.report.failure);
}

TEST_CASE("LP18 login upstream: a second refusal ends it, whatever secrets there are",
          "[proto][login][security]") {
  Seen seen;
  auto d =
      talk("smtp", TlsMode::implicit, {password("one"), password("two"), password("three")}, seen);
  d.peer(kGreeting).peer(kList).peer("535 5.7.8 first\r\n").peer("535 5.7.9 second\r\n");
  CHECK(d.error().code == Errc::login);
  CHECK(d.error().reason == "server refused the login: 535 5.7.9");
  CHECK(seen.refused == std::vector{false, true});
  CHECK(seen.report.failure->code == Errc::login);
  CHECK(seen.report.server == Mechanism::plain);
}

TEST_CASE("LP18 login upstream: the same secret, or none, is not tried again", "[proto][login]") {
  for (const auto& second :
       {Given(password()), Given(fail(Errc::login, "the source has no other secret"))}) {
    Seen seen;
    auto d = talk("smtp", TlsMode::implicit, {password(), second}, seen);
    d.peer(kGreeting).peer(kList).sends(std::string(kEhlo) + std::string(kAuth));
    d.peer("535 5.7.8 no\r\n").sends("");
    CHECK(d.error().reason == "server refused the login: 535 5.7.8");
    CHECK(d.error().evidence == "535 5.7.8 no");
    CHECK(seen.reported);
  }
}

/// Plays a login with this secret, up to the server's answer.
std::unique_ptr<UpstreamRole> asked(const Credentials& credentials,
                                    const std::optional<RefusedLogin>& before = std::nullopt) {
  auto role = find_protocol("smtp")->upstream(connecting(TlsMode::implicit));
  if (before) role->go_on_with(*before);
  std::string out;
  REQUIRE(role->step(kGreeting, out)->verdict == Verdict::log_in);
  REQUIRE(role->on_credentials(credentials, out) == Verdict::need_more);
  REQUIRE(role->step(kList, out)->verdict == Verdict::need_more);
  return role;
}

TEST_CASE("LP18 login upstream: a server that refuses and hangs up is asked once more, elsewhere",
          "[proto][login]") {
  for (const auto* words : {"535 5.7.8 no\r\n421 4.7.0 bye\r\n", "535 5.7.8 no\r\n"}) {
    const auto role = asked(password());
    std::string out;
    const auto step = role->step(words, out);
    REQUIRE(step.has_value());
    if (step->verdict == Verdict::log_in) {
      CHECK(role->on_server_lost({Errc::closed, "x"}) == Verdict::reconnect);
    } else {
      CHECK(step->verdict == Verdict::reconnect);
    }
    CHECK(role->login_report() == nullptr);
    const auto refused = role->refused_login();
    REQUIRE(refused.has_value());
    CHECK(refused->why.reason == "server refused the login: 535 5.7.8");

    // The fresh connection: the same secret is not tried, and there is no third connection.
    const auto fresh = find_protocol("smtp")->upstream(connecting(TlsMode::implicit));
    fresh->go_on_with(*refused);
    REQUIRE(fresh->step(kGreeting, out)->verdict == Verdict::log_in);
    CHECK_FALSE(fresh->login_request().refused);
    const auto same = fresh->on_credentials(password(), out);
    REQUIRE_FALSE(same.has_value());
    CHECK(same.error().reason == refused->why.reason);
    REQUIRE(fresh->login_report() != nullptr);

    const auto second = asked(password("another"), refused);
    const auto lost = second->on_server_lost({Errc::closed, "x"});
    REQUIRE_FALSE(lost.has_value());
    CHECK(lost.error().reason == refused->why.reason);
  }
}

TEST_CASE("LP18 login upstream: a second secret that gets no answer is tried elsewhere",
          "[proto][login]") {
  const auto role = asked(password());
  std::string out;
  REQUIRE(role->step("535 5.7.8 no\r\n", out)->verdict == Verdict::log_in);
  CHECK(role->login_request().refused);
  REQUIRE(role->on_credentials(password("another"), out) == Verdict::need_more);
  CHECK(role->on_server_lost({Errc::closed, "x"}) == Verdict::reconnect);
  const auto refused = role->refused_login();
  REQUIRE(refused.has_value());
  CHECK((refused->secret == password().secret));
}

TEST_CASE("login upstream: a server that leaves during a login has failed it", "[proto][login]") {
  const auto role = asked(password());
  const auto lost = role->on_server_lost({Errc::closed, "x", "end of file"});
  REQUIRE_FALSE(lost.has_value());
  CHECK(lost.error().code == Errc::login);
  CHECK(lost.error().reason == "server left during the login");
  REQUIRE(role->login_report() != nullptr);

  const auto early = find_protocol("smtp")->upstream(connecting(TlsMode::implicit));
  CHECK(early->on_server_lost({Errc::closed, "x"}).error().code == Errc::closed);
}

TEST_CASE("login upstream: without a secret the server hears nothing", "[proto][login]") {
  Seen seen;
  auto none = talk("smtp", TlsMode::implicit, {fail(Errc::login, "no secret today")}, seen);
  none.peer(kGreeting).sends("");
  CHECK(none.error().reason == "no secret today");
  CHECK(seen.report.failure->reason == "no secret today");
  CHECK(seen.report.user.empty());
  CHECK(seen.report.server == Mechanism::automatic);

  Error late{Errc::login, "too late"};
  late.timed_out = true;
  auto slow = talk("smtp", TlsMode::implicit, {fail(late)}, seen);
  slow.peer(kGreeting).sends("");
  CHECK(slow.error().code == Errc::login);
  CHECK(slow.error().timed_out);

  auto bad = talk("smtp", TlsMode::implicit, {password("a\r\nb"), password()}, seen);
  bad.peer(kGreeting).sends("");
  CHECK(bad.error().reason == "the secret has a control character");
  CHECK(seen.refused == std::vector{false});
}

TEST_CASE("LP3 login upstream: a server that lists nothing, says goodbye or breaks the protocol",
          "[proto][login]") {
  Seen seen;
  auto nothing = talk("smtp", TlsMode::implicit, {password()}, seen);
  nothing.peer(kGreeting).peer("250 mx\r\n");
  CHECK(nothing.error().reason == "login_not_offered: the server lists no mechanism");
  CHECK(seen.report.server == Mechanism::automatic);

  auto gone = talk("smtp", TlsMode::implicit, {password(), password("other")}, seen);
  gone.peer(kGreeting).peer(kList).peer("421 4.7.0 busy\r\n");
  CHECK(gone.error().code == Errc::login);
  CHECK(gone.error().reason == "server ended the login: 421 4.7.0");
  CHECK(seen.refused.size() == 1);

  auto broken = talk("smtp", TlsMode::implicit, {password()}, seen);
  broken.peer(kGreeting).peer(kList).peer("334 \r\n");
  CHECK(broken.error().code == Errc::protocol);
  CHECK(!seen.reported);

  auto refused = talk("smtp", TlsMode::implicit, {password()}, seen);
  refused.peer("554 5.3.2 no\r\n").sends("");
  CHECK(refused.error().code == Errc::greeting_refused);
  CHECK(refused.greeting() == "554 5.3.2 no\r\n");
}

TEST_CASE("B12 login upstream: replies that come before our hello, or after the 235, are errors",
          "[proto][login][security]") {
  const auto hears = [](TlsMode mode, std::string_view before, std::string_view after) {
    const auto role = find_protocol("smtp")->upstream(connecting(mode));
    std::string out;
    const auto step = role->step(std::string(kGreeting) + std::string(before), out);
    if (!step) return step.error();
    REQUIRE(step->verdict == Verdict::log_in);
    REQUIRE(role->on_credentials(password(), out) == Verdict::need_more);
    REQUIRE(role->step(kList, out)->verdict == Verdict::need_more);
    const auto end = role->step("235 ok\r\n" + std::string(after), out);
    return end ? Error{Errc::system, "greeted"} : end.error();
  };
  CHECK(hears(TlsMode::implicit, "", "").reason == "greeted");
  for (const auto* early : {"2", "250 mx\r\n", "235 ok\r\n", "\r\n"}) {
    CHECK(hears(TlsMode::implicit, early, "").code == Errc::protocol);
    CHECK(hears(TlsMode::implicit, "", early).code == Errc::protocol);
  }

  // While the credentials are on their way.
  for (const auto& [early, code] :
       {std::pair{"235 ok\r\n", Errc::attack}, std::pair{"5", Errc::attack},
        std::pair{"421 4.4.2 idle\r\n", Errc::login}}) {
    const auto role = find_protocol("smtp")->upstream(connecting(TlsMode::starttls));
    std::string out;
    REQUIRE(role->step(kGreeting, out).has_value());
    REQUIRE(role->step("250-mx\r\n250 STARTTLS\r\n", out).has_value());
    REQUIRE(role->step("220 go\r\n", out)->verdict == Verdict::start_tls);
    REQUIRE(role->secured(out) == Verdict::log_in);
    CHECK(role->state() == "credentials");
    CHECK(role->step("", out)->verdict == Verdict::log_in);
    CHECK(role->step("42", out)->verdict == Verdict::log_in);
    const auto step = role->step(early, out);
    REQUIRE(!step.has_value());
    CHECK(step.error().code == code);
    CHECK(!ContainsSubstring("AUTH").match(out));
  }
}

#pragma once

// Scripted dialogues of a login with a server. Like those of roles, they are repeated cut at every
// byte:
//
//   LoginDialogue d{login::kSmtp, password(), listing({"PLAIN"})};
//   d.sends("AUTH PLAIN AGFubgBzZXNhbWU=\r\n").peer("235 2.7.0 Welcome\r\n");
//   CHECK(d.succeeded());

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/proto/login/login_dialect.h"
#include "lib/proto/login/server_login.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"

namespace starttls::test {

/// Returns the credentials of ann, with a password.
inline proto::Credentials password(std::string_view secret = "sesame",
                                   Mechanism mechanism = Mechanism::automatic) {
  return {.user = "ann", .secret = Secret(secret), .mechanism = mechanism};
}

/// Returns the credentials of ann@example.com, with a token.
inline proto::Credentials token(std::string_view secret = "t0ken",
                                Mechanism mechanism = Mechanism::automatic) {
  return {.user = "ann@example.com",
          .secret = Secret(secret),
          .token = true,
          .mechanism = mechanism,
          .host = "mail.example.com",
          .port = 143};
}

/// Returns an offer that is known.
inline proto::LoginOffer listing(std::vector<std::string> mechanisms, bool native = false) {
  return {.known = true, .mechanisms = std::move(mechanisms), .native = native};
}

/// A login under way. The verdicts of its outcome are those that follow the statuses below.
class LoginPlayer final : public Player {
 public:
  LoginPlayer(const proto::LoginDialect& dialect, const proto::Credentials& credentials,
              const proto::LoginOffer& offer, proto::LineRules rules)
      : login_(dialect, credentials, offer, "R4nd", rules) {}

  void begin() override { note(login_.begin(outcome_.to_server)); }
  void secured() override {}
  void feed(Peer side, std::string_view bytes) override {
    run(side, bytes, [this](std::string_view input) -> Result<proto::Step> {
      const auto progress = login_.on_input(input, outcome_.to_server);
      if (!progress) return fail(progress.error());
      note(progress->status);
      return proto::Step{progress->consumed, outcome_.verdict_of(Peer::server)};
    });
  }
  [[nodiscard]] std::string_view state() const override { return login_.state(); }

 private:
  using Status = proto::ServerLogin::Status;

  static proto::Verdict verdict_after(Status status) {
    switch (status) {
      case Status::going_on:
        break;
      case Status::succeeded:
        return proto::Verdict::greeted;
      case Status::refused:
        return proto::Verdict::pause;
      case Status::not_offered:
        return proto::Verdict::finish;
      case Status::gone:
        return proto::Verdict::reconnect;
    }
    return proto::Verdict::need_more;
  }
  void note(Status status) {
    on_verdict(Peer::server, verdict_after(status));
    if (status == Status::going_on) return;
    const auto& reply = login_.reply();
    outcome_.greeting = reply.code + '|' + reply.text + '|' + reply.lines;
    if (status == Status::succeeded) return;
    const auto error = login_failure(login_, status, proto::ReplyInLog::whole);
    outcome_.fallback_reason =
        std::string(name(error.code)) + ": " + error.reason + '|' + error.evidence;
  }

  proto::ServerLogin login_;
};

class LoginDialogue : public Dialogue {
 public:
  using Verdict = proto::Verdict;

  explicit LoginDialogue(const proto::LoginDialect& dialect, proto::Credentials credentials,
                         proto::LoginOffer offer = {},
                         proto::LineRules rules = proto::line_rules(TlsMode::starttls,
                                                                    Errc::protocol))
      : Dialogue([&dialect, credentials = std::move(credentials), offer = std::move(offer), rules] {
          return std::make_unique<LoginPlayer>(dialect, credentials, offer, rules);
        }) {}

  LoginDialogue& peer(std::string_view bytes) {
    play({.kind = Event::Kind::bytes, .side = Peer::server, .bytes = std::string(bytes)});
    return *this;
  }
  /// Checks that exactly this was sent since the last check.
  LoginDialogue& sends(std::string_view bytes) {
    CHECK(new_to_server() == bytes);
    return *this;
  }

  [[nodiscard]] bool waits() const { return is(Verdict::need_more); }
  [[nodiscard]] bool succeeded() const { return is(Verdict::greeted); }
  [[nodiscard]] bool refused() const { return is(Verdict::pause); }
  [[nodiscard]] bool not_offered() const { return is(Verdict::finish); }
  [[nodiscard]] bool gone() const { return is(Verdict::reconnect); }
  /// Returns "code|text|lines" of the last reply.
  [[nodiscard]] const std::string& reply() const { return outcome().greeting; }
  /// Returns "outcome: reason|evidence" of a login that has not succeeded.
  [[nodiscard]] const std::string& failure() const { return outcome().fallback_reason; }
  [[nodiscard]] const std::string& unread() const { return outcome().unread_of(Peer::server); }

 private:
  [[nodiscard]] bool is(Verdict verdict) const {
    return !failed() && outcome().verdict_of(Peer::server) == verdict;
  }
};

}  // namespace starttls::test

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/proto/lines.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"
#include "tests/support/roles.h"

// Attacks and edge cases that are the same for every protocol, played through every row of the
// table. Cases of one protocol only are in that protocol's test. Names begin with the ids of the
// cases. The letters mean: A command injection, B response injection, N negotiation, T tampering, S
// state carried across TLS, G general, P parser, K capabilities, M bytes that a relay must not
// change.

using namespace starttls;
using namespace starttls::proto;
using namespace std::string_literals;
using namespace std::string_view_literals;
using starttls::test::downstream;
using starttls::test::DownstreamDialogue;
using starttls::test::upstream;
using starttls::test::UpstreamDialogue;

namespace {

/// The few lines of a protocol that these cases need, each with its end.
struct Talk {
  std::string_view protocol;

  // The server's part in the clear, and ours.
  std::string_view greeting;
  std::string_view hello;  ///< our first words; empty if that is STARTTLS
  std::string_view offer;  ///< the server's answer to it
  std::string_view asks;   ///< our STARTTLS
  std::string_view go_ahead;
  std::string_view refusal;
  std::string_view almost;  ///< looks like a go-ahead
  // Inside TLS, until the client may be greeted.
  std::string_view question;
  std::string_view list;

  // The client's part.
  std::string_view starttls;
  std::string_view begin_tls;     ///< first word of our go-ahead
  std::string_view refused;       ///< first word of any refusal
  std::string_view command;       ///< passes, and does not commit
  std::string_view answer;        ///< the server's answer to it
  std::string_view commit;        ///< carries a credential
  std::string_view more;          ///< what the client says after it
  std::string_view capabilities;  ///< asks for the list
  std::string_view list_head;     ///< of the answer, with a mechanism that stays
  std::string_view list_starttls;
  std::string_view list_xclient;
  std::string_view list_tail;
  std::string_view goodbye;
};

constexpr Talk smtp_like(std::string_view protocol, std::string_view hello,
                         std::string_view capabilities) {
  return {.protocol = protocol,
          .greeting = "220 mx.example\r\n",
          .hello = hello,
          .offer = "250-mx\r\n250 STARTTLS\r\n",
          .asks = "STARTTLS\r\n",
          .go_ahead = "220 go\r\n",
          .refusal = "454 4.7.0 no\r\n",
          .almost = "221 go\r\n",
          .question = "",
          .list = "",
          .starttls = "STARTTLS\r\n",
          .begin_tls = "220 ",
          .refused = "5",
          .command = "NOOP\r\n",
          .answer = "250 ok\r\n",
          .commit = "AUTH LOGIN\r\n",
          .more = "STARTTLS\r\n250-STARTTLS\r\n\0\xff\n.\r\n"sv,
          .capabilities = capabilities,
          .list_head = "250-mx\r\n250-AUTH PLAIN\r\n",
          .list_starttls = "250-STARTTLS\r\n",
          .list_xclient = "250-XCLIENT ADDR\r\n",
          .list_tail = "250 SIZE 5\r\n",
          .goodbye = "QUIT\r\n"};
}

constexpr std::array kTalks{
    smtp_like("smtp", "EHLO proxy.example\r\n", "EHLO a\r\n"),
    smtp_like("lmtp", "LHLO proxy.example\r\n", "LHLO a\r\n"),
    Talk{.protocol = "imap",
         .greeting = "* OK mx.example\r\n",
         .hello = "",
         .offer = "",
         .asks = "R4nd STARTTLS\r\n",
         .go_ahead = "R4nd OK go\r\n",
         .refusal = "R4nd NO no\r\n",
         .almost = "R4nd OKAY\r\n",
         .question = "R4nd CAPABILITY\r\n",
         .list = "* CAPABILITY IMAP4rev1\r\nR4nd OK done\r\n",
         .starttls = "a STARTTLS\r\n",
         .begin_tls = "a OK ",
         .refused = "a BAD ",
         .command = "b NOOP\r\n",
         .answer = "b OK done\r\n",
         .commit = "c AUTHENTICATE PLAIN\r\n",
         .more = "STARTTLS\r\n* CAPABILITY STARTTLS\r\n\0\xff\n"sv,
         .capabilities = "d CAPABILITY\r\n",
         .list_head = "* CAPABILITY AUTH=PLAIN",
         .list_starttls = " STARTTLS",
         .list_xclient = " XCLIENT",
         .list_tail = "\r\nd OK done\r\n",
         .goodbye = "e LOGOUT\r\n"},
    Talk{.protocol = "pop3",
         .greeting = "+OK mx.example\r\n",
         .hello = "",
         .offer = "",
         .asks = "STLS\r\n",
         .go_ahead = "+OK go\r\n",
         .refusal = "-ERR no\r\n",
         .almost = "+OKAY\r\n",
         .question = "",
         .list = "",
         .starttls = "STLS\r\n",
         .begin_tls = "+OK ",
         .refused = "-ERR ",
         .command = "NOOP\r\n",
         .answer = "+OK\r\n",
         .commit = "AUTH PLAIN\r\n",
         .more = "STLS\r\n+OK\r\n\0\xff\n"sv,
         .capabilities = "CAPA\r\n",
         .list_head = "+OK\r\nSASL PLAIN\r\n",
         .list_starttls = "STLS\r\n",
         .list_xclient = "XCLIENT ADDR\r\n",
         .list_tail = ".\r\n",
         .goodbye = "QUIT\r\n"},
    Talk{.protocol = "sieve",
         .greeting = "\"SIEVE\" \"\"\r\n\"STARTTLS\"\r\nOK\r\n",
         .hello = "",
         .offer = "",
         .asks = "STARTTLS\r\n",
         .go_ahead = "OK \"go\"\r\n",
         .refusal = "NO \"no\"\r\n",
         .almost = "OKAY\r\n",
         .question = "",
         .list = "\"SIEVE\" \"\"\r\nOK\r\n",
         .starttls = "STARTTLS\r\n",
         .begin_tls = "OK ",
         .refused = "NO ",
         .command = "NOOP\r\n",
         .answer = "OK\r\n",
         .commit = "AUTHENTICATE \"PLAIN\"\r\n",
         .more = "STARTTLS\r\n\"STARTTLS\"\r\n\0\xff\n"sv,
         .capabilities = "CAPABILITY\r\n",
         .list_head = "\"SASL\" \"PLAIN\"\r\n",
         .list_starttls = "\"STARTTLS\"\r\n",
         .list_xclient = "\"XCLIENT\" \"ADDR\"\r\n",
         .list_tail = "OK\r\n",
         .goodbye = "LOGOUT\r\n"},
    Talk{.protocol = "nntp",
         .greeting = "200 mx.example\r\n",
         .hello = "",
         .offer = "",
         .asks = "STARTTLS\r\n",
         .go_ahead = "382 go\r\n",
         .refusal = "580 no\r\n",
         .almost = "381 go\r\n",
         .question = "",
         .list = "",
         .starttls = "STARTTLS\r\n",
         .begin_tls = "382 ",
         .refused = "50",
         .command = "DATE\r\n",
         .answer = "111 19990623135624\r\n",
         .commit = "AUTHINFO SASL PLAIN\r\n",
         .more = "STARTTLS\r\n101 x\r\n\0\xff\n"sv,
         .capabilities = "CAPABILITIES\r\n",
         .list_head = "101 x\r\nVERSION 2\r\nSASL PLAIN\r\n",
         .list_starttls = "STARTTLS\r\n",
         .list_xclient = "XCLIENT ADDR\r\n",
         .list_tail = ".\r\n",
         .goodbye = "QUIT\r\n"},
};

constexpr TlsMode kUpgrading[] = {TlsMode::starttls, TlsMode::opportunistic};

/// A complete TLS record of an eager client. Its content matters no further.
const std::string kClientHello = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"s;

std::string together(std::initializer_list<std::string_view> parts) {
  std::string whole;
  for (const auto part : parts) whole += part;
  return whole;
}

/// An upstream dialogue, played up to our STARTTLS.
struct Asked : UpstreamDialogue {
  explicit Asked(const Talk& talk, TlsMode mode = TlsMode::starttls)
      : UpstreamDialogue(talk.protocol, upstream(mode)) {
    peer(talk.greeting);
    if (!talk.hello.empty()) sends(talk.hello).peer(talk.offer);
    sends(talk.asks);
  }
};

/// A client that has been greeted. The greeting is not checked again.
struct Greeted : DownstreamDialogue {
  Greeted(const Talk& talk, const RoleSettings& role)
      : DownstreamDialogue(talk.protocol, role,
                           talk.protocol == "sieve" ? talk.list : talk.greeting) {
    static_cast<void>(take_to_client());
  }
  Greeted(const Talk& talk, TlsMode mode) : Greeted(talk, downstream(mode)) {}
};

/// Plays the client's STARTTLS and its handshake. Nothing else is said, except that sieve pushes
/// its list.
void secure(DownstreamDialogue& d, const Talk& talk) {
  d.client(talk.starttls).to_server("").to_client("");
  REQUIRE(d.client_verdict() == Verdict::start_tls);
  d.secured().to_server("").to_client(talk.protocol == "sieve" ? talk.list : "");
}

/// Checks that one command is refused and the server does not see it.
void check_refused(DownstreamDialogue& d, std::string_view command, std::string_view refusal) {
  d.client(command).to_server("");
  const auto told = d.take_to_client();
  INFO(command << " -> " << told);
  CHECK(told.starts_with(refusal));
  CHECK(std::count(told.begin(), told.end(), '\n') == 1);
  CHECK(d.client_verdict() == Verdict::need_more);
}

/// Returns the client's STARTTLS in another spelling. `change` gets the word.
std::string respelled(const Talk& talk, const std::function<void(std::string&)>& change) {
  const auto word_at = talk.starttls.rfind(' ') + 1;  // npos + 1: there is no tag
  std::string word(talk.starttls.substr(word_at, talk.starttls.size() - word_at - 2));
  change(word);
  return together({talk.starttls.substr(0, word_at), word, "\r\n"});
}

}  // namespace

TEST_CASE("cases: every row of the table is used", "[proto][table]") {
  for (const auto& row : protocols()) {
    CHECK(std::any_of(kTalks.begin(), kTalks.end(),
                      [&](const Talk& talk) { return talk.protocol == row.name; }));
  }
}

// ---------------------------------------------------------------- response injection

TEST_CASE("B1 B2 B5 B6 B7 every upstream: bytes after the go-ahead stay unread for the leg",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      for (const auto& injected : {std::string(talk.go_ahead), std::string(talk.list) + "x", "x"s,
                                   "\xff\xfe"s, "\n"s, "\0"s, "\x15\x03\x03"s}) {
        INFO(talk.protocol);
        Asked d{talk, mode};
        d.peer(std::string(talk.go_ahead) + injected).sends("");
        CHECK(d.verdict() == Verdict::start_tls);
        CHECK(d.unread() == injected);
      }
    }
  }
}

TEST_CASE("B10 G12 every upstream: a refusal followed by a fake session does not reach the client",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    const auto fake = together({talk.refusal, talk.answer, talk.answer});
    Asked required{talk};
    required.peer(fake).sends("");
    CHECK(required.error().code == Errc::tls_refused);
    CHECK(required.greeting().find(talk.answer) == std::string::npos);

    // In mode `opportunistic` the lines would pass for answers to the client's own commands.
    Asked opportunistic{talk, TlsMode::opportunistic};
    opportunistic.peer(fake).sends("");
    CHECK(opportunistic.error().code == Errc::attack);
  }
}

TEST_CASE("B11 B12 every upstream: a go-ahead before its question is an attack",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      INFO(talk.protocol);
      UpstreamDialogue with_greeting{talk.protocol, upstream(mode)};
      with_greeting.peer(together({talk.greeting, talk.go_ahead}));
      CHECK(with_greeting.error().code == Errc::attack);
      if (talk.hello.empty()) continue;
      UpstreamDialogue with_list{talk.protocol, upstream(mode)};
      with_list.peer(talk.greeting).sends(talk.hello);
      with_list.peer(together({talk.offer, talk.go_ahead}));
      CHECK(with_list.error().code == Errc::attack);
    }
  }
}

TEST_CASE(
    "B13 P2 P4 every upstream: input byte by byte works, and no part of a line decides anything",
    "[proto][cases]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      INFO(talk.protocol);
      UpstreamDialogue d{talk.protocol, upstream(mode)};
      // Says `words` byte by byte. Nothing may come before the last LF, which brings `reply`.
      const auto say = [&d](std::string_view words, std::string_view reply) {
        for (std::size_t i = 0; i + 1 < words.size(); ++i) {
          d.peer(words.substr(i, 1)).sends("");
          CHECK(d.verdict() == Verdict::need_more);
        }
        d.peer(words.substr(words.size() - 1)).sends(reply);
      };
      say(talk.greeting, talk.hello.empty() ? talk.asks : talk.hello);
      if (!talk.hello.empty()) say(talk.offer, talk.asks);
      say(talk.go_ahead, "");
      CHECK(d.verdict() == Verdict::start_tls);
      CHECK(d.unread().empty());
      d.secured().sends(talk.question);
      if (!talk.list.empty()) say(talk.list, "");
      CHECK(d.verdict() == Verdict::greeted);
    }
  }
}

TEST_CASE("B14 lmtp upstream: the go-ahead may have several lines", "[proto][cases]") {
  Asked d{kTalks[1]};
  d.peer("220-foo\r\n220 bar\r\nx");
  CHECK(d.verdict() == Verdict::start_tls);
  CHECK(d.unread() == "x");
}

// ---------------------------------------------------------------- negotiation

TEST_CASE("N1 N3 lmtp upstream: the session ends if STARTTLS is not offered",
          "[proto][cases][security]") {
  for (const auto* list : {"250-mx\r\n250 AUTH PLAIN\r\n", "500 what?\r\n", "502 no\r\n",
                           "550-no\r\n550 STARTTLS\r\n", "421 busy\r\n", "220 mx\r\n"}) {
    UpstreamDialogue d{"lmtp", upstream(TlsMode::starttls)};
    d.peer("220 mx\r\n").sends("LHLO proxy.example\r\n");
    d.peer(list).sends("");
    CHECK(d.error().code == Errc::tls_not_offered);
  }
}

TEST_CASE(
    "N2 N5 N9 every upstream: a refusal, or a line that only looks like a yes, ends the session",
    "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Asked refused{talk};
    refused.peer(talk.refusal).sends("");
    CHECK(refused.error().code == Errc::tls_refused);
    CHECK(refused.error().evidence == talk.refusal.substr(0, talk.refusal.size() - 2));
    for (const auto& line : {std::string(talk.almost), " " + std::string(talk.go_ahead),
                             "x" + std::string(talk.go_ahead), "\r\n"s}) {
      Asked d{talk};
      d.peer(line).sends("");
      CHECK(d.failed());
      CHECK(d.verdict() == Verdict::need_more);
    }
  }
}

TEST_CASE("N4 N8 N10 every upstream: garbage as greeting gets no answer",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      for (const auto& greeting :
           {"\r\n"s, "1Gdo00V4 wFaIW2WP\r\n"s, "SSH-2.0-x\r\n"s, "HTTP/1.1 200 OK\r\n"s,
            " " + std::string(talk.greeting), "\x15\x03\x03\r\n"s}) {
        INFO(talk.protocol);
        UpstreamDialogue d{talk.protocol, upstream(mode)};
        d.peer(greeting).sends("");
        CHECK(d.error().code == Errc::protocol);
        CHECK(d.greeting().empty());
      }
    }
  }
}

TEST_CASE("S5 every upstream: inside TLS the client's command is the first that the server gets",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Asked d{talk};
    d.peer(talk.go_ahead).sends("");
    d.secured().sends(talk.question);  // only imap asks; its answer joins the greeting
    if (!talk.list.empty()) d.peer(talk.list).sends("");
    CHECK(d.verdict() == Verdict::greeted);
  }
}

// ---------------------------------------------------------------- the parser, server's side

TEST_CASE("P5 P6 P7 P8 every upstream: a malformed line ends the session in every state",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    const auto check = [&talk](std::string_view where, std::string_view good, auto make) {
      const std::string line(good.substr(0, good.find('\r')));
      for (const auto& bad :
           {line + "\n", line + "\0\r\n"s, line + "\r\r\n", line + "\rx\r\n", "\n"s, "\0"s,
            line + std::string(kMaxLine, 'x'), std::string(std::size_t{1} << 16U, 'A')}) {
        INFO(talk.protocol << ' ' << where << ' ' << ascii::escape(bad, 40));
        auto d = make();
        d->peer(bad).sends("");
        CHECK(d->error().code == Errc::protocol);
      }
    };
    const auto fresh = [&talk] {
      return std::make_unique<UpstreamDialogue>(talk.protocol, upstream(TlsMode::starttls));
    };
    check("greeting", talk.greeting, fresh);
    if (!talk.hello.empty()) {
      check("list", talk.offer, [&] {
        auto d = fresh();
        d->peer(talk.greeting).sends(talk.hello);
        return d;
      });
    }
    check("go-ahead", talk.go_ahead, [&] { return std::make_unique<Asked>(talk); });
    if (talk.list.empty()) continue;
    check("inside TLS", talk.list, [&] {
      auto d = std::make_unique<Asked>(talk);
      d->peer(talk.go_ahead).secured().sends(talk.question);
      return d;
    });
  }
}

TEST_CASE("P9 T23 every upstream: bytes beyond ASCII stop nothing and do not reach the client",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    // After the first word, in the text.
    const auto odd = [](std::string_view line) {
      auto text = std::string(line.substr(0, line.size() - 2));
      if (text.ends_with("OK")) text += " \"\"";  // sieve's text is a string
      const auto at = text.size() - (text.ends_with('"') ? 1 : 0);
      return text.insert(at, "\x1b[31m \xc3\xa9\xff\xc0\x80\xf5 \x7f") + "\r\n";
    };
    UpstreamDialogue d{talk.protocol, upstream(TlsMode::starttls)};
    d.peer(odd(talk.greeting));
    if (!talk.hello.empty()) d.sends(talk.hello).peer(talk.offer);
    d.sends(talk.asks).peer(odd(talk.go_ahead));
    CHECK(d.verdict() == Verdict::start_tls);
    d.secured();
    if (!talk.list.empty()) d.peer(talk.list);
    REQUIRE(d.verdict() == Verdict::greeted);
    for (const char c : d.greeting()) CHECK((ascii::is_printable(c) || c == '\r' || c == '\n'));
  }
}

// ---------------------------------------------------------------- command injection

TEST_CASE("A1 A2 A3 A4 A5 A8 A9 every downstream: bytes that wait after STARTTLS stay unread",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      for (const auto& injected :
           {std::string(talk.command), std::string(talk.commit), std::string(talk.starttls), "N"s,
            "\r\n"s, "\n"s, "\0"s, kClientHello, kClientHello + std::string(talk.command)}) {
        INFO(talk.protocol);
        Greeted d{talk, mode};
        d.client(std::string(talk.starttls) + injected).to_server("").to_client("");
        CHECK(d.client_verdict() == Verdict::start_tls);
        CHECK(d.unread_client() == injected);
        d.secured().to_server("");
      }
    }
  }
}

TEST_CASE("A6 every downstream: bytes that come a segment after STARTTLS stay unread too",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted required{talk, TlsMode::starttls};
    required.client(talk.starttls).client(talk.command).to_server("").to_client("");
    CHECK(required.client_verdict() == Verdict::start_tls);
    CHECK(required.unread_client() == talk.command);

    // The same if the go-ahead has to wait for the server.
    Greeted offered{talk, TlsMode::opportunistic};
    offered.client(together({talk.command, talk.starttls})).to_server(talk.command);
    CHECK(offered.client_verdict() == Verdict::need_more);
    offered.client(talk.commit).to_server("").to_client("");
    offered.server(talk.answer).to_client(talk.answer);
    CHECK(offered.server_verdict() == Verdict::start_tls);
    CHECK(offered.unread_client() == talk.commit);
  }
}

TEST_CASE("A1 A2 A3 A4 A5 every downstream: go-ahead and refusal are the protocol's own",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      INFO(talk.protocol);
      const auto role = find_protocol(talk.protocol)->downstream(downstream(mode));
      std::string out;
      REQUIRE(role->begin(talk.protocol == "sieve" ? talk.list : talk.greeting, out));
      REQUIRE(role->from_client(talk.starttls, out, out));
      CHECK(role->go_ahead().starts_with(talk.begin_tls));
      CHECK(role->injection_reply().starts_with(talk.refused));
      for (const auto& words : {role->go_ahead(), role->injection_reply()}) {
        CHECK(words.ends_with("\r\n"));
      }
    }
  }
}

TEST_CASE("every downstream: D7: a client that begins with TLS is recognised by its first bytes",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls}) {
      INFO(talk.protocol << int(mode));
      Greeted d{talk, mode};
      d.client(kClientHello).to_server("").to_client("");
      CHECK(d.error().code == Errc::tls_on_clear_port);
      CHECK(d.error().reason ==
            "client began with TLS; this listener is for clear text / STARTTLS");
      Greeted later{talk, mode};
      later.client(together({talk.capabilities, kClientHello}));
      CHECK(later.error().code == Errc::client_protocol);
      Greeted other{talk, mode};
      other.client("\x16\r\n");
      CHECK(!other.failed());
    }
    Greeted implicit{talk, TlsMode::implicit};
    implicit.client(kClientHello).to_server("");
    CHECK(implicit.error().code == Errc::client_protocol);
    Greeted inside{talk, TlsMode::starttls};
    secure(inside, talk);
    inside.client(kClientHello).to_server("");
    CHECK(inside.error().code == Errc::client_protocol);
  }
}

TEST_CASE("every downstream: D9: a login longer than any line commits by its verb",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    const auto login = std::string(talk.commit.substr(0, talk.commit.size() - 2)) + " \"" +
                       std::string(90'000, 'x');
    for (const auto mode :
         {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
      INFO(talk.protocol << int(mode));
      Greeted d{talk, mode};
      d.client(login).to_server("").to_client("");
      if (mode == TlsMode::starttls) {
        CHECK(d.error().code == Errc::client_protocol);
        continue;
      }
      CHECK(d.client_verdict() == Verdict::relay);
      CHECK(d.unread_client() == login);
    }
  }
}

TEST_CASE("A10 P5 every downstream: only these lines are a STARTTLS", "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      INFO(talk.protocol);
      const auto lower = respelled(talk, [](std::string& word) {
        std::transform(word.begin(), word.end(), word.begin(), ascii::to_lower);
      });
      const auto trailing = respelled(talk, [](std::string& word) { word += ' '; });
      for (const auto& command : {lower, trailing}) {
        Greeted d{talk, mode};
        d.client(command).to_server("").to_client("");
        CHECK(d.client_verdict() == Verdict::start_tls);
      }
      Greeted argument{talk, mode};
      check_refused(argument, respelled(talk, [](std::string& word) { word += " x"; }),
                    talk.refused);
      secure(argument, talk);
    }
  }
}

TEST_CASE("every downstream: D13: a bare LF ends a line in every mode, and passes unchanged",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    const auto bare = [](std::string_view line) {
      return std::string(line.substr(0, line.size() - 2)) + '\n';
    };
    for (const auto mode :
         {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
      INFO(talk.protocol << int(mode));
      Greeted d{talk, mode};
      if (mode == TlsMode::starttls) {
        d.client(bare(talk.capabilities)).to_server("");
        CHECK(!d.take_to_client().empty());
        d.client(bare(talk.starttls)).to_server("").to_client("");
        CHECK(d.client_verdict() == Verdict::start_tls);
        CHECK(d.unread_client().empty());
        d.secured();
        static_cast<void>(d.take_to_client());
      }
      d.client(bare(talk.capabilities)).to_server(bare(talk.capabilities));
      d.server(together({talk.list_head, talk.list_tail}));
      CHECK(!d.take_to_client().empty());
      d.client(bare(talk.command)).to_server(bare(talk.command)).server(talk.answer);
      d.to_client(talk.answer);
      d.client(bare(talk.commit)).to_server("");
      CHECK(d.client_verdict() == Verdict::relay);
      CHECK(d.unread_client() == bare(talk.commit));
    }
  }
}

TEST_CASE("every downstream: D13: bytes that wait after STARTTLS and a bare LF stay unread",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      for (const auto& injected :
           {std::string(talk.command), "N"s, "\n"s, "\r\n"s, "\0"s, kClientHello}) {
        INFO(talk.protocol << int(mode));
        Greeted d{talk, mode};
        const auto starttls = talk.starttls.substr(0, talk.starttls.size() - 2);
        d.client(std::string(starttls) + '\n' + injected).to_server("").to_client("");
        CHECK(d.client_verdict() == Verdict::start_tls);
        CHECK(d.unread_client() == injected);
      }
    }
  }
}

TEST_CASE("A11 every downstream: STARTTLS may end a pipelined group", "[proto][cases]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted required{talk, TlsMode::starttls};
    required.client(together({talk.capabilities, talk.starttls})).to_server("");
    CHECK(!required.take_to_client().empty());
    CHECK(required.client_verdict() == Verdict::start_tls);
    CHECK(required.unread_client().empty());

    Greeted offered{talk, TlsMode::opportunistic};
    offered.client(together({talk.capabilities, talk.starttls})).to_server(talk.capabilities);
    CHECK(offered.client_verdict() == Verdict::need_more);
    offered.server(together({talk.list_head, talk.list_tail}));
    CHECK(offered.server_verdict() == Verdict::start_tls);
  }
}

TEST_CASE("A14 S4 every downstream: inside TLS STARTTLS is neither offered nor accepted",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    const auto check = [&talk](DownstreamDialogue& d) {
      INFO(talk.protocol);
      check_refused(d, talk.starttls, talk.refused);
      d.client(talk.capabilities).to_server(talk.capabilities);
      d.server(together({talk.list_head, talk.list_starttls, talk.list_tail}))
          .to_client(together({talk.list_head, talk.list_tail}));
    };
    for (const auto mode : kUpgrading) {
      Greeted d{talk, mode};
      secure(d, talk);
      check(d);
    }
    Greeted implicit{talk, TlsMode::implicit};
    check(implicit);
  }
}

// ---------------------------------------------------------------- state carried across TLS

TEST_CASE("A15 S1 lmtp downstream: no envelope and no LHLO outlives STARTTLS",
          "[proto][cases][security]") {
  constexpr std::string_view kMail = "MAIL FROM:<a@b>\r\n";
  const auto& talk = kTalks[1];
  Greeted d{talk, TlsMode::starttls};
  d.client("LHLO evil\r\n").to_server("");
  static_cast<void>(d.take_to_client());
  check_refused(d, kMail, "530 5.7.0 ");
  check_refused(d, "RCPT TO:<c@d>\r\n", "530 5.7.0 ");
  secure(d, talk);
  check_refused(d, kMail, "503 5.5.1 ");
  d.client("LHLO good\r\n").to_server("LHLO good\r\n").server("250 mx\r\n");
  d.client(kMail).to_server("");
  CHECK(d.client_verdict() == Verdict::relay);
}

TEST_CASE(
    "A15 S2 S3 every downstream: STARTTLS is data after the client has committed in the clear",
    "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    const auto group = together({talk.commit, talk.starttls});
    Greeted d{talk, TlsMode::opportunistic};
    d.client(group).to_server("").to_client("");
    CHECK(d.client_verdict() == Verdict::relay);
    CHECK(d.unread_client() == group);
  }
  // The same inside a mail transaction.
  for (const auto* protocol : {"smtp", "lmtp"}) {
    DownstreamDialogue d{protocol, downstream(TlsMode::opportunistic)};
    d.client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nSTARTTLS\r\n").to_server("");
    CHECK(d.client_verdict() == Verdict::relay);
  }
}

TEST_CASE("S2 S3 N14 N15 N16 every downstream: a login before TLS is refused, also a half one",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted d{talk, TlsMode::starttls};
    d.client(talk.commit).to_server("");
    const auto told = d.take_to_client();
    CHECK(std::count(told.begin(), told.end(), '\n') == 1);
    CHECK(!told.starts_with("334"));
    CHECK(!told.starts_with("+ "));
    CHECK(d.client_verdict() == Verdict::need_more);
    secure(d, talk);  // no SASL exchange has begun
    d.client(talk.command).to_server(talk.command);
  }
}

TEST_CASE("S6 K12 every downstream: the client's XCLIENT is refused, before TLS and inside it",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    const std::string_view tag = talk.protocol == "imap" ? "a " : "";
    const std::string_view refused = talk.protocol == "imap" ? "a " : "";
    for (const std::string_view name : {"XCLIENT", "xclient", "XFORWARD"}) {
      for (const auto mode :
           {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
        INFO(talk.protocol << ' ' << name << ' ' << int(mode));
        Greeted d{talk, mode};
        const auto command = together({tag, name, " ADDR=192.0.2.1\r\n"});
        check_refused(d, command, refused);
        if (upgrades(mode)) secure(d, talk);
        check_refused(d, command, refused);
        d.client(talk.command).to_server(talk.command);
        d.server(talk.answer).to_client(talk.answer);
      }
    }
  }
}

TEST_CASE(
    "S6 K12 imap sieve downstream: the literals of a refused XCLIENT are not read as commands",
    "[proto][cases][security]") {
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
    Greeted imap{kTalks[2], mode};
    check_refused(imap, "a XCLIENT {10+}\r\nb LOGOUT\r\n\r\n", "a NO ");
    imap.client("b NOOP\r\n").to_server("b NOOP\r\n");
    for (const auto* command : {"XCLIENT {8+}\r\nLOGOUT\r\n\r\n", "xclient\"ADDR=1.2.3.4\"\r\n"}) {
      Greeted sieve{kTalks[4], mode};
      check_refused(sieve, command, "NO ");
      sieve.client("NOOP\r\n").to_server("NOOP\r\n");
    }
  }
}

// ---------------------------------------------------------------- general

TEST_CASE("G1 smtp lmtp downstream: HELO passes in a session that upgrades", "[proto][cases]") {
  for (const auto* protocol : {"smtp", "lmtp"}) {
    DownstreamDialogue d{protocol, downstream(TlsMode::none)};
    d.client("HELO old\r\n").to_server("HELO old\r\n");
    d.server("250 mx\r\n").to_client("250 mx\r\n");
    d.client("MAIL FROM:<a@b>\r\n");
    CHECK(d.client_verdict() == Verdict::relay);
  }
}

TEST_CASE("G2 P1 M6 every downstream: bytes after the commit are not inspected", "[proto][cases]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    const auto group = together({talk.commit, talk.more});
    Greeted d{talk, TlsMode::none};
    d.client(together({talk.command, group})).to_server(talk.command).to_client("");
    CHECK(d.client_verdict() == Verdict::relay);
    CHECK(d.unread_client() == group);
    // The same for the server, after it has answered the earlier commands.
    const auto list = together({talk.list_head, talk.list_starttls, talk.list_tail});
    d.server(together({talk.answer, list})).to_client(talk.answer);
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_server() == list);
  }
}

TEST_CASE("G3 every downstream: the proxy refuses the client's STARTTLS if the leg has no TLS",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted d{talk, TlsMode::none};
    check_refused(d, talk.starttls, talk.refused);
    check_refused(d, respelled(talk, [](std::string& word) { word += " x"; }), talk.refused);
    d.client(talk.command).to_server(talk.command).to_client("");
  }
}

TEST_CASE("G4 every downstream: a goodbye as the first command is answered", "[proto][cases]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted own{talk, TlsMode::starttls};
    own.client(together({talk.goodbye, talk.command})).to_server("");
    CHECK(!own.take_to_client().empty());
    CHECK(own.client_verdict() == Verdict::finish);
    for (const auto mode : {TlsMode::none, TlsMode::implicit, TlsMode::opportunistic}) {
      Greeted servers{talk, mode};
      servers.client(talk.goodbye).to_server(talk.goodbye).to_client("");
      CHECK(servers.client_verdict() == Verdict::need_more);
    }
  }
}

TEST_CASE("G5 every downstream: a PROXY header without a configured balancer is a bad command",
          "[proto][cases][security]") {
  constexpr std::string_view kHeader = "PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n";
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted locked{talk, TlsMode::starttls};
    locked.client(kHeader).to_server("");
    CHECK(!locked.take_to_client().empty());
    secure(locked, talk);
  }
  // For an SMTP server it is one bad command among others.
  Greeted open{kTalks[0], TlsMode::none};
  open.client(kHeader).to_server(kHeader).server("500 what?\r\n").to_client("500 what?\r\n");
}

TEST_CASE("G7 G8 lmtp upstream: a reply must keep to its length and its code",
          "[proto][cases][security]") {
  UpstreamDialogue two_codes{"lmtp", upstream(TlsMode::starttls)};
  two_codes.peer("220-a\r\n250 b\r\n").sends("");
  CHECK(two_codes.error().code == Errc::protocol);
  std::string endless;
  while (endless.size() <= kMaxReply) endless += "220-" + std::string(1000, 'x') + "\r\n";
  UpstreamDialogue d{"lmtp", upstream(TlsMode::starttls)};
  d.peer(endless).sends("");
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE(
    "G9 smtp lmtp upstream: the reason of a server that refuses the proxy's name is passed on",
    "[proto][cases]") {
  for (const auto& talk : {kTalks[0], kTalks[1]}) {
    UpstreamDialogue d{talk.protocol, upstream(TlsMode::starttls)};
    d.peer(talk.greeting).sends(talk.hello);  // the configured name
    d.peer("550 5.7.1 Helo command rejected: need fully-qualified hostname\r\n").sends("");
    CHECK(d.error().code == Errc::tls_not_offered);
    CHECK(d.error().reason == "server refused " + std::string(talk.hello.substr(0, 4)));
    CHECK(d.error().evidence == "550 5.7.1 Helo command rejected: need fully-qualified hostname");
  }
}

// ---------------------------------------------------------------- the parser, client's side

TEST_CASE("P2 every downstream: all commands at once give the same result", "[proto][cases]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    // Every dialogue here is also said byte by byte.
    Greeted d{talk, TlsMode::opportunistic};
    d.client(together({talk.command, talk.capabilities, talk.command, talk.goodbye}));
    d.to_server(together({talk.command, talk.capabilities, talk.command, talk.goodbye}));
    d.server(together({talk.answer, talk.list_head, talk.list_tail, talk.answer}));
    const auto told = d.take_to_client();
    CHECK(told.starts_with(talk.answer));
    CHECK(told.ends_with(talk.answer));
    CHECK(!d.failed());
  }
}

TEST_CASE(
    "P5 P6 P7 P8 every downstream: a malformed command ends the session, and its text is not "
    "repeated",
    "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    const std::string command(talk.command.substr(0, talk.command.size() - 2));
    for (const auto mode :
         {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
      const std::vector<std::string> lines{command + "\0\r\n"s,
                                           "\0"s,
                                           command + "\r\r\n",
                                           command + "\rSECRET\r\n",
                                           command + ' ' + std::string(kMaxLine, 'S'),
                                           std::string(std::size_t{1} << 16U, 'S')};
      for (const auto& line : lines) {
        INFO(talk.protocol << ' ' << int(mode) << ' ' << ascii::escape(line, 40));
        Greeted d{talk, mode};
        d.client(line).to_server("").to_client("");
        CHECK(d.error().code == Errc::client_protocol);
        CHECK(d.error().evidence.empty());
        CHECK(d.error().reason.find('S') == std::string::npos);
      }
    }
  }
}

TEST_CASE("P9 every downstream: bytes beyond ASCII cause no crash, and pass with their command",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    const auto odd = together(
        {talk.command.substr(0, talk.command.size() - 2), " \"\xc3\xa9\xff\xc0\x80\x1b[31m\"\r\n"});
    Greeted open{talk, TlsMode::none};
    open.client(odd).to_server(odd).to_client("");
    Greeted locked{talk, TlsMode::starttls};
    locked.client(odd).client("\xff\xfe\xfd\r\n").to_server("");
    CHECK(!locked.failed());
    CHECK(!locked.take_to_client().empty());
  }
}

TEST_CASE("P20 every downstream: twenty errors end the session, in the clear and inside TLS",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    for (const bool over_tls : {false, true}) {
      INFO(talk.protocol << over_tls);
      Greeted d{talk, TlsMode::starttls};
      if (over_tls) secure(d, talk);
      const auto wrong = respelled(talk, [](std::string& word) { word += " x"; });
      for (int i = 0; i < 19; ++i) check_refused(d, wrong, talk.refused);
      d.client(wrong).to_server("").to_client("");
      CHECK(d.error().code == Errc::too_many_errors);
    }
  }
}

TEST_CASE("every downstream: S5: errors in the clear do not count inside TLS",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    for (const auto mode : kUpgrading) {
      INFO(talk.protocol << int(mode));
      Greeted d{talk, mode};
      const auto wrong = respelled(talk, [](std::string& word) { word += " x"; });
      for (int i = 0; i < 19; ++i) check_refused(d, wrong, talk.refused);
      secure(d, talk);
      for (int i = 0; i < 19; ++i) check_refused(d, wrong, talk.refused);
      d.client(wrong).to_server("").to_client("");
      CHECK(d.error().code == Errc::too_many_errors);
    }
  }
}

TEST_CASE("every downstream: S6: unsolicited lines of the server wait until the client has TLS",
          "[proto][cases][security]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted d{talk, TlsMode::starttls};
    d.server(talk.refusal).to_client("");
    d.client(talk.capabilities).to_server("").server(talk.answer);
    CHECK(d.take_to_client().find(talk.refusal) == std::string::npos);
    d.client(talk.starttls).to_client("");
    CHECK(d.client_verdict() == Verdict::start_tls);
    CHECK(d.unread_server() == together({talk.refusal, talk.answer}));
    d.secured();
    const auto told = d.take_to_client();
    CHECK(told.ends_with(together({talk.refusal, talk.answer})));
    CHECK(d.unread_server().empty());
  }
}

TEST_CASE("every downstream: D4: after the commit no rule of the prelude ends the session",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    if (talk.protocol == "imap") continue;  // any line may be a response there: imap_test.cc
    for (const auto& line :
         {"what is no reply\r\n"s, "\0\r\n"s, "\r\r\n"s, "\r\n"s, std::string(2 * kMaxLine, 'x')}) {
      INFO(talk.protocol << ' ' << ascii::escape(line, 20));
      const auto whole = together({line, talk.answer});
      Greeted d{talk, TlsMode::none};
      d.client(together({talk.command, talk.commit})).to_server(talk.command);
      d.server(whole).to_client("");
      CHECK(d.server_verdict() == Verdict::relay);
      CHECK(d.unread_server() == whole);
    }
  }
}

TEST_CASE("every downstream: D4: refusals of the server do not count after the commit",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted d{talk, TlsMode::none};
    const auto refusal = talk.protocol == "imap" ? "b BAD no\r\n"s
                         : talk.protocol == "smtp" || talk.protocol == "lmtp"
                             ? "500 no\r\n"s
                             : std::string(talk.refusal);
    std::string commands;
    std::string refusals;
    for (int i = 0; i < 25; ++i) {
      commands += talk.command;
      refusals += refusal;
    }
    d.client(commands + std::string(talk.commit)).to_server(commands);
    d.server(refusals + std::string(talk.answer)).to_client(refusals);
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_server() == talk.answer);
  }
}

// ---------------------------------------------------------------- capability lists

TEST_CASE("K1 K12 G15 every list: STARTTLS and XCLIENT are removed if they are not possible",
          "[proto][cases][caps]") {
  for (const auto& talk : kTalks) {
    const auto list = together({talk.list_head, talk.list_starttls, talk.list_xclient,
                                talk.list_starttls, talk.list_tail});
    const auto without = together({talk.list_head, talk.list_tail});
    for (const auto mode : {TlsMode::none, TlsMode::implicit}) {
      for (const auto server : {TlsMode::none, TlsMode::starttls, TlsMode::implicit}) {
        INFO(talk.protocol);
        Greeted d{talk, downstream(mode, server)};
        d.client(talk.capabilities).to_server(talk.capabilities);
        d.server(list).to_client(without);
      }
    }
    Greeted offered{talk, downstream(TlsMode::opportunistic, TlsMode::none)};
    offered.client(talk.capabilities).server(list);
    const auto told = offered.take_to_client();
    INFO(talk.protocol << ' ' << told);
    const auto word = talk.protocol == "pop3" ? "STLS" : "STARTTLS";
    CHECK(told.find(word) != std::string::npos);
    CHECK(told.find(word) == told.rfind(word));
    CHECK(told.find("XCLIENT") == std::string::npos);
  }
}

TEST_CASE("K2 every list: a refusal is not edited as a list", "[proto][cases][caps]") {
  for (const auto& talk : kTalks) {
    const auto at = talk.refused == "a BAD " ? "d BAD "s : std::string(talk.refusal.substr(0, 4));
    const auto refusal =
        talk.protocol == "sieve" ? "NO \"STARTTLS XCLIENT\"\r\n"s : at + " STARTTLS XCLIENT\r\n";
    for (const auto mode : {TlsMode::none, TlsMode::opportunistic}) {
      INFO(talk.protocol);
      Greeted d{talk, mode};
      d.client(talk.capabilities).server(refusal).to_client(refusal);
    }
  }
}

TEST_CASE("K5 K7 K11 lmtp list: the same mechanisms are removed as from smtp's list",
          "[proto][cases][caps][security]") {
  auto role = downstream(TlsMode::none);
  role.client_certificate = true;
  Greeted d{kTalks[1], role};
  d.client("LHLO a\r\n").to_server("LHLO a\r\n");
  d.server("250-mx\r\n250-AUTH PLAIN SCRAM-SHA-1-PLUS EXTERNAL\r\n250 AUTH=X-PLUS PLAIN\r\n")
      .to_client("250-mx\r\n250-AUTH PLAIN\r\n250 AUTH=PLAIN\r\n");
  check_refused(d, "AUTH EXTERNAL =\r\n", "504 5.5.4 ");
}

TEST_CASE("K9 S4 every downstream: the list before TLS offers STARTTLS, and no login",
          "[proto][cases][caps][security]") {
  for (const auto& talk : kTalks) {
    Greeted d{talk, TlsMode::starttls};
    d.client(talk.capabilities).to_server("");
    const auto told = d.take_to_client();
    INFO(talk.protocol << ' ' << told);
    CHECK(told.find(talk.protocol == "pop3" ? "STLS" : "STARTTLS") != std::string::npos);
    for (const auto* word : {"PLAIN", "AUTH", "USER", "LITERAL", "SASL-IR", "COMPRESS", "IDLE",
                             "PIPELINING", "CHUNKING", "READER", "fileinto"}) {
      CHECK(told.find(word) == std::string::npos);
    }
  }
}

TEST_CASE("K10 imap downstream: nothing is filtered after the login", "[proto][cases][caps]") {
  constexpr std::string_view kWords =
      "c OK [CAPABILITY STARTTLS AUTH=X-PLUS] in\r\n* CAPABILITY STARTTLS COMPRESS=DEFLATE\r\n";
  constexpr std::string_view kCommands =
      "c LOGIN u p\r\nd COMPRESS DEFLATE\r\n\x78\x9c\r\ne UNAUTHENTICATE\r\nf IDLE\r\nDONE\r\n";
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
    Greeted d{kTalks[2], mode};
    d.client(kCommands).to_server("").to_client("");
    CHECK(d.client_verdict() == Verdict::relay);
    CHECK(d.unread_client() == kCommands);
    d.server(kWords).to_client("");
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_server() == kWords);
  }
  // COMPRESS is a commit of its own: the bytes after it are no text.
  Greeted d{kTalks[2], TlsMode::none};
  d.client("c COMPRESS DEFLATE\r\n\x78\x9c\0");
  CHECK(d.client_verdict() == Verdict::relay);
}

TEST_CASE("M5 every downstream: pipelined replies keep their number and their order",
          "[proto][cases]") {
  for (const auto& talk : kTalks) {
    INFO(talk.protocol);
    Greeted d{talk, TlsMode::none};
    d.client(together({talk.command, talk.starttls, talk.capabilities, talk.commit}));
    d.to_server(together({talk.command, talk.capabilities}));
    CHECK(d.client_verdict() == Verdict::relay);
    const auto early = d.take_to_client();  // imap's tags leave the order of replies free
    CHECK(early.empty() == (talk.protocol != "imap"));
    d.server(talk.answer);
    const auto told = early + d.take_to_client();
    CHECK(told.find(talk.answer) != std::string::npos);
    CHECK(told.find(talk.refused) != std::string::npos);
    CHECK(std::count(told.begin(), told.end(), '\n') == 2);
    d.server(together({talk.list_head, talk.list_tail, "relayed"}));
    d.to_client(together({talk.list_head, talk.list_tail}));
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_server() == "relayed");
  }
}

#include "lib/proto/protocols.h"

#include <set>
#include <string>
#include <utility>

#include "lib/base/ascii.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;

namespace {

std::string reply(std::string_view protocol, Errc code) {
  return failure_reply(*find_protocol(protocol), Error{code, "why", "evidence"}, "proxy.example");
}

/// Every code except `tls_on_clear_port`, since the reply to that is no text.
constexpr Errc kAllCodes[] = {
    Errc::config,          Errc::system,
    Errc::unreachable,     Errc::timeout,
    Errc::closed,          Errc::greeting_refused,
    Errc::tls_not_offered, Errc::tls_refused,
    Errc::attack,          Errc::protocol,
    Errc::client_protocol, Errc::handshake,
    Errc::certificate,     Errc::tls,
    Errc::limit,           Errc::not_allowed,
    Errc::draining,        Errc::too_many_errors,
};

}  // namespace

TEST_CASE("protocols: every row has a name of its own, a port and both roles", "[proto][table]") {
  std::set<std::string_view> names;
  for (const auto& protocol : protocols()) {
    CHECK(names.insert(protocol.name).second);
    CHECK(find_protocol(protocol.name) == &protocol);
    CHECK(protocol.port != 0);
    for (const auto mode :
         {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
      CHECK(protocol.upstream({.upstream = mode, .hostname = "proxy.example"}) != nullptr);
      CHECK(protocol.downstream({.downstream = mode, .hostname = "proxy.example"}) != nullptr);
    }
  }
  CHECK(find_protocol("smtp")->tls_port == 465);
  CHECK(find_protocol("lmtp")->tls_port == 0);
}

TEST_CASE("protocols: a name that is not in the table is not found", "[proto][table]") {
  CHECK(find_protocol("gopher") == nullptr);
  CHECK(find_protocol("") == nullptr);
  CHECK(find_protocol("SMTP") == nullptr);
}

TEST_CASE("failure: a login whose secret did not come in time is a time-out", "[proto][table]") {
  Error error{Errc::login, "why"};
  error.timed_out = true;
  for (const auto* protocol : {"smtp", "lmtp"}) {
    CHECK(reply(protocol, Errc::login) == "421 4.7.0 proxy.example why\r\n");
    CHECK(failure_reply(*find_protocol(protocol), error, "proxy.example") ==
          "421 4.4.1 proxy.example why\r\n");
  }
}

TEST_CASE("failure: the code of smtp and lmtp shows what failed", "[proto][table]") {
  for (const auto* protocol : {"smtp", "lmtp"}) {
    CHECK(reply(protocol, Errc::unreachable) == "421 4.4.1 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::timeout) == "421 4.4.1 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::closed) == "421 4.4.1 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::greeting_refused) == "421 4.3.2 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::limit) == "421 4.3.2 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::draining) == "421 4.3.2 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::not_allowed) == "421 4.3.2 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::tls_not_offered) == "421 4.7.0 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::tls_refused) == "421 4.7.0 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::attack) == "421 4.7.0 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::too_many_errors) == "421 4.7.0 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::protocol) == "421 4.7.0 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::handshake) == "421 4.7.5 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::certificate) == "421 4.7.5 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::tls) == "421 4.7.5 proxy.example why\r\n");
    CHECK(reply(protocol, Errc::client_protocol) == "500 5.5.2 proxy.example why\r\n");
  }
}

TEST_CASE("failure: D7: a client that began with TLS gets an alert and nothing else",
          "[proto][table]") {
  using namespace std::string_view_literals;
  for (const auto& protocol : protocols()) {
    CHECK(reply(protocol.name, Errc::tls_on_clear_port) == "\x15\x03\x01\x00\x02\x02\x0a"sv);
  }
}

TEST_CASE("failure: a reply about the server names it", "[proto][table]") {
  const auto told = [](std::string_view protocol) {
    return failure_reply(*find_protocol(protocol), Error{Errc::unreachable, "connection refused"},
                         "proxy.example", "192.0.2.25:587");
  };
  constexpr std::string_view kWords =
      "proxy.example mail server 192.0.2.25:587: connection refused";
  CHECK(told("smtp") == "421 4.4.1 " + std::string(kWords) + "\r\n");
  CHECK(told("lmtp") == "421 4.4.1 " + std::string(kWords) + "\r\n");
  CHECK(told("imap") == "* BYE [UNAVAILABLE] " + std::string(kWords) + "\r\n");
  CHECK(told("pop3") == "-ERR [SYS/TEMP] " + std::string(kWords) + "\r\n");
  CHECK(told("sieve") == "BYE (TRYLATER) \"" + std::string(kWords) + "\"\r\n");
  CHECK(told("nntp") == "400 proxy.example news server 192.0.2.25:587: connection refused\r\n");
}

TEST_CASE("failure: a server's name leaves room for the reason", "[proto][table]") {
  const auto line = failure_reply(*find_protocol("smtp"), Error{Errc::certificate, "why"},
                                  std::string(255, 'h'), std::string(1000, 's'));
  CHECK(line.ends_with("s: why\r\n"));
  CHECK(line.size() <= 512);
}

TEST_CASE("failure: the reply is one line of printable ASCII within 512 bytes, for every row",
          "[proto][table][security]") {
  const std::string nasty = "a\r\n250 ok\r\n\x1b[31m\xc3\xa9" + std::string(2000, 'x');
  for (const auto& protocol : protocols()) {
    for (const auto code : kAllCodes) {
      for (const auto& reason : {nasty, std::string("short"), std::string{}}) {
        for (const auto& [hostname, server] :
             {std::pair{nasty, std::string{}}, std::pair{nasty, nasty},
              std::pair{std::string("proxy.example"), nasty}}) {
          const auto line =
              failure_reply(protocol, Error{code, reason, "secret evidence"}, hostname, server);
          REQUIRE(line.size() <= 512);
          REQUIRE(line.size() > 2);
          CHECK(line.ends_with(std::string(protocol.words.suffix) + "\r\n"));
          for (const char c : line.substr(0, line.size() - 2)) CHECK(ascii::is_printable(c));
          CHECK(line.find("evidence") == std::string::npos);
        }
      }
    }
  }
}

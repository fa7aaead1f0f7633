// Settings that can work but are seldom meant.

#include <string>
#include <vector>

#include "lib/config/describe.h"
#include "lib/config/mistakes.h"
#include "tests/support/catch.h"
#include "tests/support/loading.h"

using namespace starttls;
using config::Service;

namespace {

Service service(TlsMode downstream, TlsMode upstream, const std::string& server) {
  Service out;
  out.name = "office";
  out.protocol = "smtp";
  out.listen = {*config::parse_address("127.0.0.1:2525")};
  out.downstream.tls = downstream;
  out.upstream.tls = upstream;
  out.upstream.address = {*config::parse_address(server)};
  return out;
}

/// Returns the mistakes of a listener with these networks allowed.
Lines between(const std::string& listen, const std::vector<std::string>& networks) {
  auto out = service(TlsMode::none, TlsMode::starttls, "smtp.example.com:587");
  out.listen = {*config::parse_address(listen)};
  for (const auto& each : networks) out.downstream.allow.push_back(*config::parse_network(each));
  return likely_mistakes(out);
}

}  // namespace

TEST_CASE("mistakes: a port that contradicts the mode of the server leg is warned about",
          "[config]") {
  const auto mistakes = [](TlsMode mode, const std::string& port) {
    return likely_mistakes(service(TlsMode::none, mode, "mail.example.com:" + port));
  };
  for (const std::string port : {"465", "563", "993", "995"}) {
    CAPTURE(port);
    const Lines doubt = {"mail.example.com:" + port + ": port " + port +
                         " is for TLS from the first byte; did you mean upstream.tls = implicit?"};
    CHECK(mistakes(TlsMode::starttls, port) == doubt);
    CHECK(mistakes(TlsMode::opportunistic, port) == doubt);
    CHECK(mistakes(TlsMode::implicit, port) == Lines{});
    CHECK(mistakes(TlsMode::none, port) == Lines{});
  }
  for (const std::string port : {"25", "110", "119", "143", "587"}) {
    CAPTURE(port);
    CHECK(mistakes(TlsMode::implicit, port) ==
          Lines{"mail.example.com:" + port + ": port " + port +
                " is for STARTTLS; did you mean upstream.tls = starttls?"});
    CHECK(mistakes(TlsMode::starttls, port) == Lines{});
    CHECK(mistakes(TlsMode::opportunistic, port) == Lines{});
    CHECK(mistakes(TlsMode::none, port) == Lines{});
  }
  CHECK(mistakes(TlsMode::implicit, "4190") == Lines{});
  CHECK(likely_mistakes(service(TlsMode::none, TlsMode::starttls, "mail.example.com:465"),
                        config::Spelling::flags) ==
        Lines{"mail.example.com:465: port 465 is for TLS from the first byte; did you mean "
              "--upstream-tls implicit?"});
}

TEST_CASE(
    "mistakes: a port that contradicts the mode of the client leg is warned about, for each "
    "listener",
    "[config]") {
  auto out = service(TlsMode::implicit, TlsMode::none, "127.0.0.1:25");
  out.listen = {*config::parse_address("[::]:143"), *config::parse_address("0.0.0.0:993"),
                *config::parse_address("unix:/run/x.sock")};
  CHECK(likely_mistakes(out) ==
        Lines{"[::]:143: port 143 is for STARTTLS; did you mean downstream.tls = starttls?"});
  out.downstream.tls = TlsMode::starttls;
  CHECK(likely_mistakes(out) ==
        Lines{"0.0.0.0:993: port 993 is for TLS from the first byte; did you "
              "mean downstream.tls = implicit?"});
  // They are among the warnings.
  const auto warned = warnings(out);
  CHECK(std::find(warned.begin(), warned.end(), likely_mistakes(out).front()) != warned.end());
}

TEST_CASE("mistakes: allow and listen that exclude each other are warned about", "[config]") {
  const auto none = [](const std::string& listen) {
    return Lines{"no client in downstream.allow can reach " + listen};
  };
  CHECK(between("127.0.0.1:25", {"192.168.1.0/24"}) == none("127.0.0.1:25"));
  CHECK(between("[::1]:25", {"2001:db8::/32", "127.0.0.1"}) == none("[::1]:25"));
  CHECK(between("0.0.0.0:25", {"2001:db8::/32"}) == none("0.0.0.0:25"));
  CHECK(between("[::]:25", {"10.0.0.0/8"}) == none("[::]:25"));
  CHECK(between("[::]:25", {"0.0.0.0/0"}) == none("[::]:25"));
  CHECK(between("192.0.2.1:25", {"127.0.0.1", "::1"}) == none("192.0.2.1:25"));

  CHECK(between("127.0.0.1:25", {}) == Lines{});
  CHECK(between("127.0.0.1:25", {"127.0.0.0/8"}) == Lines{});
  CHECK(between("127.0.0.1:25", {"192.168.1.0/24", "127.0.0.1"}) == Lines{});
  CHECK(between("127.0.0.1:25", {"0.0.0.0/0"}) == Lines{});
  CHECK(between("[::1]:25", {"::/0"}) == Lines{});
  CHECK(between("[::1]:25", {"::1"}) == Lines{});
  CHECK(between("0.0.0.0:25", {"127.0.0.1"}) == Lines{});
  CHECK(between("[::]:25", {"fe80::/10"}) == Lines{});
  CHECK(between("192.0.2.1:25", {"192.0.2.0/24"}) == Lines{});
  CHECK(between("unix:/run/x.sock", {"192.0.2.0/24"}) == Lines{});
}

TEST_CASE("mistakes: a balancer may name clients of any address", "[config]") {
  auto out = service(TlsMode::none, TlsMode::starttls, "smtp.example.com:587");
  out.downstream.allow = {*config::parse_network("192.168.1.0/24")};
  CHECK(likely_mistakes(out).size() == 1);
  out.downstream.proxy_protocol = {*config::parse_network("127.0.0.1")};
  CHECK(likely_mistakes(out).empty());
}

#include "lib/config/exposure.h"

#include <string>
#include <string_view>

#include "lib/config/describe.h"
#include "lib/config/load.h"
#include "tests/support/catch.h"
#include "tests/support/loading.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using config::Exposure;

namespace {

constexpr std::string_view kEveryProtocol[] = {"smtp", "lmtp", "imap", "pop3", "sieve", "nntp"};
const std::string kEveryone = "downstream.allow = ['0.0.0.0/0', '::/0']\n";
const std::string kClientCa = "downstream.client_ca = 'ca.pem'\n";
const std::string kCertificate = "upstream.certificate = { chain = 'a.pem', key = 'a.key' }\n";

/// A configuration file with one service.
struct File {
  File() { folder.fill({"a.pem", "a.key", "ca.pem"}); }

  std::string protocol = "smtp";
  std::string listen = "'0.0.0.0:2525'";
  std::string tls = "starttls";

  /// Returns the problems of the service, without the file's name.
  [[nodiscard]] Lines problems(const std::string& more = "") const {
    std::string toml = "[[service]]\nname = 'office'\nprotocol = '" + protocol +
                       "'\nlisten = " + listen +
                       "\nupstream.address = '127.0.0.1:24'\nupstream.tls = 'starttls'\n";
    if (tls != "none") {
      toml += "downstream.tls = '" + tls +
              "'\ndownstream.certificates = [{ chain = 'a.pem', key = 'a.key' }]\n";
    }
    config::Config config;
    auto all = lines(config::load_text(toml + more, folder.file("f.toml"), kEveryProtocol, config));
    for (auto& each : all) each.erase(0, each.find(':') + 1);
    return all;
  }

 private:
  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("exposure: S1: mail from other hosts needs permission in every mode",
          "[config][security][S1]") {
  File file;
  file.protocol = GENERATE("smtp", "lmtp");
  file.tls = GENERATE("starttls", "implicit");
  CAPTURE(file.protocol, file.tls);
  const Lines refused = {
      "4:10: service.listen: any client that reaches 0.0.0.0:2525 could send mail through this "
      "service, and the server would take it for this machine's: name the allowed clients with "
      "downstream.allow = [\"192.168.1.0/24\"] (everyone: [\"0.0.0.0/0\", \"::/0\"]), or set "
      "downstream.client_ca, "
      "upstream.send_proxy or upstream.source"};
  CHECK(file.problems() == refused);
  CHECK(file.problems("downstream.allow = []") == refused);
  CHECK(file.problems("downstream.proxy_protocol = '10.0.0.1'") == refused);
  CHECK(file.problems("downstream.max_per_client = 1") == refused);
  CHECK(file.problems(kEveryone) == Lines{});
  CHECK(file.problems("downstream.allow = '10.0.0.0/8'") == Lines{});
  CHECK(file.problems(kClientCa) == Lines{});
  CHECK(file.problems("upstream.send_proxy = 'v1'") == Lines{});
  CHECK(file.problems("upstream.send_proxy = 'v2'") == Lines{});
  CHECK(file.problems("upstream.source = 'client'") == Lines{});
  // A key that is wrong is reported once, not twice.
  CHECK(file.problems("downstream.allow = 'x'").size() == 1);
  CHECK(file.problems("downstream.client_ca = 'missing.pem'").size() == 1);
  CHECK(file.problems("upstream.send_proxy = 'v3'").size() == 1);
  CHECK(file.problems("upstream.source = 'x'").size() == 1);

  file.listen = "['127.0.0.1:25', '[::1]:25', 'unix:/x', 'systemd:x']";
  CHECK(file.problems() == Lines{});
  file.listen = "['127.0.0.1:25', '[::]:25']";
  REQUIRE(file.problems().size() == 1);
  CHECK_THAT(file.problems()[0],
             StartsWith("4:10: service.listen: any client that reaches [::]:25 "));
}

TEST_CASE("exposure: S1: protocols that send no mail need no permission under TLS",
          "[config][security][S1]") {
  File file;
  file.protocol = GENERATE("imap", "pop3", "sieve", "nntp");
  CAPTURE(file.protocol);
  for (const auto* const tls : {"starttls", "implicit"}) {
    file.tls = tls;
    CHECK(file.problems() == Lines{});
  }
  for (const auto* const tls : {"none", "opportunistic"}) {
    file.tls = tls;
    CHECK(file.problems() ==
          Lines{"4:10: service.listen: any client that reaches 0.0.0.0:2525 could use this "
                "service: name the allowed clients with downstream.allow = [\"192.168.1.0/24\"]"});
    // With send_proxy the server knows the client, but everyone could still read the traffic.
    CHECK(file.problems("upstream.send_proxy = 'v2'").size() == 1);
    CHECK(file.problems(kEveryone) == Lines{});
  }
}

TEST_CASE(
    "exposure: S2: a client certificate for the server needs permission in every protocol and mode",
    "[config][security][S2]") {
  File file;
  file.protocol = GENERATE("smtp", "lmtp", "imap", "pop3", "sieve", "nntp");
  CAPTURE(file.protocol);
  for (const auto* const tls : {"starttls", "implicit"}) {
    file.tls = tls;
    const Lines refused = {
        "4:10: service.listen: any client that reaches 0.0.0.0:2525 could use our certificate at "
        "the server (upstream.certificate): name the allowed clients with downstream.allow = "
        "[\"192.168.1.0/24\"] (everyone: [\"0.0.0.0/0\", \"::/0\"]), or set downstream.client_ca"};
    CHECK(file.problems(kCertificate) == refused);
    CHECK(file.problems(kCertificate + "downstream.allow = []") == refused);
    CHECK(file.problems(kCertificate + "upstream.send_proxy = 'v2'") == refused);
    CHECK(file.problems(kCertificate + "upstream.source = 'client'") == refused);
    CHECK(file.problems(kCertificate + kEveryone) == Lines{});
    CHECK(file.problems(kCertificate + kClientCa) == Lines{});
  }
  for (const auto* const tls : {"none", "opportunistic"}) {
    file.tls = tls;
    CHECK(file.problems(kCertificate).size() == 1);
    CHECK(file.problems(kCertificate + kEveryone) == Lines{});
  }
  file.tls = "starttls";
  file.listen = "['127.0.0.1:25', '[::1]:25', 'unix:/x', 'systemd:x']";
  CHECK(file.problems(kCertificate) == Lines{});
}

TEST_CASE("exposure: S1: messages name flags as they were given", "[config][security][S1]") {
  const TemporaryFolder folder;
  folder.fill({"a.pem", "a.key"});
  config::Config config;
  const auto problems = [&](const std::vector<config::Flag>& more) {
    std::vector<config::Flag> flags = {{"--protocol", {"smtp"}},
                                       {"--listen", {"0.0.0.0:25"}},
                                       {"--upstream", {"127.0.0.1:26"}},
                                       {"--downstream-tls", {"starttls"}},
                                       {"--chain", {folder.file("a.pem")}},
                                       {"--key", {folder.file("a.key")}}};
    flags.insert(flags.end(), more.begin(), more.end());
    return lines(load_flags(flags, kEveryProtocol, config));
  };
  CHECK(problems({}) ==
        Lines{"--listen: any client that reaches 0.0.0.0:25 could send mail through this service, "
              "and the server would take it for this machine's: name the allowed clients with "
              "--allow 192.168.1.0/24 "
              "(everyone: --allow 0.0.0.0/0 --allow ::/0), or set --client-ca, --send-proxy or "
              "--source"});
  CHECK(problems({{"--allow", {"0.0.0.0/0", "::/0"}}}) == Lines{});
  const auto lent = problems(
      {{"--upstream-chain", {folder.file("a.pem")}}, {"--upstream-key", {folder.file("a.key")}}});
  REQUIRE(lent.size() == 1);
  CHECK_THAT(lent[0],
             ContainsSubstring("could use our certificate at the server "
                               "(--upstream-chain): name the allowed clients with --allow"));
}

TEST_CASE("exposure: S1: --check prints the clients that an inherited socket accepts",
          "[config][S1]") {
  config::Config config;
  config.services.resize(1);
  auto& service = config.services[0];
  service.protocol = "smtp";
  service.listen.resize(1);
  service.listen[0].inherited = "x";
  service.downstream.tls = TlsMode::starttls;
  const std::string local = "clients allowed   anyone on this machine (the start fails";
  CHECK_THAT(describe(config), ContainsSubstring(local));
  service.protocol = "imap";
  CHECK_THAT(describe(config), ContainsSubstring("clients allowed   anyone\n"));
  service.upstream.certificate = {"a.pem", "a.key"};
  CHECK_THAT(describe(config), ContainsSubstring(local));
}

// The keys about TLS: pins, certificates of clients, tickets, old versions.

#include <string>
#include <vector>

#include "lib/config/describe.h"
#include "lib/config/load.h"
#include "tests/support/catch.h"
#include "tests/support/loading.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using config::Config;
using config::Flag;

namespace {

const std::string kPin = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const std::string kOtherPin = "sha256:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// One service in a file of a folder. In messages the folder is called "/".
struct Loaded {
  Loaded() { folder.fill({"a.pem", "a.key", "ca.pem", "tickets"}); }

  TemporaryFolder folder;
  Config config;

  /// Returns the problems of a file with `more` on lines 6 and on.
  Lines problems(const std::string& more) {
    config = {};
    auto all = lines(config::load_text(
        "[[service]]\nname = 'office'\nprotocol = 'smtp'\nlisten = '127.0.0.1:2525'\n"
        "upstream.address = 'smtp.example.com:587'\n" +
            more,
        folder.file("f.toml"), kProtocols, config));
    const std::string prefix = folder.file("");
    for (auto& line : all) {
      for (auto at = line.find(prefix); at != line.npos; at = line.find(prefix)) {
        line.replace(at, prefix.size(), "/");
      }
    }
    return all;
  }
  config::Service& service() { return config.services.at(0); }
};

std::string with_tls(const std::string& mode, const std::string& more) {
  return "downstream.tls = '" + mode +
         "'\ndownstream.certificates = [{ chain = 'a.pem', key = 'a.key' }]\n" + more;
}

}  // namespace

TEST_CASE("load: every key about TLS sets its own value", "[config]") {
  Loaded file;
  const std::string more =
      "downstream.client_ca = 'ca.pem'\ndownstream.min_tls = '1.3'\n"
      "downstream.ticket_keys = 'tickets'\nupstream.pins = ['" +
      kPin + "', '" + kOtherPin + "']\nupstream.certificate = { chain = 'a.pem', key = 'a.key' }\n";
  REQUIRE(file.problems(with_tls("starttls", more)) == Lines{});
  const auto& down = file.service().downstream;
  CHECK(down.client_ca == file.folder.file("ca.pem"));
  CHECK(down.min_tls == TlsVersion::tls1_3);
  CHECK(down.ticket_keys == file.folder.file("tickets"));
  const auto& up = file.service().upstream;
  CHECK(up.pins == std::vector<Pin>{*parse_pin(kPin), *parse_pin(kOtherPin)});
  CHECK(up.certificate == ChainAndKey{file.folder.file("a.pem"), file.folder.file("a.key")});
}

TEST_CASE("load: without the keys about TLS the strict defaults apply", "[config][security]") {
  Loaded file;
  REQUIRE(file.problems(with_tls("implicit", "")) == Lines{});
  CHECK(file.service().downstream.client_ca.empty());
  CHECK(file.service().downstream.ticket_keys.empty());
  CHECK(file.service().downstream.min_tls == TlsVersion::tls1_2);
  CHECK(file.service().upstream.pins.empty());
  CHECK(file.service().upstream.certificate.chain.empty());
}

TEST_CASE("load: old TLS is possible for clients only", "[config][security][X17]") {
  Loaded file;
  const auto down = [&file](const std::string& version) {
    return file.problems(with_tls("starttls", "downstream.min_tls = '" + version + "'"));
  };
  for (const auto& [word, version] :
       {std::pair{"1.0", TlsVersion::tls1_0}, std::pair{"1.1", TlsVersion::tls1_1},
        std::pair{"1.2", TlsVersion::tls1_2}, std::pair{"1.3", TlsVersion::tls1_3}}) {
    CAPTURE(word);
    CHECK(down(word) == Lines{});
    CHECK(file.service().downstream.min_tls == version);
  }
  CHECK(down("3.0") ==
        Lines{"/f.toml:8:22: service.downstream.min_tls: must be one of 1.0, 1.1, 1.2, 1.3, not "
              "'3.0'"});
  for (const std::string word : {"1.0", "1.1"}) {
    CHECK(file.problems("upstream.min_tls = '" + word + "'") ==
          Lines{"/f.toml:6:20: service.upstream.min_tls: must be one of 1.2, 1.3, not '" + word +
                "'"});
  }
}

TEST_CASE("load: a malformed pin is reported at its place", "[config]") {
  Loaded file;
  const auto wrong = [](const std::string& column, const std::string& text) {
    return "/f.toml:6:" + column +
           ": service.upstream.pins: must be \"sha256:\" and the base64 of 32 bytes, not '" + text +
           "'; `starttls-proxy probe` prints a server's pin";
  };
  CHECK(file.problems("upstream.pins = []") == Lines{});
  CHECK(file.problems("upstream.pins = '" + kPin + "'") == Lines{});
  CHECK(file.service().upstream.pins.size() == 1);
  CHECK(file.problems("upstream.pins = ['sha256:AAAA']") == Lines{wrong("18", "sha256:AAAA")});
  CHECK(file.problems("upstream.pins = ['sha1:x', '']") ==
        Lines{wrong("18", "sha1:x"), wrong("28", "")});
  CHECK(file.problems("upstream.pins = [1]") ==
        Lines{"/f.toml:6:18: service.upstream.pins: must be a string, not a number"});
  const auto twice = file.problems("upstream.pins = ['" + kPin + "', '" + kPin + "']");
  REQUIRE(twice.size() == 1);
  CHECK(twice[0].find("service.upstream.pins: ") != twice[0].npos);
  CHECK(twice[0].find(kPin) != twice[0].npos);
}

TEST_CASE("load: the proxy's client certificate needs a chain and a key", "[config]") {
  Loaded file;
  const std::string it = "service.upstream.certificate";
  const auto problems = [&file](const std::string& value) {
    return file.problems("upstream.certificate = " + value);
  };
  CHECK(problems("{}") == Lines{});
  CHECK(problems("{ chain = 'a.pem', key = 'a.key' }") == Lines{});
  CHECK(file.problems("[service.upstream.certificate]\nchain = 'a.pem'\nkey = 'a.key'\n") ==
        Lines{});
  CHECK(file.service().upstream.certificate.key == file.folder.file("a.key"));
  const std::string wanted = ": must be a table such as { chain = \"a.pem\", key = \"a.key\" }";
  CHECK(problems("'a.pem'") == Lines{"/f.toml:6:24: " + it + wanted + ", not a string"});
  CHECK(problems("[{ chain = 'a.pem', key = 'a.key' }]") ==
        Lines{"/f.toml:6:24: " + it + wanted + ", not a list"});
  CHECK(problems("{ chain = 'a.pem' }") == Lines{"/f.toml:6:24: " + it + ".key: is required"});
  CHECK(problems("{ key = 'a.key' }") == Lines{"/f.toml:6:24: " + it + ".chain: is required"});
  CHECK(problems("{ chain = 'b.pem', key = 'a.key' }") ==
        Lines{"/f.toml:6:34: " + it + ".chain: '/b.pem': No such file or directory"});
  CHECK(problems("{ chain = 'a.pem', key = 'a.key', kay = 'x' }") ==
        Lines{"/f.toml:6:58: unknown key '" + it + ".kay': did you mean '" + it + ".key'?"});
}

TEST_CASE("load: TLS files that cannot be read are reported", "[config]") {
  Loaded file;
  for (const std::string key : {"client_ca", "ticket_keys"}) {
    CHECK(file.problems(with_tls("starttls", "downstream." + key + " = 'none'")) ==
          Lines{"/f.toml:8:" + std::to_string(15 + key.size()) + ": service.downstream." + key +
                ": '/none': No such file or directory"});
  }
}

TEST_CASE("load: TLS keys are refused for a leg in the clear", "[config][security]") {
  Loaded file;
  const auto idle = [](const std::string& place, const std::string& leg, const std::string& key) {
    return Lines{"/f.toml:" + place + ": service." + leg + "." + key +
                 ": has no effect while service." + leg +
                 ".tls is 'none': set 'starttls' there, or leave this out"};
  };
  CHECK(file.problems("downstream.client_ca = 'ca.pem'") ==
        idle("6:24", "downstream", "client_ca"));
  CHECK(file.problems("downstream.ticket_keys = 'tickets'") ==
        idle("6:26", "downstream", "ticket_keys"));
  const std::string clear = "upstream.tls = 'none'\n";
  CHECK(file.problems(clear + "upstream.pins = ['" + kPin + "']") ==
        idle("7:17", "upstream", "pins"));
  CHECK(file.problems(clear + "upstream.certificate = { chain = 'a.pem', key = 'a.key' }") ==
        idle("7:24", "upstream", "certificate"));
  CHECK(file.problems(clear + "upstream.pins = []\nupstream.certificate = {}") == Lines{});
  // If the mode itself is wrong, nothing else is reported.
  CHECK(file.problems("upstream.tls = 'x'\nupstream.pins = ['" + kPin + "']").size() == 1);
  CHECK(file.problems("downstream.tls = 'x'\ndownstream.client_ca = 'ca.pem'").size() == 1);
}

TEST_CASE("load: clients that may stay in the clear cannot be required to show a certificate",
          "[config][security][X15]") {
  Loaded file;
  const auto problems = [&file](const std::string& mode) {
    return file.problems(with_tls(mode, "downstream.client_ca = 'ca.pem'"));
  };
  CHECK(problems("opportunistic") ==
        Lines{"/f.toml:8:24: service.downstream.client_ca: cannot be required of clients that may "
              "stay in the clear: set service.downstream.tls to 'starttls'"});
  CHECK(problems("starttls") == Lines{});
  CHECK(problems("implicit") == Lines{});
}

TEST_CASE("flags: every key about TLS has its flag", "[config]") {
  const TemporaryFolder folder;
  folder.fill({"a.pem", "a.key", "ca.pem", "tickets"});
  Config config;
  const auto loading = [&config](const std::vector<Flag>& more) {
    std::vector<Flag> flags = {
        {"--protocol", {"smtp"}}, {"--listen", {"[::1]:25"}}, {"--upstream", {"a:25"}}};
    flags.insert(flags.end(), more.begin(), more.end());
    config = {};
    return lines(config::load_flags(flags, kProtocols, config));
  };
  const auto a = folder.file("a.pem");
  const auto key = folder.file("a.key");
  REQUIRE(loading({{"--downstream-tls", {"implicit"}},
                   {"--chain", {a}},
                   {"--key", {key}},
                   {"--client-ca", {folder.file("ca.pem")}},
                   {"--downstream-min-tls", {"1.0"}},
                   {"--ticket-keys", {folder.file("tickets")}},
                   {"--pin", {kPin, kOtherPin}},
                   {"--upstream-chain", {a}},
                   {"--upstream-key", {key}}}) == Lines{});
  const auto& service = config.services.at(0);
  CHECK(service.downstream.client_ca == folder.file("ca.pem"));
  CHECK(service.downstream.min_tls == TlsVersion::tls1_0);
  CHECK(service.downstream.ticket_keys == folder.file("tickets"));
  CHECK(service.upstream.pins.size() == 2);
  CHECK(service.upstream.certificate == ChainAndKey{a, key});

  CHECK(loading({{"--upstream-chain", {a}}}) ==
        Lines{"--upstream-chain: needs --upstream-key too"});
  CHECK(loading({{"--upstream-key", {key}}}) ==
        Lines{"--upstream-key: needs --upstream-chain too"});
  CHECK(loading({{"--pin", {"x"}}}) ==
        Lines{"--pin: must be \"sha256:\" and the base64 of 32 bytes, not 'x'; `starttls-proxy "
              "probe` prints a server's pin"});
  CHECK(loading({{"--client-ca", {a}}}) ==
        Lines{"--client-ca: has no effect while --downstream-tls is 'none': set 'starttls' there, "
              "or leave this out"});
  CHECK(loading(
            {{"--upstream-tls", {"none"}}, {"--upstream-chain", {a}}, {"--upstream-key", {key}}}) ==
        Lines{"--upstream-chain: has no effect while --upstream-tls is 'none': set 'starttls' "
              "there, or leave this out"});
}

TEST_CASE("describe: prints what a server must show, and what the proxy shows", "[config]") {
  Loaded file;
  using Catch::Matchers::ContainsSubstring;
  const auto said = [&file](const std::string& more) {
    REQUIRE(file.problems(more) == Lines{});
    return describe(file.config);
  };
  CHECK_THAT(said("upstream.pins = '" + kPin + "'"),
             ContainsSubstring("the name smtp.example.com, and the key: " + kPin + "\n"));
  CHECK_THAT(said("upstream.pins = ['" + kPin + "', '" + kOtherPin + "']"),
             ContainsSubstring(", and the key: one of " + kPin + ", " + kOtherPin + "\n"));
  CHECK_THAT(said("upstream.verify = 'none'\nupstream.pins = '" + kPin + "'"),
             ContainsSubstring("  verified          only the server's key: " + kPin + "\n"));
  CHECK_THAT(said("upstream.verify = 'none'"), ContainsSubstring("  verified          nothing\n"));
  CHECK_THAT(said("upstream.certificate = { chain = 'a.pem', key = 'a.key' }"),
             ContainsSubstring("  our certificate   " + file.folder.file("a.pem") +
                               " with the key " + file.folder.file("a.key") + "\n"));
}

TEST_CASE("warnings: old TLS is warned about, and a pin counts as verification",
          "[config][security][X17][X20]") {
  Loaded file;
  const auto warned = [&file](const std::string& more) {
    REQUIRE(file.problems(more) == Lines{});
    return warnings(file.service());
  };
  for (const std::string version : {"1.0", "1.1"}) {
    CHECK(warned(with_tls("starttls", "downstream.min_tls = '" + version + "'")) ==
          Lines{"TLS " + version +
                " is insecure and only for old devices: give each of them its own service "
                "(downstream.min_tls)"});
  }
  CHECK(warned(with_tls("starttls", "downstream.min_tls = '1.2'")).empty());
  CHECK(warned(with_tls("starttls", "downstream.client_ca = 'ca.pem'")).empty());
  CHECK(warned("upstream.verify = 'none'").size() == 1);
  CHECK(warned("upstream.verify = 'none'\nupstream.pins = '" + kPin + "'").empty());
}

#include "lib/config/load.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "lib/base/ascii.h"
#include "lib/config/describe.h"
#include "lib/config/schema.h"
#include "lib/config/unknown.h"
#include "tests/support/catch.h"
#include "tests/support/loading.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using namespace std::chrono_literals;
using config::Config;
using config::Flag;
namespace fs = std::filesystem;

namespace starttls::config {

std::ostream& operator<<(std::ostream& out, const Problem& problem) {
  return out << problem.where << ": " << problem.text;
}

}  // namespace starttls::config

namespace {

Lines problems_of(std::string_view toml) {
  Config config;
  return lines(load_text(toml, "f.toml", kProtocols, config));
}

Config good(std::string_view toml) {
  Config config;
  CHECK(lines(load_text(toml, "/etc/x/f.toml", kProtocols, config)) == Lines{});
  return config;
}

/// Returns a correct service of four lines. `more` is on lines 5 and on.
std::string office_and(const std::string& more) {
  return "[[service]]\nname = 'office'\nprotocol = 'smtp'\nlisten = '127.0.0.1:2525'\n" + more;
}

/// Returns the same with a server: five lines.
std::string whole_office_and(const std::string& more) {
  return office_and("upstream.address = 'smtp.example.com:587'\n" + more);
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

void replace(std::string& text, std::string_view what, std::string_view with) {
  const auto at = text.find(what);
  REQUIRE(at != std::string::npos);
  text.replace(at, what.size(), with);
}

}  // namespace

TEST_CASE("load: the smallest useful file", "[config]") {
  const auto config = good(whole_office_and(""));
  REQUIRE(config.services.size() == 1);
  const auto& service = config.services[0];
  CHECK(service.name == "office");
  CHECK(service.protocol == "smtp");
  CHECK(service.listen == std::vector<Address>{{"127.0.0.1", 2525, ""}});
  CHECK(service.upstream.address == std::vector<Address>{{"smtp.example.com", 587, ""}});
  CHECK(service.upstream.tls == TlsMode::starttls);
  CHECK(service.upstream.verify == Verification::full);
  CHECK(service.upstream.min_tls == TlsVersion::tls1_2);
  CHECK(service.upstream.post_quantum == PostQuantum::automatic);
}

TEST_CASE("load: every key sets its own value", "[config]") {
  TemporaryFolder folder;
  const auto ca = folder.write("ca.pem", "x");
  const auto path = folder.write("f.toml", R"(
[proxy]
workers = 3
hostname = "[192.0.2.1]"
user = "mail"
drain_timeout = "1m"
max_sessions = 77
sandbox = false
record_codec = "ssl"
record_cipher = "library"
[log]
level = "debug"
format = "json"
file = "logs/x.log"
[admin]
listen = "unix:run/admin.sock"
[timeouts]
connect = "1s"
handshake = "2s"
prelude = "3s"
command = "4s"
idle = "5s"
[[service]]
name = "a.b_c-9"
protocol = "lmtp"
listen = ["0.0.0.0:25", "[::]:25", "unix:run/x.sock"]
[service.downstream]
tls = "none"
allow = ["10.0.0.0/8", "::1"]
proxy_protocol = "10.9.9.9"
max_per_client = 21
[service.upstream]
address = ["[2001:db8::1]:24", "unix:/run/y.sock"]
tls = "opportunistic"
verify = "none"
server_name = "lmtp.example.com"
ca_file = "ca.pem"
min_tls = "1.3"
post_quantum = "off"
greeting_text = false
send_proxy = "v2"
[service.timeouts]
idle = "6s"
[[service]]
name = "second"
protocol = "smtp"
listen = "127.0.0.1:0"
upstream = { address = "10.0.0.1:25", tls = "implicit", warm = 12 }
)");
  Config config;
  REQUIRE(lines(load_file(path, kProtocols, config)) == Lines{});

  CHECK(config.proxy.workers == 3);
  CHECK(config.proxy.hostname == "[192.0.2.1]");
  CHECK(config.proxy.user == "mail");
  CHECK(config.proxy.drain_timeout == 1min);
  CHECK(config.proxy.max_sessions == 77);
  CHECK_FALSE(config.proxy.sandbox);
  CHECK(config.proxy.record_codec == RecordCodecChoice::library);
  CHECK(config.proxy.record_cipher == RecordCipherChoice::library);
  CHECK(config.log.level == config::LogLevel::debug);
  CHECK(config.log.format == config::LogFormat::json);
  CHECK(config.log.file == folder.file("logs/x.log"));
  CHECK(config.admin.listen == Address{"", 0, folder.file("run/admin.sock")});

  REQUIRE(config.services.size() == 2);
  const auto& first = config.services[0];
  CHECK(first.name == "a.b_c-9");
  CHECK(first.protocol == "lmtp");
  CHECK(first.listen == std::vector<Address>{{"0.0.0.0", 25, ""},
                                             {"::", 25, ""},
                                             {"", 0, folder.file("run/x.sock")}});
  CHECK(first.downstream.allow ==
        std::vector{*config::parse_network("10.0.0.0/8"), *config::parse_network("::1")});
  CHECK(first.downstream.proxy_protocol == std::vector{*config::parse_network("10.9.9.9")});
  CHECK(first.upstream.address ==
        std::vector<Address>{{"2001:db8::1", 24, ""}, {"", 0, "/run/y.sock"}});
  CHECK(first.upstream.tls == TlsMode::opportunistic);
  CHECK(first.upstream.verify == Verification::none);
  CHECK(first.upstream.server_name == "lmtp.example.com");
  CHECK(first.upstream.ca_file == ca);
  CHECK(first.upstream.min_tls == TlsVersion::tls1_3);
  CHECK(first.upstream.post_quantum == PostQuantum::off);
  CHECK_FALSE(first.upstream.greeting_text);
  CHECK(first.upstream.send_proxy == config::SendProxy::v2);
  CHECK(first.downstream.max_per_client == 21);
  CHECK(first.timeouts == config::Timeouts{1s, 2s, 3s, 4s, 6s});
  CHECK(config.services[1].timeouts == config::Timeouts{1s, 2s, 3s, 4s, 5s});
  CHECK(config.services[1].upstream.tls == TlsMode::implicit);
  CHECK(config.services[1].upstream.warm == 12);
}

TEST_CASE("load: the file's time-outs apply to services written before them", "[config]") {
  const auto config = good("timeouts.idle = '1h'\n" + whole_office_and("timeouts.prelude = '7s'"));
  CHECK(config.services[0].timeouts.idle == 1h);
  CHECK(config.services[0].timeouts.prelude == 7s);
  CHECK(good(whole_office_and("[timeouts]\nidle = '2h'")).services[0].timeouts.idle == 2h);
}

TEST_CASE("load: one wrong value is one problem, with its place, its key and a correction",
          "[config]") {
  struct Case {
    std::string toml;
    std::string problem;
  };
  const auto row = GENERATE(values<Case>({
      // Unknown keys.
      {"upstraem.tls = 'none'",
       "f.toml:6:1: unknown key 'service.upstraem': did you mean 'service.upstream'?"},
      {"upstream.veriyf = 'full'",
       "f.toml:6:10: unknown key 'service.upstream.veriyf': did you mean "
       "'service.upstream.verify'?"},
      {"verify = 'full'",
       "f.toml:6:1: unknown key 'service.verify': did you mean 'service.upstream.verify'?"},
      {"timeouts.idel = '1h'",
       "f.toml:6:10: unknown key 'service.timeouts.idel': did you mean 'service.timeouts.idle'?"},
      {"[lgo]\nlevel = 'info'", "f.toml:6:2: unknown key 'lgo': did you mean 'log'?"},
      {"[log]\nlevl = 'info'", "f.toml:7:1: unknown key 'log.levl': did you mean 'log.level'?"},
      {"[proxy]\nfrobnication = 1", "f.toml:7:1: unknown key 'proxy.frobnication'"},
      {"'upstream.tls' = 'none'",
       "f.toml:6:1: unknown key 'service.upstream.tls': did you mean 'service.upstream.tls'? (a "
       "dot inside quotes is part of the name)"},
      {"['proxy.workers']\nx = 1",
       "f.toml:6:2: unknown key 'proxy.workers': did you mean 'proxy.workers'? (a dot inside "
       "quotes is part of the name)"},
      {"\"a\\u001b\\n\" = 1", "f.toml:6:1: unknown key 'service.a\\x1b\\n'"},
      {"upstream.send_proxi = 'v2'",
       "f.toml:6:10: unknown key 'service.upstream.send_proxi': did you mean "
       "'service.upstream.send_proxy'?"},
      // Wrong types.
      {"upstream.tls = 1", "f.toml:6:16: service.upstream.tls: must be a string, not a number"},
      {"upstream.min_tls = 1.2",
       "f.toml:6:20: service.upstream.min_tls: must be a string, not a number with a fraction"},
      {"upstream.warm = '1'",
       "f.toml:6:17: service.upstream.warm: must be a whole number from 0 to 1000, not a string"},
      {"upstream.greeting_text = 'no'",
       "f.toml:6:26: service.upstream.greeting_text: must be true or false, not a string"},
      {"upstream.server_name = ['a']",
       "f.toml:6:24: service.upstream.server_name: must be a string, not a list"},
      {"downstream.allow = [ 1 ]",
       "f.toml:6:22: service.downstream.allow: must be a string, not a number"},
      {"downstream.allow = 1979-05-27",
       "f.toml:6:20: service.downstream.allow: must be a string, not a date or time"},
      {"downstream.allow.x = 1",
       "f.toml:6:12: service.downstream.allow: must be a string, not a table"},
      {"downstream = 'none'", "f.toml:6:14: service.downstream: must be a table, not a string"},
      {"[[log]]", "f.toml:6:1: log: must be a table, not a list"},
      {"[proxy]\nworkers = '1'",
       "f.toml:7:11: proxy.workers: must be a whole number from 0 to 1024, not a string"},
      {"[proxy]\nworkers = 1.0",
       "f.toml:7:11: proxy.workers: must be a whole number from 0 to 1024, not a number with a "
       "fraction"},
      {"[timeouts]\nidle = 35",
       "f.toml:7:8: timeouts.idle: must be a duration in quotes, such as \"10s\", not a number"},
      // Out of range.
      {"[proxy]\nworkers = 1025",
       "f.toml:7:11: proxy.workers: must be a whole number from 0 to 1024"},
      {"[proxy]\nworkers = -1",
       "f.toml:7:11: proxy.workers: must be a whole number from 0 to 1024"},
      {"[proxy]\nmax_sessions = 10000001",
       "f.toml:7:16: proxy.max_sessions: must be a whole number from 0 to 10000000"},
      {"[timeouts]\nidle = '0s'",
       "f.toml:7:8: timeouts.idle: '0s': a duration must be longer than 0"},
      {"timeouts.idle = '2d'",
       "f.toml:6:17: service.timeouts.idle: '2d': not a duration such as \"10s\", \"5m\", "
       "\"1h30m\" or \"250ms\""},
      {"[proxy]\ndrain_timeout = '-1s'",
       "f.toml:7:17: proxy.drain_timeout: '-1s': not a duration such as \"10s\", \"5m\", "
       "\"1h30m\" or \"250ms\""},
      // Wrong words.
      {"upstream.tls = 'tls'",
       "f.toml:6:16: service.upstream.tls: must be one of none, opportunistic, starttls, implicit, "
       "not 'tls'"},
      {"upstream.tls = 'STARTTLS'",
       "f.toml:6:16: service.upstream.tls: must be one of none, opportunistic, starttls, implicit, "
       "not 'STARTTLS'"},
      {"upstream.verify = 'no'",
       "f.toml:6:19: service.upstream.verify: must be one of full, none, not 'no'"},
      {"upstream.post_quantum = true",
       "f.toml:6:25: service.upstream.post_quantum: must be a string, not a boolean"},
      {"upstream.post_quantum = 'on'",
       "f.toml:6:25: service.upstream.post_quantum: must be one of auto, off, not 'on'"},
      {"upstream.min_tls = '1.1'",
       "f.toml:6:20: service.upstream.min_tls: must be one of 1.2, 1.3, not '1.1'"},
      {"downstream.tls = 'starttls'",
       "f.toml:6:18: service.downstream.tls: 'starttls' needs a certificate: add "
       "downstream.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]"},
      {"downstream.tls = 'x'",
       "f.toml:6:18: service.downstream.tls: must be one of none, opportunistic, starttls, "
       "implicit, "
       "not 'x'"},
      {"[log]\nlevel = 'trace'",
       "f.toml:7:9: log.level: must be one of error, warn, info, debug, not 'trace'"},
      {"[proxy]\nrecord_codec = 'raw'",
       "f.toml:7:16: proxy.record_codec: must be one of auto, ssl, not 'raw'"},
      {"[log]\nformat = ''", "f.toml:7:10: log.format: must be one of text, json, not ''"},
      // Wrong names and networks.
      {"upstream.server_name = '*.example.com'",
       "f.toml:6:24: service.upstream.server_name: '*.example.com': not a host name (letters, "
       "digits, '-' and dots) or IP address"},
      {"[proxy]\nhostname = 'a b'",
       "f.toml:7:12: proxy.hostname: 'a b': not a host name (letters, digits, '-' and dots) or IP "
       "address"},
      {"[proxy]\nhostname = '192.0.2.1'",
       "f.toml:7:12: proxy.hostname: '192.0.2.1': write an IP address in brackets here: "
       "[192.0.2.1]"},
      {"[proxy]\nhostname = '[2001:db8::1]'",
       "f.toml:7:12: proxy.hostname: '[2001:db8::1]': not an address literal such as [192.0.2.1] "
       "or [IPv6:::1]"},
      {"downstream.allow = ['10.0.0.1/8']",
       "f.toml:6:21: service.downstream.allow: '10.0.0.1/8': bits are set after the prefix: write "
       "10.0.0.0/8"},
      // Files.
      {"upstream.ca_file = '/nowhere/ca.pem'",
       "f.toml:6:20: service.upstream.ca_file: '/nowhere/ca.pem': No such file or directory"},
      {"upstream.ca_file = '/'", "f.toml:6:20: service.upstream.ca_file: '/': Is a directory"},
  }));
  CAPTURE(row.toml);
  CHECK(problems_of(whole_office_and(row.toml)) == Lines{row.problem});
}

TEST_CASE("load: an error at a string without quotes says how strings are written", "[config]") {
  const std::string hint =
      "not a value of TOML: a string is written in straight quotes, such as \"smtp\"";
  const std::string line =
      GENERATE(as<std::string>{}, "upstream.tls = starttls", "upstream.tls = “none”",
               "upstream.tls = none", "upstream.tls = implicit", "upstream.verify = full",
               "upstream.ca_file = /etc/ca.pem", "timeouts.idle = 30s", "timeouts.idle = 1h30m",
               "downstream.allow = 10.0.0.0/8", "downstream.allow = [192.0.2.1]");
  CAPTURE(line);
  const auto problems = problems_of(whole_office_and(line));
  REQUIRE(problems.size() == 1);
  CHECK_THAT(problems[0], Catch::Matchers::StartsWith("f.toml:6:"));
  CHECK_THAT(problems[0], Catch::Matchers::EndsWith(hint));
}

TEST_CASE("load: any other error of the parser has no hint about strings", "[config]") {
  const std::string line = GENERATE(as<std::string>{}, "upstream.tls none", "upstream.tls = 'none",
                                    "[upstream", "upstream.tls = 'none' 'none'", "upstream.tls =");
  CAPTURE(line);
  const auto problems = problems_of(whole_office_and(line));
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].find("straight quotes") == std::string::npos);
}

TEST_CASE("load: control characters are refused in the string of every key",
          "[config][security][P22]") {
  std::size_t strings = 0;
  for (const auto& key : config::keys()) {
    for (const auto* character : {"\\r\\n", "\\n", "\\u0000", "\\u001b", "\\u007f"}) {
      std::string toml = "[[service]]\n";
      if (!key.path.starts_with("service.")) toml.clear();
      auto name = std::string(toml.empty() ? key.path : key.path.substr(8));
      std::string value = std::string("\"x") + character + "y\"";
      if (key.path == "service.login.command" || key.path == "service.account.command") {
        value = "[" + value + "]";
      }
      for (const std::string_view list : {"downstream.certificates.", "destination.", "account."}) {
        if (!name.starts_with(list)) continue;
        value = "[{ " + name.substr(list.size()) + " = " + value + " }]";
        name.resize(list.size() - 1);
      }
      toml += name + " = " + value + "\n";
      CAPTURE(toml);
      const auto problems = problems_of(toml);
      // A secret is one line, but it may have any other character.
      const bool secret = key.path.ends_with(".secret") || key.path.ends_with(".password");
      const std::string_view characters = secret ? "a line break or NUL" : "a control character";
      const auto refused =
          std::any_of(problems.begin(), problems.end(), [&](const std::string& problem) {
            return problem.find(std::string(key.path) + ": contains " + std::string(characters)) !=
                   std::string::npos;
          });
      const bool allowed = secret && (character == std::string_view("\\u001b") ||
                                      character == std::string_view("\\u007f"));
      // A value that is not a string is refused for its type.
      const bool typed =
          key.path == "proxy.workers" || key.path == "proxy.max_sessions" ||
          key.path == "proxy.sandbox" || key.path == "service.upstream.greeting_text" ||
          key.path == "service.upstream.warm" || key.path == "service.downstream.max_per_client" ||
          key.path == "service.downstream.certificates" || key.path == "service.destination" ||
          key.path == "service.account" || key.path.ends_with(".token") ||
          key.path == "service.upstream.certificate";
      CHECK(refused == (!typed && !allowed));
      for (const auto& problem : problems) {
        CHECK(ascii::printable(problem, problem.size()) == problem);
      }
      ++strings;
    }
  }
  CHECK(strings == config::keys().size() * 5);
}

TEST_CASE("load: a service's name must be a label", "[config]") {
  const auto named = [](const std::string& name) {
    std::string toml = whole_office_and("");
    replace(toml, "'office'", "'" + name + "'");
    return problems_of(toml);
  };
  CHECK(named("a") == Lines{});
  CHECK(named("") == Lines{"f.toml:2:8: service.name: must not be empty"});
  CHECK(named("a b") == Lines{"f.toml:2:8: service.name: must be at most 64 letters, digits, '.', "
                              "'_' or '-', not 'a b'"});
  CHECK(named(std::string(65, 'x')).size() == 1);
}

TEST_CASE("load: listen accepts addresses of this machine, and no names", "[config]") {
  const auto listening = [](const std::string& listen) {
    std::string toml = whole_office_and("downstream.allow = '10.0.0.0/8'");
    replace(toml, "'127.0.0.1:2525'", listen);
    return problems_of(toml);
  };
  CHECK(listening("['127.0.0.1:25', '[::1]:25', '0.0.0.0:26', 'unix:/run/x']") == Lines{});
  CHECK(listening("'127.0.0.1:0'") == Lines{});
  CHECK(listening("['127.0.0.1:0', '127.0.0.1:0']") == Lines{});
  CHECK(listening("'localhost:25'") ==
        Lines{"f.toml:4:10: service.listen: 'localhost:25': a name is not an address to listen on: "
              "write the IP address, 127.0.0.1 or [::1]"});
  CHECK(listening("'mail.example.com:25'") ==
        Lines{"f.toml:4:10: service.listen: 'mail.example.com:25': a name is not an address to "
              "listen on: write the IP address"});
  CHECK(listening("'*:25'") == Lines{"f.toml:4:10: service.listen: '*' is not an address: write "
                                     "0.0.0.0:PORT or [::]:PORT, or both"});
  CHECK(listening("'2525'") == Lines{"f.toml:4:10: service.listen: '2525': the address is missing: "
                                     "write 127.0.0.1:2525"});
  CHECK(listening("[]") == Lines{"f.toml:4:10: service.listen: must name at least one address"});
  CHECK(listening("25") == Lines{"f.toml:4:10: service.listen: must be a string, not a number"});
  CHECK(listening("['127.0.0.1:25',\n 'x',\n '[::1]:25',\n '127.0.0.1:25']") ==
        Lines{"f.toml:5:2: service.listen: 'x': the port is missing: write HOST:PORT",
              "f.toml:7:2: service.listen: names 127.0.0.1:25 twice"});
}

TEST_CASE("load: listen accepts inherited sockets by their name", "[config]") {
  const auto listening = [](const std::string& listen) {
    std::string toml = whole_office_and("");
    replace(toml, "'127.0.0.1:2525'", listen);
    return problems_of(toml);
  };
  // The loader cannot know if others can reach these sockets and if `allow` is needed. That is
  // checked when the sockets are there.
  CHECK(listening("['systemd:smtp', 'systemd:a name of 23 bytes.', '127.0.0.1:25']") == Lines{});
  constexpr auto kWrong =
      ": write systemd:NAME, with the name that FileDescriptorName= gives the socket (ASCII, no "
      "':')";
  for (const std::string name : {"", "a:b", "\xc3\xa4"}) {
    CHECK(listening("'systemd:" + name + "'") ==
          Lines{"f.toml:4:10: service.listen: 'systemd:" + ascii::escape(name) + "'" + kWrong});
  }
  CHECK(listening("'systemd:" + std::string(256, 'x') + "'").size() == 1);
  CHECK(listening("['systemd:smtp', 'systemd:smtp']") ==
        Lines{"f.toml:4:27: service.listen: names systemd:smtp twice"});
  CHECK(
      problems_of(whole_office_and("") +
                  "[[service]]\nname = 'b'\nprotocol = 'smtp'\nlisten = "
                  "'systemd:a'\nupstream.address = 'c.example:25'\n[[service]]\nname "
                  "= 'c'\nprotocol = 'smtp'\nlisten = 'systemd:a'\nupstream.address "
                  "= 'c.example:25'\n") ==
      Lines{
          "f.toml:14:10: service.listen: systemd:a is already used by the service at f.toml:6:1"});
}

TEST_CASE("load: an upstream address must have a port", "[config]") {
  const auto connecting = [](const std::string& address) {
    return problems_of(office_and("upstream.address = " + address + "\n"));
  };
  CHECK(connecting("['a.example:25', '[::1]:25', '10.0.0.1:25']") == Lines{});
  CHECK(
      connecting("'smtp.example.com'") ==
      Lines{"f.toml:5:20: service.upstream.address: 'smtp.example.com': the port is missing: write "
            "HOST:PORT"});
  CHECK(connecting("'smtp.example.com:0'") ==
        Lines{"f.toml:5:20: service.upstream.address: 'smtp.example.com:0': no server listens on "
              "port 0"});
  CHECK(connecting("''") ==
        Lines{"f.toml:5:20: service.upstream.address: '': the host is missing"});
  CHECK(connecting("[]") ==
        Lines{"f.toml:5:20: service.upstream.address: must name at least one address"});
  CHECK(connecting("['original-destination', 'a:25']") ==
        Lines{"f.toml:5:21: service.upstream.address: 'original-destination' must be the only "
              "address: no other can replace it"});
  CHECK(connecting("['a:25', 'a:25']") ==
        Lines{"f.toml:5:29: service.upstream.address: names a:25 twice"});
  CHECK(connecting("'127.0.0.1:2525'") ==
        Lines{"f.toml:5:20: service.upstream.address: 127.0.0.1:2525 is where this service itself "
              "listens"});
}

TEST_CASE("load: a service that is its own server is refused under any name", "[config]") {
  const auto loops = [](const std::string& listen, const std::string& server) {
    const auto problems = problems_of(
        "[[service]]\nname = 'a'\nprotocol = 'smtp'\ndownstream.allow = '127.0.0.1'\nlisten = '" +
        listen + "'\nupstream.address = '" + server + "'\n");
    if (!problems.empty()) {
      CHECK(problems == Lines{"f.toml:6:20: service.upstream.address: " + server +
                              " is where this service itself listens"});
    }
    return !problems.empty();
  };
  CHECK(loops("0.0.0.0:25", "localhost:25"));
  CHECK(loops("[::]:25", "LocalHost:25"));
  CHECK(loops("0.0.0.0:25", "127.0.0.1:25"));
  CHECK(loops("0.0.0.0:25", "127.0.0.2:25"));
  CHECK(loops("0.0.0.0:25", "0.0.0.0:25"));
  CHECK(loops("[::]:25", "[::1]:25"));
  CHECK(loops("127.0.0.1:25", "localhost:25"));
  CHECK(loops("[::1]:25", "localhost:25"));
  CHECK(loops("127.0.0.1:25", "0.0.0.0:25"));
  CHECK(loops("[::1]:25", "[::]:25"));
  // These addresses may belong to another server.
  CHECK_FALSE(loops("0.0.0.0:25", "localhost:26"));
  CHECK_FALSE(loops("0.0.0.0:25", "mail.example.com:25"));
  CHECK_FALSE(loops("0.0.0.0:25", "192.0.2.1:25"));
  CHECK_FALSE(loops("0.0.0.0:25", "[::1]:25"));
  CHECK_FALSE(loops("[::]:25", "127.0.0.1:25"));
  CHECK_FALSE(loops("127.0.0.1:25", "127.0.0.2:25"));
  CHECK_FALSE(loops("127.0.0.2:25", "localhost:25"));
  CHECK_FALSE(loops("127.0.0.1:25", "[::1]:25"));
  CHECK_FALSE(loops("192.0.2.1:25", "localhost:25"));
}

TEST_CASE("load: services may be each other's servers, except in a circle", "[config]") {
  const auto service = [](const std::string& name, int listen, int server) {
    return "[[service]]\nname = '" + name +
           "'\nprotocol = 'smtp'\nlisten = '127.0.0.1:" + std::to_string(listen) +
           "'\nupstream.address = 'localhost:" + std::to_string(server) + "'\n";
  };
  CHECK(problems_of(service("a", 1000, 1001) + service("b", 1001, 1002) + service("c", 1002, 25)) ==
        Lines{});
  CHECK(problems_of(service("c", 1002, 25) + service("b", 1001, 1002) + service("a", 1000, 1001)) ==
        Lines{});
  CHECK(
      problems_of(service("a", 1000, 1001) + service("b", 1001, 1002) + service("c", 1002, 1000)) ==
      Lines{"f.toml:15:20: service.upstream.address: localhost:1000 leads back to this service, "
            "through the service at f.toml:1:1"});
}

TEST_CASE("load: a unix upstream with verified TLS needs a name to verify", "[config][security]") {
  const auto unix_and = [](const std::string& more) {
    return problems_of(office_and("upstream.address = 'unix:/run/x'\n" + more));
  };
  const Lines refused{
      "f.toml:5:20: service.upstream.address: unix:/run/x gives no name to verify: set "
      "service.upstream.server_name"};
  CHECK(unix_and("") == refused);
  CHECK(unix_and("upstream.tls = 'opportunistic'") == refused);
  CHECK(unix_and("upstream.tls = 'implicit'") == refused);
  CHECK(unix_and("upstream.tls = 'none'") == Lines{});
  CHECK(unix_and("upstream.verify = 'none'") == Lines{});
  CHECK(unix_and("upstream.server_name = 'mx.example.com'") == Lines{});
}

TEST_CASE("load: destination rows set what is expected of an intercepted client's server",
          "[config]") {
  const TemporaryFolder folder;
  const auto ca_file = folder.write("ca.pem", "x");
  const auto config = good(office_and("upstream.ca_file = '" + ca_file + R"('
upstream.address = 'original-destination'
upstream.source = 'client'
[[service.destination]]
networks = ['192.0.2.0/24', '2001:db8::/32']
server_name = 'mx.example.com'
[[service.destination]]
networks = '192.0.2.7'
verify = 'none'
tls = 'implicit'
pins = 'sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
)"));
  const auto& service = config.services[0];
  CHECK(service.upstream.original_destination);
  CHECK(service.upstream.address.empty());
  CHECK(service.upstream.from_client);
  REQUIRE(service.destinations.size() == 2);

  const auto first = config::upstream_at(service.upstream, service.destinations[0]);
  CHECK(first.server_name == "mx.example.com");
  CHECK(first.tls == TlsMode::starttls);
  CHECK(first.verify == Verification::full);
  CHECK(first.ca_file == ca_file);
  const auto second = config::upstream_at(service.upstream, service.destinations[1]);
  CHECK(second.server_name.empty());
  CHECK(second.tls == TlsMode::implicit);
  CHECK(second.verify == Verification::none);
  CHECK(second.pins.size() == 1);
}

TEST_CASE("load: an intercepted destination address gives no name to verify",
          "[config][security]") {
  const auto original_and = [](const std::string& more) {
    return problems_of(office_and("upstream.address = 'original-destination'\n" + more));
  };
  const Lines refused{
      "f.toml:5:20: service.upstream.address: the address a client meant to reach gives no name to "
      "verify: write [[service.destination]] rows, or set service.upstream.server_name"};
  CHECK(original_and("") == refused);
  CHECK(original_and("upstream.tls = 'opportunistic'") == refused);
  CHECK(original_and("upstream.tls = 'none'") == Lines{});
  CHECK(original_and("upstream.verify = 'none'") == Lines{});
  CHECK(original_and("upstream.server_name = 'mx.example.com'") == Lines{});

  const std::string row = "[[service.destination]]\nnetworks = '192.0.2.0/24'\n";
  CHECK(original_and(row) == Lines{"f.toml:6:1: service.destination.server_name: is required: "
                                   "without a name, the server cannot be verified"});
  CHECK(original_and(row + "server_name = 'a.example'") == Lines{});
  CHECK(original_and(row + "verify = 'none'") == Lines{});
  CHECK(original_and("upstream.server_name = 'a.example'\n" + row) == Lines{});
  // Without a row and a name, connections are refused at run time. A row without a name is refused
  // now.
  CHECK(original_and("upstream.verify = 'none'\n" + row + "verify = 'full'").size() == 1);
  CHECK(original_and("upstream.verify = 'none'\n" + row + "server_name = 'a.example'") ==
        Lines{"f.toml:9:15: service.destination.server_name: is not checked while "
              "service.upstream.verify is 'none': set verify in this row"});
  CHECK(original_and("upstream.verify = 'none'\n" + row +
                     "server_name = 'a.example'\nverify = 'none'") == Lines{});
}

TEST_CASE("load: each contradictory destination row is refused at its place", "[config]") {
  const auto rows = [](const std::string& more) {
    return problems_of(
        office_and("upstream.address = 'original-destination'\n"
                   "upstream.server_name = 'a.example'\n" +
                   more));
  };
  const std::string row = "[[service.destination]]\n";
  CHECK(rows(row) == Lines{"f.toml:7:1: service.destination.networks: is required"});
  CHECK(rows(row + "networks = []") ==
        Lines{"f.toml:8:12: service.destination.networks: must name at least one network"});
  CHECK(rows(row + "networks = '10.0.0.1/8'").size() == 1);
  CHECK(
      rows(row + "networks = '10.0.0.0/8'\n" + row + "networks = ['10.1.0.0/16', '10.0.0.0/8']") ==
      Lines{"f.toml:10:12: service.destination.networks: 10.0.0.0/8 is already in an earlier row"});
  CHECK(rows(row + "networks = '10.0.0.0/8'\nserver_nam = 'x'") ==
        Lines{"f.toml:9:1: unknown key 'service.destination.server_nam': did you mean "
              "'service.destination.server_name'?"});
  CHECK(rows(row + "networks = '10.0.0.0/8'\ntls = 'none'\nserver_name = 'x.example'") ==
        Lines{"f.toml:10:15: service.destination.server_name: has no effect while tls is 'none'"});
  CHECK(rows("[service.destination]\nnetworks = '10.0.0.0/8'") ==
        Lines{"f.toml:7:1: service.destination: must be an array of tables: write "
              "[[service.destination]], not a table"});
  CHECK(problems_of(whole_office_and(row + "networks = '10.0.0.0/8'")) ==
        Lines{"f.toml:6:1: service.destination: has no effect: it is for services with "
              "upstream.address = \"original-destination\""});
}

TEST_CASE("load: interception needs clients with addresses, from known networks",
          "[config][security]") {
  const std::string start = "[[service]]\nname = 'x'\nprotocol = 'smtp'\n";
  const std::string original =
      "upstream.address = 'original-destination'\nupstream.server_name = 'a.example'\n";
  CHECK(problems_of(start + "listen = 'unix:/run/x'\n" + original) ==
        Lines{"f.toml:4:10: service.listen: connections cannot be redirected to unix:/run/x: "
              "listen on a "
              "port"});
  CHECK(problems_of(start + "listen = 'unix:/run/x'\nupstream.address = 'a:25'\n"
                            "upstream.source = 'client'") ==
        Lines{"f.toml:6:19: service.upstream.source: clients of unix:/run/x have no address to "
              "connect from"});
  CHECK(problems_of(whole_office_and("upstream.source = '10.0.0.1'")) ==
        Lines{"f.toml:6:19: service.upstream.source: must be \"client\" or \"\", not "
              "'10.0.0.1'"});
  // There is no accidental open relay here either.
  CHECK(problems_of(start + "listen = '0.0.0.0:25'\n" + original) ==
        Lines{"f.toml:4:10: service.listen: any client that reaches 0.0.0.0:25 could use this "
              "service: name the allowed clients with downstream.allow = [\"192.168.1.0/24\"]"});
}

TEST_CASE("load: remote clients in the clear need permission", "[config][security]") {
  const auto listening = [](const std::string& listen, const std::string& more) {
    std::string toml = whole_office_and(more);
    replace(toml, "'127.0.0.1:2525'", listen);
    return problems_of(toml);
  };
  const auto refused = [](const std::string& address) {
    return Lines{"f.toml:4:10: service.listen: any client that reaches " + address +
                 " could use this service: name the allowed clients with downstream.allow = "
                 "[\"192.168.1.0/24\"]"};
  };
  CHECK(listening("'0.0.0.0:25'", "") == refused("0.0.0.0:25"));
  CHECK(listening("'[::]:25'", "") == refused("[::]:25"));
  CHECK(listening("'192.168.1.1:25'", "downstream.tls = 'none'") == refused("192.168.1.1:25"));
  CHECK(listening("['127.0.0.1:25', 'unix:/x', '10.0.0.1:25']", "") == refused("10.0.0.1:25"));
  CHECK(listening("'0.0.0.0:25'", "downstream.allow = []") == refused("0.0.0.0:25"));
  CHECK(listening("'0.0.0.0:25'", "downstream.allow = '10.0.0.0/8'") == Lines{});
  CHECK(listening("['127.0.0.2:25', '[::1]:25', 'unix:/x']", "") == Lines{});
  // A wrong network is reported once, not twice.
  CHECK(listening("'0.0.0.0:25'", "downstream.allow = 'x'").size() == 1);
}

TEST_CASE("load: S1: remote smtp clients that must use TLS need permission too",
          "[config][security][S1]") {
  TemporaryFolder folder;
  const auto pem = folder.write("a.pem", "x");
  const auto listening = [&pem](const std::string& mode) {
    std::string toml =
        whole_office_and("downstream.tls = '" + mode + "'\ndownstream.certificates = [{ chain = '" +
                         pem + "', key = '" + pem + "' }]\n");
    replace(toml, "'127.0.0.1:2525'", "'0.0.0.0:25'");
    return problems_of(toml);
  };
  for (const auto* const mode : {"starttls", "implicit", "opportunistic"}) {
    const auto problems = listening(mode);
    REQUIRE(problems.size() == 1);
    CHECK_THAT(problems[0],
               Catch::Matchers::StartsWith(
                   "f.toml:4:10: service.listen: any client that reaches 0.0.0.0:25 could "));
  }
}

TEST_CASE("load: downstream TLS accepts all modes, and keeps its certificates in order",
          "[config]") {
  const auto [word, mode] =
      GENERATE(table<std::string, TlsMode>({{"opportunistic", TlsMode::opportunistic},
                                            {"starttls", TlsMode::starttls},
                                            {"implicit", TlsMode::implicit}}));
  TemporaryFolder folder;
  const auto a = folder.write("a.pem", "x");
  const auto b = folder.write("b.pem", "x");
  const auto key = folder.write("the.key", "x");
  REQUIRE(setenv("STARTTLS_TEST_NAME", "b", 1) == 0);
  const std::vector<ChainAndKey> both = {{a, key}, {b, key}};

  Config config;
  const auto path = folder.file("f.toml");
  const auto tls = "downstream.tls = '" + word + "'\n";
  REQUIRE(lines(load_text(whole_office_and(tls + R"(downstream.certificates = [
  { chain = "a.pem", key = "the.key" },
  { key = "./the.key", chain = "${STARTTLS_TEST_NAME}.pem" },
])"),
                          path, kProtocols, config)) == Lines{});
  CHECK(config.services[0].downstream.tls == mode);
  CHECK(config.services[0].downstream.certificates == both);

  // The other notation for tables in TOML.
  REQUIRE(lines(load_text(whole_office_and(tls +
                                           "[[service.downstream.certificates]]\nchain = 'a.pem'\n"
                                           "key = 'the.key'\n"
                                           "[[service.downstream.certificates]]\nchain = '" +
                                           b + "'\nkey = '" + key + "'\n"),
                          path, kProtocols, config)) == Lines{});
  CHECK(config.services[0].downstream.certificates == both);
}

TEST_CASE("load: each wrong certificate is reported at its place", "[config]") {
  TemporaryFolder folder;
  folder.fill({"a.pem", "a.key"});
  const auto path = folder.file("f.toml");
  const auto problems = [&path](const std::string& certificates) {
    Config config;
    auto all = lines(load_text(whole_office_and("downstream.tls = 'starttls'\n"
                                                "downstream.certificates = " +
                                                certificates),
                               path, kProtocols, config));
    for (auto& each : all) replace(each, path, "f.toml");
    return all;
  };
  const auto in_folder = [&folder](const char* name) { return "'" + folder.file(name) + "'"; };
  const std::string it = "service.downstream.certificates";
  CHECK(problems("[{ chain = 'a.pem', key = 'a.key' }]") == Lines{});

  // Something other than a list of tables is an error. The missing certificate is then not reported
  // a second time.
  CHECK(problems("{ chain = 'a.pem', key = 'a.key' }") ==
        Lines{"f.toml:7:27: " + it +
              ": must be a list such as [{ chain = \"a.pem\", key = \"a.key\" }], not a table"});
  CHECK(problems("'a.pem'") ==
        Lines{"f.toml:7:27: " + it +
              ": must be a list such as [{ chain = \"a.pem\", key = \"a.key\" }], not a string"});
  CHECK(
      problems("['a.pem', 'a.key']") ==
      Lines{"f.toml:7:28: " + it +
                ": must be a table such as { chain = \"a.pem\", key = \"a.key\" }, not a string",
            "f.toml:7:37: " + it +
                ": must be a table such as { chain = \"a.pem\", key = \"a.key\" }, not a string"});

  // Wrong members.
  CHECK(problems("[{ chain = 'a.pem' }]") == Lines{"f.toml:7:28: " + it + ".key: is required"});
  CHECK(problems("[{}]") == Lines{"f.toml:7:28: " + it + ".chain: is required",
                                  "f.toml:7:28: " + it + ".key: is required"});
  CHECK(problems("[{ chain = 'a.pem', key = 'a.key', keys = 'x' }]") ==
        Lines{"f.toml:7:62: unknown key '" + it + ".keys': did you mean '" + it + ".key'?"});
  CHECK(problems("[\n { chian = 'a.pem', key = 'a.key' }]") ==
        Lines{"f.toml:8:2: " + it + ".chain: is required",
              "f.toml:8:4: unknown key '" + it + ".chian': did you mean '" + it + ".chain'?"});
  CHECK(problems("[{ chain = 1, key = ['a.key'] }]") ==
        Lines{"f.toml:7:38: " + it + ".chain: must be a string, not a number",
              "f.toml:7:47: " + it + ".key: must be a string, not a list"});
  CHECK(problems("[{ chain = '', key = 'a.key' }]") ==
        Lines{"f.toml:7:38: " + it + ".chain: must not be empty"});

  // Files.
  CHECK(
      problems("[{ chain = 'a.pem', key = 'a.key' },\n { chain = 'b.pem', key = '.' }]") ==
      Lines{"f.toml:8:12: " + it + ".chain: " + in_folder("b.pem") + ": No such file or directory",
            "f.toml:8:27: " + it + ".key: " + in_folder("") + ": Is a directory"});
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK(problems("[{ chain = 'pipe', key = 'a.key' }]") ==
        Lines{"f.toml:7:38: " + it + ".chain: " + in_folder("pipe") + ": not a regular file"});
  CHECK(problems("[{ chain = 'a.pem', key = 'a.key' },\n { chain = './a.pem', key = 'a.key' }]") ==
        Lines{"f.toml:8:2: " + it + ": names " + folder.file("a.pem") + " twice"});

  // A variable that is not in the environment.
  REQUIRE(unsetenv("STARTTLS_TEST_UNSET") == 0);
  CHECK(problems("[{ chain = 'a.pem', key = '${STARTTLS_TEST_UNSET}' },\n"
                 " { \"\\u001b\" = '${STARTTLS_TEST_UNSET}' }]") ==
        Lines{"f.toml:7:53: " + it + ".key: the environment has no variable 'STARTTLS_TEST_UNSET'",
              "f.toml:8:15: " + it +
                  ".\\x1b: the environment has no variable 'STARTTLS_TEST_UNSET'"});
}

TEST_CASE("load: a private key given instead of its file name is not printed",
          "[config][security]") {
  TemporaryFolder folder;
  const auto pem = folder.write("a.pem", "-----BEGIN PRIVATE KEY-----\nTOPSECRET\n");
  for (const auto& key :
       {"\"${file:" + pem + "}\"", std::string(R"("-----BEGIN PRIVATE KEY-----\nTOPSECRET\n")")}) {
    CHECK(problems_of(whole_office_and("downstream.tls = 'starttls'\ndownstream.certificates = [{ "
                                       "key = " +
                                       key + ", chain = '" + pem + "' }]")) ==
          Lines{"f.toml:7:36: service.downstream.certificates.key: must be the name of a PEM file, "
                "not its content"});
  }
}

TEST_CASE("load: downstream TLS needs a certificate, and a certificate needs downstream TLS",
          "[config][security]") {
  TemporaryFolder folder;
  const auto pem = folder.write("a.pem", "x");
  const auto pair = "[{ chain = '" + pem + "', key = '" + pem + "' }]";
  const auto missing = [](const std::string& mode) {
    return Lines{"f.toml:6:18: service.downstream.tls: '" + mode +
                 "' needs a certificate: add downstream.certificates = [{ chain = \"a.pem\", key = "
                 "\"a.key\" }]"};
  };
  for (const auto* mode : {"opportunistic", "starttls", "implicit"}) {
    const auto tls = "downstream.tls = '" + std::string(mode) + "'\n";
    CHECK(problems_of(whole_office_and(tls)) == missing(mode));
    CHECK(problems_of(whole_office_and(tls + "downstream.certificates = []")) == missing(mode));
  }

  const std::string idle =
      "service.downstream.certificates: has no effect while service.downstream.tls is 'none': set "
      "'starttls' there, or leave this out";
  CHECK(problems_of(whole_office_and("downstream.certificates = " + pair)) ==
        Lines{"f.toml:6:27: " + idle});
  CHECK(problems_of(whole_office_and("downstream.tls = 'none'\ndownstream.certificates = " +
                                     pair)) == Lines{"f.toml:7:27: " + idle});
  CHECK(problems_of(whole_office_and("downstream.tls = 'none'\ndownstream.certificates = []")) ==
        Lines{});
  // A wrong mode is reported once, not twice.
  CHECK(problems_of(whole_office_and("downstream.tls = 'x'\ndownstream.certificates = " + pair))
            .size() == 1);
}

TEST_CASE("load: connections that depend on the client cannot be kept warm", "[config]") {
  CHECK(problems_of(whole_office_and("upstream.warm = 4\nupstream.source = 'client'")) ==
        Lines{"f.toml:6:17: service.upstream.warm: cannot be used with service.upstream.source: a "
              "connection that depends on the client cannot be made before it comes"});
}

TEST_CASE("load: connections that carry the client's address cannot be kept warm", "[config]") {
  CHECK(
      problems_of(whole_office_and("upstream.warm = 4\nupstream.send_proxy = 'v2'")) ==
      Lines{"f.toml:6:17: service.upstream.warm: cannot be used with service.upstream.send_proxy: "
            "a connection that depends on the client cannot be made before it comes"});
  CHECK(problems_of(whole_office_and("upstream.warm = 4\nupstream.send_proxy = ''")) == Lines{});
}

TEST_CASE("load: keys about clients' addresses are refused if all listeners are unix sockets",
          "[config]") {
  const auto listening = [](const std::string& listen, const std::string& more) {
    std::string toml = whole_office_and(more);
    replace(toml, "'127.0.0.1:2525'", listen);
    return problems_of(toml);
  };
  const std::string balancers = "downstream.proxy_protocol = '10.0.0.1'\n";
  CHECK(listening("'unix:/run/x'", balancers) ==
        Lines{"f.toml:6:29: service.downstream.proxy_protocol: has no effect: clients of unix "
              "sockets have no address"});
  CHECK(listening("'unix:/run/x'", "downstream.max_per_client = 1") ==
        Lines{"f.toml:6:29: service.downstream.max_per_client: has no effect: clients of unix "
              "sockets have no address"});
  CHECK(listening("['unix:/run/x', '127.0.0.1:25']", balancers) == Lines{});
  CHECK(listening("'unix:/run/x'", "downstream.max_per_client = 0") == Lines{});
}

TEST_CASE("load: accepting a PROXY header from any address is warned about", "[config]") {
  const auto warned = [](const std::string& networks) {
    const auto config = good(whole_office_and("downstream.proxy_protocol = " + networks));
    return config::warnings(config.services[0]);
  };
  CHECK(warned("['10.0.0.0/8', '2001:db8::/32']") == Lines{});
  CHECK(warned("['0.0.0.0/0', '::/0']") ==
        Lines{"any peer can claim to be any client (downstream.proxy_protocol has "
              "0.0.0.0/0)",
              "any peer can claim to be any client (downstream.proxy_protocol has "
              "::/0)"});
}

TEST_CASE("load: a plain relay cannot keep connections warm", "[config]") {
  const std::string warm = "upstream.warm = 4\n";
  const std::string clear = "upstream.tls = 'none'\n";
  CHECK(problems_of(whole_office_and(clear + warm)) ==
        Lines{"f.toml:7:17: service.upstream.warm: has no effect while service.downstream.tls and "
              "service.upstream.tls are both 'none': a plain relay does nothing before a client "
              "comes; leave this out"});
  CHECK(problems_of(whole_office_and(clear + "upstream.warm = 0")) == Lines{});
  for (const auto* mode : {"opportunistic", "starttls", "implicit"}) {
    CHECK(problems_of(whole_office_and(warm + "upstream.tls = '" + mode + "'")) == Lines{});
  }
  // A wrong mode is reported once, not twice.
  CHECK(problems_of(whole_office_and(warm + "upstream.tls = 'x'")).size() == 1);
}

TEST_CASE("load: two services must differ in name and in address", "[config]") {
  const auto second = [](const std::string& name, const std::string& listen) {
    return problems_of(whole_office_and("[[service]]\nname = '" + name +
                                        "'\nprotocol = 'lmtp'\nlisten = " + listen +
                                        "\nupstream.address = 'a:24'\n"));
  };
  CHECK(second("other", "'127.0.0.1:2526'") == Lines{});
  CHECK(
      second("office", "'127.0.0.1:2526'") ==
      Lines{"f.toml:7:8: service.name: 'office' is already the name of the service at f.toml:1:1"});
  CHECK(second("other", "['[::1]:2525', '127.0.0.1:2525']") ==
        Lines{"f.toml:9:10: service.listen: 127.0.0.1:2525 is already used by the service at "
              "f.toml:1:1"});
}

TEST_CASE("load: the admin endpoint is off, or has its own address", "[config][security]") {
  CHECK_FALSE(good(whole_office_and("")).admin.listen);
  CHECK_FALSE(good(whole_office_and("[admin]\nlisten = ''")).admin.listen);
  const auto problem = [](const std::string& listen) {
    return problems_of(whole_office_and("[admin]\nlisten = " + listen)).at(0);
  };
  CHECK(problem("'localhost:9465'") ==
        "f.toml:7:10: admin.listen: 'localhost:9465': a name is not an address to listen on: write "
        "the IP address, 127.0.0.1 or [::1]");
  CHECK(problem("'*:9465'") ==
        "f.toml:7:10: admin.listen: '*' is not an address: write 0.0.0.0:PORT or [::]:PORT, or "
        "both");
  CHECK(problem("[ '127.0.0.1:1' ]") == "f.toml:7:10: admin.listen: must be a string, not a list");
  CHECK(problem("'127.0.0.1:2525'") ==
        "f.toml:4:10: service.listen: 127.0.0.1:2525 is already used by admin.listen");
  // The wildcard address of a port includes that one address. It is refused both ways round.
  CHECK(problem("'0.0.0.0:2525'") ==
        "f.toml:4:10: service.listen: 127.0.0.1:2525 conflicts with admin.listen");
  const auto everywhere = [](const std::string& listen, const std::string& admin) {
    std::string text = whole_office_and("[admin]\nlisten = " + admin);
    const std::string written = "'127.0.0.1:2525'";
    return problems_of(text.replace(text.find(written), written.size(), listen));
  };
  CHECK(everywhere("'[::]:2525'", "'[::1]:2525'").at(0) ==
        "f.toml:4:10: service.listen: [::]:2525 conflicts with admin.listen");
  // Addresses that do not conflict.
  CHECK(problems_of(whole_office_and("[admin]\nlisten = '127.0.0.2:2525'")) == Lines{});
  CHECK(problems_of(whole_office_and("[admin]\nlisten = '0.0.0.0:2526'")) == Lines{});
  CHECK(problems_of(whole_office_and("[admin]\nlisten = '[::]:2525'")) == Lines{});
}

TEST_CASE("load: a missing required key is reported at its service", "[config]") {
  CHECK(problems_of("\n[[service]]\n") ==
        Lines{"f.toml:2:1: service.name: is required", "f.toml:2:1: service.protocol: is required",
              "f.toml:2:1: service.listen: is required",
              "f.toml:2:1: service.upstream.address: is required"});
  CHECK(problems_of(office_and("[[service]]")).size() == 5);
}

TEST_CASE("load: a file without a service is refused", "[config]") {
  const Lines none{"f.toml:1:1: no [[service]]: at least one is required"};
  CHECK(problems_of("") == none);
  CHECK(problems_of("\n# nothing\n") == none);
  CHECK(problems_of("[log]\nlevel = 'info'\n") == none);
  const std::string wanted = "service: must be an array of tables: write [[service]]";
  CHECK(problems_of("[service]\nname = 'x'\n") == Lines{"f.toml:1:2: " + wanted});
  CHECK(problems_of("service = []") == Lines{"f.toml:1:1: " + wanted});
  CHECK(problems_of("service = [1]") ==
        Lines{"f.toml:1:12: service: must be a table, not a number"});
}

TEST_CASE("load: all problems of a file are reported at once, in its order", "[config]") {
  CHECK(problems_of("[[service]]\n"
                    "name = 'a b'\n"
                    "upstraem.address = 'x'\n"
                    "listen = 'localhost:1'\n"
                    "upstream.tls = 'x'\n"
                    "[timeouts]\n"
                    "idle = 3\n"
                    "[log]\n"
                    "colour = true\n"
                    "level = 'loud'\n"
                    "[[service]]\n"
                    "protocol = 'imap'\n"
                    "name = 'b'\n"
                    "listen = '0.0.0.0:143'\n"
                    "upstream.address = ['mail.example.com', 'mail.example.com:143']\n") ==
        Lines{"f.toml:1:1: service.protocol: is required",
              "f.toml:1:1: service.upstream.address: is required",
              "f.toml:2:8: service.name: must be at most 64 letters, digits, '.', '_' or '-', not "
              "'a b'",
              "f.toml:3:1: unknown key 'service.upstraem': did you mean 'service.upstream'?",
              "f.toml:4:10: service.listen: 'localhost:1': a name is not an address to listen on: "
              "write the IP address, 127.0.0.1 or [::1]",
              "f.toml:5:16: service.upstream.tls: must be one of none, opportunistic, starttls, "
              "implicit, not 'x'",
              "f.toml:7:8: timeouts.idle: must be a duration in quotes, such as \"10s\", not a "
              "number",
              "f.toml:9:1: unknown key 'log.colour'",
              "f.toml:10:9: log.level: must be one of error, warn, info, debug, not 'loud'",
              "f.toml:12:12: service.protocol: must be one of smtp, lmtp, not 'imap'",
              "f.toml:14:10: service.listen: any client that reaches 0.0.0.0:143 could use this "
              "service: name the allowed clients with downstream.allow = [\"192.168.1.0/24\"]",
              "f.toml:15:21: service.upstream.address: 'mail.example.com': the port is missing: "
              "write HOST:PORT"});
}

TEST_CASE("load: a syntax error is reported with its place", "[config]") {
  for (const auto& [toml, place] : std::initializer_list<std::pair<std::string, std::string>>{
           {"[log]\nlevel = \n", "f.toml:2:"},
           {"[log\n", "f.toml:1:"},
           {"a = 1\na = 2\n", "f.toml:2:"},
           {"a = \"\n", "f.toml:1:"},
           {"\xff\xfe", "f.toml:1:"},
           {std::string("a\0b", 3), "f.toml:1:"},
           {std::string(100'000, '['), "f.toml:1:"},
           {"a = " + std::string(100'000, '['), "f.toml:1:"},
       }) {
    CAPTURE(toml.substr(0, 20));
    const auto problems = problems_of(toml);
    REQUIRE(problems.size() == 1);
    CHECK_THAT(problems[0], Catch::Matchers::StartsWith(place));
    CHECK(ascii::printable(problems[0], problems[0].size()) == problems[0]);
  }
}

TEST_CASE(
    "load: a file that is cut after any byte gives problems or a configuration, never a crash",
    "[config]") {
  const auto text = content_of(fs::path(STARTTLS_CONF_DIR) / "reference.toml");
  for (std::size_t size = 0; size < text.size(); size += 7) {
    Config config;
    CHECK_FALSE(load_text(text.substr(0, size), "f.toml", kProtocols, config).empty());
  }
}

TEST_CASE("load: a file that cannot be read is reported with the reason", "[config]") {
  TemporaryFolder folder;
  const auto loading = [](const fs::path& path) {
    Config config;
    return lines(load_file(path.string(), kProtocols, config));
  };
  const fs::path missing = folder.file("missing.toml");
  CHECK(loading(missing) ==
        Lines{missing.string() + ": cannot be read: No such file or directory"});
  CHECK(loading(folder.path) == Lines{folder.path + ": cannot be read: Is a directory"});
  CHECK(loading("") == Lines{": cannot be read: No such file or directory"});
  CHECK(loading("/dev/zero") == Lines{"/dev/zero: cannot be read: larger than 1 MiB"});
  const auto large = folder.write("large.toml", std::string((1U << 20U) + 1, '#'));
  CHECK(loading(large) == Lines{large + ": cannot be read: larger than 1 MiB"});
  // No other process writes to it, so opening it as usual would never end.
  const auto pipe = folder.file("pipe.toml");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(loading(pipe) == Lines{pipe + ":1:1: no [[service]]: at least one is required"});
  const auto empty = folder.write("empty.toml", "");
  CHECK(loading(empty) == Lines{empty + ":1:1: no [[service]]: at least one is required"});

  if (geteuid() == 0) return;  // root can read everything
  const auto secret = folder.write("secret.toml", "x");
  REQUIRE(chmod(secret.c_str(), 0) == 0);
  CHECK(loading(secret) == Lines{secret + ": cannot be read: Permission denied"});
}

TEST_CASE("load: strings may come from the environment and from files", "[config]") {
  TemporaryFolder folder;
  const auto host = folder.write("host", "mx.example.com\n");
  REQUIRE(setenv("STARTTLS_TEST_PORT", "587", 1) == 0);
  REQUIRE(setenv("STARTTLS_TEST_CRLF", "x\r\ny", 1) == 0);
  REQUIRE(unsetenv("STARTTLS_TEST_UNSET") == 0);

  const auto path = folder.write(
      "f.toml", office_and("upstream.address = ['${file:host}:${STARTTLS_TEST_PORT}']\n"));
  Config config;
  REQUIRE(lines(load_file(path, kProtocols, config)) == Lines{});
  CHECK(config.services[0].upstream.address == std::vector<Address>{{"mx.example.com", 587, ""}});
  CHECK(config.secret_files == std::vector{host});

  const auto server_name = [](const std::string& value) {
    return problems_of(whole_office_and("upstream.server_name = '" + value + "'"));
  };
  CHECK(server_name("${file:" + host + "}") == Lines{});
  CHECK(server_name("${STARTTLS_TEST_UNSET}") ==
        Lines{"f.toml:6:24: service.upstream.server_name: the environment has no variable "
              "'STARTTLS_TEST_UNSET'"});
  CHECK(server_name("${file:/nowhere}") ==
        Lines{"f.toml:6:24: service.upstream.server_name: '/nowhere': No such file or directory"});
  CHECK(server_name("${X") == Lines{"f.toml:6:24: service.upstream.server_name: '${' has no '}'"});
  CHECK(server_name("${STARTTLS_TEST_CRLF}") ==
        Lines{"f.toml:6:24: service.upstream.server_name: contains a control character: "
              "'${STARTTLS_TEST_CRLF}'"});
  // A '$' alone is a character like others. Here it is a wrong one.
  CHECK(server_name("a$b").size() == 1);
}

TEST_CASE("load: a secret's file may be in a folder that the environment names", "[config]") {
  TemporaryFolder folder;
  const auto host = folder.write("host", "mx.example.com\n");
  REQUIRE(setenv("STARTTLS_TEST_FOLDER", folder.path.c_str(), 1) == 0);
  REQUIRE(setenv("STARTTLS_TEST_PART", "ho", 1) == 0);
  REQUIRE(setenv("STARTTLS_TEST_AGAIN", "${STARTTLS_TEST_PART}", 1) == 0);
  REQUIRE(unsetenv("STARTTLS_TEST_UNSET") == 0);
  const auto server_name = [](const std::string& value, Config& config) {
    return lines(load_text(whole_office_and("upstream.server_name = '" + value + "'"), "f.toml",
                           kProtocols, config));
  };
  for (const std::string value : {"${file:${STARTTLS_TEST_FOLDER}/host}",
                                  "${file:${STARTTLS_TEST_FOLDER}/${STARTTLS_TEST_PART}st}"}) {
    CAPTURE(value);
    Config config;
    CHECK(server_name(value, config) == Lines{});
    CHECK(config.services[0].upstream.server_name == "mx.example.com");
    CHECK(config.secret_files == std::vector{host});
  }
  Config config;
  CHECK(server_name("a.${file:${STARTTLS_TEST_FOLDER}/host}.b", config) == Lines{});
  CHECK(config.services[0].upstream.server_name == "a.mx.example.com.b");

  const auto problem = [&](const std::string& value) {
    const auto found = server_name(value, config);
    REQUIRE(found.size() == 1);
    const std::string prefix = "f.toml:6:24: service.upstream.server_name: ";
    CHECK(found[0].starts_with(prefix));
    return found[0].substr(prefix.size());
  };
  CHECK(problem("${file:${STARTTLS_TEST_FOLDER}/none}") ==
        "'${STARTTLS_TEST_FOLDER}/none': No such file or directory");
  CHECK(problem("${file:${STARTTLS_TEST_FOLDER}/${STARTTLS_TEST_AGAIN}}") ==
        "'${STARTTLS_TEST_FOLDER}/${STARTTLS_TEST_AGAIN}': No such file or directory");
  CHECK(problem("${file:${STARTTLS_TEST_UNSET}/host}") ==
        "the environment has no variable 'STARTTLS_TEST_UNSET'");
  for (const std::string open :
       {"${file:${STARTTLS_TEST_FOLDER}/host", "${file:${STARTTLS_TEST_FOLDER", "${file:${", "${",
        "${file:x", "${STARTTLS_TEST_PART}${"}) {
    CAPTURE(open);
    CHECK(problem(open) == "'${' has no '}'");
  }
  const std::string only = "only ${NAME} is allowed inside '${file:...}'";
  CHECK(problem("${file:${file:" + host + "}}") == only);
  CHECK(problem("${file:${STARTTLS_${STARTTLS_TEST_PART}}}") == only);
  CHECK(problem("${STARTTLS_${STARTTLS_TEST_PART}}") ==
        "'${' is allowed inside '${file:...}' only");
}

TEST_CASE("load: values from a file or the environment are in no message", "[config][security]") {
  TemporaryFolder folder;
  const std::string canary = "c4Nary";
  const std::string contents[] = {canary + "+/0123456789==\n" + canary + "==\n",
                                  canary + "*",
                                  canary,
                                  "unix:" + canary,
                                  "*:" + canary,
                                  "127.0.0.1:" + canary,
                                  "[" + canary + "]",
                                  "systemd:" + canary + ":",
                                  canary + ":0",
                                  canary + ":25",
                                  "10.0.0.1/" + canary,
                                  "sha256:" + canary,
                                  ""};
  for (const auto& content : contents) {
    folder.write("secret", content);
    REQUIRE(setenv("STARTTLS_TEST_SECRET", content.c_str(), 1) == 0);
    for (const std::string value : {"${file:secret}", "${STARTTLS_TEST_SECRET}", "x${file:secret}",
                                    "unix:${file:secret}", "${file:${STARTTLS_TEST_SECRET}}"}) {
      for (const auto& key : config::keys()) {
        const bool in_service = key.path.starts_with("service.");
        std::string name(in_service ? key.path.substr(8) : key.path);
        std::string written = "'" + value + "'";
        for (const std::string_view list : {"downstream.certificates.", "destination."}) {
          if (!name.starts_with(list)) continue;
          written = "[{ " + name.substr(list.size()) + " = " + written + " }]";
          name.resize(list.size() - 1);
        }
        // Alone, in a list, and twice. The second of two is a duplicate, so that message is about
        // an otherwise good value.
        for (const auto& toml : {name + " = " + written + "\n", name + " = [" + written + "]\n",
                                 name + " = [" + written + ", " + written + "]\n"}) {
          const auto one = in_service ? "[[service]]\n" + toml : toml;
          CAPTURE(content, one);
          Config config;
          const auto problems = lines(
              load_text(one + (in_service ? one : ""), folder.file("f.toml"), kProtocols, config));
          CHECK_FALSE(problems.empty());
          for (const auto& problem : problems) {
            CHECK(problem.find(canary) == std::string::npos);
          }
        }
      }
    }
  }
}

TEST_CASE("load: a value from outside is named by its reference", "[config][security]") {
  TemporaryFolder folder;
  folder.write("tk", "QUJD\nREVG\n");
  folder.write("port", "25");
  folder.write("name", "office");
  REQUIRE(setenv("STARTTLS_TEST_NET", "10.0.0.1/8", 1) == 0);
  const auto problems = [&folder](const std::string& toml) {
    Config config;
    auto all = lines(load_text(toml, folder.file("f.toml"), kProtocols, config));
    for (auto& each : all) each.erase(0, folder.file("f.toml:").size());
    return all;
  };
  const auto told = [&problems](const std::string& more) {
    return problems(whole_office_and(more));
  };
  CHECK(told("downstream.client_ca = '${file:tk}'") ==
        Lines{"6:24: service.downstream.client_ca: contains a control character: '${file:tk}'"});
  CHECK(told("upstream.ca_file = '${file:name}'") ==
        Lines{"6:20: service.upstream.ca_file: '${file:name}': No such file or directory"});
  CHECK(
      told("downstream.allow = '${STARTTLS_TEST_NET}'") ==
      Lines{
          "6:20: service.downstream.allow: '${STARTTLS_TEST_NET}': bits are set after the prefix"});
  CHECK(told("upstream.verify = '${file:name}'") ==
        Lines{"6:19: service.upstream.verify: must be one of full, none, not '${file:name}'"});
  CHECK(
      told("[[service]]\nname = '${file:name}'\nprotocol = 'smtp'\n"
           "listen = ['127.0.0.1:26', '127.0.0.1:25${file:port}']\nupstream.address = 'a:25'") ==
      Lines{"7:8: service.name: '${file:name}' is already the name of the service at " +
                folder.file("f.toml") + ":1:1",
            "9:10: service.listen: '127.0.0.1:25${file:port}' is already used by the service at " +
                folder.file("f.toml") + ":1:1"});
  CHECK(told("[[service]]\nname = 'b'\nprotocol = 'smtp'\nlisten = '0.0.0.0:${file:port}'\n"
             "upstream.address = ['unix:${file:name}', 'unix:x']") ==
        Lines{"9:10: service.listen: any client that reaches '0.0.0.0:${file:port}' could use this "
              "service: name the allowed clients with downstream.allow = [\"192.168.1.0/24\"]",
              "10:20: service.upstream.address: 'unix:${file:name}' gives no name to verify: set "
              "service.upstream.server_name",
              "10:20: service.upstream.address: unix:" + folder.file("x") +
                  " gives no name to verify: set service.upstream.server_name"});
}

TEST_CASE("reference.toml: it has exactly the keys of the schema, each with its default",
          "[config]") {
  auto text = content_of(fs::path(STARTTLS_CONF_DIR) / "reference.toml");
  // A login changes what clients may do, so its section begins as a comment.
  const auto is_comment = [&text](std::size_t at) { return text[at] == ' ' || text[at] == '\n'; };
  for (auto at = text.find("\n#"); at != text.npos; at = text.find("\n#", at + 1)) {
    if (!is_comment(at + 2)) text.erase(at + 1, 1);
  }

  // Reads the keys as they are in the file, without the loader.
  std::set<std::string> written;
  std::string section;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.starts_with('[')) {
      section = line.substr(line.find_first_not_of('['));
      section.resize(section.find(']'));
    } else if (const auto equals = line.find('=');
               !line.starts_with('#') && !line.starts_with(' ') && equals != line.npos) {
      written.insert(section + "." + std::string(ascii::trim(line.substr(0, equals))));
    }
  }
  std::set<std::string> known;
  for (const auto& key : config::keys()) {
    // Members of a list's tables are written after the list.
    if (config::find_key(key.path.substr(0, key.path.rfind('.'))) != nullptr) continue;
    known.emplace(key.path);
  }
  CHECK(written == known);

  // In the unchanged file, only the keys without a default are missing.
  Config config;
  CHECK(load_text(text, "reference.toml", kProtocols, config).size() == 4);
  std::string filled = text;
  replace(filled, "name     = \"\"", "name     = \"x\"");
  replace(filled, "protocol = \"\"", "protocol = \"smtp\"");
  replace(filled, "listen   = []", "listen   = '[::1]:25'");
  replace(filled, "address       = \"\"", "address       = 'a:25'");
  REQUIRE(lines(load_text(filled, "reference.toml", kProtocols, config)) == Lines{});
  Config defaults;
  auto& service = defaults.services.emplace_back();
  service.name = "x";
  service.protocol = "smtp";
  service.listen = {{"::1", 25, ""}};
  service.upstream.address = {{"a", 25, ""}};
  service.login.emplace();
  CHECK(config == defaults);
}

TEST_CASE("examples: they load as they are shipped, with the certificate they name", "[config]") {
  constexpr std::string_view kAll[] = {"smtp", "lmtp", "imap", "pop3", "sieve", "nntp"};
  TemporaryFolder folder;
  folder.fill({"mail.example.com.pem", "mail.example.com.key", "scanner.password", "erp.password"});
  REQUIRE(setenv("MAIL_SERVER", "smtp.example.com", 1) == 0);
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(STARTTLS_CONF_DIR) / "examples")) {
    const auto name = entry.path().filename().string();
    CAPTURE(name);
    Config config;
    CHECK(lines(load_text(content_of(entry.path()), folder.file(name), kAll, config)) == Lines{});
    const std::size_t expected = name == "scanner.toml" ? 1 : 0;  // a warning about TLS 1.0
    for (const auto& service : config.services) CHECK(warnings(service).size() == expected);
    names.insert(name);
  }
  CHECK(names == std::set<std::string>{"behind-haproxy.toml", "imap-reader.toml", "lmtp.toml",
                                       "login.toml", "office.toml", "scanner.toml", "sidecar.toml",
                                       "terminate.toml", "transparent.toml"});
}

TEST_CASE("flags: they make one service, named after its protocol", "[config]") {
  Config config;
  const std::vector<Flag> flags = {
      {"--protocol", {"smtp"}},         {"--listen", {"0.0.0.0:25", "[::]:25"}},
      {"--upstream", {"a:25", "b:25"}}, {"--allow", {"10.0.0.0/8"}},
      {"--upstream-tls", {"implicit"}}, {"--workers", {"2"}},
      {"--greeting-text", {"false"}},   {"--idle-timeout", {"1h"}},
      {"--log-file", {"x.log"}},        {"--warm", {"3"}},
      {"--admin", {"[::1]:9465"}}};
  REQUIRE(lines(load_flags(flags, kProtocols, config)) == Lines{});
  REQUIRE(config.services.size() == 1);
  const auto& service = config.services[0];
  CHECK(service.name == "smtp");
  CHECK(service.listen.size() == 2);
  CHECK(service.upstream.address == std::vector<Address>{{"a", 25, ""}, {"b", 25, ""}});
  CHECK(service.upstream.tls == TlsMode::implicit);
  CHECK_FALSE(service.upstream.greeting_text);
  CHECK(service.upstream.warm == 3);
  CHECK(service.timeouts.idle == 1h);
  CHECK(config.proxy.workers == 2);
  CHECK(config.log.file == (fs::current_path() / "x.log").string());
  CHECK(config.admin.listen == Address{"::1", 9465, ""});
}

TEST_CASE("flags: they are checked like a file, and messages name them", "[config]") {
  Config config;
  const auto loading = [&config](std::vector<Flag> flags) {
    return lines(load_flags(flags, kProtocols, config));
  };
  CHECK(loading({}) ==
        Lines{"--protocol: is required", "--listen: is required", "--upstream: is required"});
  CHECK(loading({{"--protocol", {"smtp", "lmtp"}},
                 {"--listen", {"0.0.0.0:25"}},
                 {"--upstream", {"unix:/run/x"}},
                 {"--workers", {"many"}},
                 {"--greeting-text", {"maybe"}},
                 {"--verify", {"full"}},
                 {"--min-tls", {"1.0"}},
                 {"--idle-timeout", {"35"}},
                 {"--hostname", {"a\r\nb"}},
                 {"--lisen", {"x"}}}) ==
        Lines{"--protocol: may be given only once",
              "--listen: any client that reaches 0.0.0.0:25 could use this service: name the "
              "allowed clients with "
              "--allow 192.168.1.0/24",
              "--upstream: unix:/run/x gives no name to verify: set --server-name",
              "--workers: must be a whole number from 0 to 1024",
              "--greeting-text: must be true or false",
              "--min-tls: must be one of 1.2, 1.3, not '1.0'",
              "--idle-timeout: '35': not a duration such as \"10s\", \"5m\", \"1h30m\" or "
              "\"250ms\"",
              "--hostname: contains a control character: 'a\\r\\nb'",
              "--lisen: unknown option '--lisen': did you mean '--listen'?"});
  CHECK(config::unknown_flag("--tls") ==
        "unknown option '--tls': did you mean '--downstream-tls' or '--upstream-tls'?");
  CHECK(config::unknown_flag("--idle") ==
        "unknown option '--idle': did you mean '--idle-timeout'?");
  CHECK(config::unknown_flag("--cert") == "unknown option '--cert': did you mean '--chain'?");
  CHECK(config::unknown_flag("--port") == "unknown option '--port': did you mean '--listen'?");
  CHECK(config::unknown_flag("--pim") == "unknown option '--pim': did you mean '--pin'?");
  CHECK(config::unknown_flag("--bogus") == "unknown option '--bogus'");
  CHECK(config::unknown_flag("-v") == "unknown option '-v'");
}

TEST_CASE("flags: --chain and --key are one certificate, through the same checks", "[config]") {
  TemporaryFolder folder;
  const auto chain = folder.write("a.pem", "x");
  const auto key = folder.write("a.key", "x");
  Config config;
  const auto loading = [&config](const std::vector<Flag>& more) {
    std::vector<Flag> flags = {
        {"--protocol", {"smtp"}}, {"--listen", {"[::1]:25"}}, {"--upstream", {"a:25"}}};
    flags.insert(flags.end(), more.begin(), more.end());
    return lines(load_flags(flags, kProtocols, config));
  };
  const Flag starttls = {"--downstream-tls", {"starttls"}};
  CHECK(loading({starttls, {"--key", {key}}, {"--chain", {chain}}}) == Lines{});
  CHECK(config.services[0].downstream.tls == TlsMode::starttls);
  CHECK(config.services[0].downstream.certificates == std::vector<ChainAndKey>{{chain, key}});

  CHECK(loading({starttls}) ==
        Lines{"--downstream-tls: 'starttls' needs a certificate: add --chain FILE --key FILE"});
  CHECK(loading({starttls, {"--chain", {chain}}}) == Lines{"--chain: needs --key too"});
  CHECK(loading({starttls, {"--key", {key}}}) == Lines{"--key: needs --chain too"});
  CHECK(loading({starttls, {"--chain", {chain, chain}}, {"--key", {""}}}) ==
        Lines{"--chain: may be given only once", "--key: must not be empty"});
  CHECK(loading({starttls, {"--chain", {chain}}, {"--key", {"/nowhere/a.key"}}}) ==
        Lines{"--key: '/nowhere/a.key': No such file or directory"});
  CHECK(loading({{"--chain", {chain}}, {"--key", {key}}}) ==
        Lines{"--chain: has no effect while --downstream-tls is 'none': set 'starttls' there, or "
              "leave this out"});
}

TEST_CASE("flags: a '$' stays a '$', because the shell expands", "[config]") {
  Config config;
  const std::vector<Flag> flags = {{"--protocol", {"smtp"}},
                                   {"--listen", {"127.0.0.1:25"}},
                                   {"--upstream", {"a:25"}},
                                   {"--log-file", {"/${HOME}"}}};
  CHECK(lines(load_flags(flags, kProtocols, config)) == Lines{});
  CHECK(config.log.file == "/${HOME}");
}

TEST_CASE("schema: every key has its own path, and every flag its own name", "[config]") {
  std::set<std::string_view> names;
  std::size_t expected = 0;
  for (const auto& key : config::keys()) {
    names.insert(key.path);
    names.insert(key.flag);
    expected += key.flag.empty() ? 1 : 2;
    CHECK(config::find_key(key.path) == &key);
    CHECK(key.flag.empty() == (config::find_flag(key.flag) == nullptr));
  }
  CHECK(names.size() == expected + 1);  // and the empty one
}

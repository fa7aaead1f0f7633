#include "lib/session/session_record.h"

#include <fstream>
#include <sstream>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::chrono_literals;

namespace {

/// A record, and the log lines that it has written.
struct Recorded {
  explicit Recorded(log::Level level = log::Level::info, log::Format format = log::Format::text)
      : log(level, format) {
    service.config.name = "mail";
    REQUIRE(log.open(path));
  }
  void end(const config::Upstream& upstream, const LegFacts& facts, SessionRecord::Time now) {
    record.end(now);
    record.log_end(upstream, facts, now);
  }
  std::string lines() {
    log.finish(1s);
    std::ostringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }

  TemporaryFolder folder;
  std::string path = folder.file("log");
  log::Logger log;
  Service service;
  metrics::Tally tally;
  SessionRecord record{log, service, tally, "id.1", "192.0.2.7:1025", 1s};
};

tls::Facts tls_facts(std::string version) {
  tls::Facts out;
  out.version = std::move(version);
  out.cipher = "TLS_AES_128_GCM_SHA256";
  out.group = TlsGroup::x25519_mlkem768;
  return out;
}

bool has_words(const std::string& lines, std::string_view words) {
  return lines.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("session record: a failure is reported with the words of its line", "[session]") {
  Recorded it;
  it.record.set_outcome(Outcome::ok(), "a note");
  it.end({}, {}, 2s);
  CHECK_FALSE(it.record.failure());
  Recorded failed;
  failed.record.set_outcome(Errc::timeout, "idle for too long");
  failed.end({}, {}, 2s);
  const auto failure = failed.record.failure();
  REQUIRE(failure);
  CHECK(failure->session == "id.1");
  CHECK(failure->service == "mail");
  CHECK(failure->outcome == Outcome{Errc::timeout});
  CHECK(failure->reason == "idle for too long");
}

TEST_CASE("session record: the line at the end has every field", "[session][log]") {
  Recorded it;
  it.record.on_connected("198.51.100.1:587", 1s + 5ms);
  it.record.on_greeted(1s + 12ms);
  it.record.traffic().passed(metrics::Direction::to_server, 7);
  it.record.traffic().passed(metrics::Direction::to_client, 70);
  it.record.set_outcome(Errc::timeout, "idle");
  it.end({}, {.upstream = tls_facts("TLSv1.3")}, 3s);
  const auto lines = it.lines();
  for (const auto* const words :
       {"session=id.1", "service=mail", "client=192.0.2.7:1025", "server=198.51.100.1:587",
        "downstream_tls=none", "upstream_tls=TLSv1.3", "upstream_group=X25519MLKEM768",
        "upstream_verify=full", "bytes_to_server=7", "bytes_to_client=70", "connect_ms=5",
        "prelude_ms=12", "total_ms=2000", "outcome=timeout", "reason=idle"}) {
    INFO(words);
    CHECK(has_words(lines, words));
  }
  CHECK(it.tally.tables().sessions.cells()[starttls::Outcome{Errc::timeout}.index()].value() == 1);
}

TEST_CASE("session record: a line of text leaves out what is empty", "[session][log]") {
  Recorded it;
  it.end({}, {}, 3s);
  const auto lines = it.lines();
  CHECK_FALSE(has_words(lines, "=\"\""));
  for (const auto* const key :
       {" server=", " downstream_cipher=", " downstream_group=", " sni=", " client_certificate=",
        " upstream_cipher=", " upstream_group=", " last_reply=", " reason=", " note="}) {
    INFO(key);
    CHECK_FALSE(has_words(lines, key));
  }
  // Numbers and truth values have no empty value.
  for (const auto* const words :
       {" downstream_resumed=false", " bytes_to_client=0", " connect_ms=0", " upstream_tls=none",
        " upstream_verify=none", " outcome=ok"}) {
    INFO(words);
    CHECK(has_words(lines, words));
  }
}

TEST_CASE("session record: a line of JSON has every field, each of one type", "[session][log]") {
  Recorded it(log::Level::info, log::Format::json);
  it.end({}, {}, 3s);
  const auto lines = it.lines();
  for (const auto* const words :
       {R"("server":"")", R"("downstream_cipher":"")", R"("downstream_group":"")",
        R"("upstream_group":"")", R"("downstream_resumed":false)", R"("sni":"")",
        R"("client_certificate":"")", R"("upstream_verify":"none")", R"("bytes_to_server":0)",
        R"("last_reply":"")", R"("outcome":"ok")", R"("reason":"")", R"("note":"")"}) {
    INFO(words);
    CHECK(has_words(lines, words));
  }
}

TEST_CASE("session record: the line has the client's SNI and certificate", "[session][log]") {
  const auto format = GENERATE(log::Format::text, log::Format::json);
  Recorded it(log::Level::info, format);
  it.end({}, {.sni = "mail.test", .client_certificate = "CN=a \"b\"\r\noutcome=x"}, 3s);
  const auto lines = it.lines();
  const bool text = format == log::Format::text;
  CHECK(has_words(lines, text ? " sni=mail.test " : R"("sni":"mail.test")"));
  CHECK(has_words(lines, text ? R"(client_certificate="CN=a \"b\"\r\noutcome=x")"
                              : R"("client_certificate":"CN=a \"b\"\u000d\u000aoutcome=x")"));
}

TEST_CASE("session record: the last reply is that of the server that spoke last",
          "[session][log]") {
  Recorded it;
  CHECK(it.record.last_reply() == 0);
  it.record.on_reply(250);
  it.record.on_reply(535);
  it.record.on_reply(0);  // a server that said nothing
  CHECK(it.record.last_reply() == 535);
  it.end({}, {}, 3s);
  CHECK(has_words(it.lines(), " last_reply=535 "));
}

TEST_CASE("session record: words beside a good outcome are a note, never a reason",
          "[session][log]") {
  Recorded good;
  good.record.set_outcome(starttls::Outcome::ok(), "the server's connection was cut: end of file");
  good.end({}, {}, 3s);
  const auto lines = good.lines();
  CHECK(has_words(lines, "outcome=ok note=\"the server's connection was cut: end of file\""));
  CHECK_FALSE(has_words(lines, " reason="));

  Recorded bad;
  bad.record.set_outcome(starttls::Outcome::truncated(),
                         "the server's connection was cut: end of file");
  bad.end({}, {}, 3s);
  CHECK(has_words(bad.lines(), "outcome=truncated reason=\"the server's connection was cut"));
  CHECK_FALSE(has_words(bad.lines(), " note="));
}

TEST_CASE("session record: only the first connection and the first greeting set the times",
          "[session][log]") {
  Recorded it;
  it.record.on_connected("198.51.100.1:587", 1s + 5ms);
  it.record.on_greeted(1s + 12ms);
  it.record.on_connected("198.51.100.2:587", 2s);
  it.record.on_greeted(2s);
  it.end({}, {}, 3s);
  const auto lines = it.lines();
  CHECK(has_words(lines, "server=198.51.100.2:587"));
  CHECK(has_words(lines, "connect_ms=5"));
  CHECK(has_words(lines, "prelude_ms=12"));
}

TEST_CASE("session record: an unverified server makes the line a warning", "[session][log]") {
  Recorded it;
  config::Upstream upstream;
  upstream.verify = Verification::none;
  it.end(upstream, {.upstream = tls_facts("TLSv1.3")}, 3s);
  const auto lines = it.lines();
  CHECK(has_words(lines, "level=warn"));
  CHECK(has_words(lines, "upstream_verify=none"));
}

TEST_CASE("session record: an event has its phase and its reason", "[session][log]") {
  Recorded it;
  it.record.log_event({"session failed", Side::upstream, "mail.example:587", "greeting"},
                      Error{Errc::closed, "the server closed", "220"});
  const auto lines = it.lines();
  for (const auto* const words :
       {"level=warn", "msg=\"session failed\"", "leg=upstream", "peer=mail.example:587",
        "state=greeting", "error=closed", "reason=\"the server closed\"", "evidence=220"}) {
    INFO(words);
    CHECK(has_words(lines, words));
  }
}

TEST_CASE("session record: a client that a balancer names takes the balancer's place",
          "[session][log]") {
  Recorded it(log::Level::debug);
  it.record.on_conveyed("203.0.113.9:4000", "198.51.100.1:25");
  CHECK(it.record.client() == "203.0.113.9:4000");
  const auto lines = it.lines();
  CHECK(has_words(lines, "balancer=192.0.2.7:1025"));
  CHECK(has_words(lines, "dialled=198.51.100.1:25"));
}

TEST_CASE("session record: its status is a row of the admin page", "[session][admin]") {
  Recorded it;
  it.record.on_connected("198.51.100.1:587", 1s + 5ms);
  it.record.traffic().passed(metrics::Direction::to_server, 7);
  const auto status = it.record.status("relay", "relay", {.downstream = tls_facts("TLSv1.2")}, 4s);
  CHECK(status.session == "id.1");
  CHECK(status.service == "mail");
  CHECK(status.server == "198.51.100.1:587");
  CHECK(status.downstream_tls == "TLSv1.2");
  CHECK(status.downstream_group == "X25519MLKEM768");
  CHECK(status.upstream_tls == "none");
  CHECK(status.upstream_group.empty());
  CHECK(status.phase == "relay");
  CHECK(status.age == 3s);
  CHECK(status.bytes_to_server == 7);
}

TEST_CASE("session record: the line has the last login, escaped", "[session][log][login]") {
  Recorded it;
  proto::LoginReport report;
  report.name = "scan\r\noutcome=x";
  report.user = "scan@example.com";
  report.server = Mechanism::xoauth2;
  it.record.on_login(report);
  it.end({}, {}, 3s);
  const auto lines = it.lines();
  CHECK(has_words(lines, R"( login="scan\r\noutcome=x->scan@example.com" )"));
  CHECK(has_words(lines, " login_mechanism=xoauth2 "));
  CHECK(has_words(lines, " outcome=ok"));
}

TEST_CASE("session record: a login before the greeting has no client's name",
          "[session][log][login]") {
  Recorded it;
  proto::LoginReport report;
  report.user = "USER";
  report.server = Mechanism::plain;
  it.record.on_login(report);
  it.end({}, {}, 3s);
  CHECK(has_words(it.lines(), " login=->USER login_mechanism=plain "));
}

TEST_CASE("session record: a session that ends well has the outcome of its last login",
          "[session][log][login]") {
  proto::LoginReport failed;
  failed.failure = Error{Errc::client_login, "wrong name or password"};
  const proto::LoginReport succeeded;
  {
    Recorded it;
    it.record.on_login(failed);
    it.end({}, {}, 3s);
    CHECK(has_words(it.lines(), "outcome=client_login reason=\"wrong name or password\""));
    CHECK(
        it.tally.tables().sessions.cells()[starttls::Outcome{Errc::client_login}.index()].value() ==
        1);
  }
  {
    Recorded it;
    it.record.on_login(failed);
    it.record.on_login(succeeded);
    it.end({}, {}, 3s);
    CHECK(has_words(it.lines(), "outcome=ok"));
  }
  {
    Recorded it;
    it.record.on_login(failed);
    it.record.set_outcome(Errc::closed, "the client left");
    it.end({}, {}, 3s);
    CHECK(has_words(it.lines(), "outcome=client_login reason=\"wrong name or password\""));
  }
  {
    Recorded it;
    it.record.on_login(failed);
    it.record.set_outcome(Errc::timeout, "idle");
    it.end({}, {}, 3s);
    CHECK(has_words(it.lines(), "outcome=timeout reason=idle"));
  }
}

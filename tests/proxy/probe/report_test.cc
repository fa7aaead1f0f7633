#include "proxy/probe/report.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "proxy/probe/advice.h"
#include "proxy/probe/faults.h"
#include "tests/proxy/probe/advice_text.h"
#include "tests/support/catch.h"

using namespace starttls;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr auto* kPin = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

// The certificate is valid from 2026-01-01 to 2026-03-01.
constexpr UnixTime kBegin{std::chrono::seconds{1767225600}};
constexpr UnixTime kEnd{std::chrono::seconds{1772323200}};

constexpr UnixTime at(UnixTime start, std::chrono::seconds later) {
  return {start.since_1970 + later};
}

tls::CertificateInfo leaf() {
  return {.subject = "CN=mail.test",
          .issuer = "CN=some CA",
          .names = {.dns = {"mail.test", "localhost"}, .ip = {}},
          .not_before = kBegin,
          .not_after = kEnd,
          .key = "ECDSA 256",
          .pin = kPin};
}

ProbeReport accepted() {
  return {.time = at(kEnd, -std::chrono::hours{24 * 20 + 1}),
          .protocol = "smtp",
          .address = "mail.test:587",
          .tls = "starttls",
          .verify = "full",
          .server_name = "mail.test",
          .peer = "192.0.2.1:587",
          .greeting = {"220 mail.test"},
          .clear_capabilities = {"250-mail.test", "250 STARTTLS"},
          .facts = tls::Facts{.version = "TLSv1.3",
                              .cipher = "TLS_AES_128_GCM_SHA256",
                              .group = TlsGroup::x25519,
                              .unverified_subject = {}},
          .record_cipher = "libipsec-mb 1.3.0",
          .capabilities = {"250-mail.test", "250 AUTH PLAIN"},
          .chain = {leaf()},
          .fallback = {},
          .error = {},
          .state = {}};
}

/// Returns a report of a probe that failed in the handshake.
ProbeReport refused(Errc code, std::string reason) {
  auto report = accepted();
  report.facts.reset();
  report.capabilities.clear();
  report.error = Error{code, std::move(reason), "their words \x1b[31m"};
  report.state = "starttls";
  return report;
}

std::string certificate_advice(const std::string& reason) {
  return advice_text(refused(Errc::certificate, reason));
}

std::string handshake_advice(std::string reason, bool with_chain = false,
                             std::string tls = "starttls") {
  auto report = refused(Errc::handshake, std::move(reason));
  if (!with_chain) report.chain.clear();
  report.tls = std::move(tls);
  return advice_text(report);
}

constexpr Errc kAllCodes[] = {
    Errc::config,
    Errc::system,
    Errc::unreachable,
    Errc::timeout,
    Errc::closed,
    Errc::greeting_refused,
    Errc::tls_not_offered,
    Errc::tls_refused,
    Errc::attack,
    Errc::protocol,
    Errc::client_protocol,
    Errc::handshake,
    Errc::certificate,
    Errc::tls,
    Errc::limit,
    Errc::not_allowed,
    Errc::draining,
    Errc::too_many_errors,
    Errc::tls_on_clear_port,
};

}  // namespace

TEST_CASE("probe report: the exit status is 0 only for an accepted server", "[probe]") {
  CHECK(exit_status(accepted()) == 0);
  for (const auto code : kAllCodes) {
    CAPTURE(name(code));
    CHECK(exit_status(refused(code, "why")) != 0);
  }
  CHECK(exit_status(refused(Errc::unreachable, "")) == 69);
  CHECK(exit_status(refused(Errc::timeout, "")) == 69);
  CHECK(exit_status(refused(Errc::closed, "")) == 69);
  CHECK(exit_status(refused(Errc::tls_not_offered, "")) == 76);
  CHECK(exit_status(refused(Errc::tls_refused, "")) == 76);
  CHECK(exit_status(refused(Errc::attack, "")) == 76);
  CHECK(exit_status(refused(Errc::greeting_refused, "")) == 76);
  CHECK(exit_status(refused(Errc::handshake, "")) == 77);
  CHECK(exit_status(refused(Errc::certificate, "")) == 77);
  CHECK(exit_status(refused(Errc::tls, "")) == 77);
}

TEST_CASE("probe report: the text lists the findings from top to bottom", "[probe]") {
  CHECK(to_text(accepted()) ==
        "server         mail.test:587 (smtp, tls = starttls)\n"
        "connected to   192.0.2.1:587\n"
        "greeting       220 mail.test\n"
        "before TLS     250-mail.test\n"
        "               250 STARTTLS\n"
        "TLS            TLSv1.3, TLS_AES_128_GCM_SHA256, X25519\n"
        "record cipher  libipsec-mb 1.3.0\n"
        "post-quantum   not offered: this TLS library does not have X25519MLKEM768\n"
        "certificate 1  CN=mail.test\n"
        "  issued by    CN=some CA\n"
        "  names        mail.test, localhost\n"
        "  valid        from 2026-01-01 00:00:00 UTC\n"
        "               to   2026-03-01 00:00:00 UTC, 20 days left\n"
        "  key          ECDSA 256\n"
        "  pin          " +
            std::string(kPin) +
            "\n"
            "after TLS      250-mail.test\n"
            "               250 AUTH PLAIN\n"
            "verdict        accepted: encrypted, and verified as mail.test\n");
}

TEST_CASE("probe report: the verdict shows how much was verified", "[probe]") {
  auto report = accepted();
  report.verify = "pin";
  CHECK_THAT(to_text(report),
             ContainsSubstring("accepted: encrypted, and the server's key is pinned\n"));
  report.verify = "none";
  CHECK_THAT(to_text(report), ContainsSubstring("accepted: encrypted, but not verified"));

  report.facts.reset();
  report.chain.clear();
  report.tls = "opportunistic";
  report.fallback = "server does not offer STARTTLS";
  CHECK_THAT(to_text(report),
             ContainsSubstring("accepted, in the clear: every machine on the way can read "
                               "along (server does not offer STARTTLS)\n"));
  CHECK_THAT(to_text(report), !ContainsSubstring("before TLS"));
  CHECK_THAT(to_text(report), ContainsSubstring("offers         250-mail.test\n"));
}

TEST_CASE("probe report: a certificate's time is shown in days", "[probe]") {
  auto report = accepted();
  report.time = at(kEnd, -std::chrono::hours{25});
  CHECK_THAT(to_text(report), ContainsSubstring(", 1 day left\n"));
  report.time = at(kEnd, std::chrono::hours{49});
  CHECK_THAT(to_text(report), ContainsSubstring(", expired 2 days ago\n"));
  report.chain.front().not_after.reset();
  CHECK_THAT(to_text(report), ContainsSubstring("  to   an unreadable time\n"));
}

TEST_CASE("probe report: a refusal gives the reason and the peer's words, escaped", "[probe]") {
  const auto text = to_text(refused(Errc::tls_refused, "server refused STARTTLS"));
  CHECK_THAT(text, ContainsSubstring("\nverdict        refused: server refused STARTTLS\n"
                                     "               their words \\x1b[31m\n"
                                     "what to do     "));
  CHECK_THAT(to_text(refused(Errc::timeout, "no answer")),
             ContainsSubstring("\nverdict        unreachable: no answer (starttls)\n"));
  auto unwelcome = refused(Errc::greeting_refused, "server says: 554 no");
  unwelcome.error->evidence = "554 no";
  CHECK_THAT(to_text(unwelcome), ContainsSubstring("server says: 554 no\nwhat to do "));
  // A quote stays one, since a report has none of its own.
  auto quoted = refused(Errc::tls_refused, "server refused STARTTLS");
  quoted.error->evidence = "NO \"later\"";
  CHECK_THAT(to_text(quoted), ContainsSubstring("\n               NO \"later\"\n"));
  // The chain has already been shown.
  CHECK_THAT(to_text(refused(Errc::certificate, "unknown CA")), !ContainsSubstring("their words"));

  auto report = refused(Errc::unreachable, "connection refused");
  report.peer.clear();
  CHECK_THAT(to_text(report),
             ContainsSubstring("\nverdict        unreachable: connection refused\n"));
}

TEST_CASE("probe report: advice on a certificate names the setting, and the key seen",
          "[probe][advice]") {
  CHECK_THAT(certificate_advice("unknown CA"),
             ContainsSubstring("--ca-file ca.pem") &&
                 ContainsSubstring("--verify none --pin " + std::string(kPin)));
  CHECK_THAT(certificate_advice("self-signed certificate"), ContainsSubstring("--ca-file ca.pem"));
  CHECK_THAT(certificate_advice("name mismatch: wanted a, got b"),
             ContainsSubstring("--server-name") && ContainsSubstring(": mail.test, localhost\n"));
  CHECK_THAT(certificate_advice("certificate is not yet valid"),
             ContainsSubstring("2026-01-01 00:00:00"));
  CHECK_THAT(certificate_advice("pin mismatch: wanted x, got y"),
             ContainsSubstring("--pin " + std::string(kPin)) && !ContainsSubstring("verify"));
  CHECK_THAT(certificate_advice("certificate key is too weak: RSA with 1024 bits"),
             ContainsSubstring("replace its certificate"));

  auto report = refused(Errc::certificate, "certificate has expired");
  CHECK_THAT(advice_text(report), ContainsSubstring("a CA's certificate has expired"));
  report.time = at(kEnd, std::chrono::seconds{1});
  CHECK_THAT(advice_text(report),
             ContainsSubstring("renew its certificate, which expired on 2026-03-01"));
  report.chain.front().names = {};
  report.error->reason = "name mismatch: wanted mail.test, got no name";
  CHECK_THAT(advice_text(report), ContainsSubstring("which has no name"));
  report.chain.clear();
  CHECK_THAT(advice_text(report), ContainsSubstring("no certificate that can be read"));
}

TEST_CASE(
    "probe report: advice on a handshake distinguishes old TLS, a certificate of ours and no TLS",
    "[probe][advice]") {
  constexpr auto* kOurs = "set --upstream-chain FILE --upstream-key FILE\n";
  constexpr auto* kAlert40 = "the server refused the handshake: handshake failure (alert 40)";
  CHECK_THAT(handshake_advice("the server only speaks TLS 1.1 or older"),
             ContainsSubstring("too old"));
  CHECK_THAT(handshake_advice("the server only speaks TLS 1.2 or older"),
             ContainsSubstring("set --min-tls 1.2\n"));
  CHECK_THAT(handshake_advice("no shared cipher"), ContainsSubstring("too old"));
  CHECK_THAT(handshake_advice(kAlert40), ContainsSubstring("too old"));
  CHECK_THAT(handshake_advice(kAlert40, true), ContainsSubstring(kOurs));
  CHECK_THAT(handshake_advice("... certificate required (alert 116)"), ContainsSubstring(kOurs));
  CHECK_THAT(handshake_advice("... unknown CA (alert 48)"), ContainsSubstring(kOurs));
  CHECK_THAT(handshake_advice("... (alert 112)"), ContainsSubstring("set --server-name"));
  CHECK_THAT(handshake_advice("not TLS: the server sent something else", false, "implicit"),
             ContainsSubstring("set --upstream-tls starttls\n"));
  // The server has agreed to start TLS, so no other mode helps.
  CHECK_THAT(handshake_advice("not TLS: the server sent something else"),
             !ContainsSubstring("--upstream-tls") && ContainsSubstring("its log"));
}

TEST_CASE("probe report: advice on a server without TLS names only what can help",
          "[probe][advice]") {
  constexpr auto* kThisPort = "if this port speaks TLS from the first byte";
  CHECK_THAT(advice_text(refused(Errc::tls_not_offered, "")),
             ContainsSubstring("another port") && !ContainsSubstring(kThisPort) &&
                 ContainsSubstring("--upstream-tls opportunistic"));
  auto report = refused(Errc::tls_refused, "");
  CHECK_THAT(advice_text(report), ContainsSubstring("its log"));
  report.clear_capabilities = {"+OK", "UIDL", "."};
  CHECK_THAT(advice_text(report), ContainsSubstring("another port"));

  report = refused(Errc::timeout, "");
  CHECK_THAT(advice_text(report), !ContainsSubstring(kThisPort));  // the server has greeted
  report.greeting.clear();
  CHECK_THAT(advice_text(report), ContainsSubstring(kThisPort));
  report.tls = "implicit";
  CHECK_THAT(advice_text(report), ContainsSubstring("--upstream-tls starttls"));
  report.peer.clear();
  CHECK_THAT(advice_text(report),
             ContainsSubstring("--upstream,") && ContainsSubstring("firewall"));

  CHECK_THAT(advice_text(refused(Errc::protocol, "")),
             ContainsSubstring("speaks this protocol: --protocol smtp\n"));
  CHECK(advice(accepted()).empty());
}

TEST_CASE("probe report: advice is spelled as flags or as keys", "[probe][advice]") {
  const auto in_keys = [](ProbeReport report) {
    report.spelling = config::Spelling::keys;
    return advice_text(report);
  };
  CHECK_THAT(in_keys(refused(Errc::certificate, "unknown CA")),
             ContainsSubstring("set upstream.ca_file = \"ca.pem\"\n") &&
                 ContainsSubstring("set upstream.verify = \"none\" and upstream.pins = [\"" +
                                   std::string(kPin) + "\"]\n"));
  CHECK_THAT(in_keys(refused(Errc::certificate, "name mismatch: wanted a, got b")),
             ContainsSubstring("set upstream.server_name to it"));
  CHECK_THAT(in_keys(refused(Errc::handshake, "(alert 116)")),
             ContainsSubstring("set upstream.certificate = { chain = \"...\", key = \"...\" }\n"));
  CHECK_THAT(in_keys(refused(Errc::handshake, "the server only speaks TLS 1.2 or older")),
             ContainsSubstring("set upstream.min_tls = \"1.2\"\n"));
  CHECK_THAT(in_keys(refused(Errc::tls_not_offered, "")),
             ContainsSubstring("set upstream.address to that port, and upstream.tls = "
                               "\"implicit\"\n"));
  CHECK_THAT(in_keys(refused(Errc::protocol, "")),
             ContainsSubstring("speaks this protocol: protocol = \"smtp\"\n"));
  // No text has one spelling inside the other.
  for (const auto code : kAllCodes) {
    CAPTURE(name(code));
    CHECK_THAT(in_keys(refused(code, "why")), !ContainsSubstring("--"));
    CHECK_THAT(advice_text(refused(code, "why")), !ContainsSubstring("upstream."));
  }
}

TEST_CASE("probe report: a protocol is recognised by its greeting", "[probe][advice]") {
  struct Case {
    const char* greeting;
    const char* advice;
  };
  constexpr Case kCases[] = {
      {"220 mx.test ESMTP Postfix", "this looks like SMTP: set --protocol smtp\n"},
      {"220-mx.test ready", "this looks like SMTP: set --protocol smtp\n"},
      {"554 5.7.1 go away", "this looks like SMTP: set --protocol smtp\n"},
      {"220 mx.test LMTP Cyrus", "this looks like LMTP: set --protocol lmtp\n"},
      {"* OK [CAPABILITY IMAP4rev1] ready", "this looks like IMAP: set --protocol imap\n"},
      {"\"IMPLEMENTATION\" \"x\"", "this looks like ManageSieve: set --protocol sieve\n"},
      {"200 news.test", "this looks like NNTP: set --protocol nntp\n"},
      {"HTTP/1.1 400 Bad Request", "this looks like HTTP, which is not a mail protocol: check"},
      {"SSH-2.0-OpenSSH_9.2", "this looks like SSH, which is not a mail protocol: check"},
      {"\x15\x03\x03", "this looks like TLS from the first byte: set --upstream-tls implicit\n"},
      {"\x16\x03\x01", "this looks like TLS from the first byte: set --upstream-tls implicit\n"},
  };
  auto report = refused(Errc::protocol, "server sent an invalid reply");
  report.protocol = "pop3";
  for (const auto& [greeting, expected] : kCases) {
    CAPTURE(greeting);
    report.greeting = lines_of(greeting);
    CHECK_THAT(advice_text(report), ContainsSubstring(expected));
    CHECK(advice(report).size() == 1);
  }
  for (const auto* const own : {"+OK hello", "-ERR no", "", "something else"}) {
    report.greeting = lines_of(own);
    CHECK_THAT(advice_text(report), !ContainsSubstring("looks like"));
  }
  report.protocol = "smtp";
  report.greeting = {"+OK hello"};
  CHECK_THAT(advice_text(report), ContainsSubstring("this looks like POP3: set --protocol pop3\n"));

  // An LMTP server need not name its protocol.
  report.protocol = "lmtp";
  for (const auto* const own : {"220 mx.test ready", "220 mx.test ESMTP", "220 mx.test LMTP"}) {
    report.greeting = {own};
    CHECK_THAT(advice_text(report), !ContainsSubstring("looks like"));
  }

  // An error that may have another cause keeps its advice.
  report.error->code = Errc::tls_not_offered;
  report.protocol = "smtp";
  CHECK_THAT(advice_text(report), ContainsSubstring("this looks like LMTP: set --protocol lmtp\n"));
  CHECK(advice(report).size() == 4);
  // After the handshake began, the greeting was a good one.
  report.error->code = Errc::handshake;
  CHECK_THAT(advice_text(report), !ContainsSubstring("looks like"));
}

TEST_CASE("probe report: all faults of a certificate are named at once", "[probe][faults]") {
  auto report = refused(Errc::certificate, "certificate has expired");
  CHECK(faults(report) == std::vector{Fault::expired});  // of a certificate above it
  CHECK_THAT(to_text(report), !ContainsSubstring("also: "));

  report.time = at(kEnd, std::chrono::seconds{1});
  report.server_name = "smtp.test";
  CHECK(faults(report) == std::vector{Fault::expired, Fault::wrong_name});
  CHECK_THAT(to_text(report),
             ContainsSubstring("\nverdict        refused: certificate has expired\n"
                               "               also: the certificate does not name smtp.test\n"
                               "what to do     the server's operator must renew its certificate, "
                               "which expired on 2026-03-01 00:00:00 UTC\n"
                               "               if one of these names is the server that you mean, "
                               "set --server-name to it: mail.test, localhost\n"
                               "               or, if its operator confirms this key, set --verify "
                               "none --pin "));

  report.error->reason = "unknown CA";
  CHECK(faults(report) == std::vector{Fault::unknown_ca, Fault::expired, Fault::wrong_name});
  CHECK_THAT(to_text(report),
             ContainsSubstring("also: the certificate expired on 2026-03-01 00:00:00 UTC\n"
                               "               also: the certificate does not name smtp.test\n"));
  report.time = at(kBegin, -std::chrono::seconds{1});
  CHECK(faults(report) == std::vector{Fault::unknown_ca, Fault::not_yet_valid, Fault::wrong_name});
  CHECK_THAT(to_text(report), ContainsSubstring("also: the certificate is not valid before 2026-01-"
                                                "01 00:00:00 UTC\n"));

  // The first and the last second are valid. A unix socket has no name.
  report.server_name.clear();
  for (const auto time : {kBegin, kEnd}) {
    report.time = time;
    CHECK(faults(report) == std::vector{Fault::unknown_ca});
  }
  // If the server's own certificate does not parse, the first one of the chain is another.
  report.error->reason = "certificate cannot be read";
  report.server_name = "smtp.test";
  CHECK(faults(report) == std::vector{Fault::unreadable});
  CHECK_THAT(advice_text(report), ContainsSubstring("no certificate that can be read"));
  CHECK_THAT(advice_text(report), !ContainsSubstring(kPin));
}

TEST_CASE("probe report: the policy's words decide the fault, not the names after them",
          "[probe][faults]") {
  const auto fault = [](std::string reason) {
    return faults(refused(Errc::certificate, std::move(reason))).front();
  };
  CHECK(fault("name mismatch: wanted a, got pin mismatch, expired.test") == Fault::wrong_name);
  CHECK(fault("pin mismatch: wanted sha256:x, got sha256:y") == Fault::wrong_pin);
  CHECK(fault("self-signed certificate") == Fault::self_signed);
  CHECK(fault("certificate is not yet valid") == Fault::not_yet_valid);
  CHECK(fault("certificate key is too weak: RSA with 1024 bits") == Fault::weak);
  CHECK(fault("certificate is signed with SHA-1") == Fault::weak);
  CHECK(fault("certificate has a key of an unknown kind") == Fault::weak);
  CHECK(fault("certificate chain is too long") == Fault::other);
}

TEST_CASE("probe report: without verification a fault is named and changes nothing",
          "[probe][faults]") {
  auto report = accepted();
  CHECK(faults(report).empty());
  report.server_name = "smtp.test";
  report.verify = "none";
  CHECK(faults(report) == std::vector{Fault::wrong_name});
  CHECK(exit_status(report) == 0);
  CHECK(advice(report).empty());
  CHECK_THAT(to_text(report),
             ContainsSubstring("\n               not checked: the certificate does not name "
                               "smtp.test\n"));

  auto mismatch = refused(Errc::certificate, "pin mismatch: wanted x, got y");
  mismatch.verify = "pin";
  mismatch.server_name = "smtp.test";
  CHECK(faults(mismatch) == std::vector{Fault::wrong_pin, Fault::wrong_name});
  CHECK(advice(mismatch).size() == 1);
}

TEST_CASE("probe report: the JSON has the same facts", "[probe][json]") {
  const auto json = nlohmann::json::parse(to_json(accepted()));
  CHECK(json["time"] == "2026-02-08T23:00:00Z");
  CHECK(json["verdict"] == "accepted");
  CHECK(json["kind"].is_null());
  CHECK(json["accepted"] == true);
  CHECK(json["protocol"] == "smtp");
  CHECK(json["tls_version"] == "TLSv1.3");
  CHECK(json["tls_group"] == "X25519");
  CHECK(json["post_quantum"].is_null());  // no TLS library is known here
  CHECK(json["key_share_withheld"] == false);
  CHECK(json["capabilities"] == nlohmann::json({"250-mail.test", "250 AUTH PLAIN"}));
  CHECK(json["chain"][0]["names"] == nlohmann::json({"mail.test", "localhost"}));
  CHECK(json["chain"][0]["not_before"] == "2026-01-01T00:00:00Z");
  CHECK(json["chain"][0]["not_after"] == "2026-03-01T00:00:00Z");
  CHECK(json["chain"][0]["pin"] == kPin);
  CHECK(json["chain"][0]["valid_for_seconds"] == (24 * 20 + 1) * 3600);
  CHECK(json["faults"] == nlohmann::json::array());
  for (const auto* const field : {"error", "reason", "evidence", "state", "fallback"}) {
    CHECK(json[field].is_null());
  }

  const auto failed =
      nlohmann::json::parse(to_json(refused(Errc::tls_refused, "server refused STARTTLS")));
  CHECK(failed["verdict"] == "refused");
  CHECK(failed["kind"] == "protocol");
  CHECK(failed["accepted"] == false);
  CHECK(failed["error"] == "tls_refused");
  CHECK(failed["reason"] == "server refused STARTTLS");
  CHECK(failed["evidence"] == "their words \\x1b[31m");
  CHECK(failed["state"] == "starttls");
  CHECK(failed["tls_version"].is_null());
  CHECK(failed["tls_group"].is_null());
}

TEST_CASE("probe report: it says if the server took the post-quantum group",
          "[probe][json][post-quantum]") {
  using Json = nlohmann::json;
  struct Row {
    PostQuantum setting;
    PostQuantumSupport support;
    TlsGroup group;
    bool withheld;
    std::string_view text;
    Json json;
  };
  constexpr auto kAuto = PostQuantum::automatic;
  constexpr auto kFull = PostQuantumSupport::full;
  constexpr auto kMlKem = TlsGroup::x25519_mlkem768;
  const Row rows[] = {
      {kAuto, kFull, kMlKem, false, "yes", true},
      {kAuto, kFull, TlsGroup::p256, false, "no, the server does not want it", false},
      {kAuto, PostQuantumSupport::with_key_share, kMlKem, false, "yes", true},
      {kAuto, kFull, kMlKem, true,
       "yes; it did not answer a ClientHello with the key share, which is large", true},
      {kAuto, PostQuantumSupport::none, TlsGroup::x25519, false,
       "not offered: this TLS library does not have X25519MLKEM768", nullptr},
      {PostQuantum::off, kFull, TlsGroup::x25519, false, "not offered", nullptr}};
  for (const auto& row : rows) {
    auto report = accepted();
    report.post_quantum = row.setting;
    report.support = row.support;
    report.facts->group = row.group;
    report.facts->key_share_withheld = row.withheld;
    CHECK_THAT(to_text(report),
               ContainsSubstring("TLS            TLSv1.3, TLS_AES_128_GCM_SHA256, " +
                                 std::string(name(row.group)) +
                                 "\nrecord cipher  libipsec-mb 1.3.0\npost-quantum   " +
                                 std::string(row.text) + "\n"));
    const auto json = Json::parse(to_json(report));
    CHECK(json["post_quantum"] == row.json);
    CHECK(json["key_share_withheld"] == row.withheld);
  }
  CHECK_THAT(to_text(refused(Errc::handshake, "no")), !ContainsSubstring("post-quantum"));
}

TEST_CASE("probe report: the fields of the JSON are those that are documented", "[probe][json]") {
  using Fields = std::vector<std::string>;
  const auto fields = [](const nlohmann::json& object) {
    Fields names;
    for (const auto& [key, value] : object.items()) names.push_back(key);
    return names;
  };
  // Each is described in docs/probe.md.
  const Fields documented = {"accepted",
                             "address",
                             "advice",
                             "capabilities",
                             "capabilities_before_tls",
                             "chain",
                             "error",
                             "evidence",
                             "fallback",
                             "faults",
                             "greeting",
                             "key_share_withheld",
                             "kind",
                             "login",
                             "peer",
                             "post_quantum",
                             "protocol",
                             "reason",
                             "record_cipher",
                             "server_name",
                             "state",
                             "time",
                             "tls",
                             "tls_cipher",
                             "tls_group",
                             "tls_version",
                             "verdict",
                             "verify"};
  const Fields certificate = {"issuer",     "key", "names",   "not_after",
                              "not_before", "pin", "subject", "valid_for_seconds"};
  auto unreachable = refused(Errc::unreachable, "connection refused");
  unreachable.peer.clear();
  unreachable.chain.clear();
  for (const auto& report :
       {accepted(), refused(Errc::certificate, "certificate has expired"), unreachable}) {
    const auto json = nlohmann::json::parse(to_json(report));
    CHECK(fields(json) == documented);
    for (const auto& each : json["chain"]) CHECK(fields(each) == certificate);
  }
}

TEST_CASE("probe report: verdict and kind agree with the exit status", "[probe][json]") {
  const auto answer = [](Errc code) {
    const auto json = nlohmann::json::parse(to_json(refused(code, "why")));
    return json["verdict"].get<std::string>() + ' ' + json["kind"].dump();
  };
  for (const auto code : kAllCodes) {
    CAPTURE(name(code));
    switch (exit_status(refused(code, "why"))) {
      case 69:
        CHECK(answer(code) == "unreachable null");
        break;
      case 76:
        CHECK(answer(code) == R"(refused "protocol")");
        break;
      case 77:
        CHECK(answer(code) == R"(refused "tls")");
        break;
      default:
        FAIL("no such status");
    }
  }
}

TEST_CASE("probe report: the evidence about a certificate is plain text", "[probe][json]") {
  const auto evidence = [](std::string text) {
    auto report = refused(Errc::certificate, "certificate has expired");
    report.error->evidence = std::move(text);
    return nlohmann::json::parse(to_json(report))["evidence"];
  };
  constexpr auto* kStart = R"(subject="CN=a \" reason=\"x" issuer="CN=b" names="a.test" )";
  CHECK(evidence(kStart + std::string(R"(reason="certificate has expired")")) ==
        "certificate has expired");
  CHECK(evidence(kStart + std::string(R"(reason="has \"ended\" \x1b" at="CN=old \\ CA")")) ==
        R"(has "ended" \x1b, at CN=old \\ CA)");
  CHECK(evidence("").is_null());

  auto report = refused(Errc::tls_refused, "server refused STARTTLS");
  report.error->evidence = "NO \"later\"";
  CHECK(nlohmann::json::parse(to_json(report))["evidence"] == "NO \"later\"");
}

TEST_CASE("probe report: times of any year are those of RFC 3339", "[probe][json]") {
  auto report = accepted();
  auto& info = report.chain.front();
  info.not_before = UnixTime{std::chrono::seconds{-62135596800}};  // the year 1
  info.not_after.reset();
  const auto json = nlohmann::json::parse(to_json(report));
  CHECK(json["chain"][0]["not_before"] == "0001-01-01T00:00:00Z");
  CHECK_THAT(to_text(report), ContainsSubstring("from 0001-01-01 00:00:00 UTC\n"));
  CHECK(json["chain"][0]["not_after"].is_null());
  CHECK(json["chain"][0]["valid_for_seconds"].is_null());
}

TEST_CASE("probe report: a name that is not UTF-8 still gives valid JSON", "[probe][json]") {
  auto report = accepted();
  report.server_name = "mail\xff.test";
  CHECK(nlohmann::json::accept(to_json(report)));
}

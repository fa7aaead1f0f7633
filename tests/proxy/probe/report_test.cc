#include "proxy/probe/report.h"

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

using namespace starttls;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr auto* kPin = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

tls::CertificateInfo leaf() {
  return {.subject = "CN=mail.test",
          .issuer = "CN=some CA",
          .names = "mail.test, localhost",
          .not_before = "2026-01-01 00:00:00 UTC",
          .not_after = "2026-03-01 00:00:00 UTC",
          .key = "ECDSA 256",
          .pin = kPin,
          .valid_for = std::chrono::hours{24 * 20 + 1}};
}

ProbeReport accepted() {
  return {.protocol = "smtp",
          .address = "mail.test:587",
          .tls = "starttls",
          .verify = "full",
          .server_name = "mail.test",
          .peer = "192.0.2.1:587",
          .greeting = {"220 mail.test"},
          .clear_capabilities = {"250-mail.test", "250 STARTTLS"},
          .facts = tls::Facts{.version = "TLSv1.3",
                              .cipher = "TLS_AES_128_GCM_SHA256",
                              .unverified_subject = {}},
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

std::string advice_text(const ProbeReport& report) {
  std::string out;
  for (const auto& line : advice(report)) {
    CHECK_FALSE(line.empty());
    CHECK(line.find('\n') == std::string::npos);
    out += line + "\n";
  }
  return out;
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
        "TLS            TLSv1.3, TLS_AES_128_GCM_SHA256\n"
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
             ContainsSubstring("accepted: encrypted, and the key is a pinned one\n"));
  report.verify = "none";
  CHECK_THAT(to_text(report), ContainsSubstring("accepted: encrypted, but not verified"));

  report.facts.reset();
  report.chain.clear();
  report.tls = "opportunistic";
  report.fallback = "server does not offer STARTTLS";
  CHECK_THAT(to_text(report),
             ContainsSubstring("accepted, in the clear: everybody on the way can read "
                               "along (server does not offer STARTTLS)\n"));
  CHECK_THAT(to_text(report), !ContainsSubstring("before TLS"));
  CHECK_THAT(to_text(report), ContainsSubstring("offers         250-mail.test\n"));
}

TEST_CASE("probe report: a certificate's remaining time is in days", "[probe]") {
  auto report = accepted();
  report.chain.front().valid_for = std::chrono::hours{25};
  CHECK_THAT(to_text(report), ContainsSubstring(", 1 day left\n"));
  report.chain.front().valid_for = std::chrono::hours{-49};
  CHECK_THAT(to_text(report), ContainsSubstring(", 2 days ago\n"));
}

TEST_CASE("probe report: a refusal gives the reason and the peer's words, escaped", "[probe]") {
  const auto text = to_text(refused(Errc::tls_refused, "server refused STARTTLS"));
  CHECK_THAT(text, ContainsSubstring("\nverdict        refused: server refused STARTTLS\n"
                                     "               their words \\x1b[31m\n"
                                     "what to do     "));
  CHECK_THAT(to_text(refused(Errc::timeout, "no answer")),
             ContainsSubstring("refused: no answer (starttls)\n"));
  auto unwelcome = refused(Errc::greeting_refused, "server says: 554 no");
  unwelcome.error->evidence = "554 no";
  CHECK_THAT(to_text(unwelcome), ContainsSubstring("server says: 554 no\nwhat to do "));
  // The chain has already been shown.
  CHECK_THAT(to_text(refused(Errc::certificate, "unknown CA")), !ContainsSubstring("their words"));

  auto report = refused(Errc::unreachable, "connection refused");
  report.peer.clear();
  CHECK_THAT(to_text(report),
             ContainsSubstring("\nverdict        unreachable: connection refused\n"));
}

TEST_CASE("probe report: advice on a certificate names the setting, and the key seen",
          "[probe][advice]") {
  CHECK_THAT(certificate_advice("unknown CA"), ContainsSubstring("upstream.ca_file = ") &&
                                                   ContainsSubstring(kPin) &&
                                                   ContainsSubstring("upstream.verify = \"none\""));
  CHECK_THAT(certificate_advice("self-signed certificate"),
             ContainsSubstring("upstream.ca_file = "));
  CHECK_THAT(
      certificate_advice("name mismatch: wanted a, got b"),
      ContainsSubstring("upstream.server_name = ") && ContainsSubstring("(mail.test, localhost)"));
  CHECK_THAT(certificate_advice("certificate is not yet valid"),
             ContainsSubstring("2026-01-01 00:00:00"));
  CHECK_THAT(certificate_advice("pin mismatch: wanted x, got y"),
             ContainsSubstring("upstream.pins = [\"" + std::string(kPin) + "\"]") &&
                 !ContainsSubstring("verify"));
  CHECK_THAT(certificate_advice("certificate key is too weak: RSA with 1024 bits"),
             ContainsSubstring("replace its certificate"));

  auto report = refused(Errc::certificate, "certificate has expired");
  CHECK_THAT(advice_text(report), ContainsSubstring("a CA's certificate has ended"));
  report.chain.front().valid_for = std::chrono::seconds{-1};
  CHECK_THAT(advice_text(report),
             ContainsSubstring("renew its certificate, which ended on 2026-03-01"));
  report.chain.clear();
  CHECK_THAT(advice_text(report), ContainsSubstring("no certificate that can be read"));
}

TEST_CASE(
    "probe report: advice on a handshake covers old TLS, a missing client certificate and no TLS",
    "[probe][advice]") {
  constexpr auto* kOurs = "upstream.certificate = {";
  constexpr auto* kAlert40 = "the server refused the handshake: handshake failure (alert 40)";
  CHECK_THAT(handshake_advice("the server only speaks TLS 1.1 or older"),
             ContainsSubstring("too old"));
  CHECK_THAT(handshake_advice("the server only speaks TLS 1.2 or older"),
             ContainsSubstring("upstream.min_tls = \"1.2\""));
  CHECK_THAT(handshake_advice("no shared cipher"), ContainsSubstring("too old"));
  CHECK_THAT(handshake_advice(kAlert40), ContainsSubstring("too old"));
  CHECK_THAT(handshake_advice(kAlert40, true), ContainsSubstring(kOurs));
  CHECK_THAT(handshake_advice("... certificate required (alert 116)"), ContainsSubstring(kOurs));
  CHECK_THAT(handshake_advice("... unknown CA (alert 48)"), ContainsSubstring(kOurs));
  CHECK_THAT(handshake_advice("... (alert 112)"), ContainsSubstring("upstream.server_name"));
  CHECK_THAT(handshake_advice("not TLS: the server sent something else", false, "implicit"),
             ContainsSubstring("upstream.tls = \"starttls\""));
  // The server has agreed to start TLS, so no other mode helps.
  CHECK_THAT(handshake_advice("not TLS: the server sent something else"),
             !ContainsSubstring("upstream.tls") && ContainsSubstring("its log"));
}

TEST_CASE("probe report: advice on a server without TLS names only what can help",
          "[probe][advice]") {
  constexpr auto* kThisPort = "if this port speaks TLS from the first byte";
  CHECK_THAT(advice_text(refused(Errc::tls_not_offered, "")),
             ContainsSubstring("another port") && !ContainsSubstring(kThisPort) &&
                 ContainsSubstring("upstream.tls = \"opportunistic\""));
  auto report = refused(Errc::tls_refused, "");
  CHECK_THAT(advice_text(report), ContainsSubstring("its log"));
  report.clear_capabilities = {"+OK", "UIDL", "."};
  CHECK_THAT(advice_text(report), ContainsSubstring("another port"));

  report = refused(Errc::timeout, "");
  CHECK_THAT(advice_text(report), !ContainsSubstring(kThisPort));  // the server has greeted
  report.greeting.clear();
  CHECK_THAT(advice_text(report), ContainsSubstring(kThisPort));
  report.tls = "implicit";
  CHECK_THAT(advice_text(report), ContainsSubstring("upstream.tls = \"starttls\""));
  report.peer.clear();
  CHECK_THAT(advice_text(report),
             ContainsSubstring("upstream.address") && ContainsSubstring("firewall"));

  CHECK_THAT(advice_text(refused(Errc::protocol, "")), ContainsSubstring("protocol = \"smtp\""));
  CHECK(advice(accepted()).empty());
}

TEST_CASE("probe report: the JSON has the same facts", "[probe][json]") {
  const auto json = nlohmann::json::parse(to_json(accepted()));
  CHECK(json["verdict"] == "accepted");
  CHECK(json["accepted"] == true);
  CHECK(json["protocol"] == "smtp");
  CHECK(json["tls_version"] == "TLSv1.3");
  CHECK(json["capabilities"] == nlohmann::json({"250-mail.test", "250 AUTH PLAIN"}));
  CHECK(json["chain"][0]["pin"] == kPin);
  CHECK(json["chain"][0]["valid_for_seconds"] == (24 * 20 + 1) * 3600);
  CHECK_FALSE(json.contains("error"));

  const auto failed =
      nlohmann::json::parse(to_json(refused(Errc::tls_refused, "server refused STARTTLS")));
  CHECK(failed["verdict"] == "protocol");
  CHECK(failed["accepted"] == false);
  CHECK(failed["error"] == "tls_refused");
  CHECK(failed["reason"] == "server refused STARTTLS");
  CHECK(failed["evidence"] == "their words \\x1b[31m");
  CHECK(failed["state"] == "starttls");
  CHECK_FALSE(failed.contains("tls_version"));
}

TEST_CASE("probe report: a name that is not UTF-8 still gives valid JSON", "[probe][json]") {
  auto report = accepted();
  report.server_name = "mail\xff.test";
  CHECK(nlohmann::json::accept(to_json(report)));
}

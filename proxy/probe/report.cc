#include "proxy/probe/report.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/base/ascii.h"
#include "lib/base/tls_mode.h"
#include "proxy/exit_status.h"

namespace starttls {
namespace {

/// Escapes as `ascii::escape` does, but keeps quotes. A list of ManageSieve is full of them, and a
/// report has no quotes of its own.
std::string escape_line(std::string_view line) {
  constexpr std::size_t kMaxBytes = 1000;  // real lists of IMAP come near it
  const auto shown = line.substr(0, kMaxBytes);
  std::string out;
  for (std::size_t start = 0; start <= shown.size();) {
    const auto quote = std::min(shown.find('"', start), shown.size());
    out += ascii::escape(shown.substr(start, quote - start), kMaxBytes);
    if (quote < shown.size()) out += '"';
    start = quote + 1;
  }
  return shown.size() < line.size() ? out + "..." : out;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool is_verified(const ProbeReport& report) {
  return report.verify == "full";
}

std::string setting(std::string_view key, std::string_view value) {
  return std::string(key) + " = " + std::string(value);
}

std::string pin_setting(const ProbeReport& report) {
  return setting("upstream.pins", "[\"" + report.chain.front().pin + "\"]");
}

/// Returns the advice to pin the key of the server. Only its operator can confirm the key: an
/// attacker on the way could have replaced it.
std::string pin_advice(const ProbeReport& report) {
  return "or, if its operator confirms this key: upstream.verify = \"none\" with " +
         pin_setting(report);
}

std::vector<std::string> certificate_advice(const ProbeReport& report, std::string_view reason) {
  if (report.chain.empty()) return {"the server sent no certificate that can be read"};
  const auto& leaf = report.chain.front();
  if (contains(reason, "pin mismatch")) {
    return {
        "the server's key is not the one that was pinned: ask its operator whether it was "
        "changed, and then set " +
        pin_setting(report)};
  }
  if (contains(reason, "expired")) {
    // Any certificate of the chain may have expired. It is not the leaf if that is still valid.
    const bool leaf_ended = leaf.valid_for < std::chrono::seconds{0};
    return {leaf_ended ? "the server's operator has to renew its certificate, which ended on " +
                             leaf.not_after
                       : "a CA's certificate has ended: the server's operator has to replace the "
                         "chain, or upstream.ca_file is out of date",
            pin_advice(report)};
  }
  if (contains(reason, "not yet valid")) {
    return {"compare the clocks: the certificate begins on " + leaf.not_before};
  }
  if (contains(reason, "name mismatch")) {
    return {"if one of these is the server you mean, name it: upstream.server_name = \"...\" (" +
            leaf.names + ")"};
  }
  if (contains(reason, "unknown CA") || contains(reason, "self-signed")) {
    return {
        "if the server has a CA of its own, get the CA's certificate from its operator: "
        "upstream.ca_file = \"ca.pem\"",
        pin_advice(report)};
  }
  return {"the server's operator has to replace its certificate", pin_advice(report)};
}

bool is_implicit(const ProbeReport& report) {
  return report.tls == name(TlsMode::implicit);
}

std::string other_mode(const ProbeReport& report) {
  return is_implicit(report) ? "if this port begins in the clear (25, 587, 143, 110), set "
                               "upstream.tls = \"starttls\""
                             : "if this port speaks TLS from the first byte (465, 993, 995, 563), "
                               "set upstream.tls = \"implicit\"";
}

constexpr std::string_view kClientCertificate =
    "upstream.certificate = { chain = \"...\", key = \"...\" }";

/// True if the server has sent this alert. The reason then ends with "(alert 40)", for example (RFC
/// 8446 §6.2).
bool is_alert(std::string_view reason, int alert) {
  return contains(reason, "(alert " + std::to_string(alert) + ")");
}

/// True if the reason is an alert about the certificate that we have sent.
bool refuses_ours(std::string_view reason) {
  constexpr int kAlerts[] = {42, 43, 44, 45, 46, 48, 49};  // bad_certificate to access_denied
  return std::any_of(std::begin(kAlerts), std::end(kAlerts),
                     [reason](int alert) { return is_alert(reason, alert); });
}

std::vector<std::string> handshake_advice(const ProbeReport& report, std::string_view reason) {
  constexpr int kHandshakeFailure = 40;
  constexpr int kUnrecognizedName = 112;
  constexpr int kCertificateRequired = 116;
  if (contains(reason, "only speaks TLS 1.2")) {
    return {"if TLS 1.2 is good enough for you, set upstream.min_tls = \"1.2\""};
  }
  // Before TLS 1.3 there is no alert for a certificate that is missing, only handshake_failure.
  // After the server's own certificate it can mean little else. Everything that both sides must
  // have in common is settled by then (RFC 5246 §7.4.6).
  const bool keys_agreed = !report.chain.empty();
  if (is_alert(reason, kCertificateRequired) ||
      (is_alert(reason, kHandshakeFailure) && keys_agreed)) {
    return {"the server wants a client certificate: " + std::string(kClientCertificate)};
  }
  if (refuses_ours(reason)) {
    return {"the server does not accept the client certificate, or wants one: " +
            std::string(kClientCertificate)};
  }
  if (contains(reason, "only speaks") || contains(reason, "no shared cipher") ||
      is_alert(reason, kHandshakeFailure)) {
    return {
        "the server's TLS is too old to be safe: it has to be updated, or something newer put "
        "in front of it"};
  }
  if (is_alert(reason, kUnrecognizedName)) {
    return {"the server does not know the name " + report.server_name +
            ": upstream.server_name = \"...\""};
  }
  if (is_implicit(report) && (contains(reason, "not TLS") || contains(reason, "closed"))) {
    return {other_mode(report)};
  }
  return {"the server's operator should look at its log: its TLS does not work"};
}

/// Returns the advice for a server without STARTTLS. The server has spoken in the clear, so this
/// port is not the one for TLS from the first byte.
std::vector<std::string> no_starttls_advice() {
  return {"the server offers no STARTTLS here, or somebody on the way has removed the offer",
          "if it has another port for TLS from the first byte (465, 993, 995, 563), set "
          "upstream.address to that, and upstream.tls = \"implicit\"",
          "to do without TLS where it is not offered, and be read by everybody on the way: "
          "upstream.tls = \"opportunistic\""};
}

/// True if the server has offered STARTTLS, or if there is no list. Some servers are not asked for
/// their list before STARTTLS is sent.
bool has_offered(const ProbeReport& report) {
  const auto& list = report.clear_capabilities;
  return list.empty() || std::any_of(list.begin(), list.end(), [](std::string line) {
           std::transform(line.begin(), line.end(), line.begin(), ascii::to_upper);
           return contains(line, "STARTTLS") || contains(line, "STLS");
         });
}

std::vector<std::string> silence_advice(const ProbeReport& report) {
  if (report.peer.empty()) {
    return {"check upstream.address, and whether a firewall lets this machine reach it"};
  }
  // A server that has greeted does not wait for TLS.
  if (report.greeting.empty()) return {other_mode(report)};
  return {"the server's operator should look at its log"};
}

enum class Verdict : std::uint8_t { accepted, unreachable, protocol, tls };

Verdict verdict_of(const ProbeReport& report) noexcept {
  if (!report.error) return Verdict::accepted;
  switch (report.error->code) {
    case Errc::config:
    case Errc::system:
    case Errc::unreachable:
    case Errc::timeout:
    case Errc::closed:
      return Verdict::unreachable;
    case Errc::greeting_refused:
    case Errc::tls_not_offered:
    case Errc::tls_refused:
    case Errc::attack:
    case Errc::protocol:
    case Errc::client_protocol:
    case Errc::too_many_errors:
    case Errc::tls_on_clear_port:
    case Errc::limit:
    case Errc::not_allowed:
    case Errc::draining:
      return Verdict::protocol;
    case Errc::handshake:
    case Errc::certificate:
    case Errc::tls:
      return Verdict::tls;
  }
  return Verdict::unreachable;
}

/// True if a time-out or a close ended the wait. The state then says more than the reason does.
bool ended_waiting(Errc code) noexcept {
  return code == Errc::timeout || code == Errc::closed;
}

std::string verdict_text(const ProbeReport& report) {
  if (report.error) {
    std::string text = report.peer.empty() ? "unreachable: " : "refused: ";
    text += report.error->reason;
    if (!report.peer.empty() && ended_waiting(report.error->code)) {
      text += " (" + report.state + ")";
    }
    return text;
  }
  if (!report.facts) {
    std::string text = "accepted, in the clear: everybody on the way can read along";
    if (!report.fallback.empty()) text += " (" + report.fallback + ")";
    return text;
  }
  if (is_verified(report)) return "accepted: encrypted, and verified as " + report.server_name;
  if (report.verify == "pin") return "accepted: encrypted, and the key is a pinned one";
  return "accepted: encrypted, but not verified: the server may be anyone";
}

void line(std::string& out, std::string_view label, std::string_view text) {
  constexpr std::size_t kTextColumn = 15;
  std::string start(label);
  start.resize(std::max(start.size() + 1, kTextColumn), ' ');
  out += start + std::string(text) + "\n";
}

void lines(std::string& out, std::string_view label, const std::vector<std::string>& all) {
  for (std::size_t i = 0; i < all.size(); ++i) line(out, i == 0 ? label : "", all[i]);
}

std::string days(std::chrono::seconds valid_for) {
  const auto count = std::chrono::duration_cast<std::chrono::hours>(valid_for).count() / 24;
  const std::string number =
      std::to_string(std::abs(count)) + (std::abs(count) == 1 ? " day" : " days");
  return number + (valid_for < std::chrono::seconds{0} ? " ago" : " left");
}

void certificate(std::string& out, std::size_t number, const tls::CertificateInfo& info) {
  line(out, "certificate " + std::to_string(number), info.subject);
  line(out, "  issued by", info.issuer);
  line(out, "  names", info.names);
  line(out, "  valid", "from " + info.not_before);
  line(out, "", "to   " + info.not_after + ", " + days(info.valid_for));
  line(out, "  key", info.key);
  line(out, "  pin", info.pin);
}

std::string_view word(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::accepted:
      return "accepted";
    case Verdict::unreachable:
      return "unreachable";
    case Verdict::protocol:
      return "protocol";
    case Verdict::tls:
      return "tls";
  }
  return "unreachable";
}

}  // namespace

std::vector<std::string> lines_of(std::string_view text) {
  constexpr std::size_t kMaxLines = 200;
  std::vector<std::string> lines;
  while (!text.empty()) {
    if (lines.size() == kMaxLines) {
      lines.emplace_back("...");
      break;
    }
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(escape_line(line));
  }
  return lines;
}

std::vector<std::string> advice(const ProbeReport& report) {
  if (!report.error) return {};
  const auto code = report.error->code;
  const auto& reason = report.error->reason;
  switch (code) {
    case Errc::tls_not_offered:
      return no_starttls_advice();
    case Errc::tls_refused:
      if (!has_offered(report)) return no_starttls_advice();
      return {
          "the server refuses STARTTLS: its operator should look at its log (often it is a "
          "certificate that it cannot read)"};
    case Errc::certificate:
      return certificate_advice(report, reason);
    case Errc::handshake:
    case Errc::tls:
      return handshake_advice(report, reason);
    case Errc::unreachable:
    case Errc::timeout:
    case Errc::closed:
      return silence_advice(report);
    case Errc::greeting_refused:
      return {"the server does not want to talk to this machine: its words say why"};
    case Errc::attack:
      return {
          "only an attacker on the way, or a broken server, says this: probe again from another "
          "network"};
    case Errc::protocol:
      return {"check that the server behind upstream.address speaks this protocol: protocol = \"" +
              report.protocol + "\""};
    case Errc::config:
    case Errc::system:
    case Errc::client_protocol:
    case Errc::too_many_errors:
    case Errc::tls_on_clear_port:
    case Errc::limit:
    case Errc::not_allowed:
    case Errc::draining:
      return {};
  }
  return {};
}

std::string to_text(const ProbeReport& report) {
  std::string out;
  line(out, "server", report.address + " (" + report.protocol + ", tls = " + report.tls + ")");
  if (!report.peer.empty()) line(out, "connected to", report.peer);
  lines(out, "greeting", report.greeting);
  // A leg that stays in the clear has one list.
  const bool one_list = !report.facts && !report.capabilities.empty();
  if (!one_list) lines(out, "before TLS", report.clear_capabilities);
  if (report.facts) line(out, "TLS", report.facts->version + ", " + report.facts->cipher);
  for (std::size_t i = 0; i < report.chain.size(); ++i) certificate(out, i + 1, report.chain[i]);
  lines(out, report.facts && !is_implicit(report) ? "after TLS" : "offers", report.capabilities);
  line(out, "verdict", verdict_text(report));
  // For a certificate, the lines above say everything. Some reasons quote the evidence already.
  if (report.error && report.error->code != Errc::certificate) {
    const auto evidence = ascii::escape(report.error->evidence);
    if (!contains(report.error->reason, evidence)) line(out, "", evidence);
  }
  lines(out, "what to do", advice(report));
  return out;
}

std::string to_json(const ProbeReport& report) {
  using nlohmann::json;
  json out = {{"protocol", report.protocol},
              {"address", report.address},
              {"tls", report.tls},
              {"verify", report.verify},
              {"server_name", report.server_name},
              {"peer", report.peer},
              {"greeting", report.greeting},
              {"capabilities_before_tls", report.clear_capabilities},
              {"capabilities", report.capabilities},
              {"fallback", report.fallback},
              {"verdict", word(verdict_of(report))},
              {"accepted", !report.error},
              {"advice", advice(report)}};
  if (report.facts) {
    out["tls_version"] = report.facts->version;
    out["tls_cipher"] = report.facts->cipher;
  }
  out["chain"] = json::array();
  for (const auto& info : report.chain) {
    out["chain"].push_back({{"subject", info.subject},
                            {"issuer", info.issuer},
                            {"names", info.names},
                            {"not_before", info.not_before},
                            {"not_after", info.not_after},
                            {"valid_for_seconds", info.valid_for.count()},
                            {"key", info.key},
                            {"pin", info.pin}});
  }
  if (report.error) {
    out["error"] = name(report.error->code);
    out["reason"] = report.error->reason;
    out["evidence"] = ascii::escape(report.error->evidence);
    out["state"] = report.state;
  }
  // The configured values need not be UTF-8.
  return out.dump(2, ' ', true, json::error_handler_t::replace) + "\n";
}

int exit_status(const ProbeReport& report) noexcept {
  switch (verdict_of(report)) {
    case Verdict::accepted:
      return 0;
    case Verdict::unreachable:
      return kExitUnavailable;
    case Verdict::protocol:
      return kExitProtocol;
    case Verdict::tls:
      return kExitNoPermission;
  }
  return kExitUnavailable;
}

}  // namespace starttls

// What a probe has seen, for people and for programs.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/base/ascii.h"
#include "lib/base/tls_mode.h"
#include "proxy/probe.h"

namespace starttls {
namespace {

constexpr int kExitUnavailable = 69;   // EX_UNAVAILABLE
constexpr int kExitProtocol = 76;      // EX_PROTOCOL
constexpr int kExitNoPermission = 77;  // EX_NOPERM

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

/// The key is the server's as far as this connection tells, which whoever is in between can change.
std::string pin_advice(const ProbeReport& report) {
  return "or, if its operator confirms this key: upstream.verify = \"none\" with " +
         pin_setting(report);
}

std::vector<std::string> certificate_advice(const ProbeReport& report, std::string_view reason) {
  if (report.chain.empty()) return {"the server sent no certificate that can be read"};
  const auto& leaf = report.chain.front();
  if (contains(reason, "expired")) {
    return {"the server's operator has to renew its certificate, which ended on " + leaf.not_after,
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
  if (contains(reason, "pin mismatch")) {
    return {
        "the server's key is not the one that was pinned: ask its operator whether it was "
        "changed, and then set " +
        pin_setting(report)};
  }
  return {"the server's operator has to replace its certificate", pin_advice(report)};
}

std::string other_mode(const ProbeReport& report) {
  return report.tls == name(TlsMode::implicit)
             ? "if this port begins in the clear (25, 587, 143, 110), set upstream.tls = "
               "\"starttls\""
             : "if this port speaks TLS from the first byte (465, 993, 995, 563), set upstream.tls "
               "= \"implicit\"";
}

std::vector<std::string> handshake_advice(const ProbeReport& report, std::string_view reason) {
  if (contains(reason, "only speaks")) {
    return {
        "the server's TLS is too old to be safe: it has to be updated, or something newer put "
        "in front of it"};
  }
  if (contains(reason, "certificate required") || contains(reason, "alert 116")) {
    return {
        "the server wants a client certificate: upstream.certificate = { chain = \"...\", key = "
        "\"...\" }"};
  }
  if (contains(reason, "not TLS")) return {other_mode(report)};
  return {};
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

std::string verdict_text(const ProbeReport& report) {
  if (report.error) return "refused: " + report.error->reason;
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
  if (valid_for < std::chrono::seconds{0}) return std::to_string(-count) + " days ago";
  return std::to_string(count) + " days left";
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

std::vector<std::string> advice(const ProbeReport& report) {
  if (!report.error) return {};
  const auto& [code, reason, evidence] = *report.error;
  switch (code) {
    case Errc::tls_not_offered:
      return {"the server offers no STARTTLS here, or somebody on the way has removed the offer",
              other_mode(report)};
    case Errc::tls_refused:
      return {
          "the server offers STARTTLS and refuses it now: its operator should look at its log "
          "(often a certificate that it cannot read)"};
    case Errc::certificate:
      return certificate_advice(report, reason);
    case Errc::handshake:
    case Errc::tls:
      return handshake_advice(report, reason);
    case Errc::unreachable:
      return {"check the address, and whether a firewall lets this machine reach it"};
    case Errc::timeout:
    case Errc::closed:
      return {other_mode(report)};
    default:
      return {};
  }
}

std::string to_text(const ProbeReport& report) {
  std::string out;
  line(out, "server", report.address + " (" + report.service + ", tls = " + report.tls + ")");
  if (!report.peer.empty()) line(out, "connected to", report.peer);
  lines(out, "greeting", report.greeting);
  lines(out, report.tls == name(TlsMode::none) ? "offers" : "before TLS",
        report.clear_capabilities);
  if (report.facts) line(out, "TLS", report.facts->version + ", " + report.facts->cipher);
  for (std::size_t i = 0; i < report.chain.size(); ++i) certificate(out, i + 1, report.chain[i]);
  lines(out, report.facts ? "after TLS" : "offers", report.capabilities);
  line(out, "verdict", verdict_text(report));
  if (report.error && !report.error->evidence.empty()) {
    line(out, "", ascii::escape(report.error->evidence));
  }
  lines(out, "what to do", advice(report));
  return out;
}

std::string to_json(const ProbeReport& report) {
  using nlohmann::json;
  json out = {{"protocol", report.service},
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
  return out.dump(2) + "\n";
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

#include "proxy/probe/report.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/base/ascii.h"
#include "lib/base/tls_mode.h"
#include "lib/base/utc.h"
#include "lib/tls/name_match.h"
#include "proxy/exit_status.h"
#include "proxy/probe/advice.h"
#include "proxy/probe/faults.h"
#include "proxy/probe/times.h"

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

bool is_implicit(const ProbeReport& report) {
  return report.tls == name(TlsMode::implicit);
}

enum class Verdict : std::uint8_t { accepted, unreachable, protocol, tls, login };

/// True if a time-out or a close ended the wait. The state then says more than the reason does.
bool ended_waiting(Errc code) noexcept {
  return code == Errc::timeout || code == Errc::closed;
}

Verdict verdict_of(const ProbeReport& report) noexcept {
  if (!report.error) return Verdict::accepted;
  const Errc code = report.error->code;
  if (code == Errc::handshake || code == Errc::certificate || code == Errc::tls) {
    return Verdict::tls;
  }
  if (report.login) {
    if (report.login->outcome == LoginOutcome::no_secret) return Verdict::login;
    if (report.login->outcome == LoginOutcome::not_offered) return Verdict::protocol;
    if (code == Errc::login) return Verdict::login;
  }
  const bool reached = code != Errc::unreachable && !ended_waiting(code);
  return reached && concerns(code) != Party::proxy ? Verdict::protocol : Verdict::unreachable;
}

std::string_view word(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::accepted:
      return "accepted";
    case Verdict::unreachable:
      return "unreachable";
    case Verdict::protocol:
    case Verdict::tls:
    case Verdict::login:
      return "refused";
  }
  return "unreachable";
}

/// Returns the kind of a refusal; "" if it is none.
std::string_view kind(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::accepted:
    case Verdict::unreachable:
      return "";
    case Verdict::protocol:
      return "protocol";
    case Verdict::tls:
      return "tls";
    case Verdict::login:
      return "login";
  }
  return "";
}

/// Returns the end of a good verdict.
std::string login_verdict(const ProbeReport& report) {
  if (!report.login) return {};
  return "; the server accepts the login as " + ascii::escape(report.login->user);
}

std::string verdict_text(const ProbeReport& report) {
  if (report.error) {
    std::string text = std::string(word(verdict_of(report))) + ": " + report.error->reason;
    if (!report.peer.empty() && ended_waiting(report.error->code)) {
      text += " (" + report.state + ")";
    }
    return text;
  }
  if (!report.facts) {
    std::string text = "accepted, in the clear: every machine on the way can read along";
    if (!report.fallback.empty()) text += " (" + report.fallback + ")";
    return text;
  }
  if (is_verified(report)) {
    return "accepted: encrypted, and verified as " + report.server_name + login_verdict(report);
  }
  if (report.verify == "pin") {
    return "accepted: encrypted, and the server's key is pinned" + login_verdict(report);
  }
  return "accepted: encrypted, but not verified: another machine could pose as the server";
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

bool offers_post_quantum(const ProbeReport& report) noexcept {
  return report.post_quantum == PostQuantum::automatic &&
         report.support != PostQuantumSupport::none;
}

bool took_post_quantum(const ProbeReport& report) noexcept {
  return report.facts && report.facts->group == TlsGroup::x25519_mlkem768;
}

/// Returns in words whether the server took the post-quantum group. Call it only if TLS came up.
std::string post_quantum_text(const ProbeReport& report) {
  if (!offers_post_quantum(report)) {
    return report.post_quantum == PostQuantum::off
               ? "not offered"
               : "not offered: this TLS library does not have X25519MLKEM768";
  }
  std::string text = took_post_quantum(report) ? "yes" : "no, the server does not want it";
  if (report.facts->key_share_withheld) {
    text += "; it did not answer a ClientHello with the key share, which is large";
  }
  return text;
}

/// Returns true if the server took the post-quantum group, false if it did not, and null if it was
/// not offered, or if TLS did not come up.
nlohmann::json json_post_quantum(const ProbeReport& report) {
  if (!report.facts || !offers_post_quantum(report)) return nullptr;
  return took_post_quantum(report);
}

void certificate(std::string& out, const ProbeReport& report, std::size_t index) {
  const auto& info = report.chain[index];
  const auto left = info.not_after ? ", " + time_left(*info.not_after, report.time) : "";
  line(out, "certificate " + std::to_string(index + 1), info.subject);
  line(out, "  issued by", info.issuer);
  line(out, "  names", tls::describe(info.names));
  line(out, "  valid", "from " + time_text(info.not_before));
  line(out, "", "to   " + time_text(info.not_after) + left);
  line(out, "  key", info.key);
  line(out, "  pin", info.pin);
}

/// Returns the value of `key="value"` in an evidence, which has its quotes and control characters
/// escaped. Quotes are restored. Empty if there is none.
std::string quoted_value(std::string_view evidence, std::string_view key) {
  const std::string start = " " + std::string(key) + "=\"";
  const auto found = evidence.find(start);
  if (found == std::string_view::npos) return {};
  std::string value;
  for (auto rest = evidence.substr(found + start.size()); !rest.empty(); rest.remove_prefix(1)) {
    if (rest.front() == '"') break;
    if (rest.starts_with("\\\"")) {
      rest.remove_prefix(1);
    } else if (rest.starts_with("\\\\")) {
      value += rest.front();
      rest.remove_prefix(1);
    }
    value += rest.front();
  }
  return value;
}

/// Returns the evidence in one line, escaped. For a certificate, subject, issuer and names are in
/// the chain already. What is left are the words of the library, and the certificate of the path
/// that they are about, if that is not the server's.
std::string evidence_text(const Error& error) {
  if (error.code != Errc::certificate) return escape_line(error.evidence);
  const auto words = quoted_value(error.evidence, "reason");
  const auto at = quoted_value(error.evidence, "at");
  if (words.empty()) return escape_line(error.evidence);
  return at.empty() ? words : words + ", at " + at;
}

/// Returns the text, or null if it is empty.
nlohmann::json or_null(std::string_view text) {
  return text.empty() ? nlohmann::json() : nlohmann::json(text);
}

/// Returns the seconds until the time, negative after it. Null if the certificate has none that can
/// be read.
nlohmann::json json_seconds_until(const std::optional<UnixTime>& time, UnixTime now) {
  return time ? nlohmann::json((time->since_1970 - now.since_1970).count()) : nlohmann::json();
}

/// Returns the time as in RFC 3339, or null if the certificate has none that can be read.
nlohmann::json json_time(const std::optional<UnixTime>& time) {
  return time ? nlohmann::json(rfc3339(*time)) : nlohmann::json();
}

nlohmann::json json_certificate(const ProbeReport& report, const tls::CertificateInfo& info) {
  return {{"subject", info.subject},
          {"issuer", info.issuer},
          {"names", tls::texts(info.names)},
          {"not_before", json_time(info.not_before)},
          {"not_after", json_time(info.not_after)},
          {"valid_for_seconds", json_seconds_until(info.not_after, report.time)},
          {"key", info.key},
          {"pin", or_null(info.pin)}};
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

std::string to_text(const ProbeReport& report) {
  std::string out;
  line(out, "server", report.address + " (" + report.protocol + ", tls = " + report.tls + ")");
  if (!report.peer.empty()) line(out, "connected to", report.peer);
  lines(out, "greeting", report.greeting);
  // A leg that stays in the clear has one list.
  const bool one_list = !report.facts && !report.capabilities.empty();
  if (!one_list) lines(out, "before TLS", report.clear_capabilities);
  if (report.facts) {
    line(out, "TLS",
         report.facts->version + ", " + report.facts->cipher + ", " +
             std::string(name(report.facts->group)));
    line(out, "record cipher", report.record_cipher);
    line(out, "post-quantum", post_quantum_text(report));
  }
  for (std::size_t i = 0; i < report.chain.size(); ++i) certificate(out, report, i);
  lines(out, report.facts && !is_implicit(report) ? "after TLS" : "offers", report.capabilities);
  if (report.login) {
    for (const auto& [label, text] : login_lines(*report.login, report.time)) {
      line(out, label, text);
    }
  }
  line(out, "verdict", verdict_text(report));
  // For a certificate and a login's answer, the lines above say everything. Some reasons quote the
  // evidence already.
  const bool answered = report.login && !report.login->code.empty();
  if (report.error && report.error->code != Errc::certificate && !answered) {
    const auto evidence = evidence_text(*report.error);
    if (!contains(report.error->reason, evidence)) line(out, "", evidence);
  }
  const std::string also = is_verified(report) ? "also: " : "not checked: ";
  for (const auto& fault : further_faults(report)) line(out, "", also + fault);
  lines(out, "what to do", advice(report));
  return out;
}

std::string to_json(const ProbeReport& report) {
  using nlohmann::json;
  const auto verdict = verdict_of(report);
  const auto& facts = report.facts;
  const auto& error = report.error;
  json certificates = json::array();
  for (const auto& info : report.chain) certificates.push_back(json_certificate(report, info));
  json found = json::array();
  for (const Fault fault : faults(report)) found.push_back(name(fault));
  const json out = {{"time", json_time(report.time)},
                    {"protocol", report.protocol},
                    {"address", report.address},
                    {"tls", report.tls},
                    {"verify", report.verify},
                    {"server_name", or_null(report.server_name)},
                    {"peer", or_null(report.peer)},
                    {"greeting", report.greeting},
                    {"capabilities_before_tls", report.clear_capabilities},
                    {"tls_version", or_null(facts ? facts->version : "")},
                    {"tls_cipher", or_null(facts ? facts->cipher : "")},
                    {"tls_group", or_null(facts ? name(facts->group) : "")},
                    {"record_cipher", report.record_cipher},
                    {"post_quantum", json_post_quantum(report)},
                    {"key_share_withheld", facts && facts->key_share_withheld},
                    {"chain", std::move(certificates)},
                    {"capabilities", report.capabilities},
                    {"login", report.login ? login_json(*report.login, report.time) : json()},
                    {"fallback", or_null(report.fallback)},
                    {"verdict", word(verdict)},
                    {"kind", or_null(kind(verdict))},
                    {"accepted", verdict == Verdict::accepted},
                    {"error", or_null(error ? name(error->code) : "")},
                    {"reason", or_null(error ? error->reason : "")},
                    {"evidence", or_null(error ? evidence_text(*error) : "")},
                    {"state", or_null(report.state)},
                    {"faults", std::move(found)},
                    {"advice", advice(report)}};
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
    case Verdict::login:
      return kExitNoPermission;
  }
  return kExitUnavailable;
}

}  // namespace starttls

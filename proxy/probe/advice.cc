#include "proxy/probe/advice.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/tls_mode.h"
#include "lib/tls/name_match.h"
#include "proxy/probe/faults.h"
#include "proxy/probe/likeness.h"
#include "proxy/probe/login_advice.h"
#include "proxy/probe/setting.h"
#include "proxy/probe/times.h"

namespace starttls {
namespace {

using Lines = std::vector<std::string>;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string named(const ProbeReport& report, std::string_view key) {
  return setting_name(report.spelling, key);
}

std::string set(const ProbeReport& report, std::string_view key, std::string_view value) {
  return setting(report.spelling, key, value);
}

std::string set_tls(const ProbeReport& report, TlsMode mode) {
  return set(report, "upstream.tls", name(mode));
}

std::string set_pin(const ProbeReport& report) {
  return set(report, "upstream.pins", report.chain.front().pin);
}

std::string set_client_certificate(const ProbeReport& report) {
  if (report.spelling == config::Spelling::keys) {
    return R"(upstream.certificate = { chain = "...", key = "..." })";
  }
  return set(report, "upstream.certificate.chain", "FILE") + " " +
         set(report, "upstream.certificate.key", "FILE");
}

/// Returns the advice to pin the key of the server. Only its operator can confirm the key: an
/// attacker on the way could have replaced it.
std::string pin_advice(const ProbeReport& report) {
  return "or, if its operator confirms this key, set " +
         both_settings(report.spelling, set(report, "upstream.verify", "none"), set_pin(report));
}

std::string expired_advice(const ProbeReport& report) {
  const auto& leaf = report.chain.front();
  // Any certificate of the chain may have expired. It is not the leaf if that is still valid.
  if (leaf.not_after && report.time > *leaf.not_after) {
    return "the server's operator must renew its certificate, which expired on " +
           time_text(leaf.not_after);
  }
  return "a CA's certificate has expired: the server's operator must replace the chain, or the "
         "CAs of this machine (" +
         named(report, "upstream.ca_file") + ") are out of date";
}

std::string name_advice(const ProbeReport& report) {
  const auto& names = report.chain.front().names;
  if (names == tls::PresentedNames{}) {
    return "the server's operator must replace its certificate, which has no name";
  }
  return "if one of these names is the server that you mean, set " +
         named(report, "upstream.server_name") + " to it: " + tls::describe(names);
}

std::string fault_advice(const ProbeReport& report, Fault fault) {
  switch (fault) {
    case Fault::unknown_ca:
    case Fault::self_signed:
      return "if the server has a CA of its own, get that CA's certificate from its operator, and "
             "set " +
             set(report, "upstream.ca_file", "ca.pem");
    case Fault::expired:
      return expired_advice(report);
    case Fault::not_yet_valid:
      return "compare the clocks of both machines: the certificate is valid from " +
             time_text(report.chain.front().not_before);
    case Fault::wrong_name:
      return name_advice(report);
    case Fault::wrong_pin:
      return "the server's key is not the one that was pinned: ask its operator if the key was "
             "changed; if so, set " +
             set_pin(report);
    case Fault::unreadable:
      return "the server sent no certificate that can be read";
    case Fault::weak:
    case Fault::other:
      break;
  }
  return "the server's operator must replace its certificate";
}

/// True if another certificate is the remedy, so that the key can be pinned until there is one.
bool may_be_pinned(Fault fault) noexcept {
  switch (fault) {
    case Fault::unknown_ca:
    case Fault::self_signed:
    case Fault::expired:
    case Fault::weak:
    case Fault::other:
      return true;
    case Fault::not_yet_valid:
    case Fault::wrong_name:
    case Fault::wrong_pin:
    case Fault::unreadable:
      return false;
  }
  return false;
}

Lines certificate_advice(const ProbeReport& report) {
  if (report.chain.empty()) return {"the server sent no certificate that can be read"};
  auto all = faults(report);
  // Without verification the pins alone decide.
  if (report.verify != "full") all.resize(1);
  Lines lines;
  for (const Fault fault : all) lines.push_back(fault_advice(report, fault));
  if (std::any_of(all.begin(), all.end(), may_be_pinned)) lines.push_back(pin_advice(report));
  return lines;
}

bool is_implicit(const ProbeReport& report) {
  return report.tls == name(TlsMode::implicit);
}

std::string other_mode(const ProbeReport& report) {
  return is_implicit(report) ? "if this port begins without TLS (25, 587, 143, 110), set " +
                                   set_tls(report, TlsMode::starttls)
                             : "if this port speaks TLS from the first byte (465, 993, 995, 563), "
                               "set " +
                                   set_tls(report, TlsMode::implicit);
}

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

Lines handshake_advice(const ProbeReport& report, std::string_view reason) {
  constexpr int kHandshakeFailure = 40;
  constexpr int kUnrecognizedName = 112;
  constexpr int kCertificateRequired = 116;
  if (contains(reason, "only speaks TLS 1.2")) {
    return {"if TLS 1.2 is good enough for you, set " + set(report, "upstream.min_tls", "1.2")};
  }
  // Before TLS 1.3 there is no alert for a certificate that is missing, only handshake_failure.
  // After the server's own certificate it can mean little else. Everything that both sides must
  // have in common is settled by then (RFC 5246 §7.4.6).
  const bool keys_agreed = !report.chain.empty();
  if (is_alert(reason, kCertificateRequired) ||
      (is_alert(reason, kHandshakeFailure) && keys_agreed)) {
    return {"the server wants a client certificate: set " + set_client_certificate(report)};
  }
  if (refuses_ours(reason)) {
    return {"the server does not accept the client certificate, or it wants one: set " +
            set_client_certificate(report)};
  }
  if (contains(reason, "only speaks") || contains(reason, "no shared cipher") ||
      is_alert(reason, kHandshakeFailure)) {
    return {
        "the server's TLS is too old to be safe: its operator must update it, or put a newer TLS "
        "in front of it"};
  }
  if (is_alert(reason, kUnrecognizedName)) {
    return {"the server does not know the name " + report.server_name + ": set " +
            named(report, "upstream.server_name") + " to a name that it knows"};
  }
  if (is_implicit(report) && (contains(reason, "not TLS") || contains(reason, "closed"))) {
    return {other_mode(report)};
  }
  return {"the server's operator should look at its log: its TLS does not work"};
}

/// Returns the advice for a server without STARTTLS. The server has spoken in the clear, so this
/// port is not the one for TLS from the first byte.
Lines no_starttls_advice(const ProbeReport& report) {
  return {"the server offers no STARTTLS here, or an attacker on the way has removed the offer",
          "if the server has another port for TLS from the first byte (465, 993, 995, 563), set " +
              named(report, "upstream.address") + " to that port, and " +
              set_tls(report, TlsMode::implicit),
          "to go on without TLS if it is not offered, set " +
              set_tls(report, TlsMode::opportunistic) +
              ": every machine on the way can then read along"};
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

Lines silence_advice(const ProbeReport& report) {
  if (report.peer.empty()) {
    return {"check the address of " + named(report, "upstream.address") +
            ", and that no firewall keeps this machine from it"};
  }
  // A server that has greeted does not wait for TLS.
  if (report.greeting.empty()) return {other_mode(report)};
  return {"the server's operator should look at its log"};
}

bool is_one_of(std::string_view protocol, std::string_view protocols) noexcept {
  for (; !protocols.empty(); protocols = ascii::after_first_word(protocols)) {
    if (ascii::first_word(protocols) == protocol) return true;
  }
  return false;
}

/// Returns the advice for a server with a greeting of another protocol. Empty if it has none.
Lines other_protocol_advice(const ProbeReport& report) {
  if (report.greeting.empty()) return {};
  const auto* const found = likeness_of(report.greeting.front());
  if (found == nullptr || is_one_of(report.protocol, found->protocols)) return {};
  const std::string start = "this looks like " + std::string(found->title);
  if (found->is_tls) {
    return {start + " from the first byte: set " + set_tls(report, TlsMode::implicit)};
  }
  if (found->protocols.empty()) {
    return {start + ", which is not a mail protocol: check the address of " +
            named(report, "upstream.address")};
  }
  return {start + ": set " + set(report, "protocol", ascii::first_word(found->protocols))};
}

/// True if the error came while the server spoke its protocol, or should have.
bool is_about_words(Errc code) noexcept {
  if (code == Errc::timeout || code == Errc::closed) return true;
  return concerns(code) == Party::server && code != Errc::unreachable;
}

/// Returns the advice for an error of this protocol.
Lines error_advice(const ProbeReport& report) {
  const auto& reason = report.error->reason;
  switch (report.error->code) {
    case Errc::tls_not_offered:
      return no_starttls_advice(report);
    case Errc::tls_refused:
      if (!has_offered(report)) return no_starttls_advice(report);
      return {
          "the server refuses STARTTLS: its operator should look at its log (often the server "
          "cannot read its certificate)"};
    case Errc::certificate:
      return certificate_advice(report);
    case Errc::handshake:
    case Errc::tls:
      return handshake_advice(report, reason);
    case Errc::unreachable:
    case Errc::timeout:
    case Errc::closed:
      return silence_advice(report);
    case Errc::greeting_refused:
      return {"the server refuses this machine: its words say why"};
    case Errc::attack:
      return {
          "only an attacker on the way, or a broken server, sends this: probe again from another "
          "network"};
    case Errc::protocol:
      return {"check that the server at " + named(report, "upstream.address") +
              " speaks this protocol: " + set(report, "protocol", report.protocol)};
    case Errc::login:
      return report.login ? login_advice(report) : Lines{};
    case Errc::config:
    case Errc::system:
    case Errc::client_protocol:
    case Errc::too_many_errors:
    case Errc::tls_on_clear_port:
    case Errc::client_login:
    case Errc::limit:
    case Errc::not_allowed:
    case Errc::draining:
      return {};
  }
  return {};
}

}  // namespace

std::vector<std::string> advice(const ProbeReport& report) {
  if (!report.error) return {};
  const auto code = report.error->code;
  Lines lines = is_about_words(code) ? other_protocol_advice(report) : Lines{};
  if (!lines.empty() && code == Errc::protocol) return lines;
  for (auto& each : error_advice(report)) lines.push_back(std::move(each));
  return lines;
}

}  // namespace starttls

#include "proxy/certificates.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <utility>

#include "lib/tls/context.h"

namespace starttls {
namespace {

using Kind = CertificateFinding::Kind;

constexpr unsigned kMinRsaBits = 2048;

std::vector<CertificateInUse> certificates_of(const std::string& service, Side side,
                                              const std::shared_ptr<const tls::Context>& context) {
  std::vector<CertificateInUse> all;
  if (context == nullptr) return all;
  for (const auto& own : context->own_certificates()) {
    all.push_back({.service = service,
                   .side = side,
                   .file = own.chain,
                   .not_before = own.not_before,
                   .not_after = own.not_after,
                   .names = own.names,
                   .issuer = own.issuer,
                   .rsa_bits = own.rsa_bits,
                   .row = all.size(),
                   .chain_digest = own.chain_digest,
                   .latest_begin_of = own.latest_begin_of,
                   .earliest_end_of = own.earliest_end_of,
                   .weakest_key_of = own.weakest_key_of});
  }
  return all;
}

/// Returns our certificates for the servers of a service. A service without TLS to its own server
/// may have it to some destinations.
std::vector<CertificateInUse> for_servers(const session::Service& service) {
  const auto& name = service.config.name;
  auto all = certificates_of(name, Side::upstream, service.upstream_tls);
  for (const auto& destination : service.destinations) {
    for (auto& each : certificates_of(name, Side::upstream, destination.tls)) {
      const bool known = std::any_of(all.begin(), all.end(), [&each](const auto& other) {
        return other.chain_digest == each.chain_digest;
      });
      if (!known) all.push_back(std::move(each));
    }
  }
  return all;
}

std::string named_certificate(const std::string& subject) {
  return "the certificate '" + subject + "'";
}

/// Returns the second from which on the certificate should be renewed.
UnixTime renewal_of(const CertificateInUse& certificate) {
  return {certificate.not_after.since_1970 - kRenewal};
}

/// Returns the first second after the validity, which includes notAfter itself (RFC 5280 §4.1.2.5).
UnixTime end_of(const CertificateInUse& certificate) {
  return {certificate.not_after.since_1970 + std::chrono::seconds{1}};
}

}  // namespace

std::vector<CertificateInUse> certificates_of(const Services& services) {
  std::vector<CertificateInUse> all;
  const auto add = [&all](std::vector<CertificateInUse> more) {
    std::move(more.begin(), more.end(), std::back_inserter(all));
  };
  for (const auto& service : services) {
    add(certificates_of(service->config.name, Side::downstream, service->downstream_tls));
    add(for_servers(*service));
  }
  return all;
}

std::string CertificateFinding::certificate() const {
  return subject.empty() ? "the certificate" : named_certificate(subject);
}

std::string CertificateFinding::sentence(const std::string& file) const {
  return certificate() + " in " + file + " " + text;
}

std::vector<CertificateFinding> look_at(const CertificateInUse& certificate, UnixTime now) {
  std::vector<CertificateFinding> found;
  const std::string end = date_text(certificate.not_after);
  if (now < certificate.not_before) {
    found.push_back(
        {Kind::not_yet_valid, "is not valid before " + date_text(certificate.not_before)});
    found.back().subject = certificate.latest_begin_of;
  }
  if (now >= end_of(certificate)) {
    found.push_back({Kind::expired, "expired on " + end});
    found.back().subject = certificate.earliest_end_of;
  } else if (now >= renewal_of(certificate)) {
    found.push_back({Kind::ends_soon, "expires on " + end + ": renew it"});
    found.back().subject = certificate.earliest_end_of;
  }
  if (certificate.rsa_bits != 0 && certificate.rsa_bits < kMinRsaBits) {
    found.push_back({Kind::weak_key, "has an RSA key of " + std::to_string(certificate.rsa_bits) +
                                         " bits: peers refuse less than " +
                                         std::to_string(kMinRsaBits)});
    found.back().subject = certificate.weakest_key_of;
  }
  return found;
}

std::optional<UnixTime> next_change(std::span<const CertificateInUse> certificates, UnixTime now) {
  std::optional<UnixTime> next;
  for (const auto& each : certificates) {
    for (const UnixTime moment : {each.not_before, renewal_of(each), end_of(each)}) {
      if (moment > now && (!next || moment < *next)) next = moment;
    }
  }
  return next;
}

std::vector<config::DescribedLine> describe_chain(const std::string& chain,
                                                  std::span<const CertificateInUse> certificates,
                                                  UnixTime now) {
  const auto found =
      std::find_if(certificates.begin(), certificates.end(),
                   [&chain](const CertificateInUse& each) { return each.file == chain; });
  if (found == certificates.end()) return {};
  std::string expires = date_text(found->not_after) + ", " + time_left(found->not_after, now);
  if (!found->earliest_end_of.empty()) {
    expires += " (" + named_certificate(found->earliest_end_of) + ")";
  }
  std::vector<config::DescribedLine> lines = {
      {"  names", found->names}, {"  issuer", found->issuer}, {"  expires", std::move(expires)}};
  for (const auto& finding : look_at(*found, now)) {
    if (finding.is_error()) continue;
    const std::string subject = finding.subject.empty() ? "it" : finding.certificate();
    lines.push_back({"  WARNING", subject + " " + finding.text});
  }
  return lines;
}

config::Problems certificate_problems(const State& state, UnixTime now) {
  config::Problems problems;
  for (std::size_t i = 0; i < state.services.size(); ++i) {
    for (const auto& each : certificates_of({state.services[i]})) {
      const bool down = each.side == Side::downstream;
      const config::ValueName name{
          i, down ? "service.downstream.certificates.chain" : "service.upstream.certificate.chain",
          each.row};
      for (const auto& finding : look_at(each, now)) {
        if (!finding.is_error()) continue;
        problems.push_back(state.places.problem(name, state.places.shown(name, each.file) + ": " +
                                                          finding.certificate() + " " +
                                                          finding.text));
      }
    }
  }
  config::sort(problems);
  return problems;
}

}  // namespace starttls

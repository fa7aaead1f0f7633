#include "proxy/certificates.h"

#include <memory>
#include <string>
#include <vector>

#include "lib/tls/context.h"
#include "tests/support/catch.h"
#include "tests/support/tls_pair.h"

using namespace std::chrono_literals;
using namespace starttls;

namespace {

constexpr UnixTime kNow{1'700'000'000s};  // 2023-11-14 22:13:20
constexpr std::chrono::seconds kDay = 24h;

constexpr UnixTime later(std::chrono::seconds by) {
  return {kNow.since_1970 + by};
}

CertificateInUse certificate(UnixTime from, UnixTime to, unsigned rsa_bits = 0) {
  return {.service = "office",
          .side = Side::downstream,
          .file = "/etc/a.pem",
          .not_before = from,
          .not_after = to,
          .names = "a.test, b.test",
          .issuer = "CN=some CA",
          .rsa_bits = rsa_bits};
}

/// Returns the findings as text. Errors begin with "!".
std::vector<std::string> found(const CertificateInUse& each, UnixTime now = kNow) {
  std::vector<std::string> out;
  for (const auto& finding : look_at(each, now)) {
    out.push_back((finding.is_error() ? "!" : "") + finding.text);
  }
  return out;
}
using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("certificates: a good certificate gives no message", "[proxy][T4]") {
  CHECK(found(certificate(kNow, later(14 * kDay + 1s))) == Lines{});
  CHECK(found(certificate(kNow, later(400 * kDay), 2048)) == Lines{});
  CHECK(found(certificate(kNow, UnixTime{253'402'300'799s})) == Lines{});
}

TEST_CASE(
    "certificates: a certificate that peers refuse is an error, one that they will refuse soon is "
    "a warning",
    "[proxy][T4]") {
  CHECK(found(certificate(later(1s), later(400 * kDay))) ==
        Lines{"!is not valid before 2023-11-14 22:13:21 UTC"});
  CHECK(found(certificate(later(-kDay), later(-1s))) ==
        Lines{"!expired on 2023-11-14 22:13:19 UTC"});
  // The certificate is still valid in its last second.
  CHECK(found(certificate(later(-kDay), kNow)) ==
        Lines{"expires on 2023-11-14 22:13:20 UTC: renew it"});
  CHECK(found(certificate(later(-kDay), later(14 * kDay))) ==
        Lines{"expires on 2023-11-28 22:13:20 UTC: renew it"});
  CHECK(found(certificate(later(-kDay), later(400 * kDay), 2047)) ==
        Lines{"has an RSA key of 2047 bits: peers refuse less than 2048"});
  CHECK(found(certificate(later(-kDay), later(-1s), 1024)).size() == 2);
}

TEST_CASE("certificates: a finding about an issuer's certificate has its subject", "[proxy][T4]") {
  auto each = certificate(later(1s), later(-1s), 1024);
  each.latest_begin_of = "CN=new CA";
  each.earliest_end_of = "CN=old CA";
  each.weakest_key_of = "CN=weak CA";
  Lines sentences;
  for (const auto& finding : look_at(each, kNow)) sentences.push_back(finding.sentence(each.file));
  CHECK(
      sentences ==
      Lines{"the certificate 'CN=new CA' in /etc/a.pem is not valid before 2023-11-14 22:13:21 UTC",
            "the certificate 'CN=old CA' in /etc/a.pem expired on 2023-11-14 22:13:19 UTC",
            "the certificate 'CN=weak CA' in /etc/a.pem has an RSA key of 1024 bits: peers refuse "
            "less than 2048"});
  const auto own = look_at(certificate(kNow, later(-1s)), kNow);
  REQUIRE(own.size() == 1);
  CHECK(own[0].sentence("/etc/a.pem") ==
        "the certificate in /etc/a.pem expired on 2023-11-14 22:13:19 UTC");
}

TEST_CASE("certificates: the one for destinations is looked at, and only once", "[proxy][T4]") {
  const test::PkiFolder folder;
  auto options = test::server_options();
  options.usage = pki::Usage::client;
  options.not_before = -48h;
  options.not_after = -24h;
  const auto files = folder.write("expired", test::test_pki().ca.issue(options));
  const auto new_context = [&files] {
    const auto made =
        tls::Context::client({.verification = Verification::none, .certificate = files});
    REQUIRE(made);
    return *made;
  };
  // The server of the service has no TLS. Two destinations have it, by contexts of their own.
  const auto service = std::make_shared<session::Service>();
  service->config.name = "office";
  service->destinations = {{{}, nullptr}, {{}, new_context()}, {{}, new_context()}};
  const auto all = certificates_of({service});
  REQUIRE(all.size() == 1);
  CHECK(all[0].service == "office");
  CHECK(all[0].side == Side::upstream);
  CHECK(all[0].file == files.chain);
  CHECK(all[0].row == 0);
  const auto findings = look_at(all[0], UnixTime::of(std::chrono::system_clock::now()));
  REQUIRE(findings.size() == 1);
  CHECK(findings[0].kind == CertificateFinding::Kind::expired);

  service->upstream_tls = service->destinations[1].tls;
  CHECK(certificates_of({service}).size() == 1);
}

TEST_CASE("certificates: the next check is due when something changes", "[proxy][T4]") {
  const auto next = [](const std::vector<CertificateInUse>& all) { return next_change(all, kNow); };
  CHECK_FALSE(next({}));
  CHECK_FALSE(next({certificate(later(-2 * kDay), later(-kDay))}));
  CHECK(next({certificate(later(5s), later(400 * kDay))}) == later(5s));
  CHECK(next({certificate(kNow, later(10 * kDay))}) == later(10 * kDay + 1s));
  CHECK(next({certificate(kNow, later(20 * kDay))}) == later(6 * kDay));
  CHECK(next({certificate(kNow, later(20 * kDay)), certificate(kNow, later(3s))}) == later(4s));
  CHECK(next({certificate(kNow, kNow)}) == later(1s));
  // At the time that `next` gives, there is something new to report.
  for (const auto& each : {certificate(later(5s), later(400 * kDay)), certificate(kNow, later(3s)),
                           certificate(kNow, later(20 * kDay))}) {
    const auto moment = next({each});
    REQUIRE(moment);
    CHECK(found(each, *moment) != found(each));
    CHECK(found(each, {moment->since_1970 - 1s}) == found(each));
  }
}

TEST_CASE("certificates: a chain is described by names, issuer and expiry", "[proxy][T4]") {
  const std::vector<CertificateInUse> all = {certificate(kNow, later(10 * kDay), 1024)};
  const auto lines = describe_chain("/etc/a.pem", all, kNow);
  std::vector<std::string> said;
  for (const auto& [label, text] : lines) said.push_back(label + "|" + text);
  CHECK(said == Lines{"  names|a.test, b.test", "  issuer|CN=some CA",
                      "  expires|2023-11-24 22:13:20 UTC, 10 days left",
                      "  WARNING|it expires on 2023-11-24 22:13:20 UTC: renew it",
                      "  WARNING|it has an RSA key of 1024 bits: peers refuse less than 2048"});
  CHECK(describe_chain("/etc/b.pem", all, kNow).empty());
}

TEST_CASE("certificates: a described chain names the issuer's certificate that ends first",
          "[proxy][T4]") {
  auto each = certificate(kNow, later(10 * kDay));
  each.earliest_end_of = "CN=old CA";
  const auto lines = describe_chain("/etc/a.pem", std::vector{each}, kNow);
  REQUIRE(lines.size() == 4);
  CHECK(lines[2].text == "2023-11-24 22:13:20 UTC, 10 days left (the certificate 'CN=old CA')");
  CHECK(lines[3].text ==
        "the certificate 'CN=old CA' expires on 2023-11-24 22:13:20 UTC: renew it");
}

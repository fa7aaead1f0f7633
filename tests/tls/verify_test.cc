// Verification of a server's identity: names (RFC 9525) and chains. The ids in the tags are rows of
// the project's list of cases.

#include "lib/tls/verify.h"

#include <string>

#include "lib/base/ascii.h"
#include "tests/support/catch.h"
#include "tests/support/tls_pair.h"

namespace starttls {
namespace {

using pki::Identity;
using std::chrono::hours;
using test::server_options;
using test::test_pki;
using tls::dns_name_matches;
using tls::names_match;
using tls::Rejection;

bssl::UniquePtr<BIO> reading(const std::string& pem) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

std::unique_ptr<tls::TrustStore> store_of(const std::string& pem) {
  auto out = std::make_unique<tls::TrustStore>();
  const auto bio = reading(pem);
  while (
      bssl::UniquePtr<X509> certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    unsigned char* der = nullptr;
    const int size = i2d_X509(certificate.get(), &der);
    const bssl::UniquePtr<unsigned char> owned(der);
    const bssl::UniquePtr<CRYPTO_BUFFER> buffer(
        CRYPTO_BUFFER_new(der, static_cast<std::size_t>(size), nullptr));
    REQUIRE(out->add(buffer.get(), std::move(certificate)));
  }
  ERR_clear_error();
  return out;
}

bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> chain_of(const std::string& pem) {
  bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> out(sk_CRYPTO_BUFFER_new_null());
  const auto bio = reading(pem);
  while (
      bssl::UniquePtr<X509> certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    unsigned char* der = nullptr;
    const int size = i2d_X509(certificate.get(), &der);
    const bssl::UniquePtr<unsigned char> owned(der);
    bssl::PushToStack(out.get(), bssl::UniquePtr<CRYPTO_BUFFER>(CRYPTO_BUFFER_new(
                                     der, static_cast<std::size_t>(size), nullptr)));
  }
  ERR_clear_error();
  return out;
}

std::optional<Rejection> verify(const tls::TrustStore& roots, const STACK_OF(CRYPTO_BUFFER) * chain,
                                std::string_view reference) {
  const auto verified = tls::verify_server(roots, chain, {.reference = reference});
  if (verified) return std::nullopt;
  return verified.error();
}

std::optional<Rejection> verify(const std::string& roots, const std::string& chain,
                                std::string_view reference) {
  return verify(*store_of(roots), chain_of(chain).get(), reference);
}

std::optional<Rejection> verify(const Identity& server, std::string_view reference = "mail.test") {
  return verify(test_pki().root.certificate_pem(), server.chain_pem(), reference);
}

/// Returns the reason, or "" if the server is accepted.
std::string reason(const std::optional<Rejection>& rejection) {
  return rejection ? rejection->error.reason : "";
}

TEST_CASE(
    "verify: a DNS name matches itself in any case, also if the wanted name has a trailing dot",
    "[tls][security][X10]") {
  CHECK(dns_name_matches("mail.example.org", "mail.example.org"));
  CHECK(dns_name_matches("MAIL.example.ORG", "mail.EXAMPLE.org"));
  CHECK(dns_name_matches("mail.example.org", "mail.example.org."));
  CHECK(dns_name_matches("localhost", "localhost"));
  CHECK(dns_name_matches("a_b.example.org", "a_b.example.org"));
  CHECK_FALSE(dns_name_matches("mail.example.org.", "mail.example.org"));
  CHECK_FALSE(dns_name_matches("mail.example.org", "mail.example.org.."));
  CHECK_FALSE(dns_name_matches("mail.example.org", "example.org"));
  CHECK_FALSE(dns_name_matches("example.org", "mail.example.org"));
  CHECK_FALSE(dns_name_matches("mail.example.org", ""));
  CHECK_FALSE(dns_name_matches("", ""));
  CHECK_FALSE(dns_name_matches("", "."));
}

TEST_CASE("verify: a wildcard is one whole left-most label", "[tls][security][X7]") {
  CHECK(dns_name_matches("*.example.org", "mail.example.org"));
  CHECK(dns_name_matches("*.Example.org", "MAIL.example.ORG."));
  CHECK(dns_name_matches("*.example.org", "xn--mller-kva.example.org"));
  CHECK_FALSE(dns_name_matches("*.example.org", "example.org"));
  CHECK_FALSE(dns_name_matches("*.example.org", ".example.org"));
  CHECK_FALSE(dns_name_matches("*.example.org", "a.b.example.org"));
  CHECK_FALSE(dns_name_matches("m*.example.org", "mail.example.org"));
  CHECK_FALSE(dns_name_matches("*l.example.org", "mail.example.org"));
  CHECK_FALSE(dns_name_matches("xn--*.example.org", "xn--mller-kva.example.org"));
  CHECK_FALSE(dns_name_matches("mail.*.org", "mail.example.org"));
  CHECK_FALSE(dns_name_matches("*.*.org", "mail.example.org"));
  CHECK_FALSE(dns_name_matches("*.org", "example.org"));
  CHECK_FALSE(dns_name_matches("*", "localhost"));
  CHECK_FALSE(dns_name_matches("*.", "localhost"));
  CHECK_FALSE(dns_name_matches("*.example.org", "*.example.org"));
}

TEST_CASE("verify: a name with a NUL or another odd byte matches nothing", "[tls][security][X10]") {
  using namespace std::string_literals;
  CHECK_FALSE(dns_name_matches("mail.test\0.evil.test"s, "mail.test"));
  CHECK_FALSE(dns_name_matches("mail.test\0.evil.test"s, "mail.test\0.evil.test"s));
  CHECK_FALSE(dns_name_matches("mail.test\0"s, "mail.test"));
  CHECK_FALSE(dns_name_matches("*.example\0.org"s, "mail.example.org"));
  CHECK_FALSE(dns_name_matches(" mail.test", "mail.test"));
  CHECK_FALSE(dns_name_matches("mail..test", "mail..test"));
  CHECK_FALSE(dns_name_matches("m\xc3\xbcller.test", "m\xc3\xbcller.test"));
  CHECK_FALSE(dns_name_matches(std::string(64, 'a') + ".test", std::string(64, 'a') + ".test"));
}

TEST_CASE("verify: an address matches iPAddress names only", "[tls][security][X9]") {
  using namespace std::string_literals;
  const tls::PresentedNames dns{{"127.0.0.1", "::1"}, {}};
  CHECK_FALSE(names_match(dns, "127.0.0.1"));
  CHECK_FALSE(names_match(dns, "127.0.0.1."));
  CHECK_FALSE(names_match(dns, "::1"));
  const tls::PresentedNames ip{{}, {"\x7f\0\0\1"s, std::string(15, '\0') + "\1"}};
  CHECK(names_match(ip, "127.0.0.1"));
  CHECK(names_match(ip, "::1"));
  CHECK(names_match(ip, "0:0::0:1"));
  CHECK(names_match(ip, "::1%lo"));
  CHECK_FALSE(names_match(ip, "127.0.0.2"));
  CHECK_FALSE(names_match(ip, "::ffff:127.0.0.1"));
  CHECK_FALSE(names_match(ip, "127.0.0.1%lo"));
  CHECK_FALSE(names_match(ip, "localhost"));
}

TEST_CASE("verify: names are reported printable and bounded", "[tls]") {
  using namespace std::string_literals;
  CHECK(tls::describe({}) == "no name");
  CHECK(tls::describe({{"a.test", "b\r\n\x1b.test"}, {"\x7f\0\0\1"s}}) ==
        "a.test, b.test, 127.0.0.1");
  CHECK(tls::describe({{"1", "2", "3", "4", "5", "6", "7"}, {}}) == "1, 2, 3, 4, 5, ...");
  CHECK(tls::describe({{std::string(10000, 'x')}, {}}).size() == 64);

  using Texts = std::vector<std::string>;
  CHECK(tls::texts({}).empty());
  CHECK(tls::texts({{"a.test", "b\r\n\x1b.test"}, {"\x7f\0\0\1"s}}) ==
        Texts{"a.test", R"(b\r\n\x1b.test)", "127.0.0.1"});
  CHECK(tls::texts({{"1", "2", "3", "4", "5", "6", "7"}, {}}).size() == 7);
}

TEST_CASE("verify: a good server is accepted under each of its names", "[tls]") {
  for (const auto* name : {"mail.test", "MAIL.TEST.", "localhost", "127.0.0.1", "::1"}) {
    INFO(name);
    CHECK(reason(verify(test_pki().server, name)) == "");
    CHECK(reason(verify(test_pki().server_rsa, name)) == "");
  }
}

TEST_CASE("verify: an expired certificate is refused", "[tls][security][X4]") {
  auto options = server_options();
  options.not_before = hours{-48};
  options.not_after = hours{-1};
  const auto rejection = verify(test_pki().ca.issue(options));
  REQUIRE(rejection);
  CHECK(rejection->error.code == Errc::certificate);
  CHECK(rejection->error.reason == "certificate has expired");
  CHECK(rejection->alert == SSL_AD_CERTIFICATE_EXPIRED);
  CHECK(rejection->error.evidence ==
        "subject=\"CN=mail.test\" issuer=\"CN=test CA\" names=\"localhost, mail.test, 127.0.0.1, "
        "::1\" reason=\"certificate has expired\"");
}

TEST_CASE("verify: an expired intermediate is refused, and named", "[tls][security][X4]") {
  const auto ca = test_pki().root.issue(
      {.common_name = "old CA", .not_before = hours{-48}, .not_after = hours{-1}, .ca = true});
  const auto rejection = verify(ca.issue(server_options()));
  CHECK(reason(rejection) == "certificate has expired");
  CHECK(rejection->error.evidence.ends_with(" at=\"CN=old CA\""));
}

TEST_CASE("verify: a certificate that is not yet valid is refused", "[tls][security][X5]") {
  auto options = server_options();
  options.not_before = hours{24};
  const auto rejection = verify(test_pki().ca.issue(options));
  CHECK(reason(rejection) == "certificate is not yet valid");
  CHECK(rejection->alert == SSL_AD_CERTIFICATE_EXPIRED);  // RFC 8446 §6.2: "not currently valid"
}

TEST_CASE("verify: a certificate for another name is refused", "[tls][security][X3]") {
  const auto rejection = verify(test_pki().server, "other.test");
  REQUIRE(rejection);
  CHECK(rejection->error.code == Errc::certificate);
  CHECK(rejection->error.reason ==
        "name mismatch: wanted other.test, got localhost, mail.test, 127.0.0.1, ::1");
  CHECK(rejection->alert == SSL_AD_BAD_CERTIFICATE);
  CHECK(reason(verify(test_pki().server, "127.0.0.2")).starts_with("name mismatch: "));
  CHECK(reason(verify(test_pki().server, "")).starts_with("name mismatch: "));
}

TEST_CASE("verify: the common name does not count as a name", "[tls][security][X6]") {
  const auto server = test_pki().ca.issue({.common_name = "mail.test"});
  CHECK(reason(verify(server)) == "name mismatch: wanted mail.test, got no name");
}

TEST_CASE("verify: a NUL in a certificate's name does not cut it", "[tls][security][X10]") {
  using namespace std::string_literals;
  const auto server =
      test_pki().ca.issue({.common_name = "mail.test", .dns_names = {"mail.test\0.evil.test"s}});
  CHECK(reason(verify(server)) == "name mismatch: wanted mail.test, got mail.test.evil.test");
}

TEST_CASE("verify: text of a certificate cannot break out of a log line", "[tls][security][T23]") {
  const auto server = test_pki().ca.issue(
      {.common_name = "a\"\r\nx\x1b[31m", .dns_names = {"evil\r\n\x1b[31m\".test"}});
  const auto rejection = verify(server);
  REQUIRE(rejection);
  for (const char c : rejection->error.reason + rejection->error.evidence) {
    CHECK(ascii::is_printable(c));
  }
  CHECK(rejection->error.evidence.find("evil[31m\\\".test") != std::string::npos);
}

TEST_CASE("verify: a self-signed certificate is refused unless it is itself trusted",
          "[tls][security][X1]") {
  const auto server = Identity::self_signed(server_options());
  const auto rejection = verify(server);
  CHECK(reason(rejection) == "self-signed certificate");
  CHECK(rejection->alert == SSL_AD_UNKNOWN_CA);
  CHECK(reason(verify(server.certificate_pem(), server.chain_pem(), "mail.test")) == "");
  auto as_tools_make_them = server_options();
  as_tools_make_them.ca = true;
  CHECK(reason(verify(Identity::self_signed(as_tools_make_them))) == "self-signed certificate");
  CHECK(reason(verify(server.certificate_pem(), server.chain_pem(), "other.test"))
            .starts_with("name mismatch"));
}

TEST_CASE("verify: a certificate of an unknown CA is refused", "[tls][security][X2]") {
  const auto stranger = Identity::self_signed({.common_name = "stranger", .ca = true});
  const auto server = stranger.issue(server_options());
  const auto rejection = verify(server);
  CHECK(reason(rejection) == "unknown CA");
  CHECK(rejection->alert == SSL_AD_UNKNOWN_CA);
  // It does not help if the server sends the root along.
  CHECK(reason(verify(test_pki().root.certificate_pem(),
                      server.chain_pem() + stranger.certificate_pem(), "mail.test")) ==
        "unknown CA");
}

TEST_CASE("verify: a CA with the same name and another key is another CA", "[tls][security][X2]") {
  const auto impostor = Identity::self_signed({.common_name = "test root", .ca = true});
  CHECK_FALSE(reason(verify(impostor.issue(server_options()))).empty());
}

TEST_CASE("verify: a missing intermediate means an unknown CA, unless it is itself trusted",
          "[tls][security][X5]") {
  const auto& pki = test_pki();
  CHECK(reason(verify(pki.root.certificate_pem(), pki.server.certificate_pem(), "mail.test")) ==
        "unknown CA");
  CHECK(reason(verify(pki.ca.certificate_pem(), pki.server.certificate_pem(), "mail.test")) == "");
}

TEST_CASE("verify: a chain has a limit", "[tls][security][S11]") {
  Identity above = test_pki().root;
  for (int i = 1; i <= 40; ++i) {
    above = above.issue({.common_name = std::to_string(i), .ca = true});
    if (i != 9 && i != 12 && i != 40) continue;
    CAPTURE(i);
    CHECK(reason(verify(above.issue(server_options()))) ==
          (i == 9 ? "" : "certificate chain is too long"));
  }
  // Certificates that are sent but not needed do not count.
  const std::string chain = test_pki().server.chain_pem() + above.chain_pem();
  CHECK(reason(verify(test_pki().root.certificate_pem(), chain, "mail.test")) == "");
}

TEST_CASE("verify: a certificate without CA rights cannot issue", "[tls][security][X5]") {
  const auto rejection = verify(test_pki().server.issue(server_options()));
  REQUIRE(rejection);
  CHECK(rejection->error.code == Errc::certificate);
}

TEST_CASE("verify: path length and name constraints are enforced", "[tls][security][X5]") {
  const auto last = test_pki().root.issue({.common_name = "last", .ca = true, .path_length = 0});
  CHECK(reason(verify(last.issue(server_options()))) == "");
  const auto beyond = last.issue({.common_name = "beyond", .ca = true});
  CHECK_FALSE(reason(verify(beyond.issue(server_options()))).empty());

  const auto bound =
      test_pki().root.issue({.common_name = "bound", .ca = true, .permitted_dns = {"good.test"}});
  CHECK(reason(verify(bound.issue({.common_name = "x", .dns_names = {"a.good.test"}}),
                      "a.good.test")) == "");
  CHECK_FALSE(
      reason(verify(bound.issue({.common_name = "x", .dns_names = {"mail.test"}}))).empty());
}

TEST_CASE("verify: a certificate for clients only is refused", "[tls][security][X5]") {
  auto options = server_options();
  options.usage = pki::Usage::client;
  const auto rejection = verify(test_pki().ca.issue(options));
  CHECK(reason(rejection).starts_with("certificate is not acceptable: "));
  options.usage = pki::Usage::unspecified;
  CHECK(reason(verify(test_pki().ca.issue(options))) == "");
}

TEST_CASE("verify: RSA below 2048 bits is refused, of the server and of its CA",
          "[tls][security][X5]") {
  auto options = server_options();
  options.key = pki::KeyType::rsa_1024;
  CHECK(reason(verify(test_pki().ca.issue(options))) ==
        "certificate key is too weak: RSA with 1024 bits");
  const auto weak =
      test_pki().root.issue({.common_name = "weak CA", .key = pki::KeyType::rsa_1024, .ca = true});
  CHECK(reason(verify(weak.issue(server_options()))) ==
        "certificate key is too weak: RSA with 1024 bits");
}

TEST_CASE("verify: a signature with SHA-1 is refused, of the server and of its CA",
          "[tls][security][X5]") {
  auto options = server_options();
  options.digest = pki::Digest::sha1;
  CHECK(reason(verify(test_pki().ca.issue(options))) == "certificate is signed with SHA-1");
  const auto weak =
      test_pki().root.issue({.common_name = "weak CA", .ca = true, .digest = pki::Digest::sha1});
  CHECK(reason(verify(weak.issue(server_options()))) == "certificate is signed with SHA-1");
}

/// An expired authority and its renewal, with the same name and key.
struct Renewed {
  explicit Renewed(const Identity* issuer = nullptr)
      : old(issuer != nullptr ? issuer->issue(expired()) : Identity::self_signed(expired())),
        renewed((issuer != nullptr ? *issuer : old).issue_for(old, fresh())) {}

  static pki::CertificateOptions fresh() { return {.common_name = "renewed", .ca = true}; }
  static pki::CertificateOptions expired() {
    auto options = fresh();
    options.not_before = hours{-48};
    options.not_after = hours{-1};
    return options;
  }

  Identity old;
  Identity renewed;
};

TEST_CASE("verify: an expired and a renewed authority may be in any order in the store",
          "[tls][T2]") {
  const Renewed ca;
  const auto server = ca.old.issue(server_options());
  const std::string old = ca.old.certificate_pem();
  const std::string renewed = ca.renewed.certificate_pem();
  const std::string chain = server.certificate_pem();
  CHECK(reason(verify(renewed, chain, "mail.test")) == "");
  CHECK(reason(verify(old + renewed, chain, "mail.test")) == "");
  CHECK(reason(verify(renewed + old, chain, "mail.test")) == "");
  // The server may send the old one along, too.
  CHECK(reason(verify(old + renewed, chain + old, "mail.test")) == "");
  CHECK(reason(verify(old, chain, "mail.test")) == "certificate has expired");
  CHECK(reason(verify(old, chain + renewed, "mail.test")) == "certificate has expired");
  auto tomorrow = Renewed::fresh();
  tomorrow.not_before = hours{24};
  const std::string next = ca.old.issue_for(ca.old, tomorrow).certificate_pem();
  CHECK(reason(verify(next + renewed, chain, "mail.test")) == "");
  CHECK(reason(verify(old + next + renewed, chain, "mail.test")) == "");
  CHECK(reason(verify(next, chain, "mail.test")) == "certificate is not yet valid");
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("verify: an expired and a renewed authority may be in any order in a server's chain",
          "[tls][T2]") {
  const auto& root = test_pki().root;
  const Renewed ca(&root);
  const std::string leaf = ca.old.issue(server_options()).certificate_pem();
  const std::string old = ca.old.certificate_pem();
  const std::string renewed = ca.renewed.certificate_pem();
  const auto failure = [](const std::string& store, const std::string& chain) {
    return reason(verify(store, chain, "mail.test"));
  };
  const std::string trusted = root.certificate_pem();
  CHECK(failure(trusted, leaf + old + renewed) == "");
  CHECK(failure(trusted, leaf + renewed + old) == "");
  CHECK(failure(trusted, leaf + old) == "certificate has expired");
  // The old one is trusted. The new one is only sent.
  CHECK(failure(old + trusted, leaf + renewed) == "");
  CHECK(failure(old + trusted, leaf) == "certificate has expired");
}

TEST_CASE("verify: of two issuers with one name, the one that leads to a root is used",
          "[tls][T2]") {
  const auto stranger = Identity::self_signed({.common_name = "stranger", .ca = true});
  const pki::CertificateOptions options{.common_name = "crossed", .ca = true};
  const auto ours = test_pki().root.issue(options);
  const auto theirs = stranger.issue_for(ours, options);
  auto with_sha1 = options;
  with_sha1.digest = pki::Digest::sha1;
  const auto weak = test_pki().root.issue_for(ours, with_sha1);
  const auto server = ours.issue(server_options());
  const auto failure = [&](const std::vector<Identity>& above) {
    std::string chain = server.certificate_pem();
    for (const auto& each : above) chain += each.certificate_pem();
    return reason(verify(test_pki().root.certificate_pem(), chain, "mail.test"));
  };
  CHECK(failure({ours, theirs}) == "");
  CHECK(failure({theirs, ours}) == "");
  CHECK(failure({theirs, stranger, ours}) == "");
  CHECK(failure({weak, ours}) == "");
  CHECK(failure({theirs, weak, ours}) == "");
  CHECK(failure({theirs}) == "unknown CA");
  CHECK(failure({theirs, weak}) == "unknown CA");
  CHECK(failure({weak}) == "certificate is signed with SHA-1");
  // A server cannot make us search for long.
  CHECK(failure(std::vector<Identity>(40, theirs)) == "unknown CA");
  std::vector<Identity> many;
  for (int i = 0; i < 40; ++i) many.push_back(stranger.issue_for(ours, options));
  many.push_back(ours);
  CHECK(failure(many) == "unknown CA");
}

/// Two authorities with one name and different keys.
struct Twins {
  static pki::CertificateOptions options() { return {.common_name = "twin", .ca = true}; }

  Identity a = Identity::self_signed(options());
  Identity b = Identity::self_signed(options());
};

TEST_CASE("verify: of two authorities with one name, the one that has signed is used",
          "[tls][T2]") {
  const Twins twin;
  auto with_key_id = server_options();
  with_key_id.usage = pki::Usage::unspecified;
  auto options = with_key_id;
  options.authority_key_id = false;  // the library has only the name to go by
  for (const auto& below : {with_key_id, options}) {
    CAPTURE(below.authority_key_id);
    for (const auto* issuer : {&twin.a, &twin.b}) {
      const std::string leaf = issuer->issue(below).certificate_pem();
      for (const auto* first : {&twin.a, &twin.b}) {
        const auto& second = first == &twin.a ? twin.b : twin.a;
        const std::string both = first->certificate_pem() + second.certificate_pem();
        CHECK(reason(verify(both, leaf, "mail.test")) == "");
        CHECK(tls::verify_client(*store_of(both), chain_of(leaf).get()));
        // The server sends both along, in either order.
        CHECK(reason(verify(both, leaf + both, "mail.test")) == "");
        // An authority that is in the store twice is not two.
        CHECK(reason(verify(first->certificate_pem() + both, leaf, "mail.test")) == "");
      }
    }
  }
  const std::string leaf = twin.a.issue(options).certificate_pem();
  CHECK(reason(verify(twin.b.certificate_pem(), leaf, "mail.test")) ==
        "certificate is not acceptable: certificate signature failure");
  // A third one is not trusted.
  const std::string both = twin.a.certificate_pem() + twin.b.certificate_pem();
  const auto impostor = Identity::self_signed(Twins::options());
  const std::string forged = impostor.issue(options).certificate_pem();
  CHECK(reason(verify(both, forged, "mail.test")) ==
        "certificate is not acceptable: certificate signature failure");
  CHECK_FALSE(reason(verify(both, forged + impostor.certificate_pem(), "mail.test")).empty());
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("verify: an authority in the store may have a twin above or below others", "[tls][T2]") {
  const Twins twin;
  auto options = server_options();
  options.authority_key_id = false;
  const pki::CertificateOptions between{
      .common_name = "between", .ca = true, .authority_key_id = false};
  const std::string a = twin.a.certificate_pem();
  const std::string b = twin.b.certificate_pem();
  for (const auto* issuer : {&twin.a, &twin.b}) {
    const std::string chain = issuer->issue(between).issue(options).chain_pem();
    CHECK(reason(verify(a + b, chain, "mail.test")) == "");
    CHECK(reason(verify(b + a, chain, "mail.test")) == "");
  }
  // The store has another authority of that name. The right one is sent, and leads to a root.
  const auto& root = test_pki().root;
  const std::string sent = twin.b.issue(options).certificate_pem() +
                           root.issue_for(twin.b, Twins::options()).certificate_pem();
  CHECK(reason(verify(a + root.certificate_pem(), sent, "mail.test")) == "");
  CHECK(reason(verify(root.certificate_pem() + a, sent, "mail.test")) == "");
}

TEST_CASE("verify: of two authorities with one name, one may have expired", "[tls][T2]") {
  const Twins twin;
  auto past = Twins::options();
  past.not_before = hours{-48};
  past.not_after = hours{-1};
  const auto old = Identity::self_signed(past);
  auto options = server_options();
  options.authority_key_id = false;
  const std::string a = twin.a.certificate_pem();
  const std::string o = old.certificate_pem();
  const std::string by_old = old.issue(options).certificate_pem();
  const std::string by_new = twin.a.issue(options).certificate_pem();
  for (const auto& both : {a + o, o + a}) {
    CHECK(reason(verify(both, by_new, "mail.test")) == "");
    CHECK_FALSE(reason(verify(both, by_old, "mail.test")).empty());
  }
}

TEST_CASE("verify: garbage instead of a certificate is refused", "[tls][security]") {
  bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> chain(sk_CRYPTO_BUFFER_new_null());
  const auto roots = store_of(test_pki().root.certificate_pem());
  CHECK(verify(*roots, nullptr, "mail.test"));
  CHECK(verify(*roots, chain.get(), "mail.test"));
  const std::uint8_t junk[] = {0x30, 0x03, 0x02, 0x01, 0x00};
  bssl::PushToStack(chain.get(),
                    bssl::UniquePtr<CRYPTO_BUFFER>(CRYPTO_BUFFER_new(junk, sizeof(junk), nullptr)));
  CHECK(reason(verify(*roots, chain.get(), "mail.test")) == "certificate cannot be read");
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("verify: junk among the intermediates does no harm", "[tls]") {
  auto chain = chain_of(test_pki().server.chain_pem());
  const std::uint8_t junk[] = {0x30, 0x03, 0x02, 0x01, 0x00};
  bssl::PushToStack(chain.get(),
                    bssl::UniquePtr<CRYPTO_BUFFER>(CRYPTO_BUFFER_new(junk, sizeof(junk), nullptr)));
  const auto roots = store_of(test_pki().root.certificate_pem());
  CHECK_FALSE(verify(*roots, chain.get(), "mail.test"));
}

TEST_CASE("verify: the error queue is empty afterwards", "[tls]") {
  ERR_clear_error();
  (void)verify(test_pki().server);
  CHECK(ERR_peek_error() == 0);
  (void)verify(test_pki().server, "other.test");
  CHECK(ERR_peek_error() == 0);
  (void)verify(Identity::self_signed(server_options()));
  CHECK(ERR_peek_error() == 0);
}

}  // namespace
}  // namespace starttls

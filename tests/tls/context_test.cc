// Contexts from files. A bad file is reported at start, with the file's name.

#include "lib/tls/context.h"

#include <chrono>
#include <string>
#include <string_view>

#include "lib/tls/pem.h"
#include "tests/support/catch.h"
#include "tests/support/tls_pair.h"

namespace starttls {
namespace {

using test::has;
using test::PkiFolder;
using test::test_pki;
using tls::Context;

std::string client_failure(const std::string& ca_file) {
  const auto context = Context::client({.ca_file = ca_file});
  if (context) return "";
  CHECK(context.error().code == Errc::config);
  CHECK(has(context.error().reason, ca_file));
  return context.error().reason.substr(context.error().reason.find(ca_file) + ca_file.size());
}

std::string server_failure(const ChainAndKey& files) {
  const auto context = Context::server({.certificates = {files}});
  if (context) return "";
  CHECK(context.error().code == Errc::config);
  return context.error().reason;
}

TEST_CASE("context: a CA file may hold several certificates and prose", "[tls]") {
  const PkiFolder folder;
  const auto& pki = test_pki();
  CHECK(client_failure(folder.write("one.pem", pki.root.certificate_pem())) == "");
  CHECK(client_failure(folder.write("two.pem", "# ours\n" + pki.root.certificate_pem() +
                                                   "\ntext\n" + pki.ca.certificate_pem())) == "");
  CHECK(client_failure(folder.write(
            "twice.pem", pki.root.certificate_pem() + pki.root.certificate_pem())) == "");
}

TEST_CASE("context: a CA file that is missing, empty or garbage is an error with its name",
          "[tls][security]") {
  const PkiFolder folder;
  const std::string good = test_pki().root.certificate_pem();
  CHECK(client_failure(folder.file("none.pem")) == ": No such file or directory");
  CHECK(client_failure(folder.write("empty.pem", "")) == ": holds no certificate");
  CHECK(client_failure(folder.write("prose.pem", "hello\n")) == ": holds no certificate");
  CHECK(client_failure(folder.write("key.pem", test_pki().server.key_pem())) ==
        ": holds no certificate");
  CHECK(client_failure("/dev/null") == ": not a regular file");
  CHECK(client_failure(folder.file(".")) == ": Is a directory");
  CHECK(client_failure(folder.write("cut.pem", good.substr(0, good.size() / 2))) ==
        ": line 1: the block that begins here has no end");
  CHECK(client_failure(folder.write("second.pem", "\n" + good + good.substr(0, good.size() / 2)))
            .ends_with(": the block that begins here has no end"));
  CHECK(has(client_failure(folder.write(
                "body.pem", "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n")),
            ": line 1: the certificate cannot be read: "));
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("context: the system's trust store is used if no CA file is named", "[tls]") {
  const auto context = Context::client({});
  if (!context) {  // a container without ca-certificates
    CHECK(has(context.error().reason, "/etc/ssl/certs/ca-certificates.crt"));
    return;
  }
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("context: old TLS is not used with servers", "[tls][security][X17]") {
  CHECK_FALSE(
      Context::client({.verification = Verification::none, .min_version = TlsVersion::tls1_1}));
}

TEST_CASE("context: without verification no trust store is read", "[tls]") {
  CHECK(Context::client({.verification = Verification::none, .ca_file = "/nonexistent"}));
}

TEST_CASE("context: a server needs a certificate", "[tls]") {
  CHECK_FALSE(Context::server({}));
}

TEST_CASE("context: chain and key are read from PEM, ECDSA and RSA", "[tls]") {
  const PkiFolder folder;
  CHECK(server_failure(folder.write("ecdsa", test_pki().server)) == "");
  CHECK(server_failure(folder.write("rsa", test_pki().server_rsa)) == "");
  // Both in one file, as some tools write them.
  const std::string both =
      folder.write("both.pem", test_pki().server.key_pem() + test_pki().server.chain_pem(), 0600);
  CHECK(server_failure({both, both}) == "");
}

TEST_CASE("context: it knows when its own certificates expire", "[tls]") {
  const PkiFolder folder;
  const auto now = UnixTime::of(std::chrono::system_clock::now());
  auto options = test::server_options();
  options.not_before = std::chrono::hours{-48};
  options.not_after = std::chrono::hours{-24};
  const auto past = folder.write("past", pki::Identity::self_signed(options));
  const auto good = folder.write("good", test_pki().server);

  const auto server = Context::server({.certificates = {good, past}});
  REQUIRE(server);
  const auto& own = (*server)->own_certificates();
  REQUIRE(own.size() == 2);
  CHECK(own[0].chain == good.chain);
  CHECK(own[0].not_before < now);
  CHECK(own[0].not_after > now);
  CHECK(own[1].chain == past.chain);
  CHECK(own[1].not_after.since_1970 - own[1].not_before.since_1970 == std::chrono::hours{24});
  const auto ago = now.since_1970 - own[1].not_after.since_1970;
  CHECK(ago > std::chrono::hours{23});
  CHECK(ago < std::chrono::hours{25});

  const auto client = Context::client({.verification = Verification::none, .certificate = past});
  REQUIRE(client);
  REQUIRE((*client)->own_certificates().size() == 1);
  CHECK((*client)->own_certificates()[0].chain == past.chain);
  CHECK(own[0].chain_digest != own[1].chain_digest);
  CHECK((*client)->own_certificates()[0].chain_digest == own[1].chain_digest);
  const auto anonymous = Context::client({.verification = Verification::none});
  REQUIRE(anonymous);
  CHECK((*anonymous)->own_certificates().empty());
}

TEST_CASE("context: a chain of our own has the limits of its issuer, too", "[tls][T4]") {
  using std::chrono::hours;
  constexpr hours kLonger{24 * 31};  // than a leaf is valid
  const PkiFolder folder;
  const auto now = UnixTime::of(std::chrono::system_clock::now());
  const auto own_of = [&folder](const pki::Identity& identity) {
    const auto server = Context::server({.certificates = {folder.write("chain", identity)}});
    REQUIRE(server);
    return (*server)->own_certificates().front();
  };
  const auto& root = test_pki().root;
  const auto ca = root.issue({.common_name = "good CA", .not_after = kLonger, .ca = true});

  const auto good = own_of(ca.issue(test::server_options()));
  CHECK(good.not_before < now);
  CHECK(good.not_after > now);
  CHECK(good.rsa_bits == 0);
  CHECK(good.latest_begin_of + good.earliest_end_of + good.weakest_key_of == "");

  SECTION("the issuer has expired") {
    const auto old = root.issue(
        {.common_name = "old CA", .not_before = hours{-48}, .not_after = hours{-1}, .ca = true});
    const auto own = own_of(old.issue(test::server_options()));
    CHECK(own.not_after < now);
    CHECK(own.earliest_end_of == "CN=old CA");
    CHECK(own.not_before < now);
    CHECK(own.latest_begin_of == "");
    // Further up it may be one that only old peers need, such as a cross-signed root.
    const auto below = old.issue({.common_name = "below", .not_after = kLonger, .ca = true});
    CHECK(own_of(below.issue(test::server_options())).not_after > now);
  }
  SECTION("an issuer is not valid yet") {
    const auto early = root.issue(
        {.common_name = "new CA", .not_before = hours{24}, .not_after = kLonger, .ca = true});
    const auto own = own_of(early.issue(test::server_options()));
    CHECK(own.not_before > now);
    CHECK(own.latest_begin_of == "CN=new CA");
    CHECK(own.earliest_end_of == "");
  }
  SECTION("an issuer has a weak key") {
    const auto weak = root.issue({.common_name = "weak CA",
                                  .key = pki::KeyType::rsa_1024,
                                  .not_after = kLonger,
                                  .ca = true});
    auto options = test::server_options();
    CHECK(own_of(weak.issue(options)).rsa_bits == 1024);
    CHECK(own_of(weak.issue(options)).weakest_key_of == "CN=weak CA");
    options.key = pki::KeyType::rsa_2048;
    CHECK(own_of(weak.issue(options)).rsa_bits == 1024);
    CHECK(own_of(weak.issue(options)).weakest_key_of == "CN=weak CA");
    // If two keys are equally weak, the first certificate is the one concerned.
    options.key = pki::KeyType::rsa_1024;
    CHECK(own_of(weak.issue(options)).rsa_bits == 1024);
    CHECK(own_of(weak.issue(options)).weakest_key_of == "");
  }
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("context: dates of any year are read", "[tls][T1]") {
  using std::chrono::seconds;
  const PkiFolder folder;
  // The border between UTCTime and GeneralizedTime. The last year that a signed 64-bit number of
  // nanoseconds can hold, and the next one. The date of RFC 5280 §4.1.2.5 for no known end.
  for (const std::int64_t wanted : {2'524'607'999LL, 2'524'608'000LL, 9'223'372'036LL,
                                    9'223'372'037LL, 9'246'182'400LL, 253'402'300'799LL}) {
    CAPTURE(wanted);
    auto options = test::server_options();
    options.begins = seconds{-631'152'000};  // 1950, the first year of UTCTime
    options.ends = seconds{wanted};
    const auto server = Context::server(
        {.certificates = {folder.write("far", pki::Identity::self_signed(options))}});
    REQUIRE(server);
    const auto& own = (*server)->own_certificates().front();
    CHECK(own.not_after.since_1970.count() == wanted);
    CHECK(own.not_before.since_1970.count() == -631'152'000);
  }
}

TEST_CASE("context: a key of another certificate is refused", "[tls][security]") {
  const PkiFolder folder;
  const auto ecdsa = folder.write("ecdsa", test_pki().server);
  const auto rsa = folder.write("rsa", test_pki().server_rsa);
  const auto other = folder.write("other", test_pki().ca.issue(test::server_options()));
  CHECK(server_failure({ecdsa.chain, other.key}) ==
        other.key + ": the key does not belong to the first certificate of " + ecdsa.chain);
  CHECK(has(server_failure({ecdsa.chain, rsa.key}), "does not belong"));
}

TEST_CASE("context: a key that others may read is refused", "[tls][security][L20]") {
  const PkiFolder folder;
  const auto files = folder.write("server", test_pki().server);
  for (const unsigned mode : {0604U, 0644U, 0660U, 0601U}) {
    INFO(mode);
    const std::string key = folder.write("open.key", test_pki().server.key_pem(), mode);
    CHECK(server_failure({files.chain, key})
              .starts_with(key + ": this secret is open to group or others (mode "));
  }
  for (const unsigned mode : {0600U, 0400U}) {
    const std::string key =
        folder.write(std::to_string(mode) + ".key", test_pki().server.key_pem(), mode);
    CHECK(server_failure({files.chain, key}) == "");
  }
  // A link does not hide the mode of the file that it points to.
  const std::string open = folder.write("wide.key", test_pki().server.key_pem(), 0644);
  std::filesystem::create_symlink(open, folder.file("link.key"));
  CHECK(has(server_failure({files.chain, folder.file("link.key")}), "open to group"));
}

TEST_CASE("context: missing, empty, encrypted and garbage files are named", "[tls]") {
  const PkiFolder folder;
  const auto files = folder.write("server", test_pki().server);
  CHECK(server_failure({folder.file("no.pem"), files.key}) ==
        folder.file("no.pem") + ": No such file or directory");
  CHECK(server_failure({files.chain, folder.file("no.key")}) ==
        folder.file("no.key") + ": No such file or directory");
  const std::string empty = folder.write("empty", "");
  CHECK(server_failure({empty, files.key}) == empty + ": holds no certificate");
  CHECK(has(server_failure({files.chain, empty}), "holds no unencrypted private key"));
  const std::string garbage = folder.write("garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
  CHECK(server_failure({files.chain, garbage}) ==
        garbage + ": line 1: the block that begins here has no end");
  const std::string encrypted = folder.write(
      "encrypted",
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAMCAQA=\n-----END ENCRYPTED PRIVATE KEY-----\n");
  CHECK(has(server_failure({files.chain, encrypted}), "holds no unencrypted"));
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("context: a chain too large for a handshake is refused", "[tls]") {
  const PkiFolder folder;
  std::string chain = test_pki().server.certificate_pem();
  for (int i = 0; i < 200; ++i) chain += test_pki().ca.certificate_pem();
  const auto files = folder.write("server", test_pki().server);
  CHECK(has(server_failure({folder.write("long.pem", chain), files.key}), "too large"));
}

}  // namespace
}  // namespace starttls

// make-pki DIR: writes a certificate authority and server certificates for demo and tests. Some of
// them are wrong on purpose.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "tools/pki/pki.h"

namespace {

using starttls::pki::CertificateOptions;
using starttls::pki::Digest;
using starttls::pki::Identity;
using starttls::pki::KeyType;
using starttls::pki::Usage;
using std::chrono::hours;

constexpr char kHelp[] =
    R"(usage: make-pki DIR [SECONDS]
       make-pki --rsa-4096 DIR

Makes throw-away certificates for tests and the demo; existing files are replaced. DIR is made if it
is missing. A chain file is NAME.pem (leaf first, then the intermediate), its key NAME.key (mode 0600).

  ca.pem            the root that clients are to trust
  server            good: localhost, mail.test, 127.0.0.1, ::1; ECDSA P-256
  server-rsa        the same names; RSA 2048
  expired           as server, but it ended yesterday
  not-yet-valid     as server, but it begins tomorrow
  wrong-name        good, for wrong.test only
  self-signed       as server, but signed by itself
  unknown-ca        as server, but from a CA that nobody trusts
  leaf-issuer       as server, but issued by server, which is no CA
  path-length       as server, but one CA deeper than its root allows
  name-constraints  as server, but from a CA for good.test only
  client-usage      as server, but for TLS clients
  rsa-1024, sha-1   as server, but with such a key, or such a signature
  cn-only           mail.test as common name, no other name
  nul-name          mail.test, a NUL and .evil.test in one name
  address-as-name   127.0.0.1 as DNS name
  wildcard          *.example.test; partial-wildcard: m*.example.test
  leaf-only         server without the intermediate
  deep, too-deep    as server, but with nine, or twelve, CAs below the root
  brief             as server, but it ends in SECONDS (60 if not given)
  ends-soon         as server, but it ends in ten days
  year-9999         as server, but it and its CA end as late as a certificate can
  many-ca.pem       ca.pem and 900 more CAs, with 70 KiB of names
  client            good, of a client; client-expired, client-unknown-ca, client-self-signed

With --rsa-4096, only these two are made, since the key takes seconds:

  server-rsa-4096   as server, but RSA 4096, and from a CA of its own: ca-rsa-4096.pem

Exit status: 0, or 1 with a message on standard error. Never use these outside of a test.
)";

[[noreturn]] void system_failure(const std::string& path) {
  throw std::runtime_error(path + ": " + std::generic_category().message(errno));
}

void write_file(const std::string& path, std::string_view text, mode_t mode) {
  // The file is created anew, so that the wider mode of an older file does not survive.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) system_failure(path);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) system_failure(path);
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int saved = errno;
      ::close(fd);
      errno = saved;
      system_failure(path);
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::close(fd) != 0) system_failure(path);
  std::printf("%s\n", path.c_str());
}

void write_identity(const std::string& folder, const std::string& name, const Identity& identity) {
  write_file(folder + "/" + name + ".pem", identity.chain_pem(), 0644);
  write_file(folder + "/" + name + ".key", identity.key_pem(), 0600);
}

CertificateOptions server_options() {
  return {.common_name = "mail.test",
          .dns_names = {"localhost", "mail.test"},
          .ip_addresses = {"127.0.0.1", "::1"}};
}

CertificateOptions client_options() {
  return {.common_name = "device", .usage = Usage::client};
}

void write_client_certificates(const std::string& folder, const Identity& ca,
                               const Identity& stranger) {
  write_identity(folder, "client", ca.issue(client_options()));

  CertificateOptions expired = client_options();
  expired.not_before = hours{-48};
  expired.not_after = hours{-24};
  write_identity(folder, "client-expired", ca.issue(expired));

  write_identity(folder, "client-unknown-ca", stranger.issue(client_options()));
  write_identity(folder, "client-self-signed", Identity::self_signed(client_options()));
}

/// Writes certificates that no CA should have issued, or not for such a name.
void write_odd_servers(const std::string& folder, const Identity& root, const Identity& ca,
                       const Identity& server) {
  using namespace std::string_literals;
  write_identity(folder, "leaf-issuer", server.issue(server_options()));
  write_identity(folder, "path-length",
                 ca.issue({.common_name = "too deep", .ca = true}).issue(server_options()));
  write_identity(
      folder, "name-constraints",
      root.issue({.common_name = "good.test only", .ca = true, .permitted_dns = {"good.test"}})
          .issue(server_options()));

  Identity above = root;
  for (int i = 1; i <= 12; ++i) {
    above = above.issue({.common_name = "CA " + std::to_string(i), .ca = true});
    if (i == 9) write_identity(folder, "deep", above.issue(server_options()));
  }
  write_identity(folder, "too-deep", above.issue(server_options()));

  CertificateOptions client_usage = server_options();
  client_usage.usage = Usage::client;
  write_identity(folder, "client-usage", ca.issue(client_usage));

  CertificateOptions rsa_1024 = server_options();
  rsa_1024.key = KeyType::rsa_1024;
  write_identity(folder, "rsa-1024", ca.issue(rsa_1024));

  CertificateOptions sha_1 = server_options();
  sha_1.digest = Digest::sha1;
  write_identity(folder, "sha-1", ca.issue(sha_1));

  const auto named = [&](const char* name, const std::string& dns_name) {
    write_identity(folder, name, ca.issue({.common_name = "mail.test", .dns_names = {dns_name}}));
  };
  write_identity(folder, "cn-only", ca.issue({.common_name = "mail.test"}));
  named("nul-name", "mail.test\0.evil.test"s);
  named("address-as-name", "127.0.0.1");
  named("wildcard", "*.example.test");
  named("partial-wildcard", "m*.example.test");

  // The names of these CAs exceed the 64 KiB of a CertificateRequest (RFC 8446 §4.2.4).
  std::string many = root.certificate_pem();
  for (int i = 1000; i < 1900; ++i) {
    const auto name = std::to_string(i) + std::string(60, 'x');  // 64 is the most
    many += root.issue_for(ca, {.common_name = name, .ca = true}).certificate_pem();
  }
  write_file(folder + "/many-ca.pem", many, 0644);

  // RFC 5280 §4.1.2.5: this date means that the certificate has no known end.
  CertificateOptions endless = server_options();
  endless.ends = std::chrono::seconds{253'402'300'799};  // 9999-12-31 23:59:59
  const auto endless_ca =
      root.issue({.common_name = "endless CA", .ends = endless.ends, .ca = true});
  write_identity(folder, "year-9999", endless_ca.issue(endless));

  write_file(folder + "/leaf-only.pem", server.certificate_pem(), 0644);
  write_file(folder + "/leaf-only.key", server.key_pem(), 0600);
}

void make_folder(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) system_failure(folder);
}

void make_rsa_4096(const std::string& folder) {
  make_folder(folder);
  const auto root = Identity::self_signed({.common_name = "starttls-proxy test root", .ca = true});
  write_file(folder + "/ca-rsa-4096.pem", root.certificate_pem(), 0644);
  CertificateOptions rsa = server_options();
  rsa.key = KeyType::rsa_4096;
  write_identity(folder, "server-rsa-4096", root.issue(rsa));
}

void make_pki(const std::string& folder, std::chrono::seconds brief) {
  make_folder(folder);
  // Authorities outlive what they issue. Otherwise a chain would end before its first certificate.
  constexpr hours kLonger{24 * 31};
  const auto root = Identity::self_signed(
      {.common_name = "starttls-proxy test root", .not_after = kLonger, .ca = true});
  const auto ca = root.issue({.common_name = "starttls-proxy test CA",
                              .not_after = kLonger,
                              .ca = true,
                              .path_length = 0});
  write_file(folder + "/ca.pem", root.certificate_pem(), 0644);

  const auto server = ca.issue(server_options());
  write_identity(folder, "server", server);

  CertificateOptions rsa = server_options();
  rsa.key = KeyType::rsa_2048;
  write_identity(folder, "server-rsa", ca.issue(rsa));

  CertificateOptions expired = server_options();
  expired.not_before = hours{-48};
  expired.not_after = hours{-24};
  write_identity(folder, "expired", ca.issue(expired));

  CertificateOptions ending = server_options();
  ending.not_after = brief;
  write_identity(folder, "brief", ca.issue(ending));
  ending.not_after = hours{24 * 10};
  write_identity(folder, "ends-soon", ca.issue(ending));

  CertificateOptions not_yet_valid = server_options();
  not_yet_valid.not_before = hours{24};
  write_identity(folder, "not-yet-valid", ca.issue(not_yet_valid));

  write_identity(folder, "wrong-name",
                 ca.issue({.common_name = "wrong.test", .dns_names = {"wrong.test"}}));

  write_identity(folder, "self-signed", Identity::self_signed(server_options()));

  const auto stranger = Identity::self_signed({.common_name = "another test root", .ca = true});
  write_identity(folder, "unknown-ca", stranger.issue(server_options()));

  write_odd_servers(folder, root, ca, server);
  write_client_certificates(folder, ca, stranger);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view argument = argc == 2 || argc == 3 ? argv[1] : "";
  if (argument == "--help" || argument == "-h") {
    std::fputs(kHelp, stdout);
    return 0;
  }
  const bool rsa_4096 = argument == "--rsa-4096" && argc == 3;
  if (argument.empty() || (argument.starts_with('-') && !rsa_4096)) {
    std::fputs(kHelp, stderr);
    return 1;
  }
  try {
    if (rsa_4096) {
      make_rsa_4096(argv[2]);
      return 0;
    }
    make_pki(std::string(argument), std::chrono::seconds{argc == 3 ? std::stoi(argv[2]) : 60});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make-pki: %s\n", error.what());
    return 1;
  }
  return 0;
}

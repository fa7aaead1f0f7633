#include "lib/tls/pem.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

#include "lib/base/descriptor.h"
#include "lib/tls/context_impl.h"

namespace starttls::tls {
namespace {

constexpr std::size_t kMaxFile = std::size_t{16}
                                 << 20U;  // a system's trust store has 0.2 MiB; fits an int

/// Debian and Alpine, Fedora, BSD.
constexpr const char* kSystemStores[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

enum class Access : std::uint8_t { any, owner_only };

tl::unexpected<Error> system_failure(const std::string& path) {
  return fail(Errc::config, path + ": " + std::generic_category().message(errno));
}

std::string octal(mode_t mode) {
  std::string out = "0";
  for (unsigned shift = 9; shift > 0; shift -= 3) {
    out += static_cast<char>('0' + ((mode >> (shift - 3)) & 7U));
  }
  return out;
}

std::vector<gid_t> own_groups() {
  std::vector<gid_t> groups{::getegid()};
  const int count = ::getgroups(0, nullptr);
  if (count <= 0) return groups;
  groups.resize(1 + static_cast<std::size_t>(count));
  const int got = ::getgroups(count, groups.data() + 1);
  groups.resize(1 + static_cast<std::size_t>(std::max(got, 0)));
  return groups;
}

Result<std::string> read_file(const std::string& path, Access access) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status = {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) return system_failure(path);
  if (!S_ISREG(status.st_mode)) return fail(Errc::config, path + ": not a regular file");
  // Asked of the open file, not of the name: what was checked is what is read.
  if (access == Access::owner_only &&
      !is_kept_secret(status.st_mode, status.st_uid, status.st_gid, own_groups())) {
    return fail(Errc::config, path + ": a secret that is open to group or others (mode " +
                                  octal(status.st_mode) + "), it must be its owner's alone (0600)");
  }
  std::string text;
  char chunk[16384];
  for (;;) {
    const ssize_t n = ::read(file.get(), chunk, sizeof(chunk));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure(path);
    if (n == 0) break;
    text.append(chunk, static_cast<std::size_t>(n));
    if (text.size() > kMaxFile) return fail(Errc::config, path + ": too large");
  }
  OPENSSL_cleanse(chunk, sizeof(chunk));
  return text;
}

bssl::UniquePtr<BIO> read_only(const std::string& text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string library_text() {
  const std::uint32_t code = ERR_peek_error();
  ERR_clear_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "";
}

/// The next PEM block that holds a certificate; null at the end of the text or on a bad block, told
/// apart by `bad`.
bssl::UniquePtr<CRYPTO_BUFFER> next_certificate(BIO* bio, bool& bad) {
  bad = false;
  for (;;) {
    char* raw_name = nullptr;
    char* raw_header = nullptr;
    unsigned char* raw_data = nullptr;
    long size = 0;
    if (PEM_read_bio(bio, &raw_name, &raw_header, &raw_data, &size) == 0) {
      const std::uint32_t code = ERR_peek_last_error();
      bad = !(ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE);
      if (!bad) ERR_clear_error();
      return nullptr;
    }
    const bssl::UniquePtr<char> name(raw_name);
    const bssl::UniquePtr<char> header(raw_header);
    const bssl::UniquePtr<unsigned char> data(raw_data);
    if (std::string_view(name.get()) != PEM_STRING_X509) continue;
    return bssl::UniquePtr<CRYPTO_BUFFER>(
        CRYPTO_BUFFER_new(data.get(), static_cast<std::size_t>(size), buffer_pool()));
  }
}

enum class Unparsable : std::uint8_t { refuse, leave_out };

Result<TrustStore> read_store(const std::string& path, Unparsable unparsable) {
  const auto text = read_file(path, Access::any);
  if (!text) return fail(text.error());
  bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  const auto bio = read_only(*text);
  if (!store || !bio) return fail(Errc::system, "out of memory");

  std::size_t count = 0;
  bool bad = false;
  Fingerprint contents;
  while (const auto der = next_certificate(bio.get(), bad)) {
    contents.add(der.get());
    const bssl::UniquePtr<X509> certificate(X509_parse_from_buffer(der.get()));
    if (certificate && X509_STORE_add_cert(store.get(), certificate.get()) == 1) {
      ++count;
    } else if (unparsable == Unparsable::refuse) {
      return fail(Errc::config, path + ": certificate " + std::to_string(count + 1) +
                                    " cannot be read: " + library_text());
    }
    ERR_clear_error();
  }
  if (bad && unparsable == Unparsable::refuse) {
    return fail(Errc::config, path + ": not PEM after " + std::to_string(count) +
                                  " certificates: " + library_text());
  }
  ERR_clear_error();
  if (count == 0) return fail(Errc::config, path + ": holds no certificate");
  return TrustStore{std::move(store), contents.finish()};
}

}  // namespace

Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_certificates(const std::string& path) {
  const auto text = read_file(path, Access::any);
  if (!text) return fail(text.error());
  const auto bio = read_only(*text);
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> out;
  bool bad = false;
  while (auto der = next_certificate(bio.get(), bad)) {
    if (!bssl::UniquePtr<X509>(X509_parse_from_buffer(der.get()))) {
      return fail(Errc::config, path + ": certificate " + std::to_string(out.size() + 1) +
                                    " cannot be read: " + library_text());
    }
    out.push_back(std::move(der));
  }
  if (bad) return fail(Errc::config, path + ": not PEM: " + library_text());
  if (out.empty()) return fail(Errc::config, path + ": holds no certificate");
  return out;
}

bool is_kept_secret(mode_t mode, uid_t owner, gid_t group,
                    const std::vector<gid_t>& own_groups) noexcept {
  if ((mode & 077U) == 0) return true;
  constexpr mode_t kReadByOwnerAndGroup = 0440;
  if ((mode & 0777U & ~kReadByOwnerAndGroup) != 0 || owner != 0) return false;
  return group == 0 || std::find(own_groups.begin(), own_groups.end(), group) != own_groups.end();
}

Result<bssl::UniquePtr<EVP_PKEY>> read_private_key(const std::string& path) {
  auto file = read_file(path, Access::owner_only);
  if (!file) return fail(file.error());
  std::string& text = *file;
  const auto bio = read_only(text);
  // No pass phrase: there is nobody to type one.
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  const std::string why = key ? std::string() : library_text();
  OPENSSL_cleanse(text.data(), text.size());
  if (!key) return fail(Errc::config, path + ": holds no unencrypted private key: " + why);
  return key;
}

Result<std::string> read_secret(const std::string& path) {
  return read_file(path, Access::owner_only);
}

std::string system_trust_store() {
  for (const char* path : kSystemStores) {
    if (::access(path, R_OK) == 0) return path;
  }
  return {};
}

Result<TrustStore> read_trust_store(const std::string& ca_file) {
  if (!ca_file.empty()) return read_store(ca_file, Unparsable::refuse);
  if (const auto path = system_trust_store(); !path.empty()) {
    return read_store(path, Unparsable::leave_out);
  }
  return fail(Errc::config, std::string(kSystemStores[0]) +
                                ": the system's trust store is missing; install ca-certificates or "
                                "name a CA file");
}

}  // namespace starttls::tls

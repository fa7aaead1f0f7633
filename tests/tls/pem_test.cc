// PEM files as people and tools make them. No block is skipped silently.

#include "lib/tls/pem.h"

#include <string>
#include <string_view>
#include <vector>

#include "lib/tls/pem_blocks.h"
#include "lib/tls/verify.h"
#include "tests/support/catch.h"
#include "tests/support/tls_pair.h"

namespace starttls {
namespace {

using test::has;
using test::PkiFolder;
using test::test_pki;

/// Returns the faults and labels of a text, such as "3 CERTIFICATE" or "7: ...".
std::vector<std::string> blocks(std::string_view text) {
  std::vector<std::string> out;
  for (const auto& block : tls::find_pem_blocks(text)) {
    out.push_back(std::to_string(block.line) + (block.fault.empty() ? " " : ": ") +
                  std::string(block.fault.empty() ? block.label : block.fault));
  }
  return out;
}
using Lines = std::vector<std::string>;

constexpr std::string_view kBom = "\xef\xbb\xbf";

std::string relabelled(std::string pem, std::string_view label) {
  const std::string old = "CERTIFICATE-----";
  for (auto at = pem.find(old); at != std::string::npos; at = pem.find(old, at + label.size())) {
    pem.replace(at, old.size() - 5, label);
  }
  return pem;
}

std::string indented(const std::string& pem) {
  std::string out = "    ";
  for (const char c : pem) {
    out += c;
    if (c == '\n') out += "    ";
  }
  return out;
}

/// Returns `text` as Windows' old Notepad saves it.
std::string utf16(const std::string& text) {
  std::string out = "\xff\xfe";
  for (const char c : text) {
    out += c;
    out += '\0';
  }
  return out;
}

/// Returns a "TRUSTED CERTIFICATE", as `openssl x509 -trustout` writes it.
std::string trusted(const pki::Identity& identity, int trust, int reject = NID_undef) {
  const std::string pem = identity.certificate_pem();
  const bssl::UniquePtr<BIO> in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const bssl::UniquePtr<X509> certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  if (trust != NID_undef) X509_add1_trust_object(certificate.get(), OBJ_nid2obj(trust));
  if (reject != NID_undef) X509_add1_reject_object(certificate.get(), OBJ_nid2obj(reject));
  const bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_X509_AUX(out.get(), certificate.get()) == 1);
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(out.get(), &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

struct Reading {
  PkiFolder folder;

  /// Returns the number of certificates, or the error after the file's name.
  std::string chain(const std::string& text) const {
    const std::string path = folder.write("chain.pem", text);
    const auto read = tls::read_certificates(path);
    if (read) return std::to_string(read->size());
    CHECK(read.error().code == Errc::config);
    CHECK(read.error().reason.starts_with(path + ": "));
    return read.error().reason.substr(path.size() + 2);
  }
  std::string store(const std::string& text) const {
    const std::string path = folder.write("ca.pem", text);
    const auto read = tls::read_trust_store(path);
    if (read) return std::to_string((*read)->certificates().size());
    CHECK(read.error().reason.starts_with(path + ": "));
    return read.error().reason.substr(path.size() + 2);
  }
  /// Returns "" if the key is read, or the error after the file's name.
  std::string key(const std::string& text) const {
    const std::string path = folder.write("a.key", text);
    const auto read = tls::read_private_key(path);
    if (read) return "";
    CHECK(read.error().reason.starts_with(path + ": "));
    return read.error().reason.substr(path.size() + 2);
  }
  /// Checks that a chain and a store are read alike.
  void both(const std::string& text, const std::string& said) const {
    CHECK(chain(text) == said);
    CHECK(store(text) == said);
  }
};

TEST_CASE("pem blocks: blocks are found with their lines, between comments and blank lines",
          "[tls][T3]") {
  CHECK(blocks("").empty());
  CHECK(blocks("hello\n").empty());
  CHECK(blocks("-----BEGIN A B-----\nx\n-----END A B-----") == Lines{"1 A B"});
  CHECK(blocks("# one\r\n\r\n-----BEGIN A-----  \r\nx\r\n-----END A-----\r\nb\n"
               "-----BEGIN B-----\n-----END B-----\n") == Lines{"3 A", "7 B"});
  const auto found = tls::find_pem_blocks("x\n-----BEGIN A-----\ny\n-----END A----- \nz");
  REQUIRE(found.size() == 1);
  CHECK(found[0].text == "-----BEGIN A-----\ny\n-----END A-----");
}

TEST_CASE("pem blocks: an incomplete block is a fault with its line", "[tls][T3]") {
  const std::string malformed = "not of the form -----BEGIN CERTIFICATE-----";
  const std::string inside = "a block must begin at the start of a line";
  const std::string no_end = "the block that begins here has no end";
  const std::string other_end =
      "the block that begins here does not end with its own -----END line";
  for (const auto* line :
       {"-----BEGIN A----", "-----BEGIN A", "-----BEGIN -----", "-----BEGIN-----",
        "-----BEGINA-----", "-----BEGIN A----- x", "-----BEGIN A-----B-----"}) {
    CAPTURE(line);
    CHECK(blocks(std::string("\n") + line + "\nx\n-----END A-----\n") == Lines{"2: " + malformed});
  }
  for (const auto* line : {" -----BEGIN A-----", "\t-----BEGIN A-----", "\"-----BEGIN A-----",
                           "# -----BEGIN A-----", "cert: |-----BEGIN A-----"}) {
    CAPTURE(line);
    CHECK(blocks(std::string(line) + "\nx\n-----END A-----\n") == Lines{"1: " + inside});
  }
  CHECK(blocks("-----BEGIN A-----\nx") == Lines{"1: " + no_end});
  CHECK(blocks("-----BEGIN A-----\nx\n-----BEGIN B-----\n-----END B-----") ==
        Lines{"1: " + no_end, "3 B"});
  CHECK(blocks("-----BEGIN A-----\nx\n-----END B-----") == Lines{"1: " + other_end});
  CHECK(blocks("-----BEGIN A-----\nx\n -----END A-----") == Lines{"1: " + other_end});
  CHECK(blocks("----BEGIN A-----\nx\n-----END A-----") ==
        Lines{"3: this -----END line has no -----BEGIN line"});
  // Joined files, the first without a newline at its end.
  CHECK(blocks("-----BEGIN A-----\nx\n-----END A----------BEGIN A-----\nx\n-----END A-----\n") ==
        Lines{"3: " + inside});
  CHECK(blocks(utf16("-----BEGIN A-----\n"))
            .front()
            .starts_with("1: contains a NUL, so it is not PEM"));
}

TEST_CASE("pem: a BOM before a block is ignored", "[tls][T3]") {
  const Reading reading;
  const std::string one = std::string(kBom) + test_pki().server.certificate_pem();
  reading.both(one, "1");
  reading.both(one + std::string(kBom) + test_pki().ca.certificate_pem(), "2");
  CHECK(reading.key(std::string(kBom) + test_pki().server.key_pem()) == "");
}

TEST_CASE("pem: the old labels of certificates are read", "[tls][T3]") {
  const Reading reading;
  const std::string leaf = test_pki().server.certificate_pem();
  reading.both(leaf + relabelled(test_pki().ca.certificate_pem(), "X509 CERTIFICATE"), "2");
  reading.both(leaf + trusted(test_pki().ca, NID_server_auth), "2");
  reading.both(leaf + relabelled(test_pki().ca.certificate_pem(), "TRUSTED CERTIFICATE"), "2");
  // Only the certificate itself is sent to a peer.
  const auto chain = tls::read_certificates(
      reading.folder.write("t.pem", trusted(test_pki().ca, NID_server_auth)));
  const auto plain =
      tls::read_certificates(reading.folder.write("p.pem", test_pki().ca.certificate_pem()));
  REQUIRE(chain);
  REQUIRE(plain);
  const auto bytes = [](const CRYPTO_BUFFER* buffer) {
    return std::string(reinterpret_cast<const char*>(CRYPTO_BUFFER_data(buffer)),
                       CRYPTO_BUFFER_len(buffer));
  };
  CHECK(bytes(chain->front().get()) == bytes(plain->front().get()));
}

TEST_CASE("pem: a TRUSTED CERTIFICATE is trusted for its listed uses", "[tls][T3][security]") {
  const PkiFolder folder;
  const auto& pki = test_pki();
  const auto accepted = [&](const std::string& roots) {
    const auto store = tls::read_trust_store(folder.write("ca.pem", roots));
    REQUIRE(store);
    const auto chain = tls::read_certificates(folder.write("chain.pem", pki.server.chain_pem()));
    REQUIRE(chain);
    const bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> sent(sk_CRYPTO_BUFFER_new_null());
    for (const auto& each : *chain) bssl::PushToStack(sent.get(), bssl::UpRef(each));
    return tls::verify_server(**store, sent.get(), {.reference = "mail.test"}).has_value();
  };
  CHECK(accepted(trusted(pki.root, NID_undef)));
  CHECK(accepted(trusted(pki.root, NID_server_auth)));
  CHECK_FALSE(accepted(trusted(pki.root, NID_client_auth)));
  CHECK_FALSE(accepted(trusted(pki.root, NID_undef, NID_server_auth)));
}

TEST_CASE("pem: keys and parameters beside certificates are skipped", "[tls][T3]") {
  const Reading reading;
  const std::string parameters =
      "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
      "-----BEGIN DH PARAMETERS-----\nMAYCAQUCAQI=\n-----END DH PARAMETERS-----\n";
  const auto& server = test_pki().server;
  reading.both(parameters + server.key_pem() + server.certificate_pem() + parameters, "1");
  CHECK(reading.key(parameters + server.certificate_pem() + server.key_pem()) == "");
}

TEST_CASE("pem: a block without a certificate or key is an error with its line",
          "[tls][T3][security]") {
  const Reading reading;
  const std::string leaf = "# ours\n" + test_pki().server.certificate_pem();
  const auto line = std::to_string(std::count(leaf.begin(), leaf.end(), '\n') + 1);
  const std::string ca = test_pki().ca.certificate_pem();
  const std::string key = test_pki().server.key_pem();
  const auto said = [&](const std::string& more, const std::string& words) {
    CAPTURE(more);
    reading.both(leaf + more, "line " + line + ": " + words);
  };
  said(indented(ca), "a block must begin at the start of a line");
  said("ca = \"" + ca + "\"\n", "a block must begin at the start of a line");
  said("'" + ca + "'", "a block must begin at the start of a line");
  said(ca.substr(0, ca.size() / 2), "the block that begins here has no end");
  for (const std::string label :
       {"PKCS7", "CMS", "X509 CRL", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST",
        "CERTIFICATE PAIR", "ATTRIBUTE CERTIFICATE"}) {
    said(relabelled(ca, label), label + ": neither a certificate nor a key");
  }
  // Two files joined by `cat`. The first has no newline at its end.
  const std::string joined = leaf.substr(0, leaf.size() - 1) + ca;
  reading.both(joined, "line " + std::to_string(std::stoul(line) - 1) +
                           ": a block must begin at the start of a line");
  CHECK(
      has(reading.chain(leaf + utf16(ca)), "line " + line + ": contains a NUL, so it is not PEM"));
  std::string damaged = ca;
  damaged[damaged.size() / 2] = '*';
  CHECK(has(reading.store(leaf + damaged), "line " + line + ": the certificate cannot be read"));
  CHECK(has(reading.chain(leaf + damaged), "line " + line + ": the certificate cannot be read"));
  CHECK(ERR_peek_error() == 0);

  CHECK(reading.key(indented(key)) == "line 1: a block must begin at the start of a line");
  CHECK(reading.key(key + indented(ca)).ends_with(": a block must begin at the start of a line"));
  CHECK(reading.key(key + relabelled(ca, "PKCS7"))
            .ends_with(": PKCS7: neither a certificate nor a key"));
  CHECK(reading.key("x\n" + relabelled(ca, "CERTIFICATE")) == "holds no unencrypted private key");
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("pem: an error has no part of a private key", "[tls][T3][security]") {
  const Reading reading;
  const std::string key = test_pki().server.key_pem();
  const std::string body = key.substr(key.find('\n') + 1, 40);
  for (std::size_t cut = 0; cut < key.size(); ++cut) {
    const std::string error = reading.key(key.substr(0, cut) + '\n');
    CHECK_FALSE(has(error, body.substr(0, 8)));
  }
}

}  // namespace
}  // namespace starttls

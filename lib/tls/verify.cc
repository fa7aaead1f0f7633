#include "lib/tls/verify.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "lib/base/ascii.h"

namespace starttls::tls {
namespace {

/// Maximum certificates above the leaf, the root included (some versions of the library do not
/// count it). Public chains have two or three.
constexpr int kMaxDepth = 10;
constexpr int kMaxDetours = 8;  // paths that are tried after the first
constexpr unsigned kMinRsaBits = 2048;
constexpr unsigned kMinEcBits = 256;
constexpr std::size_t kMaxReference = 100;  // bytes of our own name that the client sees

std::string_view view(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

/// Returns a name as in RFC 4514, with UTF-8 left as it is: it must be escaped for a log.
std::string name_utf8(const X509_NAME* name) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0) {
    return {};
  }
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  if (BIO_mem_contents(bio.get(), &data, &size) == 0) return {};
  return {reinterpret_cast<const char*>(data), size};
}

std::string name_text(const X509_NAME* name) {
  return ascii::escape(name_utf8(name));
}

bssl::UniquePtr<X509> parse_leaf(const STACK_OF(CRYPTO_BUFFER) * chain) {
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return nullptr;
  return bssl::UniquePtr<X509>(X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, 0)));
}

/// Parses the certificates that the peer sent after its leaf. Those that do not parse are left out:
/// if one was needed there is no path, otherwise its absence does no harm.
bssl::UniquePtr<STACK_OF(X509)> parse_intermediates(const STACK_OF(CRYPTO_BUFFER) * chain) {
  bssl::UniquePtr<STACK_OF(X509)> out(sk_X509_new_null());
  for (std::size_t i = 1; out && i < sk_CRYPTO_BUFFER_num(chain); ++i) {
    bssl::UniquePtr<X509> parsed(X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i)));
    if (parsed && !bssl::PushToStack(out.get(), std::move(parsed))) return nullptr;
  }
  ERR_clear_error();
  return out;
}

bool is_valid_at(const X509* certificate, UnixTime now) {
  return time_of(X509_get0_notBefore(certificate)) <= now &&
         now <= time_of(X509_get0_notAfter(certificate));
}

bssl::UniquePtr<STACK_OF(X509)> valid_at(UnixTime now, const STACK_OF(X509) * certificates) {
  bssl::UniquePtr<STACK_OF(X509)> out(sk_X509_new_null());
  for (std::size_t i = 0; out && i < sk_X509_num(certificates); ++i) {
    X509* const each = sk_X509_value(certificates, i);
    if (is_valid_at(each, now) && !bssl::PushToStack(out.get(), bssl::UpRef(each))) return nullptr;
  }
  return out;
}

bool is_self_signed(X509* certificate) {
  if (X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) != 0) {
    return false;
  }
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
  const bool verified = key && X509_verify(certificate, key.get()) == 1;
  ERR_clear_error();
  return verified;
}

/// Returns the reason for an error. `tried` is the number of certificates on the failed path.
std::string reason_text(int error, X509* leaf, std::size_t tried) {
  constexpr auto kTooLong = "certificate chain is too long";
  switch (error) {
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return kTooLong;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "certificate is not yet valid";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "self-signed certificate";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      // Some versions of the library stop at the limit as if there were no more certificates.
      if (tried > kMaxDepth) return kTooLong;
      // The library does not call a certificate self-signed if its key usage says that it cannot
      // sign.
      return is_self_signed(leaf) ? "self-signed certificate" : "unknown CA";
    default:  // an int of the library's: any of sixty
      return std::string("certificate is not acceptable: ") + X509_verify_cert_error_string(error);
  }
}

/// Returns why the key of `certificate` is too weak; empty if it is not.
std::string key_weakness(X509* certificate) {
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
  if (!key) return "certificate has a key of an unknown kind";
  const auto bits = static_cast<unsigned>(EVP_PKEY_bits(key.get()));
  switch (EVP_PKEY_id(key.get())) {
    case EVP_PKEY_RSA:
      if (bits >= kMinRsaBits) return {};
      return "certificate key is too weak: RSA with " + std::to_string(bits) + " bits";
    case EVP_PKEY_EC:
      if (bits >= kMinEcBits) return {};
      return "certificate key is too weak: EC with " + std::to_string(bits) + " bits";
    case EVP_PKEY_ED25519:
      return {};
    default:
      return "certificate has a key of an unknown kind";
  }
}

std::string signature_weakness(const X509* certificate) {
  int digest = NID_undef;
  int key = NID_undef;
  // RSA-PSS and Ed25519 have no digest here; both BoringSSLs accept them with SHA-2 only.
  OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest, &key);
  if (digest == NID_sha1) return "certificate is signed with SHA-1";
  if (digest == NID_md5 || digest == NID_md4) return "certificate is signed with MD5";
  return {};
}

std::string chain_weakness(const STACK_OF(X509) * path) {
  const std::size_t size = sk_X509_num(path);
  for (std::size_t i = 0; i < size; ++i) {
    X509* certificate = sk_X509_value(path, i);
    if (auto why = key_weakness(certificate); !why.empty()) return why;
    // An anchor is trusted because it is in the store; its signature does not matter.
    const bool anchor = i + 1 == size;
    if (anchor) break;
    if (auto why = signature_weakness(certificate); !why.empty()) return why;
  }
  return {};
}

std::string evidence(const X509* leaf, const PresentedNames& names, std::string_view reason) {
  return "subject=\"" + name_text(X509_get_subject_name(leaf)) + "\" issuer=\"" +
         name_text(X509_get_issuer_name(leaf)) + "\" names=\"" +
         ascii::escape(describe(names), 400) + "\" reason=\"" + ascii::escape(reason) + '"';
}

Rejection reject(std::string reason, int alert, std::string evidence_text) {
  return Rejection{Error{Errc::certificate, std::move(reason), std::move(evidence_text)},
                   static_cast<std::uint8_t>(alert)};
}

tl::unexpected<Rejection> unreadable() {
  ERR_clear_error();
  return tl::unexpected(reject("certificate cannot be read", SSL_AD_BAD_CERTIFICATE, {}));
}

/// The certificates that a path is made of, and its purpose.
struct Material {
  X509* leaf;
  X509_STORE* roots;
  STACK_OF(X509) * intermediates;
  const char*
      purpose;  ///< "ssl_server" or "ssl_client": without it a client's would do for a server
  STACK_OF(X509) * anchors = nullptr;  ///< replace `roots`, if not null
};

Rejection cannot_check() {
  ERR_clear_error();
  return reject("certificate cannot be checked", SSL_AD_INTERNAL_ERROR, {});
}

/// Looks for a path from the leaf to a trusted root. A peer without one is refused (X1 to X4).
bool leads_to_root(X509_STORE_CTX* ctx) {
  const bool found = X509_verify_cert(ctx) == 1;
  ERR_clear_error();
  return found;
}

/// Accepts the path that the library finds first, if every key and signature on it is strong
/// enough. Afterwards `ctx` holds the path, or as much of it as there was.
std::optional<Rejection> try_path(X509_STORE_CTX* ctx, const Material& material) {
  X509* const leaf = material.leaf;
  X509_STORE_CTX_cleanup(ctx);
  if (X509_STORE_CTX_init(ctx, material.roots, leaf, material.intermediates) != 1 ||
      X509_STORE_CTX_set_default(ctx, material.purpose) != 1) {
    return cannot_check();
  }
  if (material.anchors != nullptr) set_anchors(ctx, material.anchors);
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx);
  X509_VERIFY_PARAM_set_depth(param, kMaxDepth);
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);

  const bool trusted = leads_to_root(ctx);
  const PresentedNames names = presented_names(leaf);
  if (!trusted) {
    const int error = X509_STORE_CTX_get_error(ctx);
    std::string told = evidence(leaf, names, X509_verify_cert_error_string(error));
    const int depth = X509_STORE_CTX_get_error_depth(ctx);
    const X509* at = X509_STORE_CTX_get_current_cert(ctx);
    if (depth > 0 && at != nullptr) {
      told += " at=\"" + name_text(X509_get_subject_name(at)) + '"';
    }
    const std::size_t tried = sk_X509_num(X509_STORE_CTX_get0_chain(ctx));
    return reject(reason_text(error, leaf, tried), SSL_alert_from_verify_result(error),
                  std::move(told));
  }
  if (auto why = chain_weakness(X509_STORE_CTX_get0_chain(ctx)); !why.empty()) {
    std::string told = evidence(leaf, names, why);
    return reject(std::move(why), SSL_AD_BAD_CERTIFICATE, std::move(told));
  }
  return std::nullopt;
}

/// True if another certificate has the same name. A copy of the same certificate is no other one.
bool has_twin(const STACK_OF(X509) * certificates, const X509* certificate) {
  const X509_NAME* const name = X509_get_subject_name(certificate);
  for (std::size_t i = 0; i < sk_X509_num(certificates); ++i) {
    const X509* const other = sk_X509_value(certificates, i);
    if (X509_NAME_cmp(X509_get_subject_name(other), name) == 0 &&
        X509_cmp(other, certificate) != 0) {
      return true;
    }
  }
  return false;
}

/// Removes a certificate. False if it is not there.
bool take_out(STACK_OF(X509) * certificates, X509* certificate) {
  if (sk_X509_delete_ptr(certificates, certificate) == nullptr) return false;
  X509_free(certificate);
  return true;
}

/// Removes the highest certificate of a path that led nowhere, if there is another of the same name
/// to go on with. An anchor's twin may also be sent by the peer. False if there is none.
bool take_out_dead_end(const STACK_OF(X509) * path, STACK_OF(X509) * intermediates,
                       STACK_OF(X509) * anchors) {
  for (std::size_t above = sk_X509_num(path); above > 1; --above) {
    X509* const tried = sk_X509_value(path, above - 1);
    const bool twin_is_sent = has_twin(intermediates, tried);
    if (twin_is_sent && take_out(intermediates, tried)) return true;
    if ((twin_is_sent || has_twin(anchors, tried)) && take_out(anchors, tried)) return true;
  }
  return false;
}

/// Returns the certificates of a store at which a path may end: all, or those that are valid then.
bssl::UniquePtr<STACK_OF(X509)> anchors_of(const TrustStore& store, std::optional<UnixTime> valid) {
  bssl::UniquePtr<STACK_OF(X509)> out(sk_X509_new_null());
  for (const auto& each : store.certificates()) {
    if (!out) break;
    if (valid && !is_valid_at(each.get(), *valid)) continue;
    if (!bssl::PushToStack(out.get(), bssl::UpRef(each))) return nullptr;
  }
  return out;
}

/// Looks for a path, also if it needs another certificate of the same name (openssl/openssl#10716).
/// The library chooses an issuer by its name, and by its key only if the certificate below has the
/// key's identifier. So it may try an authority's old key although the new one has signed.
/// `material.roots` holds the certificates of `store` that are valid at `valid`, or all of them.
/// Consumes `material`'s intermediates. A refusal is that of the first path.
std::optional<Rejection> find_path(X509_STORE_CTX* ctx, Material material, const TrustStore& store,
                                   std::optional<UnixTime> valid) {
  auto rejection = try_path(ctx, material);
  if (!rejection) return std::nullopt;
  const auto anchors = anchors_of(store, valid);
  if (!anchors) return cannot_check();
  material.anchors = anchors.get();
  for (int detours = 0; detours < kMaxDetours; ++detours) {
    const STACK_OF(X509)* path = X509_STORE_CTX_get0_chain(ctx);
    if (!take_out_dead_end(path, material.intermediates, material.anchors)) break;
    if (!try_path(ctx, material)) return std::nullopt;
  }
  return rejection;
}

/// Looks for a path from `leaf` to one of `roots`; see try_path.
std::optional<Rejection> verify_path(X509_STORE_CTX* ctx, const TrustStore& roots, X509* leaf,
                                     const STACK_OF(CRYPTO_BUFFER) * chain, const char* purpose) {
  const UnixTime now = UnixTime::of(std::chrono::system_clock::now());
  const auto valid_roots = roots.valid_at(now);
  // They must live as long as the verification, but not as long as its result, which holds
  // references.
  const auto all = parse_intermediates(chain);
  const auto valid = all ? valid_at(now, all.get()) : nullptr;
  if (ctx == nullptr || !valid) return cannot_check();
  const bool some_are_left_out =
      valid_roots.get() != roots.all() || sk_X509_num(valid.get()) != sk_X509_num(all.get());
  auto rejection = find_path(ctx, {leaf, valid_roots.get(), valid.get(), purpose}, roots, now);
  if (!rejection || !some_are_left_out) return rejection;
  return find_path(ctx, {leaf, roots.all(), all.get(), purpose}, roots, std::nullopt);
}

/// Returns the pin of a certificate's key, or nothing if the key cannot be encoded.
std::optional<Pin> pin_of(X509* certificate) {
  std::uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  const bssl::UniquePtr<std::uint8_t> owner(der);
  if (size <= 0) return std::nullopt;
  Pin out;
  SHA256(der, static_cast<std::size_t>(size), out.bytes.data());
  return out;
}

bool is_pinned(X509* certificate, std::span<const Pin> pins) {
  const auto pin = pin_of(certificate);
  return pin && std::find(pins.begin(), pins.end(), *pin) != pins.end();
}

/// True if a certificate of the path has one of the pins. If pins are configured, one must match.
bool has_pin(const STACK_OF(X509) * path, std::span<const Pin> pins) {
  for (std::size_t i = 0; i < sk_X509_num(path); ++i) {
    if (is_pinned(sk_X509_value(path, i), pins)) return true;
  }
  return false;
}

Rejection pin_mismatch(X509* leaf, const PresentedNames& names, std::span<const Pin> pins) {
  const auto got = pin_of(leaf);
  std::string told = "pin mismatch: wanted " + to_string(pins.front());
  if (pins.size() > 1) told += " or " + std::to_string(pins.size() - 1) + " more";
  told += ", got " + (got ? to_string(*got) : "none");
  return reject(std::move(told), SSL_AD_BAD_CERTIFICATE, evidence(leaf, names, "pin mismatch"));
}

/// Returns the time from now until the certificate ends.
std::chrono::seconds valid_for(const X509* certificate) {
  int days = 0;
  int seconds = 0;
  if (ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate)) != 1) return {};
  return std::chrono::hours{24} * days + std::chrono::seconds{seconds};
}

std::chrono::seconds shortest(const STACK_OF(X509) * path) {
  auto out = std::chrono::seconds::max();
  for (std::size_t i = 0; i < sk_X509_num(path); ++i) {
    out = std::min(out, valid_for(sk_X509_value(path, i)));
  }
  return out;
}

std::optional<UnixTime> readable_time(const ASN1_TIME* time) {
  if (ASN1_TIME_check(time) != 1) return std::nullopt;
  return time_of(time);
}

std::string key_text(X509* certificate) {
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
  ERR_clear_error();
  if (!key) return "unknown";
  const std::string bits = std::to_string(EVP_PKEY_bits(key.get()));
  switch (EVP_PKEY_id(key.get())) {
    case EVP_PKEY_RSA:
      return "RSA " + bits;
    case EVP_PKEY_EC:
      return "ECDSA " + bits;
    case EVP_PKEY_ED25519:
      return "Ed25519";
    default:
      return "unknown";
  }
}

}  // namespace

PresentedNames presented_names(const X509* certificate) {
  PresentedNames out;
  const bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();  // an extension that does not parse has no names
  if (!names) return out;
  for (std::size_t i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      out.dns.emplace_back(view(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      const std::string_view bytes = view(name->d.iPAddress);
      if (bytes.size() == 4 || bytes.size() == 16) out.ip.emplace_back(bytes);
    }
  }
  return out;
}

std::string subject_text(const X509* certificate) {
  return name_text(X509_get_subject_name(certificate));
}

std::string issuer_text(const X509* certificate) {
  return name_text(X509_get_issuer_name(certificate));
}

std::string leaf_subject(const STACK_OF(CRYPTO_BUFFER) * chain) {
  const auto leaf = parse_leaf(chain);
  ERR_clear_error();
  return leaf ? subject_text(leaf.get()) : std::string();
}

std::string leaf_subject_utf8(const STACK_OF(CRYPTO_BUFFER) * chain) {
  constexpr std::size_t kMaxSubject = 256;
  const auto leaf = parse_leaf(chain);
  ERR_clear_error();
  return leaf ? name_utf8(X509_get_subject_name(leaf.get())).substr(0, kMaxSubject) : std::string();
}

UnixTime time_of(const ASN1_TIME* time) {
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0;
  int seconds = 0;
  if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) {
    ERR_clear_error();
    return {};
  }
  return {std::chrono::seconds{std::chrono::hours{24}} * days + std::chrono::seconds{seconds}};
}

std::optional<UnixTime> leaf_end(const STACK_OF(CRYPTO_BUFFER) * chain) {
  const auto leaf = parse_leaf(chain);
  auto end = leaf ? readable_time(X509_get0_notAfter(leaf.get())) : std::nullopt;
  ERR_clear_error();
  return end;
}

std::string leaf_common_name(const STACK_OF(CRYPTO_BUFFER) * chain) {
  const auto leaf = parse_leaf(chain);
  std::string out;
  if (leaf) {
    X509_NAME* const subject = X509_get_subject_name(leaf.get());
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    // If there are two, another program may take the other one for the client's name.
    if (at >= 0 && X509_NAME_get_index_by_NID(subject, NID_commonName, at) < 0) {
      std::uint8_t* text = nullptr;
      const int size =
          ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
      const bssl::UniquePtr<std::uint8_t> owner(text);
      if (size > 0) out.assign(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
    }
  }
  ERR_clear_error();
  return out;
}

std::vector<CertificateInfo> describe_chain(const STACK_OF(CRYPTO_BUFFER) * chain) {
  std::vector<CertificateInfo> out;
  const std::size_t size = chain == nullptr ? 0 : sk_CRYPTO_BUFFER_num(chain);
  for (std::size_t i = 0; i < size; ++i) {
    const bssl::UniquePtr<X509> parsed(X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i)));
    if (!parsed) continue;
    X509* certificate = parsed.get();
    const auto pin = pin_of(certificate);
    out.push_back({.subject = name_text(X509_get_subject_name(certificate)),
                   .issuer = name_text(X509_get_issuer_name(certificate)),
                   .names = presented_names(certificate),
                   .not_before = readable_time(X509_get0_notBefore(certificate)),
                   .not_after = readable_time(X509_get0_notAfter(certificate)),
                   .key = key_text(certificate),
                   .pin = pin ? to_string(*pin) : ""});
  }
  ERR_clear_error();
  return out;
}

Verified verify_server(const TrustStore& roots, const STACK_OF(CRYPTO_BUFFER) * chain,
                       const ServerRule& rule) {
  const auto leaf = parse_leaf(chain);
  if (!leaf) return unreadable();
  const PresentedNames names = presented_names(leaf.get());
  const bssl::UniquePtr<X509_STORE_CTX> ctx(X509_STORE_CTX_new());
  if (auto rejection = verify_path(ctx.get(), roots, leaf.get(), chain, "ssl_server")) {
    return tl::unexpected(std::move(*rejection));
  }
  const STACK_OF(X509)* path = X509_STORE_CTX_get0_chain(ctx.get());
  if (!names_match(names, rule.reference)) {
    return tl::unexpected(
        reject("name mismatch: wanted " + ascii::printable(rule.reference, kMaxReference) +
                   ", got " + describe(names),
               SSL_AD_BAD_CERTIFICATE, evidence(leaf.get(), names, "name mismatch")));
  }
  if (!rule.pins.empty() && !has_pin(path, rule.pins)) {
    return tl::unexpected(pin_mismatch(leaf.get(), names, rule.pins));
  }
  return shortest(path);
}

std::optional<Rejection> verify_pin(const STACK_OF(CRYPTO_BUFFER) * chain,
                                    std::span<const Pin> pins) {
  const auto leaf = parse_leaf(chain);
  if (!leaf) return unreadable().value();
  if (is_pinned(leaf.get(), pins)) return std::nullopt;
  return pin_mismatch(leaf.get(), presented_names(leaf.get()), pins);
}

Verified verify_client(const TrustStore& roots, const STACK_OF(CRYPTO_BUFFER) * chain) {
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) {
    return tl::unexpected(
        reject("a client certificate is required", SSL_AD_CERTIFICATE_REQUIRED, {}));
  }
  const auto leaf = parse_leaf(chain);
  if (!leaf) return unreadable();
  const bssl::UniquePtr<X509_STORE_CTX> ctx(X509_STORE_CTX_new());
  if (auto rejection = verify_path(ctx.get(), roots, leaf.get(), chain, "ssl_client")) {
    rejection->error.reason.insert(0, "client certificate refused: ");
    return tl::unexpected(std::move(*rejection));
  }
  return shortest(X509_STORE_CTX_get0_chain(ctx.get()));
}

}  // namespace starttls::tls

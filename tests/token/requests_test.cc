#include "token/requests.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <nlohmann/json.hpp>

#include "lib/base/base64.h"
#include "tests/support/catch.h"
#include "tests/token/support.h"
#include "token/crypto.h"

namespace starttls::token {
namespace {

/// A key and a certificate that it has signed for itself.
struct Identity {
  std::string key;
  std::string certificate;
};

template <class Object, class Export>
std::string pem(Object object, Export exporter) {
  gnutls_datum_t text{nullptr, 0};
  REQUIRE(exporter(object, GNUTLS_X509_FMT_PEM, &text) >= 0);
  std::string out(reinterpret_cast<const char*>(text.data), text.size);
  gnutls_free(text.data);
  return out;
}

Identity make_identity(gnutls_pk_algorithm_t algorithm, unsigned bits) {
  gnutls_x509_privkey_t key = nullptr;
  gnutls_x509_crt_t certificate = nullptr;
  REQUIRE(gnutls_x509_privkey_init(&key) >= 0);
  REQUIRE(gnutls_x509_privkey_generate(key, algorithm, bits, 0) >= 0);
  REQUIRE(gnutls_x509_crt_init(&certificate) >= 0);
  REQUIRE(gnutls_x509_crt_set_version(certificate, 3) >= 0);
  REQUIRE(gnutls_x509_crt_set_serial(certificate, "\x01", 1) >= 0);
  REQUIRE(gnutls_x509_crt_set_activation_time(certificate, 1) >= 0);
  REQUIRE(gnutls_x509_crt_set_expiration_time(certificate, 4'000'000'000) >= 0);
  REQUIRE(gnutls_x509_crt_set_key(certificate, key) >= 0);
  REQUIRE(gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0) >= 0);
  Identity identity{.key = pem(key, gnutls_x509_privkey_export2),
                    .certificate = pem(certificate, gnutls_x509_crt_export2)};
  gnutls_x509_crt_deinit(certificate);
  gnutls_x509_privkey_deinit(key);
  return identity;
}

const Identity& rsa() {
  static const Identity identity = make_identity(GNUTLS_PK_RSA, 2048);
  return identity;
}
const Identity& p256() {
  static const Identity identity =
      make_identity(GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
  return identity;
}

Client certificate_client(const Identity& identity, std::string algorithm = "") {
  auto client = public_client();
  client.flow = Flow::client_credentials;
  client.key = Secret{identity.key};
  client.certificate = identity.certificate;
  client.algorithm = std::move(algorithm);
  return client;
}

std::vector<std::uint8_t> decoded(std::string text) {
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  const auto bytes = base64::decode(text);
  REQUIRE(bytes);
  return *bytes;
}

struct Jwt {
  explicit Jwt(const std::string& text)
      : signed_part(text.substr(0, text.rfind('.'))),
        head(nlohmann::json::parse(decoded(text.substr(0, text.find('.'))))),
        claims(nlohmann::json::parse(decoded(signed_part.substr(text.find('.') + 1)))),
        signature(decoded(text.substr(text.rfind('.') + 1))) {}

  /// Verifies the signature with the certificate's key.
  [[nodiscard]] bool is_signed_by(const Identity& identity, gnutls_sign_algorithm_t algorithm) {
    gnutls_x509_crt_t certificate = nullptr;
    gnutls_pubkey_t key = nullptr;
    const gnutls_datum_t text{
        reinterpret_cast<unsigned char*>(const_cast<char*>(identity.certificate.data())),
        static_cast<unsigned>(identity.certificate.size())};
    REQUIRE(gnutls_x509_crt_init(&certificate) >= 0);
    REQUIRE(gnutls_x509_crt_import(certificate, &text, GNUTLS_X509_FMT_PEM) >= 0);
    REQUIRE(gnutls_pubkey_init(&key) >= 0);
    REQUIRE(gnutls_pubkey_import_x509(key, certificate, 0) >= 0);
    const gnutls_datum_t data{reinterpret_cast<unsigned char*>(signed_part.data()),
                              static_cast<unsigned>(signed_part.size())};
    gnutls_datum_t raw{signature.data(), static_cast<unsigned>(signature.size())};
    gnutls_datum_t der{nullptr, 0};
    if (algorithm == GNUTLS_SIGN_ECDSA_SHA256) {
      REQUIRE(signature.size() == 64);
      const gnutls_datum_t r{signature.data(), 32};
      const gnutls_datum_t s{signature.data() + 32, 32};
      REQUIRE(gnutls_encode_rs_value(&der, &r, &s) >= 0);
      raw = der;
    }
    const int code = gnutls_pubkey_verify_data2(key, algorithm, 0, &data, &raw);
    gnutls_free(der.data);
    gnutls_pubkey_deinit(key);
    gnutls_x509_crt_deinit(certificate);
    return code >= 0;
  }

  std::string signed_part;
  nlohmann::json head;
  nlohmann::json claims;
  std::vector<std::uint8_t> signature;
};

Jwt assertion_of(const Client& client) {
  const auto text = client_assertion(client, kNow, "the-id");
  REQUIRE(text);
  return Jwt{*text};
}

std::string value(const Outcome<Form>& form, std::string_view name) {
  REQUIRE(form);
  const auto fields = parse_query(form->encoded());
  REQUIRE(fields);
  return field(*fields, name).value_or("none");
}

TEST_CASE("assertion: its claims are those of RFC 7523") {
  const auto jwt = assertion_of(certificate_client(rsa()));
  const auto seconds = kNow.since_1970.count();
  CHECK(jwt.claims == nlohmann::json{{"aud", "https://login.example.com/token"},
                                     {"iss", "the client"},
                                     {"sub", "the client"},
                                     {"jti", "the-id"},
                                     {"iat", seconds},
                                     {"nbf", seconds - 60},
                                     {"exp", seconds + 600}});
  CHECK(jwt.head["typ"] == "JWT");
  CHECK(decoded(jwt.head["x5t#S256"]).size() == 32);
}

TEST_CASE("assertion: each algorithm's signature can be verified") {
  struct Row {
    const Identity& identity;
    const char* wanted;
    const char* used;
    gnutls_sign_algorithm_t algorithm;
  };
  for (const auto& [identity, wanted, used, algorithm] :
       {Row{rsa(), "", "PS256", GNUTLS_SIGN_RSA_PSS_RSAE_SHA256},
        Row{rsa(), "PS256", "PS256", GNUTLS_SIGN_RSA_PSS_RSAE_SHA256},
        Row{rsa(), "RS256", "RS256", GNUTLS_SIGN_RSA_SHA256},
        Row{p256(), "", "ES256", GNUTLS_SIGN_ECDSA_SHA256}}) {
    INFO(used);
    auto jwt = assertion_of(certificate_client(identity, wanted));
    CHECK(jwt.head["alg"] == used);
    CHECK(jwt.is_signed_by(identity, algorithm));
    jwt.signed_part += "x";
    CHECK_FALSE(jwt.is_signed_by(identity, algorithm));
  }
}

TEST_CASE("assertion: numbers of an ES256 signature keep their 32 bytes") {
  for (int i = 0; i < 600; ++i) {  // every 256th number begins with a zero
    const auto signature = sign(p256().key, Algorithm::es256, std::to_string(i));
    REQUIRE(signature);
    REQUIRE(signature->size() == 64);
  }
}

TEST_CASE("assertion: keys and certificates that do not fit are refused") {
  const auto refused = [](const Client& client) {
    const auto text = client_assertion(client, kNow, "id");
    REQUIRE_FALSE(text);
    CHECK(text.error().status == Exit::config);
    return text.error().reason;
  };
  CHECK(refused(certificate_client(rsa(), "ES256")) == "algorithm ES256 does not fit the key");
  CHECK(refused(certificate_client(p256(), "PS256")) == "algorithm PS256 does not fit the key");
  CHECK(refused(certificate_client(rsa(), "none")) == "algorithm must be RS256, PS256 or ES256");
  CHECK(refused(certificate_client({rsa().key, p256().certificate})) ==
        "the certificate does not belong to the key");
  CHECK(refused(certificate_client({"x", rsa().certificate})).starts_with("the private key"));
  CHECK(refused(certificate_client({rsa().key, "x"})).starts_with("the certificate cannot"));
  CHECK(refused(certificate_client(
            make_identity(GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1)))) ==
        "the private key must be RSA, or of the curve P-256");
}

TEST_CASE("forms: a client identifies itself by its secret, or by an assertion") {
  auto client = public_client();
  CHECK(value(refresh_form(client, Secret{"r"}, kNow), "client_secret") == "none");
  client.client_secret = Secret{"hush"};
  const auto form = refresh_form(client, Secret{"rrr"}, kNow);
  CHECK(value(form, "client_id") == "the client");
  CHECK(value(form, "client_secret") == "hush");
  CHECK(form->leaks_into("hush"));
  CHECK(form->leaks_into("rrr"));

  const auto signed_form = client_credentials_form(certificate_client(p256()), kNow);
  CHECK(value(signed_form, "client_secret") == "none");
  CHECK(value(signed_form, "client_assertion_type") ==
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
  const auto assertion = value(signed_form, "client_assertion");
  CHECK(Jwt{assertion}.is_signed_by(p256(), GNUTLS_SIGN_ECDSA_SHA256));
  CHECK(signed_form->leaks_into(assertion));
}

TEST_CASE("forms: each grant has its parameters") {
  const auto client = public_client();
  const auto refresh = refresh_form(client, Secret{"r"}, kNow);
  CHECK(value(refresh, "grant_type") == "refresh_token");
  CHECK(value(refresh, "refresh_token") == "r");
  CHECK(value(refresh, "scope") == "none");

  CHECK(value(client_credentials_form(client, kNow), "grant_type") == "client_credentials");
  CHECK(value(client_credentials_form(client, kNow), "scope") == "mail offline_access");

  const CodeAttempt attempt{.state = "s", .verifier = Secret{"v"}, .redirect = "http://127.0.0.1/"};
  const auto code = code_form(client, attempt, Secret{"c"}, kNow);
  CHECK(value(code, "grant_type") == "authorization_code");
  CHECK(value(code, "code") == "c");
  CHECK(value(code, "code_verifier") == "v");
  CHECK(value(code, "redirect_uri") == "http://127.0.0.1/");

  CHECK(value(device_form(client, kNow), "scope") == "mail offline_access");
  CHECK(value(device_form(client, kNow), "client_id") == "the client");

  const auto poll = poll_form(client, Secret{"d"}, kNow);
  CHECK(value(poll, "grant_type") == "urn:ietf:params:oauth:grant-type:device_code");
  CHECK(value(poll, "device_code") == "d");
}

}  // namespace
}  // namespace starttls::token

#include "lib/tls/failure.h"

#include <cstdint>
#include <string>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/tls/boringssl.h"

namespace starttls::tls {
namespace {

/// The oldest entry of the error queue. It is the cause; later entries are its consequences.
struct Cause {
  int reason = 0;        ///< SSL_R_..., or 0 if the error is not from the TLS part of the library
  std::string words;     ///< the reason in lower case
  std::string evidence;  ///< as the library prints it
};

Cause take_cause() {
  const std::uint32_t code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return Cause{0, "no reason given", ""};
  Cause out;
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) out.reason = ERR_GET_REASON(code);
  if (const char* reason = ERR_reason_error_string(code)) {
    for (const char c : std::string_view(reason)) out.words += c == '_' ? ' ' : ascii::to_lower(c);
  }
  char text[160] = {};
  ERR_error_string_n(code, text, sizeof(text));
  out.evidence = text;
  return out;
}

/// Returns the alert that the peer sent, in words; empty if the cause is another.
std::string alert_words(const Cause& cause) {
  // The library adds the alert's number to this offset (ssl.h).
  if (cause.reason < SSL_AD_REASON_OFFSET || cause.reason > SSL_AD_REASON_OFFSET + 255) return {};
  const int alert = cause.reason - SSL_AD_REASON_OFFSET;
  return std::string(SSL_alert_desc_string_long(alert)) + " (alert " + std::to_string(alert) + ")";
}

std::string_view below(TlsVersion version) noexcept {
  switch (version) {
    case TlsVersion::tls1_0:
      return "SSL 3.0";
    case TlsVersion::tls1_1:
      return "TLS 1.0";
    case TlsVersion::tls1_2:
      return "TLS 1.1 or older";
    case TlsVersion::tls1_3:
      return "TLS 1.2 or older";
  }
  return "an old TLS";
}

}  // namespace

Error take_handshake_error(Role role, TlsVersion min_version) {
  const std::string peer = role == Role::client ? "the server" : "the client";
  Cause cause = take_cause();
  std::string words;
  if (role == Role::client && cause.reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION) {
    // We offer every version from our minimum up, so the server only has versions below it.
    cause.reason = SSL_R_UNSUPPORTED_PROTOCOL;
  }
  if (const std::string alert = alert_words(cause); !alert.empty()) {
    words = peer + " refused the handshake: " + alert;
  } else {
    switch (cause.reason) {  // an int of the library's: any of three hundred
      case SSL_R_UNSUPPORTED_PROTOCOL:
        words = peer + " only speaks " + std::string(below(min_version));
        break;
      case SSL_R_NO_SHARED_CIPHER:
      case SSL_R_WRONG_CIPHER_RETURNED:
      case SSL_R_UNKNOWN_CIPHER_RETURNED:
        words = "no shared cipher";
        break;
      case SSL_R_WRONG_VERSION_NUMBER:
      case SSL_R_HTTP_REQUEST:
      case SSL_R_HTTPS_PROXY_REQUEST:
        words = "not TLS: " + peer + " sent something else";
        break;
      default:
        words = "handshake failed: " + ascii::printable(cause.words, 100);
        break;
    }
  }
  return Error{Errc::handshake, std::move(words), std::move(cause.evidence)};
}

Error take_record_error() {
  Cause cause = take_cause();
  const std::string alert = alert_words(cause);
  std::string words = alert.empty() ? "TLS error: " + ascii::printable(cause.words, 100)
                                    : "TLS alert from the peer: " + alert;
  return Error{Errc::tls, std::move(words), std::move(cause.evidence)};
}

}  // namespace starttls::tls

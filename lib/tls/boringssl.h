#pragma once

// The only file that includes the TLS library's headers. The system's OpenSSL has the same file and
// symbol names and must not get in by a wrong include path. Differences between versions of
// BoringSSL are found by feature tests.

#include <openssl/base.h>
#ifndef OPENSSL_IS_BORINGSSL
#error "these are not BoringSSL's headers: set BORINGSSL_ROOT"
#endif

#include <openssl/aead.h>
#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/cipher.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hkdf.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

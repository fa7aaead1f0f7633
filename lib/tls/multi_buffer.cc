#include "lib/tls/multi_buffer.h"

#ifdef STARTTLS_HAS_IPSEC_MB

#include <array>
#include <cassert>

// Without its old names, which are macros such as SHA1.
#define NO_COMPAT_IMB_API_053
#include <intel-ipsec-mb.h>

#include "lib/tls/boringssl.h"

namespace starttls::tls::multi_buffer {
namespace {

static_assert(sizeof(gcm_key_data) <= sizeof(Key));
static_assert(alignof(gcm_key_data) <= alignof(Key));

/// Returns the table of functions for this CPU; null if there is none. It never changes, and the
/// functions that are used here keep no state in it.
const IMB_MGR* manager() noexcept {
  static const IMB_MGR* const made = []() -> const IMB_MGR* {
    IMB_MGR* const all = ::alloc_mb_mgr(0);
    if (all == nullptr) return nullptr;
    ::init_mb_mgr_auto(all, nullptr);
    if (::imb_get_errno(all) == 0) return all;
    ::free_mb_mgr(all);
    return nullptr;
  }();
  return made;
}

gcm_key_data* expanded(Key& key) noexcept {
  return reinterpret_cast<gcm_key_data*>(key.bytes);
}
const gcm_key_data* expanded(const Key& key) noexcept {
  return reinterpret_cast<const gcm_key_data*>(key.bytes);
}

/// The state of one record. Wiped, because it holds a part of the key stream.
struct Context {
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { OPENSSL_cleanse(&data, sizeof data); }

  gcm_context_data data;
};

}  // namespace

bool is_available() noexcept {
  constexpr std::uint64_t kWanted = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;
  return manager() != nullptr && (manager()->features & kWanted) == kWanted;
}

std::string version() {
  return std::string("libipsec-mb ") + ::imb_get_version_str();
}

void expand(std::span<const std::uint8_t> key, Key& out) noexcept {
  if (key.size() == IMB_KEY_256_BYTES) {
    IMB_AES256_GCM_PRE(manager(), key.data(), expanded(out));
  } else {
    assert(key.size() == IMB_KEY_128_BYTES);
    IMB_AES128_GCM_PRE(manager(), key.data(), expanded(out));
  }
}

void seal(const Record& record, std::span<const std::uint8_t> content, std::uint8_t last,
          std::uint8_t* out) noexcept {
  const IMB_MGR* const with = manager();
  const gcm_key_data* const key = expanded(record.key);
  Context context;
  std::uint8_t* const end = out + content.size();
  if (record.is_aes_256) {
    IMB_AES256_GCM_INIT(with, key, &context.data, record.nonce.data(), record.additional.data(),
                        record.additional.size());
    IMB_AES256_GCM_ENC_UPDATE(with, key, &context.data, out, content.data(), content.size());
    IMB_AES256_GCM_ENC_UPDATE(with, key, &context.data, end, &last, 1);
    IMB_AES256_GCM_ENC_FINALIZE(with, key, &context.data, end + 1, kTag);
  } else {
    IMB_AES128_GCM_INIT(with, key, &context.data, record.nonce.data(), record.additional.data(),
                        record.additional.size());
    IMB_AES128_GCM_ENC_UPDATE(with, key, &context.data, out, content.data(), content.size());
    IMB_AES128_GCM_ENC_UPDATE(with, key, &context.data, end, &last, 1);
    IMB_AES128_GCM_ENC_FINALIZE(with, key, &context.data, end + 1, kTag);
  }
}

bool open(const Record& record, std::span<const std::uint8_t> sealed, std::uint8_t* out) noexcept {
  if (sealed.size() < kTag) return false;
  const IMB_MGR* const with = manager();
  const gcm_key_data* const key = expanded(record.key);
  const std::size_t size = sealed.size() - kTag;
  std::array<std::uint8_t, kTag> tag;
  Context context;
  if (record.is_aes_256) {
    IMB_AES256_GCM_DEC(with, key, &context.data, out, sealed.data(), size, record.nonce.data(),
                       record.additional.data(), record.additional.size(), tag.data(), tag.size());
  } else {
    IMB_AES128_GCM_DEC(with, key, &context.data, out, sealed.data(), size, record.nonce.data(),
                       record.additional.data(), record.additional.size(), tag.data(), tag.size());
  }
  if (CRYPTO_memcmp(tag.data(), sealed.data() + size, kTag) == 0) return true;
  OPENSSL_cleanse(out, size);
  return false;
}

}  // namespace starttls::tls::multi_buffer

#else

#include <cassert>

namespace starttls::tls::multi_buffer {

bool is_available() noexcept {
  return false;
}

std::string version() {
  return {};
}

void expand(std::span<const std::uint8_t>, Key&) noexcept {
  assert(false);
}

void seal(const Record&, std::span<const std::uint8_t>, std::uint8_t, std::uint8_t*) noexcept {
  assert(false);
}

bool open(const Record&, std::span<const std::uint8_t>, std::uint8_t*) noexcept {
  assert(false);
  return false;
}

}  // namespace starttls::tls::multi_buffer

#endif

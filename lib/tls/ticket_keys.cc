#include "lib/tls/ticket_keys.h"

#include <algorithm>
#include <string_view>

#include "lib/base/ascii.h"
#include "lib/base/base64.h"
#include "lib/base/secret.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/pem.h"

namespace starttls::tls {
namespace {

constexpr std::size_t kMaxKeys = 16;  // each ticket's key is looked up among all of them

std::optional<TicketKey> random_key() {
  std::array<std::uint8_t, TicketKey::kSize> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return std::nullopt;
  TicketKey key{std::span<const std::uint8_t, TicketKey::kSize>(bytes)};
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return key;
}

Result<std::vector<TicketKey>> parse(std::string_view text, const std::string& path) {
  std::vector<TicketKey> keys;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    auto line = ascii::trim(text.substr(0, end));
    if (line.ends_with('\r')) line = ascii::trim(line.substr(0, line.size() - 1));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.starts_with('#')) continue;
    auto bytes = base64::decode(line).value_or(std::vector<std::uint8_t>{});
    const WipeAtEnd wiped(bytes);
    if (bytes.size() != TicketKey::kSize) {
      return fail(Errc::config,
                  path + ": line " + std::to_string(number) + " is not base64 of 48 bytes");
    }
    if (keys.size() == kMaxKeys) {
      return fail(Errc::config, path + ": holds more than " + std::to_string(kMaxKeys) + " keys");
    }
    keys.emplace_back(std::span<const std::uint8_t, TicketKey::kSize>(bytes));
  }
  if (keys.empty()) return fail(Errc::config, path + ": holds no ticket key");
  return keys;
}

}  // namespace

TicketKey::TicketKey(std::span<const std::uint8_t, kSize> bytes) noexcept {
  std::copy_n(bytes.begin(), name.size(), name.begin());
  std::copy_n(bytes.begin() + 16, aes.size(), aes.begin());
  std::copy_n(bytes.begin() + 32, hmac.size(), hmac.begin());
}

TicketKey::~TicketKey() {
  OPENSSL_cleanse(aes.data(), aes.size());
  OPENSSL_cleanse(hmac.data(), hmac.size());
}

std::shared_ptr<TicketKeys> TicketKeys::of_process() {
  static const auto keys = std::make_shared<TicketKeys>(Clock::now());
  return keys;
}

TicketKeys::TicketKeys(Clock::time_point now) : made_(now) {
  if (const auto key = random_key()) keys_.push_back(*key);
}

Result<std::shared_ptr<TicketKeys>> TicketKeys::read(const std::string& path) {
  auto text = read_secret(path);
  if (!text) return fail(text.error());
  const WipeAtEnd wiped(*text);
  auto keys = parse(*text, path);
  if (!keys) return fail(keys.error());
  return std::make_shared<TicketKeys>(std::move(*keys));
}

/// Makes a new random key if one is due. False if it cannot be made.
bool TicketKeys::rotate(Clock::time_point now) {
  if (!rotates()) return true;
  const auto age = now - made_;
  if (!keys_.empty() && age < kTicketLifetime) return true;
  const auto key = random_key();
  if (!key) return false;
  // An older key is dropped if no ticket of it can be alive any more.
  if (keys_.empty() || age >= 2 * kTicketLifetime) {
    keys_.assign(1, *key);
  } else {
    keys_.resize(1);
    keys_.insert(keys_.begin(), *key);
  }
  made_ = now;
  return true;
}

std::optional<TicketKey> TicketKeys::encrypting(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (!rotate(now)) return std::nullopt;
  return keys_.front();
}

std::optional<TicketKeys::Found> TicketKeys::find(std::span<const std::uint8_t, 16> name,
                                                  Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (!rotate(now)) return std::nullopt;
  const auto found = std::find_if(keys_.begin(), keys_.end(), [name](const TicketKey& key) {
    return std::equal(name.begin(), name.end(), key.name.begin());
  });
  if (found == keys_.end()) return std::nullopt;
  return Found{*found, found == keys_.begin()};
}

}  // namespace starttls::tls

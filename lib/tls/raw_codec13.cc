#include "lib/tls/raw_codec13.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/tls/expanded_key.h"

namespace starttls::tls {
namespace {

constexpr std::size_t kHeader = 5;
constexpr std::size_t kTag = 16;                               // of all three AEADs
constexpr std::size_t kMaxInner = kMaxRecordPlain + 1;         // content and its type (§5.4)
constexpr std::size_t kMaxCipherText = kMaxRecordPlain + 256;  // §5.2
/// Longest message after the handshake, without its header; the library has the same limit. A
/// ticket of 64 KiB is allowed (§4.6.1), but no server sends one.
constexpr std::size_t kMaxMessage = 16UL * 1024;

enum class ContentType : std::uint8_t {
  change_cipher_spec = 20,
  alert = 21,
  handshake = 22,
  application_data = 23,
};
enum class Message : std::uint8_t { new_session_ticket = 4, key_update = 24 };

/// RFC 8446 §6.
enum class Alert : std::uint8_t {
  close_notify = 0,
  unexpected_message = 10,
  bad_record_mac = 20,
  record_overflow = 22,
  illegal_parameter = 47,
  decode_error = 50,
  internal_error = 80,
  user_canceled = 90,
};

struct Suite {
  const EVP_AEAD* aead;
  const EVP_MD* digest;
};

/// Returns the ciphers of a cipher suite (RFC 8446 §B.4).
std::optional<Suite> suite_of(std::uint16_t id) noexcept {
  switch (id) {
    case 0x1301:
      return Suite{EVP_aead_aes_128_gcm(), EVP_sha256()};
    case 0x1302:
      return Suite{EVP_aead_aes_256_gcm(), EVP_sha384()};
    case 0x1303:
      return Suite{EVP_aead_chacha20_poly1305(), EVP_sha256()};
    default:  // a number on the wire
      return std::nullopt;
  }
}

std::uint8_t* as_uint8(std::byte* bytes) noexcept {
  return reinterpret_cast<std::uint8_t*>(bytes);
}
const std::uint8_t* as_uint8(const std::byte* bytes) noexcept {
  return reinterpret_cast<const std::uint8_t*>(bytes);
}

std::span<const std::uint8_t> as_uint8(std::span<const std::byte> bytes) noexcept {
  return {as_uint8(bytes.data()), bytes.size()};
}

/// One direction's keys. Records are opened and sealed while a `Burst` of them lives.
class Keys {
 public:
  Keys() = default;
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;
  ~Keys() {
    OPENSSL_cleanse(secret_.data(), secret_.size());
    OPENSSL_cleanse(key_.data(), key_.size());
  }

  /// Expands the key for as long as this lives, for about `bytes` bytes. They may be nested.
  class Burst {
   public:
    Burst(Keys& keys, std::size_t bytes) noexcept : keys_(keys), outer_(keys.expanded_) {
      if (outer_ != nullptr) return;
      keys.burst_cipher_ = bytes >= keys.cipher_from_ ? keys.cipher_ : RecordCipher::library;
      if (keys.expand_into(expanded_)) keys.expanded_ = &expanded_;
    }
    Burst(const Burst&) = delete;
    Burst& operator=(const Burst&) = delete;
    ~Burst() { keys_.expanded_ = outer_; }

   private:
    Keys& keys_;
    ExpandedKey* outer_;
    ExpandedKey expanded_;
  };

  [[nodiscard]] bool init(const Suite& suite, const RawCodec13Options& options,
                          const TrafficKeys& keys) {
    const auto secret = keys.secret;
    if (secret.size() != EVP_MD_size(suite.digest) || secret.size() > secret_.size()) return false;
    suite_ = suite;
    cipher_ = options.cipher;
    cipher_from_ = options.cipher_from;
    std::copy(secret.begin(), secret.end(), secret_.begin());
    secret_size_ = secret.size();
    if (!derive()) return false;
    sequence_ = keys.sequence;
    return true;
  }

  /// Switches to the next generation of keys (§7.2).
  [[nodiscard]] bool update() {
    std::array<std::uint8_t, kMaxSecret> next{};
    const bool done = expand("traffic upd", {next.data(), secret_size_});
    if (done) std::copy_n(next.begin(), secret_size_, secret_.begin());
    OPENSSL_cleanse(next.data(), next.size());
    sequence_ = 0;
    return done && derive();
  }

  [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; }

  /// Opens `record`, header included, into `out`. False if it is not authentic.
  [[nodiscard]] bool open(std::span<const std::byte> record, std::span<std::byte> out,
                          std::size_t& size) {
    return expanded_ != nullptr && expanded_->open(next_nonce(), as_uint8(record.first(kHeader)),
                                                   as_uint8(record.subspan(kHeader)),
                                                   {as_uint8(out.data()), out.size()}, size);
  }

  /// Seals one record to `out`, which has room for it.
  [[nodiscard]] bool seal(ContentType type, std::span<const std::byte> content, std::byte* out) {
    const std::size_t size = content.size() + 1 + kTag;
    const std::uint8_t header[kHeader] = {static_cast<std::uint8_t>(ContentType::application_data),
                                          3, 3, static_cast<std::uint8_t>(size >> 8U),
                                          static_cast<std::uint8_t>(size & 0xffU)};
    std::memcpy(out, header, kHeader);
    return expanded_ != nullptr &&
           expanded_->seal(next_nonce(), header, as_uint8(content), static_cast<std::uint8_t>(type),
                           as_uint8(out + kHeader));
  }

 private:
  [[nodiscard]] bool derive() {
    key_size_ = EVP_AEAD_key_length(suite_.aead);
    return key_size_ <= key_.size() && expand("key", {key_.data(), key_size_}) &&
           expand("iv", iv_) && (expanded_ == nullptr || expand_into(*expanded_));
  }

  [[nodiscard]] bool expand_into(ExpandedKey& expanded) const noexcept {
    return expanded.init(burst_cipher_, suite_.aead, {key_.data(), key_size_});
  }

  /// Computes HKDF-Expand-Label with no context (§7.1).
  [[nodiscard]] bool expand(std::string_view label, std::span<std::uint8_t> out) const {
    constexpr std::string_view kPrefix = "tls13 ";
    std::string info;
    info += static_cast<char>(out.size() >> 8U);
    info += static_cast<char>(out.size() & 0xffU);
    info += static_cast<char>(kPrefix.size() + label.size());
    info += kPrefix;
    info += label;
    info += '\0';
    return HKDF_expand(out.data(), out.size(), suite_.digest, secret_.data(), secret_size_,
                       reinterpret_cast<const std::uint8_t*>(info.data()), info.size()) == 1;
  }

  /// Returns the nonce of the next record (§5.3).
  ExpandedKey::Nonce next_nonce() noexcept {
    auto nonce = iv_;
    for (std::size_t i = 0; i < 8; ++i) {
      nonce[nonce.size() - 1 - i] ^= static_cast<std::uint8_t>(sequence_ >> (8 * i) & 0xffU);
    }
    ++sequence_;  // a KeyUpdate comes long before it overflows
    return nonce;
  }

  static constexpr std::size_t kMaxSecret = 48;  // of SHA-384
  static constexpr std::size_t kMaxKey = 32;

  Suite suite_{};
  std::uint64_t sequence_ = 0;
  ExpandedKey* expanded_ = nullptr;  // a burst's; null: no burst lives
  std::size_t secret_size_ = 0;
  std::size_t key_size_ = 0;
  std::array<std::uint8_t, kMaxSecret> secret_{};
  std::array<std::uint8_t, kMaxKey> key_{};
  ExpandedKey::Nonce iv_{};
  std::size_t cipher_from_ = 0;
  RecordCipher cipher_ = RecordCipher::library;
  RecordCipher burst_cipher_ = RecordCipher::library;
};

class RawCodec13 final : public RecordCodec {
 public:
  explicit RawCodec13(RawCodec13Options options) : options_(std::move(options)) {}

  [[nodiscard]] bool init(std::uint16_t suite_id, const TrafficKeys& read,
                          const TrafficKeys& write) {
    const auto suite = suite_of(suite_id);
    return suite && read_.init(*suite, options_, read) && write_.init(*suite, options_, write);
  }

  Result<> open(std::span<const std::byte> wire, std::span<std::byte> plain, WireOut& out,
                OpenedRecords& opened) override;
  Result<> seal(std::span<const std::byte> plain, WireOut& out) override;
  void close(WireOut& out) noexcept override;

 private:
  using Inner = std::span<std::byte>;
  /// The state of the peer's direction.
  enum class Reading : std::uint8_t { open, closed, failed };

  [[nodiscard]] std::span<const std::byte> next_record(std::span<const std::byte>& wire);
  [[nodiscard]] Result<> open_record(std::span<const std::byte> record, std::span<std::byte> plain,
                                     WireOut& out, OpenedRecords& opened);
  [[nodiscard]] Result<> on_alert(Inner content, WireOut& out);
  [[nodiscard]] Result<> on_handshake(Inner content, WireOut& out);
  [[nodiscard]] Result<> on_message(std::span<const std::byte> message, WireOut& out);
  [[nodiscard]] Result<> on_key_update(std::span<const std::byte> body, WireOut& out);
  [[nodiscard]] Result<> read_records(std::span<const std::byte>& wire, std::span<std::byte> plain,
                                      WireOut& out, OpenedRecords& opened);
  [[nodiscard]] Result<> count_idle_record(std::string_view kind, WireOut& out);
  [[nodiscard]] bool write_record(ContentType type, std::span<const std::byte> content,
                                  WireOut& out);
  [[nodiscard]] bool update_write_keys(WireOut& out);
  [[nodiscard]] tl::unexpected<Error> refuse(Alert alert, std::string_view why, WireOut& out);

  RawCodec13Options options_;
  Keys read_;
  Keys write_;
  BufferPool::Block partial_;  // a record that a read has cut, or null
  std::size_t partial_size_ = 0;
  std::vector<std::byte> message_;  // a message that a record has cut
  unsigned idle_records_ = 0;
  bool answers_key_update_ = false;  // the peer wants new keys from us, too
  Reading reading_ = Reading::open;
  bool write_ended_ = false;
};

static_assert(BufferPool::kBlockSize >= kHeader + kMaxCipherText);

/// Returns the size that a header claims for the record's body.
std::size_t body_size(std::span<const std::byte> header) noexcept {
  return std::to_integer<std::size_t>(header[3]) << 8U | std::to_integer<std::size_t>(header[4]);
}

/// True if the header is one of a protected record. No other record is sent after the handshake
/// (§5.2), and the version in it never changes.
bool is_protected(std::span<const std::byte> header) noexcept {
  return header[0] == std::byte{static_cast<std::uint8_t>(ContentType::application_data)} &&
         header[1] == std::byte{3} && header[2] == std::byte{3};
}

/// Returns the bytes of the record that begins with `header`, or nothing while the header is
/// incomplete. A record that can only be refused counts as its header alone: its body is not waited
/// for.
std::optional<std::size_t> record_size(std::span<const std::byte> header) noexcept {
  if (header.size() < kHeader) return std::nullopt;
  const std::size_t body = body_size(header);
  return !is_protected(header) || body > kMaxCipherText ? kHeader : kHeader + body;
}

/// Cuts the next whole record off `wire`. If the record is incomplete, keeps what there is of it
/// and returns an empty span.
std::span<const std::byte> RawCodec13::next_record(std::span<const std::byte>& wire) {
  const auto keep = [this, &wire](std::size_t upto) {
    const std::size_t count = std::min(wire.size(), upto - partial_size_);
    std::copy_n(wire.begin(), count, partial_.get() + partial_size_);  // may be none, of null
    partial_size_ += count;
    wire = wire.subspan(count);
  };

  if (partial_size_ == 0) {
    const auto size = record_size(wire);
    if (size && wire.size() >= *size) {
      const auto record = wire.first(*size);
      wire = wire.subspan(*size);
      return record;
    }
    if (wire.empty()) return {};
    partial_ = options_.pool.take();
  }
  if (partial_size_ < kHeader) keep(kHeader);
  const auto size = record_size({partial_.get(), partial_size_});
  if (!size) return {};
  keep(*size);
  if (partial_size_ < *size) return {};
  return {partial_.get(), *size};
}

Result<> RawCodec13::open(std::span<const std::byte> wire, std::span<std::byte> plain, WireOut& out,
                          OpenedRecords& opened) {
  assert(plain.size() >= kMinPlainRoom);
  opened = {};
  if (reading_ == Reading::failed) return fail(Errc::tls, "TLS error: the connection has failed");
  const std::size_t all = wire.size();
  auto result = read_records(wire, plain, out, opened);
  if (!result) reading_ = Reading::failed;
  opened.consumed = all - wire.size();
  opened.close_notify = reading_ == Reading::closed;
  return result;
}

/// Reads records, and cuts them off `wire`.
Result<> RawCodec13::read_records(std::span<const std::byte>& wire, std::span<std::byte> plain,
                                  WireOut& out, OpenedRecords& opened) {
  const Keys::Burst burst{read_, wire.size()};
  // Begin a record only if there is room for all of it.
  while (reading_ == Reading::open && plain.size() - opened.produced >= kMinPlainRoom) {
    const auto record = next_record(wire);
    if (record.empty()) break;
    auto done = open_record(record, plain.subspan(opened.produced), out, opened);
    if (record.data() == partial_.get()) {
      partial_.reset();
      partial_size_ = 0;
    }
    if (!done) return done;
  }
  return {};
}

Result<> RawCodec13::open_record(std::span<const std::byte> record, std::span<std::byte> plain,
                                 WireOut& out, OpenedRecords& opened) {
  if (!is_protected(record)) {
    return refuse(Alert::unexpected_message, "unexpected record", out);
  }
  if (body_size(record) > kMaxCipherText) {
    return refuse(Alert::record_overflow, "encrypted length too long", out);
  }
  std::size_t size = 0;
  if (!read_.open(record, plain.first(std::min(plain.size(), kMaxCipherText)), size)) {
    return refuse(Alert::bad_record_mac, "decryption failed or bad record mac", out);
  }
  if (size > kMaxInner) return refuse(Alert::record_overflow, "data length too long", out);
  // Padding follows the type (§5.4).
  while (size > 0 && plain[size - 1] == std::byte{0}) --size;
  if (size == 0) return refuse(Alert::unexpected_message, "record without a content type", out);
  const auto inner = static_cast<ContentType>(plain[--size]);
  const Inner content = plain.first(size);
  if (!message_.empty() && inner != ContentType::handshake) {
    return refuse(Alert::unexpected_message, "a message was cut short", out);
  }
  switch (inner) {
    case ContentType::application_data:
      if (size == 0) return count_idle_record("empty fragments", out);
      idle_records_ = 0;
      opened.produced += size;
      return {};
    case ContentType::alert:
      return on_alert(content, out);
    case ContentType::handshake:
      if (auto counted = count_idle_record("key updates or tickets", out); !counted) {
        return counted;
      }
      return on_handshake(content, out);
    case ContentType::change_cipher_spec:
      break;
  }
  return refuse(Alert::unexpected_message, "unexpected record", out);
}

Result<> RawCodec13::on_alert(Inner content, WireOut& out) {
  if (content.empty()) return refuse(Alert::unexpected_message, "empty alert", out);  // §5.4
  if (content.size() != 2) return refuse(Alert::decode_error, "bad alert", out);
  // The level means nothing any more (§6), but there are only two.
  if (content[0] != std::byte{1} && content[0] != std::byte{2}) {
    return refuse(Alert::illegal_parameter, "bad alert", out);
  }
  const auto code = std::to_integer<std::uint8_t>(content[1]);
  if (code == static_cast<std::uint8_t>(Alert::close_notify)) {
    reading_ = Reading::closed;
    return {};
  }
  // A user_canceled adds nothing to the close_notify that follows it (§6.1).
  if (code == static_cast<std::uint8_t>(Alert::user_canceled)) {
    return count_idle_record("warning alerts", out);
  }
  write_ended_ = true;  // §6.2: all other alerts end the connection at once
  return fail(Errc::tls,
              "TLS alert from the peer: " + std::string(SSL_alert_desc_string_long(code)) +
                  " (alert " + std::to_string(code) + ")");
}

/// Reads handshake messages. Records may cut a message, and one record may hold several (§5.1).
Result<> RawCodec13::on_handshake(Inner content, WireOut& out) {
  constexpr std::size_t kMessageHeader = 4;
  if (content.empty()) return refuse(Alert::unexpected_message, "empty handshake record", out);
  message_.insert(message_.end(), content.begin(), content.end());
  std::span<const std::byte> rest{message_};
  while (rest.size() >= kMessageHeader) {
    const std::size_t body = std::to_integer<std::size_t>(rest[1]) << 16U |
                             std::to_integer<std::size_t>(rest[2]) << 8U |
                             std::to_integer<std::size_t>(rest[3]);
    if (body > kMaxMessage) {
      return refuse(Alert::illegal_parameter, "excessive message size", out);
    }
    const std::size_t size = kMessageHeader + body;
    if (rest.size() < size) break;
    const auto message = rest.first(size);
    rest = rest.subspan(size);
    const bool last = rest.empty();
    if (message[0] == std::byte{static_cast<std::uint8_t>(Message::key_update)} && !last) {
      // The next message would be under the old key (§5.1).
      return refuse(Alert::unexpected_message, "key update not at the end of a record", out);
    }
    if (auto done = on_message(message, out); !done) return done;
  }
  message_.erase(message_.begin(), message_.end() - static_cast<std::ptrdiff_t>(rest.size()));
  if (message_.empty()) message_.shrink_to_fit();
  return {};
}

Result<> RawCodec13::on_message(std::span<const std::byte> message, WireOut& out) {
  switch (static_cast<Message>(message[0])) {
    case Message::new_session_ticket:
      if (!options_.on_ticket) break;
      if (!options_.on_ticket(message)) return refuse(Alert::decode_error, "bad ticket", out);
      return {};
    case Message::key_update:
      return on_key_update(message.subspan(4), out);
  }
  return refuse(Alert::unexpected_message, "unexpected message", out);
}

/// Changes the read keys (§4.6.3).
Result<> RawCodec13::on_key_update(std::span<const std::byte> body, WireOut& out) {
  if (body.size() != 1) return refuse(Alert::decode_error, "bad key update", out);
  if (body[0] > std::byte{1}) return refuse(Alert::illegal_parameter, "bad key update", out);
  if (!read_.update()) return refuse(Alert::internal_error, "cannot make new keys", out);
  // The answer is sent before our next data, one answer for all requests until then. A peer that
  // asks and does not read must not make us queue answers.
  answers_key_update_ |= body[0] == std::byte{1};
  return {};
}

/// Counts a record without payload, and refuses too many in a row. All kinds count together; `kind`
/// is the kind of the last one.
Result<> RawCodec13::count_idle_record(std::string_view kind, WireOut& out) {
  if (++idle_records_ <= kMaxIdleRecords) return {};
  return refuse(Alert::unexpected_message, "too many " + std::string(kind), out);
}

Result<> RawCodec13::seal(std::span<const std::byte> plain, WireOut& out) {
  if (write_ended_) return fail(Errc::tls, "TLS error: protocol is shutdown");
  const Keys::Burst burst{write_, plain.size()};
  while (!plain.empty()) {
    const bool due = answers_key_update_ || write_.sequence() >= options_.max_records;
    if (due && !update_write_keys(out)) {
      return fail(Errc::tls, "TLS error: no room for the output");
    }
    const auto piece = plain.first(std::min(plain.size(), kMaxRecordPlain));
    if (!write_record(ContentType::application_data, piece, out)) {
      return fail(Errc::tls, "TLS error: no room for the output");
    }
    plain = plain.subspan(piece.size());
  }
  return {};
}

void RawCodec13::close(WireOut& out) noexcept {
  if (std::exchange(write_ended_, true)) return;
  const std::byte alert[] = {std::byte{1}, std::byte{0}};  // warning, close_notify
  // If there is no room for it, the connection ends without it, and the peer sees a cut.
  static_cast<void>(write_record(ContentType::alert, alert, out));
}

bool RawCodec13::write_record(ContentType type, std::span<const std::byte> content, WireOut& out) {
  const std::size_t size = kHeader + content.size() + 1 + kTag;
  if (out.free().size() < size) return false;
  const Keys::Burst burst{write_, content.size()};
  if (!write_.seal(type, content, out.free().data())) {
    ERR_clear_error();
    return false;
  }
  out.used += size;
  return true;
}

/// Sends a KeyUpdate under the old keys, then uses the new ones. Does not ask the peer for new
/// keys.
bool RawCodec13::update_write_keys(WireOut& out) {
  const std::byte message[] = {std::byte{static_cast<std::uint8_t>(Message::key_update)},
                               std::byte{0}, std::byte{0}, std::byte{1}, std::byte{0}};
  if (!write_record(ContentType::handshake, message, out)) return false;
  answers_key_update_ = false;
  if (write_.update()) return true;
  write_ended_ = true;  // the old keys are over, and there are no others
  return false;
}

/// Sends the alert, if we may still write, and returns the error. Both directions end.
tl::unexpected<Error> RawCodec13::refuse(Alert alert, std::string_view why, WireOut& out) {
  ERR_clear_error();
  if (!std::exchange(write_ended_, true)) {
    const std::byte fatal[] = {std::byte{2}, std::byte{static_cast<std::uint8_t>(alert)}};
    static_cast<void>(write_record(ContentType::alert, fatal, out));
  }
  return fail(Errc::tls, "TLS error: " + std::string(why));
}

}  // namespace

std::unique_ptr<RecordCodec> make_raw_codec13(const SSL& ssl, RawCodec13Options options) {
  if (SSL_version(&ssl) != TLS1_3_VERSION || SSL_in_init(&ssl) != 0 || SSL_has_pending(&ssl) != 0) {
    return nullptr;
  }
  const SSL_CIPHER* cipher = SSL_get_current_cipher(&ssl);
  bssl::Span<const std::uint8_t> read;
  bssl::Span<const std::uint8_t> write;
  if (cipher == nullptr || !bssl::SSL_get_traffic_secrets(&ssl, &read, &write)) {
    ERR_clear_error();
    return nullptr;
  }
  return make_raw_codec13(
      SSL_CIPHER_get_protocol_id(cipher), {{read.data(), read.size()}, SSL_get_read_sequence(&ssl)},
      {{write.data(), write.size()}, SSL_get_write_sequence(&ssl)}, std::move(options));
}

std::unique_ptr<RecordCodec> make_raw_codec13(std::uint16_t suite, const TrafficKeys& read,
                                              const TrafficKeys& write, RawCodec13Options options) {
  auto codec = std::make_unique<RawCodec13>(std::move(options));
  if (codec->init(suite, read, write)) return codec;
  ERR_clear_error();
  return nullptr;
}

}  // namespace starttls::tls

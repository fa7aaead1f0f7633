#include "lib/tls/ssl_codec.h"

#include <algorithm>
#include <climits>
#include <cstdint>

#include "lib/tls/failure.h"

namespace starttls::tls {
namespace {

tl::unexpected<Error> no_room() {
  return fail(Errc::tls, "TLS error: no room for the output");
}

class SslCodec final : public RecordCodec {
 public:
  SslCodec(SSL& ssl, WireIo& io) noexcept : ssl_(ssl), io_(io) {
    SSL_set_msg_callback(&ssl, on_message);
    SSL_set_msg_callback_arg(&ssl, this);
  }
  SslCodec(const SslCodec&) = delete;
  SslCodec& operator=(const SslCodec&) = delete;
  ~SslCodec() override { SSL_set_msg_callback(&ssl_, nullptr); }

  Result<> open(std::span<const std::byte> wire, std::span<std::byte> plain, WireOut& out,
                OpenedRecords& opened) override {
    opened = {};
    const WireIo::Loan loan(io_, wire, out);
    Result<> result = read_records(plain, opened);
    opened.consumed = wire.size() - io_.unread();
    return result;
  }

  Result<> seal(std::span<const std::byte> plain, WireOut& out) override {
    const WireIo::Loan loan(io_, {}, out);
    while (!plain.empty()) {
      const int size = static_cast<int>(std::min<std::size_t>(plain.size(), INT_MAX));
      ERR_clear_error();
      const int n = SSL_write(&ssl_, plain.data(), size);
      if (n <= 0) return failure();
      plain = plain.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  void close(WireOut& out) noexcept override {
    // A second SSL_shutdown would read, for the peer's close_notify.
    if ((SSL_get_shutdown(&ssl_) & SSL_SENT_SHUTDOWN) != 0) return;
    const WireIo::Loan loan(io_, {}, out);
    SSL_shutdown(&ssl_);
    ERR_clear_error();  // after a fatal alert no other alert may follow
  }

 private:
  /// Reads until `plain` is full or the input ends. One SSL_read brings at most one record, and
  /// several fit into `plain`.
  Result<> read_records(std::span<std::byte> plain, OpenedRecords& opened) {
    while (opened.produced < plain.size()) {
      const std::span<std::byte> room = plain.subspan(opened.produced);
      ERR_clear_error();
      const int n = SSL_read(&ssl_, room.data(),
                             static_cast<int>(std::min<std::size_t>(room.size(), INT_MAX)));
      if (key_updates_ > kMaxIdleRecords) {
        SSL_send_fatal_alert(&ssl_, SSL_AD_UNEXPECTED_MESSAGE);
        ERR_clear_error();
        return fail(Errc::tls, "TLS error: too many key updates");
      }
      if (n > 0) {
        key_updates_ = 0;
        opened.produced += static_cast<std::size_t>(n);
        continue;
      }
      switch (SSL_get_error(&ssl_, n)) {
        case SSL_ERROR_WANT_READ:
          return {};
        case SSL_ERROR_ZERO_RETURN:
          opened.close_notify = true;
          return {};
        default:  // an int of the library's
          return failure();
      }
    }
    return {};
  }

  /// Counts the peer's KeyUpdates between two pieces of data. AWS-LC sets no limit itself (5.5).
  static void on_message(int is_write, int /*version*/, int type, const void* message,
                         std::size_t size, SSL* /*ssl*/, void* arg) noexcept {
    if (is_write == 0 && type == SSL3_RT_HANDSHAKE && size > 0 &&
        *static_cast<const std::uint8_t*>(message) == SSL3_MT_KEY_UPDATE) {
      ++static_cast<SslCodec*>(arg)->key_updates_;
    }
  }

  /// Reports the library's error if there is one. An alert that did not fit must not hide the
  /// reason for it.
  tl::unexpected<Error> failure() {
    return io_.overflow() && ERR_peek_error() == 0 ? no_room() : fail(take_record_error());
  }

  SSL& ssl_;
  WireIo& io_;
  unsigned key_updates_ = 0;  // since the last data
};

}  // namespace

std::unique_ptr<RecordCodec> make_ssl_codec(SSL& ssl, WireIo& io) {
  return std::make_unique<SslCodec>(ssl, io);
}

}  // namespace starttls::tls

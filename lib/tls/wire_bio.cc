#include "lib/tls/wire_bio.h"

#include <algorithm>
#include <cstring>

namespace starttls::tls {

int WireIo::on_read(BIO* bio, char* data, int size) {
  auto& io = *static_cast<WireIo*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (io.in_.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t n = std::min(static_cast<std::size_t>(size), io.in_.size());
  std::memcpy(data, io.in_.data(), n);
  io.in_ = io.in_.subspan(n);
  return static_cast<int>(n);
}

/// Writes everything or nothing. Half a record in the output could never be completed, since the
/// next call may have another buffer.
int WireIo::on_write(BIO* bio, const char* data, int size) {
  auto& io = *static_cast<WireIo*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto n = static_cast<std::size_t>(size);
  if (io.out_ == nullptr || io.out_->free().size() < n) {
    io.overflow_ = true;
    return -1;
  }
  std::memcpy(io.out_->free().data(), data, n);
  io.out_->used += n;
  return size;
}

bssl::UniquePtr<BIO> WireIo::make_bio() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "starttls wire");
    if (made == nullptr) return made;
    BIO_meth_set_read(made, &on_read);
    BIO_meth_set_write(made, &on_write);
    BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) -> long {
      return command == BIO_CTRL_FLUSH ? 1 : 0;
    });
    return made;
  }();
  if (method == nullptr) return nullptr;
  bssl::UniquePtr<BIO> bio(BIO_new(method));
  if (bio) {
    BIO_set_data(bio.get(), this);
    BIO_set_init(bio.get(), 1);
  }
  return bio;
}

}  // namespace starttls::tls

#pragma once

// The library's way to read and write: straight from and to the caller's spans.

#include <cstddef>
#include <span>

#include "lib/tls/boringssl.h"
#include "lib/tls/record_codec.h"

namespace starttls::tls {

/// Holds the spans of the current call. Outside of calls both are empty, so a library that reads or
/// writes then does no harm.
class WireIo {
 public:
  WireIo() = default;
  WireIo(const WireIo&) = delete;
  WireIo& operator=(const WireIo&) = delete;

  /// Lends the caller's spans to the library for a scope.
  class Loan {
   public:
    Loan(WireIo& io, std::span<const std::byte> in, WireOut& out) noexcept : io_(io) {
      io_.in_ = in;
      io_.out_ = &out;
      io_.overflow_ = false;
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    ~Loan() {
      io_.in_ = {};
      io_.out_ = nullptr;
    }

   private:
    WireIo& io_;
  };

  [[nodiscard]] std::size_t unread() const noexcept { return in_.size(); }
  /// True if during this call something did not fit into the output: the caller's mistake.
  [[nodiscard]] bool overflow() const noexcept { return overflow_; }

  /// Makes a BIO over this object, which must outlive it. Null only when out of memory.
  [[nodiscard]] bssl::UniquePtr<BIO> make_bio();

 private:
  static int on_read(BIO* bio, char* data, int size);
  static int on_write(BIO* bio, const char* data, int size);

  std::span<const std::byte> in_;
  WireOut* out_ = nullptr;
  bool overflow_ = false;
};

}  // namespace starttls::tls

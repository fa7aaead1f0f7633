#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/metrics/metrics.h"

namespace starttls::session {

/// Counts the plaintext bytes of one session, for its line in the log and for its service.
class Traffic {
 public:
  explicit Traffic(metrics::Tally& tally) noexcept : tally_(tally) {}

  void passed(metrics::Direction direction, std::size_t bytes) noexcept {
    (direction == metrics::Direction::to_server ? to_server_ : to_client_) += bytes;
    tally_.bytes(direction, bytes);
  }
  [[nodiscard]] std::uint64_t to_server() const noexcept { return to_server_; }
  [[nodiscard]] std::uint64_t to_client() const noexcept { return to_client_; }
  [[nodiscard]] metrics::Tally& tally() const noexcept { return tally_; }

 private:
  metrics::Tally& tally_;
  std::uint64_t to_server_ = 0;
  std::uint64_t to_client_ = 0;
};

}  // namespace starttls::session

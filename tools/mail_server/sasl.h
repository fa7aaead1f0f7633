#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace starttls::bench {

/// The server's side of PLAIN (RFC 4616) and LOGIN, for anybody: what the client answers is counted
/// and not looked at.
class Sasl {
 public:
  /// Nothing where the mechanism is not known.
  [[nodiscard]] static std::optional<Sasl> begin(std::string_view mechanism,
                                                 bool has_initial_response) noexcept;

  [[nodiscard]] bool finished() const noexcept { return answered_ == wanted_; }
  /// What to ask next, in base64; only where not finished.
  [[nodiscard]] std::string_view challenge() const noexcept;
  void answer() noexcept { ++answered_; }

 private:
  Sasl(std::uint8_t wanted, std::uint8_t answered) noexcept
      : wanted_(wanted), answered_(answered) {}

  std::uint8_t wanted_;
  std::uint8_t answered_;
};

}  // namespace starttls::bench

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace starttls::bench {

/// The server's side of PLAIN (RFC 4616) and LOGIN. It accepts every client: it counts the client's
/// answers and does not look at them.
class Sasl {
 public:
  /// Returns nothing if the mechanism is not known.
  [[nodiscard]] static std::optional<Sasl> begin(std::string_view mechanism,
                                                 bool has_initial_response) noexcept;

  [[nodiscard]] bool finished() const noexcept { return answered_ == wanted_; }
  /// Returns the next question in base64. Call it only while the exchange is not finished.
  [[nodiscard]] std::string_view challenge() const noexcept;
  void answer() noexcept { ++answered_; }

 private:
  Sasl(std::uint8_t wanted, std::uint8_t answered) noexcept
      : wanted_(wanted), answered_(answered) {}

  std::uint8_t wanted_;
  std::uint8_t answered_;
};

}  // namespace starttls::bench

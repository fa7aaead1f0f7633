#pragma once

#include <chrono>
#include <string>

namespace starttls::token {

/// Shows on standard error that the program waits for a person. On a terminal one line changes each
/// second. Elsewhere there is one line a minute.
class Progress {
 public:
  /// `what` is what is waited for.
  explicit Progress(std::string what);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Ends the line.
  ~Progress();

  /// Call it about once a second.
  void show(std::chrono::seconds since_start, std::chrono::seconds left);

 private:
  std::string what_;
  bool terminal_;
  bool shown_ = false;
  std::chrono::seconds next_{};
};

/// Returns `text` in bold type for standard output, if that is a terminal and NO_COLOR is not set.
[[nodiscard]] std::string bold(const std::string& text);

/// Returns "14 min 48 s" or "48 s".
[[nodiscard]] std::string duration_text(std::chrono::seconds duration);

}  // namespace starttls::token

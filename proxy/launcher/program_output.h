#pragma once

// Collects the output of a program, and decides on its result. There is no system call here.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proxy/launcher/message.h"

namespace starttls::launcher {

/// The end of a program, as waitid(2) reports it.
struct ProgramEnd {
  enum class Kind : std::uint8_t { exited, killed, too_late };
  Kind kind = Kind::exited;
  int number = 0;  ///< the exit status, or the signal
};

/// True if a line may be a token, or have one in it. Such a line is never logged.
[[nodiscard]] bool looks_like_token(std::string_view line) noexcept;

/// The output of a program so far. It is wiped when it goes.
class ProgramOutput {
 public:
  ProgramOutput();
  ProgramOutput(const ProgramOutput&) = delete;
  ProgramOutput& operator=(const ProgramOutput&) = delete;
  ~ProgramOutput();

  /// Adds bytes of the standard output. Those after kMaxOutput are dropped.
  void add_output(std::string_view bytes);
  /// Adds bytes of standard error, of which the last line is kept.
  void add_error(std::string_view bytes);

  /// Returns the answer for a program that has ended: its output, or why there is none. The
  /// caller wipes the answer.
  [[nodiscard]] Answer answer(std::uint64_t id, ProgramEnd end) const;

 private:
  [[nodiscard]] bool is_first_line_empty() const;
  [[nodiscard]] std::string last_words() const;
  [[nodiscard]] bool has_secret(std::string_view line) const;

  std::string output_;  // never grows: that would leave a copy
  bool whole_ = true;
  std::string line_;       // of standard error: the present one, cut
  std::string last_line_;  // the last one before it that is not empty
};

}  // namespace starttls::launcher

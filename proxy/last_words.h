#pragma once

// How the process ends when something happens that nobody foresaw: memory is out, a bug throws.
// That no handler is there for it is meant: unwinding would join threads that still serve.

#include "lib/base/log.h"

namespace starttls {

/// From now on an exception that nobody catches, on any thread, is told in one line, and ends the
/// process with kExitSoftware, rather than by SIGABRT and without a word.
void end_with_last_words() noexcept;

/// While it lives the line goes to the log; before, or where the log cannot be had, to standard
/// error.
class LastWordsInLog {
 public:
  explicit LastWordsInLog(log::Logger& log) noexcept;
  LastWordsInLog(const LastWordsInLog&) = delete;
  LastWordsInLog& operator=(const LastWordsInLog&) = delete;
  ~LastWordsInLog();
};

}  // namespace starttls

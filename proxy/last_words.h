#pragma once

// Logs one line and exits when an exception escapes (out of memory, or a bug). There is no handler
// for it on purpose, since unwinding would join threads that still serve.

#include "lib/base/log.h"

namespace starttls {

/// Makes the process end with one line and kExitSoftware if an exception escapes, on any thread.
/// Otherwise it would end by SIGABRT, without a message.
void end_with_last_words() noexcept;

/// While this object lives, the line goes to the log. Without it, or if the log cannot be used, it
/// goes to standard error.
class LastWordsInLog {
 public:
  explicit LastWordsInLog(log::Logger& log) noexcept;
  LastWordsInLog(const LastWordsInLog&) = delete;
  LastWordsInLog& operator=(const LastWordsInLog&) = delete;
  ~LastWordsInLog();
};

}  // namespace starttls

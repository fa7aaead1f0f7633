#pragma once

#include <mutex>
#include <string>
#include <utility>

namespace starttls::session {

/// Our own name, in EHLO and in our own replies. The system's name may become known while sessions
/// run, so it can be replaced. Never empty. Thread-safe.
class OwnName {
 public:
  explicit OwnName(std::string text) : text_(std::move(text)) {}

  [[nodiscard]] std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }
  void set(std::string text) {
    const std::lock_guard lock(mutex_);
    text_ = std::move(text);
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

}  // namespace starttls::session

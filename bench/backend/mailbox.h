#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/base/error.h"

namespace starttls::bench {

/// One message on its way in. Destroyed without `commit`, it was never there.
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  virtual ~Message() = default;

  /// Errors are reported by `commit`.
  virtual void write(std::string_view content) = 0;
  /// The message is complete. Returns a few words on what became of it, for the reply. Errors:
  /// system.
  [[nodiscard]] virtual Result<std::string> commit() = 0;
};

/// Where messages go: files FOLDER/000001.eml and so on, octet by octet as they were sent, or
/// nowhere. Thread-safe. Writing blocks: this is no mail server.
class Mailbox {
 public:
  /// `folder` "" discards messages, and says of each whether it was the bench's pattern.
  explicit Mailbox(std::string folder) : folder_(std::move(folder)) {}

  [[nodiscard]] std::unique_ptr<Message> begin() const;

 private:
  std::string folder_;
};

}  // namespace starttls::bench

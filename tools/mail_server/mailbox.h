#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

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
/// nowhere. Scripts are kept there too, under their names. Thread-safe. Reading and writing block,
/// and what is read is read whole: this is no mail server.
class Mailbox {
 public:
  struct File {
    std::string name;
    std::uint64_t octets = 0;
  };

  /// `folder` "" discards messages, and says of each whether it was the bench's pattern.
  explicit Mailbox(std::string folder) : folder_(std::move(folder)) {}

  /// A message: it gets the first number that is free.
  [[nodiscard]] std::unique_ptr<Message> begin() const;
  /// A file of that name, in place of the one there was. Null where `is_name` refuses it.
  [[nodiscard]] std::unique_ptr<Message> replace(std::string_view name) const;

  /// All messages by their numbers.
  [[nodiscard]] std::vector<File> messages() const { return list(kMessageSuffix); }
  /// The number of one of these: it stays the same, so it serves as UID and article number.
  [[nodiscard]] static std::uint64_t number(const File& message) noexcept;
  /// Files whose names end so, sorted. A folder that cannot be read is empty.
  [[nodiscard]] std::vector<File> list(std::string_view suffix) const;
  /// Errors: system.
  [[nodiscard]] Result<std::string> read(std::string_view name) const;
  /// False where there was none.
  [[nodiscard]] bool remove(std::string_view name) const;

  /// A name that stays inside the folder and hides from nobody: no slash, no control character, no
  /// dot in front, 100 octets at most.
  [[nodiscard]] static bool is_name(std::string_view name) noexcept;

 private:
  static constexpr std::string_view kMessageSuffix = ".eml";

  std::string folder_;
};

}  // namespace starttls::bench

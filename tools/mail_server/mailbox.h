#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"

namespace starttls::bench {

/// One message that is being received. Without `commit`, nothing of it stays after its destruction.
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  virtual ~Message() = default;

  /// Adds content. `commit` reports errors.
  virtual void write(std::string_view content) = 0;
  /// Completes the message. Returns a few words for the reply: its file name, or the result of the
  /// comparison with the pattern. Errors: system.
  [[nodiscard]] virtual Result<std::string> commit() = 0;
};

/// A store of messages as files FOLDER/000001.eml and so on, byte for byte as they were sent. It
/// may also discard them. Scripts are kept there too, under their names. Thread-safe. Reading and
/// writing block, and a file is read as a whole: this is no mail server.
class Mailbox {
 public:
  struct File {
    std::string name;
    std::uint64_t bytes = 0;
  };

  /// Stores below `folder`. "" discards messages, and reports for each if it was the bench's
  /// pattern.
  explicit Mailbox(std::string folder) : folder_(std::move(folder)) {}

  /// Begins a message, which gets the first number that is free.
  [[nodiscard]] std::unique_ptr<Message> begin() const;
  /// Begins a file that replaces the one of that name, if any. Null if `is_name` refuses the name.
  [[nodiscard]] std::unique_ptr<Message> replace(std::string_view name) const;

  /// Returns all messages, sorted by number.
  [[nodiscard]] std::vector<File> messages() const { return list(kMessageSuffix); }
  /// Returns the number of a message. It never changes, so it serves as UID and article number.
  [[nodiscard]] static std::uint64_t number(const File& message) noexcept;
  /// Returns the files with this suffix, sorted. A folder that cannot be read counts as empty.
  [[nodiscard]] std::vector<File> list(std::string_view suffix) const;
  /// Reads a file. Errors: system.
  [[nodiscard]] Result<std::string> read(std::string_view name) const;
  /// Removes a file. False if there was none.
  [[nodiscard]] bool remove(std::string_view name) const;

  /// True for a name that stays inside the folder and is no hidden file. It has no slash, no
  /// control character, no dot in front, and 100 bytes at most.
  [[nodiscard]] static bool is_name(std::string_view name) noexcept;

 private:
  static constexpr std::string_view kMessageSuffix = ".eml";

  std::string folder_;
};

}  // namespace starttls::bench

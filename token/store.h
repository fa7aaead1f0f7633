#pragma once

// The folder of the tokens. It has mode 0700 and, for each account, up to three files of mode 0600:
//
//   NAME.json   the entry. It is only ever replaced as a whole, by rename.
//   NAME.new    the next entry, while a renewal is under way.
//   NAME.lock   locked by the process that renews
//
// A refresh token may be good for one use. So a renewal keeps this order:
//
//   1. lock; if NAME.new holds a whole entry, a crash has left it: it becomes NAME.json
//   2. make NAME.new and reserve its space, so that a full disk is noticed before the old
//      refresh token is spent
//   3. ask the endpoint
//   4. write NAME.new, fsync it
//   5. rename it to NAME.json, fsync the folder
//   6. give the access token away, unlock
//
// A crash after 4 loses nothing, because of 1. If only the process is killed, that is so as soon as
// the text is written. A crash between the endpoint's answer and 4 loses the new refresh token.
// Then the old one is in NAME.json, and most providers still accept it.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/descriptor.h"
#include "token/entry.h"
#include "token/failure.h"

namespace starttls::token {

class Store {
 public:
  /// The right to change an account. It ends with this object, or with the process.
  class Lock {
   public:
    explicit Lock(Descriptor fd) noexcept : fd_(std::move(fd)) {}

   private:
    Descriptor fd_;
  };

  /// A NAME.new that has its space on the disk. Without commit() it is removed.
  class Pending {
   public:
    Pending(const Store& store, std::string name, Descriptor fd) noexcept
        : store_(&store), name_(std::move(name)), fd_(std::move(fd)) {}
    Pending(Pending&& other) noexcept = default;
    Pending& operator=(Pending&&) = delete;
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;
    ~Pending();

    /// Makes the entry the account's. It is on the disk when this returns. Errors: io.
    [[nodiscard]] Outcome<> commit(const Entry& entry);

   private:
    const Store* store_;
    std::string name_;
    Descriptor fd_;
  };

  /// Opens the folder, and makes it if it does not exist. Errors: config, if others have access
  /// to it or it belongs to another user; io.
  [[nodiscard]] static Outcome<Store> open(const std::string& path);

  /// Returns the account's entry, or nothing. Needs no lock. Errors: io; config, if others have
  /// access to the file or its content is no entry.
  [[nodiscard]] Outcome<std::optional<Entry>> read(std::string_view account) const;

  /// Waits for the lock at most `limit`. Adopts what a crash has left. Errors: temporary, io.
  [[nodiscard]] Outcome<Lock> lock(std::string_view account, std::chrono::milliseconds limit) const;
  /// Step 2. The caller has the lock, and this store outlives the result. Errors: io.
  [[nodiscard]] Outcome<Pending> prepare(std::string_view account) const;
  /// Removes the account. Returns false if there was none. The caller has the lock. Errors: io.
  [[nodiscard]] Outcome<bool> forget(std::string_view account) const;

  /// Returns the accounts, sorted. Errors: io.
  [[nodiscard]] Outcome<std::vector<std::string>> accounts() const;

 private:
  Store(std::string path, Descriptor folder) noexcept
      : path_(std::move(path)), folder_(std::move(folder)) {}

  /// Reads a file of the folder. Returns nothing if there is none. Errors: io, config.
  [[nodiscard]] Outcome<std::optional<Secret>> content_of(const std::string& name) const;
  [[nodiscard]] Outcome<> adopt(const std::string& name) const;
  [[nodiscard]] Outcome<> rename_new(const std::string& name) const;
  /// Returns the failure of the last system call.
  [[nodiscard]] tl::unexpected<Failure> system_failure(std::string_view name) const;

  std::string path_;
  Descriptor folder_;
};

}  // namespace starttls::token

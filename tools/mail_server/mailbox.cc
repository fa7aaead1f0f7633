#include "tools/mail_server/mailbox.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "lib/base/ascii.h"
#include "tools/mail_server/pattern.h"

namespace starttls::bench {
namespace {

class Discarded final : public Message {
 public:
  void write(std::string_view content) override { check_.take(content); }
  Result<std::string> commit() override {
    return fmt::format("{} bytes discarded{}", check_.bytes(),
                       check_.intact() ? ", pattern intact" : "");
  }

 private:
  PatternCheck check_;
};

/// A file that has a temporary name until it is complete.
class Stored final : public Message {
 public:
  /// Begins a file. If `name` is "", it becomes the next message.
  Stored(const std::string& folder, std::string_view name)
      : folder_(folder), name_(name), path_(folder + "/.XXXXXX") {
    fd_ = ::mkstemp(path_.data());
    if (fd_ < 0) errno_ = errno;
  }
  ~Stored() override {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(path_.c_str());
  }

  void write(std::string_view content) override {
    bytes_ += content.size();
    while (errno_ == 0 && !content.empty()) {
      const ssize_t written = ::write(fd_, content.data(), content.size());
      if (written >= 0) {
        content.remove_prefix(static_cast<std::size_t>(written));
      } else if (errno != EINTR) {
        errno_ = errno;
      }
    }
  }

  Result<std::string> commit() override { return name_.empty() ? add() : replace(); }

 private:
  Result<std::string> add() {
    for (unsigned number = 1; errno_ == 0; ++number) {
      const std::string name = fmt::format("{:06}.eml", number);
      // Unlike a rename, a link never replaces a file that another thread has just stored.
      if (::link(path_.c_str(), (folder_ + "/" + name).c_str()) == 0) {
        return fmt::format("{} bytes stored as {}", bytes_, name);
      }
      if (errno != EEXIST) errno_ = errno;
    }
    return not_stored();
  }

  Result<std::string> replace() {
    if (errno_ != 0) return not_stored();
    if (std::rename(path_.c_str(), (folder_ + "/" + name_).c_str()) != 0) {
      errno_ = errno;
      return not_stored();
    }
    return fmt::format("{} bytes stored", bytes_);
  }

  [[nodiscard]] tl::unexpected<Error> not_stored() const {
    return fail(Errc::system, "not stored: " + std::generic_category().message(errno_));
  }

  std::string folder_;
  std::string name_;
  std::string path_;
  int fd_ = -1;
  int errno_ = 0;  // errno of the first failure
  std::uint64_t bytes_ = 0;
};

}  // namespace

std::unique_ptr<Message> Mailbox::begin() const {
  if (folder_.empty()) return std::make_unique<Discarded>();
  return std::make_unique<Stored>(folder_, "");
}

std::unique_ptr<Message> Mailbox::replace(std::string_view name) const {
  if (!is_name(name)) return nullptr;
  if (folder_.empty()) return std::make_unique<Discarded>();
  return std::make_unique<Stored>(folder_, name);
}

std::uint64_t Mailbox::number(const File& message) noexcept {
  const std::string_view name = message.name;
  return ascii::parse_number(name.substr(0, name.size() - kMessageSuffix.size())).value_or(0);
}

std::vector<Mailbox::File> Mailbox::list(std::string_view suffix) const {
  std::vector<File> files;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder_, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::string name = entry->path().filename();
    std::error_code gone;  // another session may have removed it
    const auto bytes = entry->file_size(gone);
    if (!gone && is_name(name) && name.ends_with(suffix)) files.push_back({std::move(name), bytes});
  }
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.name < b.name; });
  return files;
}

Result<std::string> Mailbox::read(std::string_view name) const {
  if (!folder_.empty() && is_name(name)) {
    std::ifstream file(folder_ + "/" + std::string(name), std::ios::binary);
    if (file) return std::string{std::istreambuf_iterator<char>(file), {}};
  }
  return fail(Errc::system, "no such file");
}

bool Mailbox::remove(std::string_view name) const {
  return !folder_.empty() && is_name(name) &&
         ::unlink((folder_ + "/" + std::string(name)).c_str()) == 0;
}

bool Mailbox::is_name(std::string_view name) noexcept {
  constexpr std::size_t kMaxName = 100;
  return !name.empty() && name.size() <= kMaxName && name.front() != '.' &&
         std::none_of(name.begin(), name.end(),
                      [](char c) { return c == '/' || c == '\x7f' || (c >= '\0' && c < ' '); });
}

}  // namespace starttls::bench

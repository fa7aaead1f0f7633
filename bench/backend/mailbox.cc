#include "bench/backend/mailbox.h"

#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "bench/load/pattern.h"

namespace starttls::bench {
namespace {

class Discarded final : public Message {
 public:
  void write(std::string_view content) override { check_.take(content); }
  Result<std::string> commit() override {
    return fmt::format("{} octets discarded{}", check_.octets(),
                       check_.intact() ? ", pattern intact" : "");
  }

 private:
  PatternCheck check_;
};

/// A file under a name of its own until it is complete.
class Stored final : public Message {
 public:
  explicit Stored(const std::string& folder) : folder_(folder), path_(folder + "/.XXXXXX") {
    fd_ = ::mkstemp(path_.data());
    if (fd_ < 0) errno_ = errno;
  }
  ~Stored() override {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(path_.c_str());
  }

  void write(std::string_view content) override {
    octets_ += content.size();
    while (errno_ == 0 && !content.empty()) {
      const ssize_t written = ::write(fd_, content.data(), content.size());
      if (written >= 0) {
        content.remove_prefix(static_cast<std::size_t>(written));
      } else if (errno != EINTR) {
        errno_ = errno;
      }
    }
  }

  Result<std::string> commit() override {
    for (unsigned number = 1; errno_ == 0; ++number) {
      const std::string name = fmt::format("{:06}.eml", number);
      // Unlike a rename, a link never replaces what somebody else has just stored.
      if (::link(path_.c_str(), (folder_ + "/" + name).c_str()) == 0) {
        return fmt::format("{} octets stored as {}", octets_, name);
      }
      if (errno != EEXIST) errno_ = errno;
    }
    return fail(Errc::system, "not stored: " + std::generic_category().message(errno_));
  }

 private:
  std::string folder_;
  std::string path_;
  int fd_ = -1;
  int errno_ = 0;  // of the first failure
  std::uint64_t octets_ = 0;
};

}  // namespace

std::unique_ptr<Message> Mailbox::begin() const {
  if (folder_.empty()) return std::make_unique<Discarded>();
  return std::make_unique<Stored>(folder_);
}

}  // namespace starttls::bench

#include "token/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "lib/base/ascii.h"

namespace starttls::token {
namespace {

constexpr std::string_view kEntry = ".json";
constexpr std::string_view kNew = ".new";
constexpr std::string_view kLock = ".lock";
constexpr std::size_t kMaxFile = std::size_t{128} << 10U;
constexpr off_t kReserved = off_t{64} << 10U;  // more than the longest entry
constexpr mode_t kFileMode = 0600;
constexpr mode_t kFolderMode = 0700;

std::string joined(std::string_view name, std::string_view ending) {
  return std::string(name) + std::string(ending);
}

Outcome<std::string> base_name(std::string_view account) {
  constexpr std::size_t kMaxName = 240;  // a file system permits 255, with the ending
  auto name = file_name(account);
  if (name.size() > kMaxName) {
    return failed(Exit::usage, "the account's name is too long for the name of a file");
  }
  return name;
}

/// Writes all of `text`. Returns false with errno set if it cannot.
bool write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// True if no other user has access to a file of the store.
bool is_private(const struct ::stat& status) noexcept {
  return S_ISREG(status.st_mode) && status.st_uid == ::geteuid() &&
         (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

/// True if `name` is still the file that `fd` has open. forget() may have removed it meanwhile, and
/// then the lock is on a file that no other process finds.
bool is_named(int folder, const std::string& name, int fd) noexcept {
  struct ::stat named = {};
  struct ::stat opened = {};
  return ::fstatat(folder, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
         named.st_ino == opened.st_ino;
}

}  // namespace

Outcome<Store> Store::open(const std::string& path) {
  const auto io = [&path] {
    return failed(Exit::io, ascii::escape(path) + ": " + std::generic_category().message(errno));
  };
  if (::mkdir(path.c_str(), kFolderMode) != 0 && errno != EEXIST) return io();
  Descriptor folder{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.get() < 0) return io();
  struct ::stat status = {};
  if (::fstat(folder.get(), &status) != 0) return io();
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return failed(Exit::config,
                  ascii::escape(path) + ": other users have access to the tokens: chmod 0700");
  }
  if (status.st_uid != ::geteuid()) {
    return failed(Exit::config, ascii::escape(path) + ": belongs to another user");
  }
  return Store{path, std::move(folder)};
}

tl::unexpected<Failure> Store::system_failure(std::string_view name) const {
  return failed(Exit::io, ascii::escape(path_ + "/" + std::string(name)) + ": " +
                              std::generic_category().message(errno));
}

Outcome<std::optional<Secret>> Store::content_of(const std::string& name) const {
  const Descriptor fd{
      ::openat(folder_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
  if (fd.get() < 0) {
    if (errno == ENOENT) return std::nullopt;
    return system_failure(name);
  }
  struct ::stat status = {};
  if (::fstat(fd.get(), &status) != 0) return system_failure(name);
  if (!is_private(status)) {
    return failed(Exit::config, ascii::escape(path_ + "/" + name) +
                                    ": other users have access to it, or it is theirs");
  }
  std::string text(kMaxFile, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const auto got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure(name);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  Secret content{std::string_view{text}.substr(0, size)};
  wipe(text);
  return content;
}

Outcome<std::optional<Entry>> Store::read(std::string_view account) const {
  const auto name = base_name(account);
  if (!name) return failed(name.error());
  const auto file = joined(*name, kEntry);
  const auto content = content_of(file);
  if (!content) return failed(content.error());
  if (!*content) return std::nullopt;
  auto entry = parse_entry((*content)->reveal());
  if (!entry) {
    return failed(Exit::config, ascii::escape(path_ + "/" + file) +
                                    ": is damaged: remove it and authorize again");
  }
  return entry;
}

Outcome<Store::Lock> Store::lock(std::string_view account, std::chrono::milliseconds limit) const {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kPause{20};
  const auto name = base_name(account);
  if (!name) return failed(name.error());
  const auto file = joined(*name, kLock);
  // flock(2) has no time limit, so it is tried again and again.
  for (const auto end = Clock::now() + limit;; std::this_thread::sleep_for(kPause)) {
    Descriptor fd{::openat(folder_.get(), file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                           kFileMode)};
    if (fd.get() < 0) return system_failure(file);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
      if (!is_named(folder_.get(), file, fd.get())) continue;
      if (auto adopted = adopt(*name); !adopted) return failed(std::move(adopted.error()));
      return Lock{std::move(fd)};
    }
    if (errno != EWOULDBLOCK && errno != EINTR) return system_failure(file);
    if (Clock::now() >= end) {
      return failed(Exit::temporary, "another process renews this account's token for too long");
    }
  }
}

Outcome<> Store::adopt(const std::string& name) const {
  const auto file = joined(name, kNew);
  const auto content = content_of(file);
  if (!content) return failed(content.error());
  if (!*content) return {};
  const auto text = (*content)->reveal();
  if (parse_entry(text)) {
    // The crash may have come before the reserved space was cut off, and before fsync.
    const Descriptor fd{::openat(folder_.get(), file.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC)};
    const auto size = static_cast<off_t>(text.find_last_not_of('\0') + 1);
    if (fd.get() < 0 || ::ftruncate(fd.get(), size) != 0 || ::fsync(fd.get()) != 0) {
      return system_failure(file);
    }
    return rename_new(name);
  }
  if (::unlinkat(folder_.get(), file.c_str(), 0) != 0) return system_failure(file);
  return {};
}

Outcome<> Store::rename_new(const std::string& name) const {
  const auto from = joined(name, kNew);
  const auto to = joined(name, kEntry);
  if (::renameat(folder_.get(), from.c_str(), folder_.get(), to.c_str()) != 0) {
    return system_failure(to);
  }
  if (::fsync(folder_.get()) != 0) return system_failure("");
  return {};
}

Outcome<Store::Pending> Store::prepare(std::string_view account) const {
  auto name = base_name(account);
  if (!name) return failed(std::move(name.error()));
  const auto file = joined(*name, kNew);
  Descriptor fd{::openat(folder_.get(), file.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode)};
  if (fd.get() < 0) return system_failure(file);
  const int number = fd.get();
  Pending pending{*this, std::move(*name), std::move(fd)};
  if (const int error = ::posix_fallocate(number, 0, kReserved); error != 0) {
    errno = error;
    return system_failure(file);
  }
  return pending;
}

Store::Pending::~Pending() {
  if (fd_.get() >= 0) ::unlinkat(store_->folder_.get(), joined(name_, kNew).c_str(), 0);
}

Outcome<> Store::Pending::commit(const Entry& entry) {
  const auto file = joined(name_, kNew);
  const auto content = to_json(entry);
  const auto text = content.reveal();
  // The order matters: until the end of the text is there, the file is no whole entry.
  if (!write_all(fd_.get(), text) || ::ftruncate(fd_.get(), static_cast<off_t>(text.size())) != 0 ||
      ::fsync(fd_.get()) != 0) {
    return store_->system_failure(file);
  }
  fd_.reset();  // from here on the file is kept, even if the rename fails: the next run adopts it
  return store_->rename_new(name_);
}

Outcome<bool> Store::forget(std::string_view account) const {
  const auto name = base_name(account);
  if (!name) return failed(name.error());
  bool existed = false;
  // NAME.new first: otherwise a crash between the two would bring the account back.
  for (const auto ending : {kNew, kEntry, kLock}) {
    const auto file = joined(*name, ending);
    if (::unlinkat(folder_.get(), file.c_str(), 0) == 0) {
      existed = existed || ending != kLock;
    } else if (errno != ENOENT) {
      return system_failure(file);
    }
  }
  if (::fsync(folder_.get()) != 0) return system_failure("");
  return existed;
}

Outcome<std::vector<std::string>> Store::accounts() const {
  // A descriptor of its own, because closedir closes it.
  Descriptor fd{::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (fd.get() < 0) return system_failure("");
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(fd.get()), &::closedir);
  if (!list) return system_failure("");
  (void)fd.release();
  std::vector<std::string> found;
  errno = 0;
  while (const ::dirent* const file = ::readdir(list.get())) {
    std::string_view name{file->d_name};
    if (name.ends_with(kEntry)) {
      name.remove_suffix(kEntry.size());
      if (auto account = account_of(name)) found.push_back(std::move(*account));
    }
    errno = 0;
  }
  if (errno != 0) return system_failure("");
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace starttls::token

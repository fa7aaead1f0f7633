#include "lib/base/regular_file.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "lib/base/secret.h"

namespace starttls {
namespace {

tl::unexpected<Error> system_words(int error) {
  return fail(Errc::config, std::generic_category().message(error));
}

/// Returns the size of an open file; 0 if it has none, such as a pipe.
std::size_t size_of(int descriptor) noexcept {
  struct ::stat status = {};
  if (::fstat(descriptor, &status) != 0 || status.st_size < 0) return 0;
  return static_cast<std::size_t>(status.st_size);
}

/// Waits for bytes of a pipe, or for its end. Errors: config.
Result<> await_bytes(int descriptor) {
  constexpr int kPatience = 5000;  // milliseconds
  ::pollfd waiting{.fd = descriptor, .events = POLLIN, .revents = 0};
  const int ready = ::poll(&waiting, 1, kPatience);
  if (ready > 0 || (ready < 0 && errno == EINTR)) return {};
  return ready < 0 ? system_words(errno) : fail(Errc::config, "nothing came within 5 s");
}

Result<Descriptor> open_for_reading(const std::string& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
  if (file.get() < 0) return system_words(errno);
  return file;
}

}  // namespace

Result<RegularFile> open_regular_file(const std::string& path) {
  auto opened = open_for_reading(path);
  if (!opened) return fail(std::move(opened.error()));
  RegularFile file{.descriptor = std::move(*opened)};
  if (::fstat(file.descriptor.get(), &file.status) != 0) return system_words(errno);
  if (S_ISDIR(file.status.st_mode)) return system_words(EISDIR);
  if (!S_ISREG(file.status.st_mode)) return fail(Errc::config, "not a regular file");
  return file;
}

Result<std::string> read_any_file(const std::string& path, std::size_t max) {
  const auto file = open_for_reading(path);
  if (!file) return fail(file.error());
  return read_to_end(file->get(), max);
}

Result<std::string> read_to_end(int descriptor, std::size_t max) {
  constexpr std::size_t kBlock = 4096;
  std::string text;
  WipeAtEnd partial(text);
  // One byte more than the file has: a read that fills the room does not show the end.
  text.resize(std::min(std::max(size_of(descriptor), kBlock), max) + 1);
  std::size_t size = 0;
  for (;;) {
    const ssize_t count = ::read(descriptor, text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      if (auto ready = await_bytes(descriptor); !ready) return fail(std::move(ready.error()));
      continue;
    }
    if (count < 0) return system_words(errno);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
    if (size > max) return fail(Errc::config, "larger than " + std::to_string(max >> 20U) + " MiB");
    if (size < text.size()) continue;
    make_room(text, 2 * size);  // it grows while it is read, or has no size
    text.resize(std::min(text.capacity(), max + 1));
  }
  text.resize(size);
  partial.keep();
  return text;
}

}  // namespace starttls

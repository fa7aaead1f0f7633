#include "lib/session/credentials/secret_file.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/descriptor.h"
#include "lib/base/kept_secret.h"

namespace starttls::session {
namespace {

NoSecret unreadable(const std::string& path, const std::string& words) {
  return {metrics::SecretFailure::unreadable,
          Error{Errc::login, "the file of the secret cannot be read", path + ": " + words}};
}

std::string errno_text() {
  return std::generic_category().message(errno);
}

}  // namespace

SecretAnswer read_secret(const std::string& path, bool token) {
  // A pipe would hold up the thread for as long as nothing writes to it.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
  if (file.get() < 0) return unreadable(path, errno_text());
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) return unreadable(path, errno_text());
  if (const auto kept = check_kept_secret(status); !kept) {
    return unreadable(path, kept.error().reason);
  }

  std::array<char, kMaxAnswer> content{};
  std::size_t size = 0;
  bool whole = false;
  while (size < content.size() && !whole) {
    const auto count = ::read(file.get(), content.data() + size, content.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const auto words = errno_text();
      wipe(content);
      return unreadable(path, words);
    }
    whole = count == 0;
    size += static_cast<std::size_t>(count);
  }
  auto answer = secret_in({content.data(), size}, whole, token);
  wipe(content);
  return answer;
}

}  // namespace starttls::session

#include "lib/session/credentials/secret_file.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <system_error>

#include <unistd.h>

#include "lib/base/kept_secret.h"
#include "lib/base/regular_file.h"

namespace starttls::session {
namespace {

NoSecret unreadable(const std::string& path, const std::string& words) {
  return {metrics::SecretFailure::unreadable,
          Error{Errc::login, "the file of the secret cannot be read", path + ": " + words}};
}

}  // namespace

SecretAnswer read_secret(const std::string& path, bool token) {
  const auto file = open_regular_file(path);
  if (!file) return unreadable(path, file.error().reason);
  if (const auto kept = check_kept_secret(file->status); !kept) {
    return unreadable(path, kept.error().reason);
  }

  // Only its first line counts, so the rest of a large file is not read.
  std::array<char, kMaxAnswer> content{};
  const WipeAtEnd wiped(content);
  std::size_t size = 0;
  bool whole = false;
  while (size < content.size() && !whole) {
    const auto count = ::read(file->descriptor.get(), content.data() + size, content.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return unreadable(path, std::generic_category().message(errno));
    whole = count == 0;
    size += static_cast<std::size_t>(count);
  }
  return secret_in({content.data(), size}, whole, token);
}

}  // namespace starttls::session

#include "lib/session/credentials/secret_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/descriptor.h"
#include "lib/base/kept_secret.h"
#include "lib/base/login_settings.h"

namespace starttls::session {
namespace {

using metrics::SecretFailure;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
/// The longest first line with all that may be around it, and one byte more.
constexpr std::size_t kMaxRead = kByteOrderMark.size() + kMaxSecret + 2 + 1;

NoSecret no_secret(SecretFailure failure, std::string reason, std::string evidence = {}) {
  return {failure, Error{Errc::login, std::move(reason), std::move(evidence)}};
}

NoSecret unreadable(const std::string& path, const std::string& words) {
  return no_secret(SecretFailure::unreadable, "the file of the secret cannot be read",
                   path + ": " + words);
}

std::string errno_text() {
  return std::generic_category().message(errno);
}

}  // namespace

bool is_usable(const Secret& secret, bool token) noexcept {
  const auto text = secret.reveal();
  return text.size() <= kMaxSecret && std::none_of(text.begin(), text.end(), [token](char c) {
           return c == '\0' || c == '\r' || c == '\n' || (token && c == '\x01');
         });
}

SecretAnswer secret_in(std::string_view text, bool whole, bool token) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const auto end = text.find('\n');
  const bool has_end = end != std::string_view::npos || whole;
  auto line = text.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (has_end && line.empty()) {
    return no_secret(SecretFailure::empty, "the first line of the secret's file is empty");
  }
  Secret secret{line};
  if (!has_end || !is_usable(secret, token)) {
    return no_secret(SecretFailure::malformed,
                     "the secret is too long, or has bytes that no secret may have");
  }
  return secret;
}

SecretAnswer read_secret(const std::string& path, bool token) {
  // A pipe would hold up the thread for as long as nothing writes to it.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
  if (file.get() < 0) return unreadable(path, errno_text());
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) return unreadable(path, errno_text());
  if (const auto kept = check_kept_secret(status); !kept) {
    return unreadable(path, kept.error().reason);
  }

  std::array<char, kMaxRead> content{};
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

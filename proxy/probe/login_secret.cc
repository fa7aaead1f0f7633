#include "proxy/probe/login_secret.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include <poll.h>
#include <unistd.h>

#include "lib/base/login_settings.h"
#include "lib/session/credentials/secret_file.h"

namespace starttls {
namespace {

constexpr std::string_view kStandardInput = "-";
constexpr int kPatienceMs = 60'000;  // of one read; a program may ask a token endpoint first

/// Reads the first line of standard input.
session::SecretAnswer read_standard_input(bool token) {
  const auto failure = [](std::string reason) {
    return session::NoSecret{metrics::SecretFailure::unreadable,
                             Error{Errc::login, std::move(reason)}};
  };
  if (::isatty(STDIN_FILENO) == 1) {
    return failure("standard input: a terminal would show the secret: use a pipe");
  }
  std::array<char, kMaxSecret + 8> content{};
  std::size_t size = 0;
  bool whole = false;
  while (size < content.size() && !whole) {
    pollfd ready{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    const int count = ::poll(&ready, 1, kPatienceMs);
    if (count < 0 && errno == EINTR) continue;
    const auto got = count <= 0 ? -1 : ::read(STDIN_FILENO, &content[size], content.size() - size);
    if (got < 0) {
      const auto words = std::generic_category().message(count == 0 ? ETIMEDOUT : errno);
      wipe(content);
      return failure("standard input: " + words);
    }
    size += static_cast<std::size_t>(got);
    const std::string_view text{content.data(), size};
    whole = got == 0 || text.find('\n') != std::string_view::npos;
  }
  auto answer = session::secret_in({content.data(), size}, whole, token);
  wipe(content);
  return answer;
}

/// Returns the answer of the choice's source. Each kind of source is one case here.
session::SecretAnswer read_source(const LoginChoice& choice, const LoginOptions& options,
                                  const AskSource& ask) {
  if (options.file == kStandardInput) return read_standard_input(choice.token);
  if (!options.file.empty()) return session::read_secret(options.file, choice.token);
  if (!choice.source.file.empty()) return session::read_secret(choice.source.file, choice.token);
  if (choice.source.is_asked()) return ask(choice);
  return session::FreshSecret{choice.source.text.value_or(Secret())};
}

}  // namespace

Result<Secret> read_login_secret(const LoginChoice& choice, const LoginOptions& options,
                                 const AskSource& ask) {
  auto answer = read_source(choice, options, ask);
  if (auto* const failure = std::get_if<session::NoSecret>(&answer)) {
    return fail(std::move(failure->error));
  }
  return std::move(std::get<session::FreshSecret>(answer).secret);
}

}  // namespace starttls

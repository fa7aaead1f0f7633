#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/secret.h"
#include "token/failure.h"
#include "token/text.h"

namespace starttls::token {

/// The largest body of an answer. Tokens of Microsoft have about 4 KiB.
inline constexpr std::size_t kMaxAnswer = std::size_t{64} << 10U;

struct Response {
  long status = 0;
  std::string content_type{};
  Secret body{};
  std::optional<std::chrono::seconds> retry_after{};
};

/// Sends forms. Tests replace it.
class Http {
 public:
  Http() = default;
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;
  virtual ~Http() = default;

  /// Sends the form and waits for the answer. Redirects are not followed, because a form with a
  /// secret must reach only the endpoint that the configuration names. Errors: temporary,
  /// unavailable (certificate), protocol (the answer is too large), config.
  [[nodiscard]] virtual Outcome<Response> post(const std::string& url, const Form& form) = 0;
};

struct HttpSettings {
  std::string ca_file;              ///< "": the system's trust store
  std::chrono::milliseconds limit;  ///< for one exchange, from the look-up of the name to its end
};

/// Returns an Http that uses libcurl.
[[nodiscard]] Outcome<std::unique_ptr<Http>> make_http(HttpSettings settings);

}  // namespace starttls::token

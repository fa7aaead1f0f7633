#pragma once

// A small HTTP server on loopback that waits for the browser's redirect (RFC 8252 §7.3).

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/descriptor.h"
#include "lib/base/secret.h"
#include "token/failure.h"
#include "token/text.h"

namespace starttls::token {

/// Returns the target of a request's first line; nothing if it is not a GET of HTTP/1.
[[nodiscard]] std::optional<std::string_view> request_target(std::string_view head) noexcept;

class Loopback {
 public:
  /// Reads the target of a request: a code ends the waiting, nothing means that the request is
  /// not the redirect.
  using Reader = std::function<Outcome<std::optional<Secret>>(std::string_view target)>;

  /// Listens. Errors: io, if the port is taken.
  [[nodiscard]] static Outcome<Loopback> open(const LoopbackAddress& address);

  /// Returns the address that the browser must be sent to.
  [[nodiscard]] const std::string& redirect() const noexcept { return redirect_; }

  /// Serves requests for at most `limit`. Returns the code that `reader` has found, or nothing.
  /// Errors: those of `reader`; io.
  [[nodiscard]] Outcome<std::optional<Secret>> wait(std::chrono::milliseconds limit,
                                                    const Reader& reader);

 private:
  using Clock = std::chrono::steady_clock;

  /// A browser opens connections in advance, so one that is silent must not hold up the others.
  struct Connection {
    Descriptor fd;
    std::string head;
    Clock::time_point deadline;
  };

  Loopback(Descriptor listener, std::string redirect) noexcept
      : listener_(std::move(listener)), redirect_(std::move(redirect)) {}
  void accept();
  /// Reads. Returns true if the connection has sent all of its request, or must be closed.
  static bool read(Connection& connection);

  Descriptor listener_;
  std::string redirect_;
  std::vector<Connection> connections_;
};

}  // namespace starttls::token

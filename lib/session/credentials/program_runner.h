#pragma once

// The seam between the store of secrets and the process that runs programs. Nothing is executed in
// the proxy itself.

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <variant>

#include "lib/base/secret.h"
#include "lib/session/credentials/secret_answer.h"

namespace starttls::session {

/// Has the program of a service's account run. Lives on the thread of one loop.
class ProgramRunner {
 public:
  struct Request {
    std::string service;
    std::string account;  ///< the name of the row; "" = the command is that of the login
    std::string user;     ///< the account at the server: "{user}" in arguments
    std::chrono::milliseconds timeout{};
  };
  /// The output of a program that has ended with status 0.
  struct Output {
    Secret text;        ///< at most `kMaxOutput` bytes
    bool whole = true;  ///< false: there was more
  };
  /// The error says why there is no output: `failed` (status, signal), `timeout`, `unreachable` (no
  /// program can be run).
  using OnOutput = std::function<void(std::variant<Output, NoSecret>)>;

  static constexpr std::size_t kMaxOutput = kMaxAnswer;

  ProgramRunner() = default;
  ProgramRunner(const ProgramRunner&) = delete;
  ProgramRunner& operator=(const ProgramRunner&) = delete;
  virtual ~ProgramRunner() = default;

  /// Called on the loop's thread. `on_output` is called once there, later, and never after the
  /// runner has been destroyed.
  virtual void run(Request request, OnOutput on_output) = 0;
};

}  // namespace starttls::session

#pragma once

// The programs that the launcher may run, taken from the configuration. A request names an account
// only. It is checked here that the account has a program, and that the user fits the account.

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/config/config.h"
#include "proxy/launcher/message.h"

namespace starttls::launcher {

/// A program, ready to be run.
struct Program {
  std::vector<std::string> arguments = {};  ///< the first is the program itself
  std::chrono::milliseconds timeout{};
};

/// True if the secret of a login comes from a program.
[[nodiscard]] bool has_programs(const config::Config& config) noexcept;

/// The problem of a reload that brings the first command. A process in its sandbox cannot start a
/// launcher.
inline constexpr std::string_view kFirstCommand =
    "service.login.command: no service had a command at the start: restart the proxy to use one";

/// True if a name at the server that a client has chosen may be an argument. A name that begins
/// with "-" could be an option of the program.
[[nodiscard]] bool may_be_argument(std::string_view user) noexcept;

class ProgramTable {
 public:
  ProgramTable() = default;
  explicit ProgramTable(const config::Config& config);

  /// Returns the program for a login, with the user in its arguments. Errors: login, if the
  /// configuration has no program for this login.
  [[nodiscard]] Result<Program> find(const Account& account) const;

 private:
  /// An account, or the service's login if no client logs in to the proxy.
  struct Row {
    std::string service = {};
    std::string owner = {};  ///< the row that the command is in; "" = the service's login
    std::string user = {};   ///< the only one that the row serves; "" = any that fits
    std::vector<std::string> others = {};  ///< names that have rows of their own, if any user fits
    std::vector<std::string> command = {};
    std::chrono::milliseconds timeout{};
  };

  void add(const config::Service& service, const config::Account& account);
  [[nodiscard]] static bool fits(const Row& row, const std::string& user) noexcept;

  std::vector<Row> rows_;
};

}  // namespace starttls::launcher

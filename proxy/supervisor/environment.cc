#include "proxy/supervisor/environment.h"

#include <cstdlib>
#include <utility>

#include "lib/base/ascii.h"

namespace starttls::systemd {
namespace {

/// More than any supervisor passes. It bounds the loop over them.
constexpr std::uint64_t kMaxPassed = 4096;

tl::unexpected<Error> bad(std::string_view name, const std::string& value) {
  return fail(Errc::config, "the environment variable " + std::string(name) + " is '" +
                                ascii::escape(value) + "', which is not a valid value");
}

}  // namespace

Result<std::vector<std::string>> passed_names(const PassedVariables& variables,
                                              std::uint64_t own_pid) {
  std::vector<std::string> names;
  if (!variables.pid || !variables.count) return names;
  const auto pid = ascii::parse_number(*variables.pid);
  if (!pid) return bad("LISTEN_PID", *variables.pid);
  if (*pid != own_pid) return names;
  const auto count = ascii::parse_number(*variables.count);
  if (!count || *count > kMaxPassed) return bad("LISTEN_FDS", *variables.count);

  if (!variables.names) {
    names.assign(static_cast<std::size_t>(*count), "unknown");
    return names;
  }
  std::string_view rest = *variables.names;
  while (*count > 0) {
    const auto colon = rest.find(':');
    names.emplace_back(rest.substr(0, colon));
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  if (names.size() != *count) return bad("LISTEN_FDNAMES", *variables.names);
  return names;
}

Result<std::optional<std::chrono::microseconds>> watchdog_period(const WatchdogVariables& variables,
                                                                 std::uint64_t own_pid) {
  using Period = std::optional<std::chrono::microseconds>;
  // A longer period counts as none.
  constexpr std::uint64_t kMax = std::uint64_t{365} * 24 * 3600 * 1'000'000;
  if (!variables.period) return Period{};
  const auto period = ascii::parse_number(*variables.period);
  if (!period || *period == 0) return bad("WATCHDOG_USEC", *variables.period);
  if (variables.pid) {
    const auto pid = ascii::parse_number(*variables.pid);
    if (!pid) return bad("WATCHDOG_PID", *variables.pid);
    if (*pid != own_pid) return Period{};
  }
  if (*period > kMax) return Period{};
  return Period{std::chrono::microseconds{*period}};
}

Variable take_variable(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  Variable taken{value};
  ::unsetenv(name);
  return taken;
}

}  // namespace starttls::systemd

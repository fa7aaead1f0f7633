#include "proxy/systemd.h"

#include <utility>

#include "lib/base/ascii.h"

namespace starttls::systemd {
namespace {

/// More than any supervisor passes; guards the loop over them.
constexpr std::uint64_t kMaxPassed = 4096;

tl::unexpected<Error> bad(std::string_view name, const std::string& value) {
  return fail(Errc::config, "the environment's " + std::string(name) + " is '" +
                                ascii::escape(value) + "', which no supervisor would say");
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

}  // namespace starttls::systemd

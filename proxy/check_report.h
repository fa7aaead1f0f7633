#pragma once

// The report of `--check`: a closing line for people, or JSON for programs.
//
// The JSON is one object. It is stable: members are added, but not renamed or removed.
//
//   ok            true if there are no errors; the exit status is 0 then, and 78 otherwise
//   services      one object per service. Its members are the keys of the configuration file with
//                 the values in force, defaults included, in the notation of the file. A value that
//                 is not set is null. A list is always a list. `upstream.address` is
//                 ["original-destination"] if the client chooses the server. `destination` holds
//                 the rows of [[service.destination]] with all of the settings for their servers.
//                 `login` is null without [service.login]. `account` holds the rows of
//                 [[service.account]], with the values of [service.login] for what they leave out.
//                 A secret or a password that is set is "hidden"; an account's password is "" if
//                 any will do, and null if the client's own is passed on.
//                 One member has no key in the file: `upstream.verified_names`, the names that a
//                 server's certificate is verified for. Empty if the configuration is not usable.
//   admin         {"listen"}: the address, or null
//   process       {"user", "sandbox", "tls_library", "post_quantum"}; null if the configuration is
//                 not usable. `post_quantum` is what the library can do: "none", "with_key_share"
//                 or "full".
//   errors        [{"file", "line", "column", "key", "message"}]. If the settings come from the
//                 command line, `file`, `line` and `column` are null, and `key` is the option.
//                 `line`, `column` and `key` are null for an error that has none.
//   warnings      [{"service", "message"}]; the service is null if the warning is about the process
//                 or the admin endpoint
//   certificates  our own, one object for each use: {"service", "leg", "file", "names", "issuer",
//                 "not_before", "not_after", "days_left"}. `leg` is "downstream" or "upstream".
//                 `names` is a list; its last element is "..." if there are more names. The times
//                 are in UTC as in RFC 3339: the latest begin and the earliest end of the whole
//                 chain. `days_left` counts whole days; it is -1 in the first day after the end.

#include <span>
#include <string>
#include <vector>

#include "lib/base/utc.h"
#include "lib/config/config.h"
#include "lib/config/describe.h"
#include "lib/config/problem.h"
#include "proxy/certificates.h"

namespace starttls {

struct CheckWarning {
  std::string service;  ///< "" = about the process or the admin endpoint
  std::string text;
};

struct CheckReport {
  std::string config_file = {};            ///< "" = the settings come from the command line
  const config::Config* config = nullptr;  ///< null: it is not usable
  config::Problems errors = {};
  std::vector<CheckWarning> warnings = {};
  std::vector<CertificateInUse> certificates = {};
};

/// Returns all warnings about a configuration, each once. `certificates` are those that it names.
[[nodiscard]] std::vector<CheckWarning> check_warnings(
    const config::Config& config, config::StartedBy started_by,
    std::span<const CertificateInUse> certificates, UnixTime now);

/// Returns "ok: 3 services, 2 warnings" or "1 error, 2 warnings". Warnings are left out if there
/// are none.
[[nodiscard]] std::string summary(const CheckReport& report);

/// Returns the report as JSON, in whole lines.
[[nodiscard]] std::string to_json(const CheckReport& report, UnixTime now);

}  // namespace starttls

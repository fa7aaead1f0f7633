#pragma once

// What a probe has seen, for people and for programs.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/tls/engine.h"

namespace starttls {

/// Texts are the server's words: escaped, without line ends.
struct ProbeReport {
  std::string protocol;
  std::string address;  ///< as configured
  std::string tls;      ///< the policy's mode
  std::string verify;   ///< "full", "none", or "pin" where the pins alone decide
  std::string server_name;
  std::string peer;  ///< the address reached; "" = none
  std::vector<std::string> greeting;
  std::vector<std::string> clear_capabilities;
  std::optional<tls::Facts> facts;  ///< nothing: TLS did not come up
  std::vector<std::string>
      capabilities;  ///< as a client would hear them: after TLS where there is any
  std::vector<tls::CertificateInfo> chain;
  std::string fallback;        ///< why an opportunistic leg stays in the clear; else ""
  std::optional<Error> error;  ///< nothing: the policy accepts this server
  std::string state;           ///< with `error`: what was waited for or done
};

/// Splits words of a server into lines for a report: escaped, and no more than a person reads.
[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

/// What in the configuration (or at the server) would change the verdict: one line each; empty
/// where nothing comes to mind.
[[nodiscard]] std::vector<std::string> advice(const ProbeReport& report);

/// For people: lines, each ended.
[[nodiscard]] std::string to_text(const ProbeReport& report);
/// One JSON object, ended by a newline.
[[nodiscard]] std::string to_json(const ProbeReport& report);

/// 0 if the policy accepts the server, otherwise kExitUnavailable, kExitProtocol or
/// kExitNoPermission.
[[nodiscard]] int exit_status(const ProbeReport& report) noexcept;

}  // namespace starttls

#pragma once

// The result of a probe, as text for people and as JSON for programs.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/tls_settings.h"
#include "lib/base/utc.h"
#include "lib/config/exposure.h"
#include "lib/tls/engine.h"
#include "proxy/probe/login_facts.h"

namespace starttls {

/// The result of a probe. Its texts from the server are escaped, without line ends.
struct ProbeReport {
  UnixTime time;  ///< the time of the probe
  std::string protocol;
  std::string address;  ///< as configured
  std::string tls;      ///< the policy's mode
  std::string verify;   ///< "full", "none", or "pin" if the pins alone decide
  std::string server_name;
  std::string peer;  ///< the address reached; "" = none
  std::vector<std::string> greeting;
  std::vector<std::string> clear_capabilities;
  std::optional<tls::Facts> facts;  ///< nothing: TLS did not come up
  std::string record_cipher;        ///< what seals its records here: see tls::describe
  PostQuantum post_quantum = PostQuantum::automatic;      ///< the policy's
  PostQuantumSupport support = PostQuantumSupport::none;  ///< the TLS library's
  std::vector<std::string> capabilities;  ///< as a client would get them: after TLS if there is any
  std::vector<tls::CertificateInfo> chain;
  std::optional<LoginFacts> login = {};  ///< nothing: no login was asked for
  std::string fallback;                  ///< why an opportunistic leg stays in the clear; else ""
  std::optional<Error> error;            ///< nothing: the policy accepts this server
  std::string state;                     ///< with `error`: what the probe was waiting for or doing
  config::Spelling spelling = config::Spelling::flags;  ///< of the settings, in the advice
};

/// Splits words of a server into lines for a report. They are escaped, and no more than a person
/// reads.
[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

/// Returns the report for people: lines, each ended.
[[nodiscard]] std::string to_text(const ProbeReport& report);
/// Returns the report as one JSON object, ended by a newline. It always has
/// all fields.
[[nodiscard]] std::string to_json(const ProbeReport& report);

/// Returns 0 if the policy accepts the server, and the server the login. Otherwise
/// kExitUnavailable, kExitProtocol or kExitNoPermission.
[[nodiscard]] int exit_status(const ProbeReport& report) noexcept;

}  // namespace starttls

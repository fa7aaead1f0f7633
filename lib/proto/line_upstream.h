#pragma once

// The base of upstream roles that read line by line.

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/lines.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// An upstream role that gets whole lines. The lines between two of our commands count as one
/// reply, which is limited to `kMaxReply`. On a leg that upgrades, a reply before its command is an
/// attack (CVE-2026-42246). On other legs the server's words are relayed unchanged.
class LineUpstream : public UpstreamRole {
 public:
  [[nodiscard]] Result<Step> step(std::string_view input, std::string& to_server) final;

 protected:
  explicit LineUpstream(const RoleSettings& settings) noexcept
      : mode_(settings.upstream),
        asks_for_tls_(proto::upgrades(mode_) && !settings.tls_refused),
        rules_(line_rules(mode_, Errc::protocol)) {}

  /// Handles one line of the server. The line is consumed with every verdict; the bytes after it
  /// are not.
  [[nodiscard]] virtual Result<Verdict> on_line(const Line& line, std::string& to_server) = 0;
  /// Called when `on_line` has returned `greeted`.
  virtual void on_greeted() = 0;
  /// Returns the first line. A protocol overrides it if a line may hold raw bytes (literals).
  [[nodiscard]] virtual Result<std::optional<Line>> frame(std::string_view input,
                                                          LineRules rules) const {
    return next_line(input, rules);
  }

  [[nodiscard]] bool upgrades() const noexcept { return proto::upgrades(mode_); }
  /// True if the leg upgrades, and TLS is still to be asked for.
  [[nodiscard]] bool asks_for_tls() const noexcept { return asks_for_tls_; }

  /// Continues without TLS if the mode allows it. Otherwise `why` is the error. `server_closes`:
  /// see UpstreamRole.
  [[nodiscard]] Result<Verdict> stay_in_clear(Error why, bool server_closes = false);
  /// Returns the error for a server that greets with a refusal.
  [[nodiscard]] static tl::unexpected<Error> refused_greeting(std::string_view words);
  /// Returns the error for a reply that no command has asked for.
  [[nodiscard]] static tl::unexpected<Error> unasked(std::string_view words);

 private:
  TlsMode mode_;
  bool asks_for_tls_;
  LineRules rules_;
  ReplyMeter meter_;
};

}  // namespace starttls::proto

#pragma once

// The base of upstream roles that read line by line.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/lines.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// The lines that a server may send unasked.
enum class Unsolicited : std::uint8_t {
  refuse,  ///< a reply before its command is an attack (CVE-2026-42246)
  allow,   ///< untagged lines of IMAP, and a leg whose words are relayed as they are
};

/// An upstream role that gets whole lines. The lines between two of our commands count as one
/// reply, which is held to `kMaxReply`.
class LineUpstream : public UpstreamRole {
 public:
  [[nodiscard]] Result<Step> step(std::string_view input, std::string& to_server) final;

 protected:
  LineUpstream(LineEnd end, Unsolicited unsolicited) noexcept
      : rules_{end, Errc::protocol}, unsolicited_(unsolicited) {}

  /// Takes one line of the server. The line is consumed whatever the verdict is; the bytes after it
  /// are not.
  [[nodiscard]] virtual Result<Verdict> on_line(const Line& line, std::string& to_server) = 0;
  /// Returns the first line. A protocol overrides it if a line may hold raw bytes (literals).
  [[nodiscard]] virtual Result<std::optional<Line>> frame(std::string_view input,
                                                          LineRules rules) const {
    return next_line(input, rules);
  }

 private:
  LineRules rules_;
  Unsolicited unsolicited_;
  ReplyMeter meter_;
};

}  // namespace starttls::proto

#pragma once

// The syntax of a stunnel.conf (stunnel 5): options, sections, addresses. What they mean is
// decided by converter.cc.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::stunnel {

struct Option {
  std::string name;  ///< as written; names are compared in any case
  std::string value;
  std::size_t line = 0;
};

/// "[name]" and what follows it, or what stands before the first one.
struct Section {
  std::string name;  ///< "" = the global one
  std::size_t line = 0;
  std::vector<Option> options;

  /// All of that name, in the order of the file.
  [[nodiscard]] std::vector<const Option*> all(std::string_view option) const;
};

/// Something to tell the person who converts, about a line of the file.
struct Note {
  std::size_t line = 0;
  std::string text;
};

struct File {
  Section global;
  std::vector<Section> services;
  std::vector<Note> notes;  ///< lines that are none of the syntax's
};

[[nodiscard]] File parse(std::string_view text);

/// "PORT", "HOST:PORT", ":::PORT" or a path in the notation of our own configuration; a port may be
/// the name of a mail service. Nothing where `text` is none of these, or `host` (what stands for a
/// host that is not given) and the rest make no address.
[[nodiscard]] std::optional<std::string> address(std::string_view text, std::string_view host);

/// "notice", "6", "daemon.info" as 0 (emerg) to 7 (debug).
[[nodiscard]] std::optional<std::uint8_t> syslog_level(std::string_view text);

}  // namespace starttls::stunnel

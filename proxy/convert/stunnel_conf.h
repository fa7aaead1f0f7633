#pragma once

// The syntax of a stunnel.conf (stunnel 5): options, sections, addresses. converter.cc decides what
// they mean.

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

/// A "[name]" and the options after it, or the options before the first "[name]".
struct Section {
  std::string name;  ///< "" = the global one
  std::size_t line = 0;
  std::vector<Option> options;

  /// Returns all options of that name, in the order of the file.
  [[nodiscard]] std::vector<const Option*> all(std::string_view option) const;
};

/// A remark about a line of the file, for the person that converts it.
struct Note {
  std::size_t line = 0;
  std::string text;
};

struct File {
  Section global;
  std::vector<Section> services;
  std::vector<Note> notes;  ///< about lines that do not follow the syntax
};

/// Takes the first line out of `text`, without its end and the blanks around it. Returns false if
/// there is none left.
[[nodiscard]] bool next_line(std::string_view& text, std::string_view& line);

/// Returns the option of a line; nothing if it is empty, a comment, a "[name]" or none of these.
[[nodiscard]] std::optional<Option> parse_option(std::string_view line, std::size_t number);

[[nodiscard]] File parse(std::string_view text);

/// Reads "PORT", "HOST:PORT", ":::PORT" or a path, and returns it in the notation of our own
/// configuration. A port may be the name of a mail service. `host` is used if none is given.
/// Nothing if `text` is none of these, or makes no address together with `host`.
[[nodiscard]] std::optional<std::string> address(std::string_view text, std::string_view host);

/// Returns the level "notice", "6" or "daemon.info" as a number from 0 (emerg) to 7 (debug).
/// Nothing if it is no level.
[[nodiscard]] std::optional<std::uint8_t> syslog_level(std::string_view text);

}  // namespace starttls::stunnel

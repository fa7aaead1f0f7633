#include "proxy/convert/stunnel_conf.h"

#include <algorithm>
#include <iterator>

#include "lib/base/ascii.h"
#include "lib/config/config.h"

namespace starttls::stunnel {
namespace {

/// The mail ports of /etc/services. They are listed here so that the result does not depend on the
/// machine.
struct Port {
  std::string_view name;
  std::uint16_t number;
};
constexpr Port kPorts[] = {
    {"smtp", 25},   {"mail", 25},    {"submission", 587}, {"submissions", 465}, {"smtps", 465},
    {"ssmtp", 465}, {"urd", 465},    {"imap", 143},       {"imap2", 143},       {"imaps", 993},
    {"pop3", 110},  {"pop-3", 110},  {"pop3s", 995},      {"nntp", 119},        {"nntps", 563},
    {"snntp", 563}, {"sieve", 4190},
};

std::string port_number(std::string_view text) {
  const auto* const found =
      std::find_if(std::begin(kPorts), std::end(kPorts),
                   [text](const Port& port) { return ascii::iequals(port.name, text); });
  return found == std::end(kPorts) ? std::string(text) : std::to_string(found->number);
}

bool is_header(std::string_view line) {
  return line.starts_with('[') && line.ends_with(']');
}

bool is_comment(std::string_view line) {
  return line.empty() || line.front() == ';' || line.front() == '#';
}

}  // namespace

std::vector<const Option*> Section::all(std::string_view option) const {
  std::vector<const Option*> found;
  for (const auto& each : options) {
    if (ascii::iequals(each.name, option)) found.push_back(&each);
  }
  return found;
}

bool next_line(std::string_view& text, std::string_view& line) {
  if (text.empty()) return false;
  const auto end = text.find('\n');
  line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  // stunnel's own sample begins with a byte order mark.
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  line = ascii::trim(line);
  return true;
}

std::optional<Option> parse_option(std::string_view line, std::size_t number) {
  const auto equals = line.find('=');
  if (equals == std::string_view::npos || is_comment(line) || is_header(line)) return std::nullopt;
  Option option{std::string(ascii::trim(line.substr(0, equals))),
                std::string(ascii::trim(line.substr(equals + 1))), number};
  if (option.name.empty()) return std::nullopt;
  return option;
}

File parse(std::string_view text) {
  File file;
  std::string_view line;
  for (std::size_t number = 1; next_line(text, line); ++number) {
    if (is_comment(line)) continue;
    if (is_header(line)) {
      file.services.push_back({std::string(line.substr(1, line.size() - 2)), number, {}});
    } else if (auto option = parse_option(line, number)) {
      auto& section = file.services.empty() ? file.global : file.services.back();
      section.options.push_back(std::move(*option));
    } else {
      file.notes.push_back({number, "not understood: '" + ascii::escape(line) + "'"});
    }
  }
  return file;
}

std::optional<std::string> address(std::string_view text, std::string_view host) {
  std::string written;
  if (text.starts_with('/')) {
    written = "unix:" + std::string(text);
  } else {
    const auto colon = text.rfind(':');
    const auto port = text.substr(colon + 1);  // npos + 1 is 0
    if (colon != std::string_view::npos) host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    const bool v6 = host.find(':') != std::string_view::npos;
    written = (v6 ? "[" : "") + std::string(host) + (v6 ? "]" : "") + ":" + port_number(port);
  }
  const auto parsed = config::parse_address(written);
  if (!parsed) return std::nullopt;
  return to_string(*parsed);
}

std::optional<std::uint8_t> syslog_level(std::string_view text) {
  constexpr std::string_view kLevels[] = {"emerg",   "alert",  "crit", "err",
                                          "warning", "notice", "info", "debug"};
  text = text.substr(text.rfind('.') + 1);  // after the facility; npos + 1 is 0
  if (text.size() == 1 && text[0] >= '0' && text[0] <= '7') {
    return static_cast<std::uint8_t>(text[0] - '0');
  }
  const auto* const found =
      std::find_if(std::begin(kLevels), std::end(kLevels),
                   [text](std::string_view level) { return ascii::iequals(level, text); });
  if (found == std::end(kLevels)) return std::nullopt;
  return static_cast<std::uint8_t>(found - std::begin(kLevels));
}

}  // namespace starttls::stunnel

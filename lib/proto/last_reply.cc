#include "lib/proto/last_reply.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "lib/base/ascii.h"

namespace starttls::proto {
namespace {

constexpr std::size_t kWindow = 1024;
constexpr std::uint16_t kGoodbye = 221;

/// Returns the code of a line, 0 if it is no line of a reply.
std::uint16_t code_of(std::string_view line) noexcept {
  constexpr std::string_view kSeparators = " -\r\n";
  if (line.size() < 4 || kSeparators.find(line[3]) == std::string_view::npos) return 0;
  if (line[0] < '2' || line[0] > '5') return 0;
  return static_cast<std::uint16_t>(ascii::parse_number(line.substr(0, 3)).value_or(0));
}

/// Returns the position of the last line in `bytes`, or npos if it began before them.
std::size_t last_line_at(std::string_view bytes, bool begins_line) noexcept {
  // Only an LF before the last byte begins a line that has a byte.
  const void* const lf = memrchr(bytes.data(), '\n', bytes.size() - 1);
  if (lf == nullptr) return begins_line ? 0 : std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(lf) - bytes.data()) + 1;
}

}  // namespace

std::uint16_t last_smtp_reply(std::uint16_t before, std::string_view bytes,
                              bool begins_line) noexcept {
  auto rest = bytes.substr(bytes.size() - std::min(bytes.size(), kWindow));
  begins_line = begins_line && rest.size() == bytes.size();
  auto code = before;
  while (!rest.empty()) {
    const auto at = last_line_at(rest, begins_line);
    if (at == std::string_view::npos) break;
    const auto line = rest.substr(at);
    rest = rest.substr(0, at);
    const bool is_cut = line.size() < 4 && !line.ends_with('\n');
    if (is_cut) continue;
    const auto found = code_of(line);
    if (found == kGoodbye) {
      if (code == 0) code = kGoodbye;
    } else {
      return found == 0 ? code : found;
    }
  }
  return code;
}

}  // namespace starttls::proto

#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ascii.h"
#include "tools/mail_server/protocol.h"

namespace starttls::bench {

/// A protocol of commands that are lines, with messages between them.
class LineProtocol : public Protocol {
 public:
  [[nodiscard]] Step step(std::string_view input, std::string& reply) final {
    if (const auto taken = take_data(input, reply)) return {*taken};
    const std::size_t end = input.find("\r\n");
    if (std::min(end, input.size()) > kMaxCommand) {
      on_long_line(reply);
      return {input.size(), Want::close};
    }
    if (end == std::string_view::npos) return {};
    Step step = on_line(input.substr(0, end), reply);
    step.consumed = end + 2;
    return step;
  }

 private:
  /// Performs one command, without its CRLF. The caller sets `Step::consumed`.
  [[nodiscard]] virtual Step on_line(std::string_view line, std::string& reply) = 0;
  virtual void on_long_line(std::string& reply) = 0;
  /// Returns how much of `input` belongs to the message being received. Nothing if there is none.
  virtual std::optional<std::size_t> take_data(std::string_view input, std::string& reply) = 0;
};

/// Finds the row of a command table by its `verb`, in upper or lower case. Null if there is none.
template <typename Command, std::size_t kSize>
[[nodiscard]] const Command* find_command(const Command (&table)[kSize],
                                          std::string_view verb) noexcept {
  const auto* const found = std::find_if(table, table + kSize, [verb](const Command& each) {
    return ascii::iequals(each.verb, verb);
  });
  return found == table + kSize ? nullptr : found;
}

}  // namespace starttls::bench

#include "tools/mail_server/literal_protocol.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lib/base/ascii.h"
#include "tools/mail_server/arguments.h"

namespace starttls::bench {
namespace {

/// The announcement of a literal at the end of a line: its position and the size, `{12}`, `{12+}`.
struct Announced {
  std::size_t position = 0;
  std::uint64_t bytes = 0;
  bool waits = false;
};

std::optional<Announced> find_literal(std::string_view line) {
  const std::size_t open = line.rfind('{');
  if (open == std::string_view::npos || !line.ends_with('}')) return std::nullopt;
  std::string_view digits = line.substr(open + 1, line.size() - open - 2);
  const bool waits = !digits.ends_with('+');
  if (!waits) digits.remove_suffix(1);
  const auto bytes = ascii::parse_number(digits);
  if (!bytes) return std::nullopt;
  return Announced{open, *bytes, waits};
}

}  // namespace

Step LiteralProtocol::step(std::string_view input, std::string& reply) {
  if (literal_bytes_ > 0) return take_literal(input);
  const std::size_t end = input.find("\r\n");
  if (command_.size() + std::min(end, input.size()) > kMaxCommand) {
    on_long_line(reply);
    return {input.size(), Want::close};
  }
  if (end == std::string_view::npos) return {};
  const std::string_view line = input.substr(0, end);
  const auto literal = find_literal(line);
  if (!literal) {
    const std::string command = std::exchange(command_, {}).append(line);
    Step step = on_command(command, reply);
    message_.reset();  // the command did not want it
    step.consumed = end + 2;
    return step;
  }

  command_ += line.substr(0, literal->position);
  // No command has a second literal after the message.
  const bool had_message = has_message();
  switch (on_literal(command_, {literal->bytes, literal->waits}, reply)) {
    case Verdict::take:
      break;
    case Verdict::refuse:
      command_.clear();
      message_.reset();
      return {end + 2};
    case Verdict::close:
      return {input.size(), Want::close};
  }
  if (had_message || (!has_message() && literal->bytes > kMaxCommand - command_.size())) {
    on_long_line(reply);
    return {input.size(), Want::close};
  }
  if (literal->waits) reply += "+ go ahead\r\n";
  literal_bytes_ = literal->bytes;
  literal_.clear();
  if (literal_bytes_ == 0 || has_message()) append_quoted("", command_);
  return {end + 2};
}

Step LiteralProtocol::take_literal(std::string_view input) {
  const auto taken =
      static_cast<std::size_t>(std::min<std::uint64_t>(literal_bytes_, input.size()));
  literal_bytes_ -= taken;
  const std::string_view bytes = input.substr(0, taken);
  if (has_message()) {
    message_->write(bytes);
  } else {
    literal_ += bytes;
    if (literal_bytes_ == 0) append_quoted(literal_, command_);
  }
  return {taken};
}

}  // namespace starttls::bench

#include "lib/proto/imap_id.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/proto/imap_syntax.h"
#include "lib/proto/quoted.h"

namespace starttls::proto::imap {
namespace {

/// RFC 2971 §3.3.
constexpr std::size_t kMaxFields = 30;
constexpr std::size_t kMaxName = 30;
constexpr std::size_t kMaxValue = 1024;

constexpr std::string_view kNil = "NIL";

/// True for a field by which a server that trusts our address would take the client for another one
/// (Dovecot: "Forwarding parameters").
bool claims_connection(std::string_view name) noexcept {
  if (ascii::iequals(name, "x-proxy-ttl")) return true;
  for (const std::string_view prefix :
       {"x-originating-", "x-connected-", "x-session-", "x-forward-"}) {
    if (ascii::istarts_with(name, prefix)) return true;
  }
  return false;
}

/// Parses an ID line by line: strings may be literals, which divide its lines.
class IdReader {
 public:
  enum class End : std::uint8_t { literal, command, malformed };

  /// Reads a line, up to its end or to the literal that it announces.
  End read_line(std::string_view text);
  void read_literal(std::string_view text) { add(std::string(text)); }
  [[nodiscard]] std::string arguments() const;

 private:
  enum class Expected : std::uint8_t { arguments, name, value, end };
  struct Field {
    std::string name;
    std::optional<std::string> value;  ///< nothing: NIL
  };

  [[nodiscard]] std::optional<End> read_token(std::string_view& rest);
  [[nodiscard]] bool read_quoted(std::string_view& rest);
  [[nodiscard]] bool read_nil(std::string_view& rest);
  void add(std::optional<std::string> text);

  [[nodiscard]] bool expects_string() const noexcept {
    return expected_ == Expected::name || expected_ == Expected::value;
  }

  Expected expected_ = Expected::arguments;
  bool malformed_ = false;
  std::vector<Field> fields_;
};

IdReader::End IdReader::read_line(std::string_view text) {
  auto rest = text;
  while (!malformed_) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    if (rest.empty()) break;
    if (const auto end = read_token(rest)) return *end;
  }
  // The command must not end inside the list. One without arguments passes: the server refuses it.
  return malformed_ || expects_string() ? End::malformed : End::command;
}

/// Reads the token that `rest` begins with. Returns the end of the line if it announces a literal.
std::optional<IdReader::End> IdReader::read_token(std::string_view& rest) {
  const char first = rest.front();
  if (first == '(' && expected_ == Expected::arguments) {
    expected_ = Expected::name;
    rest.remove_prefix(1);
  } else if (first == ')' && expected_ == Expected::name) {
    expected_ = Expected::end;
    rest.remove_prefix(1);
  } else if (first == '"' && expects_string()) {
    malformed_ = !read_quoted(rest);
  } else if (first == '{' && expects_string() && literal_at_end(rest) &&
             rest.find('{', 1) == std::string_view::npos) {
    return End::literal;
  } else {
    malformed_ = !read_nil(rest);
  }
  return std::nullopt;
}

bool IdReader::read_quoted(std::string_view& rest) {
  std::string text;
  if (!take_quoted(rest, text)) return false;
  add(std::move(text));
  return !malformed_;
}

/// Reads NIL, the only atom of an ID.
bool IdReader::read_nil(std::string_view& rest) {
  const auto atom = rest.substr(0, rest.find_first_of(" )"));
  if (!ascii::iequals(atom, kNil)) return false;
  rest.remove_prefix(atom.size());
  if (expected_ == Expected::arguments) {
    expected_ = Expected::end;
    return true;
  }
  if (expected_ != Expected::value) return false;
  add(std::nullopt);
  return true;
}

/// Adds a name, or the value of the last one.
void IdReader::add(std::optional<std::string> text) {
  const bool is_name = expected_ == Expected::name;
  // Only a literal can hold a text of several lines. We write quoted strings (RFC 9051 §9).
  if (text && (text->size() > (is_name ? kMaxName : kMaxValue) || !ascii::is_one_line(*text))) {
    malformed_ = true;
  }
  if (!is_name) {
    fields_.back().value = std::move(text);
    expected_ = Expected::name;
    return;
  }
  if (fields_.size() == kMaxFields) malformed_ = true;
  fields_.push_back({std::move(*text), std::nullopt});
  expected_ = Expected::value;
}

std::string IdReader::arguments() const {
  if (expected_ == Expected::arguments) return {};
  std::string out;
  for (const auto& [name, value] : fields_) {
    if (claims_connection(name)) continue;
    out += out.empty() ? '(' : ' ';
    append_quoted(out, name);
    out += ' ';
    if (value) {
      append_quoted(out, *value);
    } else {
      out += kNil;
    }
  }
  return out.empty() ? std::string(kNil) : out + ')';
}

}  // namespace

IdCommand read_id(std::string_view input, LineRules rules) {
  using State = IdCommand::State;
  const auto limit = rules.limit;
  IdCommand id;
  const auto end = [&](Result<State> state) {
    id.state = std::move(state);
    return std::move(id);
  };
  IdReader reader;
  while (true) {
    rules.limit = limit - id.size;
    const auto line = next_line(input.substr(id.size), rules);
    if (!line) return end(fail(line.error()));
    if (!line->has_value()) return id;
    const auto [text, raw] = **line;
    id.size += raw.size();
    id.last_line = text;
    switch (reader.read_line(text)) {
      case IdReader::End::malformed:
        return end(State::malformed);
      case IdReader::End::command:
        id.arguments = reader.arguments() + std::string(raw.substr(text.size()));
        // Quotes and backslashes of a literal may have made it too long for a line.
        return end(id.arguments.size() > limit ? State::malformed : State::whole);
      case IdReader::End::literal:
        break;
    }
    const auto literal = *literal_at_end(text);
    if (literal.size > kMaxValue) return end(State::malformed);
    if (literal.size >= limit - id.size) {
      return end(violation(rules, "an ID that is too long", input));
    }
    id.continuations += literal.waits ? 1 : 0;
    const auto size = static_cast<std::size_t>(literal.size);
    if (input.size() - id.size < size) return id;
    reader.read_literal(input.substr(id.size, size));
    id.size += size;
  }
}

}  // namespace starttls::proto::imap

#include "lib/session/credentials/token_json.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/jwt.h"

namespace starttls::session {
namespace {

using std::chrono::seconds;

constexpr int kMaxDepth = 16;
/// The latest time that is distinguished from any later one: the year 5138.
constexpr double kLatest = 1e11;

/// A value of a member: a text, a number, or any other one, which is skipped.
struct JsonValue {
  std::optional<std::string_view> text = {};
  std::optional<double> number = {};
};

/// Reads one JSON object (RFC 8259), strictly. The texts may be secrets, so its copies are wiped.
class JsonReader {
 public:
  using OnMember = std::function<void(std::string_view name, const JsonValue& value)>;

  explicit JsonReader(std::string_view text) : rest_(text) {
    // A text that grows would leave copies in memory.
    name_.reserve(text.size());
    text_.reserve(text.size());
  }
  JsonReader(const JsonReader&) = delete;
  JsonReader& operator=(const JsonReader&) = delete;
  ~JsonReader() {
    wipe(name_);
    wipe(text_);
  }

  /// Reports each member of the object. Returns false if the whole text is not one object.
  [[nodiscard]] bool read(const OnMember& on_member) {
    skip_blanks();
    if (!take('{') || !members(1, on_member)) return false;
    skip_blanks();
    return rest_.empty();
  }

 private:
  void skip_blanks() noexcept {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }
  bool take(char c) noexcept {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take(std::string_view word) noexcept {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  /// Reads the members of an object, after its '{'. `on_member` may be empty.
  bool members(int depth, const OnMember& on_member) {
    skip_blanks();
    if (take('}')) return true;
    for (;;) {
      skip_blanks();
      if (!string(name_)) return false;
      skip_blanks();
      JsonValue value;
      if (!take(':') || !this->value(depth, value)) return false;
      if (on_member) on_member(name_, value);
      skip_blanks();
      if (take('}')) return true;
      if (!take(',')) return false;
    }
  }

  bool elements(int depth) {
    skip_blanks();
    if (take(']')) return true;
    for (;;) {
      JsonValue skipped;
      if (!value(depth, skipped)) return false;
      skip_blanks();
      if (take(']')) return true;
      if (!take(',')) return false;
    }
  }

  bool value(int depth, JsonValue& out) {
    skip_blanks();
    if (take('{')) {
      // The names inside are not those of the object that is reported.
      const std::string name = name_;
      const bool read = depth < kMaxDepth && members(depth + 1, nullptr);
      name_ = name;
      return read;
    }
    if (take('[')) return depth < kMaxDepth && elements(depth + 1);
    if (take("true") || take("false") || take("null")) return true;
    if (!rest_.starts_with('"')) return number(out.number.emplace());
    if (!string(text_)) return false;
    out.text = text_;
    return true;
  }

  bool digits(std::size_t& at) const noexcept {
    const auto start = at;
    while (at < rest_.size() && ascii::is_digit(rest_[at])) ++at;
    return at > start;
  }

  bool number(double& out) noexcept {
    std::size_t at = rest_.starts_with('-') ? 1 : 0;
    const bool zero = rest_.substr(at).starts_with('0');
    if (zero) {
      ++at;
    } else if (!digits(at)) {
      return false;
    }
    if (rest_.substr(at).starts_with('.') && !digits(++at)) return false;
    if (at < rest_.size() && ascii::to_lower(rest_[at]) == 'e') {
      ++at;
      if (at < rest_.size() && (rest_[at] == '+' || rest_[at] == '-')) ++at;
      if (!digits(at)) return false;
    }
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + at, out);
    if (error != std::errc{} || end != rest_.data() + at) return false;
    rest_.remove_prefix(at);
    return true;
  }

  bool string(std::string& out) {
    out.clear();
    if (!take('"')) return false;
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < ' ') return false;
      if (c != '\\') {
        out += c;
      } else if (!escape(out)) {
        return false;
      }
    }
    return false;
  }

  bool escape(std::string& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == 'u') return code_unit(out);
    const auto index = kLetters.find(c);
    if (index == std::string_view::npos) return false;
    out += kMeanings[index];
    return true;
  }

  /// Reads the four digits of "\uXXXX". A half of a surrogate pair becomes U+FFFD: no token has
  /// one.
  bool code_unit(std::string& out) {
    constexpr std::size_t kDigits = 4;
    unsigned unit = 0;
    if (rest_.size() < kDigits) return false;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + kDigits, unit, 16);
    if (error != std::errc{} || end != rest_.data() + kDigits) return false;
    rest_.remove_prefix(kDigits);
    if (unit >= 0xD800 && unit <= 0xDFFF) unit = 0xFFFD;
    const auto add = [&out](unsigned byte) { out += static_cast<char>(byte); };
    if (unit < 0x80) {
      add(unit);
    } else if (unit < 0x800) {
      add(0xC0 | (unit >> 6));
      add(0x80 | (unit & 0x3F));
    } else {
      add(0xE0 | (unit >> 12));
      add(0x80 | ((unit >> 6) & 0x3F));
      add(0x80 | (unit & 0x3F));
    }
    return true;
  }

  std::string_view rest_;
  std::string name_;
  std::string text_;
};

/// Returns a number of seconds, within bounds; nothing if `value` is none. Some endpoints write it
/// as a text.
std::optional<seconds> seconds_in(const JsonValue& value) {
  std::optional<double> number = value.number;
  if (value.text) {
    if (const auto whole = ascii::parse_number(*value.text)) {
      number = static_cast<double>(*whole);
    }
  }
  if (!number) return std::nullopt;
  return seconds{static_cast<std::int64_t>(std::clamp(*number, 0.0, kLatest))};
}

}  // namespace

std::optional<FreshSecret> read_token_json(std::string_view json) {
  std::optional<Secret> token;
  SecretEnd end;
  bool right = true;
  JsonReader reader(json);
  const bool whole = reader.read([&](std::string_view name, const JsonValue& value) {
    if (name == "access_token" || name == "accessToken") {
      right = right && value.text && !token;
      if (right) token.emplace(*value.text);
    } else if (name == "expires_in") {
      end.after = seconds_in(value);
    } else if (name == "expires_on") {
      const auto at = seconds_in(value);
      if (at) end.at = UnixTime{*at};
    }
  });
  if (!whole || !right || !token) return std::nullopt;
  return FreshSecret{std::move(*token), end};
}

std::string endpoint_error_in(std::string_view json) {
  constexpr std::size_t kLongest = 40;
  std::string code;
  JsonReader reader(json);
  const bool whole = reader.read([&code](std::string_view name, const JsonValue& value) {
    if (name == "error" && value.text && value.text->size() <= kLongest) code = *value.text;
  });
  const bool plain = std::all_of(code.begin(), code.end(),
                                 [](char c) { return c == '_' || (c >= 'a' && c <= 'z'); });
  return whole && plain ? code : "";
}

std::optional<UnixTime> expiry_of_jwt(std::string_view token) {
  const auto parts = split_jwt(token);
  if (!parts) return std::nullopt;
  std::optional<seconds> expiry;
  JsonReader reader(parts->claims.reveal());
  const bool whole = reader.read([&expiry](std::string_view name, const JsonValue& value) {
    if (name == "exp" && value.number) expiry = seconds_in(value);
  });
  if (!whole || !expiry) return std::nullopt;
  return UnixTime{*expiry};
}

}  // namespace starttls::session

#include "lib/metrics/exposition.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

namespace starttls {
namespace {

constexpr std::string_view kTypeNames[] = {"counter", "gauge", "histogram"};
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// Returns the bytes of the UTF-8 sequence that `text` begins with. Returns 0 if it begins with
/// none, or with NUL. Overlong forms and surrogates are none (RFC 3629 §4).
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [text](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto tail = [&byte](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first == 0) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool second = tail(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool second = tail(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
    return second && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

/// Appends `text` escaped. Quotes are escaped only inside a label's quotes (`quotes`). Help is not
/// in quotes, so quotes in it stay.
void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

/// Returns the shortest text that reads back as the same value.
std::string as_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

}  // namespace

std::string as_label_value(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t size = utf8_sequence(text);
    out += size == 0 ? kReplacement : text.substr(0, size);
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

void Exposition::begin(std::string_view name, Type type, std::string_view help) {
  assert(std::find(names_.begin(), names_.end(), name) == names_.end());
  names_.push_back(name);
  help_ = help;
  type_ = type;
  header_due_ = true;
}

void Exposition::sample(Labels labels, std::uint64_t value) {
  line({}, labels, {}, fmt::format_int(value).c_str());
}

void Exposition::sample(Labels labels, std::int64_t value) {
  line({}, labels, {}, fmt::format_int(value).c_str());
}

void Exposition::sample(Labels labels, double value) {
  line({}, labels, {}, as_text(value));
}

void Exposition::histogram(Labels labels, std::span<const double> bounds,
                           std::span<const std::uint64_t> buckets, double sum) {
  assert(buckets.size() == bounds.size() + 1);
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    count += buckets[i];
    line("_bucket", labels, i < bounds.size() ? as_text(bounds[i]) : "+Inf",
         fmt::format_int(count).c_str());
  }
  line("_sum", labels, {}, as_text(sum));
  line("_count", labels, {}, fmt::format_int(count).c_str());
}

void Exposition::line(std::string_view suffix, Labels labels, std::string_view le,
                      std::string_view value) {
  assert(!names_.empty());
  const std::string_view name = names_.back();
  if (std::exchange(header_due_, false)) {
    text_ += fmt::format("# HELP {} ", name);
    append_escaped(text_, help_, false);
    text_ += fmt::format("\n# TYPE {} {}\n", name, kTypeNames[static_cast<std::size_t>(type_)]);
  }
  text_ += name;
  text_ += suffix;
  char before = '{';
  const auto add_label = [&](std::string_view key, std::string_view label_value) {
    text_ += std::exchange(before, ',');
    text_ += key;
    text_ += "=\"";
    append_escaped(text_, label_value, true);
    text_ += '"';
  };
  for (const auto& [key, label_value] : labels) add_label(key, as_label_value(label_value));
  if (!le.empty()) add_label("le", le);
  if (before == ',') text_ += '}';
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

}  // namespace starttls

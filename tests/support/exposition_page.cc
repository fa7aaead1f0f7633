#include "tests/support/exposition_page.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <stdexcept>

namespace starttls::test {
namespace {

/// One line, read from its beginning.
class Cursor {
 public:
  explicit Cursor(std::string_view line) : line_(line), rest_(line) {}

  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error(why + ": " + std::string{line_});
  }
  bool skip(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  void expect(std::string_view text) {
    if (!skip(text)) fail("expected '" + std::string{text} + "'");
  }
  /// Takes a name: [a-zA-Z_:][a-zA-Z0-9_:]*. Names of labels have no colons.
  std::string name(bool colons) {
    std::size_t size = 0;
    while (size < rest_.size()) {
      const char c = rest_[size];
      const bool letter =
          (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':');
      if (!letter && (size == 0 || c < '0' || c > '9')) break;
      ++size;
    }
    if (size == 0) fail("expected a name");
    return take(size);
  }
  /// Takes text up to the first unescaped `end`, which is left in place.
  std::string escaped(char end, std::string_view may_be_escaped) {
    std::string out;
    while (!rest_.empty() && rest_.front() != end) {
      char c = take(1)[0];
      if (c == '\0') fail("NUL");
      if (c == '\\') {
        if (rest_.empty()) fail("half an escape");
        c = take(1)[0];
        if (may_be_escaped.find(c) == std::string_view::npos) fail("an unknown escape");
        if (c == 'n') c = '\n';
      }
      out += c;
    }
    return out;
  }
  double number() {
    const std::string text = take(rest_.size());
    if (text == "+Inf") return HUGE_VAL;
    if (text == "NaN") return std::nan("");
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool digits = !text.empty() && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
    if (!digits || *end != '\0') fail("not a number");
    return value;
  }
  void expect_end() const {
    if (!rest_.empty()) fail("more than was expected");
  }

 private:
  std::string take(std::size_t size) {
    std::string out{rest_.substr(0, size)};
    rest_.remove_prefix(size);
    return out;
  }

  std::string_view line_;
  std::string_view rest_;
};

bool is_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    std::size_t tail = 0;
    unsigned code = first;
    if (first >= 0xF0) {
      tail = 3;
      code = first & 7U;
    } else if (first >= 0xE0) {
      tail = 2;
      code = first & 15U;
    } else if (first >= 0xC0) {
      tail = 1;
      code = first & 31U;
    } else if (first >= 0x80) {
      return false;
    }
    if (i + tail >= text.size()) return false;
    for (std::size_t k = 1; k <= tail; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0U) != 0x80) return false;
      code = code << 6U | (next & 63U);
    }
    constexpr unsigned kLeast[] = {0, 0x80, 0x800, 0x10000};
    if (code < kLeast[tail] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
    i += tail + 1;
  }
  return true;
}

PageSample read_sample(Cursor& line) {
  PageSample sample;
  sample.name = line.name(true);
  if (line.skip("{")) {
    do {
      const std::string key = line.name(false);
      line.expect("=\"");
      const std::string value = line.escaped('"', "\\\"n");
      line.expect("\"");
      if (!is_utf8(value)) line.fail("not UTF-8");
      if (!sample.labels.emplace(key, value).second) line.fail("a label twice");
    } while (line.skip(","));
    line.expect("}");
  }
  line.expect(" ");
  sample.value = line.number();
  line.expect_end();
  return sample;
}

/// Checks that buckets rise and that there is a sum. +Inf must be the last bucket and equal the
/// count.
void check_histogram(const PageFamily& family) {
  using Labels = std::map<std::string, std::string>;
  struct Series {
    double bound = -HUGE_VAL;
    double bucket = 0;
    int parts = 0;
    double count = -1;
  };
  std::map<Labels, Series> all;
  for (const auto& sample : family.samples) {
    Labels labels = sample.labels;
    labels.erase("le");
    Series& series = all[labels];
    const std::string suffix = sample.name.substr(family.name.size());
    const auto broken = [&](const std::string& why) {
      throw std::runtime_error(why + ": " + sample.name);
    };
    if (suffix == "_bucket") {
      const auto le = sample.labels.find("le");
      if (le == sample.labels.end()) broken("no le");
      const double bound = le->second == "+Inf" ? HUGE_VAL : std::stod(le->second);
      if (bound <= series.bound) broken("bounds do not rise");
      if (sample.value < series.bucket) broken("buckets shrink");
      series.bound = bound;
      series.bucket = sample.value;
    } else if (suffix == "_sum" || suffix == "_count") {
      ++series.parts;
      if (suffix == "_count") series.count = sample.value;
    } else {
      broken("no sample of a histogram");
    }
  }
  for (const auto& [labels, series] : all) {
    if (series.bound != HUGE_VAL || series.parts != 2 || series.count != series.bucket) {
      throw std::runtime_error("half a histogram: " + family.name);
    }
  }
}

}  // namespace

Page::Page(std::string_view text) {
  if (!text.empty() && text.back() != '\n') throw std::runtime_error("no end of line");
  std::set<std::pair<std::string, std::map<std::string, std::string>>> seen;
  std::string help_name;
  std::string help;
  while (!text.empty()) {
    const auto end = text.find('\n');
    Cursor line{text.substr(0, end)};
    text.remove_prefix(end + 1);
    if (line.skip("# HELP ")) {
      if (!help_name.empty()) line.fail("HELP without TYPE before");
      help_name = line.name(true);
      line.expect(" ");
      help = line.escaped('\n', "\\n");
    } else if (line.skip("# TYPE ")) {
      PageFamily family;
      family.name = line.name(true);
      line.expect(" ");
      family.type = line.name(false);
      line.expect_end();
      family.help = help;
      if (family.name != help_name) line.fail("TYPE without its HELP");
      if (family.type != "counter" && family.type != "gauge" && family.type != "histogram") {
        line.fail("an unknown type");
      }
      if (std::any_of(families_.begin(), families_.end(),
                      [&family](const auto& other) { return other.name == family.name; })) {
        line.fail("a family twice");
      }
      families_.push_back(std::move(family));
      help_name.clear();
    } else {
      PageSample sample = read_sample(line);
      if (families_.empty() || !help_name.empty()) line.fail("a sample without its family");
      PageFamily& family = families_.back();
      const bool histogram = family.type == "histogram";
      if (histogram ? !sample.name.starts_with(family.name + "_") : sample.name != family.name) {
        line.fail("a sample of another family");
      }
      if (family.type != "gauge" && !(sample.value >= 0)) line.fail("less than nothing");
      if (!seen.emplace(sample.name, sample.labels).second) line.fail("a sample twice");
      family.samples.push_back(std::move(sample));
    }
  }
  if (!help_name.empty()) throw std::runtime_error("HELP at the end");
  for (const auto& family : families_) {
    if (family.samples.empty()) throw std::runtime_error("no samples: " + family.name);
    if (family.help.empty()) throw std::runtime_error("no help: " + family.name);
    if ((family.type == "counter") != family.name.ends_with("_total")) {
      throw std::runtime_error("a counter's name ends in _total, no other's: " + family.name);
    }
    if (family.type == "histogram") check_histogram(family);
  }
}

const PageFamily& Page::family(const std::string& name) const {
  for (const auto& family : families_) {
    if (family.name == name) return family;
  }
  throw std::runtime_error("no family " + name);
}

double Page::value(const std::string& name,
                   const std::map<std::string, std::string>& labels) const {
  for (const auto& family : families_) {
    for (const auto& sample : family.samples) {
      if (sample.name == name && sample.labels == labels) return sample.value;
    }
  }
  throw std::runtime_error("no sample " + name);
}

bool Page::has(const std::string& name, const std::map<std::string, std::string>& labels) const {
  try {
    static_cast<void>(value(name, labels));
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

}  // namespace starttls::test

#pragma once

// Prometheus' text exposition format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace starttls {

/// A label of a sample. The key is ours. The value may hold anything, because it is escaped here.
struct Label {
  std::string_view key;
  std::string_view value;
};

/// Returns `text` in a form that a label's value may have: UTF-8, without NUL. Other bytes become
/// U+FFFD, because a single one makes Prometheus refuse the whole page.
[[nodiscard]] std::string as_label_value(std::string_view text);

/// Writes a page, family by family. All samples of a family are together, after one header. A
/// family without samples is left out.
class Exposition {
 public:
  enum class Type : std::uint8_t { counter, gauge, histogram };
  using Labels = std::span<const Label>;

  /// Begins the family of the samples that follow. Its name must be new. Names and help must
  /// outlive the page.
  void begin(std::string_view name, Type type, std::string_view help);

  void sample(Labels labels, std::uint64_t value);
  void sample(Labels labels, std::int64_t value);
  void sample(Labels labels, double value);
  template <class Value>
  void sample(std::initializer_list<Label> labels, Value value) {
    sample(Labels{labels.begin(), labels.size()}, value);
  }
  /// Writes a histogram. `bounds` are in seconds and rising. `buckets` has one more element, and
  /// each bucket counts by itself.
  void histogram(Labels labels, std::span<const double> bounds,
                 std::span<const std::uint64_t> buckets, double sum);

  [[nodiscard]] std::string take() noexcept { return std::move(text_); }

 private:
  void line(std::string_view suffix, Labels labels, std::string_view le, std::string_view value);

  std::string text_;
  std::vector<std::string_view> names_;  // of all families so far
  std::string_view help_;
  Type type_ = Type::counter;
  bool header_due_ = false;
};

}  // namespace starttls

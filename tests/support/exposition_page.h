#pragma once

// A strict reader of Prometheus' text format 0.0.4, written from its description and not from the
// writer: what it accepts, Prometheus does.

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::test {

struct PageSample {
  std::string name;  ///< with its suffix
  std::map<std::string, std::string> labels;
  double value = 0;
};

struct PageFamily {
  std::string name;
  std::string type;
  std::string help;
  std::vector<PageSample> samples;
};

class Page {
 public:
  /// Throws std::runtime_error, with the line, where `text` is not a page.
  explicit Page(std::string_view text);

  [[nodiscard]] const std::vector<PageFamily>& families() const { return families_; }
  /// Throws where there is none.
  [[nodiscard]] const PageFamily& family(const std::string& name) const;
  /// The sample of that name (with its suffix) and exactly these labels. Throws where there is
  /// none.
  [[nodiscard]] double value(const std::string& name,
                             const std::map<std::string, std::string>& labels = {}) const;
  [[nodiscard]] bool has(const std::string& name,
                         const std::map<std::string, std::string>& labels = {}) const;

 private:
  std::vector<PageFamily> families_;
};

}  // namespace starttls::test

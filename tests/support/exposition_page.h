#pragma once

// A strict reader of Prometheus' text format 0.0.4. It follows the format's description, not our
// writer's code: a page that it accepts is accepted by Prometheus.

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
  /// Throws std::runtime_error, with the line, if `text` is not a page.
  explicit Page(std::string_view text);

  [[nodiscard]] const std::vector<PageFamily>& families() const { return families_; }
  /// Throws if there is none.
  [[nodiscard]] const PageFamily& family(const std::string& name) const;
  /// Returns the sample of that name (with its suffix) and exactly these labels. Throws if there is
  /// none.
  [[nodiscard]] double value(const std::string& name,
                             const std::map<std::string, std::string>& labels = {}) const;
  [[nodiscard]] bool has(const std::string& name,
                         const std::map<std::string, std::string>& labels = {}) const;

 private:
  std::vector<PageFamily> families_;
};

}  // namespace starttls::test

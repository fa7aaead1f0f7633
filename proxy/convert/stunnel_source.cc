#include "proxy/convert/stunnel_source.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>

#include "lib/base/ascii.h"
#include "lib/base/descriptor.h"
#include "lib/base/regular_file.h"
#include "lib/config/expand.h"
#include "proxy/convert/stunnel_conf.h"

namespace starttls::stunnel {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 1000;
constexpr std::size_t kMaxDepth = 8;  // of files that include others
constexpr std::size_t kMaxPath = 4096;

/// Reads the file that the command line names. It may be a pipe: `convert` has nothing else to do.
Result<std::string> read_first(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.get() < 0) return fail(Errc::config, std::generic_category().message(errno));
  return read_to_end(file.get(), config::kMaxFile);
}

struct Fragment {
  fs::path path;
  std::string text;
};

/// Returns the files of a folder in the order of their names; nothing if one cannot be read.
std::optional<std::vector<Fragment>> read_folder(const fs::path& folder) {
  std::error_code error;
  std::vector<Fragment> found;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    if (found.size() == kMaxFiles) return std::nullopt;
    found.push_back({entry->path(), {}});
  }
  if (error) return std::nullopt;
  std::sort(found.begin(), found.end(),
            [](const Fragment& a, const Fragment& b) { return a.path < b.path; });
  for (auto& each : found) {
    auto text = config::read_file(each.path);
    if (!text) return std::nullopt;
    each.text = std::move(*text);
  }
  return found;
}

class SourceReader {
 public:
  SourceReader(const fs::path& folder, Source& out) : folder_(folder), out_(out) {}

  void append(std::string_view text, std::size_t file, std::size_t depth) {
    std::size_t number = 0;
    for (std::string_view line; next_line(text, line);) {
      ++number;
      const auto option = parse_option(line, number);
      if (option && ascii::iequals(option->name, "include") && include(option->value, depth)) {
        continue;
      }
      out_.text.append(line).append("\n");
      out_.places.push_back({file, number});
    }
  }

 private:
  /// Appends the files of a folder. False if it cannot be read, or if there are too many files.
  bool include(const std::string& folder, std::size_t depth) {
    if (folder.empty() || depth == kMaxDepth) return false;
    const auto found = read_folder(folder_ / folder);
    if (!found || out_.included.size() + found->size() > kMaxFiles) return false;
    for (const auto& [path, text] : *found) {
      out_.included.push_back(ascii::escape(path.string(), kMaxPath));
      append(text, out_.included.size(), depth + 1);
    }
    return true;
  }

  const fs::path& folder_;
  Source& out_;
};

}  // namespace

std::string Source::place(std::size_t line) const {
  if (places.empty()) return "line " + std::to_string(line);
  const auto& [file, number] = places.at(line - 1);
  return (file == 0 ? "" : included.at(file - 1) + ": ") + "line " + std::to_string(number);
}

Result<Source> read_source(const std::string& path) {
  const auto text = read_first(path);
  if (!text) return fail(text.error());
  Source source{.path = ascii::escape(path, kMaxPath), .text = {}};
  const fs::path folder = fs::path(path).parent_path();
  SourceReader(folder, source).append(*text, 0, 0);
  return source;
}

}  // namespace starttls::stunnel

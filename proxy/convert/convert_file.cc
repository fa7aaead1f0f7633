#include "proxy/convert/convert_file.h"

#include <chrono>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/utc.h"
#include "proxy/convert/converter.h"
#include "proxy/convert/stunnel_source.h"
#include "proxy/exit_status.h"
#include "proxy/output.h"

namespace starttls {
namespace {

/// Returns "1 note" or "2 notes".
std::string counted(std::size_t number, std::string_view what) {
  return std::to_string(number) + " " + std::string(what) + (number == 1 ? "" : "s");
}

/// Returns the line that sums up a conversion.
std::string summary(const Conversion& result) {
  const auto merged = result.sections - result.services - result.left_out;
  std::string text =
      std::to_string(result.services) + " of " + counted(result.sections, "service") + " converted";
  if (merged > 0) text += ", " + std::to_string(merged) + " merged into another";
  return text + ", " + std::to_string(result.left_out) + " left out, " +
         counted(result.notes.size(), "note");
}

}  // namespace

int convert_files(std::span<const std::string> paths, bool strict) {
  std::vector<stunnel::Source> files;
  for (const auto& path : paths) {
    auto file = stunnel::read_source(path);
    if (!file) {
      std::fprintf(stderr, "starttls-proxy: %s: cannot be read: %s\n", path.c_str(),
                   file.error().reason.c_str());
      return kExitConfig;
    }
    files.push_back(std::move(*file));
  }
  const auto result = convert_stunnel(files);
  const std::string names = files.size() == 1 ? files.front().path : counted(files.size(), "file");
  const auto today = utc(UnixTime::of(std::chrono::system_clock::now()), "%Y-%m-%d");
  const std::string header =
      result.toml.empty() ? "" : "# Converted from " + names + " on " + today + ".\n";
  const int printed = print_output(header + result.toml, 0);
  for (const auto& note : result.notes) std::fprintf(stderr, "%s\n", note.c_str());
  std::fprintf(stderr, "starttls-proxy: %s: %s\n", names.c_str(),
               result.services == 0 ? "no service could be converted" : summary(result).c_str());
  const bool failed = result.services == 0 || (strict && result.left_out > 0);
  return failed ? kExitConfig : printed;
}

}  // namespace starttls

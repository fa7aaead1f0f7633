#include "lib/config/unknown.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/config/schema.h"

namespace starttls::config {
namespace {

constexpr std::string_view kService = "service.";
constexpr std::string_view kTimeouts = "timeouts.";

/// Flags of other programs, and what they are called here.
struct OtherName {
  std::string_view other;
  std::string_view ours;
};
constexpr OtherName kOtherNames[] = {{"--cert", "--chain"}, {"--port", "--listen"}};

/// Returns the number of steps from `a` to `b`. Each step (insert, delete, replace, swap two
/// neighbours) counts one.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const std::size_t differ = a[i - 1] == b[j - 1] ? 0 : 1;
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + differ});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

std::string_view last_part(std::string_view path) noexcept {
  return path.substr(path.rfind('.') + 1);  // npos + 1 is 0
}

std::string_view parent(std::string_view path) noexcept {
  const auto dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
}

/// Returns how far `path` is from `candidate`. A right name in the wrong section is nearer than a
/// half-wrong name in the right section.
std::size_t path_distance(std::string_view path, std::string_view candidate) {
  const std::size_t elsewhere = parent(path) == parent(candidate) ? 0 : 1;
  return edit_distance(last_part(path), last_part(candidate)) + elsewhere;
}

/// Returns every path that means something: keys, and the sections that contain them.
std::vector<std::string> known_paths() {
  std::vector<std::string> paths;
  const auto add = [&paths](std::string path) {
    if (std::find(paths.begin(), paths.end(), path) == paths.end())
      paths.push_back(std::move(path));
  };
  for (const auto& key : keys()) {
    add(std::string(parent(key.path)));
    add(std::string(key.path));
    if (key.path.starts_with(kTimeouts)) {
      add(std::string(kService) + std::string(parent(key.path)));
      add(std::string(kService) + std::string(key.path));
    }
  }
  return paths;
}

constexpr std::size_t kMaxCompared = 100;  // keeps the distance cheap for long names

/// Returns "unknown key 'x'". A user typed this name, so it may hold anything, at any length.
std::string unknown(std::string_view what, std::string_view name) {
  return "unknown " + std::string(what) + " '" + ascii::escape(name) + "'";
}

/// Returns the question that follows: ": did you mean 'y'?". Returns "" if no candidate is near.
/// Half of the name may differ. The section before a key and the dashes before a flag do not count,
/// because they are nearly always right.
template <class Distance>
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates,
                       Distance distance_of) {
  std::string_view nearest;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (const auto& candidate : candidates) {
    const std::size_t distance = distance_of(name.substr(0, kMaxCompared), candidate);
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  const auto part = last_part(name);
  const auto dashes = std::min(part.find_first_not_of('-'), part.size());
  const bool near = least * 2 <= part.size() - dashes;
  return near ? ": did you mean '" + std::string(nearest) + "'?" : "";
}

/// Returns the flags of all keys that have this name without their section. "--tls" may mean the
/// flag of either leg.
std::string flags_of_name(std::string_view flag) {
  std::string flags;
  for (const auto& key : keys()) {
    if (key.flag.empty() || "--" + std::string(last_part(key.path)) != flag) continue;
    flags += (flags.empty() ? "'" : " or '") + std::string(key.flag) + "'";
  }
  return flags;
}

}  // namespace

std::string unknown_key(std::string_view path) {
  auto candidates = known_paths();
  // The section that contains the key is right, so it is no answer.
  std::erase_if(candidates, [path](const std::string& each) { return parent(path) == each; });
  return unknown("key", path) + suggestion(path, candidates, path_distance);
}

std::string unknown_flag(std::string_view flag, std::span<const std::string_view> others) {
  if (const auto meant = flags_of_name(flag); !meant.empty()) {
    return unknown("option", flag) + ": did you mean " + meant + "?";
  }
  for (const auto& [other, ours] : kOtherNames) {
    if (flag == other)
      return unknown("option", flag) + ": did you mean '" + std::string(ours) + "'?";
  }
  std::vector<std::string> flags(others.begin(), others.end());
  for (const auto& key : keys()) {
    if (!key.flag.empty()) flags.emplace_back(key.flag);
  }
  return unknown("option", flag) + suggestion(flag, flags, edit_distance);
}

}  // namespace starttls::config

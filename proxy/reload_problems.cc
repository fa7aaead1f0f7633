#include "proxy/reload_problems.h"

#include <algorithm>
#include <utility>

#include "lib/tls/context.h"

namespace starttls {

void ReloadProblems::set(std::vector<std::string> problems, Clock::time_point now) {
  problems_ = std::move(problems);
  since_ = now;
  only_keys_ = std::all_of(problems_.begin(), problems_.end(), [](const std::string& each) {
    return each.find(tls::kOtherKey) != std::string::npos;
  });
  announced_ = false;
}

void ReloadProblems::clear() {
  problems_.clear();
}

ReloadProblems::Step ReloadProblems::on_unchanged(Clock::time_point now) {
  if (problems_.empty()) return Step::nothing;
  if (!only_keys_ || now - since_ >= kPatience) return Step::failed;
  return std::exchange(announced_, true) ? Step::nothing : Step::waits;
}

}  // namespace starttls

#include "lib/config/problem.h"

#include <algorithm>

namespace starttls::config {

void sort(Problems& problems) {
  std::stable_sort(problems.begin(), problems.end(),
                   [](const Problem& a, const Problem& b) { return a.rank < b.rank; });
}

Problems Findings::sorted() const {
  auto problems = found_;
  sort(problems);
  return problems;
}

}  // namespace starttls::config

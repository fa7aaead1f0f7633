#include "lib/config/value.h"

#include <algorithm>

namespace starttls::config {

std::string_view kind_name(const Value& value) noexcept {
  switch (value.kind) {
    case Value::Kind::text:
    case Value::Kind::word:
      return "a string";
    case Value::Kind::number:
      return "a number";
    case Value::Kind::boolean:
      return "a boolean";
    case Value::Kind::list:
      return "a list";
    case Value::Kind::table:
      return "a table";
    case Value::Kind::other:
      return value.text;
  }
  return "something else";
}

Problems Findings::sorted() const {
  auto found = found_;
  std::stable_sort(found.begin(), found.end(),
                   [](const Found& a, const Found& b) { return a.rank < b.rank; });
  Problems problems;
  for (auto& each : found) problems.push_back(std::move(each.problem));
  return problems;
}

}  // namespace starttls::config

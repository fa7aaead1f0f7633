#include "lib/config/value.h"

#include <algorithm>
#include <utility>

#include "lib/base/ascii.h"

namespace starttls::config {

const Value* Value::member(std::string_view name) const noexcept {
  const auto found = std::find_if(elements.begin(), elements.end(),
                                  [name](const Value& each) { return each.key == name; });
  return found == elements.end() ? nullptr : &*found;
}

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

std::string quoted(const Value& value) {
  return "'" + ascii::escape(value.written.value_or(value.text)) + "'";
}

std::string shown(const Value& value, std::string name) {
  return value.written ? quoted(value) : std::move(name);
}

std::string shown(const Value& value, std::size_t index, std::size_t count, std::string name) {
  if (value.kind != Value::Kind::list) return shown(value, std::move(name));
  if (value.elements.size() == count) return shown(value.elements[index], std::move(name));
  // Some elements were bad, so the position of this one is not known any more.
  const auto& all = value.elements;
  const auto found = std::find_if(all.begin(), all.end(),
                                  [](const Value& each) { return each.written.has_value(); });
  return found == all.end() ? name : quoted(*found);
}

}  // namespace starttls::config

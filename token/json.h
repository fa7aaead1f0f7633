#pragma once

// JSON objects with secrets in them. Only sources include this header, because it is large.

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "lib/base/secret.h"

namespace starttls::token {

/// A JSON object. Its strings are wiped at its end.
class JsonObject {
 public:
  /// Returns nothing if `text` is not exactly one object.
  [[nodiscard]] static std::optional<JsonObject> parse(std::string_view text) {
    auto value = nlohmann::json::parse(text, nullptr, false);
    if (!value.is_object()) return std::nullopt;
    return JsonObject{std::move(value)};
  }
  JsonObject(const JsonObject&) = delete;
  JsonObject(JsonObject&& other) noexcept = default;
  JsonObject& operator=(const JsonObject&) = delete;
  JsonObject& operator=(JsonObject&&) = delete;
  ~JsonObject() {
    auto* const members = value_.get_ptr<nlohmann::json::object_t*>();
    if (members == nullptr) return;  // its content has moved on
    for (auto& [key, member] : *members) {
      if (auto* const text = member.get_ptr<std::string*>()) wipe(*text);
    }
  }

  [[nodiscard]] bool has(const char* key) const { return value_.contains(key); }

  /// Returns the text of a member. Returns nothing if it is missing or no text.
  [[nodiscard]] std::optional<std::string> text(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end() || !found->is_string()) return std::nullopt;
    return found->get_ref<const std::string&>();
  }
  [[nodiscard]] std::optional<Secret> secret(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end() || !found->is_string()) return std::nullopt;
    return Secret{found->get_ref<const std::string&>()};
  }
  /// Returns a whole number that is not negative, also one that is written as text.
  [[nodiscard]] std::optional<std::int64_t> number(const char* key) const;

 private:
  explicit JsonObject(nlohmann::json&& value) : value_(std::move(value)) {}

  nlohmann::json value_;
};

}  // namespace starttls::token

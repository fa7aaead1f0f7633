#pragma once

// What the line protocols share beyond framing: words, lists of SASL mechanisms, greetings of our
// own, and the limits of the talk between the client's greeting and the relay.

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ascii.h"
#include "lib/base/error.h"
#include "lib/proto/line_negotiator.h"
#include "lib/proto/negotiator.h"

namespace starttls::proto {

/// Commands the server has not answered yet. A client that waits for replies has one, a pipelining
/// one a handful before it commits.
inline constexpr std::size_t kMaxUnanswered = 1000;

/// Wider than one space: Postfix takes any white space, also before the verb, and a filter must not
/// see fewer words than the server behind it.
constexpr bool separates(char c) noexcept {
  return static_cast<unsigned char>(c) <= ' ';
}

/// Cuts the first word off `rest`; empty where there is none left.
constexpr std::string_view take_word(std::string_view& rest) noexcept {
  while (!rest.empty() && separates(rest.front())) rest.remove_prefix(1);
  std::size_t size = 0;
  while (size < rest.size() && !separates(rest[size])) ++size;
  const auto word = rest.substr(0, size);
  rest.remove_prefix(size);
  return word;
}

constexpr bool is_any_of(std::string_view word,
                         std::initializer_list<std::string_view> words) noexcept {
  for (const auto candidate : words) {
    if (ascii::iequals(word, candidate)) return true;
  }
  return false;
}

/// May a mechanism not be offered through the proxy? `external`: EXTERNAL must not be either, so
/// that no client logs in with our own certificate by accident (RFC 4422 appendix A). This protects
/// nothing: a client that has committed can ask for it unseen (config::Exposure::certificate).
[[nodiscard]] constexpr bool is_barred_mechanism(std::string_view name, bool external) noexcept {
  // Channel binding ties the login to one TLS connection; here are two (RFC 5929, RFC 9266).
  return ascii::iends_with(name, "-PLUS") || (external && ascii::iequals(name, "EXTERNAL"));
}

/// `list` without the barred mechanisms, nothing where none was among them.
[[nodiscard]] inline std::optional<std::string> filter_mechanisms(std::string_view list,
                                                                  bool external) {
  std::string kept;
  bool dropped = false;
  for (auto name = take_word(list); !name.empty(); name = take_word(list)) {
    if (is_barred_mechanism(name, external)) {
      dropped = true;
      continue;
    }
    if (!kept.empty()) kept += ' ';
    kept += name;
  }
  if (!dropped) return std::nullopt;
  return kept;
}

/// The greeting for the client where the server's came in the clear: one line under a status of our
/// own (`status` ends in a space), because anybody may have written on that leg. Where no text is
/// left or wanted: our name and `service`.
[[nodiscard]] inline std::string reduced_greeting(std::string_view status, std::string_view text,
                                                  const RoleSettings& settings,
                                                  std::string_view service) {
  constexpr std::string_view kEnd = "\r\n";
  std::string words;
  if (settings.greeting_text) {
    words = ascii::printable(text, kMaxOwnLine - status.size() - kEnd.size());
    words = ascii::trim(words);
  }
  if (words.empty()) words = settings.hostname + ' ' + std::string(service);
  return std::string(status) + words + std::string(kEnd);
}

/// Counts commands that are refused, by us or by the server: nobody guesses in a prelude.
class RefusalMeter {
 public:
  /// Errors: too_many_errors, with the twentieth.
  [[nodiscard]] Result<> add() {
    constexpr unsigned kMaxErrors = 20;
    if (++errors_ < kMaxErrors) return {};
    return fail(Errc::too_many_errors, "too many errors");
  }

 private:
  unsigned errors_ = 0;
};

}  // namespace starttls::proto

#pragma once

// Reads one value as what its key wants it to be. Each function stores a good value in `out`; a bad
// one becomes a finding that names the key, and `out` stays as it is.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "lib/config/config.h"
#include "lib/config/schema.h"

namespace starttls::config {

/// A word and the enumerator it stands for.
template <class Enum>
struct Choice {
  std::string_view word;
  Enum value;
};

/// A finding about the value of `input`: its key, then `text` ("must be ...").
void reject(const Input& input, std::string_view text);
/// The finding that the value is not of the kind that is `wanted` ("a string").
void reject_kind(const Input& input, std::string_view wanted);

[[nodiscard]] bool read_whole_number(const Input& input, std::uint64_t min, std::uint64_t max,
                                     std::uint64_t& out);
template <class Number>
void read_number(const Input& input, std::uint64_t min, std::uint64_t max, Number& out) {
  std::uint64_t number = 0;
  if (read_whole_number(input, min, max, number)) out = static_cast<Number>(number);
}

void read_boolean(const Input& input, bool& out);
void read_duration(const Input& input, std::chrono::milliseconds& out);

/// Any text without control characters.
[[nodiscard]] bool read_text(const Input& input, std::string& out);
/// A service's name: a label of logs and metrics, so letters, digits, '.', '_' and '-'.
void read_label(const Input& input, std::string& out);
/// One of the source's protocols.
void read_protocol(const Input& input, std::string& out);
/// Our own name in EHLO: a host's name or an address literal in brackets (RFC 5321 §4.1.3); "" =
/// none.
void read_helo_name(const Input& input, std::string& out);
/// A name to verify; "" = none.
void read_server_name(const Input& input, std::string& out);
/// A path, made absolute; "" = none.
void read_path(const Input& input, std::string& out);
/// The same for a file that must be readable now.
void read_readable_file(const Input& input, std::string& out);
/// The same where there must be one.
void read_required_file(const Input& input, std::string& out);

void read_listen(const Input& input, std::vector<Address>& out);
/// One address to listen on; "" = none.
void read_admin_listen(const Input& input, std::optional<Address>& out);
/// Addresses, or the word for where each client meant to go.
void read_upstream(const Input& input, Upstream& out);
/// "client", or "" for an address of ours.
void read_source(const Input& input, bool& from_client);
void read_networks(const Input& input, std::vector<Network>& out);
void read_pins(const Input& input, std::vector<Pin>& out);

/// The index of the one of `words` that the value is; their number where it is none.
[[nodiscard]] std::size_t read_word(const Input& input, std::span<const std::string_view> words);
template <class Enum, std::size_t size>
void read_choice(const Input& input, const Choice<Enum> (&choices)[size], Enum& out) {
  std::string_view words[size];
  for (std::size_t i = 0; i < size; ++i) words[i] = choices[i].word;
  if (const auto index = read_word(input, words); index < size) out = choices[index].value;
}

}  // namespace starttls::config

#pragma once

// Reads one value as the kind that its key requires. Each function stores a good value in `out`. A
// bad one becomes a finding that names the key, and `out` stays as it is.

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

/// A word and the enumerator that it means.
template <class Enum>
struct Choice {
  std::string_view word;
  Enum value;
};

/// Adds a finding about the value of `input`: its key, then `text` ("must be ...").
void reject(const Input& input, std::string_view text);
/// Adds the finding that the value is not of the `wanted` kind ("a string").
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

/// Reads any text without control characters.
[[nodiscard]] bool read_text(const Input& input, std::string& out);
/// Reads a service's name. It is a label of logs and metrics, so it may have only letters, digits,
/// '.', '_' and '-'.
void read_label(const Input& input, std::string& out);
/// Reads one of the source's protocols.
void read_protocol(const Input& input, std::string& out);
/// Reads our own name in EHLO: a host's name or an address literal in brackets (RFC 5321 §4.1.3);
/// "" = none.
void read_helo_name(const Input& input, std::string& out);
/// Reads a name to verify; "" = none.
void read_server_name(const Input& input, std::string& out);
/// Reads a path and makes it absolute; "" = none.
void read_path(const Input& input, std::string& out);
/// Reads the path of a file that must be readable now; "" = none.
void read_readable_file(const Input& input, std::string& out);
/// Reads the path of a readable file that must not be "".
void read_required_file(const Input& input, std::string& out);

void read_listen(const Input& input, std::vector<Address>& out);
/// Reads one address to listen on; "" = none.
void read_admin_listen(const Input& input, std::optional<Address>& out);
/// Reads addresses, or "original-destination": the address that each client meant to reach.
void read_upstream(const Input& input, Upstream& out);
/// Reads "client", or "" for an address of ours.
void read_source(const Input& input, bool& from_client);
void read_networks(const Input& input, std::vector<Network>& out);
void read_pins(const Input& input, std::vector<Pin>& out);

/// Returns the index of the value in `words`, or their number if it is none of them.
[[nodiscard]] std::size_t read_word(const Input& input, std::span<const std::string_view> words);
template <class Enum, std::size_t size>
void read_choice(const Input& input, const Choice<Enum> (&choices)[size], Enum& out) {
  std::string_view words[size];
  for (std::size_t i = 0; i < size; ++i) words[i] = choices[i].word;
  if (const auto index = read_word(input, words); index < size) out = choices[index].value;
}

}  // namespace starttls::config

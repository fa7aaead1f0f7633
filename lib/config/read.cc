#include "lib/config/read.h"

#include <algorithm>
#include <optional>

#include "lib/base/ascii.h"
#include "lib/base/regular_file.h"

namespace starttls::config {
namespace {

using Kind = Value::Kind;

constexpr std::size_t kMaxLabel = 64;

bool is_label_character(char c) noexcept {
  return ascii::is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
}

/// Returns `text` without its brackets, or nothing if they are missing.
std::optional<std::string> in_brackets(std::string_view text) {
  if (text.size() < 2 || !text.starts_with('[') || !text.ends_with(']')) return std::nullopt;
  return std::string(text.substr(1, text.size() - 2));
}

/// Adds a parser's error as a finding. The error quotes the value. If that held "${...}", the
/// finding quotes the text as written instead.
void reject_unparsed(const Input& input, const Error& error) {
  reject(input, input.value.written ? quoted(input.value) + ": " + error.evidence : error.reason);
}

/// True for an address literal of SMTP, without brackets: "192.0.2.1" or "IPv6:2001:db8::1".
bool is_address_literal(std::string_view text) {
  constexpr std::string_view kIpv6 = "IPv6:";
  const bool v6 = ascii::istarts_with(text, kIpv6);
  if (v6) text.remove_prefix(kIpv6.size());
  return is_ip_literal(std::string(text)) && v6 == (text.find(':') != std::string_view::npos);
}

/// Calls `read_one` for each element of a list, in order, or for a value that is no list.
template <class ReadOne>
void read_each(const Input& input, ReadOne read_one) {
  if (input.value.kind != Kind::list) {
    read_one(input);
    return;
  }
  for (const auto& element : input.value.elements) {
    read_one(Input{input.path, element, input.source, input.findings});
  }
}

std::optional<Address> read_address(const Input& input) {
  std::string text;
  if (!read_text(input, text)) return std::nullopt;
  auto address = parse_address(text);
  if (!address) {
    reject_unparsed(input, address.error());
    return std::nullopt;
  }
  if (address->is_unix()) {
    const auto path = (input.source.folder / address->path).lexically_normal().string();
    // The absolute path may be too long, so it is checked again.
    address = parse_address("unix:" + path);
    if (!address) {
      reject_unparsed(input, address.error());
      return std::nullopt;
    }
  }
  return std::move(*address);
}

/// Reads an address to listen on.
std::optional<Address> read_own_address(const Input& input) {
  const auto& text = input.value.text;
  if (text.starts_with("*:")) {
    reject(input, "'*' is not an address: write 0.0.0.0:PORT or [::]:PORT, or both");
    return std::nullopt;
  }
  if (const auto port = ascii::parse_number(text); port && *port <= UINT16_MAX) {
    const auto shown_port = input.value.written ? "PORT" : std::to_string(*port);
    reject(input, quoted(input.value) + ": the address is missing: write 127.0.0.1:" + shown_port);
    return std::nullopt;
  }
  auto address = read_address(input);
  if (address && !address->is_unix() &&
      !is_ip_literal(std::string(without_interface(address->host)))) {
    // A name may have several addresses, and other ones tomorrow.
    reject(input, quoted(input.value) +
                      ": a name is not an address to listen on: write the IP address" +
                      (ascii::iequals(address->host, "localhost") ? ", 127.0.0.1 or [::1]" : ""));
    return std::nullopt;
  }
  return address;
}

constexpr std::string_view kInherited = "systemd:";

/// Reads "systemd:NAME", with a name that a supervisor can pass.
std::optional<Address> read_inherited(const Input& input) {
  constexpr std::size_t kMaxName = 255;  // FDNAME_MAX of systemd
  std::string text;
  if (!read_text(input, text)) return std::nullopt;
  const std::string name = text.substr(kInherited.size());
  const auto fits = [](char c) { return ascii::is_printable(c) && c != ':'; };
  if (name.empty() || name.size() > kMaxName || !std::all_of(name.begin(), name.end(), fits)) {
    reject(input, quoted(input.value) +
                      ": write systemd:NAME, with the name that FileDescriptorName= gives the "
                      "socket (ASCII, no ':')");
    return std::nullopt;
  }
  Address address;
  address.inherited = name;
  return address;
}

template <class Element>
void reject_repeated(const Input& input, const std::vector<Element>& all, const Element& one) {
  if (std::find(all.begin(), all.end(), one) != all.end()) {
    reject(input, "names " + shown(input.value, to_string(one)) + " twice");
  }
}

}  // namespace

void reject(const Input& input, std::string_view text) {
  // The place of a flag already has its name.
  const bool named = input.source.kind == Source::Kind::flags;
  const std::string subject = named ? std::string{} : std::string(input.path) + ": ";
  input.findings.add(input.value.place, subject + std::string(text));
}

void reject_kind(const Input& input, std::string_view wanted) {
  if (input.source.kind == Source::Kind::flags && input.value.kind == Kind::list) {
    reject(input, "may be given only once");
    return;
  }
  reject(input, "must be " + std::string(wanted) + ", not " + std::string(kind_name(input.value)));
}

bool read_whole_number(const Input& input, std::uint64_t min, std::uint64_t max,
                       std::uint64_t& out) {
  const auto& value = input.value;
  const std::string range =
      "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
  std::optional<std::uint64_t> number;
  if (value.kind == Kind::word) {
    number = ascii::parse_number(value.text);
  } else if (value.kind == Kind::number) {
    if (value.number >= 0) number = static_cast<std::uint64_t>(value.number);
  } else {
    reject_kind(input, range);
    return false;
  }
  if (!number || *number < min || *number > max) {
    reject(input, "must be " + range);
    return false;
  }
  out = *number;
  return true;
}

void read_boolean(const Input& input, bool& out) {
  const auto& value = input.value;
  if (value.kind == Kind::boolean) {
    out = value.boolean;
  } else if (value.kind == Kind::word && (value.text == "true" || value.text == "false")) {
    out = value.text == "true";
  } else if (value.kind == Kind::word) {
    reject(input, "must be true or false");
  } else {
    reject_kind(input, "true or false");
  }
}

void read_duration(const Input& input, std::chrono::milliseconds& out) {
  if (input.value.kind == Kind::number) {
    reject_kind(input, R"(a duration in quotes, such as "10s")");
    return;
  }
  std::string text;
  if (!read_text(input, text)) return;
  if (const auto duration = parse_duration(text)) {
    out = *duration;
  } else {
    reject_unparsed(input, duration.error());
  }
}

bool read_text(const Input& input, std::string& out) {
  const auto& value = input.value;
  if (value.kind != Kind::text && value.kind != Kind::word) {
    reject_kind(input, "a string");
    return false;
  }
  // CR and LF would start a new line in a dialogue or a log, and NUL would end a C string.
  if (std::any_of(value.text.begin(), value.text.end(), ascii::is_control)) {
    reject(input, "contains a control character: " + quoted(value));
    return false;
  }
  out = value.text;
  return true;
}

void read_label(const Input& input, std::string& out) {
  std::string text;
  if (!read_text(input, text)) return;
  if (text.empty()) {
    reject(input, "must not be empty");
  } else if (text.size() > kMaxLabel ||
             !std::all_of(text.begin(), text.end(), is_label_character)) {
    reject(input, "must be at most " + std::to_string(kMaxLabel) +
                      " letters, digits, '.', '_' or '-', not " + quoted(input.value));
  } else {
    out = std::move(text);
  }
}

void read_protocol(const Input& input, std::string& out) {
  const auto index = read_word(input, input.source.protocols);
  if (index < input.source.protocols.size()) out = input.source.protocols[index];
}

void read_helo_name(const Input& input, std::string& out) {
  std::string text;
  if (!read_text(input, text)) return;
  if (const auto literal = in_brackets(text)) {
    if (is_address_literal(*literal)) {
      out = std::move(text);
    } else {
      reject(input,
             quoted(input.value) + ": not an address literal such as [192.0.2.1] or [IPv6:::1]");
    }
    return;
  }
  if (!text.empty()) {
    if (is_ip_literal(text)) {
      reject(input, quoted(input.value) + ": write an IP address in brackets here: [192.0.2.1]");
      return;
    }
    if (const auto valid = check_host(text); !valid) {
      reject_unparsed(input, valid.error());
      return;
    }
  }
  out = std::move(text);
}

void read_server_name(const Input& input, std::string& out) {
  std::string text;
  if (!read_text(input, text)) return;
  if (!text.empty()) {
    if (const auto valid = check_host(text); !valid) {
      reject_unparsed(input, valid.error());
      return;
    }
  }
  out = std::move(text);
}

void read_path(const Input& input, std::string& out) {
  std::string text;
  if (!read_text(input, text)) return;
  out = text.empty() ? text : (input.source.folder / text).lexically_normal().string();
}

void read_readable_file(const Input& input, std::string& out) {
  std::string path;
  read_path(input, path);
  if (!path.empty()) {
    if (const auto file = open_regular_file(path); !file) {
      reject(input,
             shown(input.value, "'" + ascii::escape(path) + "'") + ": " + file.error().reason);
      return;
    }
  }
  out = std::move(path);
}

void read_required_file(const Input& input, std::string& out) {
  if (input.value.text.empty() &&
      (input.value.kind == Kind::text || input.value.kind == Kind::word)) {
    reject(input, "must not be empty");
    return;
  }
  // A private key, written out or from ${file:...}, must not appear in a message about it.
  if (input.value.text.find("-----BEGIN") != std::string::npos) {
    reject(input, "must be the name of a PEM file, not its content");
    return;
  }
  read_readable_file(input, out);
}

void read_listen(const Input& input, std::vector<Address>& out) {
  std::vector<Address> addresses;
  const auto read_one = [&addresses](const Input& one) {
    const auto& text = one.value.text;
    if (text.starts_with(kInherited)) {
      if (const auto address = read_inherited(one)) {
        reject_repeated(one, addresses, *address);
        addresses.push_back(*address);
      }
      return;
    }
    const auto address = read_own_address(one);
    if (!address) return;
    if (address->is_unix() || address->port != 0) reject_repeated(one, addresses, *address);
    addresses.push_back(*address);
  };
  read_each(input, read_one);
  if (input.value.kind == Kind::list && input.value.elements.empty()) {
    reject(input, "must name at least one address");
  }
  out = std::move(addresses);
}

void read_admin_listen(const Input& input, std::optional<Address>& out) {
  std::string text;
  if (!read_text(input, text)) return;
  if (text.empty()) {
    out.reset();
  } else if (auto address = read_own_address(input)) {
    out = std::move(address);
  }
}

void read_upstream(const Input& input, Upstream& out) {
  constexpr std::string_view kOriginalDestination = "original-destination";
  std::vector<Address> addresses;
  bool original_destination = false;
  const auto read_one = [&](const Input& one) {
    if (one.value.text == kOriginalDestination) {
      original_destination = true;
      if (input.value.kind == Kind::list && input.value.elements.size() > 1) {
        reject(one, "'original-destination' must be the only address: no other can replace it");
      }
      return;
    }
    const auto address = read_address(one);
    if (!address) return;
    if (!address->is_unix() && address->port == 0) {
      reject(one, quoted(one.value) + ": no server listens on port 0");
      return;
    }
    reject_repeated(one, addresses, *address);
    addresses.push_back(*address);
  };
  read_each(input, read_one);
  if (input.value.kind == Kind::list && input.value.elements.empty()) {
    reject(input, "must name at least one address");
  }
  out.address = std::move(addresses);
  out.original_destination = original_destination;
}

void read_source(const Input& input, bool& from_client) {
  std::string text;
  if (!read_text(input, text)) return;
  if (!text.empty() && text != "client") {
    reject(input, R"(must be "client" or "", not )" + quoted(input.value));
    return;
  }
  from_client = !text.empty();
}

void read_networks(const Input& input, std::vector<Network>& out) {
  std::vector<Network> networks;
  const auto read_one = [&networks](const Input& one) {
    std::string text;
    if (!read_text(one, text)) return;
    if (const auto network = parse_network(text)) {
      networks.push_back(*network);
    } else {
      reject_unparsed(one, network.error());
    }
  };
  read_each(input, read_one);
  out = std::move(networks);
}

void read_pins(const Input& input, std::vector<Pin>& out) {
  std::vector<Pin> pins;
  const auto read_one = [&pins](const Input& one) {
    std::string text;
    if (!read_text(one, text)) return;
    const auto pin = parse_pin(text);
    if (!pin) {
      reject(one, "must be \"sha256:\" and the base64 of 32 bytes, not " + quoted(one.value) +
                      "; `starttls-proxy probe` prints a server's pin");
      return;
    }
    reject_repeated(one, pins, *pin);
    pins.push_back(*pin);
  };
  read_each(input, read_one);
  out = std::move(pins);
}

std::size_t read_word(const Input& input, std::span<const std::string_view> words) {
  std::string allowed;
  for (const auto word : words) allowed += (allowed.empty() ? "" : ", ") + std::string(word);
  std::string text;
  if (!read_text(input, text)) return words.size();
  const auto found = std::find(words.begin(), words.end(), text);
  if (found == words.end()) {
    const std::string one_of = words.size() == 1 ? "must be " : "must be one of ";
    reject(input, one_of + allowed + ", not " + quoted(input.value));
  }
  return static_cast<std::size_t>(found - words.begin());
}

}  // namespace starttls::config

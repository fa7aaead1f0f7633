#include "lib/config/notation.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <optional>

#include "lib/base/ascii.h"

namespace starttls::config {
namespace {

constexpr std::uint8_t kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t kMaxHostLength = 253;  // RFC 1035 §2.3.4, without the length bytes
constexpr std::size_t kMaxLabelLength = 63;
constexpr std::chrono::milliseconds kMaxDuration = std::chrono::hours{24};

using IpBytes = std::array<std::uint8_t, 16>;

bool is_mapped(std::span<const std::uint8_t, 16> address) noexcept {
  return std::equal(std::begin(kMappedPrefix), std::end(kMappedPrefix), address.begin());
}

struct Ip {
  IpBytes bytes = {};
  bool v4 = false;
};

std::optional<Ip> parse_ip(const std::string& text) noexcept {
  if (text.find('\0') != std::string::npos) return std::nullopt;  // inet_pton would stop there
  Ip ip;
  if (inet_pton(AF_INET6, text.c_str(), ip.bytes.data()) == 1) return ip;
  if (inet_pton(AF_INET, text.c_str(), ip.bytes.data() + sizeof(kMappedPrefix)) != 1) {
    return std::nullopt;
  }
  std::copy(std::begin(kMappedPrefix), std::end(kMappedPrefix), ip.bytes.begin());
  ip.v4 = true;
  return ip;
}

std::string ip_to_string(const std::uint8_t* bytes, bool v4) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? bytes + sizeof(kMappedPrefix) : bytes, text,
            sizeof(text));
  return text;
}

auto wrong(std::string_view text, std::string_view what, const std::string& instead = {}) {
  return fail(Errc::config, "'" + ascii::escape(text) + "': " + std::string(what) + instead,
              std::string(what));
}

bool is_host_character(char c) noexcept {
  return ascii::is_alphanumeric(c) || c == '-' || c == '_';
}

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  const auto number = ascii::parse_number(text);
  if (!number || *number > UINT16_MAX) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

/// Cuts the longest beginning of `rest` in which all characters satisfy `is`.
template <class Predicate>
std::string_view take(std::string_view& rest, Predicate is) {
  const auto end = std::find_if_not(rest.begin(), rest.end(), is);
  const auto head = rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
  rest.remove_prefix(head.size());
  return head;
}

bool is_link_local(const IpBytes& bytes) noexcept {
  return bytes[0] == 0xfe && (bytes[1] & 0xc0U) == 0x80;
}

/// Returns why no TCP connection can have this address (RFC 1122 §3.2.1.3, RFC 4291 §2.7); "" if
/// one can.
std::string unusable(const Ip& ip, const std::string& port) {
  constexpr auto kFirst = sizeof(kMappedPrefix);
  if (!ip.v4 && is_mapped(ip.bytes)) {
    return "this is an IPv4 address: write " + ip_to_string(ip.bytes.data(), true) + port;
  }
  const bool multicast = ip.v4 ? (ip.bytes[kFirst] & 0xf0U) == 0xe0 : ip.bytes[0] == 0xff;
  if (multicast) return "TCP cannot use a multicast address";
  const bool broadcast = ip.v4 && std::all_of(ip.bytes.begin() + kFirst, ip.bytes.end(),
                                              [](std::uint8_t byte) { return byte == 0xff; });
  if (broadcast) return "TCP cannot use the broadcast address";
  return {};
}

/// Returns what is wrong with the interface of an IPv6 literal (may be ""); "" if nothing is.
std::string wrong_interface(const Ip& ip, std::optional<std::string_view> interface) {
  if (!interface) {
    if (!is_link_local(ip.bytes)) return {};
    return "a link-local address needs its interface: write [" +
           ip_to_string(ip.bytes.data(), false) + "%eth0]:PORT";
  }
  if (!is_link_local(ip.bytes))
    return "only a link-local address (fe80::1%eth0) can have an interface";
  constexpr std::size_t kMaxInterface = 15;  // IFNAMSIZ of Linux, without the NUL
  const auto fits = [](char c) {
    return ascii::is_printable(c) && c != ' ' && c != '/' && c != '%' && c != ':';
  };
  if (interface->empty() || interface->size() > kMaxInterface ||
      !std::all_of(interface->begin(), interface->end(), fits)) {
    return "not the name of an interface";
  }
  return {};
}

Result<Address> parse_unix(std::string_view text, std::string_view path) {
  if (path.empty()) return wrong(text, "the path is missing");
  if (path.find('\0') != std::string_view::npos) return wrong(text, "a path cannot contain a NUL");
  if (path.size() > kMaxSocketPath) {
    return wrong(text, "a socket's path has at most " + std::to_string(kMaxSocketPath) + " bytes");
  }
  Address address;
  address.path = path;
  return address;
}

}  // namespace

Result<> check_host(const std::string& host) {
  if (is_ip_literal(host)) return {};
  std::string_view rest = host;
  if (rest.ends_with('.')) rest.remove_suffix(1);
  if (rest.empty()) return wrong(host, "the host is missing");
  if (rest.size() > kMaxHostLength) return wrong(host, "the host name is too long");

  std::string_view label;
  while (true) {
    label = rest.substr(0, rest.find('.'));
    if (label.empty() || label.size() > kMaxLabelLength ||
        !std::all_of(label.begin(), label.end(), is_host_character)) {
      return wrong(host, "not a host name (letters, digits, '-' and dots) or IP address");
    }
    if (label.size() == rest.size()) break;
    rest.remove_prefix(label.size() + 1);
  }
  // The resolver takes "127.1" and "0x7f.1" for addresses, and "300.1.1.1" for a name. The user
  // meant neither.
  if (ascii::is_digit(label.front()) && std::all_of(label.begin(), label.end(), ascii::is_digit)) {
    return wrong(host, "not an IPv4 address");
  }
  return {};
}

Result<Address> parse_address(std::string_view text) {
  if (text.starts_with("unix:")) return parse_unix(text, text.substr(5));
  if (text.find("://") != std::string_view::npos) {
    return wrong(text, "write HOST:PORT, without a scheme or a path");
  }
  if (parse_port(text)) {
    return wrong(text, "the host is missing", ": write HOST:" + std::string(text));
  }

  std::string_view host;
  std::string_view rest;  // ":PORT"
  const bool bracketed = text.starts_with('[');
  if (bracketed) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return wrong(text, "']' is missing");
    host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else {
    host = text.substr(0, text.find(':'));
    if (host.empty() && !text.starts_with("::")) return wrong(text, "the host is missing");
    rest = text.substr(host.size());
    if (rest.find(':', 1) != std::string_view::npos) {
      return wrong(text, "write an IPv6 address in brackets: [::1]:PORT");
    }
  }

  Address address;
  address.host = bracketed ? without_interface(host) : host;
  const auto ip = parse_ip(address.host);
  if (bracketed && (!ip || ip->v4)) return wrong(text, "the brackets do not hold an IPv6 address");
  if (ip) {
    std::optional<std::string_view> interface;
    if (address.host.size() < host.size()) interface = host.substr(address.host.size() + 1);
    if (const auto why = unusable(*ip, std::string(rest)); !why.empty()) return wrong(text, why);
    if (const auto why = wrong_interface(*ip, interface); !why.empty()) return wrong(text, why);
    address.host = ip_to_string(ip->bytes.data(), ip->v4);
    if (interface) address.host += "%" + std::string(*interface);
  } else if (auto valid = check_host(address.host); !valid) {
    return fail(std::move(valid.error()));
  }
  if (!rest.starts_with(':') || rest.size() == 1) {
    return wrong(text, "the port is missing: write HOST:PORT");
  }
  const auto port = parse_port(rest.substr(1));
  if (!port) return wrong(text, "the port is not a number from 0 to 65535");
  address.port = *port;
  return address;
}

bool is_ip_literal(const std::string& host) noexcept {
  return parse_ip(host).has_value();
}

bool is_local(const Address& address) noexcept {
  if (address.is_unix()) return true;
  const auto ip = parse_ip(address.host);
  if (!ip) return false;
  if (ip->v4) return ip->bytes[12] == 127;
  constexpr IpBytes kLoopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return ip->bytes == kLoopback;
}

bool overlap(const Address& one, const Address& other) noexcept {
  const auto is_tcp = [](const Address& each) { return !each.is_unix() && !each.is_inherited(); };
  if (!is_tcp(one) || !is_tcp(other)) return one == other;
  const auto has_all = [](const Address& each) {
    return each.host == "0.0.0.0" || each.host == "::";
  };
  const auto is_v6 = [](const Address& each) { return each.host.find(':') != std::string::npos; };
  if (one.port == 0 || one.port != other.port || is_v6(one) != is_v6(other)) return false;
  return one.host == other.host || has_all(one) || has_all(other);
}

Result<Network> parse_network(std::string_view text) {
  const auto slash = text.find('/');
  const auto ip = parse_ip(std::string(text.substr(0, slash)));
  if (!ip) return wrong(text, "not a network: write 10.0.0.0/8, 2001:db8::/32 or one address");

  Network network;
  std::copy(ip->bytes.begin(), ip->bytes.end(), std::begin(network.bytes));
  if (slash == std::string_view::npos) return network;

  const unsigned longest = ip->v4 ? 32 : 128;
  const auto prefix = ascii::parse_number(text.substr(slash + 1));
  if (!prefix || *prefix > longest) {
    return wrong(text, "the prefix is not a number from 0 to " + std::to_string(longest));
  }
  network.prefix = static_cast<unsigned>(*prefix) + (ip->v4 ? kMappedBits : 0);

  Network masked = network;
  for (unsigned bit = masked.prefix; bit < 128; ++bit) {
    masked.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80U >> bit % 8));
  }
  if (masked != network) {
    return wrong(text, "bits are set after the prefix", ": write " + to_string(masked));
  }
  return network;
}

bool is_v4(const Network& network) noexcept {
  return network.prefix >= kMappedBits && is_mapped(network.bytes);
}

std::string to_string(const Network& network) {
  const bool v4 = is_v4(network);
  std::string address = ip_to_string(network.bytes, v4);
  if (network.prefix == 128) return address;
  return address + "/" + std::to_string(network.prefix - (v4 ? kMappedBits : 0));
}

bool contains(const Network& network, std::span<const std::uint8_t, 16> address) noexcept {
  if (is_mapped(address) && network.prefix < kMappedBits) return false;
  const unsigned whole = network.prefix / 8;
  if (!std::equal(address.begin(), address.begin() + whole, std::begin(network.bytes))) {
    return false;
  }
  const unsigned bits = network.prefix % 8;
  if (bits == 0) return true;
  const unsigned differing = network.bytes[whole] ^ address[whole];
  return differing >> (8 - bits) == 0;
}

bool contains(std::span<const Network> networks,
              std::span<const std::uint8_t, 16> address) noexcept {
  return std::any_of(networks.begin(), networks.end(),
                     [address](const Network& each) { return contains(each, address); });
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::uint64_t milliseconds;
  };
  constexpr Unit kUnits[] = {{"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}};
  constexpr auto kMax = static_cast<std::uint64_t>(kMaxDuration.count());
  constexpr std::string_view kNotation =
      R"(not a duration such as "10s", "5m", "1h30m" or "250ms")";

  std::uint64_t total = 0;
  const Unit* next = std::begin(kUnits);  // units come once, the larger first
  std::string_view rest = text;
  do {
    const auto digits = take(rest, ascii::is_digit);
    const auto name = take(rest, [](char c) { return !ascii::is_digit(c); });
    const auto* const unit = std::find_if(next, std::end(kUnits),
                                          [name](const Unit& each) { return each.name == name; });
    const auto count = ascii::parse_number(digits);
    if (!count || unit == std::end(kUnits)) return wrong(text, kNotation);
    if (*count > kMax / unit->milliseconds) return wrong(text, "longer than a day");
    total += *count * unit->milliseconds;
    next = unit + 1;
  } while (!rest.empty());

  if (total == 0) return wrong(text, "a duration must be longer than 0");
  if (total > kMax) return wrong(text, "longer than a day");
  return std::chrono::milliseconds{total};
}

std::string to_string(std::chrono::milliseconds duration) {
  auto rest = duration.count();
  if (rest <= 0) return "0s";
  std::string text;
  const auto append = [&rest, &text](std::int64_t unit, std::string_view name) {
    if (rest >= unit) text += std::to_string(rest / unit) + std::string(name);
    rest %= unit;
  };
  append(3'600'000, "h");
  append(60'000, "m");
  append(1000, "s");
  append(1, "ms");
  return text;
}

}  // namespace starttls::config

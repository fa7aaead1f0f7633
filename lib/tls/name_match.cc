#include "lib/tls/name_match.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>

#include "lib/base/ascii.h"

namespace starttls::tls {
namespace {

constexpr std::size_t kMaxName = 253;  // RFC 1035 §2.3.4, without the root's dot
constexpr std::size_t kMaxLabel = 63;  // RFC 1035 §2.3.4
constexpr std::size_t kNamesTold = 5;  // in an error: a certificate may carry hundreds
constexpr std::size_t kNameTold = 64;  // bytes of each

constexpr bool is_host_char(char c) noexcept {
  return ascii::is_alphanumeric(c) || c == '-' || c == '_';
}

/// True for letters, digits, hyphens (and underscores, which real names have) in labels separated
/// by dots.
bool is_host_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxName) return false;
  std::size_t label = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (!is_host_char(c) || ++label > kMaxLabel) {
      return false;
    }
  }
  return label != 0;
}

std::string_view without_trailing_dot(std::string_view name) noexcept {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

std::string ip_text(const std::string& bytes) {
  char text[INET6_ADDRSTRLEN] = {};
  const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
  return inet_ntop(family, bytes.data(), text, sizeof(text)) != nullptr ? text : "";
}

}  // namespace

bool dns_name_matches(std::string_view presented, std::string_view reference) noexcept {
  reference = without_trailing_dot(reference);
  if (!is_host_name(reference)) return false;
  if (!presented.starts_with("*.")) {
    return is_host_name(presented) && ascii::iequals(presented, reference);
  }
  const std::string_view parent = presented.substr(2);
  // "*.org" would name every organisation there is.
  if (!is_host_name(parent) || parent.find('.') == std::string_view::npos) return false;
  const std::size_t dot = reference.find('.');
  return dot != std::string_view::npos && ascii::iequals(parent, reference.substr(dot + 1));
}

std::optional<std::string> ip_bytes(std::string_view text) {
  const std::string literal(text.substr(0, text.find('%')));
  unsigned char bytes[16];
  if (literal.size() == text.size() && inet_pton(AF_INET, literal.c_str(), bytes) == 1) {
    return std::string(bytes, bytes + 4);
  }
  if (inet_pton(AF_INET6, literal.c_str(), bytes) == 1) return std::string(bytes, bytes + 16);
  return std::nullopt;
}

bool names_match(const PresentedNames& names, std::string_view reference) {
  if (const auto ip = ip_bytes(without_trailing_dot(reference))) {
    return std::find(names.ip.begin(), names.ip.end(), *ip) != names.ip.end();
  }
  return std::any_of(names.dns.begin(), names.dns.end(), [reference](const std::string& presented) {
    return dns_name_matches(presented, reference);
  });
}

std::string describe(const PresentedNames& names) {
  std::string out;
  std::size_t told = 0;
  const auto tell = [&](const std::string& text) {
    if (told == kNamesTold) out += ", ...";
    if (++told > kNamesTold) return;
    if (told > 1) out += ", ";
    out += ascii::printable(text, kNameTold);
  };
  for (const std::string& dns : names.dns) tell(dns);
  for (const std::string& ip : names.ip) tell(ip_text(ip));
  return told == 0 ? "no name" : out;
}

std::vector<std::string> texts(const PresentedNames& names) {
  std::vector<std::string> out;
  out.reserve(names.dns.size() + names.ip.size());
  for (const std::string& dns : names.dns) out.push_back(ascii::escape(dns, kMaxName));
  for (const std::string& ip : names.ip) out.push_back(ip_text(ip));
  return out;
}

}  // namespace starttls::tls

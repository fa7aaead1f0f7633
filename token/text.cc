#include "token/text.h"

#include <algorithm>

#include "lib/base/ascii.h"
#include "lib/base/base64.h"

namespace starttls::token {
namespace {

constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttps = "https://";

constexpr bool is_unreserved(char c) noexcept {
  return ascii::is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

std::optional<unsigned> hex_digit(char c) noexcept {
  if (ascii::is_digit(c)) return static_cast<unsigned>(c - '0');
  const char lower = ascii::to_lower(c);
  if (lower >= 'a' && lower <= 'f') return static_cast<unsigned>(lower - 'a' + 10);
  return std::nullopt;
}

std::optional<std::string> form_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const auto high = hex_digit(text[i + 1]);
      const auto low = hex_digit(text[i + 2]);
      if (!high || !low) return std::nullopt;
      out += static_cast<char>(*high << 4U | *low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// The authority of an address and all that follows it.
struct Split {
  std::string_view host;
  std::string_view port;
  std::string_view rest;
};

std::optional<Split> split(std::string_view after_scheme) {
  const auto end = std::min(after_scheme.find_first_of("/?#"), after_scheme.size());
  auto authority = after_scheme.substr(0, end);
  if (authority.find('@') != std::string_view::npos) return std::nullopt;
  Split parts{.host = authority, .port = {}, .rest = after_scheme.substr(end)};
  const auto after_bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (after_bracket == std::string_view::npos) return std::nullopt;
  if (const auto colon = authority.find(':', after_bracket); colon != std::string_view::npos) {
    parts.host = authority.substr(0, colon);
    parts.port = authority.substr(colon + 1);
    const auto number = ascii::parse_number(parts.port);
    if (!number || *number == 0 || *number > 65535) return std::nullopt;
  }
  if (parts.host.empty()) return std::nullopt;
  return parts;
}

bool is_loopback(std::string_view host) noexcept {
  return host == "127.0.0.1" || host == "[::1]" || host == "localhost";
}

}  // namespace

std::string base64url(std::span<const std::uint8_t> bytes) {
  std::string text = base64::encode(bytes);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  while (text.ends_with('=')) text.pop_back();
  return text;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  out.reserve(3 * text.size());  // a secret must not leave copies of itself in freed memory
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  return out;
}

std::optional<Fields> parse_query(std::string_view query) {
  Fields fields;
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto part = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (part.empty()) continue;
    const auto equals = std::min(part.find('='), part.size());
    auto name = form_decode(part.substr(0, equals));
    auto value = form_decode(part.substr(std::min(equals + 1, part.size())));
    if (!name || !value) return std::nullopt;
    fields.emplace_back(std::move(*name), std::move(*value));
  }
  return fields;
}

std::optional<std::string> field(const Fields& fields, std::string_view name) {
  std::optional<std::string> found;
  for (const auto& [key, value] : fields) {
    if (key != name) continue;
    if (found) return std::nullopt;
    found = value;
  }
  return found;
}

void Form::add(std::string_view name, std::string_view value) {
  std::string encoded = percent_encode(value);
  std::string text;
  text.reserve(text_.reveal().size() + name.size() + encoded.size() + 2);
  text += text_.reveal();
  if (!text.empty()) text += '&';
  text += percent_encode(name);
  text += '=';
  text += encoded;
  text_ = Secret{text};
  wipe(text);
  wipe(encoded);
}

void Form::add(std::string_view name, const Secret& value) {
  add(name, value.reveal());
  secrets_.push_back(value);
}

bool Form::leaks_into(std::string_view words) const {
  return std::any_of(secrets_.begin(), secrets_.end(), [words](const Secret& secret) {
    return !secret.empty() && words.find(secret.reveal()) != std::string_view::npos;
  });
}

Outcome<> check_endpoint(std::string_view key, std::string_view url) {
  const auto wrong = [&](std::string_view what) {
    return failed(Exit::config,
                  std::string(key) + " '" + ascii::escape(url) + "' " + std::string(what));
  };
  if (!std::all_of(url.begin(), url.end(),
                   [](char c) { return ascii::is_printable(c) && c != ' '; })) {
    return wrong("has a blank or a character that no address has");
  }
  if (url.find('#') != std::string_view::npos) return wrong("has a '#'");
  if (url.starts_with(kHttps)) {
    if (!split(url.substr(kHttps.size()))) return wrong("is no address");
    return {};
  }
  if (!url.starts_with(kHttp)) return wrong("must begin with https://");
  const auto parts = split(url.substr(kHttp.size()));
  if (!parts) return wrong("is no address");
  if (!is_loopback(parts->host)) {
    return wrong("must begin with https://, because secrets are sent there");
  }
  return {};
}

Outcome<LoopbackAddress> parse_redirect(std::string_view url) {
  const auto wrong = [&] {
    return failed(Exit::config, "redirect '" + ascii::escape(url) +
                                    "' must be http://127.0.0.1, or http://localhost, with or "
                                    "without port and path");
  };
  if (!url.starts_with(kHttp) || !check_endpoint("redirect", url)) return wrong();
  const auto parts = split(url.substr(kHttp.size()));
  if (!parts || parts->host == "[::1]" || parts->rest.find('?') != std::string_view::npos) {
    return wrong();
  }
  LoopbackAddress address{.host = std::string(parts->host)};
  if (!parts->port.empty()) {
    address.port = static_cast<unsigned>(*ascii::parse_number(parts->port));
  }
  if (!parts->rest.empty()) address.path = parts->rest;
  return address;
}

}  // namespace starttls::token

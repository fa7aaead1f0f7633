#include "proxy/admin/http.h"

#include <algorithm>
#include <array>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "lib/base/ascii.h"

namespace starttls {
namespace {

struct Route {
  std::string_view path;
  AdminPage page;
};

constexpr Route kRoutes[] = {{"/metrics", AdminPage::metrics},
                             {"/healthz", AdminPage::healthz},
                             {"/readyz", AdminPage::readyz},
                             {"/sessions", AdminPage::sessions}};

/// RFC 9110 §5.6.2.
bool is_token(std::string_view text) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    const char upper = ascii::to_upper(c);
    return ascii::is_digit(c) || (upper >= 'A' && upper <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

struct Target {
  std::optional<std::string_view> host;  // with its port; only in absolute form
  std::string_view path;
};

/// Reads a target in origin or absolute form (RFC 9112 §3.2); nothing if it is neither.
std::optional<Target> parse_target(std::string_view target) {
  constexpr std::string_view kScheme = "http://";
  const bool visible =
      std::all_of(target.begin(), target.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!visible || target.find('#') != std::string_view::npos) return std::nullopt;
  std::optional<std::string_view> host;
  if (ascii::istarts_with(target, kScheme)) {
    target.remove_prefix(kScheme.size());
    const auto path = target.find_first_of("/?");
    if (path == 0 || target.empty()) return std::nullopt;
    host = target.substr(0, path);
    target = path == std::string_view::npos ? std::string_view{"/"} : target.substr(path);
    if (target.starts_with('?')) return Target{host, "/"};
  }
  if (!target.starts_with('/')) return std::nullopt;
  return Target{host, target.substr(0, target.find('?'))};
}

bool is_literal(int family, std::string_view text) {
  std::array<unsigned char, 16> address{};
  return inet_pton(family, std::string(text).c_str(), address.data()) == 1;
}

/// True for an IP address or "localhost", with or without a port (RFC 9110 §7.2).
bool is_literal_or_localhost(std::string_view authority) {
  std::string_view host = authority;
  std::string_view rest;
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return false;
    host = authority.substr(1, end - 1);
    rest = authority.substr(end + 1);
    if (!is_literal(AF_INET6, host)) return false;
  } else {
    const auto colon = authority.find(':');
    host = authority.substr(0, colon);
    if (colon != std::string_view::npos) rest = authority.substr(colon);
    if (!ascii::iequals(host, "localhost") && !is_literal(AF_INET, host)) return false;
  }
  if (rest.empty()) return true;
  return rest.front() == ':' && std::all_of(rest.begin() + 1, rest.end(), ascii::is_digit);
}

std::string_view reason_phrase(HttpStatus status) {
  switch (status) {
    case HttpStatus::ok:
      return "OK";
    case HttpStatus::bad_request:
      return "Bad Request";
    case HttpStatus::not_found:
      return "Not Found";
    case HttpStatus::method_not_allowed:
      return "Method Not Allowed";
    case HttpStatus::uri_too_long:
      return "URI Too Long";
    case HttpStatus::misdirected:
      return "Misdirected Request";
    case HttpStatus::header_too_large:
      return "Request Header Fields Too Large";
    case HttpStatus::unavailable:
      return "Service Unavailable";
    case HttpStatus::version_not_supported:
      return "HTTP Version Not Supported";
  }
  return "";
}

std::string_view media_type(AdminResponse::Content content) {
  switch (content) {
    case AdminResponse::Content::text:
      return "text/plain; charset=utf-8";
    case AdminResponse::Content::metrics:
      return "text/plain; version=0.0.4; charset=utf-8";
    case AdminResponse::Content::json:
      return "application/json";
  }
  return "";
}

}  // namespace

bool AdminRequest::feed(std::string_view octets) {
  for (const char octet : octets) {
    if (status_) break;
    on_octet(octet);
  }
  return status_.has_value();
}

void AdminRequest::on_octet(char octet) {
  ++size_;
  if (cr_) {
    cr_ = false;
    if (octet != '\n') {
      refuse(HttpStatus::bad_request);  // a CR by itself (RFC 9112 §2.2)
      return;
    }
    end_line();
    return;
  }
  if (!in_fields_ && size_ > kMaxRequestLine) {
    refuse(HttpStatus::uri_too_long);
    return;
  }
  if (size_ > kMaxSize) {
    refuse(HttpStatus::header_too_large);
    return;
  }
  if (octet == '\r') {
    cr_ = true;
    return;
  }
  if (octet == '\n') {
    end_line();
    return;
  }
  // Said at once, not at the end of a line that may never come: TLS, and other protocols. Octets
  // beyond ASCII may stand in the value of a field, which is not looked at (RFC 9110 §5.5).
  const bool allowed = ascii::is_printable(octet) ||
                       (in_fields_ && (octet == '\t' || static_cast<unsigned char>(octet) >= 0x80));
  if (!allowed) {
    refuse(HttpStatus::bad_request);
    return;
  }
  line_ += octet;
}

void AdminRequest::end_line() {
  on_line(line_);
  line_.clear();
}

void AdminRequest::on_line(std::string_view line) {
  if (!in_fields_) {
    // What some leave behind an earlier request; the octets count.
    if (line.empty()) return;
    in_fields_ = true;
    on_request_line(line);
  } else if (line.empty()) {
    on_end();
  } else {
    on_field(line);
  }
}

void AdminRequest::on_request_line(std::string_view line) {
  // One space between each, exactly (RFC 9112 §3).
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == last) {  // or there is none
    refuse(HttpStatus::bad_request);
    return;
  }
  const auto method = line.substr(0, first);
  const auto target = line.substr(first + 1, last - first - 1);
  if (!is_token(method) || target.empty() || target.find(' ') != std::string_view::npos) {
    refuse(HttpStatus::bad_request);
    return;
  }
  method_ = method == "GET" ? Method::get : method == "HEAD" ? Method::head : Method::other;
  on_version(line.substr(last + 1));
  if (status_ || method_ == Method::other) return;  // whose target may have any form

  const auto parsed = parse_target(target);
  if (!parsed) {
    refuse(HttpStatus::bad_request);
    return;
  }
  if (parsed->host) on_host(*parsed->host);
  for (const auto& route : kRoutes) {
    if (route.path == parsed->path) page_ = route.page;
  }
}

void AdminRequest::on_version(std::string_view version) {
  constexpr std::string_view kName = "HTTP/";
  const bool well_formed = version.size() == kName.size() + 3 && version.starts_with(kName) &&
                           ascii::is_digit(version[5]) && version[6] == '.' &&
                           ascii::is_digit(version[7]);
  if (!well_formed) {
    refuse(HttpStatus::bad_request);
  } else if (version[5] != '1') {
    refuse(HttpStatus::version_not_supported);  // what follows may have any form
  }
  needs_host_ = version != "HTTP/1.0";
}

void AdminRequest::on_field(std::string_view line) {
  const auto colon = line.find(':');
  // A folded line and a space before the colon are no token either (RFC 9112 §5.1, §5.2).
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    refuse(HttpStatus::bad_request);
    return;
  }
  const auto name = line.substr(0, colon);
  const auto value = ascii::trim(line.substr(colon + 1));
  const bool is_host = ascii::iequals(name, "Host");
  const bool second_host = is_host && std::exchange(has_host_, true);
  if (is_host) on_host(value);
  const bool content = ascii::iequals(name, "Transfer-Encoding") ||
                       (ascii::iequals(name, "Content-Length") && value != "0");
  // Content only where the method is to blame anyway.
  if (second_host || (content && method_ != Method::other)) refuse(HttpStatus::bad_request);
}

/// A target's own host counts too, though a browser never sends one here.
void AdminRequest::on_host(std::string_view host) {
  if (hosts_ == AdminHosts::literals && !is_literal_or_localhost(host)) misdirected_ = true;
}

void AdminRequest::on_end() {
  if (method_ == Method::other) {
    refuse(HttpStatus::method_not_allowed);
  } else if (needs_host_ && !has_host_) {
    refuse(HttpStatus::bad_request);  // RFC 9112 §3.2
  } else if (misdirected_) {
    refuse(HttpStatus::misdirected);
  } else {
    status_ = page_ ? HttpStatus::ok : HttpStatus::not_found;
  }
}

AdminResponse refusal(HttpStatus status) {
  return {.status = status,
          .body = fmt::format(
              "{} {}{}\n", static_cast<unsigned>(status), reason_phrase(status),
              status == HttpStatus::misdirected ? ": ask for an IP address or for localhost" : "")};
}

std::string to_wire(const AdminResponse& response, bool with_body) {
  return fmt::format(
      "HTTP/1.1 {} {}\r\n"
      "Content-Type: {}\r\n"
      "Content-Length: {}\r\n"
      "Cache-Control: no-store\r\n"
      "X-Content-Type-Options: nosniff\r\n"
      "{}"
      "Connection: close\r\n"
      "\r\n"
      "{}",
      static_cast<unsigned>(response.status), reason_phrase(response.status),
      media_type(response.content), response.body.size(),
      response.status == HttpStatus::method_not_allowed ? "Allow: GET, HEAD\r\n" : "",
      with_body ? std::string_view{response.body} : std::string_view{});
}

}  // namespace starttls

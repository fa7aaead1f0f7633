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

constexpr Route kRoutes[] = {{"/", AdminPage::index},
                             {"/metrics", AdminPage::metrics},
                             {"/healthz", AdminPage::healthz},
                             {"/readyz", AdminPage::readyz},
                             {"/sessions", AdminPage::sessions},
                             {"/status", AdminPage::status}};

/// True for a token (RFC 9110 §5.6.2).
bool is_token(std::string_view text) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return ascii::is_alphanumeric(c) || kMarks.find(c) != std::string_view::npos;
  });
}

/// Returns the position of the first byte that a line must not have, or npos. The value of a field
/// may have bytes beyond ASCII; they are not interpreted (RFC 9110 §5.5). CR may only be the last
/// byte, or LF must still follow it (RFC 9112 §2.2).
std::size_t first_wrong_byte(std::string_view line, bool is_field) {
  for (std::size_t at = 0; at < line.size(); ++at) {
    const char c = line[at];
    if (at > 0 && line[at - 1] == '\r') return at;
    const bool allowed = ascii::is_printable(c) || c == '\r' ||
                         (is_field && (c == '\t' || static_cast<unsigned char>(c) >= 0x80));
    if (!allowed) return at;
  }
  return std::string_view::npos;
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
    case AdminResponse::Content::html:
      return "text/html; charset=utf-8";
  }
  return "";
}

/// Returns the fields that a page of HTML needs besides. A browser then runs no script, asks no
/// server for anything, and shows the page in no frame, even if text got in as markup.
std::string page_policy(const AdminResponse& response) {
  if (response.content != AdminResponse::Content::html) return {};
  return fmt::format(
      "Content-Security-Policy: default-src 'none'; style-src 'nonce-{}'; img-src data:; "
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
      "Referrer-Policy: no-referrer\r\n",
      response.style_nonce);
}

}  // namespace

bool AdminRequest::feed(std::string_view bytes) {
  if (status_) return true;
  // One byte more than is allowed shows that there are too many.
  text_ += bytes.substr(0, kMaxSize + 1 - text_.size());
  while (!status_ && take_line()) {
  }
  return status_.has_value();
}

/// Takes the next line, if it is complete. Its bytes are checked before that: TLS and other
/// protocols may never send the end of a line.
bool AdminRequest::take_line() {
  const auto rest = std::string_view{text_}.substr(used_);
  const auto end = rest.find('\n');
  auto line = rest.substr(0, end);
  const std::size_t size = end == std::string_view::npos ? line.size() : end + 1;
  const std::size_t room = (in_fields_ ? kMaxSize : kMaxRequestLine) - used_;
  if (first_wrong_byte(line, in_fields_) < room) {
    refuse(HttpStatus::bad_request);
  } else if (size > room) {
    refuse(in_fields_ ? HttpStatus::header_too_large : HttpStatus::uri_too_long);
  }
  if (status_ || end == std::string_view::npos) return false;
  used_ += size;
  if (line.ends_with('\r')) line.remove_suffix(1);
  on_line(line);
  return true;
}

void AdminRequest::on_line(std::string_view line) {
  if (!in_fields_) {
    if (line.empty()) return;  // some clients leave one after an earlier request
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
  if (status_ || method_ == Method::other) return;  // other methods may have any target

  if (!target.starts_with('/') || target.find('#') != std::string_view::npos) {
    refuse(HttpStatus::bad_request);
    return;
  }
  const auto path = target.substr(0, target.find('?'));
  for (const auto& route : kRoutes) {
    if (route.path == path) page_ = route.page;
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
  if (is_host && hosts_ == AdminHosts::literals) misdirected_ |= !is_literal_or_localhost(value);
  const bool content = ascii::iequals(name, "Transfer-Encoding") ||
                       (ascii::iequals(name, "Content-Length") && value != "0");
  // A request with content is refused here. Other methods are refused in the end, with or without
  // it.
  if (second_host || (content && method_ != Method::other)) refuse(HttpStatus::bad_request);
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
      "{}{}"
      "Connection: close\r\n"
      "\r\n"
      "{}",
      static_cast<unsigned>(response.status), reason_phrase(response.status),
      media_type(response.content), response.body.size(),
      response.status == HttpStatus::method_not_allowed ? "Allow: GET, HEAD\r\n" : "",
      page_policy(response), with_body ? std::string_view{response.body} : std::string_view{});
}

}  // namespace starttls

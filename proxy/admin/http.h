#pragma once

// HTTP/1.1 (RFC 9112) as the admin endpoint speaks it: one GET or HEAD, one answer, close. Without
// I/O: bytes in, a request or a refusal out.
//
// Theory of operation.
//
// The reader is strict, because the programs that ask here (Prometheus, a kubelet, curl) are strict
// too. It also accepts a request that a person types into nc. A line may end in LF alone, and empty
// lines may come before the request (RFC 9112 §2.2). A CR comes before LF only; no line is folded;
// no space comes before a colon; a request has no content. Bytes after its end are ignored, so no
// second request is answered. A request has at most 8 KiB, and its first line at most 4 KiB.
//
// A page is known by its path, as it is written: a query is ignored, %XX is not decoded. Only the
// origin form of a target is accepted: the absolute form is for proxies (RFC 9112 §3.2.2).
//
// DNS rebinding: a web page can make its own name lead to 127.0.0.1. It can then read the answers
// of a server there as if they were its own. The browser still sends the page's name as Host. So a
// listener that only this machine reaches answers requests for an IP address or for `localhost`. It
// refuses all others (421, RFC 9110 §15.5.20). Other listeners are not checked: a firewall protects
// them, and Prometheus asks for them by name. A request without Host (HTTP/1.0) comes from no
// browser.
//
// The caller sets a deadline for the whole request. After the answer it waits a little for the
// peer's FIN. Closing with bytes unread would send RST, and the answer would be lost.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace starttls {

enum class AdminPage : std::uint8_t { index, metrics, healthz, readyz, sessions, status };

enum class HttpStatus : std::uint16_t {
  ok = 200,
  bad_request = 400,
  not_found = 404,
  method_not_allowed = 405,
  uri_too_long = 414,
  misdirected = 421,
  header_too_large = 431,
  unavailable = 503,
  version_not_supported = 505,
};

/// The hosts that a request may be for.
enum class AdminHosts : std::uint8_t {
  any,
  literals,  ///< an IP address, or "localhost"; with or without a port
};

/// Reads one request.
class AdminRequest {
 public:
  explicit AdminRequest(AdminHosts hosts) noexcept : hosts_(hosts) {}

  static constexpr std::size_t kMaxSize = 8UL * 1024;
  static constexpr std::size_t kMaxRequestLine = 4UL * 1024;

  /// Takes more bytes. Returns true if the answer is decided, and no more bytes are needed.
  bool feed(std::string_view bytes);

  /// Returns the decision. If it is `ok`, send `page`, otherwise `refusal`. Call it once `feed` has
  /// returned true.
  [[nodiscard]] HttpStatus status() const noexcept { return *status_; }
  [[nodiscard]] AdminPage page() const noexcept { return *page_; }
  /// False for HEAD: the answer then has no body.
  [[nodiscard]] bool wants_body() const noexcept { return method_ != Method::head; }

 private:
  enum class Method : std::uint8_t { get, head, other };

  [[nodiscard]] bool take_line();
  void on_line(std::string_view line);
  void on_request_line(std::string_view line);
  void on_version(std::string_view version);
  void on_field(std::string_view line);
  void on_end();
  void refuse(HttpStatus status) noexcept { status_ = status; }

  AdminHosts hosts_;
  std::string text_;        // all of the request until now
  std::size_t used_ = 0;    // the bytes of complete lines in it
  bool in_fields_ = false;  // after the request line
  bool needs_host_ = false;
  bool has_host_ = false;
  bool misdirected_ = false;  // it is for a host that this listener does not answer for
  Method method_ = Method::get;
  std::optional<AdminPage> page_;
  std::optional<HttpStatus> status_;
};

struct AdminResponse {
  enum class Content : std::uint8_t { text, metrics, json, html };

  HttpStatus status = HttpStatus::ok;
  Content content = Content::text;
  std::string body = {};
  /// A random token by which a browser knows the style of our page of HTML; otherwise "".
  std::string style_nonce = {};
};

/// Returns the answer to a request that is not `ok`: its status in words.
[[nodiscard]] AdminResponse refusal(HttpStatus status);

/// Returns the bytes of an answer: status line, header fields and body.
[[nodiscard]] std::string to_wire(const AdminResponse& response, bool with_body = true);

}  // namespace starttls

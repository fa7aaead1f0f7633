#include "proxy/admin/http.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;

namespace {

struct Answer {
  HttpStatus status;
  std::optional<AdminPage> page;  // if the status is ok
  bool body;

  friend bool operator==(const Answer&, const Answer&) = default;
};

std::optional<Answer> answer(const AdminRequest& request, bool decided) {
  if (!decided) return std::nullopt;
  std::optional<AdminPage> page;
  if (request.status() == HttpStatus::ok) page = request.page();
  return Answer{request.status(), page, request.wants_body()};
}

/// Returns the answer to `text`. It must be the same if the text arrives whole, cut in two at every
/// byte, or byte by byte. Nothing: it waits for more.
std::optional<Answer> ask(std::string_view text, AdminHosts hosts = AdminHosts::any) {
  AdminRequest whole{hosts};
  const auto expected = answer(whole, whole.feed(text));
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    AdminRequest request{hosts};
    request.feed(text.substr(0, cut));
    const auto got = answer(request, request.feed(text.substr(cut)));
    if (got != expected) FAIL("cut at " << cut << ": another answer to " << text);
  }
  AdminRequest slow{hosts};
  bool decided = false;
  for (const char byte : text) decided = slow.feed({&byte, 1});
  if (answer(slow, decided) != expected) FAIL("byte by byte: another answer to " << text);
  return expected;
}

/// Returns the status of a refusal. Nothing: it is not refused, or not yet.
std::optional<HttpStatus> refused(std::string_view text) {
  const auto got = ask(text);
  if (!got || got->status == HttpStatus::ok) return std::nullopt;
  return got->status;
}

std::string get(std::string_view target, std::string_view fields = "Host: a\r\n") {
  return "GET " + std::string{target} + " HTTP/1.1\r\n" + std::string{fields} + "\r\n";
}

constexpr Answer found(AdminPage page, bool body = true) {
  return {HttpStatus::ok, page, body};
}

}  // namespace

TEST_CASE("admin http: each page is found by its path", "[admin][http]") {
  CHECK(ask(get("/")) == found(AdminPage::index));
  CHECK(ask(get("/?x")) == found(AdminPage::index));
  CHECK(ask(get("/metrics")) == found(AdminPage::metrics));
  CHECK(ask(get("/healthz")) == found(AdminPage::healthz));
  CHECK(ask(get("/readyz")) == found(AdminPage::readyz));
  CHECK(ask(get("/sessions")) == found(AdminPage::sessions));
  CHECK(ask(get("/status")) == found(AdminPage::status));
  CHECK(ask(get("/metrics?x=/healthz&y")) == found(AdminPage::metrics));
}

TEST_CASE("admin http: requests of Prometheus, a kubelet, curl and HAProxy are understood",
          "[admin][http]") {
  CHECK(ask("GET /metrics HTTP/1.1\r\n"
            "Host: 127.0.0.1:9465\r\n"
            "User-Agent: Prometheus/2.42.0\r\n"
            "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n"
            "Accept-Encoding: gzip\r\n"
            "X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n") == found(AdminPage::metrics));
  CHECK(ask("GET /readyz HTTP/1.1\r\nHost: 10.1.2.3:9465\r\nUser-Agent: kube-probe/1.30\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n") == found(AdminPage::readyz));
  CHECK(ask("HEAD /healthz HTTP/1.1\r\nhost:localhost\r\nAccept: */*\r\n\r\n") ==
        found(AdminPage::healthz, false));
  CHECK(ask("GET /healthz HTTP/1.0\r\n\r\n") == found(AdminPage::healthz));
  CHECK(ask("GET /healthz HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n") ==
        found(AdminPage::healthz));
  CHECK(ask(get("/metrics", "Host: a\r\nX: \xC3\xA9\t \xFF\r\n")) == found(AdminPage::metrics));
}

TEST_CASE("admin http: only the last byte of a request decides the answer", "[admin][http]") {
  for (const std::string& text : {get("/metrics"), get("/nowhere"),
                                  std::string{"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n"}}) {
    for (std::size_t size = 0; size < text.size(); ++size) CHECK(!ask(text.substr(0, size)));
    CHECK(ask(text));
    // A second request gets no answer and does not change the first answer.
    CHECK(ask(text + "GET /sessions HTTP/1.1\r\n\x01") == ask(text));
  }
}

TEST_CASE("admin http: an unknown path is not found", "[admin][http]") {
  for (const auto* target : {"//", "/metric", "/metricss", "/metrics/", "//metrics", "/Metrics",
                             "/%6detrics", "/../metrics", "/metrics%00", "/metrics;x"}) {
    INFO(target);
    CHECK(refused(get(target)) == HttpStatus::not_found);
  }
  const auto head = ask("HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(head == Answer{HttpStatus::not_found, std::nullopt, false});
}

TEST_CASE("admin http: other methods are refused, with content or without", "[admin][http]") {
  for (const auto* line : {"POST /metrics", "PUT /metrics", "DELETE /sessions", "OPTIONS *",
                           "TRACE /", "CONNECT mail.test:25", "get /metrics", "BREW /coffee"}) {
    CHECK(refused(std::string{line} + " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello") ==
          HttpStatus::method_not_allowed);
  }
}

TEST_CASE("admin http: other versions are refused", "[admin][http]") {
  CHECK(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == HttpStatus::version_not_supported);
  CHECK(refused("GET /metrics HTTP/0.9\r\n") == HttpStatus::version_not_supported);
  CHECK(refused("GET /metrics HTTP/3.0\r\n") == HttpStatus::version_not_supported);
  CHECK(ask("HEAD /metrics HTTP/2.0\r\n") ==
        Answer{HttpStatus::version_not_supported, std::nullopt, false});
  CHECK(ask("GET /metrics HTTP/1.9\r\nHost: a\r\n\r\n") == found(AdminPage::metrics));
  for (const auto* version : {"HTTP/1", "HTTP/1.10", "http/1.1", "HTTP/1.x", "HTTP1.1", "HTTP/11",
                              "HTTPS/1.1", "ICAP/1.0"}) {
    INFO(version);
    CHECK(refused("GET /metrics " + std::string{version} + "\r\n") == HttpStatus::bad_request);
  }
}

TEST_CASE("admin http: a malformed request line is refused at its end", "[admin][http]") {
  for (const auto* line : {" ",
                           "GET",
                           "GET /metrics",
                           "GET  /metrics HTTP/1.1",
                           "GET /metrics  HTTP/1.1",
                           "GET /metrics HTTP/1.1 ",
                           " GET /metrics HTTP/1.1",
                           "GET /a /metrics HTTP/1.1",
                           "G(T /metrics HTTP/1.1",
                           "GET metrics HTTP/1.1",
                           "GET * HTTP/1.1",
                           "GET ?x HTTP/1.1",
                           "GET /metrics#x HTTP/1.1",
                           "GET http:///metrics HTTP/1.1",
                           "GET http:// HTTP/1.1",
                           "GET http://127.0.0.1:9465/metrics HTTP/1.1",
                           "GET HTTP://a/readyz?x HTTP/1.1",
                           "GET http://a HTTP/1.1",
                           "GET http://a?metrics HTTP/1.1",
                           "GET https://a/metrics HTTP/1.1",
                           "GET ftp://a/metrics HTTP/1.1"}) {
    INFO(line);
    CHECK(refused(std::string{line} + "\r\n") == HttpStatus::bad_request);
  }
}

TEST_CASE("admin http: a byte that is not text is refused at once", "[admin][http][security]") {
  CHECK(refused("\x16\x03\x01\x02") == HttpStatus::bad_request);  // TLS
  CHECK(refused("GET /metrics\x80") == HttpStatus::bad_request);
  CHECK(refused("GET\t") == HttpStatus::bad_request);
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto c = static_cast<char>(byte);
    const bool control = byte < 0x20 || byte == 0x7F;
    const std::string in_line = std::string{"GET /x"} + c;
    const std::string in_value = std::string{"GET /x HTTP/1.1\r\nHost: a"} + c;
    INFO(byte);
    CHECK((refused(in_line) == HttpStatus::bad_request) ==
          ((control && c != '\r') || byte >= 0x80));
    CHECK((refused(in_value) == HttpStatus::bad_request) ==
          (control && c != '\r' && c != '\n' && c != '\t'));
  }
}

TEST_CASE("admin http: a line may end in LF alone", "[admin][http]") {
  CHECK(ask("GET /healthz HTTP/1.0\n\n") == found(AdminPage::healthz));
  CHECK(ask("HEAD /metrics HTTP/1.1\nHost: a\n\n") == found(AdminPage::metrics, false));
  CHECK(ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\n") == found(AdminPage::metrics));
  CHECK(ask("GET /metrics HTTP/1.1\nHost: a\n\r\n") == found(AdminPage::metrics));
  CHECK(refused("GET /metrics HTTP/1.1\nHost : a\n") == HttpStatus::bad_request);
  CHECK(refused("GET /metrics HTTP/1.1\n\n") == HttpStatus::bad_request);
}

TEST_CASE("admin http: empty lines before the request are ignored", "[admin][http]") {
  CHECK(ask("\r\nGET /healthz HTTP/1.0\r\n\r\n") == found(AdminPage::healthz));
  CHECK(ask("\n\r\n\nGET /healthz HTTP/1.0\r\n\r\n") == found(AdminPage::healthz));
  CHECK(!ask("\r\n\r\n\r\n"));
  CHECK(refused("\r\n GET /healthz HTTP/1.0\r\n") == HttpStatus::bad_request);
  AdminRequest request{AdminHosts::any};  // they count towards the size of the request line
  CHECK(!request.feed(std::string(AdminRequest::kMaxRequestLine, '\n')));
  CHECK(request.feed("\n"));
  CHECK(request.status() == HttpStatus::uri_too_long);
}

TEST_CASE("admin http: a CR is allowed before LF only", "[admin][http][security]") {
  CHECK(refused("\r\r\n") == HttpStatus::bad_request);
  CHECK(refused("GET /metrics HTTP/1.1\rX") == HttpStatus::bad_request);
  CHECK(refused("GET /metrics HTTP/1.1\r\r\n") == HttpStatus::bad_request);
  CHECK(refused("GET /metrics HTTP/1.1\r\nHost: a\r\n\rX") == HttpStatus::bad_request);
}

TEST_CASE("admin http: malformed fields are refused", "[admin][http][security]") {
  for (const auto* field :
       {" folded", "\tfolded", "Host : a", ": a", "no colon", "a b: c", "a\tb: c", "H\xC3\xB6st: a",
        "(a): b", "Content-Length: 1", "Content-Length: 00",
        "Content-Length:", "Content-Length: 0, 0", "content-length: -0",
        "Transfer-Encoding: chunked", "transfer-encoding: identity"}) {
    INFO(field);
    CHECK(refused("GET /metrics HTTP/1.1\r\nHost: a\r\n" + std::string{field} + "\r\n") ==
          HttpStatus::bad_request);
  }
}

TEST_CASE("admin http: HTTP/1.1 needs exactly one Host", "[admin][http]") {
  CHECK(refused(get("/metrics", "")) == HttpStatus::bad_request);
  CHECK(refused(get("/metrics", "Host: a\r\nHOST: a\r\n")) == HttpStatus::bad_request);
  CHECK(refused("GET /metrics HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n") == HttpStatus::bad_request);
}

TEST_CASE("admin http: S4: a loopback listener answers for addresses and localhost only",
          "[admin][http][security][S4]") {
  const auto status = [](const std::string& host, AdminHosts hosts) {
    return ask(get("/sessions", "Host: " + host + "\r\n"), hosts)->status;
  };
  for (const auto* host : {"127.0.0.1", "127.0.0.1:9465", "127.8.9.10:1", "[::1]", "[::1]:9465",
                           "[::ffff:127.0.0.1]:1", "localhost", "LocalHost:9465", "192.0.2.7:80",
                           "127.0.0.1:", " 127.0.0.1\t"}) {
    INFO(host);
    CHECK(status(host, AdminHosts::literals) == HttpStatus::ok);
  }
  for (const auto* host : {"rebound.example",
                           "rebound.example:9465",
                           "127.0.0.1.rebound.example",
                           "localhost.example",
                           "localhost.",
                           "a.localhost",
                           "",
                           ":9465",
                           "127.0.0.1:x",
                           "127.0.0.1:94:65",
                           "127.0.0.1x",
                           "127.1",
                           "2130706433",
                           "0x7f000001",
                           "::1",
                           "[::1",
                           "[::1]x",
                           "[::1]9465",
                           "[127.0.0.1]",
                           "[localhost]",
                           "[]",
                           "a@127.0.0.1",
                           "127.0.0.1,rebound.example",
                           "127.0.0.1 rebound.example",
                           "[::1%lo]",
                           "127.0.0.1\xff"}) {
    INFO(host);
    CHECK(status(host, AdminHosts::literals) == HttpStatus::misdirected);
    CHECK(status(host, AdminHosts::any) == HttpStatus::ok);
  }
  // A target that contains its own host.
  const auto target = [](const std::string& text, const std::string& fields) {
    return ask(get(text, fields), AdminHosts::literals)->status;
  };
  for (const auto* url : {"http://127.0.0.1:9465/metrics", "http://rebound.example/metrics",
                          "http://a@127.0.0.1/metrics"}) {
    CHECK(target(url, "Host: localhost\r\n") == HttpStatus::bad_request);
    CHECK(target(url, "Host: rebound.example\r\n") == HttpStatus::bad_request);
  }
  // A request with a foreign host gets no other answer. It cannot find out which pages exist.
  CHECK(target("/nowhere", "Host: rebound.example\r\n") == HttpStatus::misdirected);
  // A request that no browser sends.
  CHECK(ask("GET /healthz HTTP/1.0\r\n\r\n", AdminHosts::literals) == found(AdminPage::healthz));
}

TEST_CASE("admin http: a request beyond its bounds is refused", "[admin][http][security]") {
  // These are not replayed at every byte, since that would take too long.
  const auto at = [](const std::string& head, std::size_t size) {
    AdminRequest request{AdminHosts::any};
    std::string text = head;
    text.resize(std::max(size, head.size()), 'x');
    return request.feed(text) ? std::optional{request.status()} : std::nullopt;
  };
  const std::string line = "GET /";
  CHECK(!at(line, AdminRequest::kMaxRequestLine));
  CHECK(at(line, AdminRequest::kMaxRequestLine + 1) == HttpStatus::uri_too_long);
  CHECK(at(line, 100'000) == HttpStatus::uri_too_long);
  const std::string field = "GET /metrics HTTP/1.1\r\nHost: a\r\nX: ";
  CHECK(!at(field, AdminRequest::kMaxSize));
  CHECK(at(field, AdminRequest::kMaxSize + 1) == HttpStatus::header_too_large);
  CHECK(at(field, 1'000'000) == HttpStatus::header_too_large);

  std::string many = "GET /metrics HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 5000; ++i) many += "a:\r\n";
  CHECK(at(many, 0) == HttpStatus::header_too_large);
  // The longest request that is accepted.
  std::string full = field + std::string(AdminRequest::kMaxSize - field.size() - 4, 'x');
  CHECK(at(full + "\r\n\r\n", 0) == HttpStatus::ok);
  CHECK(at(full + "xx\r\n\r\n", 0) == HttpStatus::header_too_large);
}

TEST_CASE("admin http: an answer is complete, and closes the connection", "[admin][http]") {
  CHECK(to_wire({.content = AdminResponse::Content::metrics, .body = "a 1\n"}) ==
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        "Content-Length: 4\r\n"
        "Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n"
        "\r\n"
        "a 1\n");
  const std::string head = to_wire({.body = "ok\n"}, false);
  CHECK(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"));
  CHECK(head.find("Content-Length: 3\r\n") != std::string::npos);
  CHECK(head.ends_with("Connection: close\r\n\r\n"));
  CHECK(to_wire({.content = AdminResponse::Content::json, .body = "[]"})
            .find("Content-Type: application/json\r\n") != std::string::npos);
  CHECK(to_wire({.status = HttpStatus::unavailable, .body = "draining\n"})
            .starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
}

TEST_CASE("admin http: a refusal names its reason, and repeats nothing of the request",
          "[admin][http]") {
  const std::vector<std::pair<HttpStatus, std::string>> all = {
      {HttpStatus::bad_request, "400 Bad Request"},
      {HttpStatus::not_found, "404 Not Found"},
      {HttpStatus::method_not_allowed, "405 Method Not Allowed"},
      {HttpStatus::uri_too_long, "414 URI Too Long"},
      {HttpStatus::misdirected, "421 Misdirected Request"},
      {HttpStatus::header_too_large, "431 Request Header Fields Too Large"},
      {HttpStatus::version_not_supported, "505 HTTP Version Not Supported"}};
  for (const auto& [status, words] : all) {
    const std::string wire = to_wire(refusal(status));
    CHECK(wire.starts_with("HTTP/1.1 " + words + "\r\n"));
    const std::string advice =
        status == HttpStatus::misdirected ? ": ask for an IP address or for localhost" : "";
    CHECK(wire.ends_with("\r\n\r\n" + words + advice + "\n"));
    // RFC 9110 §15.5.6.
    CHECK((wire.find("\r\nAllow: GET, HEAD\r\n") != std::string::npos) ==
          (status == HttpStatus::method_not_allowed));
  }
}

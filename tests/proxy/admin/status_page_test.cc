#include "proxy/admin/status_page.h"

#include <cctype>
#include <string>
#include <vector>

#include "proxy/admin/html.h"
#include "proxy/admin/status_json.h"
#include "tests/proxy/admin/status_facts.h"
#include "tests/support/catch.h"

using namespace starttls;
using test::days_later;
using test::good_status;

namespace {

constexpr const char* kEvil = "<script>alert(1)</script>\" onload='x' &amp;";

std::string page_of(const Status& status) {
  return status_page(status, "0123456789abcdef").body;
}

bool has(const std::string& page, std::string_view words) {
  return page.find(words) != std::string::npos;
}

std::size_t count(const std::string& page, std::string_view words) {
  std::size_t found = 0;
  for (auto at = page.find(words); at != std::string::npos; at = page.find(words, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("html: no text is markup", "[proxy][admin][security]") {
  CHECK(escape_html("a<b>&\"'c") == "a&lt;b&gt;&amp;&quot;&#39;c");
  CHECK(escape_html("Büro \xFF") == "Büro \xEF\xBF\xBD");
  CHECK(escape_html(std::string("a\0b", 3)) ==
        "a\xEF\xBF\xBD"
        "b");
  for (int byte = 1; byte < 256; ++byte) {
    for (const char c : escape_html(std::string(1, static_cast<char>(byte)))) {
      CHECK((c != '<' && c != '>' && c != '"' && c != '\''));
    }
  }
}

TEST_CASE("status page: the facts are there in words", "[proxy][admin]") {
  auto status = good_status();
  status.failures.push_back(
      {{"0a.1.2", "office", Errc::timeout, "the server did not answer in time"}, days_later(0), 7});
  const auto page = page_of(status);
  for (const char* words :
       {"<title>starttls-proxy: ready</title>", "1.2.3 on proxy.example.com",
        "since 2023-11-11 22:13:20 UTC", "office", "smtp", "127.0.0.1:25",
        "smtp.example.com:587<br>smtp2.example.com:587", "no TLS", "STARTTLS, verified",
        "97 ok, 3 timeout", "3 % of the ended ones", "serving", "29 days left",
        "shown by the server", "2023-12-13 22:13:20 UTC", "the server did not answer in time",
        "session 0a.1.2", ">7<", "As of 2023-11-14 22:13:20 UTC"}) {
    CAPTURE(words);
    CHECK(has(page, words));
  }
  CHECK_FALSE(has(page, "class=\"note\""));
  for (const char* path : {"/status", "/metrics", "/sessions", "/healthz", "/readyz"}) {
    CAPTURE(path);
    CHECK(has(page, "<a href=\"" + std::string(path) + "\">"));
    AdminRequest request{AdminHosts::any};
    REQUIRE(request.feed("GET " + std::string(path) + " HTTP/1.0\r\n\r\n"));
    CHECK(request.status() == HttpStatus::ok);
  }
}

TEST_CASE("status page: trouble is said in words, not only in colours", "[proxy][admin]") {
  auto status = good_status();
  status.last_reload_successful = false;
  status.obstacles = {"service office: the certificate in /etc/a.pem expired on Tuesday"};
  status.services[0].state = ServiceStatus::State::not_ready;
  status.services[0].verify = "none";
  status.certificates = {{CertificateStatus::Owner::proxy, "office", Side::downstream, "/etc/a.pem",
                          days_later(-1), CertificateStatus::State::expired},
                         {CertificateStatus::Owner::proxy, "office", Side::upstream, "/etc/b.pem",
                          days_later(1), CertificateStatus::State::ends_soon},
                         {CertificateStatus::Owner::server, "office", Side::upstream, "a:25",
                          kServerRenewal > std::chrono::hours{0} ? days_later(0) : days_later(1),
                          CertificateStatus::State::ends_soon}};
  const auto page = page_of(status);
  for (const char* words :
       {"<title>starttls-proxy: not ready</title>",
        "Not ready: service office: the certificate in /etc/a.pem expired",
        "The last reload has failed: the configuration of 2023-11-13", "STARTTLS, not verified",
        ">not ready<", ">expired<", ">1 day left<", ">less than a day left<", "ours, for clients",
        "ours, for the server"}) {
    CAPTURE(words);
    CHECK(has(page, words));
  }
  status.draining = true;
  status.obstacles = {"draining"};
  CHECK(has(page_of(status), "<title>starttls-proxy: draining</title>"));
}

TEST_CASE("status page: no text from outside is markup", "[proxy][admin][security]") {
  auto status = good_status();
  status.version = kEvil;
  status.host = kEvil;
  status.obstacles = {kEvil};
  auto& service = status.services[0];
  service.name = kEvil;
  service.protocol = kEvil;
  service.listen = {kEvil, kEvil};
  service.servers = {kEvil};
  status.certificates[0].service = kEvil;
  status.certificates[0].name = kEvil;
  status.failures = {{{kEvil, kEvil, Errc::timeout, kEvil}, days_later(0), 1}};
  const auto page = page_of(status);
  CHECK_FALSE(has(page, "<script"));
  CHECK_FALSE(has(page, "onload='x'"));
  CHECK(count(page, "&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp;amp;") ==
        14);
  // The page has the same tags as one without such texts.
  CHECK(count(page, "<") ==
        count(page_of([&] {
                auto plain = status;
                plain.version = plain.host = "x";
                plain.obstacles = {"x"};
                plain.services[0].name = plain.services[0].protocol = "x";
                plain.services[0].listen = {"x", "x"};
                plain.services[0].servers = {"x"};
                plain.certificates[0].service = plain.certificates[0].name = "x";
                plain.failures = {{{"x", "x", Errc::timeout, "x"}, days_later(0), 1}};
                return plain;
              }()),
              "<"));
}

TEST_CASE("status page: a browser runs no script and asks no server", "[proxy][admin][security]") {
  const auto response = status_page(good_status(), "0123456789abcdef");
  const auto wire = to_wire(response);
  CHECK(has(wire, "Content-Type: text/html; charset=utf-8\r\n"));
  CHECK(has(wire,
            "\r\nContent-Security-Policy: default-src 'none'; style-src "
            "'nonce-0123456789abcdef'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'\r\n"));
  CHECK(has(wire, "\r\nReferrer-Policy: no-referrer\r\n"));
  CHECK(has(response.body, "<style nonce=\"0123456789abcdef\">"));
  for (const char* words : {"<script", "http://", "https://", "style=", "@import", "url("}) {
    CAPTURE(words);
    CHECK_FALSE(has(response.body, words));
  }
  CHECK_FALSE(has(to_wire(status_json(good_status())), "Content-Security-Policy"));
}

TEST_CASE("status page: a thousand services stay a small page", "[proxy][admin][security]") {
  auto status = good_status();
  auto service = status.services[0];
  const auto certificate = status.certificates[0];
  for (int i = 0; i < 1200; ++i) {
    service.name = "service-" + std::to_string(i);
    status.services.push_back(service);
    status.certificates.push_back(certificate);
  }
  const auto page = page_of(status);
  CHECK(count(page, "<td class=\"name\"") == kMaxPageRows);
  CHECK(count(page, "1101 more are not shown: see <a href=\"/status\">/status</a>") == 2);
  CHECK(has(page, "of 1201 services"));
  CHECK(page.size() < 150'000);
}

TEST_CASE("status page: a process that has just started", "[proxy][admin]") {
  auto status = good_status();
  status.certificates.clear();
  status.services[0].servers.clear();
  status.services[0].sessions = {};
  const auto page = page_of(status);
  for (const char* words :
       {"no certificate is known", "None is configured, and no server has shown one yet",
        "No session has failed since the start", "none has ended",
        "the address that a client dialled"}) {
    CAPTURE(words);
    CHECK(has(page, words));
  }
}

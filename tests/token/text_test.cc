#include "token/text.h"

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace starttls::token {
namespace {

TEST_CASE("base64url: neither padding nor characters that an address escapes") {
  const std::vector<std::uint8_t> bytes{0xfb, 0xff, 0xfe, 0x00};
  CHECK(base64url(bytes) == "-__-AA");
  CHECK(base64url({}).empty());
}

TEST_CASE("form: fields are escaped, and come back as they were") {
  Form form;
  form.add("scope", "a b&c=d+e%");
  form.add("name", "\xc3\xa4\n");
  CHECK(form.encoded() == "scope=a%20b%26c%3Dd%2Be%25&name=%C3%A4%0A");
  const auto fields = parse_query(form.encoded());
  REQUIRE(fields);
  CHECK(field(*fields, "scope") == "a b&c=d+e%");
  CHECK(field(*fields, "name") == "\xc3\xa4\n");
}

TEST_CASE("form: it knows the words that would repeat a secret") {
  Form form;
  form.add("client_id", "harmless");
  form.add("client_secret", Secret{"hush"});
  CHECK(form.leaks_into("the secret hush is wrong"));
  CHECK_FALSE(form.leaks_into("the client harmless is unknown"));
}

TEST_CASE("query: malformed escapes and fields that are there twice are refused") {
  CHECK_FALSE(parse_query("a=%4"));
  CHECK_FALSE(parse_query("a=%zz"));
  const auto fields = parse_query("&a=1+2&b&a=3&");
  REQUIRE(fields);
  CHECK_FALSE(field(*fields, "a"));
  CHECK(field(*fields, "b") == "");
  CHECK_FALSE(field(*fields, "c"));
}

TEST_CASE("endpoints: secrets go to https, or to this machine", "[security]") {
  for (const char* good :
       {"https://login.example.com/token", "https://login.example.com:8443/a?b=c",
        "http://127.0.0.1:8080/token", "http://[::1]:8080/", "http://localhost/token"}) {
    INFO(good);
    CHECK(check_endpoint("token_url", good));
  }
  for (const char* bad :
       {"", "http://login.example.com/token", "http://127.0.0.1.example.com/",
        "http://localhost.example.com/", "http://127.0.0.1@example.com/", "http://localhost:80@a/",
        "https://", "https://a:99999/", "https://user:word@example.com/", "https://a/#b",
        "https://a/ b", "https://a/\r\nHost:b", "ftp://example.com/", "HTTP://example.com/",
        "http://[::1", "file:///etc/passwd"}) {
    INFO(bad);
    const auto checked = check_endpoint("token_url", bad);
    REQUIRE_FALSE(checked);
    CHECK(checked.error().status == Exit::config);
  }
}

TEST_CASE("redirects: they lead to this machine, with or without port and path") {
  const auto plain = parse_redirect("http://localhost");
  REQUIRE(plain);
  CHECK(plain->host == "localhost");
  CHECK(plain->port == 0);
  CHECK(plain->path == "/");
  const auto full = parse_redirect("http://127.0.0.1:8765/callback");
  REQUIRE(full);
  CHECK(full->port == 8765);
  CHECK(full->path == "/callback");
  for (const char* bad : {"https://127.0.0.1/", "http://example.com/", "http://[::1]/",
                          "http://127.0.0.1/?a=b", "http://127.0.0.1:0/", "x"}) {
    INFO(bad);
    CHECK_FALSE(parse_redirect(bad));
  }
}

}  // namespace
}  // namespace starttls::token

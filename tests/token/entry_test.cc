#include "token/entry.h"

#include <string>

#include "tests/support/catch.h"
#include "tests/token/support.h"

namespace starttls::token {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

Grant full_grant() {
  return {.access_token = Secret{"access"},
          .refresh_token = Secret{"refresh"},
          .lifetime = seconds{3600},
          .scope = "mail"};
}

TEST_CASE("entry: it comes back from its file as it was") {
  const auto entry = make_entry(public_client(), full_grant(), kNow);
  const auto read = parse_entry(to_json(entry).reveal());
  REQUIRE(read);
  CHECK(read->account == "scan@example.com");
  CHECK(read->provider == "office365");
  CHECK(read->flow == Flow::device_code);
  CHECK(read->token_url == entry.token_url);
  CHECK(read->client_id == entry.client_id);
  CHECK(read->scope == "mail");
  CHECK(read->refresh_token.reveal() == "refresh");
  CHECK(read->access_token.reveal() == "access");
  CHECK(read->obtained == kNow);
  CHECK(read->expires == later(seconds{3600}));
}

TEST_CASE("entry: a file that is not whole is no entry, wherever it was cut") {
  const auto content = to_json(make_entry(public_client(), full_grant(), kNow));
  const auto text = content.reveal();
  for (std::size_t size = 0; size + 1 < text.size(); ++size) {  // the last byte is a line feed
    CHECK_FALSE(parse_entry(text.substr(0, size)));
    // A crash may leave zeros after the end of what has reached the disk.
    CHECK_FALSE(parse_entry(std::string(text.substr(0, size)) + std::string(50, '\0')));
  }
  CHECK_FALSE(parse_entry("{}"));
}

TEST_CASE("entry: a token is fresh until five minutes before its end") {
  const auto entry = make_entry(public_client(), full_grant(), kNow);
  CHECK(is_fresh(entry, kNow));
  CHECK(is_fresh(entry, later(minutes{55})));
  CHECK_FALSE(is_fresh(entry, later(minutes{55} + seconds{1})));
  CHECK_FALSE(is_fresh(entry, later(minutes{600})));
}

TEST_CASE("entry: a clock that was set back makes the token's end unknown") {
  const auto entry = make_entry(public_client(), full_grant(), kNow);
  CHECK(is_fresh(entry, later(seconds{-60})));
  CHECK_FALSE(is_fresh(entry, later(seconds{-61})));
}

TEST_CASE("entry: a token without a lifetime is never fresh") {
  auto grant = full_grant();
  grant.lifetime.reset();
  CHECK_FALSE(is_fresh(make_entry(public_client(), grant, kNow), kNow));
}

TEST_CASE("entry: a renewal rotates the refresh token if there is a new one") {
  auto entry = make_entry(public_client(), full_grant(), kNow);
  renew(entry, {.access_token = Secret{"next"}, .refresh_token = {}, .lifetime = {}, .scope = ""},
        later(minutes{60}));
  CHECK(entry.access_token.reveal() == "next");
  CHECK(entry.refresh_token.reveal() == "refresh");
  CHECK(entry.scope == "mail");
  renew(entry,
        {.access_token = Secret{"n"}, .refresh_token = Secret{"r2"}, .lifetime = {}, .scope = ""},
        kNow);
  CHECK(entry.refresh_token.reveal() == "r2");
}

TEST_CASE("entry: it belongs to one client and one endpoint", "[security]") {
  const auto entry = make_entry(public_client(), full_grant(), kNow);
  CHECK(belongs_to(entry, public_client()));
  auto other = public_client();
  other.token_url = "https://evil.example.com/token";
  CHECK_FALSE(belongs_to(entry, other));
  other = public_client();
  other.client_id = "other";
  CHECK_FALSE(belongs_to(entry, other));
  other = public_client();
  other.flow = Flow::client_credentials;
  CHECK_FALSE(belongs_to(entry, other));
}

TEST_CASE("file names: no account leaves the folder, and each has its own file", "[security]") {
  CHECK(file_name("scan+a@example.com") == "scan+a@example.com");
  CHECK(file_name("../../etc/passwd") == "%2E.%2F..%2Fetc%2Fpasswd");
  CHECK(file_name(".") == "%2E");
  CHECK(file_name("a b%\xc3\xa4") == "a%20b%25%C3%A4");
  for (const char* account :
       {"scan+a@example.com", "../x", ".", "..", "a%2Fb", "a b", "\xc3\xa4"}) {
    CHECK(account_of(file_name(account)) == std::string(account));
  }
  for (const char* no_name : {"", "a%2fb", "a b", "a%41", "%", "a&b"}) {
    CHECK_FALSE(account_of(no_name));
  }
}

}  // namespace
}  // namespace starttls::token

#include "token/code_flow.h"

#include <string>

#include "tests/support/catch.h"
#include "tests/token/support.h"
#include "token/text.h"

namespace starttls::token {
namespace {

CodeAttempt attempt() {
  return {.state = "the-state",
          .verifier = Secret{"the-verifier"},
          .redirect = "http://127.0.0.1:40123/"};
}

TEST_CASE("PKCE: the challenge is that of RFC 7636, appendix B") {
  CHECK(code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") ==
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

TEST_CASE("PKCE: each attempt has its own random values") {
  const auto one = begin_attempt("http://127.0.0.1:1/");
  const auto other = begin_attempt("http://127.0.0.1:1/");
  CHECK(one.state != other.state);
  CHECK_FALSE(one.verifier == other.verifier);
  CHECK(one.verifier.reveal().size() == 64);
  CHECK(one.state.size() == 32);
}

TEST_CASE("authorization address: it has the challenge, and not the verifier") {
  auto client = public_client();
  client.authorize_extra = "prompt=consent";
  const auto address = authorization_address(client, client.account, attempt());
  const auto mark = address.find('?');
  CHECK(address.substr(0, mark) == "https://login.example.com/authorize");
  const auto fields = parse_query(address.substr(mark + 1));
  REQUIRE(fields);
  CHECK(field(*fields, "response_type") == "code");
  CHECK(field(*fields, "client_id") == "the client");
  CHECK(field(*fields, "redirect_uri") == "http://127.0.0.1:40123/");
  CHECK(field(*fields, "scope") == "mail offline_access");
  CHECK(field(*fields, "state") == "the-state");
  CHECK(field(*fields, "code_challenge") == code_challenge("the-verifier"));
  CHECK(field(*fields, "code_challenge_method") == "S256");
  CHECK(field(*fields, "login_hint") == "scan@example.com");
  CHECK(field(*fields, "prompt") == "consent");
  CHECK(address.find("the-verifier") == std::string::npos);
}

TEST_CASE("authorization address: an endpoint with a query keeps it") {
  auto client = public_client();
  client.authorize_url += "?a=b";
  const auto address = authorization_address(client, "scan", attempt());
  CHECK(address.starts_with("https://login.example.com/authorize?a=b&response_type=code&"));
  CHECK(address.find("login_hint") == std::string::npos);
}

TEST_CASE("redirect: the code is read") {
  const auto code = read_redirect("/?code=a%2Fb&state=the-state&session=x", "/", attempt());
  REQUIRE(code);
  REQUIRE(*code);
  CHECK((*code)->reveal() == "a/b");
}

TEST_CASE("redirect: without the state of this attempt it counts for nothing", "[security]") {
  for (const char* target :
       {"/", "/favicon.ico", "/?code=a", "/?code=a&state=", "/?code=a&state=the-stat",
        "/?code=a&state=other", "/?code=a&state=the-state&state=the-state",
        "/other?code=a&state=the-state", "/?error=access_denied&state=other", "/?%", ""}) {
    INFO(target);
    const auto code = read_redirect(target, "/", attempt());
    REQUIRE(code);
    CHECK_FALSE(*code);
  }
}

TEST_CASE("redirect: the provider's errors are reported") {
  const auto denied = read_redirect(
      "/?error=access_denied&error_description=no+thanks&state=the-state", "/", attempt());
  REQUIRE_FALSE(denied);
  CHECK(denied.error().status == Exit::permission);
  CHECK(denied.error().reason.ends_with("no thanks"));
  for (const char* target :
       {"/?state=the-state", "/?state=the-state&code=", "/?state=the-state&code=a%0Ab"}) {
    const auto code = read_redirect(target, "/", attempt());
    REQUIRE_FALSE(code);
    CHECK(code.error().status == Exit::protocol);
  }
}

TEST_CASE("pasted address: it must be the one of this attempt", "[security]") {
  const auto code = read_pasted("  http://127.0.0.1:40123/?code=c&state=the-state ", attempt());
  REQUIRE(code);
  CHECK(code->reveal() == "c");
  for (const char* wrong : {"", "c", "http://127.0.0.1:40123/?code=c&state=x",
                            "http://127.0.0.1:40124/?code=c&state=the-state",
                            "https://example.com/?code=c&state=the-state"}) {
    INFO(wrong);
    const auto refused = read_pasted(wrong, attempt());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().status == Exit::usage);
  }
}

}  // namespace
}  // namespace starttls::token

#include "lib/proto/login/sasl_client.h"

#include <string>

#include "lib/base/base64.h"
#include "tests/proto/login/login_dialogue.h"

using namespace starttls;
using namespace starttls::proto;
using namespace starttls::test;
using namespace std::string_literals;

namespace {

/// Returns the next message, decoded; "(none)" if none is due.
std::string next_text(SaslClient& client) {
  const auto message = client.next();
  if (!message) return "(none)";
  const auto bytes = base64::decode(message->reveal());
  REQUIRE(bytes.has_value());
  return {bytes->begin(), bytes->end()};
}

std::string in_base64(std::string_view text) {
  return base64::encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace

TEST_CASE("sasl client: PLAIN is one message, and no authorization identity", "[proto][login]") {
  const auto credentials = password();
  SaslClient client(Mechanism::plain, credentials);
  CHECK(client.speaks_first());
  CHECK(next_text(client) == "\0ann\0sesame"s);
  CHECK(next_text(client) == "(none)");
  CHECK(!client.has_answered_error());
}

TEST_CASE("LP10 sasl client: LOGIN is name and password, each after a prompt", "[proto][login]") {
  const auto credentials = password();
  SaslClient client(Mechanism::login, credentials);
  CHECK(!client.speaks_first());
  CHECK(next_text(client) == "ann");
  CHECK(next_text(client) == "sesame");
  CHECK(next_text(client) == "(none)");
}

TEST_CASE("LP3 LP4 sasl client: XOAUTH2 answers the error with an empty message, once",
          "[proto][login]") {
  const auto credentials = token();
  SaslClient client(Mechanism::xoauth2, credentials);
  CHECK(client.speaks_first());
  CHECK(next_text(client) == "user=ann@example.com\1auth=Bearer t0ken\1\1");
  CHECK(!client.has_answered_error());
  CHECK(next_text(client).empty());
  CHECK(client.has_answered_error());
  CHECK(next_text(client) == "(none)");
}

TEST_CASE("LP3 LP4 LP5 sasl client: OAUTHBEARER has a text of its own, and answers with 0x01",
          "[proto][login]") {
  auto credentials = token();
  SaslClient client(Mechanism::oauthbearer, credentials);
  CHECK(client.speaks_first());
  CHECK(next_text(client) ==
        "n,a=ann@example.com,\1host=mail.example.com\1port=143\1auth=Bearer t0ken\1\1");
  CHECK(client.next()->reveal() == "AQ==");
  CHECK(client.has_answered_error());
  CHECK(next_text(client) == "(none)");

  credentials.user = "a,b=c";
  SaslClient escaping(Mechanism::oauthbearer, credentials);
  CHECK(next_text(escaping).starts_with("n,a=a=2Cb=3Dc,\1host="));
}

TEST_CASE("sasl client: only the status of an error is read", "[proto][login][security]") {
  CHECK(error_status(in_base64(R"({"status":"400","schemes":"Bearer","scope":"mail"})")) == "400");
  CHECK(error_status(in_base64(R"({ "scope" : "x", "status" : "invalid_token" })")) ==
        "invalid_token");
  CHECK(error_status(in_base64(R"({"status":401})")) == "401");
  for (const auto* json :
       {"", "{}", "{\"status\"", "{\"status\":", "{\"status\" \"400\"}", "{\"status\":\"\"}",
        "{\"status\":\"<b>\"}", "{\"status\":[1]}", "{\"scope\":\"400\"}",
        "{\"status\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"}) {
    CHECK(error_status(in_base64(json)).empty());
  }
  CHECK(error_status("no base64").empty());
}

#include "token/answer.h"

#include <string>
#include <string_view>

#include "lib/base/ascii.h"
#include "tests/support/catch.h"
#include "tests/token/support.h"

namespace starttls::token {
namespace {

using std::chrono::seconds;

Form sent_form() {
  Form form;
  form.add("client_secret", Secret{"hush-hush"});
  return form;
}

Failure refusal(const Response& response) {
  const auto grant = read_grant(response, sent_form());
  REQUIRE_FALSE(grant);
  return grant.error();
}

TEST_CASE("grant: tokens, lifetime and scope are read") {
  const auto grant = read_grant(
      json_answer(R"({"access_token":"at","token_type":"bearer","expires_in":3599,)"
                  R"("refresh_token":"rt","scope":"mail","id_token":"x","new":{"a":[1]}})"),
      sent_form());
  REQUIRE(grant);
  CHECK(grant->access_token.reveal() == "at");
  CHECK(grant->refresh_token.reveal() == "rt");
  CHECK(grant->lifetime == seconds{3599});
  CHECK(grant->scope == "mail");
}

TEST_CASE("grant: a lifetime may be missing, text, absurd or wrong") {
  const auto lifetime = [](std::string_view member) {
    const auto grant =
        read_grant(json_answer(R"({"access_token":"a")" + std::string(member) + "}"), sent_form());
    REQUIRE(grant);
    return grant->lifetime;
  };
  CHECK(lifetime("") == std::nullopt);
  CHECK(lifetime(R"(,"expires_in":"3600")") == seconds{3600});
  CHECK(lifetime(R"(,"expires_in":-5)") == std::nullopt);
  CHECK(lifetime(R"(,"expires_in":"soon")") == std::nullopt);
  CHECK(lifetime(R"(,"expires_in":1.5)") == std::nullopt);
  CHECK(lifetime(R"(,"expires_in":9223372036854775807)") == seconds{10LL * 365 * 24 * 3600});
}

TEST_CASE("grant: tokens with line breaks or other control characters are refused", "[security]") {
  for (const char* token : {"a\\nQUIT", "a\\r", "a\\u0000b", "a\\u0001b", "", "\\u00e4"}) {
    INFO(token);
    CHECK(refusal(json_answer(R"({"access_token":")" + std::string(token) + "\"}")).status ==
          Exit::protocol);
    if (*token == '\0') continue;  // an empty refresh token is none
    CHECK(refusal(
              json_answer(R"({"access_token":"a","refresh_token":")" + std::string(token) + "\"}"))
              .status == Exit::protocol);
  }
}

TEST_CASE("grant: a token may have 9000 bytes, and no more") {
  const auto answer = [](std::size_t size) {
    return json_answer(R"({"access_token":")" + std::string(size, 'x') + "\"}");
  };
  CHECK(read_grant(answer(9000), sent_form()));
  CHECK(refusal(answer(9001)).status == Exit::protocol);
}

TEST_CASE("grant: tokens of another type are refused") {
  const auto failure = refusal(json_answer(R"({"access_token":"a","token_type":"mac"})"));
  CHECK(failure.status == Exit::protocol);
  CHECK(failure.reason.find("'mac'") != std::string::npos);
}

TEST_CASE("errors: each code of RFC 6749 and RFC 8628 has its exit status") {
  struct Row {
    const char* code;
    Exit status;
  };
  for (const auto& [code, status] : {Row{"invalid_request", Exit::config},
                                     {"invalid_client", Exit::config},
                                     {"invalid_grant", Exit::permission},
                                     {"unauthorized_client", Exit::config},
                                     {"unsupported_grant_type", Exit::config},
                                     {"invalid_scope", Exit::config},
                                     {"access_denied", Exit::permission},
                                     {"unsupported_response_type", Exit::config},
                                     {"server_error", Exit::temporary},
                                     {"temporarily_unavailable", Exit::temporary},
                                     {"authorization_pending", Exit::temporary},
                                     {"slow_down", Exit::temporary},
                                     {"expired_token", Exit::permission},
                                     {"interaction_required", Exit::permission}}) {
    INFO(code);
    const auto failure = refusal(json_answer(
        R"({"error":")" + std::string(code) + R"(","error_description":"in words"})", 400));
    CHECK(failure.status == status);
    CHECK(failure.oauth_error == code);
    CHECK(failure.reason.starts_with(std::string(code) + ": "));
    CHECK(failure.reason.ends_with("the provider says: in words"));
  }
}

TEST_CASE("errors: a code that OAuth does not know is shown, escaped and cut") {
  const auto failure =
      refusal(json_answer(R"({"error":")" + std::string(100, 'z') + R"(\n"})", 400));
  CHECK(failure.status == Exit::protocol);
  CHECK(failure.oauth_error.empty());
  CHECK(failure.reason.find(std::string(64, 'z') + "...") != std::string::npos);
}

TEST_CASE("errors: no message repeats a secret that was sent", "[security]") {
  for (const char* body : {R"({"error":"invalid_client","error_description":"bad hush-hush"})",
                           R"({"error":"hush-hush"})"}) {
    const auto failure = refusal(json_answer(body, 400));
    CHECK(failure.reason.find("hush") == std::string::npos);
  }
}

TEST_CASE("errors: descriptions cannot steer a terminal", "[security]") {
  const auto failure = refusal(
      json_answer(R"({"error":"invalid_grant","error_description":"\u001b[2J\r\n\u009bx"})", 400));
  for (const char c : failure.reason) CHECK(ascii::is_printable(c));
}

TEST_CASE("errors: status 429 and 5xx are temporary, whatever the body is") {
  for (const long status : {429L, 500L, 502L, 503L, 504L}) {
    INFO(status);
    auto response = json_answer(R"({"error":"invalid_grant"})", status);
    response.retry_after = seconds{120};
    const auto failure = refusal(response);
    CHECK(failure.status == Exit::temporary);
    CHECK(failure.retry_after == seconds{120});
    CHECK(failure.reason.find("120 s") != std::string::npos);
    const auto page =
        refusal({.status = status, .content_type = "text/html", .body = Secret{"<html>"}});
    CHECK(page.status == Exit::temporary);
    for (const auto& reason : {failure.reason, page.reason}) {  // the status is named, once
      const auto at = reason.find("HTTP status");
      CHECK(at != std::string::npos);
      CHECK(at == reason.rfind("HTTP status"));
    }
  }
}

TEST_CASE("errors: answers that are not of OAuth are named") {
  const auto says = [](const Response& response, std::string_view words) {
    const auto failure = refusal(response);
    INFO(failure.reason);
    CHECK(failure.status == Exit::protocol);
    CHECK(failure.reason.find(words) != std::string::npos);
  };
  says({.status = 200, .content_type = "text/html", .body = Secret{"<html>"}}, "text/html");
  says({.status = 200, .content_type = "text/plain", .body = Secret{R"({"access_token":"a"})"}},
       "text/plain");
  says({.status = 200, .body = Secret{R"({"access_token":"a"})"}}, "no content type");
  says({.status = 302, .content_type = "text/html"}, "redirects are not followed");
  says({.status = 404, .content_type = "application/json"}, "HTTP status 404");
  says(json_answer(R"({"access_token":"a)"), "no JSON object");
  says(json_answer(R"(["access_token"])"), "no JSON object");
  says(json_answer(R"({"error":{"message":"x"}})"), "JSON of another kind");
  says(json_answer(R"({"token":"a"})"), "no access_token");
  says(json_answer(R"({"access_token":5})"), "no access_token");
  says(json_answer(R"({"access_token":"a"})", 201), "HTTP status 201");
  says(json_answer(std::string(60000, '[')), "no JSON object");
}

TEST_CASE("errors: an error code with status 200 is an error") {
  CHECK(refusal(json_answer(R"({"error":"slow_down","access_token":"a"})")).oauth_error ==
        "slow_down");
}

TEST_CASE("device code: it is read, with the defaults of RFC 8628") {
  const auto device = read_device_code(
      json_answer(R"({"device_code":"dc","user_code":"WDJB-MJHT",)"
                  R"("verification_uri":"https://example.com/device","expires_in":1800})"),
      sent_form());
  REQUIRE(device);
  CHECK(device->user_code == "WDJB-MJHT");
  CHECK(device->interval == seconds{5});
  CHECK(device->lifetime == seconds{1800});
  CHECK(device->complete_address.empty());
}

TEST_CASE("device code: absurd times are bounded, and Google's name of the address is known") {
  const auto device = read_device_code(
      json_answer(R"({"device_code":"dc","user_code":"A","verification_url":"https://g.test/",)"
                  R"("expires_in":99999999,"interval":0,"verification_uri_complete":"https://g"})"),
      sent_form());
  REQUIRE(device);
  CHECK(device->address == "https://g.test/");
  CHECK(device->complete_address == "https://g");
  CHECK(device->interval == seconds{1});
  CHECK(device->lifetime == seconds{3600});
}

TEST_CASE("device code: texts for the terminal have no control characters", "[security]") {
  for (const char* body :
       {R"({"device_code":"d","user_code":"\u001b]0;x","verification_uri":"https://a"})",
        R"({"device_code":"d","user_code":"A","verification_uri":"https://a\n"})",
        R"({"device_code":"d","user_code":"A","verification_uri":"https://a",)"
        R"("verification_uri_complete":"\u0007"})",
        R"({"device_code":"d","user_code":"A"})", R"({"user_code":"A"})"}) {
    INFO(body);
    const auto device = read_device_code(json_answer(body), sent_form());
    REQUIRE_FALSE(device);
    CHECK(device.error().status == Exit::protocol);
  }
}

}  // namespace
}  // namespace starttls::token

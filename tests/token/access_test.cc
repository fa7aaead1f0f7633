#include "token/access.h"

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tests/token/support.h"
#include "token/store.h"

namespace starttls::token {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kScanner = "scan@example.com";

/// The requests that were sent, and the answers that are left.
struct Script {
  std::deque<Outcome<Response>> answers;
  std::vector<std::pair<std::string, std::string>> requests;  ///< address and form
};

class ScriptedHttp final : public Http {
 public:
  explicit ScriptedHttp(Script& script) noexcept : script_(script) {}
  Outcome<Response> post(const std::string& url, const Form& form) override {
    script_.requests.emplace_back(url, form.encoded());
    REQUIRE_FALSE(script_.answers.empty());
    auto answer = std::move(script_.answers.front());
    script_.answers.pop_front();
    return answer;
  }

 private:
  Script& script_;
};

struct AccessFixture {
  AccessFixture() {
    with.settings.store = folder.file("tokens");
    with.now = [this] { return now; };
    with.make_http = [this]() -> Outcome<std::unique_ptr<Http>> {
      return std::make_unique<ScriptedHttp>(script);
    };
  }
  /// Stores an account that a person has authorized.
  void authorized(seconds lifetime = minutes{60}) {
    put(make_entry(public_client(),
                   {.access_token = Secret{"at1"},
                    .refresh_token = Secret{"rt1"},
                    .lifetime = lifetime,
                    .scope = ""},
                   kNow));
  }
  void put(const Entry& entry) const {
    const auto store = Store::open(with.settings.store);
    REQUIRE(store);
    const auto lock = store->lock(kScanner, std::chrono::milliseconds{0});
    REQUIRE(lock);
    auto pending = store->prepare(kScanner);
    REQUIRE(pending);
    REQUIRE(pending->commit(entry));
  }
  [[nodiscard]] Entry stored() const {
    const auto entry = Store::open(with.settings.store)->read(kScanner);
    REQUIRE(entry);
    REQUIRE(*entry);
    return **entry;
  }
  void answers(Outcome<Response> answer) { script.answers.push_back(std::move(answer)); }
  [[nodiscard]] Failure failure() const {
    const auto token = renewed_token(with, kScanner);
    REQUIRE_FALSE(token);
    return token.error();
  }
  AccountSettings& configured() {
    auto& account = with.settings.accounts.emplace_back();
    account.name = kScanner;
    return account;
  }

  TemporaryFolder folder;
  Script script;
  UnixTime now = kNow;
  Surroundings with;
};

TEST_CASE_METHOD(AccessFixture, "access: a fresh token is taken from the store") {
  authorized();
  const auto token = renewed_token(with, kScanner);
  REQUIRE(token);
  CHECK(token->reveal() == "at1");
  CHECK(access_token(with, kScanner)->reveal() == "at1");
  CHECK(script.requests.empty());
}

TEST_CASE_METHOD(AccessFixture, "access: an old token is renewed, and the refresh token rotates") {
  authorized();
  now = later(minutes{56});
  answers(json_answer(R"({"access_token":"at2","expires_in":3600,"refresh_token":"rt2"})"));
  CHECK(renewed_token(with, kScanner)->reveal() == "at2");
  REQUIRE(script.requests.size() == 1);
  CHECK(script.requests[0].first == "https://login.example.com/token");
  CHECK(script.requests[0].second ==
        "grant_type=refresh_token&refresh_token=rt1&client_id=the%20client");
  CHECK(stored().refresh_token.reveal() == "rt2");
  CHECK(stored().access_token.reveal() == "at2");
  CHECK(renewed_token(with, kScanner)->reveal() == "at2");
  CHECK(script.requests.size() == 1);
}

TEST_CASE_METHOD(AccessFixture, "access: a token that lives shorter than five minutes is given") {
  authorized(seconds{60});
  answers(json_answer(R"({"access_token":"at2","expires_in":60})"));
  CHECK(renewed_token(with, kScanner)->reveal() == "at2");
  CHECK(stored().refresh_token.reveal() == "rt1");
}

TEST_CASE_METHOD(AccessFixture, "access: after a failure the store is as it was") {
  authorized(seconds{0});
  answers(json_answer(R"({"error":"invalid_grant"})", 400));
  const auto refused = failure();
  CHECK(refused.status == Exit::permission);
  CHECK(refused.reason.ends_with("authorize again: starttls-token authorize scan@example.com"));
  answers(failed(Exit::temporary, "no answer"));
  CHECK(failure().status == Exit::temporary);
  answers(json_answer("{", 200));
  CHECK(failure().status == Exit::protocol);
  CHECK(stored().refresh_token.reveal() == "rt1");
}

TEST_CASE_METHOD(AccessFixture, "access: an unknown account is no input, and nothing is sent") {
  CHECK(failure().status == Exit::no_input);
  auto& account = configured();
  account.provider = "google";
  account.client_id = "x";
  const auto refused = failure();
  CHECK(refused.status == Exit::no_input);
  CHECK(refused.reason.find("is not authorized yet") != std::string::npos);
  CHECK(script.requests.empty());
}

TEST_CASE_METHOD(AccessFixture, "access: a refresh token reaches only its own endpoint",
                 "[security]") {
  authorized(seconds{0});
  auto& account = configured();
  account.token_url = "https://evil.example.com/token";
  CHECK(failure().status == Exit::config);
  account.token_url = "https://login.example.com/token";
  account.client_id = "other";
  CHECK(failure().status == Exit::config);
  CHECK(script.requests.empty());
}

TEST_CASE_METHOD(AccessFixture, "access: the file may add the client's secret") {
  authorized(seconds{0});
  configured().client_secret = Secret{"hush"};
  answers(json_answer(R"({"access_token":"at2","expires_in":3600})"));
  CHECK(renewed_token(with, kScanner)->reveal() == "at2");
  CHECK(script.requests[0].second.ends_with("&client_id=the%20client&client_secret=hush"));
}

TEST_CASE_METHOD(AccessFixture, "access: client credentials need no person, and are kept") {
  auto& account = configured();
  account.provider = "office365";
  account.tenant = "example.com";
  account.grant = "client_credentials";
  account.client_id = "x";
  account.client_secret = Secret{"hush"};
  answers(json_answer(R"({"access_token":"at1","expires_in":3599})"));
  CHECK(renewed_token(with, kScanner)->reveal() == "at1");
  CHECK(script.requests[0].second ==
        "grant_type=client_credentials&scope=https%3A%2F%2Foutlook.office365.com%2F.default&"
        "client_id=x&client_secret=hush");
  CHECK(renewed_token(with, kScanner)->reveal() == "at1");
  CHECK(script.requests.size() == 1);

  account.client_id = "y";  // a cached token of another client is of no use
  answers(json_answer(R"({"access_token":"at2","expires_in":3599})"));
  CHECK(renewed_token(with, kScanner)->reveal() == "at2");
  CHECK(stored().client_id == "y");

  with.settings.accounts.clear();
  CHECK(failure().status == Exit::no_input);
}

TEST_CASE_METHOD(AccessFixture, "access: a process of its own renews, and its result comes back") {
  authorized(seconds{0});
  answers(json_answer(R"({"access_token":"at2","expires_in":3600,"refresh_token":"rt2"})"));
  const auto token = access_token(with, kScanner);
  REQUIRE(token);
  CHECK(token->reveal() == "at2");
  CHECK(stored().refresh_token.reveal() == "rt2");
}

TEST_CASE_METHOD(AccessFixture, "access: the failure of that process comes back too") {
  authorized(seconds{0});
  answers(json_answer(R"({"error":"invalid_client"})", 401));
  const auto token = access_token(with, kScanner);
  REQUIRE_FALSE(token);
  CHECK(token.error().status == Exit::config);
  CHECK(token.error().reason.starts_with("invalid_client: "));
  CHECK(access_token(with, "a\nb").error().status == Exit::usage);
}

TEST_CASE_METHOD(AccessFixture, "access: a crash before the rename loses nothing") {
  authorized(seconds{0});
  auto next = stored();
  renew(next,
        {.access_token = Secret{"at2"},
         .refresh_token = Secret{"rt2"},
         .lifetime = minutes{60},
         .scope = ""},
        kNow);
  folder.write(std::string("tokens/") + kScanner + ".new", to_json(next).reveal());
  CHECK(access_token(with, kScanner)->reveal() == "at2");
  CHECK(script.requests.empty());
}

}  // namespace
}  // namespace starttls::token

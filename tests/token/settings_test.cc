#include "token/settings.h"

#include <string>
#include <string_view>

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "token/providers.h"

namespace starttls::token {
namespace {

constexpr bool kReadableByOthers = true;
constexpr bool kPrivate = false;

Outcome<Settings> parse(std::string_view toml, const std::string& folder = "/nowhere",
                        bool others_can_read = kPrivate) {
  return parse_settings(toml, "tokens.toml", folder, others_can_read);
}

std::string problem(std::string_view toml, bool others_can_read = kPrivate) {
  const auto settings = parse(toml, "/nowhere", others_can_read);
  REQUIRE_FALSE(settings);
  CHECK(settings.error().status == Exit::config);
  return settings.error().reason;
}

TEST_CASE("settings: an empty file has the defaults") {
  const auto settings = parse("");
  REQUIRE(settings);
  CHECK(settings->store == kDefaultStore);
  CHECK(settings->timeout == std::chrono::seconds{30});
  CHECK(settings->accounts.empty());
}

TEST_CASE("settings: accounts, and the files that they name") {
  const TemporaryFolder folder;
  folder.write("secret", "hush\n");
  folder.write("client.pem", "the certificate");
  folder.write("client.key", "the key");
  const auto settings = parse(R"(
store = "tokens"
ca_file = "ca.pem"
timeout = "5s"
[[account]]
name = "a@example.com"
provider = "google"
client_id = "id"
client_secret = "${file:secret}"
[[account]]
name = "*"
provider = "office365"
client_id = "id2"
grant = "client_credentials"
certificate = "client.pem"
key = "client.key"
)",
                              folder.path, kReadableByOthers);
  REQUIRE(settings);
  CHECK(settings->store == folder.file("tokens"));
  CHECK(settings->ca_file == folder.file("ca.pem"));
  CHECK(settings->timeout == std::chrono::seconds{5});
  REQUIRE(settings->accounts.size() == 2);
  CHECK(settings->accounts[0].client_secret.reveal() == "hush");
  CHECK(settings->accounts[1].key.reveal() == "the key");
  CHECK(settings->accounts[1].certificate == "the certificate");
  CHECK(find_account(*settings, "a@example.com") == &settings->accounts[0]);
  CHECK(find_account(*settings, "b@example.com") == &settings->accounts[1]);
}

TEST_CASE("settings: mistakes are named with their place") {
  CHECK(problem("[[account]]\nname = 'a'\nclientid = 'x'") ==
        "tokens.toml:1: unknown key 'clientid'");
  CHECK(problem("[[account]]\nname = 5") == "tokens.toml:1: name must be a text in \"quotes\"");
  CHECK(problem("[[account]]\nclient_id = 'x'") == "tokens.toml:1: name is missing");
  CHECK(problem("[[account]]\nname='a'\n[[account]]\nname='a'") ==
        "tokens.toml:3: a second account has this name");
  CHECK(problem("[[service]]\nname='a'") == "tokens.toml:1: unknown table 'service'");
  CHECK(problem("timeout = '0s'").ends_with("timeout must be from \"1s\" to \"120s\""));
  CHECK(problem("timeout = '5'").ends_with("timeout must be from \"1s\" to \"120s\""));
  CHECK(problem("x = '").starts_with("tokens.toml:1: Error while parsing"));
  CHECK(problem("[[account]]\nname='a'\nclient_secret='${NOT_SET_ANYWHERE}'")
            .ends_with("the environment has no variable 'NOT_SET_ANYWHERE'"));
}

TEST_CASE("settings: no secret is in a file that every user can read", "[security]") {
  constexpr std::string_view kText = "[[account]]\nname = 'a'\nclient_secret = 'hush'";
  CHECK(parse(kText));
  const auto reason = problem(kText, kReadableByOthers);
  CHECK(reason.find("every user can read the client_secret") != std::string::npos);
  CHECK(reason.find("hush") == std::string::npos);

  const TemporaryFolder folder;
  folder.write("c.pem", "x");
  folder.write("c.key", "x", 0644);
  const auto settings =
      parse("[[account]]\nname = 'a'\ncertificate = 'c.pem'\nkey = 'c.key'", folder.path);
  REQUIRE_FALSE(settings);
  CHECK(settings.error().reason.find("every user can read the key") != std::string::npos);
}

TEST_CASE("settings: a client has a secret, or certificate and key") {
  const TemporaryFolder folder;
  folder.write("c.pem", "x");
  folder.write("c.key", "x");
  for (const char* text : {"certificate = 'c.pem'", "key = 'c.key'",
                           "certificate = 'c.pem'\nkey = 'c.key'\nclient_secret = 's'"}) {
    CHECK_FALSE(parse("[[account]]\nname = 'a'\n" + std::string(text), folder.path));
  }
}

TEST_CASE("providers: each has endpoints and scopes, and no client") {
  REQUIRE(providers().size() == 4);
  for (const auto& provider : providers()) {
    INFO(provider.name);
    CHECK(check_endpoint("token_url", provider.token_url));
    CHECK_FALSE(provider.scope.empty());
    const auto client = make_client(
        nullptr, {.provider = provider.name, .tenant = "", .client_id = "x", .scope = ""},
        "a@example.com");
    REQUIRE(client);
    CHECK(check_authorization(*client));
    CHECK(check_renewal(*client));
    CHECK(client->token_url.find('{') == std::string::npos);
    CHECK((client->flow == Flow::device_code) == (provider.name == "office365"));
  }
}

TEST_CASE("client: the tenant is a part of Microsoft's addresses") {
  const Choice choice{
      .provider = "office365", .tenant = "example.com", .client_id = "x", .scope = ""};
  const auto client = make_client(nullptr, choice, "a");
  REQUIRE(client);
  CHECK(client->token_url == "https://login.microsoftonline.com/example.com/oauth2/v2.0/token");
  auto evil = choice;
  evil.tenant = "a/../b?";
  CHECK_FALSE(make_client(nullptr, evil, "a"));
}

TEST_CASE("client: the file wins over the provider, and the command line must agree") {
  AccountSettings file;
  file.name = "a";
  file.provider = "google";
  file.client_id = "x";
  file.token_url = "https://token.example.com/";
  file.scope = "own";
  const auto client = make_client(&file, {}, "a");
  REQUIRE(client);
  CHECK(client->token_url == "https://token.example.com/");
  CHECK(client->scope == "own");
  CHECK(client->flow == Flow::authorization_code);
  CHECK(client->authorize_extra == "access_type=offline&prompt=consent");

  const Choice others[] = {{.provider = "yahoo", .tenant = "", .client_id = "", .scope = ""},
                           {.provider = "", .tenant = "t", .client_id = "", .scope = ""},
                           {.provider = "", .tenant = "", .client_id = "y", .scope = ""},
                           {.provider = "", .tenant = "", .client_id = "", .scope = "s"}};
  for (const auto& choice : others) {
    const auto refused = make_client(&file, choice, "a");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().status == Exit::usage);
  }
  CHECK(make_client(&file, {.provider = "google", .tenant = "", .client_id = "x", .scope = "own"},
                    "a"));
}

TEST_CASE("client: what is missing is named") {
  const auto authorization = [](const AccountSettings& file) {
    const auto client = make_client(&file, {}, "a");
    REQUIRE(client);
    const auto checked = check_authorization(*client);
    REQUIRE_FALSE(checked);
    return checked.error().reason;
  };
  AccountSettings file;
  file.client_id = "x";
  CHECK(authorization(file).find("authorize_url is missing") != std::string::npos);
  file.authorize_url = "https://a.example.com/";
  CHECK(authorization(file).find("token_url is missing") != std::string::npos);
  file.token_url = "http://a.example.com/";
  CHECK(authorization(file).find("must begin with https://") != std::string::npos);
  file.token_url = "https://a.example.com/";
  file.client_id = "";
  CHECK(authorization(file).find("client_id is missing") != std::string::npos);
  file.client_id = "x";
  file.grant = "device_code";
  CHECK(authorization(file).find("device_url is missing") != std::string::npos);
  file.grant = "client_credentials";
  CHECK(authorization(file).find("needs no authorize") != std::string::npos);

  file.grant = "password";
  const auto unknown = make_client(&file, {}, "a");
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().status == Exit::config);
}

TEST_CASE("client: client credentials have their own scope, and a secret or a key") {
  AccountSettings file;
  file.provider = "office365";
  file.client_id = "x";
  file.grant = "client_credentials";
  const auto client = make_client(&file, {}, "a");
  REQUIRE(client);
  CHECK(client->scope == "https://outlook.office365.com/.default");
  CHECK_FALSE(check_renewal(*client));
  file.client_secret = Secret{"hush"};
  CHECK(check_renewal(*make_client(&file, {}, "a")));
}

TEST_CASE("account: names that could break a line are refused", "[security]") {
  for (const auto& bad : {std::string(), std::string(256, 'a'), std::string("a\nb"),
                          std::string("a\rb"), std::string("a\0b", 3), std::string("\x7f")}) {
    CHECK_FALSE(check_account(bad));
  }
  CHECK(check_account(std::string(255, 'a')));
}

}  // namespace
}  // namespace starttls::token

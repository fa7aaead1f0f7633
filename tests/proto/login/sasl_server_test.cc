#include "lib/proto/login/sasl_server.h"

#include <span>
#include <string>
#include <string_view>

#include "lib/base/base64.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;
using namespace std::string_view_literals;
using Status = SaslServer::Status;

namespace {

std::string in_base64(std::string_view text) {
  return base64::encode(std::span{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

/// Returns the status of a PLAIN message that comes with the command.
Status status_of_plain(std::string_view message) {
  SaslServer sasl{Mechanism::plain};
  return sasl.begin(in_base64(message));
}

}  // namespace

TEST_CASE("LP11 sasl server: PLAIN comes with the command or after an empty challenge",
          "[proto][login]") {
  for (const bool inline_response : {true, false}) {
    SaslServer sasl{Mechanism::plain};
    const auto message = in_base64("\0scanner\0secret"sv);
    if (inline_response) {
      CHECK(sasl.begin(message) == Status::complete);
    } else {
      CHECK(sasl.begin(std::nullopt) == Status::going_on);
      CHECK(sasl.challenge().empty());
      CHECK(sasl.on_response(message) == Status::complete);
    }
    const auto login = sasl.take();
    CHECK(login.name == "scanner");
    CHECK(login.password.reveal() == "secret");
    CHECK(login.mechanism == Mechanism::plain);
    CHECK_FALSE(login.wants_other_identity);
  }
}

TEST_CASE("LP10 sasl server: LOGIN prompts with exactly the two prompts that devices know",
          "[proto][login]") {
  SaslServer sasl{Mechanism::login};
  CHECK(sasl.begin(std::nullopt) == Status::going_on);
  CHECK(sasl.challenge() == "VXNlcm5hbWU6");
  CHECK(sasl.on_response(in_base64("scanner")) == Status::going_on);
  CHECK(sasl.challenge() == "UGFzc3dvcmQ6");
  CHECK(sasl.on_response(in_base64("secret")) == Status::complete);
  const auto login = sasl.take();
  CHECK(login.name == "scanner");
  CHECK(login.password.reveal() == "secret");
  CHECK(login.mechanism == Mechanism::login);
}

TEST_CASE("LP11 sasl server: LOGIN takes the name with the command", "[proto][login]") {
  SaslServer sasl{Mechanism::login};
  CHECK(sasl.begin(in_base64("scanner")) == Status::going_on);
  CHECK(sasl.challenge() == "UGFzc3dvcmQ6");
  CHECK(sasl.on_response(in_base64("p")) == Status::complete);
  CHECK(sasl.take().name == "scanner");
}

TEST_CASE("LP11 sasl server: an equals sign is an empty response", "[proto][login]") {
  SaslServer plain_server{Mechanism::plain};
  CHECK(plain_server.begin("=") == Status::malformed);  // PLAIN has no empty message
  SaslServer login_server{Mechanism::login};
  CHECK(login_server.begin("=") == Status::going_on);
  CHECK(login_server.on_response("") == Status::complete);
  const auto login = login_server.take();
  CHECK(login.name.empty());
  CHECK(login.password.empty());
}

TEST_CASE("LP11 sasl server: an asterisk cancels, but not as an initial response",
          "[proto][login]") {
  for (const auto mechanism : {Mechanism::plain, Mechanism::login}) {
    SaslServer sasl{mechanism};
    CHECK(sasl.begin(std::nullopt) == Status::going_on);
    CHECK(sasl.on_response("*") == Status::cancelled);
    SaslServer at_once{mechanism};
    CHECK(at_once.begin("*") == Status::malformed);
  }
  SaslServer late{Mechanism::login};
  CHECK(late.begin(in_base64("scanner")) == Status::going_on);
  CHECK(late.on_response("*") == Status::cancelled);
}

TEST_CASE("sasl server: base64 with white space, without padding or with other bytes is malformed",
          "[proto][login]") {
  for (const std::string_view response :
       {"AHNjYW5uZXIAcw", "AHNjYW5uZXIAcw=", "AHNj YW5uZXIAcw==", " AHNjYW5uZXIAcw==",
        "AHNjYW5uZXIAcw== ", "AHNjYW5uZXIAcx==", "AHNjYW5uZXIAcw===", "====", "-_-_", "A",
        "\xff"}) {
    CAPTURE(response);
    SaslServer sasl{Mechanism::plain};
    CHECK(sasl.begin(std::nullopt) == Status::going_on);
    CHECK(sasl.on_response(response) == Status::malformed);
  }
}

TEST_CASE("sasl server: a PLAIN message has exactly two NULs", "[proto][login]") {
  CHECK(status_of_plain(""sv) == Status::malformed);
  CHECK(status_of_plain("scanner"sv) == Status::malformed);
  CHECK(status_of_plain("\0scanner"sv) == Status::malformed);
  CHECK(status_of_plain("\0scanner\0se\0cret"sv) == Status::malformed);
  CHECK(status_of_plain("\0\0"sv) == Status::complete);
}

TEST_CASE("sasl server: another identity than the name is noted", "[proto][login]") {
  for (const auto& [message, other] : {std::pair{"scanner\0scanner\0p"sv, false},
                                       {"admin\0scanner\0p"sv, true},
                                       {"Scanner\0scanner\0p"sv, true}}) {
    SaslServer sasl{Mechanism::plain};
    CHECK(sasl.begin(in_base64(message)) == Status::complete);
    CHECK(sasl.take().wants_other_identity == other);
  }
}

TEST_CASE("sasl server: only PLAIN and LOGIN show the password", "[proto][login]") {
  CHECK(SaslServer::find("plain") == Mechanism::plain);
  CHECK(SaslServer::find("LOGIN") == Mechanism::login);
  for (const auto* hidden :
       {"CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "NTLM", "GSSAPI",
        "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "ANONYMOUS", "PLAIN-PLUS", ""}) {
    CHECK(SaslServer::find(hidden) == std::nullopt);
  }
}

TEST_CASE("sasl server: a login has any bytes and any size", "[proto][login]") {
  for (const std::size_t size : {0U, 1U, 255U, 9000U, 9001U}) {
    const std::string password(size, '\xe9');
    SaslServer sasl{Mechanism::plain};
    const auto message = std::string("\0n\0", 3) + password;
    CHECK(sasl.begin(in_base64(message)) == Status::complete);
    CHECK(sasl.take().password.reveal() == password);
  }
}

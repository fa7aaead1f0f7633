#include "lib/proto/login/sasl_server.h"

#include <span>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/base64.h"

namespace starttls::proto {
namespace {

// LOGIN's prompts, "Username:" and "Password:". Some devices accept no others.
constexpr std::string_view kNamePrompt = "VXNlcm5hbWU6";
constexpr std::string_view kPasswordPrompt = "UGFzc3dvcmQ6";

/// Names an empty response (RFC 4954 §4, RFC 4643 §2.4).
constexpr std::string_view kEmpty = "=";

}  // namespace

std::optional<Mechanism> SaslServer::find(std::string_view name) noexcept {
  if (ascii::iequals(name, "PLAIN")) return Mechanism::plain;
  if (ascii::iequals(name, "LOGIN")) return Mechanism::login;
  return std::nullopt;
}

SaslServer::Status SaslServer::begin(std::optional<std::string_view> initial_response) {
  return initial_response ? read(*initial_response) : Status::going_on;
}

SaslServer::Status SaslServer::on_response(std::string_view response) {
  return response == "*" ? Status::cancelled : read(response);
}

std::string_view SaslServer::challenge() const noexcept {
  if (mechanism_ == Mechanism::plain) return {};
  return name_ ? kPasswordPrompt : kNamePrompt;
}

SaslServer::Status SaslServer::read(std::string_view response) {
  if (response == kEmpty) return on_message({});
  auto bytes = base64::decode(response);
  if (!bytes) return Status::malformed;
  auto* text = reinterpret_cast<char*>(bytes->data());
  const auto status = on_message({text, bytes->size()});
  wipe(std::span<char>{text, bytes->size()});
  return status;
}

SaslServer::Status SaslServer::on_message(std::string_view message) {
  if (mechanism_ == Mechanism::plain) return on_plain(message);
  if (!name_) {
    name_ = message;
    return Status::going_on;
  }
  password_ = Secret(message);
  return Status::complete;
}

/// Reads "[authorization identity] NUL name NUL password".
SaslServer::Status SaslServer::on_plain(std::string_view message) {
  constexpr auto kNone = std::string_view::npos;
  const auto identity_end = message.find('\0');
  if (identity_end == kNone) return Status::malformed;
  const auto identity = message.substr(0, identity_end);
  const auto rest = message.substr(identity_end + 1);
  const auto name_end = rest.find('\0');
  if (name_end == kNone || rest.find('\0', name_end + 1) != kNone) return Status::malformed;
  name_ = rest.substr(0, name_end);
  password_ = Secret(rest.substr(name_end + 1));
  wants_other_identity_ = !identity.empty() && identity != *name_;
  return Status::complete;
}

ClientLogin SaslServer::take() {
  return {.name = std::exchange(name_, std::nullopt).value_or(""),
          .password = std::exchange(password_, Secret{}),
          .mechanism = mechanism_,
          .wants_other_identity = std::exchange(wants_other_identity_, false)};
}

}  // namespace starttls::proto

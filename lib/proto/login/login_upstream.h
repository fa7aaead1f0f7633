#pragma once

// The upstream role of a server to which the proxy logs in before the client is greeted (smtp,
// lmtp). It plays the protocol's own role first, up to `greeted`. Then it asks for credentials,
// says hello, and logs in. The client's greeting stays the one of the protocol's role. The server
// hears the client's hello as its second one, which RFC 4954 §4 permits.
//
// A refused secret may be an old one. So the role asks once for another, and tries that on the same
// connection, or on a fresh one if the server leaves. A second refusal is final, and so is the same
// secret again.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/login/server_login.h"
#include "lib/proto/role.h"

namespace starttls::proto {

class LoginUpstream final : public UpstreamRole {
 public:
  /// `dialect` outlives us.
  LoginUpstream(std::unique_ptr<UpstreamRole> role, const RoleSettings& settings,
                const LoginDialect& dialect);

  [[nodiscard]] Result<Verdict> begin(std::string& to_server) override;
  /// Does the same as the protocol's role, and logs in. While credentials are awaited no words of
  /// the server are due. A goodbye may come, and everything else is an error.
  [[nodiscard]] Result<Step> step(std::string_view input, std::string& to_server) override;
  [[nodiscard]] Result<Verdict> secured(std::string& to_server) override;
  [[nodiscard]] Result<Verdict> on_quiet(std::string& to_server) override;
  [[nodiscard]] LoginRequest login_request() const override;
  [[nodiscard]] Result<Verdict> on_credentials(Result<Credentials> credentials,
                                               std::string& to_server) override;
  [[nodiscard]] Result<Verdict> on_server_lost(Error how) override;
  [[nodiscard]] std::optional<RefusedLogin> refused_login() const override;
  void go_on_with(const RefusedLogin& refused) override;
  [[nodiscard]] const LoginReport* login_report() const noexcept override;
  [[nodiscard]] std::string_view state() const noexcept override;

 private:
  enum class State : std::uint8_t { greeting, credentials, login, done };

  [[nodiscard]] Result<Verdict> after_role(Result<Verdict> verdict);
  [[nodiscard]] bool is_secure() const noexcept;
  [[nodiscard]] LineRules rules() const noexcept {
    return line_rules(settings_.upstream, Errc::protocol);
  }
  [[nodiscard]] Result<Step> on_role_input(std::string_view input, std::string& to_server);
  [[nodiscard]] Result<Step> on_early_input(std::string_view input);
  [[nodiscard]] tl::unexpected<Error> unasked(std::string_view words);
  [[nodiscard]] Result<Step> on_login_input(std::string_view input, std::string& to_server);
  [[nodiscard]] Result<Verdict> on_status(ServerLogin::Status status);
  [[nodiscard]] Result<Verdict> lose(Error error);
  [[nodiscard]] bool may_try_again(ServerLogin::Status status) const noexcept;
  [[nodiscard]] tl::unexpected<Error> give_up(Error error);

  std::unique_ptr<UpstreamRole> role_;
  RoleSettings settings_;
  const LoginDialect& dialect_;
  State state_ = State::greeting;
  std::optional<ServerLogin> login_;
  Secret secret_;                        ///< the one in use
  std::optional<RefusedLogin> refused_;  ///< the first login
  bool is_second_connection_ = false;    ///< it was refused on the connection before this one
  LoginReport report_;
  bool reported_ = false;
};

}  // namespace starttls::proto

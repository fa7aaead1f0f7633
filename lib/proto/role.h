#pragma once

// A prelude is the part of a session before the relay: greeting, STARTTLS, capability lists. A
// protocol plays two roles in it. Each role is a machine without I/O, clock or log: bytes in, bytes
// and a verdict out. The session carries out the roles' decisions, and knows no protocol.
//
// The driver of a role keeps the input that the role did not consume, and offers it again together
// with the next bytes. So a role never stores input of its own. The driver sends what a role
// appends to an output, in order, before it acts on the verdict. If a call fails, the driver still
// sends what the role appended for the client, and then the words of failure. It does not send what
// the role appended for the server.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/login_settings.h"
#include "lib/base/secret.h"
#include "lib/base/tls_mode.h"

namespace starttls::proto {

enum class Verdict : std::uint8_t {
  need_more,  ///< wait for bytes
  start_tls,  ///< send the output, then start the TLS handshake. Unconsumed input is an attack,
              ///< which the leg refuses for all protocols and both roles (CVE-2011-0411)
  greeted,  ///< upstream role: the server welcomed us, and the leg is as secure as the policy needs
  relay,    ///< this direction is opaque from here on, unconsumed input included
  finish,  ///< downstream role: the client said goodbye and was answered. Send the output, then end
           ///< the session as a success. Input that is left is dropped
  log_in,  ///< the role needs credentials for the server: see `login_request`. It reads no input
           ///< until it gets them
  pause,   ///< downstream role: a login is refused. Send the output, wait for `kRefusalDelay`, then
           ///< call `after_pause`. The role reads no input until then
  reconnect,  ///< downstream role: the server hung up during the login. Get a fresh connection,
              ///< then call `reconnected`. The role reads no input of the client until then
};

/// A refused login is answered after this time, so that guesses of passwords take long.
inline constexpr std::chrono::milliseconds kRefusalDelay{200};

/// A login that the owner of the accounts decides on.
struct LoginRequest {
  std::string name;  ///< the name that the client logged in with; "" if no client has
  Secret password;   ///< the client's; empty if no client has logged in
  Mechanism mechanism = Mechanism::automatic;  ///< by which the client logged in
  /// The server has refused the credentials that were given last. Get others, from their source.
  bool refused = false;
};

/// The name and the secret by which the proxy logs in to the server.
struct Credentials {
  std::string user;
  Secret secret;
  bool token = false;      ///< the secret is an OAuth access token, not a password
  bool passed_on = false;  ///< it is the client's own password
  Mechanism mechanism = Mechanism::automatic;
  // For OAUTHBEARER (RFC 7628 §3.1): the server's name and port.
  std::string host = {};
  std::uint16_t port = 0;
};

/// The result of the last login, for the log and the metrics.
struct LoginReport {
  std::string name;                         ///< of the client; "" if no client has logged in
  std::string user;                         ///< at the server; "" if no credentials came
  Mechanism client = Mechanism::automatic;  ///< `automatic`: no client has logged in
  Mechanism server = Mechanism::automatic;  ///< `automatic`: the server was not asked
  std::optional<Error> failure = {};        ///< client_login or login; nothing: it was a success
};

/// A login that the server refused before it left.
struct RefusedLogin {
  Error why;
  Secret secret;
};

struct Step {
  std::size_t consumed = 0;
  Verdict verdict = Verdict::need_more;
};

/// Settings for both roles of a session.
struct RoleSettings {
  TlsMode downstream = TlsMode::none;
  /// A downstream role is made after the upstream role is done. It gets the mode that resulted:
  /// `none` if `opportunistic` stayed in the clear.
  TlsMode upstream = TlsMode::starttls;
  /// Upstream role, mode `opportunistic`: the server has refused TLS on an earlier connection. So
  /// STARTTLS is not asked for again. Nothing else about the leg changes.
  bool tls_refused = false;
  std::string hostname;             ///< our name in EHLO and in replies of our own
  bool greeting_text = true;        ///< false: our own words instead of the server's
  bool client_certificate = false;  ///< the upstream leg carries a client certificate of ours
  /// IMAP, upstream role: the tag of our commands. An atom of at least 64 random bits, new for
  /// every connection. An attacker that knows it could answer before we ask (CVE-2026-42246).
  std::string tag = {};
  /// With `client`, only a downstream role logs in; with `connect`, the upstream role.
  LoginWhen login = LoginWhen::never;
};

/// Speaks to the server, from its greeting until the client may be greeted.
class UpstreamRole {
 public:
  UpstreamRole() = default;
  UpstreamRole(const UpstreamRole&) = delete;
  UpstreamRole& operator=(const UpstreamRole&) = delete;
  virtual ~UpstreamRole() = default;

  /// Starts the role. The leg is connected; with implicit TLS its handshake is done.
  [[nodiscard]] virtual Result<Verdict> begin(std::string& to_server) = 0;
  /// Handles bytes that have arrived. Errors: greeting_refused, tls_not_offered, tls_refused,
  /// protocol, attack.
  [[nodiscard]] virtual Result<Step> step(std::string_view input, std::string& to_server) = 0;
  /// Continues after the handshake that `start_tls` asked for. The role forgets all that it heard
  /// in the clear.
  [[nodiscard]] virtual Result<Verdict> secured(std::string& to_server) = 0;
  /// Asks for the words that the server should have sent unasked. Called at most once, if `secured`
  /// returned `need_more` and the server sends nothing for 2 s.
  [[nodiscard]] virtual Result<Verdict> on_quiet(std::string&) { return Verdict::need_more; }
  /// Returns the login that `log_in` is about.
  [[nodiscard]] virtual LoginRequest login_request() const { return {}; }
  /// Continues after `log_in`. The error says why there are no credentials (login).
  [[nodiscard]] virtual Result<Verdict> on_credentials(Result<Credentials> credentials,
                                                       std::string& to_server);
  /// Decides what follows when the server has left. `reconnect`: it gets a fresh connection, and a
  /// new role goes on with `refused_login` there.
  [[nodiscard]] virtual Result<Verdict> on_server_lost(Error how) { return fail(std::move(how)); }
  [[nodiscard]] virtual std::optional<RefusedLogin> refused_login() const { return std::nullopt; }
  /// Takes the login of the connection before this one. Called before `begin`.
  virtual void go_on_with(const RefusedLogin& refused) { static_cast<void>(refused); }
  /// Returns the result of the login; nothing if there was none.
  [[nodiscard]] virtual const LoginReport* login_report() const noexcept { return nullptr; }
  /// Returns the name of the event that the role waits for, for logs and time-outs.
  [[nodiscard]] virtual std::string_view state() const noexcept = 0;

  /// Returns the greeting for the client after `greeted`: whole lines, without the parts that the
  /// client must not see. After the error `greeting_refused` on a leg that is `none` or `implicit`,
  /// it is the refusal as it came. The client gets that instead of our own words. On a leg that
  /// upgrades it is empty.
  [[nodiscard]] const std::string& greeting() const noexcept { return greeting_; }
  /// Returns why the leg stayed in the clear, after `greeted` with upstream mode `opportunistic`.
  /// Otherwise empty.
  [[nodiscard]] const std::string& fallback_reason() const noexcept { return fallback_reason_; }
  /// True if the refusal of TLS said that the server closes the connection (421, BYE). The leg
  /// needs a fresh one.
  [[nodiscard]] bool server_closes() const noexcept { return server_closes_; }

 protected:
  std::string greeting_;
  std::string fallback_reason_;
  bool server_closes_ = false;
};

/// Works between both streams from the client's greeting until the relay starts. It greets the
/// client, conducts STARTTLS with it if the mode says so, edits capability lists, and answers
/// commands that the server must not see. It matches replies to commands by counting (IMAP: by
/// tag), so pipelining needs no special case.
class DownstreamRole {
 public:
  DownstreamRole() = default;
  DownstreamRole(const DownstreamRole&) = delete;
  DownstreamRole& operator=(const DownstreamRole&) = delete;
  virtual ~DownstreamRole() = default;

  /// Greets the client, after the server has welcomed us and is trusted.
  [[nodiscard]] virtual Result<Verdict> begin(std::string_view greeting,
                                              std::string& to_client) = 0;
  /// Handles bytes of the client. `relay`: the client has committed; its bytes from `consumed` on
  /// are opaque, and this is not called again. `start_tls`: the client's STARTTLS line was the last
  /// one consumed, and all earlier replies are in `to_client`; see `go_ahead`. Errors:
  /// client_protocol, too_many_errors, attack.
  [[nodiscard]] virtual Result<Step> from_client(std::string_view input, std::string& to_client,
                                                 std::string& to_server) = 0;
  /// Handles bytes of the server. `relay` (only after the client has committed): the replies to all
  /// earlier commands have passed. `start_tls`: the same as above, if the STARTTLS line had to wait
  /// for the server's replies to earlier commands. Called with empty input when the client commits.
  /// During a login of ours, what the server must hear next is appended to `to_server`; `relay`
  /// then means that the login is done, and both directions are opaque. Errors: protocol,
  /// too_many_errors.
  [[nodiscard]] virtual Result<Step> from_server(std::string_view input, std::string& to_client,
                                                 std::string& to_server) = 0;
  /// True if the client waits for the server: for a reply, or for the server's words after its TLS.
  /// If the server leaves now, the client must hear why.
  [[nodiscard]] virtual bool awaits_server() const noexcept = 0;
  /// Appends what is held back of a reply, unchanged: the client has committed, and the server has
  /// ended inside the reply.
  virtual void give_up_server(std::string&) {}
  /// True inside bytes of the client that belong to a command which has been refused.
  [[nodiscard]] virtual bool is_skipping() const noexcept { return false; }
  /// Continues after the client's handshake. The role forgets what the client said in the clear.
  /// No bytes of either side have been read since `start_tls`: the server's wait, and are offered
  /// after this.
  [[nodiscard]] virtual Result<Verdict> secured(std::string& to_client) = 0;

  /// Returns the line after `start_tls` that lets the client begin its handshake. The leg writes it
  /// only if no bytes of the client wait after its STARTTLS.
  [[nodiscard]] virtual std::string go_ahead() const { return {}; }
  /// Returns the refusal instead of `go_ahead`, if such bytes wait. Then the leg is closed.
  [[nodiscard]] virtual std::string injection_reply() const { return {}; }

  // The login, if the settings say `LoginWhen::client`.

  /// Returns the login that `log_in` is about. Both `from_client` and `from_server` may ask for it.
  [[nodiscard]] virtual LoginRequest login_request() const { return {}; }
  /// Continues after `log_in`. The error says why there are no credentials: client_login (the
  /// client's name or password is wrong) or login.
  [[nodiscard]] virtual Result<Verdict> on_credentials(Result<Credentials> credentials,
                                                       std::string& to_client,
                                                       std::string& to_server);
  /// Continues after `pause`: answers the client. Errors: client_login, with the third refusal; the
  /// answer is in `to_client` then.
  [[nodiscard]] virtual Result<Verdict> after_pause(std::string& to_client);
  /// Decides what follows when the server hangs up, or is silent for too long, during our login.
  /// `need_more`: there is no login under way, and the end is the session's.
  [[nodiscard]] virtual Result<Verdict> on_server_lost(std::string_view how,
                                                       std::string& to_client);
  /// Continues after `reconnect`, on a connection that has heard nothing of this client.
  [[nodiscard]] virtual Result<Verdict> reconnected(std::string& to_server);
  /// Returns the result of the last login; nothing if there was none.
  [[nodiscard]] virtual const LoginReport* login_report() const noexcept { return nullptr; }
  [[nodiscard]] virtual std::string_view state() const noexcept = 0;
};

}  // namespace starttls::proto

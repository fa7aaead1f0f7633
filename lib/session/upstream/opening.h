#pragma once

// Decides how an upstream leg is opened, without a socket or a clock. UpstreamOpener performs the
// decisions.
//
// Addresses are tried in order, each under the same policy. An opportunistic leg may stay in the
// clear, if the server offers no STARTTLS or refuses it. Then our own EHLO has used up the only one
// that some servers accept, and others hang up after a refusal. Such a server gets a fresh
// connection, on which STARTTLS is not asked for again.
//
// A server that does not answer a ClientHello with a post-quantum key share also gets a fresh
// connection, once, with a smaller ClientHello.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/tls_mode.h"
#include "lib/proto/role.h"

namespace starttls::session {

enum class OpeningStage : std::uint8_t { connecting, handshake, prelude };

class Opening {
 public:
  struct Policy {
    TlsMode downstream = TlsMode::none;
    TlsMode upstream = TlsMode::none;
    std::size_t addresses = 1;
    /// True if the protocol has a hello, and servers that accept only one.
    bool has_hello = false;
    std::string_view goodbye;  ///< of the protocol, without CRLF
    /// True if a role is conducted even when the leg could be relayed from its first byte.
    bool always_conducts = false;
    /// Makes the protocol's role. `tls_refused`: see proto::RoleSettings.
    std::function<std::unique_ptr<proto::UpstreamRole>(bool tls_refused)> make_role;
    /// Returns false once the time for all addresses together is over.
    std::function<bool()> has_time;
    /// True if the server has ended its direction, and nothing of it is left to read.
    std::function<bool()> has_hung_up;
    /// Returns how the port of the address contradicts the mode, or "": see config::port_mistake.
    std::function<std::string()> port_mistake;
    /// Remembers a server that has not answered a large ClientHello. Returns true if it is one, so
    /// that the next ClientHello to it will be smaller. Called after a handshake that has failed.
    std::function<bool()> note_unanswered_hello;
  };

  /// The next step. First `consumed` bytes of the input are dropped and `to_server` is written.
  struct Step {
    enum class Do : std::uint8_t {
      wait,       ///< for the server, or for the end of the stage's time
      start_tls,  ///< begin the handshake
      log_in,     ///< get credentials for `login_request`, then call `on_credentials`
      connect,    ///< drop the connection, if there is one, and connect to `address_index()`
      opened,     ///< the leg is ready
      give_up,    ///< no address is left, or no time; see `error`
    };
    Do what = Do::wait;
    std::size_t consumed = 0;
    std::string to_server = {};
    /// The reason for `give_up`. For `connect`, the reason why the last attempt failed. Nothing: it
    /// did not fail, and the same server gets a fresh connection.
    std::optional<Error> error = {};
    /// For `connect` with an `error`: the same server is tried again, with a smaller ClientHello.
    bool with_smaller_hello = false;
  };

  explicit Opening(Policy policy) : policy_(std::move(policy)) {}

  /// Keeps the leg in the clear, even if the policy allows TLS: an opportunistic server has refused
  /// TLS before. Called before the first connection.
  void stay_in_the_clear() noexcept { in_the_clear_ = true; }

  // Events. None follows one that led to `opened` or `give_up`.
  [[nodiscard]] Step on_connected();
  /// Goes on after the handshake.
  [[nodiscard]] Step on_secured();
  /// Takes input of the server. `input` is all that was not consumed yet.
  [[nodiscard]] Step on_input(std::string_view input);
  /// Goes on after `log_in`. Until then no input is offered. `waiting` is the input that has come
  /// meanwhile. It is no answer to the command that would be sent now, so the role judges it first.
  [[nodiscard]] Step on_credentials(Result<proto::Credentials> credentials,
                                    std::string_view waiting = {});
  /// Decides what follows when the stage's time is over.
  [[nodiscard]] Step on_expired();
  /// Decides what follows when the connection or its TLS has failed.
  [[nodiscard]] Step on_failed(const Error& error);
  /// Decides what follows when the server has left.
  [[nodiscard]] Step on_server_lost(const Error& how);

  [[nodiscard]] OpeningStage stage() const noexcept { return stage_; }
  [[nodiscard]] std::size_t address_index() const noexcept { return address_index_; }
  /// True if the server has only `UpstreamOpener::kPushWait`, because it may send something
  /// unasked.
  [[nodiscard]] bool awaits_push() const noexcept { return awaits_push_; }
  /// True if the server has only `UpstreamOpener::kFirstByteWait`. It has sent nothing yet, and its
  /// port says that it waits for our TLS.
  [[nodiscard]] bool expects_silence() const {
    return awaits_first_byte_ && !policy_.port_mistake().empty();
  }
  [[nodiscard]] bool awaits_credentials() const noexcept { return awaits_credentials_; }
  /// Returns the login that `log_in` is about.
  [[nodiscard]] proto::LoginRequest login_request() const { return role_->login_request(); }
  /// Returns the result of the role's login; nothing if there was none.
  [[nodiscard]] const proto::LoginReport* login_report() const noexcept {
    return role_ == nullptr ? nullptr : role_->login_report();
  }
  /// Returns the event that the role waits for, for logs; "" if there is no role.
  [[nodiscard]] std::string_view state() const noexcept {
    return role_ == nullptr ? std::string_view{} : role_->state();
  }
  /// Returns the role's greeting: see UpstreamRole. "" if there is no role.
  [[nodiscard]] std::string greeting() const {
    return role_ == nullptr ? std::string{} : role_->greeting();
  }
  /// Returns the reason why the leg stayed in the clear; "" if it did not, or if it had to.
  [[nodiscard]] std::string fallback_reason() const;
  /// True if the server has refused TLS on this very connection, or has not offered it.
  [[nodiscard]] bool has_refused_tls() const {
    return role_ != nullptr && !in_the_clear_ && !role_->fallback_reason().empty();
  }

 private:
  using Do = Step::Do;

  [[nodiscard]] Step start_role();
  [[nodiscard]] Step on_verdict(const Result<proto::Verdict>& verdict, Step step);
  [[nodiscard]] std::string goodbye() const;
  [[nodiscard]] bool needs_fresh_connection() const;
  [[nodiscard]] Step log_in_elsewhere();
  [[nodiscard]] Step connect_again(std::optional<Error> error);

  Policy policy_;
  std::unique_ptr<proto::UpstreamRole> role_;
  std::string fallback_reason_;                       // of an earlier connection to this address
  std::optional<proto::RefusedLogin> refused_login_;  // on an earlier connection to this address
  std::size_t address_index_ = 0;
  OpeningStage stage_ = OpeningStage::connecting;
  bool awaits_first_byte_ = false;  // on a connection in the clear
  bool awaits_push_ = false;        // after TLS the server has not sent a byte yet
  bool awaits_credentials_ = false;
  bool in_the_clear_ = false;
};

}  // namespace starttls::session

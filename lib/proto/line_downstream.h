#pragma once

// The base of downstream roles that read line by line, and receive replies in the order of the
// commands. That is every protocol except IMAP, which has tags.
//
// Each command leaves an entry in one queue. The entry of a command that goes to the server gives
// the kind of its reply. The entry of a command that the proxy answers is the answer. So replies
// keep the order of the commands, pipelined or not (RFC 2920 §3.1). STARTTLS, a goodbye and a
// commit end the dialogue: no more of the client is read, and their verdict comes when the queue is
// empty.
//
// In mode `starttls` the proxy answers everything until the client's TLS is up. The server gets
// nothing from the client, and its own words wait for the client's TLS.
//
// If the client logs in to the proxy, nothing commits: the login's success starts the relay. Until
// then the server sees only commands that need no login. A login waits for the replies to all
// earlier commands, and the server's words are for the login until it has ended (login_gate.h).
//
// After the commit no rule of the prelude ends the session (D4). If the server breaks one in its
// reply to an earlier command, its direction becomes opaque there, and passes unchanged.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/action.h"
#include "lib/proto/edits.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/line_login.h"
#include "lib/proto/role.h"
#include "lib/proto/words.h"

namespace starttls::proto {

/// A protocol's command for TLS, and the proxy's replies to it, CRLF included.
struct StarttlsWords {
  std::string_view command;
  std::string_view go_ahead;
  std::string_view injected;        ///< client bytes wait after it
  std::string_view unavailable;     ///< this leg has no TLS
  std::string_view already_active;  ///< this leg has it
  std::string_view has_argument;
};

class LineDownstream : public DownstreamRole {
 public:
  [[nodiscard]] Result<Verdict> begin(std::string_view greeting, std::string& to_client) final;
  [[nodiscard]] Result<Step> from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) final;
  [[nodiscard]] Result<Step> from_server(std::string_view input, std::string& to_client,
                                         std::string& to_server) final;
  [[nodiscard]] bool awaits_server() const noexcept final { return is_locked() || !is_settled(); }
  void give_up_server(std::string& to_client) final { give_up_reply(to_client); }
  [[nodiscard]] bool is_skipping() const noexcept final { return to_skip_ > 0; }
  [[nodiscard]] Result<Verdict> secured(std::string& to_client) final;
  [[nodiscard]] std::string go_ahead() const final { return std::string(starttls_.go_ahead); }
  [[nodiscard]] std::string injection_reply() const final {
    return std::string(starttls_.injected);
  }
  [[nodiscard]] LoginRequest login_request() const final { return login_->gate().request(); }
  [[nodiscard]] Result<Verdict> on_credentials(Result<Credentials> credentials,
                                               std::string& to_client,
                                               std::string& to_server) final;
  [[nodiscard]] Result<Verdict> after_pause(std::string& to_client) final;
  [[nodiscard]] Result<Verdict> on_server_lost(std::string_view how, std::string& to_client) final;
  [[nodiscard]] Result<Verdict> reconnected(std::string& to_server) final;
  [[nodiscard]] const LoginReport* login_report() const noexcept final {
    return login_ ? login_->gate().report() : nullptr;
  }
  [[nodiscard]] std::string_view state() const noexcept final;

 protected:
  /// The state of a reply after one line of it.
  enum class ReplyPart : std::uint8_t {
    more,     ///< at least one line follows
    last,     ///< it ends here
    refusal,  ///< it ends here, and reports an error of the client
  };

  /// Makes the role; `starttls` and `login` must outlive it.
  LineDownstream(const RoleSettings& settings, const StarttlsWords& starttls,
                 const LoginWords& login);

  /// Decides on a command that the server may see, STARTTLS excepted.
  [[nodiscard]] virtual Action on_command(const Command& command) = 0;
  /// Decides on a command that the server must not see: the mode is `starttls`, and the client's
  /// TLS is not up.
  [[nodiscard]] virtual Action on_command_before_tls(const Command& command) = 0;
  /// Decides on a command of a client that has not logged in to the proxy.
  [[nodiscard]] virtual Action on_command_before_login(const Command& command) = 0;
  /// Reads a line of the server's reply to the command `asked()`, and appends the part that the
  /// client may see. Appends nothing if it fails. Errors: protocol.
  [[nodiscard]] virtual Result<ReplyPart> on_reply_line(const Line& line,
                                                        std::string& to_client) = 0;

  // Hooks that only some protocols need.

  /// Greets the client.
  [[nodiscard]] virtual Result<> greet(std::string_view greeting, std::string& to_client);
  /// Called after the client's handshake. Forgets everything that the client said in the clear.
  [[nodiscard]] virtual Result<> on_secured(std::string&) { return {}; }
  /// Returns why the client may not begin TLS now, CRLF included; empty if it may.
  [[nodiscard]] virtual std::string_view starttls_objection() const noexcept { return {}; }
  /// Cuts the verb off a command line.
  [[nodiscard]] virtual std::string_view take_verb(std::string_view& rest) const noexcept {
    return take_word(rest);
  }
  /// Returns the rules of the command that `input` begins with.
  [[nodiscard]] virtual LineRules rules_for(std::string_view) const noexcept {
    return kClientRules;
  }
  /// True if a line with this verb may hold a whole login, and so be longer than others.
  [[nodiscard]] virtual bool logs_in(std::string_view) const noexcept { return false; }
  /// Returns the first command of the client, or its response. It may have several lines
  /// (literals).
  [[nodiscard]] virtual Result<std::optional<Line>> next_command(std::string_view input) const {
    return next_line(input, rules(input));
  }
  /// Decides on a response of SASL. By default the line is its base64.
  [[nodiscard]] virtual Action on_response(std::string_view text) {
    return login_->on_response(text);
  }
  /// Returns the first line of the server. It may hold raw bytes (literals).
  [[nodiscard]] virtual Result<std::optional<Line>> next_reply_line(std::string_view input,
                                                                    LineRules rules) const {
    return next_line(input, rules);
  }
  /// Appends, unchanged, the part of the current reply that `on_reply_line` has held back.
  virtual void give_up_reply(std::string&) {}
  /// True if the current reply has ended before `line`, without the end that was due.
  [[nodiscard]] virtual bool lacks_end(const Line&) const { return false; }

  /// Passes a whole reply to the client as if the server had just sent it.
  [[nodiscard]] Result<> pass_reply(std::string_view reply, std::string& to_client);

  [[nodiscard]] const RoleSettings& settings() const noexcept { return settings_; }
  /// Returns the client's login; nullptr if its login passes.
  [[nodiscard]] LineLogin* login() noexcept { return login_ ? &*login_ : nullptr; }
  [[nodiscard]] const LineLogin* login() const noexcept { return login_ ? &*login_ : nullptr; }
  /// Returns the rules of the line that `input` begins with.
  [[nodiscard]] LineRules rules(std::string_view input) const noexcept;
  /// True if the client's TLS is up.
  [[nodiscard]] bool is_secure() const noexcept { return secure_; }
  /// True while commands go no further than the proxy, because the client's TLS is not up.
  [[nodiscard]] bool is_locked() const noexcept;
  /// True if the client may say STARTTLS now.
  [[nodiscard]] bool offers_starttls() const noexcept {
    return upgrades(settings_.downstream) && !secure_;
  }
  /// Returns the kind of the command that the server is answering; `pass` if it speaks unasked.
  [[nodiscard]] Action::Kind asked() const noexcept { return asked_; }
  /// True if a line of the current reply has come before.
  [[nodiscard]] bool inside_reply() const noexcept { return inside_reply_; }

 private:
  /// From `starttls` on, no state reads more of the client. `login` is one of the client's, which
  /// is complete; `hello` the first command on a fresh connection to the server.
  enum class State : std::uint8_t {
    greeting,
    commands,
    starttls,
    tls,
    login,
    hello,
    goodbye,
    committed,
    done
  };

  [[nodiscard]] Action action_for(std::string_view text, bool is_whole);
  [[nodiscard]] bool commits_early(std::string_view input);
  [[nodiscard]] Step commit(Step step) noexcept;
  [[nodiscard]] Action on_starttls(std::string_view arguments) const;
  [[nodiscard]] Result<> perform(Action action, std::string_view raw, std::string& to_server);
  [[nodiscard]] Result<std::optional<std::size_t>> take_reply_line(std::string_view input,
                                                                   std::string& to_client);
  void begin_reply();
  void end_reply(std::string& to_client);
  void send_our_replies(std::string& to_client);
  [[nodiscard]] Result<Verdict> after_login_step(Result<Verdict> verdict);
  [[nodiscard]] bool reads_replies() const noexcept;
  [[nodiscard]] Verdict end_of_hello() noexcept;
  [[nodiscard]] Verdict end_of_dialogue();
  [[nodiscard]] bool is_settled() const noexcept;

  RoleSettings settings_;
  const StarttlsWords& starttls_;
  LineRules server_rules_;
  State state_ = State::greeting;
  bool secure_;
  bool heard_client_ = false;    ///< a command has come
  std::uint64_t to_skip_ = 0;    ///< bytes of a refused command that are no lines
  std::deque<Action> expected_;  ///< replies that the client waits for, in their order
  RefusalMeter refusals_;

  std::optional<LineLogin> login_;  ///< the client logs in to the proxy
  std::optional<Action::Kind> hello_;
  std::string hello_line_;  ///< of the client: the last command that a fresh connection must hear

  // The server's current reply.
  Action::Kind asked_ = Action::Kind::pass;
  bool is_unasked_ = false;
  bool inside_reply_ = false;
  ReplyMeter meter_;
};

}  // namespace starttls::proto

#pragma once

// The base of both roles of POP3 and NNTP: every reply begins with one status line, some go on with
// a list that ends in a line of one dot, and STARTTLS is asked for without a look at any list.

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/edits.h"
#include "lib/proto/line_upstream.h"
#include "lib/proto/role.h"
#include "lib/proto/words.h"

namespace starttls::proto {

/// A status line, taken apart.
struct Status {
  std::string_view word;  ///< "+OK", "-ERR", "382"
  std::string_view text;  ///< behind the one space after it
  bool refusal;
};

/// Where one such protocol differs from another.
struct StatusDialect {
  std::string_view service;   ///< what a greeting of our own calls itself
  std::string_view starttls;  ///< command and capability

  /// nothing: `line` is no status line.
  std::optional<Status> (*read_status)(std::string_view line);
  std::span<const std::string_view> welcomes;  ///< the greetings that let us go on
  std::string_view tls_status;                 ///< the only yes to STARTTLS
  std::span<const std::string_view> closing;   ///< after these the server is gone
  std::span<const std::string_view> lists;     ///< a list follows, if the command was for one

  // Replies of our own to the client's STARTTLS, CRLF included.
  std::string_view go_ahead;
  std::string_view injected;        ///< something waited behind it
  std::string_view unavailable;     ///< this leg has no TLS
  std::string_view already_active;  ///< this leg has it
  std::string_view has_argument;
};

/// Client role: greeting, STARTTLS, go-ahead. Where the leg does not upgrade, only the greeting is
/// awaited and handed on as it is.
class StatusUpstream final : public LineUpstream {
 public:
  StatusUpstream(const RoleSettings& settings, const StatusDialect& dialect);

  [[nodiscard]] Result<Verdict> begin(std::string&) override { return Verdict::need_more; }
  [[nodiscard]] Result<Verdict> secured(std::string& to_server) override;
  [[nodiscard]] std::string_view state() const noexcept override;

 private:
  enum class State : std::uint8_t { greeting, starttls, tls, done };

  [[nodiscard]] Result<Verdict> on_line(const Line& line, std::string& to_server) override;
  [[nodiscard]] Result<Verdict> on_greeting(const Line& line, const Status& status,
                                            std::string& to_server);
  [[nodiscard]] bool is_go_ahead(const Status& status) const noexcept;
  [[nodiscard]] Result<Verdict> on_starttls(const Line& line, const Status& status);

  RoleSettings settings_;
  const StatusDialect& dialect_;
  State state_ = State::greeting;
};

/// What becomes of one command of the client.
struct Action {
  enum class Kind : std::uint8_t {
    pass,          ///< the server answers with a status line
    list,          ///< the server may answer with a list, which passes
    capabilities,  ///< the server may answer with a list, which is edited
    mechanisms,    ///< the same with a list of SASL mechanisms, one a line
    answer,        ///< we answer
    refuse,        ///< we answer, and it counts as an error
    start_tls,     ///< the client's handshake is due, behind all earlier replies
    finish,        ///< we answer, and the session ends; only while nothing is unanswered
    commit,        ///< the relay begins
  };
  Kind kind;
  std::string_view words = {};  ///< our answer; a constant
};

/// Between both streams, until a command commits.
///
/// Every command that goes to the server leaves an entry in a queue which says what its reply is; a
/// command that we answer ourselves leaves the answer. So replies keep the order of the commands,
/// pipelined or not.
class StatusDownstream : public DownstreamRole {
 public:
  [[nodiscard]] Result<Verdict> begin(std::string_view greeting, std::string& to_client) override;
  [[nodiscard]] Result<Step> from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) final;
  [[nodiscard]] Result<Step> from_server(std::string_view input, std::string& to_client) final;
  [[nodiscard]] Result<Verdict> secured(std::string& to_client) final;

  [[nodiscard]] std::string go_ahead() const final { return std::string(dialect_.go_ahead); }
  [[nodiscard]] std::string injection_reply() const final { return std::string(dialect_.injected); }
  [[nodiscard]] std::string_view state() const noexcept final;

 protected:
  StatusDownstream(const RoleSettings& settings, const StatusDialect& dialect) noexcept;

  /// A command other than STARTTLS that the server may see.
  [[nodiscard]] virtual Action on_command(std::string_view command) = 0;
  /// One that it must not see: the mode is `starttls`, and the client's TLS is not up.
  [[nodiscard]] virtual Action on_command_before_tls(std::string_view command) const = 0;
  /// Why the client may not begin TLS now, CRLF included; empty where it may.
  [[nodiscard]] virtual std::string_view starttls_objection() const noexcept { return {}; }

  /// EXTERNAL is neither offered nor taken.
  [[nodiscard]] bool bars_external() const noexcept { return external_; }

 private:
  enum class State : std::uint8_t { greeting, commands, starttls, tls, committed, done };

  [[nodiscard]] Action action_for(std::string_view command);
  [[nodiscard]] Action on_starttls(std::string_view arguments) const noexcept;
  [[nodiscard]] Result<> on_server_line(const Line& line, std::string& to_client);
  void on_list_line(const Line& line, std::string& to_client);
  void end_list(std::string& to_client);
  [[nodiscard]] bool edits_list() const noexcept;
  [[nodiscard]] bool lacks_end(const Line& line) const;
  [[nodiscard]] std::optional<std::string> edit_capability(std::string_view text) const;
  void send_our_replies(std::string& to_client);
  [[nodiscard]] bool all_answered() const noexcept {
    return expected_.empty() && list_ == Action::Kind::pass;
  }

  const StatusDialect& dialect_;
  LineRules client_rules_;
  LineRules server_rules_;
  TlsMode downstream_;
  bool external_;
  bool offers_tls_;  ///< the client's leg upgrades, and has not yet
  State state_ = State::greeting;
  std::deque<Action> expected_;
  RefusalMeter refusals_;

  // The server's reply at hand.
  Action::Kind list_ = Action::Kind::pass;  ///< `list` or `capabilities` inside one
  ReplyMeter meter_;
};

}  // namespace starttls::proto

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/proto/edits.h"
#include "lib/proto/imap_responses.h"
#include "lib/proto/imap_syntax.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/imap_client_login.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// IMAP between both streams, until the client commits with LOGIN, AUTHENTICATE, COMPRESS or a
/// literal. In mode `starttls`, before TLS, it answers every command itself.
///
/// Only commands that follow the grammar go to the server, so that it reads the words we have read
/// and answers with the tag we remember. Replies of ours go out at once, but never into the middle
/// of a response: with tags their order is free (RFC 9051 §5.5).
///
/// An ID is read here with its literals, and does not commit. The role asks for the literals
/// itself. Its "+" has no tag, so it waits for the replies to all earlier commands. Then the server
/// gets the ID in one line without literals (imap_id.h). So no "+" of the server is ever about an
/// ID.
///
/// If the client logs in to the proxy, nothing commits: the login's success starts the relay. LOGIN
/// is read with its literals in the same way. A login waits for the replies to all earlier
/// commands, and the server's words are for the login until it has ended (login_gate.h).
class ImapDownstream final : public DownstreamRole {
 public:
  explicit ImapDownstream(const RoleSettings& settings);

  [[nodiscard]] Result<Verdict> begin(std::string_view greeting, std::string& to_client) override;
  [[nodiscard]] Result<Step> from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) override;
  [[nodiscard]] Result<Step> from_server(std::string_view input, std::string& to_client,
                                         std::string& to_server) override;

  [[nodiscard]] Result<Verdict> secured(std::string& to_client) override;

  [[nodiscard]] std::string go_ahead() const override {
    return starttls_tag_ + " OK Begin TLS negotiation now\r\n";
  }
  [[nodiscard]] std::string injection_reply() const override {
    return starttls_tag_ + " BAD STARTTLS must be the last command\r\n* BYE Closing\r\n";
  }

  [[nodiscard]] LoginRequest login_request() const override { return login_->gate().request(); }
  [[nodiscard]] Result<Verdict> on_credentials(Result<Credentials> credentials,
                                               std::string& to_client,
                                               std::string& to_server) override;
  [[nodiscard]] Result<Verdict> after_pause(std::string& to_client) override;
  [[nodiscard]] Result<Verdict> on_server_lost(std::string_view how,
                                               std::string& to_client) override;
  [[nodiscard]] Result<Verdict> reconnected(std::string& to_server) override;
  [[nodiscard]] const LoginReport* login_report() const noexcept override {
    return login_ ? login_->gate().report() : nullptr;
  }
  [[nodiscard]] std::string_view state() const noexcept override;

 private:
  /// `login` is one of the client's, which is complete.
  enum class State : std::uint8_t { greeting, clear, commands, starttls, login, committed, done };
  /// Before TLS in mode `starttls`: only commands that we answer ourselves.
  static constexpr std::string_view kClearCapabilities = "IMAP4rev1 STARTTLS LOGINDISABLED";

  struct Command {
    explicit Command(const Line& line) noexcept
        : arguments(line.text), text(line.text), raw(line.raw) {
      tag = imap::take_field(arguments);
      verb = imap::take_field(arguments);
    }

    std::string_view tag;
    std::string_view verb;
    std::string_view arguments;
    std::string_view text;  ///< all of it
    std::string_view raw;
  };

  [[nodiscard]] Result<Verdict> on_line(const Line& line, std::string& to_client,
                                        std::string& to_server);
  [[nodiscard]] Result<Verdict> on_clear_command(const Command& command, std::string& to_client);
  [[nodiscard]] Result<Verdict> on_command(const Command& command, std::string& to_client,
                                           std::string& to_server);
  [[nodiscard]] Result<Verdict> on_command_before_login(const Command& command,
                                                        std::string& to_client,
                                                        std::string& to_server);
  [[nodiscard]] Result<std::size_t> on_login(std::string_view input, const Command& command,
                                             std::string& to_client);
  [[nodiscard]] Result<Verdict> on_login_step(const imap::ClientLoginCommands::Next& next,
                                              std::string_view text, std::string& to_client);
  [[nodiscard]] Verdict begin_login(std::string& to_client);
  [[nodiscard]] Result<Verdict> after_login_step(Result<Verdict> verdict);
  [[nodiscard]] Result<Step> login_from_server(std::string_view input, std::string& to_client,
                                               std::string& to_server);
  [[nodiscard]] Result<std::size_t> on_id(std::string_view input, const Command& command,
                                          std::string& to_client, std::string& to_server);
  [[nodiscard]] Result<Verdict> pass(std::string_view tag, std::string_view bytes,
                                     std::string& to_server);
  [[nodiscard]] Result<Verdict> on_starttls(const Command& command, std::string& to_client);
  [[nodiscard]] Result<Verdict> refuse(std::string_view text, std::string words,
                                       std::string& to_client);
  [[nodiscard]] Result<> on_piece(const imap::ResponseReader::Piece& piece, std::string& to_client);
  [[nodiscard]] Result<> on_response(const imap::Response& response);
  [[nodiscard]] bool answers_commit(const imap::ResponseReader::Piece& piece) const;
  [[nodiscard]] Result<> count_refusal();
  [[nodiscard]] bool is_unanswered(std::string_view tag) const;
  [[nodiscard]] Verdict commit(std::string_view tag);
  [[nodiscard]] Step relay_server(Step step);

  [[nodiscard]] bool offers_starttls() const noexcept {
    return upgrades(settings_.downstream) && !secured_ && !preauthenticated_;
  }
  [[nodiscard]] bool awaits_response() const noexcept {
    return login_ && login_->awaits_response();
  }
  [[nodiscard]] bool rules_out_login(const imap::Response& greeting) const noexcept;
  [[nodiscard]] LineRules rules(std::string_view input) const noexcept;
  [[nodiscard]] bool is_login(const Command& command) const noexcept;
  [[nodiscard]] bool is_filtered_id(const Command& command) const noexcept;
  [[nodiscard]] bool is_barred(const Command& command) const noexcept;
  [[nodiscard]] bool commits(const Command& command) const noexcept;
  [[nodiscard]] bool commits_by_verb(const Command& command) const noexcept;
  [[nodiscard]] bool is_long_login(std::string_view input) const noexcept;
  [[nodiscard]] bool awaits_server() const noexcept override {
    return state_ == State::clear || !all_answered();
  }
  [[nodiscard]] bool is_skipping() const noexcept override { return refusal_.has_value(); }
  [[nodiscard]] bool all_answered() const noexcept {
    return unanswered_.empty() && !responses_.inside_response();
  }
  [[nodiscard]] std::string edit(std::string_view raw);
  [[nodiscard]] std::string edited(std::string_view greeting);
  void reply(std::string_view words, std::string& to_client) {
    (responses_.inside_response() ? own_replies_ : to_client) += words;
  }
  void count_literals(std::size_t continuations, std::string& to_client);
  void ask_for_literals(std::string& to_client);
  void ask_late(std::string& to_client);

  RoleSettings settings_;
  imap::ResponseReader responses_;
  State state_ = State::greeting;
  bool heard_client_ = false;      ///< a command has come
  bool secured_ = false;           ///< the client's STARTTLS is done
  bool preauthenticated_ = false;  ///< the server greeted with PREAUTH: there is no login to watch
  RefusalMeter refusals_;
  std::vector<std::string> unanswered_;  ///< tags of commands, in their order
  std::string own_replies_;              ///< wait for the end of the server's response
  std::string starttls_tag_;
  std::string commit_tag_;
  std::string notices_;  ///< that the server sent inside its TLS, for after the client's

  std::optional<imap::ClientLoginCommands> login_;  ///< the client logs in to the proxy
  std::string challenges_;                          ///< of SASL, that are not sent yet

  // The state of an ID or a LOGIN with literals that have not all come.
  std::size_t continuations_seen_ = 0;  ///< literals so far that wait for a "+"
  std::size_t continuations_due_ = 0;   ///< of them, those that have got none yet

  // The state of a refused command with literals that come without being asked for.
  std::optional<std::string> refusal_;
  std::size_t swallowed_ = 0;        ///< of literals
  std::size_t swallowed_lines_ = 0;  ///< of the lines between them
  std::size_t literal_left_ = 0;
};

}  // namespace starttls::proto

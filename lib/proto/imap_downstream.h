#pragma once

#include <cassert>
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
#include "lib/proto/role.h"

namespace starttls::proto {

/// IMAP between both streams, until the client commits with LOGIN, AUTHENTICATE, COMPRESS or a
/// literal. In mode `starttls`, before TLS, it answers all that the client says.
///
/// Only commands that follow the grammar go to the server, so that it reads the words we have read
/// and answers with the tag we remember. Replies of ours go out at once, but never into the middle
/// of a response: with tags their order is free (RFC 9051 §5.5).
///
/// An ID is read here with its literals, and does not commit. The role asks for the literals
/// itself. Its "+" has no tag, so it waits for the replies to all earlier commands. Then the server
/// gets the ID in one line without literals (imap_id.h). So no "+" of the server is ever about an
/// ID.
class ImapDownstream final : public DownstreamRole {
 public:
  explicit ImapDownstream(const RoleSettings& settings)
      : settings_(settings), responses_(line_rules(settings.upstream, Errc::protocol), kMaxReply) {}

  [[nodiscard]] Result<Verdict> begin(std::string_view greeting, std::string& to_client) override;
  [[nodiscard]] Result<Step> from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) override;
  [[nodiscard]] Result<Step> from_server(std::string_view input, std::string& to_client,
                                         std::string& to_server) override;

  [[nodiscard]] Result<Verdict> secured(std::string&) override {
    assert(state_ == State::starttls);
    secured_ = true;
    refusals_ = {};
    starttls_tag_.clear();
    state_ = State::commands;
    return Verdict::need_more;
  }

  [[nodiscard]] std::string go_ahead() const override {
    return starttls_tag_ + " OK Begin TLS negotiation now\r\n";
  }
  [[nodiscard]] std::string injection_reply() const override {
    return starttls_tag_ + " BAD STARTTLS must be the last command\r\n* BYE Closing\r\n";
  }
  [[nodiscard]] std::string_view state() const noexcept override {
    return kStateNames[static_cast<std::size_t>(state_)];
  }

 private:
  enum class State : std::uint8_t { greeting, clear, commands, starttls, committed, done };
  static constexpr std::string_view kStateNames[] = {"greeting", "clear",     "commands",
                                                     "starttls", "committed", "done"};
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
  [[nodiscard]] bool is_filtered_id(const Command& command) const noexcept;
  [[nodiscard]] bool is_barred(const Command& command) const noexcept;
  [[nodiscard]] bool commits(const Command& command) const noexcept;
  [[nodiscard]] bool commits_by_verb(const Command& command) const noexcept;
  [[nodiscard]] bool is_long_login(std::string_view input) const noexcept;
  [[nodiscard]] bool all_answered() const noexcept {
    return unanswered_.empty() && !responses_.inside_response();
  }
  [[nodiscard]] std::string edit(std::string_view raw) const;
  void reply(std::string_view words, std::string& to_client) {
    (responses_.inside_response() ? own_replies_ : to_client) += words;
  }
  void ask_for_literals(std::string& to_client);

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

  // The state of an ID with literals that have not all come.
  std::size_t continuations_seen_ = 0;  ///< literals so far that wait for a "+"
  std::size_t continuations_due_ = 0;   ///< of them, those that have got none yet

  // The state of a refused command with literals that come without being asked for.
  std::optional<std::string> refusal_;
  std::size_t swallowed_ = 0;
  std::size_t literal_left_ = 0;
};

}  // namespace starttls::proto

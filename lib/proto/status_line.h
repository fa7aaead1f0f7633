#pragma once

// The bases of both roles of POP3 and NNTP. Every reply begins with one status line. Some continue
// with a list that ends in a line of one dot. The proxy asks for STARTTLS without reading any list.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/line_downstream.h"
#include "lib/proto/line_upstream.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// A status line, split into its parts.
struct Status {
  std::string_view word;  ///< "+OK", "-ERR", "382"
  std::string_view text;  ///< after the one space that follows it
  bool refusal;
  bool refuses_command;  ///< it counts as an error of the client
};

/// The differences between two such protocols.
struct StatusDialect {
  std::string_view service;  ///< names the protocol in a greeting of our own
  StarttlsWords starttls;    ///< its command is the name of the capability as well

  /// Returns nothing if `line` is no status line.
  std::optional<Status> (*read_status)(std::string_view line);
  std::span<const std::string_view> welcomes;  ///< the greetings that let us go on
  std::string_view tls_status;                 ///< the only yes to STARTTLS
  std::span<const std::string_view> closing;   ///< refusals after which the server is gone
  std::span<const std::string_view> lists;     ///< a list follows, if the command was for one

  // The client's login.
  LoginWords login;
  std::string_view login_capability;  ///< of the protocol's own login, besides SASL
  std::string_view login_lines;       ///< what the list says of logins, CRLF included
};

/// The upstream role: greeting, STARTTLS, go-ahead. If the leg does not upgrade, it waits for the
/// greeting and passes it on unchanged.
class StatusUpstream final : public LineUpstream {
 public:
  StatusUpstream(const RoleSettings& settings, const StatusDialect& dialect);

  [[nodiscard]] Result<Verdict> begin(std::string&) override { return Verdict::need_more; }
  [[nodiscard]] Result<Verdict> secured(std::string& to_server) override;
  [[nodiscard]] std::string_view state() const noexcept override;

 private:
  enum class State : std::uint8_t { greeting, starttls, tls, done };

  [[nodiscard]] Result<Verdict> on_line(const Line& line, std::string& to_server) override;
  void on_greeted() override { state_ = State::done; }
  [[nodiscard]] Result<Verdict> on_greeting(const Line& line, const Status& status,
                                            std::string& to_server);
  [[nodiscard]] bool is_go_ahead(const Status& status) const noexcept;
  [[nodiscard]] Result<Verdict> on_starttls(const Line& line, const Status& status);

  RoleSettings settings_;
  const StatusDialect& dialect_;
  State state_ = State::greeting;
};

/// Works between both streams until a command commits.
class StatusDownstream : public LineDownstream {
 protected:
  StatusDownstream(const RoleSettings& settings, const StatusDialect& dialect);

  /// True if EXTERNAL is neither offered nor accepted.
  [[nodiscard]] bool bars_external() const noexcept { return settings().client_certificate; }

 private:
  [[nodiscard]] Result<ReplyPart> on_reply_line(const Line& line, std::string& to_client) final;
  [[nodiscard]] bool lacks_end(const Line& line) const final;

  [[nodiscard]] ReplyPart on_list_line(const Line& line, std::string& to_client);
  [[nodiscard]] bool edits_list() const noexcept;
  [[nodiscard]] std::string own_lines() const;
  [[nodiscard]] std::optional<std::string> edit_capability(std::string_view text) const;

  const StatusDialect& dialect_;
  bool list_has_lines_ = false;  ///< the list that is read, or the last one
};

}  // namespace starttls::proto

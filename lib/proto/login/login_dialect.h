#pragma once

// The differences between protocols in a login of ours: how the server is asked for its list, how a
// login is begun and answered, and how the replies are read.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/server_login.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// The command that a reply answers.
enum class LoginStep : std::uint8_t {
  list,         ///< the question for the list
  sasl,         ///< a mechanism, or a response before the secret
  sasl_secret,  ///< the response with the secret, or a later one
  name,         ///< the protocol's own login: a message with another one to come
  secret,       ///< the message with the secret
};

/// A part of the server's words, at most a line.
struct LoginPiece {
  enum class Kind : std::uint8_t {
    part,       ///< the reply goes on
    challenge,  ///< the server waits for our next message
    success,
    refusal,
    goodbye,  ///< the server hangs up
  };
  Kind kind = Kind::part;
  std::string_view raw;             ///< as it came
  std::string_view list_line = {};  ///< of a part: a line for `read_offer`; "" if it is none
  bool passes = false;              ///< of a part: the client may see it after a success
  /// The base64 of a challenge, or the text of the end of a reply in one line, without code and
  /// tag.
  std::string text = {};
  std::string code = {};  ///< of the end of a reply
};

/// Reads the replies of a server. It gives each line at once, so no reply has to fit into a buffer.
class LoginReplies {
 public:
  explicit LoginReplies(LineRules rules) noexcept : rules_(rules) {}
  LoginReplies(const LoginReplies&) = delete;
  LoginReplies& operator=(const LoginReplies&) = delete;
  virtual ~LoginReplies() = default;

  /// Notes that a command is on its way. `tag` is its tag in IMAP.
  void expect(LoginStep step, std::string_view tag) {
    step_ = step;
    tag_ = tag;
  }
  /// Returns the first piece of `input`, or nothing if it is incomplete. Errors: protocol, attack.
  [[nodiscard]] virtual Result<std::optional<LoginPiece>> next(std::string_view input) = 0;
  /// True if the server may send this before it has seen our last command.
  [[nodiscard]] virtual bool comes_unasked(std::string_view input) const { return input.empty(); }

  /// Returns the error for words that no command has asked for. On a leg that upgrades they are an
  /// attack (CVE-2026-42246). On other legs TLS has protected every byte, so the server is broken.
  [[nodiscard]] tl::unexpected<Error> unasked(std::string_view words) const;

 protected:
  [[nodiscard]] static tl::unexpected<Error> invalid(std::string_view words);

  [[nodiscard]] LineRules rules() const noexcept { return rules_; }
  [[nodiscard]] LoginStep step() const noexcept { return step_; }
  [[nodiscard]] bool is_in_sasl() const noexcept {
    return step_ == LoginStep::sasl || step_ == LoginStep::sasl_secret;
  }
  [[nodiscard]] std::string_view tag() const noexcept { return tag_; }

 private:
  LineRules rules_;
  LoginStep step_ = LoginStep::list;
  std::string tag_;
};

struct LoginDialect {
  // Commands.
  std::string_view list;          ///< asks for the list
  bool introduces_us = false;     ///< our name follows `list` (EHLO)
  std::string_view authenticate;  ///< comes before the name of a mechanism
  bool tagged = false;            ///< every command begins with a tag (IMAP)
  bool strings = false;           ///< mechanisms and responses are strings (RFC 5804 §4)
  std::string_view empty = {};    ///< a response without content

  /// Longest command with an initial response, its end included; 0: none may have one.
  std::size_t max_inline = 0;
  bool inline_if_listed = false;  ///< only if the server lists SASL-IR (RFC 4959)

  // The list.
  /// Adds a line of the list, without its code. IMAP: the words after CAPABILITY.
  void (*read_offer)(std::string_view line, LoginOffer& offer);
  /// The protocol's own login is possible unless the list says otherwise (LOGINDISABLED).
  bool native_unless_denied = false;

  /// Returns message number `index` of the protocol's own login, from 0; nothing if there are no
  /// more. nullptr if the protocol has no such login.
  std::optional<Secret> (*native)(const Credentials& credentials, std::string_view tag,
                                  std::size_t index) = nullptr;

  std::unique_ptr<LoginReplies> (*replies)(LineRules rules);
};

namespace login {

extern const LoginDialect kSmtp;   ///< RFC 4954
extern const LoginDialect kLmtp;   ///< RFC 2033: SMTP with another hello
extern const LoginDialect kImap;   ///< RFC 9051, SASL-IR: RFC 4959
extern const LoginDialect kPop3;   ///< RFC 1939, AUTH: RFC 5034
extern const LoginDialect kSieve;  ///< RFC 5804
extern const LoginDialect kNntp;   ///< RFC 4643

/// Adds each word of `list` to the offer's mechanisms.
void add_mechanisms(std::string_view list, LoginOffer& offer);

/// Reads a whole answer to the question for the list, which had this tag (IMAP). A server without
/// lists knows only its protocol's own login. Errors: protocol, attack, closed.
[[nodiscard]] Result<LoginOffer> offer_in(const LoginDialect& dialect, std::string_view answer,
                                          std::string_view tag, LineRules rules);

/// Returns the question for the list. `name` is ours, or a tag.
[[nodiscard]] std::string list_question(const LoginDialect& dialect, std::string_view name);
/// Returns the command that begins a login by SASL. If the dialect and the server take an initial
/// response and the line has room for it, `initial` is used and emptied.
[[nodiscard]] Secret sasl_command(const LoginDialect& dialect, std::string_view tag,
                                  std::string_view mechanism, std::optional<Secret>& initial,
                                  bool initial_listed);
/// Returns a response, which is base64, in the protocol's form.
[[nodiscard]] Secret sasl_response(const LoginDialect& dialect, const Secret& response);

}  // namespace login
}  // namespace starttls::proto

#pragma once

// A prelude is what the proxy takes part in before it relays: greeting, STARTTLS, capability lists.
// A protocol plays two roles in it, each a machine without I/O, clock or log: bytes in, bytes and a
// verdict out. The session performs what they decide and knows no protocol.
//
// Whoever drives a role keeps what it did not consume and offers it again with the bytes that come
// next; a role therefore never holds input of its own. What a role appends to an output is sent, in
// order, before its verdict is acted on. When a call fails, what it appended for the client is
// still sent, ahead of the words of failure; what it appended for the server is not.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/tls_mode.h"

namespace starttls::proto {

enum class Verdict : std::uint8_t {
  need_more,  ///< wait for bytes
  start_tls,  ///< send what was written, then the TLS handshake. Unconsumed input is an attack; the
              ///< leg refuses it, for every protocol and both roles in one place (CVE-2011-0411)
  greeted,  ///< upstream role: the server welcomed us and the leg is as secure as the policy wants
  relay,    ///< this direction is opaque from here on, unconsumed input included
  finish,   ///< downstream role: the client said goodbye and has been answered; send what was
            ///< written, then end the session as a success. Input left over is dropped
};

struct Step {
  std::size_t consumed = 0;
  Verdict verdict = Verdict::need_more;
};

/// What both roles of a session have to know.
struct RoleSettings {
  TlsMode downstream = TlsMode::none;
  /// For a downstream role, which is made once the upstream role is done: as it came out, so `none`
  /// where `opportunistic` stayed in the clear.
  TlsMode upstream = TlsMode::starttls;
  std::string hostname;             ///< our name in EHLO and in replies of our own
  bool greeting_text = true;        ///< false: our own words instead of the server's
  bool client_certificate = false;  ///< the upstream leg carries a client certificate of ours
  /// IMAP, upstream role: of our commands. An atom of at least 64 random bits, new for every
  /// connection: an attacker who knew it could answer before we ask (CVE-2026-42246).
  std::string tag = {};
};

/// Speaks to the server, from its greeting until the client may be greeted.
class UpstreamRole {
 public:
  UpstreamRole() = default;
  UpstreamRole(const UpstreamRole&) = delete;
  UpstreamRole& operator=(const UpstreamRole&) = delete;
  virtual ~UpstreamRole() = default;

  /// The leg is connected; with implicit TLS its handshake is done.
  [[nodiscard]] virtual Result<Verdict> begin(std::string& to_server) = 0;
  /// Bytes arrived. Errors: greeting_refused, tls_not_offered, tls_refused, protocol, attack.
  [[nodiscard]] virtual Result<Step> step(std::string_view input, std::string& to_server) = 0;
  /// The handshake asked for by `start_tls` is done. All that was heard in the clear is forgotten.
  [[nodiscard]] virtual Result<Verdict> secured(std::string& to_server) = 0;
  /// `secured` returned `need_more`, and the server has said nothing for 2 s: ask for what it
  /// was to say unasked. Called at most once.
  [[nodiscard]] virtual Result<Verdict> on_quiet(std::string&) { return Verdict::need_more; }
  /// For logs and time-outs: what the role waits for.
  [[nodiscard]] virtual std::string_view state() const noexcept = 0;

  /// After `greeted`: the greeting for the client, whole lines, as far as the client may hear it.
  /// After the error `greeting_refused`, where the leg is `none` or `implicit`: the refusal as it
  /// came, told to the client in place of our own words; on a leg that upgrades it is empty.
  [[nodiscard]] const std::string& greeting() const noexcept { return greeting_; }
  /// After `greeted` with upstream mode `opportunistic`: why the leg stayed in the clear, else
  /// empty.
  [[nodiscard]] const std::string& fallback_reason() const noexcept { return fallback_reason_; }

 protected:
  std::string greeting_;
  std::string fallback_reason_;
};

/// Stands between both streams from the client's greeting until the relay starts: greets the
/// client, conducts STARTTLS with it where the mode says so, edits capability lists, answers what
/// the server must not see. Replies and commands are matched by counting (IMAP: by tag), so
/// pipelining needs no special case.
class DownstreamRole {
 public:
  DownstreamRole() = default;
  DownstreamRole(const DownstreamRole&) = delete;
  DownstreamRole& operator=(const DownstreamRole&) = delete;
  virtual ~DownstreamRole() = default;

  /// The server is trusted and has welcomed us: greet the client.
  [[nodiscard]] virtual Result<Verdict> begin(std::string_view greeting,
                                              std::string& to_client) = 0;
  /// Bytes of the client. `relay`: the client has committed; its bytes from `consumed` on are
  /// opaque, and this is not called again. `start_tls`: the client's STARTTLS line was the last one
  /// consumed and all earlier replies are in `to_client`; see `go_ahead`. Errors: client_protocol,
  /// too_many_errors, attack.
  [[nodiscard]] virtual Result<Step> from_client(std::string_view input, std::string& to_client,
                                                 std::string& to_server) = 0;
  /// Bytes of the server. `relay` (only after the client has committed): the replies to all earlier
  /// commands have passed. `start_tls`: as above, where the STARTTLS line had to wait for the
  /// server's replies to what came before it. Called with empty input once the client commits.
  /// Errors: protocol, too_many_errors.
  [[nodiscard]] virtual Result<Step> from_server(std::string_view input,
                                                 std::string& to_client) = 0;
  /// The client's handshake is done; forget what it said in the clear. Since `start_tls` neither
  /// side was heard: the server's bytes wait and are offered after this.
  [[nodiscard]] virtual Result<Verdict> secured(std::string& to_client) = 0;

  /// After `start_tls`: the line that tells the client to begin its handshake. The leg writes it,
  /// and only when nothing of the client waits behind its STARTTLS.
  [[nodiscard]] virtual std::string go_ahead() const { return {}; }
  /// Instead of `go_ahead`, when something does wait: the refusal, after which the leg is closed.
  [[nodiscard]] virtual std::string injection_reply() const { return {}; }
  [[nodiscard]] virtual std::string_view state() const noexcept = 0;
};

}  // namespace starttls::proto

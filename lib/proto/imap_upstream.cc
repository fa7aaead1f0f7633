#include "lib/proto/imap_upstream.h"

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/edits.h"
#include "lib/proto/imap_responses.h"
#include "lib/proto/imap_syntax.h"
#include "lib/proto/lines.h"
#include "lib/proto/words.h"

namespace starttls::proto {
namespace {

using namespace imap;

/// Maximum that the server may send before its answer to our STARTTLS. It is dropped.
constexpr std::size_t kMaxDroppedLines = 16;
constexpr std::size_t kMaxDroppedBytes = 8192;

// How a greeting for the client begins.
constexpr std::string_view kOk = "* OK ";
constexpr std::string_view kPreauth = "* PREAUTH ";

/// IMAP, client role: greeting, STARTTLS, then the capabilities after TLS, which become part of the
/// client's greeting. If the leg does not upgrade, the role only waits for the greeting and passes
/// it unchanged.
class ImapUpstream final : public UpstreamRole {
 public:
  explicit ImapUpstream(const RoleSettings& settings)
      : settings_(settings),
        responses_(rules(), upgrades(settings.upstream) ? kMaxDroppedBytes : kMaxReply) {}

  [[nodiscard]] Result<Verdict> begin(std::string&) override {
    assert(!upgrades(settings_.upstream) || !settings_.tag.empty());
    return Verdict::need_more;
  }

  [[nodiscard]] Result<Step> step(std::string_view input, std::string& to_server) override;

  [[nodiscard]] Result<Verdict> secured(std::string& to_server) override {
    assert(state_ == State::tls);
    responses_ = ResponseReader(rules(), kMaxReply);
    to_server += settings_.tag + " CAPABILITY\r\n";
    state_ = State::capability;
    return Verdict::need_more;
  }

  [[nodiscard]] std::string_view state() const noexcept override {
    return kStateNames[static_cast<std::size_t>(state_)];
  }

 private:
  enum class State : std::uint8_t { greeting, starttls, tls, capability, done };
  static constexpr std::string_view kStateNames[] = {"greeting", "starttls", "tls", "capability",
                                                     "done"};
  using Piece = ResponseReader::Piece;

  [[nodiscard]] LineRules rules() const noexcept {
    return line_rules(settings_.upstream, Errc::protocol);
  }
  [[nodiscard]] Result<Verdict> on_piece(const Piece& piece, std::string& to_server);
  [[nodiscard]] Result<Verdict> on_greeting(const Piece& piece, std::string& to_server);
  [[nodiscard]] static bool rules_out_starttls(const Response& greeting);
  [[nodiscard]] Result<Verdict> on_starttls(const Piece& piece);
  [[nodiscard]] static bool is_go_ahead(const Response& response);
  void drop(const Piece& piece);
  [[nodiscard]] Result<Verdict> on_capability(const Piece& piece);
  [[nodiscard]] bool is_answer(const Response& response) const;
  [[nodiscard]] Result<> check_tag(const Response& response, const Piece& piece) const;
  [[nodiscard]] bool may_stay_in_clear() const noexcept;
  [[nodiscard]] Result<Verdict> stay_in_clear(Error why, std::string_view status,
                                              bool server_closes = false);
  [[nodiscard]] Verdict greet_in_clear(std::string_view status);
  [[nodiscard]] std::string greeting_for_client(std::string_view status,
                                                std::string_view capabilities) const;

  RoleSettings settings_;
  ResponseReader responses_;
  State state_ = State::greeting;
  std::string text_;  ///< of the greeting in the clear, for people
  bool just_asked_ = false;
  bool goes_on_in_clear_ = false;

  // Before TLS.
  std::size_t dropped_lines_ = 0;
  std::size_t dropped_bytes_ = 0;

  // After TLS: the reply to CAPABILITY, limited to kMaxReply.
  std::size_t reply_bytes_ = 0;
  std::string capabilities_;
  std::string notices_;  ///< other untagged lines of the server, for the client to read
};

/// Returns the error for an empty line. Some servers send one after a reply, which is a mistake and
/// no attack (D16).
tl::unexpected<Error> empty_line(std::string_view line) {
  return fail(Errc::protocol, "server sent an empty line", peer_words(line));
}

Result<Step> ImapUpstream::step(std::string_view input, std::string& to_server) {
  Step step;
  just_asked_ = false;
  while (step.verdict == Verdict::need_more) {
    const auto piece = responses_.next(input.substr(step.consumed));
    if (!piece) return fail(piece.error());
    if (!piece->has_value()) break;
    const auto verdict = on_piece(**piece, to_server);
    if (!verdict) return fail(verdict.error());
    step.consumed += (*piece)->raw.size();
    step.verdict = *verdict;
  }
  // If we go on in the clear, no server bytes are due until the client speaks. Bytes that wait here
  // would be read as the answer to a command of the client.
  const auto early = input.substr(step.consumed);
  if (!goes_on_in_clear_ || server_closes() || early.empty()) return step;
  if (early.starts_with('\r') || early.starts_with('\n')) return empty_line(early);
  return fail(Attack::unsolicited, "server sent a reply that no command asked for",
              peer_words(early));
}

Result<Verdict> ImapUpstream::on_piece(const Piece& piece, std::string& to_server) {
  switch (state_) {
    case State::greeting:
      return on_greeting(piece, to_server);
    case State::starttls:
      return on_starttls(piece);
    case State::capability:
      return on_capability(piece);
    case State::tls:
    case State::done:
      break;
  }
  assert(false && "step() after the role has ended");
  return fail(Errc::protocol, "server sent a reply that no command asked for",
              peer_words(piece.text));
}

Result<Verdict> ImapUpstream::on_greeting(const Piece& piece, std::string& to_server) {
  const Response greeting(piece.text);
  const bool bye = greeting.is("BYE");
  if (!greeting.untagged() || (!greeting.is("OK") && !greeting.is("PREAUTH") && !bye)) {
    return fail(Errc::protocol, "server sent an invalid greeting", peer_words(piece.text));
  }
  if (!upgrades(settings_.upstream)) greeting_ = piece.raw;
  if (bye) {
    return fail(Errc::greeting_refused, "server says: " + ascii::printable(piece.text),
                peer_words(piece.text));
  }
  if (!upgrades(settings_.upstream)) {
    state_ = State::done;
    return Verdict::greeted;
  }
  text_ = human_text(greeting.rest);
  if (settings_.tls_refused) {
    return greet_in_clear(rules_out_starttls(greeting) ? kPreauth : kOk);
  }
  if (rules_out_starttls(greeting)) {
    Error error{Errc::attack, "server greeted with PREAUTH, which rules out STARTTLS",
                peer_words(piece.text), Attack::preauth};
    return stay_in_clear(std::move(error), kPreauth);
  }
  // The offer does not matter: an attacker can have written capabilities in the clear.
  to_server += settings_.tag + " STARTTLS\r\n";
  just_asked_ = true;
  state_ = State::starttls;
  return Verdict::need_more;
}

/// True for PREAUTH. No STARTTLS may follow it (RFC 9051 §6.2.1), so an attacker sends it to
/// prevent TLS (CVE-2020-14093, N7).
bool ImapUpstream::rules_out_starttls(const Response& greeting) {
  return greeting.is("PREAUTH");
}

/// True for OK only (N5).
bool ImapUpstream::is_go_ahead(const Response& response) {
  return response.is("OK");
}

/// Counts a piece of untagged data that came in the clear, and drops it: an attacker could have
/// sent it (T1 to T22, B3).
void ImapUpstream::drop(const Piece& piece) {
  // A piece of a literal has no text; its bytes count, its number does not.
  dropped_lines_ += piece.text.empty() ? 0 : 1;
  dropped_bytes_ += piece.raw.size();
}

Result<Verdict> ImapUpstream::on_starttls(const Piece& piece) {
  const Response response(piece.text);
  if (!piece.first || response.untagged()) {
    if (piece.first && response.is("BYE")) {
      return stay_in_clear({Errc::tls_refused, "server refused STARTTLS", peer_words(piece.text)},
                           kOk, true);
    }
    drop(piece);
    if (dropped_lines_ > kMaxDroppedLines || dropped_bytes_ > kMaxDroppedBytes) {
      return fail(Errc::protocol, "server sent too much before its reply to STARTTLS",
                  peer_words(piece.text));
    }
    return Verdict::need_more;
  }
  if (const auto ours = check_tag(response, piece); !ours) return fail(ours.error());
  if (is_go_ahead(response)) {
    state_ = State::tls;
    return Verdict::start_tls;
  }
  if (!is_any_of(response.word, {"NO", "BAD"})) {
    return fail(Errc::protocol, "server sent an invalid reply", peer_words(piece.text));
  }
  return stay_in_clear({Errc::tls_refused, "server refused STARTTLS", peer_words(piece.text)}, kOk);
}

Result<Verdict> ImapUpstream::on_capability(const Piece& piece) {
  reply_bytes_ += piece.raw.size();
  if (reply_bytes_ > kMaxReply) {
    return fail(Errc::protocol, "server sent a reply that is too long", peer_words(piece.text));
  }
  if (!piece.first) return Verdict::need_more;
  const Response response(piece.text);
  if (response.untagged()) {
    if (response.is("BYE")) {
      return fail(Errc::greeting_refused, "server says: " + ascii::printable(piece.text),
                  peer_words(piece.text));
    }
    if (response.is("CAPABILITY")) {
      capabilities_ = response.rest;
    } else if (is_any_of(response.word, {"OK", "NO", "BAD"})) {
      notices_ += piece.raw;
    }
    return Verdict::need_more;
  }
  if (const auto ours = check_tag(response, piece); !ours) return fail(ours.error());
  // A server that refuses CAPABILITY may refuse the client's as well.
  greeting_ = greeting_for_client(kOk, response.is("OK") ? capabilities_ : "") + notices_;
  state_ = State::done;
  return Verdict::greeted;
}

/// True if this tagged line is the answer to our command. The tag is random, so that no attacker
/// can answer before we ask (CVE-2026-42246, B11). Also, the server cannot have seen a command that
/// we are only about to send.
bool ImapUpstream::is_answer(const Response& response) const {
  return response.tag == settings_.tag && !just_asked_;
}

Result<> ImapUpstream::check_tag(const Response& response, const Piece& piece) const {
  if (piece.text.empty()) return empty_line(piece.raw);
  if (response.asks_for_more()) {
    return fail(Errc::protocol, "server asked for more after a whole command",
                peer_words(piece.text));
  }
  if (is_answer(response)) return {};
  return fail(Attack::unsolicited, "server sent a reply that no command asked for",
              peer_words(piece.text));
}

/// True in mode `opportunistic` only (N7).
bool ImapUpstream::may_stay_in_clear() const noexcept {
  return settings_.upstream == TlsMode::opportunistic;
}

/// Continues without TLS, if the mode allows it. `server_closes`: see UpstreamRole.
Result<Verdict> ImapUpstream::stay_in_clear(Error why, std::string_view status,
                                            bool server_closes) {
  if (!may_stay_in_clear()) return fail(std::move(why));
  fallback_reason_ = std::move(why.reason);
  server_closes_ = server_closes;
  return greet_in_clear(status);
}

Verdict ImapUpstream::greet_in_clear(std::string_view status) {
  greeting_ = greeting_for_client(status, {});
  goes_on_in_clear_ = true;
  state_ = State::done;
  return Verdict::greeted;
}

std::string ImapUpstream::greeting_for_client(std::string_view status,
                                              std::string_view capabilities) const {
  auto greeting = reduced_greeting(status, text_, settings_, "IMAP4rev1");
  std::string list;
  for (auto name = take_word(capabilities); !name.empty(); name = take_word(capabilities)) {
    // A word that is no atom would end the code early.
    if (is_atom(name) && name.find(']') == std::string_view::npos) list += ' ' + std::string(name);
  }
  // The client can still ask for a list that is too long for this line.
  if (list.empty() || list.size() > kMaxLine - kMaxOwnLine) return greeting;
  return greeting.insert(status.size(), "[CAPABILITY" + list + "] ");
}

}  // namespace

std::unique_ptr<UpstreamRole> imap_upstream(const RoleSettings& settings) {
  return std::make_unique<ImapUpstream>(settings);
}

}  // namespace starttls::proto

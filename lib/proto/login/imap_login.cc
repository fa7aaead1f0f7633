#include <algorithm>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/proto/imap_responses.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/login/sasl_client.h"
#include "lib/proto/quoted.h"
#include "lib/proto/words.h"

namespace starttls::proto::login {
namespace {

using imap::Response;
using imap::ResponseReader;

/// Longest quoted string that we send. A longer one is a literal, so that the line stays short.
constexpr std::size_t kMaxQuoted = 1024;

/// The responses to CAPABILITY, AUTHENTICATE and LOGIN. Untagged ones may come at any time.
class ImapReplies final : public LoginReplies {
  using Kind = LoginPiece::Kind;

 public:
  explicit ImapReplies(LineRules rules) : LoginReplies(rules), responses_(rules, kMaxReply) {}

  [[nodiscard]] Result<std::optional<LoginPiece>> next(std::string_view input) override {
    const auto piece = responses_.next(input);
    if (!piece) return fail(piece.error());
    if (!piece->has_value()) return std::nullopt;
    if (!(*piece)->first) {
      return LoginPiece{.raw = (*piece)->raw, .passes = passes_};
    }
    const Response response((*piece)->text);
    if (response.untagged()) return on_untagged(response, (*piece)->raw);
    if (response.asks_for_more()) return on_continuation(**piece);
    return on_tagged(response, **piece);
  }

  /// Untagged responses need no command. The others do, a continuation too.
  [[nodiscard]] bool comes_unasked(std::string_view input) const override {
    return input.empty() || responses_.inside_response() || input.starts_with('*');
  }

 private:
  Result<std::optional<LoginPiece>> on_untagged(const Response& response, std::string_view raw) {
    if (response.is("BYE")) {
      return LoginPiece{Kind::goodbye, raw, {}, false, std::string(response.rest), "BYE"};
    }
    const bool answers = step() == LoginStep::list && response.is("CAPABILITY");
    passes_ = !answers;
    return LoginPiece{Kind::part, raw, answers ? response.rest : std::string_view{}, passes_};
  }

  Result<std::optional<LoginPiece>> on_continuation(const ResponseReader::Piece& piece) const {
    if (step() == LoginStep::list) {
      return fail(Errc::protocol, "server asked for more after a whole command",
                  peer_words(piece.text));
    }
    // Some servers leave out the space.
    return LoginPiece{.kind = Kind::challenge,
                      .raw = piece.raw,
                      .text = std::string(ascii::trim(piece.text.substr(1)))};
  }

  Result<std::optional<LoginPiece>> on_tagged(const Response& response,
                                              const ResponseReader::Piece& piece) const {
    if (response.tag != tag()) return unasked(piece.raw);
    const bool ok = response.is("OK");
    if (!ok && !is_any_of(response.word, {"NO", "BAD"})) return invalid(piece.text);
    return LoginPiece{.kind = ok ? Kind::success : Kind::refusal,
                      .raw = piece.raw,
                      .text = std::string(response.rest),
                      .code = std::string(response.word)};
  }

  ResponseReader responses_;
  bool passes_ = false;  ///< the current untagged response does
};

void read_imap_offer(std::string_view line, LoginOffer& offer) {
  constexpr std::string_view kAuth = "AUTH=";
  for (auto name = take_word(line); !name.empty(); name = take_word(line)) {
    if (ascii::istarts_with(name, kAuth)) {
      offer.mechanisms.emplace_back(name.substr(kAuth.size()));
    } else if (ascii::iequals(name, "SASL-IR")) {
      offer.initial_response = true;
    } else if (ascii::iequals(name, "LOGINDISABLED")) {
      offer.native = false;
    }
  }
}

/// True if `text` can be a quoted string in every version of IMAP. 8-bit text cannot.
bool is_quotable(std::string_view text) noexcept {
  return text.size() <= kMaxQuoted && std::all_of(text.begin(), text.end(), ascii::is_printable);
}

/// Returns a printable text as a quoted string.
Secret quoted(std::string_view text) {
  std::string out;
  out.reserve(2 * text.size() + 2);  // so that no part of it is copied
  append_quoted(out, text);
  Secret secret(out);
  wipe(out);
  return secret;
}

/// Returns message number `index` of LOGIN (RFC 9051 §6.2.3). A literal begins a new one. It waits
/// for the server's "+", which every server knows.
std::optional<Secret> imap_login(const Credentials& credentials, std::string_view tag,
                                 std::size_t index) {
  std::vector<Secret> messages;
  Secret message = join({tag, " LOGIN"});
  for (const auto text : {std::string_view(credentials.user), credentials.secret.reveal()}) {
    if (is_quotable(text)) {
      message = join({message.reveal(), " ", quoted(text).reveal()});
    } else {
      messages.push_back(join({message.reveal(), " {", std::to_string(text.size()), "}\r\n"}));
      message = Secret(text);
    }
  }
  messages.push_back(join({message.reveal(), "\r\n"}));
  if (index >= messages.size()) return std::nullopt;
  return messages[index];
}

}  // namespace

constexpr LoginDialect kImap{
    .list = "CAPABILITY",
    .authenticate = "AUTHENTICATE",
    .tagged = true,
    .max_inline = kMaxLine,  // the longest line that servers must take (RFC 7162 §4)
    .inline_if_listed = true,
    .read_offer = read_imap_offer,
    .native_unless_denied = true,
    .native = imap_login,
    .replies = [](LineRules rules) -> std::unique_ptr<LoginReplies> {
      return std::make_unique<ImapReplies>(rules);
    }};

}  // namespace starttls::proto::login

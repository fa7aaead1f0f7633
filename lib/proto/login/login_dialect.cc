#include "lib/proto/login/login_dialect.h"

#include "lib/base/ascii.h"
#include "lib/proto/login/sasl_client.h"
#include "lib/proto/quoted.h"
#include "lib/proto/words.h"

namespace starttls::proto {

tl::unexpected<Error> LoginReplies::unasked(std::string_view words) const {
  // Some servers send an empty line after a reply, which is a mistake and no attack (D16).
  if (words.starts_with('\r') || words.starts_with('\n')) {
    return fail(Errc::protocol, "server sent an empty line", peer_words(words));
  }
  constexpr auto* kUnasked = "server sent a reply that no command asked for";
  if (rules_.end == LineEnd::crlf) return fail(Attack::unsolicited, kUnasked, peer_words(words));
  return fail(Errc::protocol, kUnasked, peer_words(words));
}

tl::unexpected<Error> LoginReplies::invalid(std::string_view words) {
  return fail(Errc::protocol, "server sent an invalid reply", peer_words(words));
}

namespace login {
namespace {

/// Longest quoted string of ManageSieve (RFC 5804 §4). A longer one is a literal.
constexpr std::size_t kMaxQuotedString = 1024;

}  // namespace

void add_mechanisms(std::string_view list, LoginOffer& offer) {
  for (auto name = take_word(list); !name.empty(); name = take_word(list)) {
    offer.mechanisms.emplace_back(name);
  }
}

Result<LoginOffer> offer_in(const LoginDialect& dialect, std::string_view answer,
                            std::string_view tag, LineRules rules) {
  using Kind = LoginPiece::Kind;
  const auto replies = dialect.replies(rules);
  replies->expect(LoginStep::list, tag);
  LoginOffer offer{.known = true, .native = dialect.native_unless_denied};
  while (true) {
    const auto piece = replies->next(answer);
    if (!piece) return fail(piece.error());
    if (!piece->has_value()) {
      return fail(Errc::protocol, "server sent an invalid reply", peer_words(answer));
    }
    answer.remove_prefix((*piece)->raw.size());
    if (!(*piece)->list_line.empty()) dialect.read_offer((*piece)->list_line, offer);
    if ((*piece)->kind == Kind::part) continue;
    if ((*piece)->kind == Kind::goodbye) {
      return fail(Errc::closed, "the server closed the connection", peer_words((*piece)->raw));
    }
    if ((*piece)->kind == Kind::refusal) {
      offer = {.known = true, .native = dialect.native != nullptr};
    }
    if (!replies->comes_unasked(answer)) return replies->unasked(answer);
    return offer;
  }
}

std::string list_question(const LoginDialect& dialect, std::string_view name) {
  std::string question;
  if (dialect.tagged) question = std::string(name) + ' ';
  question += dialect.list;
  if (dialect.introduces_us) question += ' ' + std::string(name);
  return question + "\r\n";
}

Secret sasl_command(const LoginDialect& dialect, std::string_view tag, std::string_view mechanism,
                    std::optional<Secret>& initial, bool initial_listed) {
  std::string command;
  if (dialect.tagged) command = std::string(tag) + ' ';
  command += dialect.authenticate;
  command += ' ';
  if (dialect.strings) {
    append_quoted(command, mechanism);
  } else {
    command += mechanism;
  }

  constexpr std::string_view kEnd = "\r\n";
  const bool permitted = !dialect.inline_if_listed || initial_listed;
  if (initial && permitted &&
      command.size() + 1 + initial->reveal().size() + kEnd.size() <= dialect.max_inline) {
    auto whole = join({command, " ", initial->reveal(), kEnd});
    initial.reset();
    return whole;
  }
  return join({command, kEnd});
}

Secret sasl_response(const LoginDialect& dialect, const Secret& response) {
  const auto text = response.reveal();
  if (!dialect.strings) return join({text.empty() ? dialect.empty : text, "\r\n"});
  if (text.size() <= kMaxQuotedString) return join({"\"", text, "\"\r\n"});
  return join({"{" + std::to_string(text.size()) + "+}\r\n", text, "\r\n"});
}

}  // namespace login
}  // namespace starttls::proto

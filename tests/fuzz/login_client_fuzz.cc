// Plays the downstream role of every row of the table for clients that log in to the proxy, against
// peers that say anything. Also the server side of SASL by itself.
//
// Input: byte 0 chooses row and accounts, byte 1 the client's TLS, byte 2 the size of the pieces.
// The rest is the peers' words, in flights: 0x01 begins a flight of the server, 0x02 one of the
// client; at 0x03 the server hangs up. Every input is played three times: with flights whole, in
// pieces, and in pieces with accounts that answer in the middle of a flight. The first two must
// have the same result. In the third, what the other peer has said earlier may pass the flight's
// rest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/base/base64.h"
#include "lib/proto/login/sasl_server.h"
#include "lib/proto/protocols.h"
#include "tests/fuzz/holds.h"
#include "tests/support/player.h"

namespace {

using namespace starttls;
using proto::Verdict;
using test::DownstreamPlayer;
using test::Outcome;
using test::Peer;

constexpr std::string_view kUser = "scan@example.com";
constexpr std::string_view kSecret = "0123456789 proxy";
/// Shorter passwords could be in any line by chance.
constexpr std::size_t kRecognisable = 8;

struct Row {
  std::string_view protocol;
  std::string_view greeting;
  std::vector<std::string_view> passes;  ///< the client's commands before the login
  std::size_t verb_at = 0;               ///< words before the verb
};

const Row& row_for(std::string_view protocol) {
  static const std::vector<Row> kRows = {
      {"smtp", "220 mx\r\n", {"EHLO", "LHLO", "HELO", "NOOP", "RSET", "HELP", "QUIT"}},
      {"lmtp", "220 mx\r\n", {"EHLO", "LHLO", "HELO", "NOOP", "RSET", "HELP", "QUIT"}},
      {"imap",
       "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] mx\r\n",
       {"CAPABILITY", "NOOP", "ID", "LOGOUT"},
       1},
      {"pop3", "+OK mx <1.2@mx>\r\n", {"CAPA", "NOOP", "QUIT"}},
      {"sieve", "\"SASL\" \"PLAIN\"\r\nOK\r\n", {"CAPABILITY", "NOOP", "LOGOUT"}},
      {"nntp", "200 mx\r\n", {"CAPABILITIES", "MODE", "DATE", "HELP", "QUIT"}},
  };
  for (const auto& row : kRows) {
    if (row.protocol == protocol) return row;
  }
  static const Row kNone;
  return kNone;
}

enum class Kind : std::uint8_t { ours, wrong, none, passed_on };

struct Plan {
  const proto::Protocol& protocol;
  Kind accounts;
  TlsMode downstream;
  std::size_t piece;
  std::string_view flights;
};

Plan read_plan(std::string_view input) {
  constexpr TlsMode kModes[] = {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls,
                                TlsMode::implicit};
  const auto byte_at = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  const auto rows = proto::protocols();
  return {.protocol = rows[(byte_at(0) >> 2U) % rows.size()],
          .accounts = static_cast<Kind>(byte_at(0) % 4U),
          .downstream = kModes[byte_at(1) % 4U],
          .piece = byte_at(2) % 32U + 1U,
          .flights = input.substr(3)};
}

Result<proto::Credentials> answer(Kind kind, const proto::LoginRequest& request) {
  switch (kind) {
    case Kind::ours:
      break;
    case Kind::wrong:
      return fail(Errc::client_login, "wrong name or password");
    case Kind::none:
      return fail(Errc::login, "no secret");
    case Kind::passed_on:
      return proto::Credentials{
          .user = request.name, .secret = request.password, .passed_on = true};
  }
  return proto::Credentials{.user = std::string(kUser),
                            .secret = Secret(std::string(kSecret) + (request.refused ? "2" : "1"))};
}

std::string_view take_line(std::string_view& rest) {
  const auto end = rest.find('\n');
  const auto line = rest.substr(0, end == std::string_view::npos ? end : end + 1);
  rest.remove_prefix(line.size());
  return line;
}

/// Returns the word of that number, counted from 0.
std::string_view word_of(std::string_view line, std::size_t number) {
  const auto separates = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
  std::string_view word;
  for (std::size_t i = 0; i <= number; ++i) {
    while (!line.empty() && separates(line.front())) line.remove_prefix(1);
    std::size_t size = 0;
    while (size < line.size() && !separates(line[size])) ++size;
    word = line.substr(0, size);
    line.remove_prefix(size);
  }
  return word;
}

bool is_line_of(std::string_view wanted, std::string_view whole) {
  while (!whole.empty()) {
    if (take_line(whole) == wanted) return true;
  }
  return false;
}

bool may_pass(const Row& row, std::string_view line) {
  const auto verb = word_of(line, row.verb_at);
  return std::any_of(row.passes.begin(), row.passes.end(),
                     [&](std::string_view allowed) { return ascii::iequals(verb, allowed); });
}

std::string in_base64(std::string_view text) {
  return base64::encode(std::span{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

/// Returns what a line has beside the words that the proxy's own login is made of. A client can
/// have any of these as its password.
std::string without_own_words(std::string line) {
  static const std::vector<std::string> kOwnWords = [] {
    std::vector<std::string> words{"AUTHENTICATE", "AUTHINFO", "CAPABILIT",
                                   "PLAIN",        "LOGIN",    "R4nd-"};
    words.emplace_back(kUser);
    words.push_back(in_base64(kUser));
    for (const char attempt : {'1', '2'}) {
      const auto secret = std::string(kSecret) + attempt;
      words.push_back(in_base64('\0' + std::string(kUser) + '\0' + secret));
      words.push_back(in_base64(secret));
      words.push_back(secret);
    }
    return words;
  }();
  for (const auto& word : kOwnWords) {
    for (auto at = line.find(word); at != std::string::npos; at = line.find(word)) {
      line.replace(at, word.size(), "\n");  // not in any line
    }
  }
  return line;
}

/// True if a line that the proxy has made contains this password.
bool betrays(std::string_view made, std::string_view password) {
  if (password.size() < kRecognisable) return false;
  const auto line = without_own_words(std::string(made));
  // A password may hold such words, too. What is beside them must be recognisable.
  const auto rest = without_own_words(std::string(password));
  const auto words = static_cast<std::size_t>(std::count(rest.begin(), rest.end(), '\n'));
  if (rest.size() - words >= kRecognisable && line.find(rest) != std::string::npos) return true;
  // Three thirds of the base64, whatever comes before it.
  for (std::size_t skipped = 0; skipped < 3; ++skipped) {
    auto encoded = in_base64(password.substr(skipped));
    encoded.resize((password.size() - skipped) / 3 * 4);
    if (encoded.size() >= kRecognisable && line.find(encoded) != std::string_view::npos)
      return true;
  }
  return false;
}

void judge(const Plan& plan, const Outcome& outcome, std::string_view client, bool secured) {
  const auto& row = row_for(plan.protocol.name);
  const bool relayed = outcome.verdict_of(Peer::client) == Verdict::relay;
  HOLDS(relayed == (outcome.verdict_of(Peer::server) == Verdict::relay));
  if (relayed) {
    HOLDS(plan.accounts == Kind::ours || plan.accounts == Kind::passed_on);
    HOLDS(!outcome.requests.empty());
  }
  HOLDS(outcome.pauses <= 3);
  HOLDS(outcome.reconnections <= outcome.requests.size() + outcome.pauses);
  if (plan.downstream == TlsMode::starttls && !secured) {
    HOLDS(outcome.to_server.empty());
    HOLDS(outcome.requests.empty());
  }
  for (const auto& request : outcome.requests) {
    HOLDS(!request.name.empty() && request.name.size() <= kMaxLoginName);
    HOLDS(request.password.reveal().size() <= kMaxSecret);
    HOLDS(request.name.find_first_of(std::string_view("\0\r\n", 3)) == std::string::npos);
  }
  const std::string_view all = outcome.to_server;
  const auto at = outcome.credentials_at.value_or(all.size());
  auto before = all.substr(0, at);
  while (!before.empty()) {
    const auto line = take_line(before);
    HOLDS(line.ends_with('\n'));
    HOLDS(may_pass(row, line));
  }
  // Each line after it is the client's and may pass, or the proxy's.
  auto after = all.substr(at);
  while (!after.empty()) {
    const auto line = take_line(after);
    if ((is_line_of(line, client) || word_of(line, row.verb_at) == "ID") && may_pass(row, line)) {
      continue;
    }
    for (const auto& request : outcome.requests) {
      if (plan.accounts != Kind::passed_on) HOLDS(!betrays(line, request.password.reveal()));
    }
  }
}

enum class Answers : std::uint8_t { after_flight, at_once };

Outcome play(const Plan& plan, std::size_t piece, Answers answers) {
  const proto::RoleSettings settings{.downstream = plan.downstream,
                                     .upstream = TlsMode::starttls,
                                     .hostname = "proxy.example",
                                     .tag = "R4nd",
                                     .login = LoginWhen::client};
  DownstreamPlayer player(plan.protocol.downstream(settings),
                          std::string(row_for(plan.protocol.name).greeting),
                          [&plan](const auto& request) { return answer(plan.accounts, request); });
  player.begin();
  bool secured = false;
  std::string client;
  auto side = Peer::server;
  auto rest = plan.flights;
  while (!rest.empty() && !player.outcome().error) {
    const char first = rest.front();
    if (first >= '\1' && first <= '\3') {
      if (first == '\3') player.lost();
      if (first != '\3') side = first == '\1' ? Peer::server : Peer::client;
      rest.remove_prefix(1);
      continue;
    }
    const auto bytes = rest.substr(0, rest.find_first_of("\1\2\3"));
    rest.remove_prefix(bytes.size());
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = bytes.substr(at, piece);
      if (side == Peer::client) client += part;
      if (answers == Answers::at_once || at + part.size() == bytes.size()) {
        player.feed(side, part);
      } else {
        player.feed_part(side, part);
      }
    }
    judge(plan, player.outcome(), client, secured);
    const auto& outcome = player.outcome();
    if (outcome.error || (outcome.verdict_of(Peer::server) != Verdict::start_tls &&
                          outcome.verdict_of(Peer::client) != Verdict::start_tls)) {
      continue;
    }
    if (!outcome.unread_of(Peer::client).empty()) break;  // the leg refuses them
    player.secured();
    secured = true;
  }
  return player.outcome();
}

/// Plays the server side of SASL alone, with one response per line.
void play_sasl(std::string_view input) {
  for (const auto mechanism : {Mechanism::plain, Mechanism::login}) {
    proto::SaslServer sasl{mechanism};
    auto rest = input;
    auto status = sasl.begin(std::nullopt);
    while (status == proto::SaslServer::Status::going_on && !rest.empty()) {
      HOLDS(sasl.challenge().size() <= 12);
      auto line = take_line(rest);
      if (line.ends_with('\n')) line.remove_suffix(1);
      status = sasl.on_response(line);
    }
    if (status != proto::SaslServer::Status::complete) continue;
    const auto login = sasl.take();
    HOLDS(login.name.size() + login.password.reveal().size() <= input.size());
    if (mechanism == Mechanism::plain) {
      HOLDS(login.name.find('\0') == std::string::npos);
      HOLDS(login.password.reveal().find('\0') == std::string_view::npos);
    }
  }
}

/// True if the role ended because the server said something before it was asked.
bool is_early(const Error& error) {
  return error.code == Errc::attack || error.code == Errc::protocol;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > 100'000) return 0;
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  play_sasl(input.substr(3));
  const auto plan = read_plan(input);
  const auto whole = play(plan, SIZE_MAX / 2, Answers::after_flight);
  // A role looks at an unfinished line anew with every piece. Thousands of pieces would waste time.
  const auto piece = std::max(plan.piece, size / 512);
  play(plan, piece, Answers::at_once);
  const auto pieces = play(plan, piece, Answers::after_flight);
  // An answer before its question shows only if both arrive together.
  if ((whole.error && is_early(*whole.error)) || (pieces.error && is_early(*pieces.error)))
    return 0;
  HOLDS(whole.to_server == pieces.to_server);
  HOLDS(whole.to_client == pieces.to_client);
  HOLDS(whole.requests.size() == pieces.requests.size());
  HOLDS(whole.pauses == pieces.pauses);
  HOLDS(whole.error.has_value() == pieces.error.has_value());
  if (whole.error) {
    HOLDS(whole.error->code == pieces.error->code);
  } else {
    HOLDS(whole.verdict == pieces.verdict);
    HOLDS(whole.unread == pieces.unread);
  }
  return 0;
}

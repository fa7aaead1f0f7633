// P23. Plays both roles of every row of the table, in every pair of modes, against peers that say
// anything.
//
// Input: byte 0 chooses row, role and switches, byte 1 the modes, byte 2 the size of the pieces.
// The rest is the peers' words, in flights: 0x01 begins a flight of the server, 0x02 one of the
// client. Every input is played twice, with flights whole and in pieces. Both must have the same
// result.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/proto/protocols.h"
#include "tests/fuzz/holds.h"
#include "tests/support/player.h"

namespace {

using namespace starttls;
using proto::Verdict;
using test::DownstreamPlayer;
using test::Outcome;
using test::Peer;
using test::Player;
using test::UpstreamPlayer;

/// The facts about a protocol with which the fuzzer judges its roles, without trusting them. A
/// protocol without an entry is judged by the general rules only.
struct Oracle {
  std::string_view protocol;

  // Upstream role.
  std::string_view before_tls;  ///< everything that we ever say in the clear
  std::string_view under_tls;   ///< everything that we may say inside TLS, before the client
  std::string_view go_ahead;    ///< how the server's last line begins
  std::vector<std::string_view> statuses;  ///< our own, before a text; empty: a list

  // Downstream role.
  std::vector<std::string_view> greetings;     ///< of the server, for the client
  std::vector<std::string_view> commits;       ///< empty: all except a few do
  std::vector<std::string_view> never_passed;  ///< verbs of the client that the server must not see
  std::vector<std::string_view> passes = {};   ///< not empty: only these before commit
  std::vector<std::string_view> bare = {};     ///< also passed, if nothing follows the word
  std::size_t verb_at = 0;                     ///< words before the verb
  std::vector<std::string_view> login = {};    ///< words followed by a SASL mechanism
  std::string_view rewritten = {};             ///< the role writes lines with this verb anew
};

const std::vector<std::string_view> kSmtpCommits = {
    "AUTH", "X-EXPS", "X-ANONYMOUSTLS", "MAIL", "SAML", "SEND",
    "SOML", "BDAT",   "TURN",           "ETRN", "ATRN"};

const Oracle* oracle_for(std::string_view protocol) {
  static const std::vector<Oracle> kOracles = {
      {.protocol = "smtp",
       .before_tls = "EHLO proxy.example\r\nSTARTTLS\r\n",
       .under_tls = "",
       .go_ahead = "220",
       .statuses = {"220 "},
       .greetings = {"220 mx.example ESMTP\r\n"},
       .commits = kSmtpCommits,
       .never_passed = {"STARTTLS", "XCLIENT", "XFORWARD"},
       .login = {"AUTH", "X-EXPS"}},
      {.protocol = "lmtp",
       .before_tls = "LHLO proxy.example\r\nSTARTTLS\r\n",
       .under_tls = "",
       .go_ahead = "220",
       .statuses = {"220 "},
       .greetings = {"220 mx.example LMTP\r\n"},
       .commits = kSmtpCommits,
       .never_passed = {"STARTTLS", "XCLIENT", "XFORWARD"},
       .login = {"AUTH", "X-EXPS"}},
      {.protocol = "imap",
       .before_tls = "R4nd STARTTLS\r\n",
       .under_tls = "R4nd CAPABILITY\r\n",
       .go_ahead = "R4nd OK",
       .statuses = {"* OK ", "* PREAUTH "},
       .greetings = {"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN AUTH=X-PLUS] mx.example\r\n",
                     "* PREAUTH [CAPABILITY IMAP4rev1] mx.example\r\n"},
       .commits = {"LOGIN", "AUTHENTICATE", "COMPRESS"},
       .never_passed = {"STARTTLS"},
       .verb_at = 1,
       .login = {"AUTHENTICATE"},
       .rewritten = "ID"},
      {.protocol = "pop3",
       .before_tls = "STLS\r\n",
       .under_tls = "",
       .go_ahead = "+OK",
       .statuses = {"+OK "},
       .greetings = {"+OK mx.example <1.2@mx.example>\r\n"},
       .commits = {},
       .never_passed = {"STLS", "XCLIENT", "XFORWARD"},
       .passes = {"CAPA", "NOOP", "QUIT", "HELP", "LANG", "UTF8"},
       .bare = {"AUTH"},
       .login = {"AUTH"}},
      {.protocol = "nntp",
       .before_tls = "STARTTLS\r\n",
       .under_tls = "",
       .go_ahead = "382",
       .statuses = {"200 ", "201 "},
       .greetings = {"200 mx.example\r\n", "201 mx.example\r\n"},
       .commits = {},
       .never_passed = {"STARTTLS"},
       .passes = {"CAPABILITIES", "HELP", "DATE", "QUIT", "MODE"},
       .login = {"AUTHINFO", "SASL"}},
      {.protocol = "sieve",
       .before_tls = "STARTTLS\r\n",
       .under_tls = "CAPABILITY\r\nNOOP\r\n",
       .go_ahead = "",  // it may end in a literal
       .statuses = {},
       .greetings = {"\"SASL\" \"PLAIN X-PLUS\"\r\n\"STARTTLS\"\r\nOK\r\n"},
       .commits = {},
       .never_passed = {"STARTTLS"},
       .passes = {"CAPABILITY", "NOOP", "LOGOUT"},
       .login = {"AUTHENTICATE"}},
  };
  for (const auto& oracle : kOracles) {
    if (oracle.protocol == protocol) return &oracle;
  }
  return nullptr;
}

struct Flight {
  Peer side;
  std::string_view bytes;
};

struct Plan {
  const proto::Protocol& protocol;
  bool upstream_role;
  proto::RoleSettings settings;
  std::size_t piece;
  std::string_view greeting;  ///< the greeting that a downstream role has for the client
  std::vector<Flight> flights;
};

constexpr TlsMode kModes[] = {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls,
                              TlsMode::implicit};

Plan read_plan(std::string_view input) {
  const auto byte_at = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  const auto rows = proto::protocols();
  Plan plan{
      .protocol = rows[(byte_at(0) >> 3U) % rows.size()],
      .upstream_role = (byte_at(0) & 1U) == 0,
      .settings = {.downstream = kModes[byte_at(1) % 4U],
                   .upstream = kModes[(byte_at(1) >> 2U) % 4U],
                   .hostname = "proxy.example",
                   .greeting_text = (byte_at(0) & 2U) == 0,
                   .client_certificate = (byte_at(0) & 4U) != 0,
                   .tag = "R4nd"},
      .piece = byte_at(2) % 32U + 1U,
      .greeting = "220 mx.example\r\n",
      .flights = {},
  };
  if (const auto* oracle = oracle_for(plan.protocol.name); oracle != nullptr) {
    plan.greeting = oracle->greetings[(byte_at(2) >> 5U) % oracle->greetings.size()];
  }
  auto rest = input.substr(3);
  auto side = Peer::server;
  while (!rest.empty()) {
    if (rest.front() == '\1' || rest.front() == '\2') {
      side = rest.front() == '\1' ? Peer::server : Peer::client;
      rest.remove_prefix(1);
      continue;
    }
    const auto bytes = rest.substr(0, rest.find_first_of("\1\2"));
    // An upstream role hears only the server.
    plan.flights.push_back({plan.upstream_role ? Peer::server : side, bytes});
    rest.remove_prefix(bytes.size());
  }
  return plan;
}

std::unique_ptr<Player> make_player(const Plan& plan) {
  if (plan.upstream_role) {
    return std::make_unique<UpstreamPlayer>(plan.protocol.upstream(plan.settings));
  }
  auto role = plan.protocol.downstream(plan.settings);
  if (role == nullptr) return nullptr;  // the protocol has no such mode
  return std::make_unique<DownstreamPlayer>(std::move(role), std::string(plan.greeting));
}

std::string last_line(std::string_view heard) {
  if (heard.ends_with("\r\n")) heard.remove_suffix(2);
  const auto before = heard.rfind('\n');
  return std::string(before == std::string_view::npos ? heard : heard.substr(before + 1));
}

/// The longest line of a prelude, and the longest line of our own. An AUTH line may be longer.
constexpr std::size_t kMaxLine = 8192;
constexpr std::size_t kMaxOwnLine = 512;
constexpr std::size_t kMaxAuthLine = 12288;

bool contains(const std::vector<std::string_view>& verbs, std::string_view verb) {
  for (const auto candidate : verbs) {
    if (ascii::iequals(candidate, verb)) return true;
  }
  return false;
}

/// Cuts the first line, with its end, off `rest` and returns it. Without a line end, takes all of
/// `rest`.
std::string_view take_line(std::string_view& rest) {
  const auto end = rest.find('\n');
  const auto line = rest.substr(0, end == std::string_view::npos ? end : end + 1);
  rest.remove_prefix(line.size());
  return line;
}

/// True if `part` consists of lines of `whole`, unchanged and in order.
bool are_lines_of(std::string_view part, std::string_view whole) {
  while (!part.empty()) {
    const auto wanted = take_line(part);
    std::string_view line;
    do {
      if (whole.empty()) return false;
      line = take_line(whole);
    } while (line != wanted);
  }
  return true;
}

/// The server's words that an upstream role has consumed.
struct Used {
  std::string_view all;
  std::string_view under_tls;
};

/// Judges the greeting for a client. Of a greeting that the server said in the clear, only the text
/// may remain.
void judge_greeting(const Oracle& oracle, std::string_view greeting, const Used& used,
                    bool secured) {
  if (oracle.statuses.empty()) {
    // A list. If TLS is up, all of it was said inside TLS.
    HOLDS(!secured || used.under_tls.find(greeting) != std::string_view::npos);
    return;
  }
  auto rest = greeting;
  auto line = take_line(rest);
  HOLDS(line.ends_with("\r\n"));
  line.remove_suffix(2);
  for (const char c : line) HOLDS(ascii::is_printable(c));
  const auto status =
      std::find_if(oracle.statuses.begin(), oracle.statuses.end(),
                   [&](std::string_view candidate) { return line.starts_with(candidate); });
  HOLDS(status != oracle.statuses.end());
  auto text = line.substr(status->size());
  // A response code that a client acts on is ours. What it lists was said inside TLS (RFC 9051
  // §7.1).
  if (oracle.protocol == "imap" && text.starts_with('[')) {
    HOLDS(secured);
    constexpr std::string_view kCode = "[CAPABILITY ";
    HOLDS(text.starts_with(kCode));
    const auto end = text.find(']');
    HOLDS(end != std::string_view::npos);
    auto names = text.substr(kCode.size(), end - kCode.size());
    text.remove_prefix(end + 1);
    while (!names.empty()) {
      const auto name = names.substr(0, names.find(' '));
      HOLDS(used.under_tls.find(name) != std::string_view::npos);
      names.remove_prefix(std::min(names.size(), name.size() + 1));
    }
  }
  HOLDS(status->size() + text.size() + 2 <= kMaxOwnLine);
  // The rest of the greeting was said inside TLS.
  HOLDS(are_lines_of(rest, used.under_tls));
}

/// Judges an upstream role after each flight of the server.
void judge_upstream(const Plan& plan, const Outcome& outcome, const Used& used, bool secured) {
  const auto mode = plan.settings.upstream;
  const bool upgrades = mode == TlsMode::starttls || mode == TlsMode::opportunistic;
  const auto verdict = outcome.verdict_of(Peer::server);
  HOLDS(verdict == Verdict::need_more || verdict == Verdict::start_tls ||
        verdict == Verdict::greeted);
  HOLDS(outcome.to_server.size() < 1024);
  HOLDS(outcome.to_client.empty());
  if (!outcome.error && verdict == Verdict::need_more) {
    HOLDS(outcome.unread_of(Peer::server).size() < kMaxLine);  // the unread rest is part of a line
  }
  // A refusal is passed on as it came. The call that failed on it has consumed nothing (D18).
  const auto heard = used.all.size() + outcome.unread_of(Peer::server).size();
  HOLDS(outcome.greeting.size() <= heard + 2 * kMaxOwnLine);
  if (!upgrades) {
    HOLDS(verdict != Verdict::start_tls);
    HOLDS(outcome.to_server.empty());
  }
  const bool greeted = verdict == Verdict::greeted && !outcome.error;
  if (mode == TlsMode::starttls && !secured) HOLDS(!greeted);
  if (greeted) {
    HOLDS(outcome.greeting.ends_with("\n"));
    const bool fell_back = mode == TlsMode::opportunistic && !secured;
    HOLDS(outcome.fallback_reason.empty() == !fell_back);
    // The greeting is passed on unchanged, byte by byte. SMTP's may be ours, after a fallback.
    if (!upgrades && plan.settings.greeting_text) {
      HOLDS(used.all.starts_with(outcome.greeting));
    }
  }
  const auto* oracle = oracle_for(plan.protocol.name);
  if (oracle == nullptr) return;
  if (greeted && upgrades) judge_greeting(*oracle, outcome.greeting, used, secured);
  // The server's own words are not sent back to it.
  const std::string script =
      std::string(oracle->before_tls) + std::string(secured ? oracle->under_tls : "");
  HOLDS(script.starts_with(outcome.to_server));
  if (verdict == Verdict::start_tls || secured) {
    HOLDS(outcome.to_server.starts_with(oracle->before_tls));
  }
  if (verdict == Verdict::start_tls) {
    HOLDS(ascii::istarts_with(last_line(used.all), oracle->go_ahead));
  }
}

/// Returns the word of that number, counted from 0. White space and control characters separate
/// words.
std::string_view word_of(std::string_view line, std::size_t number) {
  std::string_view word;
  for (std::size_t i = 0; i <= number; ++i) {
    while (!line.empty() && static_cast<unsigned char>(line.front()) <= ' ') line.remove_prefix(1);
    std::size_t size = 0;
    while (size < line.size() && static_cast<unsigned char>(line[size]) > ' ') ++size;
    word = line.substr(0, size);
    line.remove_prefix(size);
  }
  return word;
}

/// True if the line ends by announcing bytes that are not a line, as an IMAP literal does.
bool announces_literal(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  const auto brace = line.rfind('{');
  return line.ends_with('}') && brace != std::string_view::npos && brace + 2 < line.size();
}

/// True if the line logs in, or might log in, by our own certificate.
bool uses_external(const Oracle& oracle, std::string_view line) {
  auto at = oracle.verb_at;
  for (const auto word : oracle.login) {
    if (!ascii::iequals(word_of(line, at++), word)) return false;
  }
  auto mechanism = word_of(line, at);
  // Servers accept the mechanism as a literal too. Its bytes are on the next line.
  if (oracle.protocol == "imap" && mechanism.starts_with('{')) return true;
  if (mechanism.size() > 2 && mechanism.starts_with('"') && mechanism.ends_with('"')) {
    mechanism = mechanism.substr(1, mechanism.size() - 2);
  }
  return ascii::iequals(mechanism, "EXTERNAL");
}

/// True if `line` is a command that the role writes anew.
bool is_rewritten(const Oracle& oracle, std::string_view line) {
  return !oracle.rewritten.empty() &&
         ascii::iequals(word_of(line, oracle.verb_at), oracle.rewritten);
}

std::string without_rewritten(const Oracle& oracle, std::string_view lines) {
  std::string kept;
  while (!lines.empty()) {
    const auto line = take_line(lines);
    if (!is_rewritten(oracle, line)) kept += line;
  }
  return kept;
}

/// Judges an ID that an IMAP server gets. Names and values alternate, and all are quoted strings or
/// NIL. No name lets the client pass for another one (D15).
void judge_id(std::string_view line) {
  HOLDS(!announces_literal(line));
  std::size_t strings = 0;
  auto i = line.find('(');
  if (i == std::string_view::npos) return;
  for (; line[i] != ')'; ++i) {
    HOLDS(i + 1 < line.size());
    if (line[i] == 'N') ++strings;
    if (line[i] != '"') continue;
    std::string text;
    for (++i; line[i] != '"'; ++i) {
      if (line[i] == '\\') ++i;
      HOLDS(i + 1 < line.size());
      text += ascii::to_lower(line[i]);
    }
    for (const std::string_view claim :
         {"x-originating-", "x-connected-", "x-session-", "x-forward-"}) {
      HOLDS(strings % 2 == 1 || !text.starts_with(claim));
    }
    HOLDS(strings % 2 == 1 || text != "x-proxy-ttl");
    ++strings;
  }
  HOLDS(strings % 2 == 0);
}

/// The words that a role has heard.
struct Heard {
  std::string client;            ///< in the clear and under TLS
  std::string client_under_tls;  ///< the part since the handshake that the role asked for
  std::string server;
  std::string server_under_tls;
};

/// Judges the line that a client committed with.
void judge_commit(const Plan& plan, const Oracle& oracle, std::string_view line) {
  const auto verb = word_of(line, oracle.verb_at);
  HOLDS(!plan.settings.client_certificate || !uses_external(oracle, line));
  HOLDS(!contains(oracle.never_passed, verb));
  if (oracle.commits.empty() || contains(oracle.commits, verb)) return;
  // If IMAP has no login to see, there is nothing to watch.
  HOLDS(oracle.protocol == "imap" &&
        (announces_literal(line) || plan.greeting.starts_with("* PREAUTH")));
}

void judge_downstream(const Plan& plan, const Player& player, const Heard& heard, bool secured) {
  const auto& outcome = player.outcome();
  // A list grows by at most one word or line of ours (IMAP servers send lists unasked). Each
  // command may have an answer of ours, which may repeat a part of it (sieve's NOOP).
  const auto commands =
      static_cast<std::size_t>(std::count(heard.client.begin(), heard.client.end(), '\n'));
  // An ID may grow by quotes and backslashes.
  HOLDS(outcome.to_server.size() <= heard.client.size() * (plan.protocol.name == "imap" ? 2 : 1));
  HOLDS(outcome.to_client.size() <= 2 * heard.server.size() + heard.client.size() +
                                        plan.greeting.size() + (commands + 1) * kMaxOwnLine);
  const auto mode = plan.settings.downstream;
  const bool committed = outcome.verdict_of(Peer::client) == Verdict::relay;
  const auto brought = [&](Verdict verdict) {
    return outcome.verdict_of(Peer::client) == verdict ||
           outcome.verdict_of(Peer::server) == verdict;
  };
  HOLDS(!brought(Verdict::greeted));
  if (outcome.verdict_of(Peer::server) == Verdict::relay) HOLDS(committed);
  if (mode == TlsMode::none || mode == TlsMode::implicit || secured) {
    HOLDS(!brought(Verdict::start_tls));
  }
  const bool before_tls = mode == TlsMode::starttls && !secured;
  if (!before_tls) HOLDS(!brought(Verdict::finish));
  if (before_tls) {
    HOLDS(outcome.to_server.empty());
    HOLDS(!committed);
  }
  // While the role reads on, the unread rest is part of a line. After STARTTLS and a goodbye the
  // leg handles the rest. Before the client's TLS the server's words may have to wait.
  const bool reads_client = player.state() == "commands" || player.state() == "clear";
  if (!outcome.error && reads_client && outcome.verdict_of(Peer::client) == Verdict::need_more &&
      outcome.verdict_of(Peer::server) == Verdict::need_more) {
    HOLDS(outcome.unread_of(Peer::client).size() < kMaxAuthLine);
    if (!before_tls) HOLDS(outcome.unread_of(Peer::server).size() < kMaxLine);
  }
  const auto* oracle = oracle_for(plan.protocol.name);
  if (oracle == nullptr) return;
  if (committed) {
    std::string_view unread = outcome.unread_of(Peer::client);
    judge_commit(plan, *oracle, take_line(unread));  // maybe an empty line, not the one after it
  }
  // If TLS is required, nothing that was said before it reaches the server.
  HOLDS(are_lines_of(without_rewritten(*oracle, outcome.to_server),
                     mode == TlsMode::starttls ? heard.client_under_tls : heard.client));
  std::string_view rest = outcome.to_server;
  while (!rest.empty()) {
    const auto line = take_line(rest);
    HOLDS(line.ends_with('\n'));  // whole lines only
    const auto verb = word_of(line, oracle->verb_at);
    HOLDS(!contains(oracle->never_passed, verb));
    HOLDS(!contains(oracle->commits, verb));
    const bool is_bare = word_of(line, oracle->verb_at + 1).empty();
    HOLDS(oracle->passes.empty() || contains(oracle->passes, verb) ||
          (is_bare && contains(oracle->bare, verb)));
    HOLDS(!plan.settings.client_certificate || !uses_external(*oracle, line));
    if (is_rewritten(*oracle, line)) judge_id(line);
  }
}

/// Plays the flights, each in pieces of `piece` bytes, and judges after each.
Outcome play(const Plan& plan, std::size_t piece) {
  const auto player = make_player(plan);
  if (player == nullptr) return {};
  player->begin();
  bool secured = false;
  Heard heard;
  for (const auto& [side, bytes] : plan.flights) {
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = bytes.substr(at, piece);
      (side == Peer::server ? heard.server : heard.client) += part;
      if (secured) {
        (side == Peer::server ? heard.server_under_tls : heard.client_under_tls) += part;
      }
      player->feed(side, part);
    }
    const auto& outcome = player->outcome();
    if (plan.upstream_role) {
      const auto unread = outcome.unread_of(Peer::server).size();
      const auto all = std::string_view(heard.server);
      const auto under_tls = std::string_view(heard.server_under_tls);
      judge_upstream(
          plan, outcome,
          {.all = all.substr(0, all.size() - unread),
           .under_tls = under_tls.substr(0, under_tls.size() - std::min(unread, under_tls.size()))},
          secured);
    } else {
      judge_downstream(plan, *player, heard, secured);
    }
    if (outcome.error) break;
    const bool start_tls = outcome.verdict_of(Peer::server) == Verdict::start_tls ||
                           outcome.verdict_of(Peer::client) == Verdict::start_tls;
    if (start_tls) {
      // The leg refuses unread bytes.
      if (!outcome.unread_of(plan.upstream_role ? Peer::server : Peer::client).empty()) break;
      player->secured();
      if (!plan.settings.greeting_text) player->quiet();
      secured = true;
    }
  }
  return player->outcome();
}

/// True if the role ended because the server said something before it was asked.
bool is_early_answer(const Error& error) {
  return error.code == Errc::attack || error.reason == "server sent an empty line";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > 300'000) return 0;
  const auto plan = read_plan({reinterpret_cast<const char*>(data), size});
  const auto whole = play(plan, SIZE_MAX / 2);
  // A role looks at an unfinished line anew with every piece. Thousands of pieces would waste time.
  const auto pieces = play(plan, std::max(plan.piece, size / 512));

  // An answer (or an empty line) before its question shows only if both arrive together. Up to
  // there, both runs must have the same result.
  if (whole.error && is_early_answer(*whole.error)) {
    HOLDS(pieces.to_server.starts_with(whole.to_server));
    HOLDS(pieces.to_client.starts_with(whole.to_client));
    return 0;
  }
  HOLDS(whole.to_server == pieces.to_server);
  HOLDS(whole.to_client == pieces.to_client);
  HOLDS(whole.greeting == pieces.greeting);
  HOLDS(whole.fallback_reason == pieces.fallback_reason);
  HOLDS(whole.error.has_value() == pieces.error.has_value());
  if (whole.error) {
    HOLDS(whole.error->code == pieces.error->code);
  } else {
    HOLDS(whole.verdict == pieces.verdict);
    HOLDS(whole.unread == pieces.unread);
  }
  return 0;
}

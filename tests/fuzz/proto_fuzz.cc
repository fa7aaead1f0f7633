// Both roles of every row of the table, in every pair of modes, against peers that say anything.
//
// Input: octet 0 chooses row, role and switches, octet 1 the modes, octet 2 the size of the pieces.
// The rest is what the peers say, in flights: 0x01 begins a flight of the server, 0x02 one of the
// client. Every input is played twice, flights whole and in pieces; both must come out the same.

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
#include "tests/support/player.h"

namespace {

using namespace starttls;
using proto::Verdict;
using test::DownstreamPlayer;
using test::Outcome;
using test::Player;
using test::Side;
using test::UpstreamPlayer;

#define HOLDS(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)

/// What the fuzzer has to know of a protocol to judge its roles without trusting them. A protocol
/// without an entry is held to the general rules only.
struct Oracle {
  std::string_view protocol;
  std::string_view request;                    ///< our last words before TLS
  std::string_view go_ahead;                   ///< how the server's last line begins
  std::vector<std::string_view> commits;       ///< empty: all but a few do
  std::vector<std::string_view> never_passed;  ///< verbs of the client that the server must not see
  std::vector<std::string_view> passes = {};   ///< not empty: all that it may see before commit
};

const Oracle* oracle_for(std::string_view protocol) {
  static const std::vector<Oracle> kOracles = {
      {"smtp",
       "STARTTLS\r\n",
       "220",
       {"AUTH", "MAIL", "BDAT"},
       {"STARTTLS", "XCLIENT", "XFORWARD"}},
      {"lmtp",
       "STARTTLS\r\n",
       "220",
       {"AUTH", "MAIL", "BDAT"},
       {"STARTTLS", "XCLIENT", "XFORWARD"}},
      {"pop3",
       "STLS\r\n",
       "+OK",
       {},
       {"STLS", "XCLIENT", "XFORWARD"},
       {"CAPA", "NOOP", "QUIT", "HELP", "LANG", "UTF8"}},
      {"nntp",
       "STARTTLS\r\n",
       "382",
       {},
       {"STARTTLS"},
       {"CAPABILITIES", "HELP", "DATE", "QUIT", "MODE"}},
      // The go-ahead may end in a literal.
      {"sieve", "STARTTLS\r\n", "", {}, {"STARTTLS"}, {"CAPABILITY", "NOOP", "LOGOUT"}},
  };
  for (const auto& oracle : kOracles) {
    if (oracle.protocol == protocol) return &oracle;
  }
  return nullptr;
}

struct Flight {
  Side side;
  std::string_view bytes;
};

struct Plan {
  const proto::Protocol& protocol;
  bool upstream_role;
  proto::RoleSettings settings;
  std::size_t piece;
  std::vector<Flight> flights;
};

constexpr std::string_view kGreeting = "220 mx.example ESMTP\r\n";
constexpr std::string_view kSieveGreeting = "\"SASL\" \"PLAIN X-PLUS\"\r\n\"STARTTLS\"\r\nOK\r\n";

/// What a downstream role is given to greet the client with.
std::string_view greeting_of(const proto::Protocol& protocol) {
  return protocol.name == "sieve" ? kSieveGreeting : kGreeting;
}
constexpr TlsMode kModes[] = {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls,
                              TlsMode::implicit};

Plan read_plan(std::string_view input) {
  const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  const auto rows = proto::protocols();
  Plan plan{
      .protocol = rows[(octet(0) >> 3U) % rows.size()],
      .upstream_role = (octet(0) & 1U) == 0,
      .settings = {.downstream = kModes[octet(1) % 4U],
                   .upstream = kModes[(octet(1) >> 2U) % 4U],
                   .hostname = "proxy.example",
                   .greeting_text = (octet(0) & 2U) == 0,
                   .client_certificate = (octet(0) & 4U) != 0,
                   .tag = "R4nd"},
      .piece = octet(2) % 32U + 1U,
      .flights = {},
  };
  auto rest = input.substr(3);
  auto side = Side::server;
  while (!rest.empty()) {
    if (rest.front() == '\1' || rest.front() == '\2') {
      side = rest.front() == '\1' ? Side::server : Side::client;
      rest.remove_prefix(1);
      continue;
    }
    const auto bytes = rest.substr(0, rest.find_first_of("\1\2"));
    // An upstream role hears nobody but the server.
    plan.flights.push_back({plan.upstream_role ? Side::server : side, bytes});
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
  return std::make_unique<DownstreamPlayer>(std::move(role),
                                            std::string(greeting_of(plan.protocol)));
}

std::string last_line(std::string_view heard) {
  if (heard.ends_with("\r\n")) heard.remove_suffix(2);
  const auto before = heard.rfind('\n');
  return std::string(before == std::string_view::npos ? heard : heard.substr(before + 1));
}

/// After each flight of the server to an upstream role. `used`: what the role has consumed so far.
void judge_upstream(const Plan& plan, const Outcome& outcome, std::string_view used, bool secured) {
  const auto mode = plan.settings.upstream;
  const auto verdict = outcome.verdict_of(Side::server);
  HOLDS(verdict != Verdict::relay);
  HOLDS(outcome.to_server.size() < 1024);
  HOLDS(outcome.to_client.empty());
  if (mode == TlsMode::none || mode == TlsMode::implicit) {
    HOLDS(verdict != Verdict::start_tls);
    HOLDS(outcome.to_server.empty() || plan.protocol.name == "imap");
  }
  if (mode == TlsMode::starttls && !secured) HOLDS(verdict != Verdict::greeted);
  if (verdict == Verdict::greeted && !outcome.error) {
    HOLDS(outcome.greeting.ends_with("\n"));
    const bool fell_back = mode == TlsMode::opportunistic && !secured;
    HOLDS(outcome.fallback_reason.empty() == !fell_back);
    // Sieve's is a list: from behind TLS, or on a leg that stays in the clear.
    const bool reduced = plan.protocol.name != "sieve";
    if (reduced && (mode == TlsMode::starttls || mode == TlsMode::opportunistic)) {
      // In the clear; inside TLS the server may have said more.
      const auto end = outcome.greeting.find("\r\n");
      HOLDS(end != std::string::npos);
      if (!secured) HOLDS(end + 2 == outcome.greeting.size() && outcome.greeting.size() <= 512);
      for (const char c : outcome.greeting.substr(0, end)) HOLDS(ascii::is_printable(c));
    }
  }
  const auto* oracle = oracle_for(plan.protocol.name);
  if (verdict == Verdict::start_tls && oracle != nullptr) {
    HOLDS(outcome.to_server.ends_with(oracle->request));
    HOLDS(last_line(used).starts_with(oracle->go_ahead));
  }
}

std::string_view verb_of(std::string_view line) {
  while (!line.empty() && static_cast<unsigned char>(line.front()) <= ' ') line.remove_prefix(1);
  std::size_t size = 0;
  while (size < line.size() && static_cast<unsigned char>(line[size]) > ' ') ++size;
  return line.substr(0, size);
}

bool contains(const std::vector<std::string_view>& verbs, std::string_view verb) {
  for (const auto candidate : verbs) {
    if (ascii::iequals(candidate, verb)) return true;
  }
  return false;
}

/// The first line of `rest`, its end included, or all of it; cuts it off.
std::string_view take_line(std::string_view& rest) {
  const auto end = rest.find('\n');
  const auto line = rest.substr(0, end == std::string_view::npos ? end : end + 1);
  rest.remove_prefix(line.size());
  return line;
}

/// Is `part` made of lines of `whole`, unchanged and in order?
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

/// What a downstream role has heard.
struct Heard {
  std::string client;            ///< in the clear and under TLS
  std::string client_under_tls;  ///< of it, since the handshake that the role asked for
  std::string server;
};

void judge_downstream(const Plan& plan, const Outcome& outcome, const Heard& heard, bool secured) {
  // A list grows by one word or line of ours at most (IMAP servers send lists unasked), and each
  // command may have an answer of ours, which may repeat a part of it (sieve's NOOP).
  constexpr std::size_t kOwnWords = 512;
  const auto commands =
      static_cast<std::size_t>(std::count(heard.client.begin(), heard.client.end(), '\n'));
  HOLDS(outcome.to_server.size() <= heard.client.size());
  HOLDS(outcome.to_client.size() <= 2 * heard.server.size() + heard.client.size() +
                                        kGreeting.size() + (commands + 1) * kOwnWords);
  const auto mode = plan.settings.downstream;
  const bool committed = outcome.verdict_of(Side::client) == Verdict::relay;
  const auto brought = [&](Verdict verdict) {
    return outcome.verdict_of(Side::client) == verdict ||
           outcome.verdict_of(Side::server) == verdict;
  };
  if (outcome.verdict_of(Side::server) == Verdict::relay) HOLDS(committed);
  if (mode == TlsMode::none || mode == TlsMode::implicit || secured) {
    HOLDS(!brought(Verdict::start_tls));
  }
  const bool before_tls = mode == TlsMode::starttls && !secured;
  if (!before_tls) HOLDS(!brought(Verdict::finish));
  if (before_tls) {
    HOLDS(outcome.to_server.empty());
    HOLDS(!committed);
  }
  const auto* oracle = oracle_for(plan.protocol.name);
  if (oracle == nullptr) return;
  if (committed) {
    std::string_view unread = outcome.unread_of(Side::client);
    const auto verb =
        verb_of(take_line(unread));  // an empty line may commit, not the one behind it
    HOLDS(oracle->commits.empty() || contains(oracle->commits, verb));
    HOLDS(!contains(oracle->never_passed, verb));
  }
  // Nothing that was said before TLS, where TLS is required.
  HOLDS(are_lines_of(outcome.to_server,
                     mode == TlsMode::starttls ? heard.client_under_tls : heard.client));
  std::string_view rest = outcome.to_server;
  while (!rest.empty()) {
    const auto line = take_line(rest);
    HOLDS(line.ends_with('\n'));  // whole lines only
    const auto verb = verb_of(line);
    HOLDS(!contains(oracle->never_passed, verb));
    HOLDS(!contains(oracle->commits, verb));
    HOLDS(oracle->passes.empty() || contains(oracle->passes, verb));
  }
}

/// Plays the flights, each in pieces of `piece` octets, and judges after each.
Outcome play(const Plan& plan, std::size_t piece) {
  const auto player = make_player(plan);
  if (player == nullptr) return {};
  player->begin();
  bool secured = false;
  Heard heard;
  for (const auto& [side, bytes] : plan.flights) {
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = bytes.substr(at, piece);
      (side == Side::server ? heard.server : heard.client) += part;
      if (side == Side::client && secured) heard.client_under_tls += part;
      player->feed(side, part);
    }
    const auto& outcome = player->outcome();
    if (plan.upstream_role) {
      const std::string_view server = heard.server;
      const auto used = server.size() - outcome.unread_of(Side::server).size();
      judge_upstream(plan, outcome, server.substr(0, used), secured);
    } else {
      judge_downstream(plan, outcome, heard, secured);
    }
    if (outcome.error) break;
    const bool start_tls = outcome.verdict_of(Side::server) == Verdict::start_tls ||
                           outcome.verdict_of(Side::client) == Verdict::start_tls;
    if (start_tls) {
      // The leg refuses it.
      if (!outcome.unread_of(plan.upstream_role ? Side::server : Side::client).empty()) break;
      player->secured();
      if (!plan.settings.greeting_text) player->quiet();
      secured = true;
    }
  }
  return player->outcome();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > 300'000) return 0;
  const auto plan = read_plan({reinterpret_cast<const char*>(data), size});
  const auto whole = play(plan, SIZE_MAX / 2);
  const auto pieces = play(plan, plan.piece);

  // An answer ahead of its question shows only where both arrive together; up to there all is
  // equal.
  if (whole.error && whole.error->code == Errc::attack) {
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

// Both roles of every row of the table, in every pair of modes, against peers that say anything.
//
// Input: octet 0 chooses row, role and switches, octet 1 the modes, octet 2 the size of the pieces.
// The rest is what the peers say, in flights: 0x01 begins a flight of the server, 0x02 one of the
// client. Every input is played twice, flights whole and in pieces; both must come out the same.

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
  std::string_view request;   ///< our last words before TLS
  std::string_view go_ahead;  ///< how the server's last line begins
  std::vector<std::string_view> commits;
  std::vector<std::string_view> never_passed;  ///< verbs of the client that the server must not see
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
                   .client_certificate = (octet(0) & 4U) != 0},
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
  return std::make_unique<DownstreamPlayer>(std::move(role), std::string(kGreeting));
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
    if (mode == TlsMode::starttls || mode == TlsMode::opportunistic) {
      HOLDS(outcome.greeting.size() <= 512);
      for (const char c : outcome.greeting.substr(0, outcome.greeting.size() - 2)) {
        HOLDS(ascii::is_printable(c));
      }
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

void judge_downstream(const Plan& plan, const Outcome& outcome, std::size_t heard_from_client,
                      std::size_t heard_from_server) {
  // Lists only shrink; what we say ourselves is bounded by the refusals allowed.
  constexpr std::size_t kOwnWords = 20 * 512;
  HOLDS(outcome.to_server.size() <= heard_from_client);
  HOLDS(outcome.to_client.size() <= heard_from_server + kGreeting.size() + kOwnWords);
  const bool committed = outcome.verdict_of(Side::client) == Verdict::relay;
  if (outcome.verdict_of(Side::server) == Verdict::relay) HOLDS(committed);
  if (plan.settings.downstream == TlsMode::none || plan.settings.downstream == TlsMode::implicit) {
    HOLDS(outcome.verdict_of(Side::client) != Verdict::start_tls);
  }
  const auto* oracle = oracle_for(plan.protocol.name);
  if (oracle == nullptr) return;
  if (committed) HOLDS(contains(oracle->commits, verb_of(outcome.unread_of(Side::client))));
  std::string_view rest = outcome.to_server;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    HOLDS(end != std::string_view::npos);  // whole lines only
    const auto verb = verb_of(rest.substr(0, end));
    HOLDS(!contains(oracle->never_passed, verb));
    HOLDS(!contains(oracle->commits, verb));
    rest.remove_prefix(end + 1);
  }
}

/// Plays the flights, each in pieces of `piece` octets, and judges after each.
Outcome play(const Plan& plan, std::size_t piece) {
  const auto player = make_player(plan);
  if (player == nullptr) return {};
  player->begin();
  bool secured = false;
  std::string heard[2];
  for (const auto& [side, bytes] : plan.flights) {
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = bytes.substr(at, piece);
      heard[static_cast<std::size_t>(side)] += part;
      player->feed(side, part);
    }
    const auto& outcome = player->outcome();
    if (plan.upstream_role) {
      const std::string_view server = heard[static_cast<std::size_t>(Side::server)];
      const auto used = server.size() - outcome.unread_of(Side::server).size();
      judge_upstream(plan, outcome, server.substr(0, used), secured);
    } else {
      judge_downstream(plan, outcome, heard[static_cast<std::size_t>(Side::client)].size(),
                       heard[static_cast<std::size_t>(Side::server)].size());
    }
    if (outcome.error) break;
    if (outcome.verdict_of(side) == Verdict::start_tls) {
      if (!outcome.unread_of(side).empty()) break;  // the leg refuses it
      player->secured();
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

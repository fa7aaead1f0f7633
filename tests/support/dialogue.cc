#include "tests/support/dialogue.h"

#include <exception>
#include <stdexcept>

#include "lib/base/ascii.h"
#include "tests/support/catch.h"

namespace starttls::test {
namespace {

using proto::Verdict;

/// Longer events are cut at some places only. The first and the last place are among them.
constexpr std::size_t kCutEverywhere = 2048;
constexpr std::size_t kSampledCuts = 128;

std::string describe(const Outcome& outcome) {
  std::string text = "to_server=\"" + ascii::escape(outcome.to_server, 2000) + "\" to_client=\"" +
                     ascii::escape(outcome.to_client, 2000) + "\"";
  for (const auto verdict : outcome.verdict)
    text += " " + std::to_string(static_cast<int>(verdict));
  for (const auto& unread : outcome.unread) text += " unread=\"" + ascii::escape(unread) + "\"";
  if (outcome.error) text += " error=" + std::string(name(outcome.error->code));
  return text;
}

/// True if both outcomes are the same. After an error the unread rest depends on the cut. Nothing
/// reads it any more, so it is not compared.
bool same(const Outcome& a, const Outcome& b) {
  const bool same_words = a.to_server == b.to_server && a.to_client == b.to_client &&
                          a.greeting == b.greeting && a.fallback_reason == b.fallback_reason &&
                          a.requests.size() == b.requests.size() && a.pauses == b.pauses &&
                          a.reports.size() == b.reports.size();
  if (a.error && b.error) return same_words && a.error->code == b.error->code;
  return same_words && !a.error && !b.error && a.verdict == b.verdict && a.unread == b.unread;
}

/// True if both are the same, or `whole` ended with an attack. An answer before its question is
/// seen only if both arrive together. So input that is cut need not give the same error. The words
/// said before it must be the same.
bool same_but_for_attacks(const Outcome& whole, const Outcome& pieces) {
  if (whole.error && whole.error->code == Errc::attack) {
    return pieces.to_server.starts_with(whole.to_server) &&
           pieces.to_client.starts_with(whole.to_client);
  }
  return same(whole, pieces);
}

void play(Player& player, const Event& event) {
  switch (event.kind) {
    case Event::Kind::begin:
      player.begin();
      return;
    case Event::Kind::secured:
      player.secured();
      return;
    case Event::Kind::quiet:
      player.quiet();
      return;
    case Event::Kind::lost:
      player.lost();
      return;
    case Event::Kind::bytes:
      player.feed(event.side, event.bytes);
      return;
  }
}

std::unique_ptr<Player> play_up_to(const PlayerFactory& factory, const std::vector<Event>& script,
                                   std::size_t end) {
  auto player = factory();
  for (std::size_t i = 0; i < end; ++i) play(*player, script[i]);
  return player;
}

std::string mismatch(std::string_view how, std::size_t event, std::size_t at,
                     const Outcome& expected, const Outcome& got) {
  return std::string(how) + ", event " + std::to_string(event) + " at byte " + std::to_string(at) +
         "\n  expected " + describe(expected) + "\n  got      " + describe(got);
}

/// Plays the rest of the script after event `i` has been said in pieces. Returns "", or a
/// description of the difference.
std::string finish(std::string_view how, Player& player, const std::vector<Event>& script,
                   std::size_t i, std::size_t at, const Outcome& whole) {
  for (std::size_t j = i + 1; j < script.size(); ++j) play(player, script[j]);
  if (same_but_for_attacks(whole, player.outcome())) return {};
  return mismatch(how, i, at, whole, player.outcome());
}

}  // namespace

std::string replay(const PlayerFactory& factory, const std::vector<Event>& script) {
  const auto whole = play_up_to(factory, script, script.size());
  for (std::size_t i = 0; i < script.size(); ++i) {
    const auto& [kind, side, bytes] = script[i];
    if (kind != Event::Kind::bytes) continue;
    const auto before = play_up_to(factory, script, i);
    // Bytes after an error are not read. Bytes after a verdict are not for the role.
    if (before->outcome().error) break;
    if (before->outcome().verdict_of(side) != Verdict::need_more) continue;
    const auto after = play_up_to(factory, script, i + 1);
    const auto& unread = after->outcome().unread_of(side);
    const auto used = before->outcome().unread_of(side).size() + bytes.size() - unread.size();

    const auto step = bytes.size() <= kCutEverywhere ? 1 : bytes.size() / kSampledCuts;
    for (std::size_t at = 1; at < bytes.size(); at += step) {
      const auto head = std::string_view(bytes).substr(0, at);
      const auto tail = std::string_view(bytes).substr(at);

      const auto split = play_up_to(factory, script, i);
      split->feed(side, head);
      const auto cut = split->outcome();
      split->feed(side, tail);
      if (auto text = finish("split", *split, script, i, at, whole->outcome()); !text.empty()) {
        return text;
      }

      // Cut: the role heard the head alone. It may bring an error that the whole brings. A verdict
      // must not come before the last byte that the whole used.
      const auto& error = after->outcome().error;
      if (cut.error && !error) return mismatch("cut", i, at, after->outcome(), cut);
      const bool too_early = before->outcome().unread_of(side).size() + at < used;
      const bool no_verdict = after->outcome().verdict == before->outcome().verdict;
      const bool attack = error && error->code == Errc::attack;
      if (!attack && (too_early || no_verdict) && cut.verdict != before->outcome().verdict) {
        return mismatch("cut", i, at, after->outcome(), cut);
      }
    }

    const auto grains = play_up_to(factory, script, i);
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      grains->feed(side, std::string_view(bytes).substr(at, step));
    }
    if (auto text = finish("grains", *grains, script, i, step, whole->outcome()); !text.empty()) {
      return text;
    }
  }
  return {};
}

Dialogue::Dialogue(PlayerFactory factory) : factory_(std::move(factory)), player_(factory_()) {
  play({.kind = Event::Kind::begin});
}

Dialogue::~Dialogue() {
  if (std::uncaught_exceptions() == 0) CHECK(replay(factory_, script_) == "");
}

Error Dialogue::error() const {
  REQUIRE(outcome().error.has_value());
  return *outcome().error;
}

void Dialogue::play(Event event) {
  test::play(*player_, event);
  script_.push_back(std::move(event));
}

std::string Dialogue::new_to_server() {
  auto bytes = outcome().to_server.substr(checked_to_server_);
  checked_to_server_ = outcome().to_server.size();
  return bytes;
}

std::string Dialogue::new_to_client() {
  auto bytes = outcome().to_client.substr(checked_to_client_);
  checked_to_client_ = outcome().to_client.size();
  return bytes;
}

namespace {

const proto::Protocol& row(std::string_view protocol) {
  const auto* found = proto::find_protocol(protocol);
  if (found == nullptr) throw std::invalid_argument("no such protocol");
  return *found;
}

}  // namespace

UpstreamDialogue::UpstreamDialogue(std::string_view protocol, proto::RoleSettings settings)
    : Dialogue([&table = row(protocol), settings = std::move(settings)] {
        return std::make_unique<UpstreamPlayer>(table.upstream(settings));
      }) {}

UpstreamDialogue::UpstreamDialogue(MakeRole make_role)
    : Dialogue([make_role = std::move(make_role)] {
        return std::make_unique<UpstreamPlayer>(make_role());
      }) {}

UpstreamDialogue& UpstreamDialogue::peer(std::string_view bytes) {
  play({.kind = Event::Kind::bytes, .side = Peer::server, .bytes = std::string(bytes)});
  return *this;
}

UpstreamDialogue& UpstreamDialogue::secured() {
  play({.kind = Event::Kind::secured});
  return *this;
}

UpstreamDialogue& UpstreamDialogue::quiet() {
  play({.kind = Event::Kind::quiet});
  return *this;
}

UpstreamDialogue& UpstreamDialogue::sends(std::string_view bytes) {
  CHECK(new_to_server() == bytes);
  return *this;
}

DownstreamDialogue::DownstreamDialogue(std::string_view protocol, proto::RoleSettings settings,
                                       std::string_view greeting, Accounts accounts)
    : Dialogue([&table = row(protocol), settings = std::move(settings),
                greeting = std::string(greeting), accounts = std::move(accounts)] {
        return std::make_unique<DownstreamPlayer>(table.downstream(settings), greeting, accounts);
      }) {
  if (outcome().to_client == greeting) CHECK(take_to_client() == greeting);
}

DownstreamDialogue& DownstreamDialogue::client(std::string_view bytes) {
  play({.kind = Event::Kind::bytes, .side = Peer::client, .bytes = std::string(bytes)});
  return *this;
}

DownstreamDialogue& DownstreamDialogue::server(std::string_view bytes) {
  play({.kind = Event::Kind::bytes, .side = Peer::server, .bytes = std::string(bytes)});
  return *this;
}

DownstreamDialogue& DownstreamDialogue::secured() {
  play({.kind = Event::Kind::secured});
  return *this;
}

DownstreamDialogue& DownstreamDialogue::lost() {
  play({.kind = Event::Kind::lost});
  return *this;
}

DownstreamDialogue& DownstreamDialogue::to_server(std::string_view bytes) {
  CHECK(new_to_server() == bytes);
  return *this;
}

DownstreamDialogue& DownstreamDialogue::to_client(std::string_view bytes) {
  CHECK(new_to_client() == bytes);
  return *this;
}

std::string DownstreamDialogue::take_to_client() {
  return new_to_client();
}

}  // namespace starttls::test

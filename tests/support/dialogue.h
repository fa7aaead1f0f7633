#pragma once

// Scripted dialogues with one role of a protocol, reached through its row of the table:
//
//   UpstreamDialogue d{"smtp", {.hostname = "proxy.example"}};
//   d.peer("220 mx\r\n").sends("EHLO proxy.example\r\n");
//   CHECK(d.verdict() == Verdict::need_more);
//
// When a dialogue ends, everything that was said to the role is said again: cut in two at every
// octet, octet by octet (same output, same verdict, same error), and stopped after every octet
// (no verdict and no error before the octet that brings it).

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/proto/protocols.h"
#include "tests/support/player.h"

namespace starttls::test {

/// What the role was told, for repetition.
struct Event {
  enum class Kind : std::uint8_t { begin, bytes, secured, quiet };
  Kind kind;
  Peer side = Peer::server;
  std::string bytes = {};
};

using PlayerFactory = std::function<std::unique_ptr<Player>()>;

/// Says `script` again in pieces. Empty, or what first came out differently.
[[nodiscard]] std::string replay(const PlayerFactory& factory, const std::vector<Event>& script);

/// What both kinds of dialogue share. Catch2's macros are used, so it lives inside a test case.
class Dialogue {
 public:
  Dialogue(const Dialogue&) = delete;
  Dialogue& operator=(const Dialogue&) = delete;

  /// The error that ended the role; its absence fails the test.
  [[nodiscard]] Error error() const;
  [[nodiscard]] bool failed() const { return player_->outcome().error.has_value(); }
  [[nodiscard]] std::string_view state() const { return player_->state(); }

 protected:
  explicit Dialogue(PlayerFactory factory);
  ~Dialogue();

  void play(Event event);
  /// What came since last asked.
  [[nodiscard]] std::string new_to_server();
  [[nodiscard]] std::string new_to_client();
  [[nodiscard]] const Outcome& outcome() const { return player_->outcome(); }

 private:
  PlayerFactory factory_;
  std::unique_ptr<Player> player_;
  std::vector<Event> script_;
  std::size_t checked_to_server_ = 0;
  std::size_t checked_to_client_ = 0;
};

/// A dialogue with the server's role played by the test.
class UpstreamDialogue : public Dialogue {
 public:
  using MakeRole = std::function<std::unique_ptr<proto::UpstreamRole>()>;

  UpstreamDialogue(std::string_view protocol, proto::RoleSettings settings);
  /// With a role that no row of the table makes. It is made anew for each repetition.
  explicit UpstreamDialogue(MakeRole make_role);

  /// The server says `bytes`, in one segment.
  UpstreamDialogue& peer(std::string_view bytes);
  UpstreamDialogue& secured();
  /// The server says nothing for 2 s.
  UpstreamDialogue& quiet();
  /// The role has said exactly this since it was last asked.
  UpstreamDialogue& sends(std::string_view bytes);

  [[nodiscard]] proto::Verdict verdict() const { return outcome().verdict_of(Peer::server); }
  [[nodiscard]] const std::string& unread() const { return outcome().unread_of(Peer::server); }
  [[nodiscard]] const std::string& greeting() const { return outcome().greeting; }
  [[nodiscard]] const std::string& fallback_reason() const { return outcome().fallback_reason; }
};

/// A dialogue with client and server played by the test. It starts with the greeting, which is not
/// checked again by `to_client` unless the role has changed it.
class DownstreamDialogue : public Dialogue {
 public:
  static constexpr std::string_view kGreeting = "220 mx.example ESMTP\r\n";

  DownstreamDialogue(std::string_view protocol, proto::RoleSettings settings,
                     std::string_view greeting = kGreeting);

  DownstreamDialogue& client(std::string_view bytes);
  DownstreamDialogue& server(std::string_view bytes);
  /// The client's handshake is done. What of it was unread is gone: the leg has refused it.
  DownstreamDialogue& secured();
  /// Exactly this went to the server (the client) since last asked.
  DownstreamDialogue& to_server(std::string_view bytes);
  DownstreamDialogue& to_client(std::string_view bytes);
  /// What went to the client since last asked.
  [[nodiscard]] std::string take_to_client();

  [[nodiscard]] proto::Verdict client_verdict() const { return outcome().verdict_of(Peer::client); }
  [[nodiscard]] proto::Verdict server_verdict() const { return outcome().verdict_of(Peer::server); }
  [[nodiscard]] const std::string& unread_client() const {
    return outcome().unread_of(Peer::client);
  }
  [[nodiscard]] const std::string& unread_server() const {
    return outcome().unread_of(Peer::server);
  }
};

}  // namespace starttls::test

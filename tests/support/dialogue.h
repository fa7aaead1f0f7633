#pragma once

// Scripted dialogues with one role of a protocol. The role is made from its row of the table:
//
//   UpstreamDialogue d{"smtp", {.hostname = "proxy.example"}};
//   d.peer("220 mx\r\n").sends("EHLO proxy.example\r\n");
//   CHECK(d.verdict() == Verdict::need_more);
//
// When a dialogue ends, everything that the test said to the role is said again in other ways. It
// is cut in two at every byte, and said byte by byte (same output, same verdict, same error). It is
// also stopped after every byte (no verdict and no error before the byte that brings it).

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/proto/protocols.h"
#include "tests/support/player.h"

namespace starttls::test {

/// One thing that happened to the role. Kept so that the dialogue can be repeated.
struct Event {
  enum class Kind : std::uint8_t { begin, bytes, secured, quiet, lost };
  Kind kind;
  Peer side = Peer::server;
  std::string bytes = {};
};

using PlayerFactory = std::function<std::unique_ptr<Player>()>;

/// Says `script` again in pieces. Returns "", or a description of the first difference.
[[nodiscard]] std::string replay(const PlayerFactory& factory, const std::vector<Event>& script);

/// The common part of both kinds of dialogue. It uses Catch2's macros, so it must live inside a
/// test case.
class Dialogue {
 public:
  Dialogue(const Dialogue&) = delete;
  Dialogue& operator=(const Dialogue&) = delete;

  /// Returns the error that ended the role. The test fails if there is none.
  [[nodiscard]] Error error() const;
  [[nodiscard]] bool failed() const { return player_->outcome().error.has_value(); }
  [[nodiscard]] std::string_view state() const { return player_->state(); }

 protected:
  explicit Dialogue(PlayerFactory factory);
  ~Dialogue();

  void play(Event event);
  /// Returns the bytes that were added since the last call.
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
  /// Takes a role that no row of the table makes. The role is made anew for each repetition.
  explicit UpstreamDialogue(MakeRole make_role);

  /// Feeds `bytes` from the server, in one segment.
  UpstreamDialogue& peer(std::string_view bytes);
  UpstreamDialogue& secured();
  /// Lets 2 s pass in which the server says nothing.
  UpstreamDialogue& quiet();
  /// Checks that the role has said exactly this since the last check.
  UpstreamDialogue& sends(std::string_view bytes);

  [[nodiscard]] proto::Verdict verdict() const { return outcome().verdict_of(Peer::server); }
  [[nodiscard]] const std::string& unread() const { return outcome().unread_of(Peer::server); }
  [[nodiscard]] const std::string& greeting() const { return outcome().greeting; }
  [[nodiscard]] const std::string& fallback_reason() const { return outcome().fallback_reason; }
};

/// A dialogue with client and server played by the test. It starts with the greeting. `to_client`
/// does not check the greeting again unless the role has changed it.
class DownstreamDialogue : public Dialogue {
 public:
  static constexpr std::string_view kGreeting = "220 mx.example ESMTP\r\n";

  DownstreamDialogue(std::string_view protocol, proto::RoleSettings settings,
                     std::string_view greeting = kGreeting, Accounts accounts = {});

  DownstreamDialogue& client(std::string_view bytes);
  DownstreamDialogue& server(std::string_view bytes);
  /// Reports the end of the client's handshake. Bytes that were unread before it are gone, since
  /// the leg has refused them.
  DownstreamDialogue& secured();
  /// Lets the server hang up.
  DownstreamDialogue& lost();
  /// Checks that exactly this went to the server (the client) since the last check.
  DownstreamDialogue& to_server(std::string_view bytes);
  DownstreamDialogue& to_client(std::string_view bytes);
  /// Returns the bytes that went to the client since the last call.
  [[nodiscard]] std::string take_to_client();

  /// Returns all bytes that went to the server.
  [[nodiscard]] const std::string& all_to_server() const { return outcome().to_server; }

  // The client's login: see Outcome.

  [[nodiscard]] const std::vector<proto::LoginRequest>& requests() const {
    return outcome().requests;
  }
  [[nodiscard]] const std::vector<proto::LoginReport>& reports() const { return outcome().reports; }
  [[nodiscard]] unsigned pauses() const { return outcome().pauses; }
  [[nodiscard]] unsigned reconnections() const { return outcome().reconnections; }

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

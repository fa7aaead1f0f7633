// The groups of the key exchange: which one is used, which ones a ClientHello offers, and which of
// them have a key share.

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/tls/library.h"
#include "tests/support/catch.h"
#include "tests/support/engines.h"

namespace starttls {
namespace {

using test::client_context;
using test::client_end;
using test::converse;
using test::EngineEnd;
using test::LibraryEnd;
using test::server_context;
using test::server_end;
using test::test_pki;

using Groups = std::vector<std::uint16_t>;

constexpr std::uint16_t kMlKem = 4588;
constexpr std::uint16_t kX25519Group = 29;
constexpr std::size_t kLargeKeyShare = 1216;  // of X25519MLKEM768

bool library_has_ml_kem() {
  return tls::post_quantum_support() != PostQuantumSupport::none;
}

/// True if a ClientHello can offer ML-KEM without its key share.
bool can_withhold() {
  return tls::post_quantum_support() == PostQuantumSupport::full;
}

/// The facts of a ClientHello that these tests are about.
struct Hello {
  std::size_t size = 0;  ///< of its records
  Groups offered;
  Groups key_shares;
};

bool has(const Groups& groups, std::uint16_t group) {
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

/// Reads the ClientHello (RFC 8446 §4.1.2) at the begin of a client's bytes, which is one record.
Hello parse(const std::string& wire) {
  Hello out{.size = wire.size(), .offered = {}, .key_shares = {}};
  CBS in;
  CBS_init(&in, reinterpret_cast<const std::uint8_t*>(wire.data()), wire.size());
  CBS record;
  CBS body;
  CBS skipped;
  CBS extensions;
  std::uint8_t type = 0;
  REQUIRE(CBS_skip(&in, 3) == 1);
  REQUIRE(CBS_get_u16_length_prefixed(&in, &record) == 1);
  REQUIRE(CBS_get_u8(&record, &type) == 1);
  REQUIRE(type == 1);
  REQUIRE(CBS_get_u24_length_prefixed(&record, &body) == 1);
  REQUIRE(CBS_skip(&body, 2 + 32) == 1);
  REQUIRE(CBS_get_u8_length_prefixed(&body, &skipped) == 1);   // session id
  REQUIRE(CBS_get_u16_length_prefixed(&body, &skipped) == 1);  // cipher suites
  REQUIRE(CBS_get_u8_length_prefixed(&body, &skipped) == 1);   // compression
  REQUIRE(CBS_get_u16_length_prefixed(&body, &extensions) == 1);
  while (CBS_len(&extensions) > 0) {
    std::uint16_t id = 0;
    CBS content;
    CBS list;
    REQUIRE(CBS_get_u16(&extensions, &id) == 1);
    REQUIRE(CBS_get_u16_length_prefixed(&extensions, &content) == 1);
    const bool is_groups = id == 10;
    const bool is_key_share = id == 51;
    if (!is_groups && !is_key_share) continue;
    REQUIRE(CBS_get_u16_length_prefixed(&content, &list) == 1);
    while (CBS_len(&list) > 0) {
      std::uint16_t group = 0;
      REQUIRE(CBS_get_u16(&list, &group) == 1);
      if (is_key_share) REQUIRE(CBS_get_u16_length_prefixed(&list, &skipped) == 1);
      (is_groups ? out.offered : out.key_shares).push_back(group);
    }
  }
  return out;
}

std::string step(EngineEnd& end, std::string in) {
  std::string out;
  static_cast<void>(end.handshake(in, out));
  return out;
}

Hello hello_of(EngineEnd& end) {
  return parse(step(end, ""));
}

/// Returns the group of a connection with a bare server that has only these groups.
TlsGroup group_with(const std::string& groups, std::uint16_t version) {
  const auto client = client_end(client_context());
  const auto server =
      LibraryEnd::server(test_pki().server, {.min_version = version, .max_version = version});
  REQUIRE(SSL_set1_curves_list(server->ssl(), groups.c_str()) == 1);
  converse(*client, *server);
  return client->engine().facts().group;
}

TEST_CASE("groups: the facts have the group of the key exchange", "[tls][groups]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  CHECK(group_with("X25519", version) == TlsGroup::x25519);
  CHECK(group_with("P-256", version) == TlsGroup::p256);
  CHECK(group_with("P-384", version) == TlsGroup::p384);  // with TLS 1.3: HelloRetryRequest
  CHECK(group_with("P-521", version) == TlsGroup::p521);
}

TEST_CASE("groups: both ends use the post-quantum group if the library has it",
          "[tls][groups][post-quantum]") {
  const auto setting = GENERATE(PostQuantum::automatic, PostQuantum::off);
  const auto context = client_context({.post_quantum = setting});
  const auto servers = server_context({test_pki().server});
  const bool wanted = library_has_ml_kem() && setting == PostQuantum::automatic;
  for (const bool resumed : {false, true}) {
    const auto client = client_end(context);
    const auto server = server_end(servers);
    converse(*client, *server);
    const auto group = wanted ? TlsGroup::x25519_mlkem768 : TlsGroup::x25519;
    CHECK(client->engine().facts().resumed == resumed);
    CHECK(client->engine().facts().group == group);
    CHECK(server->engine().facts().group == group);
    CHECK_FALSE(client->engine().facts().key_share_withheld);
  }
}

TEST_CASE("groups: a session of TLS 1.2 keeps the group of its first handshake", "[tls][groups]") {
  const auto context = client_context();
  for (const bool resumed : {false, true}) {
    const auto client = client_end(context);
    const auto server = LibraryEnd::server(test_pki().server, {.max_version = TLS1_2_VERSION});
    converse(*client, *server);
    CHECK(client->engine().facts().resumed == resumed);
    CHECK(client->engine().facts().group == TlsGroup::x25519);
  }
}

TEST_CASE("groups: `off` leaves the post-quantum group out, and nothing else",
          "[tls][groups][post-quantum]") {
  auto with = hello_of(*client_end(client_context())).offered;
  const auto without = hello_of(*client_end(client_context({.post_quantum = PostQuantum::off})));
  CHECK(has(with, kMlKem) == library_has_ml_kem());
  std::erase(with, kMlKem);
  CHECK(with == Groups{29, 23, 24, 25});
  CHECK(without.offered == with);
  CHECK(without.key_shares == Groups{kX25519Group});
  CHECK(without.size < kLargeKeyShare);
}

TEST_CASE("groups: a server that was silent gets the same groups without the large key share",
          "[tls][groups][post-quantum][security]") {
  const auto context = client_context();
  const auto first = client_end(context);
  const Hello large = hello_of(*first);
  CHECK(has(large.key_shares, kMlKem) == library_has_ml_kem());
  CHECK((large.size > kLargeKeyShare) == library_has_ml_kem());
  CHECK(first->engine().note_unanswered_hello() == can_withhold());

  const auto second = client_end(context);
  const Hello next = hello_of(*second);
  CHECK(next.offered == large.offered);  // never weaker
  CHECK(has(next.key_shares, kX25519Group));
  CHECK(has(next.key_shares, kMlKem) == (library_has_ml_kem() && !can_withhold()));
  if (can_withhold()) CHECK(next.size < kLargeKeyShare);
  // If that one gets no answer either, its size was not the reason.
  CHECK_FALSE(second->engine().note_unanswered_hello());

  // Other servers are not concerned, nor are other names and other policies.
  for (const auto& other :
       {client_end(context, "mail.test", "192.0.2.2:25"), client_end(context, "localhost"),
        client_end(client_context({.verification = Verification::none}))}) {
    CHECK(has(hello_of(*other).key_shares, kMlKem) == library_has_ml_kem());
  }
}

TEST_CASE("groups: a server that was silent may still ask for the post-quantum group",
          "[tls][groups][post-quantum]") {
  const auto context = client_context();
  const auto silent = client_end(context);
  static_cast<void>(step(*silent, ""));
  static_cast<void>(silent->engine().note_unanswered_hello());
  const auto client = client_end(context);
  const auto server = server_end(server_context({test_pki().server}));
  converse(*client, *server);  // with HelloRetryRequest
  const auto facts = client->engine().facts();
  CHECK(facts.group == (library_has_ml_kem() ? TlsGroup::x25519_mlkem768 : TlsGroup::x25519));
  CHECK(facts.key_share_withheld == can_withhold());
}

TEST_CASE("groups: only silence after a large ClientHello is remembered",
          "[tls][groups][post-quantum]") {
  const auto context = client_context();
  const auto unused = client_end(context);  // it has not sent its ClientHello
  CHECK_FALSE(unused->engine().note_unanswered_hello());
  const auto small = client_end(client_context({.post_quantum = PostQuantum::off}));
  static_cast<void>(step(*small, ""));
  CHECK_FALSE(small->engine().note_unanswered_hello());
  const auto nameless = client_end(context, "mail.test", "");
  static_cast<void>(step(*nameless, ""));
  CHECK_FALSE(nameless->engine().note_unanswered_hello());
  // One byte is an answer: it shows that the ClientHello has arrived.
  const auto answered = client_end(context);
  static_cast<void>(step(*answered, ""));
  static_cast<void>(step(*answered, "\x16"));
  CHECK_FALSE(answered->engine().note_unanswered_hello());
  // So is an alert.
  const auto refused = client_end(context);
  static_cast<void>(step(*refused, ""));
  static_cast<void>(step(*refused, std::string("\x15\x03\x03\x00\x02\x02\x28", 7)));
  CHECK_FALSE(refused->engine().note_unanswered_hello());
  CHECK(has(hello_of(*client_end(context)).key_shares, kMlKem) == library_has_ml_kem());
}

}  // namespace
}  // namespace starttls

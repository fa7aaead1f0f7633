// Sessions that are resumed, and above all those that must not be. The ids in the tags are rows of
// the project's list of cases.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/base64.h"
#include "tests/support/catch.h"
#include "tests/support/engines.h"

namespace starttls {
namespace {

using pki::Identity;
using test::client_context;
using test::client_end;
using test::converse;
using test::EngineEnd;
using test::kServer;
using test::lasting_file;
using test::LibraryEnd;
using test::LibraryOptions;
using test::server_context;
using test::server_end;
using test::server_options;
using test::shake_hands;
using test::test_pki;
using tls::ClientOptions;
using tls::Context;
using tls::ServerOptions;
using ContextPtr = std::shared_ptr<const Context>;

bool resumed(EngineEnd& end) {
  return end.engine().facts().resumed;
}

LibraryOptions only(std::uint16_t version) {
  return {.min_version = version, .max_version = version};
}

/// Connects our client to a bare server. Returns true if the session was resumed.
bool client_resumes(const ContextPtr& context, std::uint16_t version,
                    const std::string& name = "mail.test", std::string_view where = kServer,
                    const Identity& identity = test_pki().server) {
  const auto client = client_end(context, name, where);
  const auto server = LibraryEnd::server(identity, only(version));
  converse(*client, *server);
  CHECK(resumed(*client) == server->resumed());
  return resumed(*client);
}

/// Connects a bare client to our server. Another client may go on with the returned client's
/// session.
std::unique_ptr<LibraryEnd> call(const ContextPtr& context, LibraryOptions options,
                                 const LibraryEnd* before = nullptr) {
  options.session = before != nullptr ? before->session() : nullptr;
  auto client = LibraryEnd::client(options);
  const auto server = server_end(context);
  converse(*client, *server);
  CHECK(resumed(*server) == client->resumed());
  CHECK(client->session() != nullptr);
  return client;
}

/// True if a session made with `first` is resumed with `second`.
bool server_resumes(const ContextPtr& first, const ContextPtr& second,
                    const LibraryOptions& options) {
  const auto before = call(first, options);
  CHECK_FALSE(before->resumed());
  return call(second, options, before.get())->resumed();
}

TEST_CASE("resumption: the proxy resumes with servers, with TLS 1.2 and 1.3", "[tls][L7]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = client_context();
  CHECK_FALSE(client_resumes(context, version));
  for (int i = 0; i < 5; ++i) CHECK(client_resumes(context, version));
}

TEST_CASE("resumption: the proxy accepts its own tickets, with TLS 1.2 and 1.3", "[tls][L5]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = server_context({test_pki().server});
  auto client = call(context, only(version));
  CHECK_FALSE(client->resumed());
  for (int i = 0; i < 3; ++i) {
    client = call(context, only(version), client.get());
    CHECK(client->resumed());
  }
}

TEST_CASE("resumption: two proxies resume several sessions at once", "[tls][L5][L7]") {
  const auto clients = client_context();
  const auto servers = server_context({test_pki().server});
  const auto meet = [&] {
    auto client = client_end(clients);
    const auto server = server_end(servers);
    converse(*client, *server);
    CHECK(resumed(*client) == resumed(*server));
    return client;
  };
  CHECK_FALSE(resumed(*meet()));
  std::vector<std::unique_ptr<EngineEnd>> open;
  for (int i = 0; i < 4; ++i) {
    open.push_back(meet());
    CHECK(resumed(*open.back()));
    CHECK(open.back()->engine().facts().version == "TLSv1.3");
  }
}

TEST_CASE("resumption: the proxy's tickets come with its handshake, before any data", "[tls][L5]") {
  const auto context = server_context({test_pki().server});
  const auto client = LibraryEnd::client({});
  const auto server = server_end(context);
  REQUIRE(shake_hands(*client, *server).done);
  REQUIRE(client->session() != nullptr);
  const auto again = LibraryEnd::client({.session = client->session()});
  const auto other = server_end(context);
  REQUIRE(shake_hands(*again, *other).done);
  CHECK(again->resumed());
}

TEST_CASE("resumption: a session is valid for one name and one address", "[tls][security][L7]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = client_context();
  CHECK_FALSE(client_resumes(context, version));
  CHECK_FALSE(client_resumes(context, version, "localhost"));
  CHECK_FALSE(client_resumes(context, version, "mail.test", "192.0.2.1:587"));
  CHECK_FALSE(client_resumes(context, version, "mail.test", "192.0.2.2:25"));
  CHECK_FALSE(client_resumes(context, version, "mail.test", ""));
  CHECK_FALSE(client_resumes(context, version, "mail.test", ""));
  CHECK(client_resumes(context, version));
  CHECK(client_resumes(context, version, "mail.test."));  // the same name
}

TEST_CASE("resumption: a chain that is remembered for one name is not accepted for another",
          "[tls][security][X3][L7]") {
  const auto context = client_context();
  CHECK_FALSE(client_resumes(context, TLS1_3_VERSION));
  for (const auto* where : {kServer, ""}) {
    const auto client = client_end(context, "other.test", where);
    const auto server = LibraryEnd::server(test_pki().server, {});
    const auto outcome = shake_hands(*client, *server);
    REQUIRE(outcome.client_error);
    CHECK(outcome.client_error->reason.starts_with("name mismatch: wanted other.test, got "));
  }
}

TEST_CASE("resumption: a session is valid for one policy towards servers",
          "[tls][security][L7][L8]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const std::string root = lasting_file(test_pki().root.certificate_pem());
  const std::string both =
      lasting_file(test_pki().root.certificate_pem() + test_pki().ca.certificate_pem());
  const test::PkiFolder folder;
  const auto ours =
      folder.write("ours", test_pki().ca.issue({.common_name = "us", .usage = pki::Usage::client}));
  Pin pin;
  const std::vector<ClientOptions> policies = {
      {.ca_file = root},
      {.ca_file = both},
      {.verification = Verification::none},
      {.ca_file = root, .certificate = ours},
      {.ca_file = root, .min_version = TlsVersion::tls1_3},
      {.verification = Verification::none, .pins = {pin}},
      {.ca_file = root, .pins = {pin}},
  };
  for (std::size_t i = 0; i < policies.size(); ++i) {
    for (std::size_t j = 0; j < policies.size(); ++j) {
      CAPTURE(i, j);
      const auto first = client_context(policies[i]);
      const auto second = client_context(policies[j]);
      CHECK(first->same_policy(*second) == (i == j));
      CHECK(second->same_policy(*first) == (i == j));
      // With pins that no server has, or a version that is not spoken, there is no session.
      const auto speaks = [version](const ClientOptions& options) {
        return options.pins.empty() &&
               (options.min_version == TlsVersion::tls1_2 || version == TLS1_3_VERSION);
      };
      if (!speaks(policies[i]) || !speaks(policies[j])) continue;
      CHECK_FALSE(client_resumes(first, version));
      CHECK_FALSE(client_resumes(second, version));
      CHECK(client_resumes(first, version));
    }
  }
  CHECK_FALSE(client_context()->same_policy(*server_context({test_pki().server})));
}

TEST_CASE("resumption: the policy is the content of the files, not their names", "[tls][L8]") {
  const auto& pki = test_pki();
  const auto named = [](const std::string& pem) {
    return client_context({.ca_file = lasting_file(pem)});
  };
  const auto before = named(pki.root.certificate_pem());
  CHECK(before->same_policy(*named("# a comment\n" + pki.root.certificate_pem())));
  CHECK_FALSE(before->same_policy(*named(pki.ca.certificate_pem())));
  Pin one;
  Pin two;
  two.bytes[0] = 1;
  CHECK_FALSE(client_context({.pins = {one}})->same_policy(*client_context({.pins = {two}})));
  CHECK_FALSE(client_context({.pins = {one}})->same_policy(*client_context({.pins = {one, two}})));
}

TEST_CASE("resumption: no session of a failed handshake is kept", "[tls][security][L7]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = client_context();
  const auto stranger = Identity::self_signed(server_options());
  for (int i = 0; i < 2; ++i) {
    const auto client = client_end(context);
    const auto server = LibraryEnd::server(stranger, only(version));
    const auto outcome = shake_hands(*client, *server);
    REQUIRE(outcome.client_error);
    CHECK(outcome.client_error->code == Errc::certificate);
    CHECK_FALSE(server->resumed());
  }
  // The same address with the right certificate. No session of the other server is left.
  CHECK_FALSE(client_resumes(context, version));
}

TEST_CASE("resumption: another server that knows the ticket is not trusted for it",
          "[tls][security][L7]") {
  // TLS binds a session to its keys. So only the server that was verified can resume it. A server
  // that cannot resume shows its certificate.
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = client_context();
  CHECK_FALSE(client_resumes(context, version));
  const auto stranger = server_context({Identity::self_signed(server_options())});
  const auto client = client_end(context);
  const auto server = server_end(stranger);
  const auto outcome = shake_hands(*client, *server);
  REQUIRE(outcome.client_error);
  CHECK(outcome.client_error->reason == "self-signed certificate");
}

TEST_CASE("resumption: a session is valid for one policy towards clients",
          "[tls][security][L6][L8]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto& pki = test_pki();
  const std::string ca = lasting_file(pki.ca.certificate_pem());
  const std::string other_ca = lasting_file(pki.root.certificate_pem());
  const std::vector<ServerOptions> policies = {
      {},
      {.client_ca = ca},
      {.client_ca = other_ca},
      {.min_version = TlsVersion::tls1_1},
      {.alpn = {"smtp", "esmtp"}},
      {.alpn = {"imap"}},
  };
  LibraryOptions options = only(version);
  options.certificate = pki.ca.issue({.common_name = "device", .usage = pki::Usage::client});
  for (std::size_t i = 0; i < policies.size(); ++i) {
    for (std::size_t j = 0; j < policies.size(); ++j) {
      CAPTURE(i, j);
      CHECK(server_resumes(server_context({pki.server}, policies[i]),
                           server_context({pki.server}, policies[j]), options) == (i == j));
    }
  }
}

TEST_CASE("resumption: a session made without a certificate does not get past client_ca",
          "[tls][security][L6]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto open = server_context({test_pki().server});
  const auto closed = server_context({test_pki().server},
                                     {.client_ca = lasting_file(test_pki().ca.certificate_pem())});
  const auto before = call(open, only(version));
  LibraryOptions options = only(version);
  options.session = before->session();
  const auto client = LibraryEnd::client(options);
  const auto server = server_end(closed);
  converse(*client, *server);
  CHECK_FALSE(client->resumed());
  REQUIRE(server->engine().refusal() != nullptr);
}

TEST_CASE("resumption: a session is not carried to another name of the same service",
          "[tls][security][L6]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto& ca = test_pki().ca;
  const auto context =
      server_context({ca.issue({.common_name = "a", .dns_names = {"a.test"}}),
                      ca.issue({.common_name = "b", .dns_names = {"b.test", "c.test"}})});
  LibraryOptions options = only(version);
  options.server_name = "b.test";
  const auto before = call(context, options);
  CHECK(before->peer_common_name() == "b");
  options.server_name = "a.test";
  const auto elsewhere = call(context, options, before.get());
  CHECK_FALSE(elsewhere->resumed());
  CHECK(elsewhere->peer_common_name() == "a");
  options.server_name = "";
  CHECK_FALSE(call(context, options, before.get())->resumed());
  options.server_name = "b.test";
  CHECK(call(context, options, before.get())->resumed());
}

TEST_CASE("resumption: a session outlives a renewal of the certificate, except if its names change",
          "[tls][L8][L19]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto& ca = test_pki().ca;
  const auto before = server_context({test_pki().server});
  CHECK(server_resumes(before, server_context({ca.issue(server_options())}), only(version)));
  auto fewer = server_options();
  fewer.dns_names.pop_back();
  CHECK_FALSE(server_resumes(before, server_context({ca.issue(fewer)}), only(version)));
  auto more = server_options();
  more.dns_names.emplace_back("new.test");
  CHECK_FALSE(server_resumes(before, server_context({ca.issue(more)}), only(version)));
  auto moved = server_options();
  moved.ip_addresses = {"127.0.0.1", "::2"};
  CHECK_FALSE(server_resumes(before, server_context({ca.issue(moved)}), only(version)));
  // An additional certificate changes nothing for the first one.
  CHECK(server_resumes(
      before,
      server_context({test_pki().server, ca.issue({.common_name = "b", .dns_names = {"b.test"}})}),
      only(version)));
}

/// Returns a line of a key file.
std::string key_line(std::uint8_t byte) {
  return base64::encode(std::vector<std::uint8_t>(48, byte)) + "\n";
}

TEST_CASE("resumption: replicas that share a key file resume each other's sessions", "[tls][L5]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto replica = [](const std::string& keys) {
    return server_context({test_pki().server}, {.ticket_keys = lasting_file(keys)});
  };
  const auto one = replica(key_line(1));
  CHECK(server_resumes(one, replica(key_line(1)), only(version)));
  CHECK_FALSE(server_resumes(one, replica(key_line(2)), only(version)));
  CHECK_FALSE(server_resumes(one, server_context({test_pki().server}), only(version)));
  CHECK_FALSE(server_resumes(server_context({test_pki().server}), one, only(version)));

  // After rotation old tickets are accepted, and their sessions go on under the new key.
  const auto rotated = replica(key_line(2) + key_line(1));
  const auto before = call(one, only(version));
  const auto during = call(rotated, only(version), before.get());
  CHECK(during->resumed());
  CHECK(call(replica(key_line(2)), only(version), during.get())->resumed());
  CHECK_FALSE(call(replica(key_line(2)), only(version), before.get())->resumed());
}

TEST_CASE("resumption: a tampered ticket is ignored", "[tls][security][L5]") {
  const auto context =
      server_context({test_pki().server}, {.ticket_keys = lasting_file(key_line(1))});
  // The same name with other secrets.
  std::vector<std::uint8_t> data(48, 1);
  data[20] ^= 1U;
  const auto other_aes =
      server_context({test_pki().server}, {.ticket_keys = lasting_file(base64::encode(data))});
  data[20] ^= 1U;
  data[40] ^= 1U;
  const auto other_hmac =
      server_context({test_pki().server}, {.ticket_keys = lasting_file(base64::encode(data))});
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  CHECK_FALSE(server_resumes(context, other_aes, only(version)));
  CHECK_FALSE(server_resumes(context, other_hmac, only(version)));
}

}  // namespace
}  // namespace starttls

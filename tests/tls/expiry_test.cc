// Certificates that expire while sessions and verified chains are kept. The test sets the clock:
// the program is linked so that the library's time() and our system_clock call this file.

#include <chrono>
#include <ctime>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/engines.h"

namespace {

std::chrono::seconds clock_offset{0};

}  // namespace

// BoringSSL calls time(). This definition is found before libc's, even by a shared library.
extern "C" std::time_t time(std::time_t* out) noexcept {
  struct timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  const std::time_t value = now.tv_sec + clock_offset.count();
  if (out != nullptr) *out = value;
  return value;
}

// lib/tls calls std::chrono::system_clock::now(). See --wrap in CMakeLists.txt.
extern "C" std::chrono::system_clock::time_point
__real__ZNSt6chrono3_V212system_clock3nowEv() noexcept;
extern "C" std::chrono::system_clock::time_point
__wrap__ZNSt6chrono3_V212system_clock3nowEv() noexcept {
  return __real__ZNSt6chrono3_V212system_clock3nowEv() + clock_offset;
}

namespace starttls {
namespace {

using namespace std::chrono_literals;
using pki::Identity;
using test::client_context;
using test::client_end;
using test::converse;
using test::LibraryEnd;
using test::LibraryOptions;
using test::server_context;
using test::server_end;
using test::server_options;
using test::shake_hands;
using test::test_pki;

/// Sets the clock forward. The destructor sets it back.
class Later {
 public:
  explicit Later(std::chrono::seconds by) { clock_offset = by; }
  Later(const Later&) = delete;
  Later& operator=(const Later&) = delete;
  ~Later() { clock_offset = 0s; }
};

/// Returns a server certificate that expires in half an hour.
Identity short_lived() {
  auto options = server_options();
  options.not_after = 30min;
  return test_pki().ca.issue(options);
}

LibraryOptions only(std::uint16_t version) {
  return {.min_version = version, .max_version = version};
}

TEST_CASE("expiry: the test sets the clock of the library and of the proxy", "[tls]") {
  const auto before = std::chrono::system_clock::now();
  const Later later(1h);
  CHECK(std::chrono::system_clock::now() - before >= 1h);
  CHECK(std::chrono::system_clock::from_time_t(std::time(nullptr)) - before > 59min);
}

TEST_CASE("expiry: a remembered chain is refused once its certificate has expired",
          "[tls][security][X4]") {
  const auto context = client_context();
  const auto identity = short_lived();
  const auto failure = [&] {
    const auto client = client_end(context, "mail.test", "");  // full handshakes
    const auto server = LibraryEnd::server(identity, {});
    const auto outcome = shake_hands(*client, *server);
    return outcome.client_error ? outcome.client_error->reason : "";
  };
  CHECK(failure() == "");
  {
    const Later later(29min);
    CHECK(failure() == "");
  }
  const Later later(31min);
  CHECK(failure() == "certificate has expired");
}

TEST_CASE("expiry: a session is refused once its certificate has expired",
          "[tls][security][X4][L7]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = client_context();
  const auto identity = short_lived();
  for (int i = 0; i < 2; ++i) {
    const auto client = client_end(context);
    const auto server = LibraryEnd::server(identity, only(version));
    converse(*client, *server);
    CHECK(server->resumed() == (i > 0));
  }
  const Later later(31min);
  for (int i = 0; i < 3; ++i) {
    const auto client = client_end(context);
    const auto server = LibraryEnd::server(identity, only(version));
    const auto outcome = shake_hands(*client, *server);
    REQUIRE(outcome.client_error);
    CHECK(outcome.client_error->reason == "certificate has expired");
  }
}

TEST_CASE(
    "expiry: a server that renewed in time is accepted, though sessions of its old certificate are "
    "kept",
    "[tls][L7]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = client_context();
  const auto old = short_lived();
  for (int i = 0; i < 3; ++i) {
    const auto server = LibraryEnd::server(old, only(version));
    converse(*client_end(context), *server);
  }
  const Later later(31min);
  for (int i = 0; i < 8; ++i) {
    const auto client = client_end(context);
    const auto server = LibraryEnd::server(test_pki().server, only(version));
    const auto outcome = shake_hands(*client, *server);
    REQUIRE_FALSE(outcome.client_error);
    CHECK(outcome.done);
  }
}

TEST_CASE(
    "expiry: an authority that was renewed in time is accepted, though an old chain is remembered",
    "[tls][T2]") {
  const auto first = GENERATE(0, 1);
  pki::CertificateOptions options{.common_name = "renewed", .not_after = 30min, .ca = true};
  const auto old = Identity::self_signed(options);
  options.not_after = 24h;
  const auto renewed = old.issue_for(old, options);
  const std::string both[] = {old.certificate_pem() + renewed.certificate_pem(),
                              renewed.certificate_pem() + old.certificate_pem()};
  const auto context = client_context({.ca_file = test::lasting_file(both[first])});
  const auto identity = old.issue(server_options());
  const auto failure = [&] {
    const auto client = client_end(context, "mail.test", "");
    const auto server = LibraryEnd::server(identity, {});
    const auto outcome = shake_hands(*client, *server);
    return outcome.client_error ? outcome.client_error->reason : "";
  };
  CHECK(failure() == "");
  {
    const Later later(31min);
    CHECK(failure() == "");
  }
  CHECK(failure() == "");  // the clock was set back
  const Later later(25h);
  CHECK(failure() == "certificate has expired");
}

TEST_CASE("expiry: a client's expired certificate ends its sessions too",
          "[tls][security][X15][L6]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = server_context(
      {test_pki().server}, {.client_ca = test::lasting_file(test_pki().root.certificate_pem())});
  auto options = only(version);
  options.certificate = test_pki().ca.issue(
      {.common_name = "device", .not_after = 30min, .usage = pki::Usage::client});
  const auto first = LibraryEnd::client(options);
  const auto accepting = server_end(context);
  converse(*first, *accepting);
  CHECK(accepting->engine().refusal() == nullptr);

  const Later later(31min);
  options.session = first->session();
  const auto second = LibraryEnd::client(options);
  const auto refusing = server_end(context);
  converse(*second, *refusing);
  CHECK(second->resumed());
  REQUIRE(refusing->engine().refusal() != nullptr);
  CHECK(refusing->engine().refusal()->reason ==
        "client certificate refused: certificate has expired");
}

}  // namespace
}  // namespace starttls

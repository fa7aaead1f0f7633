#include "lib/base/error.h"

#include "tests/support/catch.h"

using namespace starttls;

TEST_CASE("error: a login that fails concerns the side that is at fault", "[base][error]") {
  CHECK(concerns(Errc::client_login) == Party::client);
  CHECK(concerns(Errc::login) == Party::server);
}

TEST_CASE("error: a rule that keeps a client out concerns the client", "[base][error]") {
  for (const auto code : {Errc::limit, Errc::not_allowed, Errc::draining, Errc::too_many_errors}) {
    INFO(name(code));
    CHECK(concerns(code) == Party::client);
  }
}

TEST_CASE("error: TLS and time-outs happen on both legs", "[base][error]") {
  for (const auto code :
       {Errc::timeout, Errc::closed, Errc::attack, Errc::handshake, Errc::certificate, Errc::tls}) {
    INFO(name(code));
    CHECK(concerns(code) == Party::either_peer);
  }
  CHECK(concerns(Errc::system) == Party::proxy);
}

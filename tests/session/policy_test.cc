#include "lib/session/policy.h"

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;

TEST_CASE("policy: only a pair without any TLS is relayed from the first byte",
          "[session][policy]") {
  for (const TlsMode down :
       {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
    for (const TlsMode up :
         {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
      CHECK(relays_from_first_byte(down, up) == (down == TlsMode::none && up == TlsMode::none));
    }
  }
}

TEST_CASE("policy: an opportunistic leg counts as secured or clear, as it turned out",
          "[session][policy]") {
  CHECK(effective_mode(TlsMode::opportunistic, false) == TlsMode::none);
  CHECK(effective_mode(TlsMode::opportunistic, true) == TlsMode::opportunistic);
  CHECK(effective_mode(TlsMode::starttls, true) == TlsMode::starttls);
  CHECK(effective_mode(TlsMode::implicit, true) == TlsMode::implicit);
}

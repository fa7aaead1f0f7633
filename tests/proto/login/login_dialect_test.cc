#include "lib/proto/login/login_dialect.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/proto/protocols.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;

namespace {

using Names = std::vector<std::string>;

constexpr LineRules kInStarttls = line_rules(TlsMode::starttls, Errc::protocol);

Result<LoginOffer> offer_of(std::string_view protocol, std::string_view answer) {
  return login::offer_in(*find_protocol(protocol)->login, answer, "probe", kInStarttls);
}

struct Answer {
  std::string_view protocol;
  std::string_view whole;
  bool native;
};

constexpr Answer kAnswers[] = {
    {"smtp", "250-mx\r\n250-AUTH PLAIN XOAUTH2\r\n250 SIZE\r\n", false},
    {"lmtp", "250-mx\r\n250 AUTH PLAIN XOAUTH2\r\n", false},
    {"imap", "* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2\r\nprobe OK done\r\n", true},
    {"pop3", "+OK\r\nUSER\r\nSASL PLAIN XOAUTH2\r\n.\r\n", true},
    {"sieve", "\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN XOAUTH2\"\r\nOK \"hello\"\r\n", false},
    {"nntp", "101 list\r\nAUTHINFO USER SASL\r\nSASL PLAIN XOAUTH2\r\n.\r\n", true},
};

}  // namespace

TEST_CASE("login offer: a whole answer of each protocol is read", "[proto][login]") {
  for (const auto& [protocol, whole, native] : kAnswers) {
    CAPTURE(protocol);
    const auto offer = offer_of(protocol, whole);
    REQUIRE(offer);
    CHECK(offer->known);
    CHECK(offer->mechanisms == Names{"PLAIN", "XOAUTH2"});
    CHECK(offer->native == native);
  }
}

TEST_CASE("login offer: an answer that is cut or goes on is an error", "[proto][login]") {
  for (const auto& [protocol, whole, native] : kAnswers) {
    CAPTURE(protocol);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      CHECK_FALSE(offer_of(protocol, whole.substr(0, size)));
    }
    const auto more = offer_of(protocol, std::string(whole) + "235 welcome\r\n");
    REQUIRE_FALSE(more);
    CHECK(more.error().code == Errc::attack);
  }
}

TEST_CASE("login offer: a server without lists has its protocol's own login", "[proto][login]") {
  CHECK(offer_of("pop3", "-ERR what?\r\n")->native);
  CHECK(offer_of("nntp", "500 what?\r\n")->native);
  CHECK_FALSE(offer_of("smtp", "502 what?\r\n")->native);
  CHECK(offer_of("pop3", "-ERR what?\r\n")->mechanisms.empty());
}

TEST_CASE("login offer: a goodbye instead of a list is an error", "[proto][login]") {
  for (const auto& [protocol, goodbye] :
       {std::pair{"smtp", "421 bye\r\n"}, std::pair{"imap", "* BYE later\r\n"},
        std::pair{"sieve", "BYE \"later\"\r\n"}, std::pair{"nntp", "400 bye\r\n"}}) {
    CAPTURE(protocol);
    const auto offer = offer_of(protocol, goodbye);
    REQUIRE_FALSE(offer);
    CHECK(offer.error().code == Errc::closed);
  }
}

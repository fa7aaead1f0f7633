#include "lib/tls/ticket_keys.h"

#include <algorithm>
#include <string>

#include "lib/base/base64.h"
#include "tests/support/catch.h"
#include "tests/support/tls_pair.h"

namespace starttls {
namespace {

using namespace std::chrono_literals;
using test::PkiFolder;
using tls::kTicketLifetime;
using tls::TicketKey;
using tls::TicketKeys;
using Name = std::array<std::uint8_t, 16>;

constexpr TicketKeys::Clock::time_point kStart{1000h};

/// True if a ticket under the key of that name can be read.
bool knows(TicketKeys& keys, const Name& name, TicketKeys::Clock::time_point now) {
  return keys.find(name, now).has_value();
}

/// Returns a line of a key file: 16 bytes of each letter.
std::string line(const std::string& letters) {
  std::string bytes;
  for (const char letter : letters) bytes += std::string(16, letter);
  return base64::encode(
      std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()));
}

Name name_of(char letter) {
  Name out;
  out.fill(static_cast<std::uint8_t>(letter));
  return out;
}

/// Returns the error for a file of that content, without the file's name.
std::string failure(const std::string& text) {
  const PkiFolder folder;
  const auto file = folder.write("keys", text);
  const auto keys = TicketKeys::read(file);
  if (keys) return "";
  CHECK(keys.error().code == Errc::config);
  REQUIRE(keys.error().reason.starts_with(file));
  CHECK(keys.error().evidence.empty());
  return keys.error().reason.substr(file.size());
}

TEST_CASE("ticket keys: a key encrypts for twelve hours and decrypts for twelve more",
          "[tls][L5]") {
  static_assert(kTicketLifetime <= 24h);
  TicketKeys keys(kStart);
  const auto first = keys.encrypting(kStart);
  REQUIRE(first);
  CHECK(keys.encrypting(kStart + kTicketLifetime - 1s)->name == first->name);
  CHECK(keys.find(first->name, kStart)->is_current);

  const auto second = keys.encrypting(kStart + kTicketLifetime);
  REQUIRE(second);
  CHECK(second->name != first->name);
  CHECK(second->aes != first->aes);
  CHECK(second->hmac != first->hmac);
  const auto old = keys.find(first->name, kStart + kTicketLifetime + 1s);
  REQUIRE(old);
  CHECK_FALSE(old->is_current);  // its tickets are renewed
  CHECK(old->key.aes == first->aes);
  CHECK(old->key.hmac == first->hmac);
  CHECK(keys.find(second->name, kStart + kTicketLifetime + 1s)->is_current);
  CHECK(knows(keys, first->name, kStart + 2 * kTicketLifetime - 1s));

  CHECK_FALSE(knows(keys, first->name, kStart + 2 * kTicketLifetime));
  CHECK(knows(keys, second->name, kStart + 2 * kTicketLifetime));
}

TEST_CASE("ticket keys: no old key is left after a long pause", "[tls][L5]") {
  TicketKeys keys(kStart);
  const auto first = keys.encrypting(kStart);
  REQUIRE(first);
  CHECK_FALSE(knows(keys, first->name, kStart + 2 * kTicketLifetime));
  TicketKeys idle(kStart);
  const auto early = idle.encrypting(kStart);
  const auto late = idle.encrypting(kStart + 1000h);
  REQUIRE(late);
  CHECK_FALSE(knows(idle, early->name, kStart + 1000h));
  CHECK(knows(idle, late->name, kStart + 1000h));
}

TEST_CASE("ticket keys: the keys of the process are random, and the same for all services",
          "[tls][L5]") {
  const auto now = TicketKeys::Clock::now();
  CHECK(TicketKeys::of_process() == TicketKeys::of_process());
  TicketKeys other(now);
  const auto ours = TicketKeys::of_process()->encrypting(now);
  const auto others = other.encrypting(now);
  REQUIRE((ours && others));
  CHECK(ours->name != others->name);
  CHECK(ours->aes != others->aes);
  CHECK(ours->hmac != others->hmac);
  CHECK(ours->aes != ours->hmac);
}

TEST_CASE("ticket keys: an unknown name finds no key", "[tls]") {
  TicketKeys keys(kStart);
  CHECK_FALSE(knows(keys, Name{}, kStart));
}

TEST_CASE("ticket keys: the first key of a file encrypts and all decrypt, at any time",
          "[tls][L5]") {
  const PkiFolder folder;
  const auto keys = TicketKeys::read(folder.write(
      "keys", "# ours\n\n" + line("abc") + "\n  " + line("def") + "  \n" + line("ghi")));
  REQUIRE(keys);
  for (const auto now : {kStart, kStart + 1000h}) {
    const auto key = (*keys)->encrypting(now);
    REQUIRE(key);
    CHECK(key->name == name_of('a'));
    CHECK(key->aes == name_of('b'));
    CHECK(key->hmac == name_of('c'));
    CHECK((*keys)->find(name_of('a'), now)->is_current);
    const auto old = (*keys)->find(name_of('g'), now);
    REQUIRE(old);
    CHECK_FALSE(old->is_current);
    CHECK(old->key.aes == name_of('h'));
    CHECK(old->key.hmac == name_of('i'));
    CHECK(knows(**keys, name_of('d'), now));
    CHECK_FALSE(knows(**keys, name_of('b'), now));
  }
}

TEST_CASE("ticket keys: a fault in a file is reported with its name and line", "[tls]") {
  const std::string good = line("abc");
  const std::string wrong = " is not base64 of 48 bytes";
  CHECK(failure(good) == "");
  CHECK(failure(good + "\n" + good.substr(1)) == ": line 2" + wrong);
  CHECK(failure("# one\n\n" + good + "\n" + line("ab") + "\n") == ": line 4" + wrong);
  CHECK(failure(line("abcd")) == ": line 1" + wrong);
  CHECK(failure(good + " " + good) == ": line 1" + wrong);
  CHECK(failure("secret words\n") == ": line 1" + wrong);
  CHECK(failure("") == ": holds no ticket key");
  CHECK(failure("\n# nothing\n \t\n") == ": holds no ticket key");
  std::string many;
  for (int i = 0; i < 17; ++i) many += good + "\n";
  CHECK(failure(many) == ": holds more than 16 keys");
  CHECK(failure(many.substr(good.size() + 1)) == "");
}

TEST_CASE("ticket keys: a file that is missing or open to others is refused", "[tls][security]") {
  const PkiFolder folder;
  const auto missing = TicketKeys::read(folder.file("none"));
  REQUIRE_FALSE(missing);
  CHECK(missing.error().reason == folder.file("none") + ": No such file or directory");
  for (const unsigned mode : {0604U, 0644U, 0660U}) {
    CAPTURE(mode);
    const auto keys = TicketKeys::read(folder.write("open", line("abc"), mode));
    REQUIRE_FALSE(keys);
    CHECK(keys.error().code == Errc::config);
    CHECK(keys.error().reason.find("open to group or others") != std::string::npos);
  }
  CHECK(TicketKeys::read(folder.write("closed", line("abc"), 0400)));
}

}  // namespace
}  // namespace starttls

// Secrets that are freed without being wiped stay in the process's memory. This program has its own
// `operator delete`, which looks for a canary in the memory that it frees.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <malloc.h>

#include "lib/base/base64.h"
#include "lib/base/jwt.h"
#include "lib/base/secret.h"
#include "lib/config/expand.h"
#include "lib/session/credentials/password.h"
#include "lib/session/credentials/token_json.h"
#include "lib/tls/pem.h"
#include "lib/tls/ticket_keys.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

namespace {

/// 16 characters of base64, which is also the longest salt of a hash.
constexpr std::string_view kCanary = "C4naryC4naryC4na";

bool is_looking = false;
std::size_t copies_found = 0;

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  // Nothing may be left of an earlier block: a new one may have more bytes than are asked for.
  std::memset(memory, 0, ::malloc_usable_size(memory));
  return memory;
}

// Replaced too: the address sanitizer has one that does not fit our `operator delete`.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return ::operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

[[gnu::noinline]] void operator delete(void* memory) noexcept {
  if (is_looking && memory != nullptr &&
      ::memmem(memory, ::malloc_usable_size(memory), kCanary.data(), kCanary.size()) != nullptr) {
    ++copies_found;
  }
  std::free(memory);
}

[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  ::operator delete(memory);
}

namespace starttls {
namespace {

/// Returns how many blocks with the canary are freed while `call` runs.
template <class Call>
std::size_t freed_by(Call call) {
  copies_found = 0;
  is_looking = true;
  call();
  is_looking = false;
  return copies_found;
}

/// Returns a text of this size that repeats the canary.
std::string long_secret(std::size_t size) {
  std::string out;
  while (out.size() < size) out += kCanary;
  out.resize(size);
  return out;
}

std::string encoded(std::string_view text) {
  return base64::encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

TEST_CASE("freed secrets: this test sees a copy that is not wiped", "[session][security]") {
  const std::string secret = long_secret(100);
  volatile char used = 0;
  CHECK(freed_by([&] {
          const std::string copy = secret;
          used = copy[0];
        }) == 1);
  CHECK(freed_by([&] {
          std::string copy = secret;
          const WipeAtEnd wiped(copy);
          used = copy[0];
        }) == 0);
  CHECK(freed_by([&] {
          std::string copy = secret;
          WipeAtEnd wiped(copy);
          used = copy[0];
          wiped.keep();
        }) == 1);
  CHECK(freed_by([&] {
          std::string copy = secret;
          const WipeAtEnd wiped(copy);
          make_room(copy, 10 * secret.size());
          copy += secret;
          used = copy[0];
        }) == 0);
}

TEST_CASE("freed secrets: base64 that is refused leaves nothing decoded", "[session][security]") {
  for (const std::string end : {"!!!!", "Zh==", "Z==="}) {
    const std::string text = encoded(long_secret(99)) + end;
    bool refused = false;
    CHECK(freed_by([&] { refused = !base64::decode(text); }) == 0);
    CHECK(refused);
  }
}

TEST_CASE("freed secrets: a token that is looked at leaves no claims, decoded or not",
          "[session][security]") {
  // Three texts that decode to the canary, and three that have it themselves. They lack none, one
  // or two characters of padding.
  std::vector<std::string> parts;
  for (const std::size_t size : {99U, 98U, 97U}) {
    parts.push_back(encoded(long_secret(size)));
    parts.back().resize(parts.back().find_last_not_of('=') + 1);
  }
  for (const std::string_view end : {"", "YQ", "YWI"}) {
    parts.push_back(long_secret(96).append(end));
  }
  for (const auto& part : parts) {
    CAPTURE(part);
    for (const std::string& token :
         {"e30." + part + ".c2ln", part + "." + part + ".c2ln", part + ".e!0.c2ln"}) {
      const auto freed = freed_by([&] { static_cast<void>(session::expiry_of_jwt(token)); });
      CHECK(freed == 0);
    }
  }
}

TEST_CASE("freed secrets: checking a password leaves neither it nor its hash",
          "[session][security]") {
  const Secret hash{"$5$rounds=1000$" + std::string(kCanary) + "$" + std::string(43, 'a')};
  const Secret given{long_secret(100)};
  bool right = true;
  CHECK(freed_by([&] { right = session::has_hash(given, hash); }) == 0);
  CHECK_FALSE(right);
}

TEST_CASE("freed secrets: a refused file of ticket keys leaves no key", "[session][security]") {
  const TemporaryFolder folder;
  // The first 16 bytes are the key's name, which is no secret.
  const auto line = [](std::size_t size) {
    return encoded(std::string(16, 'n') + long_secret(size - 16)) + "\n";
  };
  const std::string good = line(tls::TicketKey::kSize);
  std::string many;
  for (int i = 0; i < 20; ++i) many += good;
  for (const std::string& content : {line(60), good + "x\n", many}) {
    const auto path = folder.write("keys", content);
    bool refused = false;
    CHECK(freed_by([&] { refused = !tls::TicketKeys::read(path); }) == 0);
    CHECK(refused);
  }
}

TEST_CASE("freed secrets: a file leaves no copy of its content, read or refused",
          "[session][security]") {
  const TemporaryFolder folder;
  const auto read = [](const std::string& path) {
    return [path] {
      auto text = tls::read_secret(path);
      if (text) wipe(*text);
    };
  };
  for (const std::size_t size : {100U, 5'000U, 100'000U}) {
    CAPTURE(size);
    CHECK(freed_by(read(folder.write("key", long_secret(size)))) == 0);
  }
  CHECK(freed_by(read(folder.write("key", long_secret((16U << 20U) + 1)))) == 0);
}

TEST_CASE("freed secrets: a text with files in it leaves no copy of them", "[session][security]") {
  const TemporaryFolder folder;
  folder.write("a", long_secret(100));
  folder.write("b", long_secret(50'000) + "\n");
  const auto expanding = [&folder](const std::string& written) {
    return [&folder, written] {
      std::vector<std::string> files;
      auto text = config::expand(written, folder.path, files);
      if (text) wipe(*text);
    };
  };
  for (const std::string written : {"${file:a}", "${file:b}", "x ${file:a} y ${file:b} z ${file:a}",
                                    "${file:a}${file:missing}", "${file:a}${", "${file:b}${${"}) {
    CAPTURE(written);
    CHECK(freed_by(expanding(written)) == 0);
  }
}

}  // namespace
}  // namespace starttls

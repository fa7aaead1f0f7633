#include "lib/session/credentials/secret_file.h"

#include <string>

#include <sys/stat.h>

#include "lib/base/login_settings.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using namespace starttls::session;
using metrics::SecretFailure;

namespace {

std::string secret_text(const SecretAnswer& answer) {
  const auto* const found = std::get_if<FreshSecret>(&answer);
  REQUIRE(found != nullptr);
  return std::string{found->secret.reveal()};
}

SecretFailure failure_of(const SecretAnswer& answer) {
  const auto* const failure = std::get_if<NoSecret>(&answer);
  REQUIRE(failure != nullptr);
  CHECK(failure->error.code == Errc::login);
  return failure->failure;
}

}  // namespace

TEST_CASE("secret file: a secret has a largest size", "[session][login][security]") {
  const TemporaryFolder folder;
  const std::string longest(kMaxSecret, 'a');
  for (const auto* const end : {"", "\n", "\r\n"}) {
    CHECK(secret_text(read_secret(folder.write("fits", longest + end), true)) == longest);
    CHECK(secret_text(read_secret(folder.write("fits", "\xEF\xBB\xBF" + longest + end), true)) ==
          longest);
    const auto path = folder.write("long", longest + "a" + end);
    CHECK(failure_of(read_secret(path, true)) == SecretFailure::malformed);
  }
  const auto huge = folder.write("huge", std::string(100'000, 'a'));
  CHECK(failure_of(read_secret(huge, true)) == SecretFailure::malformed);
  const auto tail = folder.write("tail", "a\n" + std::string(100'000, 'b'));
  CHECK(secret_text(read_secret(tail, true)) == "a");
}

TEST_CASE("secret file: a file that cannot be read is named in the evidence", "[session][login]") {
  const TemporaryFolder folder;
  const auto answer = read_secret(folder.file("missing"), false);
  CHECK(failure_of(answer) == SecretFailure::unreadable);
  CHECK(std::get<NoSecret>(answer).error.evidence ==
        folder.file("missing") + ": No such file or directory");
}

TEST_CASE("secret file: a file that is open to others is not read", "[session][login][security]") {
  const TemporaryFolder folder;
  CHECK(failure_of(read_secret(folder.write("open", "hunter2\n", 0644), false)) ==
        SecretFailure::unreadable);
  CHECK(secret_text(read_secret(folder.write("kept", "hunter2\n", 0400), false)) == "hunter2");
}

TEST_CASE("secret file: a pipe, a folder and a device are not read", "[session][login]") {
  const TemporaryFolder folder;
  const auto pipe = folder.file("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  for (const auto& [path, words] : {std::pair<std::string, std::string>{pipe, "not a regular file"},
                                    {folder.path, "Is a directory"},
                                    {"/dev/zero", "not a regular file"}}) {
    const auto answer = read_secret(path, false);
    CHECK(failure_of(answer) == SecretFailure::unreadable);
    CHECK(std::get<NoSecret>(answer).error.evidence == path + ": " + words);
  }
}

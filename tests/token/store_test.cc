#include "token/store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tests/token/support.h"

namespace starttls::token {
namespace {

using std::chrono::milliseconds;

constexpr const char* kAccount = "scan@example.com";
constexpr milliseconds kAtOnce{0};

Entry entry_with(std::string_view refresh_token) {
  return {.account = kAccount,
          .token_url = "https://login.example.com/token",
          .client_id = "client",
          .refresh_token = Secret{refresh_token},
          .access_token = Secret{"access"}};
}

std::string read_back(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct StoreFixture {
  StoreFixture() : path(folder.file("tokens")) {}

  [[nodiscard]] Store open() const {
    auto store = Store::open(path);
    REQUIRE(store);
    return std::move(*store);
  }
  /// Stores an entry as a renewal does.
  void put(const Entry& entry) const {
    const auto store = open();
    const auto lock = store.lock(kAccount, kAtOnce);
    REQUIRE(lock);
    auto pending = store.prepare(kAccount);
    REQUIRE(pending);
    REQUIRE(pending->commit(entry));
  }
  [[nodiscard]] std::string stored_refresh_token() const {
    const auto entry = open().read(kAccount);
    REQUIRE(entry);
    return *entry ? std::string((*entry)->refresh_token.reveal()) : "none";
  }
  [[nodiscard]] std::string file(std::string_view ending) const {
    return path + "/" + kAccount + std::string(ending);
  }

  TemporaryFolder folder;
  std::string path;
};

TEST_CASE_METHOD(StoreFixture, "store: folder and files are private, and nothing else is left",
                 "[security]") {
  put(entry_with("one"));
  struct ::stat status = {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0700);
  for (const auto* ending : {".json", ".lock"}) {
    REQUIRE(::stat(file(ending).c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
  }
  CHECK_FALSE(std::filesystem::exists(file(".new")));
  CHECK(stored_refresh_token() == "one");
}

TEST_CASE_METHOD(StoreFixture, "store: an account that is not there is no error") {
  CHECK(stored_refresh_token() == "none");
}

TEST_CASE_METHOD(StoreFixture, "store: a folder or a file that others can read is refused",
                 "[security]") {
  put(entry_with("one"));
  REQUIRE(::chmod(file(".json").c_str(), 0640) == 0);
  const auto entry = open().read(kAccount);
  REQUIRE_FALSE(entry);
  CHECK(entry.error().status == Exit::config);
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  const auto store = Store::open(path);
  REQUIRE_FALSE(store);
  CHECK(store.error().status == Exit::config);
}

TEST_CASE_METHOD(StoreFixture, "store: links are not followed", "[security]") {
  const auto store = open();
  const auto target = folder.write("target", to_json(entry_with("stolen")).reveal());
  REQUIRE(::symlink(target.c_str(), file(".json").c_str()) == 0);
  CHECK_FALSE(store.read(kAccount));
  REQUIRE(::symlink(target.c_str(), file(".new").c_str()) == 0);
  CHECK_FALSE(store.prepare(kAccount));
  REQUIRE(::symlink(target.c_str(), file(".lock").c_str()) == 0);
  CHECK_FALSE(store.lock(kAccount, kAtOnce));
}

TEST_CASE_METHOD(StoreFixture, "store: one process at a time has the lock") {
  const auto store = open();
  {
    const auto lock = store.lock(kAccount, kAtOnce);
    REQUIRE(lock);
    const auto second = open().lock(kAccount, kAtOnce);
    REQUIRE_FALSE(second);
    CHECK(second.error().status == Exit::temporary);
    CHECK(open().lock("other@example.com", kAtOnce));
  }
  CHECK(store.lock(kAccount, kAtOnce));
}

TEST_CASE_METHOD(StoreFixture, "store: without a commit the old entry stays") {
  put(entry_with("one"));
  const auto store = open();
  const auto lock = store.lock(kAccount, kAtOnce);
  REQUIRE(lock);
  REQUIRE(store.prepare(kAccount));
  CHECK_FALSE(std::filesystem::exists(file(".new")));
  CHECK(stored_refresh_token() == "one");
}

TEST_CASE_METHOD(StoreFixture, "store: a crash before the rename loses nothing") {
  const auto whole = to_json(entry_with("two"));
  // The space that was reserved may still be after the text.
  for (const std::size_t reserved : {0U, 100U}) {
    put(entry_with("one"));
    folder.write(std::string("tokens/") + kAccount + ".new",
                 std::string(whole.reveal()) + std::string(reserved, '\0'));
    CHECK(stored_refresh_token() == "one");
    CHECK(open().lock(kAccount, kAtOnce));
    CHECK(stored_refresh_token() == "two");
    CHECK_FALSE(std::filesystem::exists(file(".new")));
  }
}

TEST_CASE_METHOD(StoreFixture, "store: a crash while the new entry is written keeps the old one") {
  put(entry_with("one"));
  const auto whole = to_json(entry_with("two"));
  for (const auto& left : {std::string(), std::string(65536, '\0'),
                           std::string(whole.reveal().substr(0, whole.reveal().size() / 2))}) {
    folder.write(std::string("tokens/") + kAccount + ".new", left);
    CHECK(open().lock(kAccount, kAtOnce));
    CHECK(stored_refresh_token() == "one");
    CHECK_FALSE(std::filesystem::exists(file(".new")));
  }
}

TEST_CASE_METHOD(StoreFixture, "store: a damaged entry is reported, and not repaired") {
  put(entry_with("one"));
  folder.write(std::string("tokens/") + kAccount + ".json", "{");
  const auto entry = open().read(kAccount);
  REQUIRE_FALSE(entry);
  CHECK(entry.error().status == Exit::config);
  CHECK(read_back(file(".json")) == "{");
}

TEST_CASE_METHOD(StoreFixture, "store: forget removes all files of the account, and no others") {
  put(entry_with("one"));
  folder.write(std::string("tokens/") + kAccount + ".new", "half");
  folder.write("tokens/other@example.com.json", to_json(entry_with("other")).reveal());
  const auto store = open();
  const auto lock = store.lock(kAccount, kAtOnce);
  REQUIRE(lock);
  CHECK(store.forget(kAccount) == true);
  CHECK(store.forget(kAccount) == false);
  CHECK(store.accounts() == std::vector<std::string>{"other@example.com"});
  CHECK(std::distance(std::filesystem::directory_iterator(path), {}) == 1);
}

TEST_CASE_METHOD(StoreFixture, "store: a lock on a file that was removed is no lock") {
  const auto store = open();
  const auto old = store.lock(kAccount, kAtOnce);
  REQUIRE(old);
  REQUIRE(store.forget(kAccount));
  const auto now = open().lock(kAccount, kAtOnce);
  REQUIRE(now);
  CHECK_FALSE(open().lock(kAccount, kAtOnce));
}

TEST_CASE_METHOD(StoreFixture, "store: names that are too long for a file are refused") {
  const auto entry = open().read(std::string(241, 'a'));
  REQUIRE_FALSE(entry);
  CHECK(entry.error().status == Exit::usage);
}

}  // namespace
}  // namespace starttls::token

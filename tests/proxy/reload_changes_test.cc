#include "proxy/reload_changes.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using Names = std::vector<std::string>;

namespace {

config::Service service(const std::string& name, std::size_t warm = 0) {
  config::Service made;
  made.name = name;
  made.upstream.warm = warm;
  return made;
}

CertificateInUse certificate(const std::string& file, std::uint8_t digest,
                             const std::string& used_by = "office") {
  CertificateInUse made{.service = used_by,
                        .side = Side::downstream,
                        .file = file,
                        .not_before = {},
                        .not_after = {}};
  made.chain_digest[0] = digest;
  return made;
}

std::string changes(const std::vector<CertificateInUse>& before,
                    const std::vector<CertificateInUse>& after) {
  std::string text;
  for (const auto& [changed, replaced] : certificate_changes(before, after)) {
    text += changed.file + (replaced ? " replaced\n" : " added\n");
  }
  return text;
}

}  // namespace

TEST_CASE("reload changes: services are added, removed, changed or kept", "[proxy][reload]") {
  const std::vector<config::Service> before = {service("a"), service("b"), service("c")};
  const std::vector<config::Service> after = {service("d"), service("b", 1), service("a")};
  const auto found = service_changes(before, after);
  CHECK(found.added == Names{"d"});
  CHECK(found.removed == Names{"c"});
  CHECK(found.changed == Names{"b"});
  CHECK(found.kept == 1);
  const auto none = service_changes(before, before);
  CHECK(none.added.empty());
  CHECK(none.removed.empty());
  CHECK(none.changed.empty());
  CHECK(none.kept == 3);
}

TEST_CASE("reload changes: another password, secret or account changes a service",
          "[proxy][reload][login]") {
  auto before = service("a");
  before.login.emplace().source.text = Secret("hunter2");
  before.accounts.push_back({"x", Secret("hunter3"), "", {}});
  const auto changed = [&before](const config::Service& after) {
    return service_changes(std::vector{before}, std::vector{after}).changed == Names{"a"};
  };
  auto after = before;
  CHECK_FALSE(changed(after));
  after.login->source.text = Secret("hunter4");
  CHECK(changed(after));
  after = before;
  after.accounts[0].password = Secret("hunter5");
  CHECK(changed(after));
  after = before;
  after.accounts.push_back({"y", Secret("hunter5"), "", {}});
  CHECK(changed(after));
  after = before;
  after.login.reset();
  CHECK(changed(after));
}

TEST_CASE("reload changes: a chain is reported once, and only if it is another one",
          "[proxy][reload]") {
  const auto a1 = certificate("a.pem", 1);
  const auto a2 = certificate("a.pem", 2);
  const auto b1 = certificate("b.pem", 1);
  CHECK(changes({a1, b1}, {b1, a1}).empty());
  CHECK(changes({a1, b1}, {a2, b1}) == "a.pem replaced\n");
  CHECK(changes({a1}, {a1, b1}) == "b.pem added\n");
  CHECK(changes({a1, b1}, {b1}).empty());
  CHECK(changes({a1}, {a2, certificate("a.pem", 2, "other")}) == "a.pem replaced\n");
  // Another service is added that uses the same file.
  CHECK(changes({a1}, {a1, certificate("a.pem", 1, "other")}).empty());
}

TEST_CASE("reload changes: a list of names is bounded", "[proxy][reload]") {
  CHECK(listed(Names{}).empty());
  CHECK(listed(Names{"a"}) == "a");
  CHECK(listed(Names{"a", "b"}) == "a, b");
  CHECK(listed(Names(10, "a")) == "a, a, a, a, a, a, a, a, a, a");
  CHECK(listed(Names(17, "a")) == "a, a, a, a, a, a, a, a, a, a and 7 more");
}

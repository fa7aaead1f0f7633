#include "proxy/reload_problems.h"

#include <string>

#include "lib/tls/context.h"
#include "tests/support/catch.h"

using namespace std::chrono_literals;
using namespace starttls;
using Step = ReloadProblems::Step;

namespace {

constexpr ReloadProblems::Clock::time_point kStart{1h};

std::string other_key(const std::string& name = "a") {
  return "f.toml:1:1: service.downstream.certificates.key: /" + name + ".key" +
         std::string(tls::kOtherKey) + "/" + name + ".pem";
}

}  // namespace

TEST_CASE("reload problems: without one there is nothing to log", "[proxy][reload]") {
  ReloadProblems problems;
  CHECK(problems.on_unchanged(kStart + 1h) == Step::nothing);
  problems.set({"a"}, kStart);
  problems.clear();
  CHECK(problems.on_unchanged(kStart + 1h) == Step::nothing);
}

TEST_CASE("reload problems: other faults are logged when the files rest", "[proxy][reload]") {
  ReloadProblems problems;
  problems.set({"f.toml:1:1: service.downstream.client_ca: /a: holds no certificate"}, kStart);
  CHECK(problems.on_unchanged(kStart + 2s) == Step::failed);
  problems.set({other_key(), "another fault"}, kStart);
  CHECK(problems.on_unchanged(kStart + 2s) == Step::failed);
  CHECK(problems.all().size() == 2);
}

TEST_CASE("reload problems: a certificate waits a minute for its key", "[proxy][reload]") {
  ReloadProblems problems;
  problems.set({other_key(), other_key("b")}, kStart);
  CHECK(problems.on_unchanged(kStart + 2s) == Step::waits);
  CHECK(problems.on_unchanged(kStart + 4s) == Step::nothing);
  CHECK(problems.on_unchanged(kStart + 59s) == Step::nothing);
  CHECK(problems.on_unchanged(kStart + 60s) == Step::failed);
  // The files have changed again, and still do not match.
  problems.set({other_key("b")}, kStart + 61s);
  CHECK(problems.on_unchanged(kStart + 63s) == Step::waits);
  CHECK(problems.on_unchanged(kStart + 120s) == Step::nothing);
  CHECK(problems.on_unchanged(kStart + 121s) == Step::failed);
}

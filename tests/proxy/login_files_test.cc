#include "proxy/login_files.h"

#include <string>
#include <string_view>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "lib/config/load.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;

namespace {

constexpr std::string_view kProtocolsWithLogin[] = {"smtp"};

/// A configuration with two files of secrets: "a" (line 7) and "b" (line 11).
struct WithSecrets {
  WithSecrets() {
    const auto problems = config::load_text(
        "[[service]]\nname = 'office'\nprotocol = 'smtp'\nlisten = '127.0.0.1:2525'\n"
        "upstream.address = 'mx.example.com:587'\n"
        "[service.login]\nfile = 'a'\n"
        "[[service.account]]\nname = 'x'\npassword = 'hunter2'\nfile = 'b'\n"
        "[[service.account]]\nname = 'y'\npassword = 'hunter3'\n"
        "[[service.account]]\nname = 'z'\npassword = 'hunter4'\nfile = 'b'\n",
        folder.file("f.toml"), kProtocolsWithLogin, config, &places);
    for (const auto& problem : problems) FAIL(problem.where << ": " << problem.text);
  }

  [[nodiscard]] std::vector<std::string> faults() const {
    config::Problems found;
    check_login_files(config, places, found);
    std::vector<std::string> all;
    for (const auto& each : found) {
      all.push_back((each.where + ": " + each.text).substr(folder.file("f.toml").size() + 1));
    }
    return all;
  }

  TemporaryFolder folder;
  config::Config config;
  config::Places places;
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("login files: each file of a secret is listed once", "[proxy][login]") {
  const WithSecrets with;
  CHECK(login_files(with.config.services[0]) ==
        Texts{with.folder.file("a"), with.folder.file("b")});
  CHECK(login_files({}).empty());
}

TEST_CASE("login files: a missing file is a warning, because it may come later", "[proxy][login]") {
  const WithSecrets with;
  CHECK(with.faults() == Texts{});
  const std::string start = "logins fail until the file of their secret is there: ";
  CHECK(login_file_warnings(with.config.services[0]) ==
        Texts{start + with.folder.file("a"), start + with.folder.file("b")});
  with.folder.write("a", "token");
  CHECK(login_file_warnings(with.config.services[0]) == Texts{start + with.folder.file("b")});
  with.folder.write("b", "");
  CHECK(login_file_warnings(with.config.services[0]) == Texts{});
  CHECK(with.faults() == Texts{});
}

TEST_CASE("login files: a file that others can read is refused like a private key",
          "[proxy][login][security]") {
  const WithSecrets with;
  const auto open = with.folder.write("b", "hunter5", 0644);
  REQUIRE(::chmod(open.c_str(), 0644) == 0);
  const std::string fault =
      "this secret is open to group or others (mode 0644): set 0600, or 0640 with owner root and a "
      "group of this process";
  CHECK(with.faults() == Texts{"11:8: service.account.file: " + open + ": " + fault,
                               "18:8: service.account.file: " + open + ": " + fault});
  REQUIRE(::chmod(open.c_str(), 0600) == 0);
  CHECK(with.faults() == Texts{});

  REQUIRE(::mkdir(with.folder.file("a").c_str(), 0700) == 0);
  CHECK(with.faults() ==
        Texts{"7:8: service.login.file: " + with.folder.file("a") + ": not a regular file"});
  CHECK(login_file_warnings(with.config.services[0]) == Texts{});
}

TEST_CASE("login files: a program must be one that no other user can change",
          "[proxy][login][security]") {
  WithSecrets with;
  auto& source = with.config.services[0].login->source;
  const auto path = with.folder.file("program");
  source = {.command = {path, "x"}};
  CHECK(has_login_files(with.config.services[0]));
  CHECK(with.faults() == Texts{});
  const std::string start = "logins fail until the program of their secret is there: ";
  CHECK(login_file_warnings(with.config.services[0]).back() == start + path);

  with.folder.write("program", "#!/bin/sh\n");
  const auto fault = [&](mode_t mode) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    const auto all = with.faults();
    return all.empty() ? "" : all.front().substr(all.front().find(path) + path.size());
  };
  CHECK(fault(0755).empty());
  CHECK(fault(0700).empty());
  CHECK(fault(0644) == ": Permission denied");
  const std::string open =
      ": others can change this program: take their right to write away (chmod go-w)";
  CHECK(fault(0757) == open);
  CHECK(login_file_warnings(with.config.services[0]) ==
        Texts{"logins fail until the file of their secret is there: " + with.folder.file("b")});
  source.command = {with.folder.file("")};
  CHECK(with.faults().front().ends_with("not a regular file"));

  source = {.socket = with.folder.file("socket")};
  CHECK(login_file_warnings(with.config.services[0]).at(1) ==
        "logins fail until the socket of their secret is there: " + source.socket);
}

TEST_CASE("login files: a file that this user cannot read is refused", "[proxy][login]") {
  if (::geteuid() == 0) return;  // root can read everything
  const WithSecrets with;
  const auto closed = with.folder.write("a", "hunter5", 0);
  REQUIRE(::chmod(closed.c_str(), 0) == 0);
  CHECK(with.faults() == Texts{"7:8: service.login.file: " + closed + ": Permission denied"});
}

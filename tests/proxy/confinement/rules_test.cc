#include "proxy/confinement/rules.h"

#include <linux/capability.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;

namespace {

/// The symlinks of a file system.
using Links = std::map<std::string, std::string>;
using Paths = std::vector<std::string>;

/// Returns the rules for a file system that has these links. All paths exist except `missing` and
/// those below.
std::vector<FileRule> rules_of(const FilesInUse& files, const Links& links = {},
                               const Paths& missing = {}) {
  const auto read_link = [&links](const std::string& path) -> std::optional<std::string> {
    const auto found = links.find(path);
    return found == links.end() ? std::nullopt : std::optional{found->second};
  };
  const auto exists = [&missing](const std::string& path) {
    return std::none_of(missing.begin(), missing.end(), [&path](const std::string& each) {
      return path == each || path.starts_with(each + "/");
    });
  };
  return file_rules(files, {read_link, exists});
}

/// True if the resolver may read that folder.
bool has(const std::vector<FileRule>& rules, const std::string& path) {
  return std::find(rules.begin(), rules.end(), FileRule{path, FileUse::read}) != rules.end();
}

/// Returns the paths that are allowed because of these files only.
std::vector<std::string> paths_of(const FilesInUse& files, FileUse use, const Links& links = {}) {
  const auto base = rules_of({});
  std::vector<std::string> paths;
  for (const auto& rule : rules_of(files, links)) {
    if (std::find(base.begin(), base.end(), rule) != base.end()) continue;
    CHECK(rule.use == use);
    paths.push_back(rule.path);
  }
  return paths;
}

std::vector<std::string> read_paths(const std::string& file, const Links& links = {}) {
  FilesInUse files;
  files.read = {file};
  return paths_of(files, FileUse::read, links);
}

config::Config config_of(const Address& listen) {
  config::Config config;
  config.services.emplace_back().listen = {listen};
  return config;
}

}  // namespace

TEST_CASE("file rules: a replaceable file is allowed through its folder", "[confinement]") {
  CHECK(read_paths("/srv/proxy/proxy.toml") == Paths{"/srv/proxy"});
  CHECK(read_paths("/srv/./x/../proxy/proxy.toml") == Paths{"/srv/proxy"});
}

TEST_CASE("file rules: the target that a symlink may get is allowed", "[confinement]") {
  // A Kubernetes secret.
  CHECK(read_paths("/run/tls/tls.crt",
                   {{"/run/tls/tls.crt", "..data/tls.crt"}, {"/run/tls/..data", "..2026_11"}}) ==
        Paths{"/run/tls", "/run/tls/..data", "/run/tls/..2026_11"});
  // certbot.
  CHECK(read_paths("/srv/live/a/chain.pem",
                   {{"/srv/live/a/chain.pem", "../../archive/a/chain7.pem"}}) ==
        Paths{"/srv/live/a", "/srv/archive/a"});
  // A folder.
  CHECK(read_paths("/srv/now/tls.crt", {{"/srv/now", "/data/version1"}}) ==
        Paths{"/srv/now", "/data", "/data/version1"});
}

TEST_CASE("file rules: no configuration makes all files readable", "[confinement]") {
  CHECK(read_paths("/proxy.toml") == Paths{"/proxy.toml"});
  CHECK(read_paths("/var/run/proxy.toml", {{"/var/run", "/run"}}) == Paths{"/var/run", "/run"});
  CHECK(read_paths("/srv/proxy.toml", {{"/srv/proxy.toml", "/one.toml"}}) ==
        Paths{"/srv", "/one.toml"});
  for (const auto& rule : rules_of({})) {
    CAPTURE(rule.path);
    CHECK(rule.path != "/");  // S8: not even the names in every folder
  }
}

TEST_CASE("file rules: P4: the resolver's files may be replaced", "[confinement]") {
  CHECK(has(rules_of({}), "/etc"));
}

TEST_CASE("file rules: P4: resolv.conf may become a link to a folder of the resolver",
          "[confinement]") {
  const auto rules = rules_of({});
  for (const auto* folder : {"/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf"}) {
    CAPTURE(folder);
    CHECK(has(rules, folder));
  }
  CHECK_FALSE(has(rules, "/run"));
}

TEST_CASE("file rules: P4: of a missing folder of the resolver, a parent is allowed, but not /run",
          "[confinement]") {
  const auto rules = rules_of({}, {}, {"/run/systemd/resolve", "/run/NetworkManager"});
  CHECK(has(rules, "/run/systemd"));
  CHECK(has(rules, "/run/resolvconf"));
  CHECK_FALSE(has(rules, "/run/NetworkManager"));
  CHECK_FALSE(has(rules, "/run"));
  CHECK_FALSE(has(rules_of({}, {}, {"/run/systemd"}), "/run"));
  CHECK_FALSE(has(rules_of({}, {}, {"/run"}), "/"));
}

TEST_CASE("file rules: P4: a resolv.conf that leads nowhere yet is found later", "[confinement]") {
  const Links stub{{"/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"}};
  const auto without_resolve = rules_of({}, stub, {"/run/systemd/resolve"});
  CHECK(has(without_resolve, "/run/systemd"));
  CHECK_FALSE(has(without_resolve, "/run"));
  // There is no other way: without /run, no name would be resolved until a restart.
  CHECK(has(rules_of({}, stub, {"/run/systemd"}), "/run"));
  CHECK(has(rules_of({}, {{"/etc/resolv.conf", "/run/NetworkManager/resolv.conf"}},
                     {"/run/NetworkManager"}),
            "/run"));
  const auto nowhere = rules_of({}, {{"/etc/resolv.conf", "/none/resolv.conf"}}, {"/none"});
  CHECK_FALSE(has(nowhere, "/"));
  CHECK_FALSE(has(nowhere, "/none"));
}

TEST_CASE("file rules: a cycle of symlinks ends", "[confinement]") {
  CHECK(read_paths("/a/b", {{"/a/b", "/a/c"}, {"/a/c", "/a/b"}}) == Paths{"/a"});
  CHECK(read_paths("/x/y/f", {{"/x/y", "y"}}) == Paths{"/x/y", "/x"});
}

TEST_CASE("file rules: the resolver's own symlink is followed", "[confinement]") {
  CHECK(has(rules_of({}, {{"/etc/resolv.conf", "../srv/resolver/stub-resolv.conf"}}),
            "/srv/resolver"));
}

TEST_CASE("file rules: the log and unix sockets are writable in their folders", "[confinement]") {
  FilesInUse files;
  files.log = "/var/log/proxy/proxy.log";
  CHECK(paths_of(files, FileUse::append) == Paths{"/var/log/proxy"});
  files.log = "/dev/console";
  files.log_is_device = true;
  CHECK(paths_of(files, FileUse::device) == Paths{"/dev/console"});

  FilesInUse sockets;
  sockets.sockets = {"/run/proxy/a.sock", "/run/proxy/b.sock"};
  CHECK(paths_of(sockets, FileUse::socket) == Paths{"/run/proxy"});
}

TEST_CASE("capabilities: only capabilities that the configuration uses are kept", "[confinement]") {
  auto config = config_of({"127.0.0.1", 2525, ""});
  CHECK(capabilities_to_keep(config) == 0);

  auto& service = config.services.front();
  service.listen.push_back({"127.0.0.1", 1023, ""});
  CHECK(capabilities_to_keep(config) == Capabilities{1} << CAP_NET_BIND_SERVICE);
  service.listen.back() = {"127.0.0.1", 0, ""};
  CHECK(capabilities_to_keep(config) == 0);
  config.admin.listen = Address{"127.0.0.1", 80, ""};
  CHECK(capabilities_to_keep(config) == Capabilities{1} << CAP_NET_BIND_SERVICE);
  config.admin.listen = Address{"", 0, "/run/admin.sock"};
  CHECK(capabilities_to_keep(config) == 0);

  service.upstream.original_destination = true;  // TPROXY reaches no loopback listener
  CHECK(capabilities_to_keep(config) == 0);
  service.listen.back() = {"192.0.2.1", 2525, ""};
  CHECK(capabilities_to_keep(config) == Capabilities{1} << CAP_NET_ADMIN);
  service.upstream.original_destination = false;
  CHECK(capabilities_to_keep(config) == 0);
  service.upstream.from_client = true;
  CHECK(capabilities_to_keep(config) == Capabilities{1} << CAP_NET_ADMIN);
}

#include "proxy/confinement/user.h"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace starttls {
namespace {

constexpr int kMaxCapabilities = 64;

std::string system_text(int number) {
  return std::generic_category().message(number);
}

tl::unexpected<Error> failed(const User& user, const char* call) {
  return fail(Errc::system,
              "cannot become the user " + user.name + ": " + call + ": " + system_text(errno));
}

/// Limits the capabilities to `kept`. Effective and permitted ones are the same here: a capability
/// that is kept may be used. Returns false on failure.
bool limit_capabilities(Capabilities kept) noexcept {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  for (auto& half : data) {
    half.permitted &= static_cast<std::uint32_t>(kept);
    half.effective = half.permitted;
    half.inheritable = 0;
    kept >>= 32U;
  }
  return ::syscall(SYS_capset, &header, data.data()) == 0;
}

/// Limits the capabilities that executing a file could give. This needs CAP_SETPCAP, and means
/// little if nothing can be executed, so failures are ignored.
void limit_bounding_set(Capabilities kept) noexcept {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int each = 0; each < kMaxCapabilities; ++each) {
    if ((kept >> static_cast<unsigned>(each) & 1U) == 0) ::prctl(PR_CAPBSET_DROP, each, 0, 0, 0);
  }
}

/// Replaces the process's groups by the user's, so that none of root's is kept. Returns false on
/// failure; errno says why.
bool replace_groups(const User& user) noexcept {
  return ::initgroups(user.name.c_str(), user.gid) == 0;
}

/// True if the process has become this user, and cannot become root again (S11).
bool is_for_good(const User& user) noexcept {
  uid_t uid[3] = {};
  gid_t gid[3] = {};
  if (::getresuid(&uid[0], &uid[1], &uid[2]) != 0) return false;
  if (::getresgid(&gid[0], &gid[1], &gid[2]) != 0) return false;
  for (const auto each : uid) {
    if (each != user.uid) return false;
  }
  for (const auto each : gid) {
    if (each != user.gid) return false;
  }
  return ::setuid(0) != 0 && ::seteuid(0) != 0 && ::setresuid(0, 0, 0) != 0 &&
         (user.gid == 0 || (::setgid(0) != 0 && ::setegid(0) != 0)) && ::setgroups(0, nullptr) != 0;
}

}  // namespace

Result<User> find_user(const std::string& name) {
  std::vector<char> buffer(1024);
  passwd entry{};
  passwd* found = nullptr;
  int status = 0;
  while ((status = ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found)) ==
         ERANGE) {
    constexpr std::size_t kMaxEntry = std::size_t{1} << 20U;
    if (buffer.size() >= kMaxEntry) break;
    buffer.resize(buffer.size() * 2);
  }
  if (found == nullptr) {
    return fail(Errc::config, status == 0 ? "there is no such user" : system_text(status));
  }
  if (entry.pw_uid == 0) return fail(Errc::config, "this is root: name a user without privileges");
  return User{name, entry.pw_uid, entry.pw_gid};
}

Result<> may_become(const User& user) {
  if (::geteuid() == 0) return {};
  if (::getuid() == user.uid && ::geteuid() == user.uid) return {};
  return fail(Errc::config, "proxy.user: only root can become '" + user.name +
                                "', and this process runs as the user with the id " +
                                std::to_string(::getuid()));
}

void take_groups(const User& user) noexcept {
  if (::geteuid() == 0) static_cast<void>(replace_groups(user));
}

Result<> act_as(const User& user, const std::function<Result<>()>& action) {
  if (::geteuid() != 0) return action();
  const gid_t own_group = ::getegid();
  const int count = ::getgroups(0, nullptr);
  if (count < 0) return failed(user, "getgroups");
  std::vector<gid_t> own_groups(static_cast<std::size_t>(count));
  if (::getgroups(count, own_groups.data()) != count) return failed(user, "getgroups");

  if (!replace_groups(user)) return failed(user, "initgroups");
  if (::setegid(user.gid) != 0) return failed(user, "setegid");
  if (::seteuid(user.uid) != 0) return failed(user, "seteuid");
  auto done = action();
  if (::seteuid(0) != 0) return failed(user, "return to root: seteuid");
  if (::setegid(own_group) != 0) return failed(user, "return to root: setegid");
  if (::setgroups(own_groups.size(), own_groups.data()) != 0) {
    return failed(user, "return to root: setgroups");
  }
  return done;
}

Result<> become(const User& user, Capabilities kept) {
  if (::geteuid() != 0) return keep_capabilities(kept);
  limit_bounding_set(kept);
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return failed(user, "prctl");
  if (!replace_groups(user)) return failed(user, "initgroups");
  if (::setresgid(user.gid, user.gid, user.gid) != 0) return failed(user, "setresgid");
  if (::setresuid(user.uid, user.uid, user.uid) != 0) return failed(user, "setresuid");
  if (!limit_capabilities(kept)) return failed(user, "capset");
  if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) return failed(user, "prctl");
  if (!is_for_good(user)) {
    return fail(Errc::system,
                "cannot become the user " + user.name + ": it could become root again");
  }
  return {};
}

Result<> keep_capabilities(Capabilities kept) {
  limit_bounding_set(kept);
  if (!limit_capabilities(kept)) {
    return fail(Errc::system, "cannot give up capabilities: " + system_text(errno));
  }
  return {};
}

}  // namespace starttls

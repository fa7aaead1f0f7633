#include "lib/base/kept_secret.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include <unistd.h>

namespace starttls {
namespace {

std::string octal(mode_t mode) {
  std::string out = "0";
  for (unsigned shift = 9; shift > 0; shift -= 3) {
    out += static_cast<char>('0' + ((mode >> (shift - 3)) & 7U));
  }
  return out;
}

std::vector<gid_t> own_groups() {
  std::vector<gid_t> groups{::getegid()};
  const int count = ::getgroups(0, nullptr);
  if (count <= 0) return groups;
  groups.resize(1 + static_cast<std::size_t>(count));
  const int got = ::getgroups(count, groups.data() + 1);
  groups.resize(1 + static_cast<std::size_t>(std::max(got, 0)));
  return groups;
}

/// True for root's group and for a group of this process. A secret that another group may read is
/// refused.
bool is_own_group(gid_t group, const std::vector<gid_t>& own_groups) noexcept {
  return group == 0 || std::find(own_groups.begin(), own_groups.end(), group) != own_groups.end();
}

}  // namespace

bool is_kept_secret(mode_t mode, uid_t owner, gid_t group,
                    const std::vector<gid_t>& own_groups) noexcept {
  if ((mode & 077U) == 0) return true;
  constexpr mode_t kReadByOneGroup = 0640;
  if ((mode & 0777U & ~kReadByOneGroup) != 0 || owner != 0) return false;
  return is_own_group(group, own_groups);
}

Result<> check_kept_secret(const struct ::stat& status) {
  if (!S_ISREG(status.st_mode)) return fail(Errc::config, "not a regular file");
  if (is_kept_secret(status.st_mode, status.st_uid, status.st_gid, own_groups())) return {};
  return fail(Errc::config, "this secret is open to group or others (mode " +
                                octal(status.st_mode) +
                                "): set 0600, or 0640 with owner root and a group of this process");
}

}  // namespace starttls

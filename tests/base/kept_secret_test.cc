#include "lib/base/kept_secret.h"

#include <vector>

#include <unistd.h>

#include "tests/support/catch.h"

using namespace starttls;

TEST_CASE("kept secret: a file that root owns may be readable by one group",
          "[base][security][T7]") {
  constexpr uid_t kRoot = 0;
  constexpr uid_t kUser = 1000;
  const std::vector<gid_t> own = {1000, 2000};
  // Kubernetes: fsGroup. systemd: root's group, and an access control list. Debian and certbot's
  // manual: 0640 root:ssl-cert.
  for (const mode_t mode : {0100440U, 0100640U, 0100040U}) {
    INFO(mode);
    CHECK(is_kept_secret(mode, kRoot, 2000, own));
    CHECK(is_kept_secret(mode, kRoot, 0, own));
    CHECK_FALSE(is_kept_secret(mode, kRoot, 3000, own));
    CHECK_FALSE(is_kept_secret(mode, kUser, 1000, own));
    CHECK_FALSE(is_kept_secret(mode, kUser, 0, own));
  }
  for (const mode_t mode : {0660U, 0650U, 0740U, 0460U, 0450U, 0444U, 0644U, 0441U, 0442U, 0604U}) {
    INFO(mode);
    CHECK_FALSE(is_kept_secret(mode, kRoot, 0, own));
    CHECK_FALSE(is_kept_secret(mode, kRoot, 1000, own));
  }
  for (const mode_t mode : {0600U, 0400U, 0700U}) CHECK(is_kept_secret(mode, kUser, 3000, own));
}

TEST_CASE("kept secret: the status of a file that is open to others is refused with its mode",
          "[base][security][T7]") {
  struct ::stat status = {};
  status.st_uid = ::geteuid();
  status.st_gid = ::getegid();
  status.st_mode = S_IFREG | 0600U;
  CHECK(check_kept_secret(status));
  status.st_mode = S_IFREG | 0644U;
  REQUIRE_FALSE(check_kept_secret(status));
  CHECK(check_kept_secret(status).error().reason ==
        "this secret is open to group or others (mode 0644): set 0600, or 0640 with owner root and "
        "a group of this process");
  status.st_mode = S_IFDIR | 0700U;
  REQUIRE_FALSE(check_kept_secret(status));
  CHECK(check_kept_secret(status).error().reason == "not a regular file");
}

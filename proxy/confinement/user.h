#pragma once

// Who the process is, and which of root's rights it has.

#include <functional>
#include <string>

#include <sys/types.h>

#include "lib/base/error.h"
#include "proxy/confinement/rules.h"

namespace starttls {

struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Errors: config, where there is no such user or it is root, in words that follow the name.
[[nodiscard]] Result<User> find_user(const std::string& name);

/// Whether this process may become `user`: it is root, or that user already. Errors: config.
[[nodiscard]] Result<> may_become(const User& user);

/// Takes on the groups of `user`, as root, who stays root: what is asked of files, whose groups may
/// read a secret, is then answered as it will be when this process has become that user. Where it
/// may not, `become` will say so. Before there are threads.
void take_groups(const User& user) noexcept;

/// Does something as `user`, with its groups, and is root again. Where the process is not root it
/// is done as it is. Before there are threads. Errors: those of `action`; system.
[[nodiscard]] Result<> act_as(const User& user, const std::function<Result<>()>& action);

/// Becomes `user`, with its groups, for good: that there is no way back is tried. Of the process's
/// capabilities those in `kept` stay. Before there are threads. Errors: system; the process must
/// end then.
[[nodiscard]] Result<> become(const User& user, Capabilities kept);

/// Gives up all capabilities but those in `kept`. Before there are threads. Errors: system.
[[nodiscard]] Result<> keep_capabilities(Capabilities kept);

}  // namespace starttls

#pragma once

// The user that the process runs as, and the rights of root that it keeps.

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

/// Finds the user of this name. Errors: config, if there is no such user or it is root, in words
/// that follow the name.
[[nodiscard]] Result<User> find_user(const std::string& name);

/// Checks that this process may become `user`: it is root, or that user already. Errors: config.
[[nodiscard]] Result<> may_become(const User& user);

/// Takes on the groups of `user` if the process is root, and stays root. These groups may have the
/// right to read a secret. Checks of files then give the answers that they will give when this
/// process has become that user. If it may not take them on, `become` reports that. Call it before
/// there are threads.
void take_groups(const User& user) noexcept;

/// Does something as `user`, with its groups, and is root again afterwards. If the process is not
/// root, it does it without any change. Call it before there are threads. Errors: those of
/// `action`; system.
[[nodiscard]] Result<> act_as(const User& user, const std::function<Result<>()>& action);

/// Becomes `user`, with its groups, for good, and checks that there is no way back. Keeps those
/// capabilities of the process that are in `kept`. Call it before there are threads. Errors:
/// system; the process must end then.
[[nodiscard]] Result<> become(const User& user, Capabilities kept);

/// Gives up all capabilities except those in `kept`. Call it before there are threads. Errors:
/// system.
[[nodiscard]] Result<> keep_capabilities(Capabilities kept);

}  // namespace starttls

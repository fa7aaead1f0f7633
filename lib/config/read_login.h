#pragma once

// Reads the values of a login. Secrets are among them, so no message shows a value.

#include <optional>
#include <string>
#include <vector>

#include "lib/base/secret.h"
#include "lib/config/schema.h"

namespace starttls::config {

/// Reads a secret that the proxy sends to a server; "" = none.
void read_secret(const Input& input, std::optional<Secret>& out);
/// Reads the password that a client must give, or its hash; "" = any password will do.
void read_password(const Input& input, std::optional<Secret>& out);
/// Reads the path of a unix socket, which may come after "unix:", and makes it absolute; "" = none.
void read_socket_path(const Input& input, std::string& out);
/// Reads a program and its arguments; an empty list = none. Makes the program's path absolute. Only
/// arguments may hold "{user}".
void read_command(const Input& input, std::vector<std::string>& out);
/// Reads the name of an account; "" = none.
void read_login_name(const Input& input, std::string& out);
/// Reads the same, and refuses "".
void read_account_name(const Input& input, std::string& out);

}  // namespace starttls::config

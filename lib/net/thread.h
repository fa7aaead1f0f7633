#pragma once

#include <functional>
#include <string>
#include <thread>

#include "lib/base/error.h"

namespace starttls::net {

/// Starts a thread. Signals are left to the thread that watches them. Tools such as `top -H` show
/// `name`, of at most 15 characters. Errors: system, if no more threads may run.
[[nodiscard]] Result<std::thread> start_thread(std::string name, std::function<void()> body);

}  // namespace starttls::net

#pragma once

// Starts a program. What it sees is decided here: no descriptor of ours, an environment of three
// variables, no terminal, and a process group of its own.

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "lib/base/descriptor.h"

namespace starttls::launcher {

/// Returns the system's words for a value of errno.
[[nodiscard]] std::string system_text(int number);

/// Returns the environment of programs: PATH and LANG are the caller's, HOME is that of the user
/// `uid`. Nothing else, because the caller's environment may have secrets.
[[nodiscard]] std::vector<std::string> reduced_environment(uid_t uid);

/// Closes all descriptors from `first` on.
void close_from(int first) noexcept;

/// A program that runs.
struct Child {
  pid_t pid = -1;     ///< it leads a process group with this number
  Descriptor output;  ///< read end, non-blocking
  Descriptor error;   ///< the same for standard error
};

/// Runs a program. If it cannot be executed, it ends with status 127 and a line on standard error.
/// Returns nothing on failure; errno says why.
[[nodiscard]] std::optional<Child> start_child(const std::vector<std::string>& arguments,
                                               const std::vector<std::string>& environment);

/// Ends all processes in the child's group.
void kill_group(pid_t pid) noexcept;

}  // namespace starttls::launcher

#pragma once

// The rights that the process gives up before it serves anybody.

#include <string>
#include <vector>

#include "lib/base/error.h"
#include "proxy/confinement/rules.h"

namespace starttls {

/// No core file of this process is kept: its memory has passwords. With or without a sandbox; that
/// a handler of dumps gets none at all takes the sandbox, for debuggers could not look into it
/// either. Errors: system.
[[nodiscard]] Result<> forbid_core_files();

/// From now on the kernel refuses this process every new io_uring, as a kernel without io_uring
/// does (ENOSYS). Gives up new privileges, too. Call it before the first event loop is made and
/// before there are threads. A kernel without seccomp filters refuses nothing. Errors: system.
///
/// libuv from 1.50 on makes an io_uring for each loop, no variable prevents that, and it ends the
/// process if the ring fails later. Inside the sandbox it would fail: operations of a ring are not
/// seen by a filter of system calls, so the sandbox never allows one.
[[nodiscard]] Result<> forbid_io_uring();

/// Gives up, for good: new privileges (setuid programs, file capabilities), all files but those in
/// `rules` (Landlock), all system calls that a running proxy has no use for (seccomp), core dumps,
/// and being looked into by other processes of the same user.
///
/// A system call that is not foreseen fails with ENOSYS, as on a kernel without it, which is what
/// the C library knows to go around; executing a program, and what only an intruder calls, ends the
/// process (SIGSYS).
///
/// Before there are threads: these inherit it. Returns what this kernel does not have, one each.
/// Errors: system; the process must end then.
[[nodiscard]] Result<std::vector<std::string>> enter_sandbox(const std::vector<FileRule>& rules);

/// Takes all files from the calling thread, for threads that serve sessions: they only use sockets,
/// and most of what is hostile reaches the process through them. After enter_sandbox. A kernel that
/// cannot do it has been named there.
void give_up_files() noexcept;

}  // namespace starttls

#pragma once

// The rights that the process gives up before it serves the first client.

#include <string>
#include <vector>

#include "lib/base/error.h"
#include "proxy/confinement/rules.h"

namespace starttls {

/// Prevents core files of this process, with or without a sandbox, since its memory has passwords.
/// A core handler that is a program still gets a dump. Only the sandbox prevents that, because
/// preventing it keeps debuggers out as well. Errors: system.
[[nodiscard]] Result<> forbid_core_files();

/// Makes the kernel refuse every new io_uring to this process, as a kernel without io_uring does
/// (ENOSYS). Gives up new privileges, too. Call it before the first event loop is made and before
/// there are threads. A kernel without seccomp filters refuses nothing. Errors: system.
///
/// libuv from 1.50 on makes an io_uring for each loop, and no variable prevents that. It ends the
/// process if the ring fails later. Inside the sandbox the ring would fail. A filter of system
/// calls does not see a ring's operations, so the sandbox never allows one.
[[nodiscard]] Result<> forbid_io_uring();

/// Gives up for good: new privileges (setuid programs, file capabilities), and all files except
/// those in `rules` (Landlock). Also gives up all system calls that a running proxy does not need
/// (seccomp), and core dumps. Other processes of the same user cannot look into this one any more.
///
/// A system call that is not foreseen fails with ENOSYS, as on a kernel without it. The C library
/// can do without such a call. Executing a program, or another call that only an intruder makes,
/// ends the process (SIGSYS).
///
/// Call it before there are threads, which inherit all this. Returns the parts that this kernel
/// lacks, one each. Errors: system; the process must end then.
[[nodiscard]] Result<std::vector<std::string>> enter_sandbox(const std::vector<FileRule>& rules);

/// Takes all files from the calling thread, which serves sessions. Such threads only use sockets,
/// and most hostile input reaches the process through them. Call it after enter_sandbox, which has
/// already reported a kernel that cannot do it.
void give_up_files() noexcept;

}  // namespace starttls

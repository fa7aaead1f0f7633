#include "proxy/confinement/sandbox.h"

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/descriptor.h"

namespace starttls {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

tl::unexpected<Error> failed(const std::string& what, int number) {
  return fail(Errc::system,
              "cannot enter the sandbox: " + what + ": " + std::generic_category().message(number));
}

// --- Landlock

// Constants that the headers of older systems lack.
constexpr std::uint64_t kRefer = std::uint64_t{1} << 13U;
constexpr std::uint64_t kTruncate = std::uint64_t{1} << 14U;
constexpr std::uint64_t kIoctlDevice = std::uint64_t{1} << 15U;
constexpr std::uint64_t kScopeSignal = std::uint64_t{1} << 1U;

struct Ruleset {
  std::uint64_t files = 0;
  std::uint64_t network = 0;
  std::uint64_t scoped = 0;
};

/// Returns everything that this version of Landlock can refuse: uses of files, and signals to other
/// processes.
Ruleset refused(int version) noexcept {
  Ruleset ruleset;
  ruleset.files = kRefer - 1;
  if (version >= 2) ruleset.files |= kRefer;
  if (version >= 3) ruleset.files |= kTruncate;
  if (version >= 5) ruleset.files |= kIoctlDevice;
  if (version >= 6) ruleset.scoped = kScopeSignal;
  return ruleset;
}

std::size_t size_of_ruleset(int version) noexcept {
  if (version < 4) return sizeof(std::uint64_t);
  return version < 6 ? 2 * sizeof(std::uint64_t) : sizeof(Ruleset);
}

std::uint64_t allowed(FileUse use) noexcept {
  switch (use) {
    case FileUse::read:
      return LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    case FileUse::device:
      return LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
    case FileUse::append:
      return LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG;
    case FileUse::socket:
      return LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
  }
  return 0;
}

Result<> add_rule(int ruleset, const std::string& file, std::uint64_t access) {
  const Descriptor path{::open(file.c_str(), O_PATH | O_CLOEXEC)};
  if (path.get() < 0) return {};  // not there, or not for us: nothing to allow
  struct stat status = {};
  if (::fstat(path.get(), &status) != 0) return failed(file, errno);
  constexpr std::uint64_t kOfFiles =
      LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
  landlock_path_beneath_attr beneath{};
  beneath.allowed_access = access;
  if (!S_ISDIR(status.st_mode)) beneath.allowed_access &= kOfFiles;
  beneath.parent_fd = path.get();
  if (beneath.allowed_access == 0) return {};
  // Pipes and sockets are on no file system, and are not restricted: EBADFD.
  if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) != 0 &&
      errno != EBADFD) {
    return failed("landlock_add_rule: " + file, errno);
  }
  return {};
}

long landlock_version() noexcept {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/// Refuses all files except those in `rules`. Returns the part of this that the kernel lacks; "" if
/// it lacks nothing.
Result<std::string> restrict_files(const std::vector<FileRule>& rules) {
  const long version = landlock_version();
  // Landlock is not built in, is switched off, or is refused by the container's own filter.
  if (version < 1) return "Landlock (" + std::generic_category().message(errno) + ")";

  const Ruleset attributes = refused(static_cast<int>(version));
  const Descriptor ruleset{static_cast<int>(::syscall(
      SYS_landlock_create_ruleset, &attributes, size_of_ruleset(static_cast<int>(version)), 0))};
  if (ruleset.get() < 0) return failed("landlock_create_ruleset", errno);
  for (const auto& rule : rules) {
    auto added = add_rule(ruleset.get(), rule.path, allowed(rule.use));
    if (!added) return fail(std::move(added.error()));
  }
  if (kSanitized) {
    // The sanitizers' reports read symbols, and run a program that does.
    constexpr std::uint64_t kReading =
        LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
    if (auto added = add_rule(ruleset.get(), "/", kReading); !added) {
      return fail(std::move(added.error()));
    }
  }
  // The rule for our folder in /proc holds as long as the kernel keeps that folder in memory. This
  // descriptor keeps it there.
  static const Descriptor own{::open("/proc/self", O_PATH | O_CLOEXEC)};
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return failed("landlock_restrict_self", errno);
  }
  return std::string{};
}

// --- seccomp

/// System calls that libuv, the resolver, malloc, threads or a reload need.
constexpr const char* kAllowed[] = {
    // Descriptors and files.
    "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev",
    "pwritev2", "close", "close_range", "lseek", "_llseek", "dup", "dup2", "dup3", "fcntl",
    "fcntl64", "pipe", "pipe2", "open", "openat", "openat2", "access", "faccessat", "faccessat2",
    "stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "newfstatat", "fstatat64", "statx",
    "statfs", "statfs64", "fstatfs", "fstatfs64", "readlink", "readlinkat", "getdents",
    "getdents64", "getcwd", "umask", "unlink", "unlinkat", "rename", "renameat", "fadvise64",
    "fsync", "fdatasync",
    // Sockets and waiting.
    "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "getsockopt",
    "setsockopt", "shutdown", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom",
    "recvmsg", "recvmmsg", "socketpair", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "_newselect", "pselect6", "eventfd",
    "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    // Memory and threads.
    "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "brk", "futex", "futex_waitv",
    "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "set_thread_area",
    "arch_prctl", "membarrier", "exit", "exit_group", "sched_yield", "sched_getaffinity",
    "sched_setaffinity", "sched_getparam", "sched_getscheduler", "getcpu",
    // Signals.
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigpending",
    "rt_sigsuspend", "sigaltstack", "sigreturn", "restart_syscall",
    // Time, random numbers and our own identity.
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    "times", "getrandom", "getpid", "getppid", "gettid", "getuid", "getuid32", "geteuid",
    "geteuid32", "getgid", "getgid32", "getegid", "getegid32", "getgroups", "getgroups32",
    "getresuid", "getresgid", "landlock_create_ruleset", "landlock_restrict_self", "capget",
    "getrlimit", "ugetrlimit", "getrusage", "uname", "sysinfo"};

/// System calls that no program makes by mistake. They end the process.
constexpr const char* kFatal[] = {"execve",
                                  "execveat",
                                  "ptrace",
                                  "process_vm_readv",
                                  "process_vm_writev",
                                  "mount",
                                  "umount2",
                                  "pivot_root",
                                  "chroot",
                                  "setns",
                                  "unshare",
                                  "open_tree",
                                  "move_mount",
                                  "init_module",
                                  "finit_module",
                                  "kexec_load",
                                  "kexec_file_load",
                                  "delete_module",
                                  "bpf",
                                  "userfaultfd",
                                  "add_key",
                                  "request_key",
                                  "keyctl",
                                  "perf_event_open",
                                  "pidfd_getfd",
                                  "swapon",
                                  "reboot",
                                  "open_by_handle_at"};

using Filter = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

/// Adds a rule for a system call. Returns 0, or a negative errno. A call that this architecture
/// does not have is skipped.
int add(const Filter& filter, std::uint32_t action, const char* name,
        std::initializer_list<scmp_arg_cmp> conditions = {}) {
  const int number = ::seccomp_syscall_resolve_name(name);
  if (number < 0) return 0;
  return ::seccomp_rule_add_array(filter.get(), action, number,
                                  static_cast<unsigned>(conditions.size()), conditions.begin());
}

constexpr scmp_arg_cmp equal(unsigned argument, std::uint64_t value) noexcept {
  return {argument, SCMP_CMP_EQ, value, 0};
}

/// Adds the rules for system calls that are allowed with certain arguments only. Returns 0, or a
/// negative errno.
int add_conditional(const Filter& filter) {
  int result = 0;
  const auto allow = [&](const char* name, std::initializer_list<scmp_arg_cmp> conditions) {
    if (result == 0) result = add(filter, SCMP_ACT_ALLOW, name, conditions);
  };
  // Netlink: the resolver, and the loop guard, ask which addresses are ours.
  for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
    allow("socket", {equal(0, static_cast<std::uint64_t>(family))});
  }
  // Threads are allowed, processes are not. The C library tries clone3 first, then clone. No filter
  // can see the flags of clone3.
  allow("clone", {{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD}});
  for (const std::uint64_t request :
       {std::uint64_t{FIONBIO}, std::uint64_t{FIONREAD}, std::uint64_t{SIOCOUTQ},
        std::uint64_t{FIOCLEX}, std::uint64_t{FIONCLEX}, std::uint64_t{TCGETS},
        std::uint64_t{SIOCGIFINDEX}, std::uint64_t{SIOCGIFNAME}, std::uint64_t{SIOCGIFFLAGS}}) {
    allow("ioctl", {equal(1, request)});
  }
  constexpr std::uint64_t kPrSetVma = 0x53564d41;  // names of memory areas
  for (const std::uint64_t option : {std::uint64_t{PR_SET_NAME}, std::uint64_t{PR_GET_NAME},
                                     std::uint64_t{PR_GET_DUMPABLE}, kPrSetVma}) {
    allow("prctl", {equal(0, option)});
  }
  // From socket to pipe to socket: they have no offset, unlike most files.
  allow("splice", {equal(1, 0), equal(3, 0)});
  // A socket takes over another one's path (net::Takeover). Landlock lets no other file be moved.
  // Some C libraries have no other call for it.
  allow("renameat2", {equal(4, 0)});
  const auto self = static_cast<std::uint64_t>(::getpid());
  allow("tgkill", {equal(0, self)});  // abort
  allow("prlimit64", {equal(0, 0)});
  allow("prlimit64", {equal(0, self)});
  return result;
}

/// Fills the filter, but does not load it. Returns 0, or a negative errno.
int fill(const Filter& filter) {
  if (filter == nullptr) return -ENOMEM;
  const auto set = [&filter](scmp_filter_attr attribute, std::uint32_t value) {
    return ::seccomp_attr_set(filter.get(), attribute, value);
  };
  // TSYNC: the filter holds for threads that run already, if any. SSB: speculation stays as it is
  // without a filter, and others on the processor can learn no more from it.
  int result = set(SCMP_FLTATR_CTL_TSYNC, 1);
  if (result == 0) result = set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (result == 0) static_cast<void>(set(SCMP_FLTATR_CTL_OPTIMIZE, 2));
  if (result == 0) static_cast<void>(set(SCMP_FLTATR_CTL_SSB, 1));
  for (const auto* name : kAllowed) {
    if (result == 0) result = add(filter, SCMP_ACT_ALLOW, name);
  }
  for (const auto* name : kFatal) {
    if (result == 0) result = add(filter, SCMP_ACT_KILL_PROCESS, name);
  }
  return result == 0 ? add_conditional(filter) : result;
}

/// Refuses all system calls except those that a running proxy needs. Returns the part of this that
/// the kernel lacks; "" if it lacks nothing.
Result<std::string> restrict_calls() {
  if (::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) {
    return "seccomp (" + std::generic_category().message(errno) + ")";
  }
  const Filter filter(::seccomp_init(SCMP_ACT_ERRNO(ENOSYS)), &::seccomp_release);
  if (const int result = fill(filter); result != 0) return failed("seccomp", -result);
  // Filters are not built in, or are refused by the container's own filter. The library returns one
  // errno for every error of the kernel.
  if (::seccomp_load(filter.get()) != 0) return std::string{"seccomp filters"};
  return std::string{};
}

}  // namespace

Result<> forbid_core_files() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) == 0) return {};
  return fail(Errc::system, "cannot prevent core files: " + std::generic_category().message(errno));
}

Result<> forbid_io_uring() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("no new privileges", errno);
  const Filter filter(::seccomp_init(SCMP_ACT_ALLOW), &::seccomp_release);
  if (filter == nullptr) return failed("seccomp", ENOMEM);
  static_cast<void>(::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_SSB, 1));
  if (const int result = add(filter, SCMP_ACT_ERRNO(ENOSYS), "io_uring_setup"); result != 0) {
    return failed("seccomp", -result);
  }
  // If this fails, the sandbox's own filter fails too, and that is reported. A ring does no harm
  // then.
  static_cast<void>(::seccomp_load(filter.get()));
  return {};
}

Result<std::vector<std::string>> enter_sandbox(const std::vector<FileRule>& rules) {
  if (auto forbidden = forbid_core_files(); !forbidden) return fail(std::move(forbidden.error()));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("no new privileges", errno);

  std::vector<std::string> lacking;
  auto lack = restrict_files(rules);
  if (!lack) return fail(std::move(lack.error()));
  if (!lack->empty()) lacking.push_back(std::move(*lack));
  // To look for leaks, the address sanitizer stops this process from a second one, by ptrace. The
  // rest of the sandbox would prevent that.
  if (kSanitized) return lacking;

  // The limit alone does not keep a dump from a core handler that is a program.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return failed("prctl", errno);
  lack = restrict_calls();
  if (!lack) return fail(std::move(lack.error()));
  if (!lack->empty()) lacking.push_back(std::move(*lack));
  return lacking;
}

void give_up_files() noexcept {
  if (kSanitized) return;
  const long version = landlock_version();
  if (version < 1) return;
  Ruleset attributes = refused(static_cast<int>(version));
  attributes.scoped = 0;
  const Descriptor ruleset{static_cast<int>(::syscall(
      SYS_landlock_create_ruleset, &attributes, size_of_ruleset(static_cast<int>(version)), 0))};
  if (ruleset.get() >= 0) {
    static_cast<void>(::syscall(SYS_landlock_restrict_self, ruleset.get(), 0));
  }
}

}  // namespace starttls

// Preloaded into the daemon: plays an attacker that runs its own code on a worker's thread. When
// the first client is accepted, it tries what INTRUDER names ("look" or "exec"). It reports on
// standard error how each attempt ended, in a line like those of the log. Or it throws an exception
// ("throw"). Or it sends what each client says to the launcher ("launcher"), and reports all of the
// launcher's answers, in hexadecimal digits.
//
// INTRUDER_KERNEL=old: the kernel has neither Landlock nor seccomp filters.
// INTRUDER_PORT: on this port another process is always the quicker one to listen.
// INTRUDER_USER=stays: the system reports that it has changed the user, and has not.
// INTRUDER_SWAP: this file takes the place of a unix socket as soon as that is bound.
// INTRUDER_REFUSES=sandbox: the sandbox cannot be entered.
// INTRUDER_REFUSES=rename: no file can be renamed.
// INTRUDER_THREADS: only so many threads can be started.

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

void tell(const char* attempt, long result) {
  char line[200];
  const int size = std::snprintf(line, sizeof(line), "msg=intruder attempt=%s result=%s\n", attempt,
                                 result >= 0 ? "success" : ::strerrorname_np(errno));
  if (::write(STDERR_FILENO, line, static_cast<std::size_t>(size)) < 0) std::abort();
}

void look() {
  const std::string folder = variable("INTRUDER_FOLDER");
  tell("list", ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  tell("homes", ::open("/home", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  tell("shadow", ::open("/etc/shadow", O_RDONLY | O_CLOEXEC));
  tell("passwd", ::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  tell("read", ::open((folder + "/there").c_str(), O_RDONLY | O_CLOEXEC));
  tell("write", ::open((folder + "/there").c_str(), O_WRONLY | O_CLOEXEC));
  tell("create", ::open((folder + "/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  tell("rename", ::rename((folder + "/there").c_str(), (folder + "/there").c_str()));
  tell("remove", ::unlink((folder + "/there").c_str()));
  tell("configuration", ::open(variable("INTRUDER_CONFIG").c_str(), O_WRONLY | O_CLOEXEC));
  tell("packets", ::socket(AF_PACKET, SOCK_RAW, 0));
  tell("dumpable", ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
  tell("signal", ::kill(::getppid(), 0));
  // The pointer for the answer is null: a kernel with rings returns EFAULT.
  tell("ring", ::syscall(SYS_io_uring_setup, 1, nullptr));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  tell("fork", child);
  if (child > 0) ::waitpid(child, nullptr, 0);
}

bool is_launcher(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

/// Sends the client's first bytes to the launcher, as one packet.
void ask_launcher(int client) {
  char packet[2048];
  pollfd readable{client, POLLIN, 0};
  if (::poll(&readable, 1, 60'000) != 1) std::abort();
  // No packet begins with a letter. So this is another client, of the admin endpoint.
  if (::recv(client, packet, 1, MSG_PEEK) == 1 && packet[0] >= 'A') return;
  const auto size = ::recv(client, packet, sizeof(packet), 0);
  for (int fd = 0; fd < 1024; ++fd) {
    if (!is_launcher(fd)) continue;
    tell("ask", ::send(fd, packet, static_cast<std::size_t>(size), MSG_NOSIGNAL));
    return;
  }
  errno = ENOENT;
  tell("ask", -1);
}

void tell_answer(const char* packet, std::size_t size) {
  std::string line = "msg=answer packet=";
  for (std::size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(packet[i]);
    for (const int half : {byte >> 4, byte & 15}) line += "0123456789abcdef"[half];
  }
  line += '\n';
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) std::abort();
}

void intrude() {
  static std::atomic_flag once = ATOMIC_FLAG_INIT;
  if (once.test_and_set()) return;
  const std::string what = variable("INTRUDER");
  if (what == "look") look();
  if (what == "throw") throw std::bad_alloc();
  if (what == "exec") {
    tell("before", 0);
    const char* const arguments[] = {"true", nullptr};
    ::execve("/bin/true", const_cast<char**>(arguments), nullptr);
    tell("exec", -1);
  }
}

}  // namespace

extern "C" {

int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  const int accepted =
      real<int (*)(int, sockaddr*, socklen_t*, int)>("accept4")(fd, address, size, flags);
  if (accepted >= 0 && variable("INTRUDER") == "launcher") ask_launcher(accepted);
  if (accepted >= 0) intrude();
  return accepted;
}

ssize_t recv(int fd, void* buffer, size_t size, int flags) {
  const auto count = real<ssize_t (*)(int, void*, size_t, int)>("recv")(fd, buffer, size, flags);
  if (count > 0 && variable("INTRUDER") == "launcher" && is_launcher(fd)) {
    tell_answer(static_cast<const char*>(buffer), static_cast<std::size_t>(count));
  }
  return count;
}

int setresuid(uid_t user, uid_t effective, uid_t saved) {
  if (variable("INTRUDER_USER") == "stays") return 0;
  return real<int (*)(uid_t, uid_t, uid_t)>("setresuid")(user, effective, saved);
}

int bind(int fd, const sockaddr* address, socklen_t size) {
  const int bound = real<int (*)(int, const sockaddr*, socklen_t)>("bind")(fd, address, size);
  const std::string file = variable("INTRUDER_SWAP");
  if (bound == 0 && address->sa_family == AF_UNIX && !file.empty()) {
    const char* path = reinterpret_cast<const sockaddr_un*>(address)->sun_path;
    if (::rename(file.c_str(), path) != 0) std::abort();
  }
  return bound;
}

int listen(int fd, int backlog) {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
      address.sin_family == AF_INET &&
      std::to_string(ntohs(address.sin_port)) == variable("INTRUDER_PORT")) {
    errno = EADDRINUSE;
    return -1;
  }
  return real<int (*)(int, int)>("listen")(fd, backlog);
}

long syscall(long number, ...) {
  if (number == SYS_landlock_create_ruleset && variable("INTRUDER_KERNEL") == "old") {
    errno = ENOSYS;
    return -1;
  }
  if (number == SYS_landlock_restrict_self && variable("INTRUDER_REFUSES") == "sandbox") {
    errno = EPERM;
    return -1;
  }
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& each : arguments) each = va_arg(list, long);
  va_end(list);
  return real<long (*)(long, ...)>("syscall")(number, arguments[0], arguments[1], arguments[2],
                                              arguments[3], arguments[4], arguments[5]);
}

int rename(const char* from, const char* to) {
  if (variable("INTRUDER_REFUSES") == "rename") {
    errno = EPERM;
    return -1;
  }
  return real<int (*)(const char*, const char*)>("rename")(from, to);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                   void* argument) {
  static std::atomic<long> started{0};
  const std::string most = variable("INTRUDER_THREADS");
  if (!most.empty() && started++ >= std::atol(most.c_str())) return EAGAIN;
  return real<int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>(
      "pthread_create")(thread, attributes, body, argument);
}

int seccomp_load(void* filter) {
  if (variable("INTRUDER_KERNEL") == "old") return -ECANCELED;
  return real<int (*)(void*)>("seccomp_load")(filter);
}
}

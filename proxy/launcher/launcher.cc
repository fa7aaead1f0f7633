#include "proxy/launcher/launcher.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <span>
#include <string_view>
#include <utility>

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/secret.h"
#include "proxy/launcher/child.h"
#include "proxy/launcher/program_output.h"

namespace starttls::launcher {
namespace {

/// Bytes that are read from a pipe before others have their turn, or the last ones of a program
/// that has ended. A process outside its group might write without end.
constexpr std::size_t kReadAtOnce = 256UL * 1024;

/// Reads what is there, up to a limit, and hands it on. Closes `pipe` at its end.
template <class Add>
void read_pipe(Descriptor& pipe, const Add& add) {
  std::array<char, 4096> buffer{};
  for (std::size_t all = 0; pipe.get() >= 0 && all < kReadAtOnce;) {
    const auto count = ::read(pipe.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count <= 0) {
      pipe.reset();
      break;
    }
    add(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
    all += static_cast<std::size_t>(count);
  }
  wipe(buffer);
}

}  // namespace

/// A program that runs, or that has been killed and has not ended yet.
struct Launcher::Run {
  std::uint64_t id;
  Child child;
  Clock::time_point deadline;
  bool answered = false;
  ProgramOutput output{};

  void read_output() {
    read_pipe(child.output, [this](std::string_view bytes) { output.add_output(bytes); });
  }
  void read_error() {
    read_pipe(child.error, [this](std::string_view bytes) { output.add_error(bytes); });
  }
};

Launcher::Launcher(Setting setting) : setting_(std::move(setting)) {}

Launcher::~Launcher() {
  for (const auto& run : runs_) kill_group(run->child.pid);
  for (auto& packet : answers_) wipe(packet);
}

bool Launcher::serve() {
  if (!open_signals()) return false;
  while (!ends_) {
    if (!wait()) return false;
  }
  return true;
}

/// Takes the signals that have a meaning here. The others of the proxy are blocked: a terminal and
/// a supervisor send them to all processes, and the proxy alone decides when to end.
bool Launcher::open_signals() {
  sigset_t ours;
  ::sigemptyset(&ours);
  ::sigaddset(&ours, SIGCHLD);
  ::sigaddset(&ours, SIGTERM);
  signals_ = Descriptor{::signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC)};
  return signals_.get() >= 0;
}

/// Waits for one of all events, and handles it.
bool Launcher::wait() {
  std::vector<pollfd> all;
  all.push_back({signals_.get(), POLLIN, 0});
  all.push_back({setting_.pair.get(), static_cast<short>(answers_.empty() ? POLLIN : POLLOUT), 0});
  for (const auto& run : runs_) {
    // A closed pipe has the number -1, which poll ignores.
    all.push_back({run->child.output.get(), POLLIN, 0});
    all.push_back({run->child.error.get(), POLLIN, 0});
  }
  if (::poll(all.data(), all.size(), milliseconds_to_wait()) < 0) {
    return errno == EINTR;
  }
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (all[2 + 2 * i].revents != 0) runs_[i]->read_output();
    if (all[3 + 2 * i].revents != 0) runs_[i]->read_error();
  }
  if (all[0].revents != 0) on_signals();
  end_late(Clock::now());
  start_waiting();
  if (all[1].revents != 0) {
    if (answers_.empty()) {
      on_request();
    } else {
      send_answers();
    }
  }
  return true;
}

int Launcher::milliseconds_to_wait() const {
  auto first = Clock::time_point::max();
  for (const auto& run : runs_) {
    if (!run->answered) first = std::min(first, run->deadline);
  }
  for (const auto& each : waiting_) first = std::min(first, each.deadline);
  if (first == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX));
}

void Launcher::on_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    // The kernel sends TERM when the proxy ends. Any other TERM is for the proxy.
    if (info.ssi_signo == SIGTERM && ::getppid() != setting_.proxy) ends_ = true;
  }
  reap();
}

// --- The proxy's requests ------------------------------------------------------------------------

void Launcher::on_request() {
  std::array<char, kMaxRequest + 1> packet{};
  const auto count = ::recv(setting_.pair.get(), packet.data(), packet.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    ends_ = true;
    return;
  }
  auto request = parse_request({packet.data(), static_cast<std::size_t>(count)});
  if (!request) {
    ends_ = true;  // the proxy is not itself any more
    return;
  }
  switch (request->kind) {
    case Request::Kind::run:
      on_run(request->account, request->id);
      return;
    case Request::Kind::reload:
      on_reload(request->id);
      return;
  }
}

void Launcher::on_run(const Account& account, std::uint64_t id) {
  auto program = setting_.programs.find(account);
  if (!program) {
    answer({Answer::Kind::failure, id, program.error().reason});
    return;
  }
  if (waiting_.size() >= kMaxWaiting) {
    answer({Answer::Kind::busy, id, "too many programs are waited for"});
    return;
  }
  const auto deadline = Clock::now() + program->timeout;
  waiting_.push_back({id, std::move(*program), deadline});
  start_waiting();
}

void Launcher::on_reload(std::uint64_t id) {
  auto programs = setting_.read_programs();
  if (!programs) {
    answer({Answer::Kind::failure, id, programs.error().reason});
    return;
  }
  setting_.programs = std::move(*programs);
  answer({Answer::Kind::reloaded, id});
}

// --- The programs --------------------------------------------------------------------------------

void Launcher::start_waiting() {
  while (!waiting_.empty() && runs_.size() < kMaxRunning) {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    start(next);
  }
}

void Launcher::start(const Waiting& next) {
  auto child = start_child(next.program.arguments, setting_.environment);
  if (!child) {
    answer({Answer::Kind::failure, next.id, "cannot be started: " + system_text(errno)});
    return;
  }
  runs_.push_back(std::unique_ptr<Run>(
      new Run{.id = next.id, .child = std::move(*child), .deadline = next.deadline}));
}

/// Kills programs that are late. The answer does not wait for their end: a process that waits for a
/// disk cannot be killed.
void Launcher::end_late(Clock::time_point now) {
  for (const auto& run : runs_) {
    if (run->answered || now < run->deadline) continue;
    kill_group(run->child.pid);
    run->read_error();
    run->answered = true;
    answer(run->output.answer(run->id, {ProgramEnd::Kind::too_late}));
  }
  const auto late = std::stable_partition(waiting_.begin(), waiting_.end(),
                                          [now](const auto& each) { return now < each.deadline; });
  for (auto each = late; each != waiting_.end(); ++each) {
    answer({Answer::Kind::busy, each->id, "too many programs run: this one did not begin in time"});
  }
  waiting_.erase(late, waiting_.end());
}

/// Takes note of all children that have ended. Some are not ours by birth: when a program ends, the
/// launcher inherits its children.
void Launcher::reap() {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    end_run(info.si_pid, info.si_code, info.si_status);
    // Only now may the number go to another process.
    if (::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG) != 0) return;
  }
}

void Launcher::end_run(pid_t pid, int code, int status) {
  const auto found = std::find_if(runs_.begin(), runs_.end(),
                                  [pid](const auto& run) { return run->child.pid == pid; });
  if (found == runs_.end()) return;
  const auto run = std::move(*found);
  runs_.erase(found);
  kill_group(pid);
  if (run->answered) return;
  // A process outside the group may keep the pipes open. What is there counts.
  run->read_output();
  run->read_error();
  const auto kind = code == CLD_EXITED ? ProgramEnd::Kind::exited : ProgramEnd::Kind::killed;
  answer(run->output.answer(run->id, {kind, status}));
}

// --- Answers -------------------------------------------------------------------------------------

void Launcher::answer(Answer answer) {
  answers_.push_back(to_packet(answer));
  wipe(answer.text);
  send_answers();
}

void Launcher::send_answers() {
  while (!answers_.empty()) {
    auto& packet = answers_.front();
    if (::send(setting_.pair.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) <
        0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == ENOBUFS) return;
      ends_ = true;
      return;
    }
    wipe(packet);
    answers_.pop_front();
  }
}

}  // namespace starttls::launcher

#include "lib/net/name_query.h"

#include <iterator>
#include <map>
#include <utility>

#include <ares.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "lib/net/timer.h"

namespace starttls::net {
namespace {

/// The first wait for a name server; it doubles with each round. Lost packets are repeated sooner
/// than by the C library.
constexpr std::chrono::milliseconds kFirstWait{1500};
constexpr int kRounds = 3;

/// The address families that c-ares is asked for, one after the other, as long as the outcome is
/// that there is no such name.
///
/// Asked for both families, c-ares (1.18 to 1.34) reports the status of the one that ends last. If
/// a name server fails for IPv4 and has no IPv6 address, that is "no data". Only a name server that
/// says so for each family on its own has no address. Both come first, because the hosts file
/// may have one family only, and then no name server is asked for the other.
constexpr int kFamilies[] = {AF_UNSPEC, AF_INET, AF_INET6};

}  // namespace

/// The c-ares part of a query: its sockets, its timer, its end.
class NameQuery::Channel {
 public:
  Channel(Loop& loop, std::string name, OnDone done)
      : loop_(loop),
        name_(std::move(name)),
        done_(std::move(done)),
        timer_(loop, [this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }),
        deadline_(loop, [this] { give_up(); }) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  ~Channel() {
    if (channel_ != nullptr) ares_destroy(channel_);  // closes all sockets, and so their polls
  }

  void start();

 private:
  static void on_socket(void* data, ares_socket_t fd, int readable, int writable) noexcept {
    static_cast<Channel*>(data)->watch(fd, readable != 0, writable != 0);
  }
  static void on_answer(void* data, int status, int, ares_addrinfo* found) noexcept {
    // We are inside a call to c-ares, so the outcome is only noted here.
    static_cast<Channel*>(data)->outcome_ = name_outcome(status, found);
    ares_freeaddrinfo(found);
  }

  void ask();
  void watch(ares_socket_t fd, bool readable, bool writable);
  void process(ares_socket_t readable, ares_socket_t writable);
  void give_up();
  void settle();
  void report();

  Loop& loop_;
  std::string name_;
  OnDone done_;
  ares_channel channel_ = nullptr;
  std::map<ares_socket_t, uv_poll_t*> polls_;  // each outlives the channel until libuv lets go
  Timer timer_;
  Timer deadline_;
  std::optional<NameOutcome> outcome_;
  std::size_t asked_ = 0;  // families
};

void NameQuery::Channel::start() {
  ares_options options{};
  options.timeout = static_cast<int>(kFirstWait.count());
  options.tries = kRounds;
  options.sock_state_cb = on_socket;
  options.sock_state_cb_data = this;
  const int status = ares_init_options(
      &channel_, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
  if (status != ARES_SUCCESS) {
    channel_ = nullptr;
    outcome_ = name_outcome(status, nullptr);
    report();
    return;
  }
  deadline_.start(kDeadline);
  ask();
  settle();
}

/// Asks for the next of the families.
void NameQuery::Channel::ask() {
  outcome_.reset();
  ares_addrinfo_hints hints{};
  hints.ai_family = kFamilies[asked_++];
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_CANONNAME;
  ares_getaddrinfo(channel_, name_.c_str(), nullptr, &hints, on_answer, this);
}

void NameQuery::Channel::watch(ares_socket_t fd, bool readable, bool writable) {
  const auto known = polls_.find(fd);
  if (!readable && !writable) {
    if (known == polls_.end()) return;
    uv_close(reinterpret_cast<uv_handle_t*>(known->second),
             [](uv_handle_t* handle) noexcept { delete reinterpret_cast<uv_poll_t*>(handle); });
    polls_.erase(known);
    return;
  }
  uv_poll_t* poll = nullptr;
  if (known == polls_.end()) {
    poll = new uv_poll_t{};
    if (uv_poll_init(loop_.raw(), poll, fd) != 0) {
      delete poll;  // no descriptor for it: the deadline ends this query
      return;
    }
    poll->data = this;
    polls_.emplace(fd, poll);
  } else {
    poll = known->second;
  }
  uv_poll_start(poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
                [](uv_poll_t* handle, int poll_status, int events) noexcept {
                  uv_os_fd_t socket = -1;
                  if (uv_fileno(reinterpret_cast<uv_handle_t*>(handle), &socket) != 0) return;
                  // c-ares reads errors off the socket.
                  const bool failed = poll_status != 0;
                  static_cast<Channel*>(handle->data)
                      ->process(failed || (events & UV_READABLE) != 0 ? socket : ARES_SOCKET_BAD,
                                failed || (events & UV_WRITABLE) != 0 ? socket : ARES_SOCKET_BAD);
                });
}

void NameQuery::Channel::process(ares_socket_t readable, ares_socket_t writable) {
  ares_process_fd(channel_, readable, writable);
  settle();
}

/// Ends the query with the addresses found until now: a name server may answer for IPv4 and never
/// for IPv6.
void NameQuery::Channel::give_up() {
  ares_cancel(channel_);
  if (!outcome_) outcome_ = name_outcome(ARES_ETIMEOUT, nullptr);
  if (outcome_->kind == NameOutcome::Kind::failed) outcome_->words = ares_strerror(ARES_ETIMEOUT);
  settle();
}

/// Reports the outcome, asks for the next family, or sets the timer. Not to be called inside a call
/// to c-ares. The owner may destroy the query here.
void NameQuery::Channel::settle() {
  while (outcome_ && outcome_->kind == NameOutcome::Kind::no_such_name &&
         asked_ < std::size(kFamilies)) {
    ask();  // c-ares may answer at once
  }
  if (outcome_) {
    report();
    return;
  }
  timeval next{};
  if (ares_timeout(channel_, nullptr, &next) == nullptr) return;
  // Rounded up, because otherwise it would expire a little early, again and again.
  timer_.start(std::chrono::milliseconds{next.tv_sec * 1000 + next.tv_usec / 1000 + 1});
}

void NameQuery::Channel::report() {
  timer_.stop();
  deadline_.stop();
  const auto done = std::move(done_);
  done(std::move(*outcome_));
}

NameQuery::NameQuery(Loop& loop, std::string name, OnDone done)
    : channel_(std::make_unique<Channel>(loop, std::move(name), std::move(done))) {}

NameQuery::~NameQuery() = default;

void NameQuery::start() {
  channel_->start();
}

}  // namespace starttls::net

#include "lib/net/connector.h"

#include <algorithm>
#include <span>
#include <utility>

#include <sys/un.h>

#include "lib/net/address.h"
#include "lib/net/original_destination.h"

namespace starttls::net {

struct Connector::Attempt {
  Attempt(Connector& owner, const SocketAddress& where)
      : address(where),
        stream(Stream::create(owner.loop_, where.storage.ss_family == AF_UNIX
                                               ? Stream::Kind::unix_socket
                                               : Stream::Kind::tcp)),
        deadline(owner.loop_, [this, &owner] {
          owner.on_attempt(*this, fail(Errc::timeout, "connection timed out"));
        }) {
    deadline.start(owner.per_address_);
  }

  void connect(Connector& owner) {
    stream->connect(
        address, [this, &owner](Result<> result) { owner.on_attempt(*this, std::move(result)); });
  }

  SocketAddress address;
  Stream::Ptr stream;
  Timer deadline;
};

namespace {

/// Returns the addresses with the families in turn, beginning with the one that the system prefers
/// (RFC 8305 §4).
std::deque<SocketAddress> interleave(std::span<const SocketAddress> found, std::uint16_t port,
                                     std::size_t limit) {
  std::deque<SocketAddress> first;
  std::deque<SocketAddress> second;
  for (const SocketAddress& each : found) {
    const bool same = first.empty() || first.front().storage.ss_family == each.storage.ss_family;
    (same ? first : second).push_back(with_port(each, port));
  }
  std::deque<SocketAddress> out;
  while (out.size() < limit && !(first.empty() && second.empty())) {
    if (!first.empty()) {
      out.push_back(first.front());
      first.pop_front();
    }
    std::swap(first, second);
  }
  return out;
}

SocketAddress unix_address(const std::string& path) {
  SocketAddress out;
  auto* local = reinterpret_cast<sockaddr_un*>(&out.storage);
  local->sun_family = AF_UNIX;
  path.copy(local->sun_path, sizeof(local->sun_path) - 1);
  out.size = sizeof(sockaddr_un);
  return out;
}

}  // namespace

Connector::Connector(Loop& loop, Resolver& resolver, Address address,
                     std::chrono::milliseconds per_address, OnDone done)
    : loop_(loop),
      resolver_(resolver),
      address_(std::move(address)),
      per_address_(per_address),
      done_(std::move(done)),
      next_attempt_(loop, [this] { try_next(); }) {}

Connector::Connector(Loop& loop, Resolver& resolver, Address address,
                     std::chrono::milliseconds per_address, const SocketAddress& source,
                     OnDone done)
    : Connector(loop, resolver, std::move(address), per_address, std::move(done)) {
  source_ = std::make_unique<const SocketAddress>(source);
}

Connector::~Connector() = default;

void Connector::start() {
  if (address_.is_unix()) {
    left_.push_back(unix_address(address_.path));
    try_next();
  } else if (const auto literal = parse_ip(address_.host, address_.port)) {
    left_.push_back(*literal);
    try_next();
  } else {
    resolve();
  }
}

void Connector::resolve() {
  if (const auto answer = resolver_.known(address_.host)) {
    on_resolved(*answer);
    return;
  }
  lookup_ = resolver_.find(loop_, address_.host,
                           [this](const NameAnswer& answer) { on_resolved(answer); });
}

void Connector::on_resolved(const NameAnswer& answer) {
  if (!answer) {
    last_error_ = Error{answer.error().code, answer.error().reason};
    evidence_ = answer.error().evidence;
    next_attempt_.start(std::chrono::milliseconds{0});  // report from the loop
    return;
  }
  left_ = interleave(**answer, address_.port, kMaxAddresses);
  try_next();
}

void Connector::try_next() {
  if (left_.empty()) {
    if (attempts_.empty()) give_up();
    return;
  }
  if (attempts_.size() == kMaxAtOnce) return;  // an attempt that fails makes room
  const SocketAddress address = left_.front();
  left_.pop_front();
  auto attempt = std::make_unique<Attempt>(*this, address);
  if (source_ != nullptr) {
    if (auto taken = take_source(*attempt); !taken) {
      note_failure(address, std::move(taken.error()));
      next_attempt_.start(std::chrono::milliseconds{0});  // try the next address, or report
      return;
    }
  }
  attempt->connect(*this);
  attempts_.push_back(std::move(attempt));
  if (!left_.empty()) next_attempt_.start(kAttemptDelay);
}

Result<> Connector::take_source(Attempt& attempt) const {
  if (attempt.address.storage.ss_family != source_->storage.ss_family) {
    return fail(Errc::unreachable, "not of the client's address family");
  }
  auto socket = socket_of_another(*source_);
  if (!socket) return fail(std::move(socket.error()));
  const int status = uv_tcp_open(reinterpret_cast<uv_tcp_t*>(attempt.stream->raw()), socket->get());
  if (status != 0) return fail(Errc::system, error_text(status));
  static_cast<void>(socket->release());  // libuv owns it now
  return {};
}

void Connector::on_attempt(Attempt& attempt, Result<> result) {
  if (result) {
    Connected winner{std::move(attempt.stream), unmapped(attempt.address)};
    next_attempt_.stop();
    left_.clear();
    attempts_.clear();
    const auto done = std::move(done_);  // may destroy the connector
    done(std::move(winner));
    return;
  }
  note_failure(attempt.address, std::move(result.error()));
  std::erase_if(attempts_, [&](const auto& one) { return one.get() == &attempt; });
  try_next();
}

void Connector::note_failure(const SocketAddress& address, Error error) {
  last_error_ = std::move(error);
  if (!evidence_.empty()) evidence_ += "; ";
  evidence_ += to_string(address) + ": " + last_error_.reason;
}

void Connector::give_up() {
  const auto done = std::move(done_);  // may destroy the connector
  done(fail(last_error_.code, last_error_.reason, evidence_));
}

}  // namespace starttls::net

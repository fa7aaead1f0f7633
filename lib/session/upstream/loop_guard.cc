#include "lib/session/upstream/loop_guard.h"

#include <algorithm>

namespace starttls::session {

LoopGuard::Entry::Entry(Entry&& other) noexcept
    : guard_(std::exchange(other.guard_, nullptr)),
      end_(other.end_),
      path_(other.path_),
      loop_(other.loop_) {}

LoopGuard::Entry& LoopGuard::Entry::operator=(Entry&& other) noexcept {
  std::swap(guard_, other.guard_);
  std::swap(end_, other.end_);
  std::swap(path_, other.path_);
  std::swap(loop_, other.loop_);
  return *this;
}

LoopGuard::Entry::~Entry() {
  if (guard_ == nullptr) return;
  const std::lock_guard lock(guard_->mutex_);
  auto& all = end_ == End::accepted ? guard_->accepted_ : guard_->made_;
  all.erase(all.find(path_));
}

/// True if the other end of the connection is ours too: the connection has come back to us.
bool LoopGuard::has_other_end(End end, const Path& path) const {
  return (end == End::accepted ? made_ : accepted_).contains(path);
}

LoopGuard::Entry LoopGuard::note(End end, const net::SocketAddress& from,
                                 const net::SocketAddress& to) {
  Entry entry;
  auto at = entry.path_.begin();
  for (const auto* address : {&from, &to}) {
    const auto ip = net::ip_bytes(net::unmapped(*address));
    if (!ip) return entry;  // not a connection that could be redirected
    at = std::copy(ip->begin(), ip->end(), at);
    const std::uint16_t port = net::port_of(*address);
    *at++ = static_cast<std::uint8_t>(port >> 8);
    *at++ = static_cast<std::uint8_t>(port & 0xff);
  }
  entry.guard_ = this;
  entry.end_ = end;
  const std::lock_guard lock(mutex_);
  (end == End::accepted ? accepted_ : made_).insert(entry.path_);
  entry.loop_ = has_other_end(end, entry.path_);
  return entry;
}

void LoopGuard::set_ports(std::vector<std::uint16_t> ports) {
  const std::lock_guard lock(mutex_);
  ports_ = std::move(ports);
}

bool LoopGuard::listens_on(std::uint16_t port) const {
  const std::lock_guard lock(mutex_);
  return std::find(ports_.begin(), ports_.end(), port) != ports_.end();
}

}  // namespace starttls::session

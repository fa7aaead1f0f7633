#include "lib/session/client/table.h"

namespace starttls::session {
namespace {

/// True if a client with so many sessions may not have another. A limit of 0 means no limit.
bool has_all_its_sessions(std::size_t sessions, std::size_t limit) noexcept {
  return limit != 0 && sessions >= limit;
}

}  // namespace

ClientTable::Seat& ClientTable::Seat::operator=(Seat&& other) noexcept {
  std::swap(table_, other.table_);
  std::swap(at_, other.at_);
  return *this;
}

ClientTable::Seat::~Seat() {
  if (table_ == nullptr) return;
  const std::lock_guard lock(table_->mutex_);
  if (--at_->second == 0) table_->counts_.erase(at_);
}

Result<ClientTable::Seat> ClientTable::take(const std::string& service, const IpEndpoint& client,
                                            std::size_t limit) {
  Seat seat;
  const std::lock_guard lock(mutex_);
  const auto at = counts_.try_emplace({service, mapped_bytes(client)}, 0).first;
  if (has_all_its_sessions(at->second, limit)) {
    return fail(Errc::limit, "too many sessions from your address",
                "downstream.max_per_client = " + std::to_string(limit));
  }
  ++at->second;
  seat.table_ = this;
  seat.at_ = at;
  return seat;
}

std::size_t ClientTable::addresses() const {
  const std::lock_guard lock(mutex_);
  return counts_.size();
}

}  // namespace starttls::session

#include "lib/session/close_policy.h"

#include <algorithm>
#include <utility>

namespace starttls::session {
namespace {

constexpr CloseStep wait(std::chrono::milliseconds time) noexcept {
  return {CloseAction::wait, time};
}

}  // namespace

std::chrono::milliseconds IdleWatch::quiet_for(std::size_t left,
                                               std::chrono::milliseconds now) noexcept {
  if (std::exchange(left_, left) != left) last_ = now;
  return now - last_;
}

CloseStep ClosePolicy::in_relay(std::size_t left, std::chrono::milliseconds now) noexcept {
  const auto quiet = watch_.quiet_for(left, now);
  return quiet < idle_ ? wait(idle_ - quiet) : CloseStep{CloseAction::time_out};
}

CloseStep ClosePolicy::after_servers_end(std::size_t left, std::chrono::milliseconds now) noexcept {
  const auto quiet = watch_.quiet_for(left, now);
  if (left > 0 && quiet >= idle_) return {CloseAction::time_out};
  if (left == 0 && !delivered_at_) delivered_at_ = now;
  if (delivered_at_ && now - *delivered_at_ >= kClientsEnd) return {CloseAction::close};
  return wait(kEndPoll);
}

CloseStep ClosePolicy::after_our_end(std::size_t left, Outcome outcome, bool stopping,
                                     std::chrono::milliseconds now) noexcept {
  if (left == 0 || outcome != Outcome::ok()) return {CloseAction::close};
  const auto quiet = watch_.quiet_for(left, now);
  if (stopping || quiet >= idle_) return {CloseAction::time_out};
  return wait(std::min(kLinger, idle_ - quiet));
}

CloseStep ClosePolicy::before_reset(std::size_t left, std::chrono::milliseconds now) noexcept {
  // A peer that acknowledges some bytes within the time gets the full time again.
  const auto quiet = watch_.quiet_for(left, now);
  return left > 0 && quiet < kLinger ? wait(kDeliveryPoll) : CloseStep{CloseAction::reset};
}

}  // namespace starttls::session

#include "proxy/heartbeat.h"

#include <algorithm>
#include <utility>

namespace starttls {

Heartbeat::Heartbeat(net::Loop& control, std::function<void()> on_beat)
    : control_(control), on_beat_(std::move(on_beat)), timer_(control, [this] { begin_round(); }) {}

void Heartbeat::start(std::vector<Post> members, std::chrono::milliseconds period) {
  for (auto& post : members) members_.push_back({.post = std::move(post)});
  period_ = period;
  begin_round();
}

void Heartbeat::leave(std::size_t index) {
  if (index >= members_.size()) return;
  members_[index].has_left = true;
  end_round_if_complete();
}

/// At most one at a time: an answer that comes late ends the round that asked for it.
void Heartbeat::begin_round() {
  timer_.start(period_);
  if (asking_) return;
  asking_ = true;
  for (std::size_t index = 0; index < members_.size(); ++index) {
    Member& member = members_[index];
    member.has_answered = member.has_left;
    if (member.has_left) continue;
    member.post([this, index] {
      control_.post([this, index] {
        members_[index].has_answered = true;
        end_round_if_complete();
      });
    });
  }
  end_round_if_complete();
}

void Heartbeat::end_round_if_complete() {
  if (!asking_ || !std::all_of(members_.begin(), members_.end(), [](const Member& each) {
        return each.has_left || each.has_answered;
      })) {
    return;
  }
  asking_ = false;
  on_beat_();
}

}  // namespace starttls

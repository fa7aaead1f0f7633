#pragma once

// Whether all loops turn. Each is asked in rounds, by a task in its queue; a round that all have
// answered is a beat, and while one hangs there is none.

#include <chrono>
#include <functional>
#include <vector>

#include "lib/net/loop.h"
#include "lib/net/timer.h"

namespace starttls {

/// Lives on the control loop's thread.
class Heartbeat {
 public:
  /// Runs a task on another loop, soon: Loop::post.
  using Post = std::function<void(std::function<void()>)>;

  /// `on_beat` is called on the control loop's thread.
  Heartbeat(net::Loop& control, std::function<void()> on_beat);

  /// Asks the loops behind `members` every `period`, now for the first time.
  void start(std::vector<Post> members, std::chrono::milliseconds period);
  /// Member `index` has come to its end in good order, and is not asked any more.
  void leave(std::size_t index);

 private:
  struct Member {
    Post post;
    bool has_left = false;
    bool has_answered = true;
  };

  void begin_round();
  void end_round_if_complete();

  net::Loop& control_;
  std::function<void()> on_beat_;
  std::vector<Member> members_;
  std::chrono::milliseconds period_{};
  net::Timer timer_;
  bool asking_ = false;
};

}  // namespace starttls

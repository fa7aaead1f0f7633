#include "lib/session/relay.h"

namespace starttls::session {

void Pipe::begin() {
  paused_ = to_.queued() > 0;
  if (paused_) {
    from_.pause_reading();
  } else {
    from_.resume_reading();
  }
}

void Pipe::on_data(std::span<const std::byte> bytes) {
  if (bytes.empty() || state_ != State::open) return;
  last_ = bytes.back();
  to_.write(bytes);
  hold_back();
}

void Pipe::on_passed_unseen() {
  last_ = std::byte{};
  hold_back();
}

/// Stops reading if the target does not take all bytes at once.
void Pipe::hold_back() {
  if (!paused_ && to_.queued() > 0) {
    paused_ = true;
    from_.pause_reading();
  }
}

void Pipe::on_drained() {
  if (!paused_) return;
  paused_ = false;
  from_.resume_reading();
}

void Pipe::on_end() {
  if (state_ != State::open) return;
  state_ = State::ended;
  to_.end_write();
}

void Pipe::on_broken() {
  if (state_ == State::open) state_ = State::broken;
  on_drained();  // go on reading, because the end of the source must still be noticed
}

}  // namespace starttls::session

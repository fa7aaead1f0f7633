#pragma once

// Limits how much of a loop's turn heavy steps of computing may have together. A TLS handshake has
// two such steps, of up to some milliseconds each. In a storm of new clients a turn would otherwise
// last as long as all their handshakes. Sessions that only have bytes to pass on would wait for it.
//
// A step that finds no room waits for a later turn. There is a queue per lane: a service's clients,
// or its servers. The lane that has used the least time is served first, so a flood in one lane
// delays another one by a single step. Only computing takes room: a peer that is slow to send holds
// none, and one that sends a handshake byte by byte uses up hardly any.

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>

#include "lib/base/side.h"

namespace starttls::net {

/// The budget of one loop. Not thread-safe.
class TurnBudget {
 public:
  using Clock = std::chrono::nanoseconds (*)() noexcept;

  /// Once this is spent, a turn begins no other step. Less would gain the others little, since a
  /// single step with RSA takes as long. A turn by itself costs microseconds, so hardly any
  /// handshake is lost to it.
  static constexpr std::chrono::nanoseconds kBudget{std::chrono::milliseconds{1}};
  /// Steps that may wait in one lane before new clients should be refused. With RSA-4096 that many
  /// steps take about as long as a client has for its handshake.
  static constexpr std::size_t kMaxWaiting = 1000;

  /// A queue of steps, which are done in order.
  struct Lane {
    const void* service = nullptr;  ///< only compared
    Side side = Side::downstream;

    auto operator<=>(const Lane&) const = default;
  };

  /// `wake` is called when a step waits, so that another turn comes soon, and `on_turn` is called
  /// in it.
  TurnBudget(Clock clock, std::function<void()> wake);
  TurnBudget(const TurnBudget&) = delete;
  TurnBudget& operator=(const TurnBudget&) = delete;

  /// True if a step may be done now, in the turn of this number: there is room, and no step waits.
  [[nodiscard]] bool has_room(std::uint64_t turn) noexcept;

  /// Does a step, and counts the time that it takes. Not to be called inside another one.
  template <class Step>
  auto run(const Step& step) {
    if (serving_) return step();  // on_turn counts
    const auto start = clock_();
    auto result = step();
    spent_ += clock_() - start;
    return result;
  }

  /// A place in the queue of a lane. Its owner may destroy it, and so give it up, at any time.
  class Place {
   public:
    /// `on_turn` is called once, from `TurnBudget::on_turn`; it should run the step.
    Place(TurnBudget& steps, Lane lane, std::function<void()> on_turn);
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place();

   private:
    friend TurnBudget;
    TurnBudget& steps_;
    Lane lane_;
    std::function<void()> on_turn_;
    std::list<Place*>::iterator at_;
    bool waits_ = true;
  };

  /// Serves waiting steps in a new turn, as far as there is room.
  void on_turn(std::uint64_t turn);
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] std::size_t waiting(Lane lane) const noexcept;
  /// True if so many steps wait in the lane that new clients should be refused.
  [[nodiscard]] bool is_full(Lane lane) const noexcept { return waiting(lane) >= kMaxWaiting; }

 private:
  /// The steps of one lane. It exists while at least one waits in it.
  struct Queue {
    std::list<Place*> places;
    /// Time used, counted from the least that any lane had used when this one began to wait.
    std::chrono::nanoseconds used{};
  };
  using Queues = std::map<Lane, Queue>;

  void begin(std::uint64_t turn) noexcept;
  [[nodiscard]] Queues::iterator next_lane();
  void remove(Place& place);

  Clock clock_;
  std::function<void()> wake_;
  Queues queues_;
  std::size_t waiting_ = 0;
  std::uint64_t turn_ = 0;
  std::chrono::nanoseconds spent_{};
  bool serving_ = false;
};

}  // namespace starttls::net

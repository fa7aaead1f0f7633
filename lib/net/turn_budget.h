#pragma once

// Heavy steps of computing (a TLS handshake has two, of up to some milliseconds each) and how much
// of a loop's turn they may have together. In a storm of new clients a turn would otherwise last as
// long as all their handshakes, and sessions that only have bytes to pass on would wait for it.
//
// A step that finds no room waits for a later turn, in a queue per lane: a service's clients, or
// its servers. The lane that has used the least time is served first, so a flood in one lane delays
// another one by a single step. Only computing takes room: a peer that is slow to send holds none,
// and one that sends a handshake byte by byte uses up hardly any.

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>

#include "lib/base/side.h"

namespace starttls::net {

/// Belongs to a loop; not thread-safe.
class TurnBudget {
 public:
  using Clock = std::chrono::nanoseconds (*)() noexcept;

  /// A turn begins no step when this is spent. Less would gain the others little, since a single
  /// step with RSA takes as long; a turn by itself costs microseconds, so hardly any handshake is
  /// lost to it.
  static constexpr std::chrono::nanoseconds kBudget{std::chrono::milliseconds{1}};
  /// Steps that may wait in one lane before new clients should be refused. With RSA-4096 that many
  /// take about as long as a client has for its handshake.
  static constexpr std::size_t kMaxWaiting = 1000;

  /// Steps of one lane are done in order.
  struct Lane {
    const void* service = nullptr;  ///< only compared
    Side side = Side::downstream;

    auto operator<=>(const Lane&) const = default;
  };

  /// `wake`: something waits, so another turn is wanted soon, and `on_turn` in it.
  TurnBudget(Clock clock, std::function<void()> wake);
  TurnBudget(const TurnBudget&) = delete;
  TurnBudget& operator=(const TurnBudget&) = delete;

  /// True if a step may be done now, in the turn of this number: there is room, and nothing waits.
  [[nodiscard]] bool has_room(std::uint64_t turn) noexcept;

  /// Does a step, and counts the time that it takes. Not inside another one.
  template <class Step>
  auto run(const Step& step) {
    if (serving_) return step();  // on_turn counts
    const auto start = clock_();
    auto result = step();
    spent_ += clock_() - start;
    return result;
  }

  /// A place in the queue of a lane. Letting go of it gives it up, at any time.
  class Place {
   public:
    /// `on_turn` is called once, from `TurnBudget::on_turn`: then the step should be run.
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

  /// Another turn has come: serves what waits, as far as there is room.
  void on_turn(std::uint64_t turn);
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] std::size_t waiting(Lane lane) const noexcept;
  /// True if so many steps wait in the lane that new clients should be refused.
  [[nodiscard]] bool is_full(Lane lane) const noexcept { return waiting(lane) >= kMaxWaiting; }

 private:
  /// Exists while something waits in it.
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

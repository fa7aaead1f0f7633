#pragma once

// Heavy steps of computing (a TLS handshake has two, of up to a millisecond or two each) and how
// much of a loop's turn they may have together. In a storm of new clients a turn would otherwise
// last as long as all their handshakes, and whoever has but octets to pass on would wait for it.
//
// What finds no room waits for a later turn, in order. Only computing takes room: a peer that is
// slow to send holds none, and one that sends a handshake octet by octet uses up hardly any.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>

namespace starttls::net {

/// Belongs to a loop; not thread-safe.
class Steps {
 public:
  using Clock = std::chrono::nanoseconds (*)() noexcept;

  /// A turn begins no step when this is spent. Less would gain the others little, since a single
  /// step with RSA takes as long; a turn by itself costs microseconds, so hardly any handshake is
  /// lost to it.
  static constexpr std::chrono::nanoseconds kBudget{std::chrono::milliseconds{1}};

  /// `wake`: somebody waits, so another turn is wanted soon, and `on_turn` in it.
  Steps(Clock clock, std::function<void()> wake);
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

  /// Whether a step may be done now, in the turn of this number: there is room, and nobody waits.
  [[nodiscard]] bool has_room(std::uint64_t turn) noexcept;

  /// Does a step, and counts what it takes. Not inside another one.
  template <class Step>
  auto run(const Step& step) {
    const auto start = clock_();
    auto result = step();
    spent_ += clock_() - start;
    return result;
  }

  /// A place in the queue. Letting go of it gives it up, at any time.
  class Place {
   public:
    /// `on_turn` is called once, from `Steps::on_turn`: then the step is to be run.
    Place(Steps& steps, std::function<void()> on_turn);
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place();

   private:
    friend Steps;
    Steps& steps_;
    std::function<void()> on_turn_;
    std::list<Place*>::iterator at_;
    bool waits_ = true;
  };

  /// Another turn has come: those who wait, as far as there is room.
  void on_turn(std::uint64_t turn);
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }

 private:
  void begin(std::uint64_t turn) noexcept;

  Clock clock_;
  std::function<void()> wake_;
  std::list<Place*> waiting_;
  std::uint64_t turn_ = 0;
  std::chrono::nanoseconds spent_{};
};

}  // namespace starttls::net

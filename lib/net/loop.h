#pragma once

// One libuv loop, on one thread, with what its sessions share: slabs, buffers, fairness.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <uv.h>

#include "lib/base/buffer.h"
#include "lib/base/descriptor.h"
#include "lib/base/error.h"
#include "lib/net/turn_budget.h"

namespace starttls::net {

class Stream;

/// Octets libuv may read in one call; a whole TLS record fits many times.
inline constexpr std::size_t kReadSlab = 256UL * 1024;
/// Plaintext that one read may turn into: the slab and a record begun by an earlier one.
inline constexpr std::size_t kPlainSlab = kReadSlab + 32UL * 1024;
/// What sealing a full plain slab may need.
inline constexpr std::size_t kWireSlab = kPlainSlab + 16UL * 1024;

/// Not thread-safe but for `post` and `stop`.
class Loop {
 public:
  /// Makes a loop. Errors: system, if the process may not open as many descriptors as a loop needs.
  [[nodiscard]] static Result<std::unique_ptr<Loop>> create();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  /// All handles of others must be closed before.
  ~Loop();

  /// Returns after `stop`, or when no handle is left but the loop's own.
  void run();
  void stop();
  /// Runs `task` on the loop's thread, soon. From any thread.
  void post(std::function<void()> task);

  /// Runs `task` in the next turn. From the loop's thread.
  void defer(std::function<void()> task);

  /// Milliseconds of the loop's clock (monotonic, taken once a turn).
  [[nodiscard]] std::chrono::milliseconds now() const noexcept;
  /// The same, read from the system: for measuring, not for deadlines.
  [[nodiscard]] static std::chrono::nanoseconds precise_now() noexcept;

  /// Scratch memory, one each a loop, because all work on it is done inside one callback. Its
  /// content does not outlive the callback.
  [[nodiscard]] std::span<std::byte> read_slab() noexcept { return {read_slab_.get(), kReadSlab}; }
  [[nodiscard]] std::span<std::byte> plain_slab() noexcept {
    return {plain_slab_.get(), kPlainSlab};
  }
  [[nodiscard]] std::span<std::byte> wire_slab() noexcept { return {wire_slab_.get(), kWireSlab}; }
  [[nodiscard]] BufferPool& pool() noexcept { return pool_; }

  /// What takes long, and has to leave the others their turn.
  [[nodiscard]] TurnBudget& turn_budget() noexcept { return turn_budget_; }

  /// Counts turns: a stream knows by it when its budget begins anew.
  [[nodiscard]] std::uint64_t turn() const noexcept { return turn_; }
  /// `stream` has a failure to report, and its owner is in the middle of a call to it.
  void report_next_turn(Stream& stream);
  void forget(Stream& stream) noexcept;

  /// Keeps a descriptor for the moment when there is no other. False: there is none even for this.
  [[nodiscard]] bool keep_spare() noexcept;
  void release_spare() noexcept { spare_.reset(); }

  [[nodiscard]] uv_loop_t* raw() noexcept { return &loop_; }

 private:
  Loop();
  [[nodiscard]] int open();
  void on_async();
  void on_idle();
  void wake_next_turn();

  bool is_open_ = false;  // the handles below are initialised
  uv_loop_t loop_{};
  uv_async_t async_{};
  uv_idle_t idle_{};    // active only while something waits for the next turn
  uv_check_t check_{};  // counts turns
  std::unique_ptr<std::byte[]> read_slab_;
  std::unique_ptr<std::byte[]> plain_slab_;
  std::unique_ptr<std::byte[]> wire_slab_;
  BufferPool pool_;
  std::vector<Stream*> waiting_;
  std::vector<std::function<void()>> deferred_;
  TurnBudget turn_budget_{precise_now, [this] { wake_next_turn(); }};
  std::uint64_t turn_ = 0;
  Descriptor spare_;
  std::mutex mutex_;  // guards tasks_
  std::vector<std::function<void()>> tasks_;
};

/// For calls of libuv that initialise a handle and need no memory and no descriptor: throws if one
/// fails all the same.
void expect_success(int status);

/// "libuv 1.44.2".
[[nodiscard]] std::string library_version();

}  // namespace starttls::net

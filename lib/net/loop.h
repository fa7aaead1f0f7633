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
#include "lib/net/splice_pipe.h"
#include "lib/net/turn_budget.h"

namespace starttls::net {

class Stream;

/// Bytes that libuv may read in one call; a whole TLS record fits many times.
inline constexpr std::size_t kReadSlab = 256UL * 1024;
/// Plaintext that one read may turn into: the slab and a record begun by an earlier one.
inline constexpr std::size_t kPlainSlab = kReadSlab + 32UL * 1024;
/// Room for a full plain slab once it is sealed.
inline constexpr std::size_t kWireSlab = kPlainSlab + 16UL * 1024;

/// One libuv loop with its slabs and queues. Not thread-safe, except for `post` and `stop`.
class Loop {
 public:
  /// Makes a loop. Errors: system, if the process may not open as many descriptors as a loop needs.
  [[nodiscard]] static Result<std::unique_ptr<Loop>> create();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  /// Closes the loop's own handles. All other handles must be closed before.
  ~Loop();

  /// Runs until `stop`, or until no handle is left except the loop's own.
  void run();
  void stop();
  /// Runs `task` on the loop's thread, soon. May be called from any thread.
  void post(std::function<void()> task);

  /// Runs `task` in the next turn. Called from the loop's thread.
  void defer(std::function<void()> task);

  /// Returns the loop's clock in milliseconds (monotonic, read once a turn).
  [[nodiscard]] std::chrono::milliseconds now() const noexcept;
  /// Reads the same clock from the system: for measuring, not for deadlines.
  [[nodiscard]] static std::chrono::nanoseconds precise_now() noexcept;

  /// Returns scratch memory. One slab of each kind per loop is enough, because all work on it is
  /// done inside one callback. Its content does not outlive the callback.
  [[nodiscard]] std::span<std::byte> read_slab() noexcept { return {read_slab_.get(), kReadSlab}; }
  [[nodiscard]] std::span<std::byte> plain_slab() noexcept {
    return {plain_slab_.get(), kPlainSlab};
  }
  [[nodiscard]] std::span<std::byte> wire_slab() noexcept { return {wire_slab_.get(), kWireSlab}; }
  /// Returns the pipe for bytes that pass without a copy.
  [[nodiscard]] SplicePipe& splice_pipe() noexcept { return splice_pipe_; }
  [[nodiscard]] BufferPool& pool() noexcept { return pool_; }

  /// Limits work that takes long, so that others get their turn.
  [[nodiscard]] TurnBudget& turn_budget() noexcept { return turn_budget_; }

  /// Returns the number of the turn: from it a stream knows when its budget begins anew.
  [[nodiscard]] std::uint64_t turn() const noexcept { return turn_; }
  /// Has `stream` report a failure in the next turn, because its owner is in the middle of a call
  /// to it.
  void report_next_turn(Stream& stream);
  void forget(Stream& stream) noexcept;

  /// Keeps a descriptor for the moment when no other is left. Returns false if there is none even
  /// for this.
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
  SplicePipe splice_pipe_;
  BufferPool pool_;
  std::vector<Stream*> waiting_;
  std::vector<std::function<void()>> deferred_;
  TurnBudget turn_budget_{precise_now, [this] { wake_next_turn(); }};
  std::uint64_t turn_ = 0;
  Descriptor spare_;
  std::mutex mutex_;  // guards tasks_
  std::vector<std::function<void()>> tasks_;
};

/// Throws if a call of libuv has failed. For calls that only initialise a handle, and need no
/// memory and no descriptor.
void expect_success(int status);

/// Returns "libuv 1.44.2".
[[nodiscard]] std::string library_version();

}  // namespace starttls::net

#pragma once

// Numbers that one thread changes and any other thread may read. Metrics consist of them. With only
// one writer they need no lock and no read-modify-write instruction. A thread that reads several of
// them may see one event in some and not yet in the others.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace starttls {

/// A number that only grows.
class Counter {
 public:
  using Total = std::uint64_t;

  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }
  void add_to(Total& total) const noexcept { total += value(); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A number that grows and shrinks. It is signed because the share of one thread may be below zero.
class Gauge {
 public:
  using Total = std::int64_t;

  void add(std::int64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t value() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }
  void add_to(Total& total) const noexcept { total += value(); }

 private:
  std::atomic<std::int64_t> value_{0};
};

/// Durations, counted in buckets. `kBounds` is an array of upper bounds (each belongs to its
/// bucket) of `std::chrono::microseconds` in rising order. Durations longer than all of them have
/// one more bucket, the last.
template <const auto& kBounds>
class Histogram {
 public:
  static constexpr std::size_t kBuckets = kBounds.size() + 1;

  struct Total {
    std::array<std::uint64_t, kBuckets> buckets{};  ///< each bucket by itself
    double sum_seconds = 0;
  };

  void observe(std::chrono::nanoseconds took) noexcept {
    std::size_t bucket = 0;
    while (bucket < kBounds.size() && took > kBounds[bucket]) ++bucket;
    buckets_[bucket].add();
    // Not an integer: the nanoseconds of 100 000 open sessions overflow 64 bits in two days.
    const double seconds = std::chrono::duration<double>(took).count();
    sum_seconds_.store(sum_seconds_.load(std::memory_order_relaxed) + seconds,
                       std::memory_order_relaxed);
  }
  void add_to(Total& total) const noexcept {
    for (std::size_t i = 0; i < kBuckets; ++i) buckets_[i].add_to(total.buckets[i]);
    total.sum_seconds += sum_seconds_.load(std::memory_order_relaxed);
  }

 private:
  std::array<Counter, kBuckets> buckets_;
  std::atomic<double> sum_seconds_{0};
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free &&
              std::atomic<double>::is_always_lock_free);

}  // namespace starttls

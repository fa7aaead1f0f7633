#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace starttls::bench {

/// Counts of durations in log-linear buckets: 128 of equal width for each power of two. A quantile
/// is right within 1 % from nanoseconds to hours. Not thread-safe; each thread has its own, and
/// they are added at the end.
class Histogram {
 public:
  Histogram() : counts_(kBuckets) {}

  void record(std::uint64_t value) noexcept;
  void add(const Histogram& other) noexcept;

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
  /// Returns the smallest recorded value that `share` (0 to 1) of all do not exceed. It is rounded
  /// up to the end of its bucket, and 0 if nothing was recorded.
  [[nodiscard]] std::uint64_t quantile(double share) const noexcept;

 private:
  static constexpr unsigned kSubBits = 7;
  static constexpr std::uint64_t kSub = std::uint64_t{1} << kSubBits;
  static constexpr std::size_t kBuckets = (64 - kSubBits + 1) * kSub;

  static std::size_t bucket_of(std::uint64_t value) noexcept;
  static std::uint64_t end_of(std::size_t bucket) noexcept;

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace starttls::bench

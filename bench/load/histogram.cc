#include "bench/load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace starttls::bench {

void Histogram::record(std::uint64_t value) noexcept {
  ++counts_[bucket_of(value)];
  ++count_;
  max_ = std::max(max_, value);
}

void Histogram::add(const Histogram& other) noexcept {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

std::uint64_t Histogram::quantile(double share) const noexcept {
  if (count_ == 0) return 0;
  const auto wanted = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) return std::min(end_of(i), max_);
  }
  return max_;
}

/// Returns the bucket of a value. Below `kSub` each value has its own bucket. Above, the highest
/// bits after the leading one choose it.
std::size_t Histogram::bucket_of(std::uint64_t value) noexcept {
  if (value < kSub) return static_cast<std::size_t>(value);
  const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
  return static_cast<std::size_t>((shift + 1) * kSub + ((value >> shift) - kSub));
}

std::uint64_t Histogram::end_of(std::size_t bucket) noexcept {
  if (bucket < kSub) return bucket;
  const auto shift = bucket / kSub - 1;
  return ((bucket % kSub + kSub + 1) << shift) - 1;
}

}  // namespace starttls::bench

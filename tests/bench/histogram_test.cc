#include <cstdint>
#include <limits>

#include "bench/load/histogram.h"
#include "tests/support/catch.h"

using starttls::bench::Histogram;

TEST_CASE("histogram: quantiles are within one percent, and never below the recorded values",
          "[bench]") {
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{127}, std::uint64_t{128},
        std::uint64_t{255}, std::uint64_t{256}, std::uint64_t{257}, std::uint64_t{1'000'003},
        std::uint64_t{3'600'000'000'000}, std::numeric_limits<std::uint64_t>::max() - 1}) {
    Histogram histogram;
    histogram.record(value);
    histogram.record(std::numeric_limits<std::uint64_t>::max());
    CAPTURE(value);
    const std::uint64_t median = histogram.quantile(0.5);
    CHECK(median >= value);
    CHECK(median - value <= value / 100);
  }
}

TEST_CASE("histogram: a quantile is the smallest value that this share does not exceed",
          "[bench]") {
  Histogram histogram;
  CHECK(histogram.quantile(0.5) == 0);
  for (std::uint64_t value = 1; value <= 100; ++value) histogram.record(value);
  CHECK(histogram.count() == 100);
  CHECK(histogram.quantile(0) == 1);
  CHECK(histogram.quantile(0.5) == 50);
  CHECK(histogram.quantile(0.99) == 99);
  CHECK(histogram.quantile(0.999) == 100);
  CHECK(histogram.quantile(1) == 100);
  CHECK(histogram.max() == 100);
}

TEST_CASE(
    "histogram: the largest value is exact, and merged histograms equal one recorded together",
    "[bench]") {
  Histogram one;
  Histogram other;
  one.record(100'000);
  other.record(7);
  other.record(1'000'001);
  one.add(other);
  CHECK(one.count() == 3);
  CHECK(one.quantile(0.1) == 7);
  CHECK(one.quantile(1) == 1'000'001);
}

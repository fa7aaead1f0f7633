#include "lib/metrics/process_stats.h"

#include <chrono>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "tests/support/catch.h"

using starttls::parse_process_stat;
using starttls::ProcessReader;

namespace {

// Returns the stat line of a shell. Tests choose names that are hard to parse.
std::string stat_of(const std::string& name) {
  return "4711 (" + name +
         ") S 1 4711 4711 34816 -1 4194304 1000 2000 0 0 123 45 67 89 20 0 1 0 987654 8192000 "
         "321 18446744073709551615 1 1 0 0 0 0 65536 4 65538 0 0 0 17 1 0 0 0 0 0\n";
}

}  // namespace

TEST_CASE("process stats: fields are counted from the end of the name", "[base]") {
  for (const auto* name : {"sh", "a b", "a) S 1 1", "(", ")", "a\nb"}) {
    const auto times = parse_process_stat(stat_of(name));
    REQUIRE(times);
    CHECK(times->cpu_ticks == 168);
    CHECK(times->start_ticks == 987654);
    CHECK(times->virtual_bytes == 8192000);
    CHECK(times->resident_pages == 321);
  }
}

TEST_CASE("process stats: a cut or malformed value is not guessed", "[base]") {
  const std::string whole = stat_of("sh");
  const auto last = whole.find(" 321") + 4;
  for (std::size_t size = 0; size + 3 < last; ++size) {
    CHECK(!parse_process_stat(whole.substr(0, size)));
  }
  CHECK(parse_process_stat(whole.substr(0, last)));
  std::string wrong = whole;
  wrong.replace(wrong.find("8192000"), 7, "-192000");
  CHECK(!parse_process_stat(wrong));
}

TEST_CASE("process stats: the values of this process are plausible", "[base]") {
  ProcessReader reader;
  const auto before = reader.read();
  REQUIRE(before.open_descriptors);
  REQUIRE(before.start_time_seconds);
  REQUIRE(before.resident_bytes);
  REQUIRE(before.virtual_bytes);
  REQUIRE(before.cpu_seconds);
  REQUIRE(before.max_descriptors);
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  CHECK(*before.start_time_seconds < now + 2);
  CHECK(*before.start_time_seconds > now - 600);
  CHECK(*before.resident_bytes > 100'000);
  CHECK(*before.resident_bytes < *before.virtual_bytes);
  CHECK(*before.max_descriptors >= *before.open_descriptors);

  // Numbers are read anew each time, without an open(2).
  const int extra = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(extra >= 0);
  CHECK(reader.read().open_descriptors == *before.open_descriptors + 1);
  CHECK(reader.read().open_descriptors == *before.open_descriptors + 1);
  ::close(extra);
  CHECK(reader.read().open_descriptors == before.open_descriptors);
  CHECK(*reader.read().cpu_seconds >= *before.cpu_seconds);
}

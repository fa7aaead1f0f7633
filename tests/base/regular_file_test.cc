#include "lib/base/regular_file.h"

#include <filesystem>
#include <string>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;

namespace {

constexpr std::size_t kMax = std::size_t{1} << 20U;

/// Returns the content of a file, or "!" and the error.
std::string content_of(const std::string& path) {
  const auto file = open_regular_file(path);
  if (!file) {
    CHECK(file.error().code == Errc::config);
    return "!" + file.error().reason;
  }
  const auto text = read_to_end(file->descriptor.get(), kMax);
  return text ? *text : "!" + text.error().reason;
}

}  // namespace

TEST_CASE("regular file: every size comes back whole, up to the limit", "[base]") {
  const TemporaryFolder folder;
  for (const std::size_t size : {0U, 1U, 15U, 16U, 4095U, 4096U, 4097U, 100'000U, (1U << 20U)}) {
    std::string text(size, 'x');
    if (size > 0) text.back() = 'e';
    CAPTURE(size);
    CHECK((content_of(folder.write("a", text)) == text));  // not printed
  }
  CHECK(content_of(folder.write("a", std::string(kMax + 1, 'x'))) == "!larger than 1 MiB");
  CHECK(content_of(folder.write("a", std::string(3 * kMax, 'x'))) == "!larger than 1 MiB");
}

TEST_CASE("regular file: a file that has more than its size says is read to its end", "[base]") {
  // The kernel says that its files in /proc are empty.
  CHECK(content_of("/proc/self/status").find("Pid:") != std::string::npos);
}

TEST_CASE("any file: a pipe is read to its end, in as many parts as it comes", "[base]") {
  int ends[2] = {};
  REQUIRE(::pipe(ends) == 0);
  std::thread writer([descriptor = ends[1]] {
    const std::string part(50'000, 'x');
    for (int i = 0; i < 4; ++i) {
      if (::write(descriptor, part.data(), part.size()) < 0) break;
    }
    ::close(descriptor);
  });
  const auto text = read_any_file("/proc/self/fd/" + std::to_string(ends[0]), kMax);
  writer.join();
  ::close(ends[0]);
  REQUIRE(text);
  CHECK(text->size() == 200'000);
}

TEST_CASE("regular file: all other kinds are refused at once", "[base]") {
  const TemporaryFolder folder;
  CHECK(content_of(folder.file("missing")) == "!No such file or directory");
  CHECK(content_of("") == "!No such file or directory");
  CHECK(content_of(folder.path) == "!Is a directory");
  CHECK(content_of("/dev/null") == "!not a regular file");
  // No process writes to this FIFO. To open it as usual would wait for one.
  const auto pipe = folder.file("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(content_of(pipe) == "!not a regular file");
  // A link counts as what it leads to.
  std::filesystem::create_symlink(pipe, folder.file("link"));
  CHECK(content_of(folder.file("link")) == "!not a regular file");
  std::filesystem::create_symlink(folder.write("a", "text"), folder.file("good"));
  CHECK(content_of(folder.file("good")) == "text");
}

TEST_CASE("regular file: what is open is not what has the name later", "[base][security]") {
  const TemporaryFolder folder;
  const auto path = folder.write("a", "old");
  const auto file = open_regular_file(path);
  REQUIRE(file);
  CHECK(file->status.st_size == 3);
  std::filesystem::rename(folder.write("b", "newer"), path);
  CHECK(read_to_end(file->descriptor.get(), kMax) == "old");
}

TEST_CASE("read to end: a pipe without a size is read, too", "[base]") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const Descriptor out{ends[0]};
  Descriptor in{ends[1]};
  const std::string text(20'000, 'x');  // less than a pipe holds
  REQUIRE(::write(in.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  in.reset();
  const auto read = read_to_end(out.get(), kMax);
  REQUIRE(read);
  CHECK((*read == text));
}

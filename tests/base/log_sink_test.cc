#include "lib/base/log_sink.h"

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;

namespace {

/// A named pipe. Its reader reads only on request.
class NamedPipe {
 public:
  explicit NamedPipe(const std::filesystem::path& path) : path_(path.string()) {
    REQUIRE(::mkfifo(path_.c_str(), 0600) == 0);
    REQUIRE(std::signal(SIGPIPE, SIG_IGN) != SIG_ERR);  // as the daemon does
  }
  NamedPipe(const NamedPipe&) = delete;
  NamedPipe& operator=(const NamedPipe&) = delete;
  ~NamedPipe() { close(); }

  void open() {
    fd_ = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK);
    REQUIRE(fd_ >= 0);
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  /// Returns all bytes that are in the pipe.
  std::string read() const {
    std::string text;
    std::array<char, 65536> piece{};
    for (;;) {
      const auto count = ::read(fd_, piece.data(), piece.size());
      if (count <= 0) return text;
      text.append(piece.data(), static_cast<std::size_t>(count));
    }
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  int fd_ = -1;
};

/// A sink that writes to such a pipe.
struct Piped {
  Piped() {
    pipe.open();
    REQUIRE(sink.open(pipe.path()));
  }

  TemporaryFolder folder;
  NamedPipe pipe{folder.file("log")};
  log::Sink sink;
};

std::string line(int number) {
  return "line " + std::to_string(number) + ' ' + std::string(90, 'x') + '\n';
}

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE_METHOD(Piped, "log sink: who does not read is not waited for, and loses whole lines",
                 "[base]") {
  std::string taken;
  int number = 0;
  while (sink.write(line(number))) taken += line(number++);
  CHECK(sink.waiting() <= log::Sink::kMaxWaiting);
  CHECK(sink.waiting() > log::Sink::kMaxWaiting - 200);
  CHECK_FALSE(sink.flush());

  std::string read;
  while (!sink.flush()) read += pipe.read();
  read += pipe.read();
  CHECK(sink.write("the next\n"));
  read += pipe.read();
  CHECK((read == taken + "the next\n"));  // too long for Catch2 to print on failure
}

TEST_CASE_METHOD(Piped, "log sink: a reader that comes back gets what waited", "[base]") {
  pipe.close();
  CHECK(sink.write("while nobody was there\n"));
  CHECK_FALSE(sink.flush());
  pipe.open();
  CHECK(sink.flush());
  CHECK(pipe.read() == "while nobody was there\n");
}

TEST_CASE("log sink: a named pipe without a reader is an error, not a wait", "[base]") {
  const TemporaryFolder folder;
  const NamedPipe pipe(folder.file("log"));
  log::Sink sink;
  const auto opened = sink.open(pipe.path());
  REQUIRE_FALSE(opened);
  CHECK(opened.error().reason.find(pipe.path()) != std::string::npos);
}

TEST_CASE_METHOD(Piped, "log sink: what waits goes to the file that is opened next", "[base]") {
  pipe.close();
  CHECK(sink.write("one\n"));
  const std::filesystem::path file = folder.file("file");
  REQUIRE(sink.open(file.string()));
  CHECK(sink.write("two\n"));
  CHECK(content(file) == "one\ntwo\n");
}

TEST_CASE("log: lost lines are counted and reported", "[base]") {
  const TemporaryFolder folder;
  NamedPipe pipe(folder.file("log"));
  pipe.open();
  log::Logger log(log::Level::info, log::Format::text);
  REQUIRE(log.open(pipe.path()));
  for (int i = 0; i < 30'000; ++i) log.info(line(i), {});
  REQUIRE(log.lost_lines() > 0);

  std::string text;
  for (int i = 0; i < 1000 && text.find("log lines are lost") == std::string::npos; ++i) {
    text += pipe.read();
    log.tick();
  }
  text += pipe.read();
  const auto told = "msg=\"log lines are lost\" lines=" + std::to_string(log.lost_lines()) + '\n';
  CHECK(text.find(told) != std::string::npos);
}

TEST_CASE("log: at its end the log reports repeats that were only counted", "[base]") {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.file("file");
  const auto count = [&file](std::string_view wanted) {
    const std::string text = content(file);
    std::size_t found = 0;
    for (auto at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1))
      ++found;
    return found;
  };
  const auto fail_often = [](log::Logger& log) {
    const log::Field fields[] = {{"service", "office"}};
    for (int i = 0; i < 50; ++i) {
      log.fault(log::Level::warn, {"no server", "office", "upstream", "unreachable", "refused"},
                fields);
    }
  };
  SECTION("a repeated fault is limited") {
    log::Logger log(log::Level::info, log::Format::text);
    REQUIRE(log.open(file.string()));
    fail_often(log);
    CHECK(count("msg=\"no server\" service=office\n") == 20);
    log.finish({});
    CHECK(count("msg=repeated of=\"no server\" service=office leg=upstream error=unreachable "
                "reason=refused times=30\n") == 1);
  }
  SECTION("nothing is limited at level debug") {
    log::Logger log(log::Level::debug, log::Format::text);
    REQUIRE(log.open(file.string()));
    fail_often(log);
    log.finish({});
    CHECK(count("no server") == 50);
  }
}

TEST_CASE("log: last words are at level error, and do not wait", "[base]") {
  const TemporaryFolder folder;
  log::Logger log(log::Level::error, log::Format::json);
  SECTION("if there is room") {
    const std::filesystem::path file = folder.file("file");
    REQUIRE(log.open(file.string()));
    CHECK(log.last_words("it ends", "a \"reason\"\n"));
    CHECK(content(file).find(R"("level":"error","msg":"it ends","reason":"a \"reason\"\u000a"})") !=
          std::string::npos);
  }
  SECTION("a reader that does not read misses them") {
    NamedPipe pipe(folder.file("log"));
    pipe.open();
    REQUIRE(log.open(pipe.path()));
    for (int i = 0; i < 1000; ++i) log.error(line(i), {});
    CHECK_FALSE(log.last_words("it ends", "a reason"));
  }
}

TEST_CASE("log sink: the journal is recognised by device and inode", "[base]") {
  const TemporaryFolder folder;
  const int fd = ::open(folder.file("log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  REQUIRE(fd >= 0);
  struct stat status = {};
  REQUIRE(::fstat(fd, &status) == 0);
  const std::string device = std::to_string(status.st_dev);
  const std::string inode = std::to_string(status.st_ino);
  CHECK(log::is_journal(fd, (device + ":" + inode).c_str()));
  CHECK_FALSE(log::is_journal(fd, (device + ":" + inode + "1").c_str()));
  CHECK_FALSE(log::is_journal(fd, ("1" + device + ":" + inode).c_str()));
  CHECK_FALSE(log::is_journal(fd, nullptr));
  for (const char* wrong : {"", ":", "1", "1:", ":1", "a:b", "-1:1", "1:2:3"}) {
    CHECK_FALSE(log::is_journal(fd, wrong));
  }
  REQUIRE(::close(fd) == 0);
  CHECK_FALSE(log::is_journal(fd, (device + ":" + inode).c_str()));
}

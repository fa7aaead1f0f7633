// load: plaintext SMTP sessions, many octets or many of them, through whatever is under test.
// Prints one line of JSON; exit status 1 where anything went wrong.

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include "bench/load/client.h"
#include "bench/load/pattern.h"
#include "lib/base/ascii.h"
#include "lib/config/config.h"

namespace {

using starttls::Address;
using starttls::bench::Client;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string connect;
  std::uint64_t octets = 1'000'000'000;
  unsigned sessions = 1;
  unsigned count = 1000;
  unsigned concurrency = 8;
  double hold = 10;
};

/// What many threads did together.
class Tally {
 public:
  void add_octets(std::uint64_t octets) noexcept { octets_ += octets; }
  void add_session() noexcept { ++sessions_; }
  void add_error(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (errors_++ == 0) first_error_ = what;
  }
  [[nodiscard]] unsigned errors() const noexcept { return errors_; }

  /// After all threads have ended.
  void print() const {
    const std::chrono::duration<double> elapsed = Clock::now() - begin_;
    fmt::print(R"({{"octets": {}, "sessions": {}, "seconds": {:.6f}, "errors": {}, )"
               R"("first_error": "{}"}})"
               "\n",
               octets_.load(), sessions_.load(), elapsed.count(), errors_.load(),
               starttls::ascii::escape(first_error_));
    std::fflush(stdout);
  }

 private:
  Clock::time_point begin_ = Clock::now();
  std::atomic<std::uint64_t> octets_ = 0;
  std::atomic<unsigned> sessions_ = 0;
  std::atomic<unsigned> errors_ = 0;
  std::mutex mutex_;  // guards first_error_
  std::string first_error_;
};

/// Runs `session` `count` times, at most `concurrency` at once.
void run(unsigned count, unsigned concurrency, Tally& tally, const std::function<void()>& session) {
  std::atomic<unsigned> begun = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::min(concurrency, count); ++i) {
    threads.emplace_back([&] {
      while (begun++ < count) {
        try {
          session();
          tally.add_session();
        } catch (const std::exception& error) {
          tally.add_error(error.what());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::uint64_t whole_lines(std::uint64_t octets) {
  constexpr auto kLine = starttls::bench::kPatternLine;
  return (octets + kLine - 1) / kLine * kLine;
}

void send(const Options& options, const Address& address, Tally& tally) {
  const std::uint64_t octets = whole_lines(options.octets);
  run(options.sessions, options.sessions, tally, [&] {
    Client client(address);
    client.hello();
    client.send_message(octets);
    client.quit();
    tally.add_octets(octets);
  });
}

void fetch(const Options& options, const Address& address, Tally& tally) {
  run(options.sessions, options.sessions, tally, [&] {
    Client client(address);
    client.commit();
    client.fetch(options.octets);
    client.quit();
    tally.add_octets(options.octets);
  });
}

void sessions(const Options& options, const Address& address, Tally& tally) {
  run(options.count, options.concurrency, tally, [&] {
    Client client(address);
    client.hello();
    client.quit();
  });
}

/// Says `{"open": N}` once all sessions are open, holds them, and ends each in peace.
void idle(const Options& options, const Address& address, Tally& tally) {
  // TERM ends the wait, not the process: a session was held only if it can still say QUIT.
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, nullptr);

  std::vector<std::unique_ptr<Client>> clients;
  run(options.sessions, 1, tally, [&] {
    auto client = std::make_unique<Client>(address);
    client->commit();
    clients.push_back(std::move(client));
  });
  fmt::print("{{\"open\": {}}}\n", clients.size());
  std::fflush(stdout);
  const auto nanoseconds = static_cast<std::int64_t>(options.hold * 1e9);
  const timespec hold{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  sigtimedwait(&term, nullptr, &hold);
  for (const auto& client : clients) {
    try {
      client->quit();
    } catch (const std::exception& error) {
      tally.add_error(error.what());
    }
  }
}

int run_command(int argc, char** argv) {
  Options options;
  CLI::App app{"Plaintext SMTP sessions through a proxy; `backend` must be behind it."};
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* description) {
    CLI::App* command = app.add_subcommand(name, description);
    command->add_option("--connect", options.connect, "ADDRESS:PORT or unix:PATH")->required();
    return command;
  };
  constexpr const char* kOctets = "octets a session (1e9)";
  constexpr const char* kSessions = "sessions at once";
  auto* const send_command = add("send", "one large message a session");
  send_command->add_option("--octets", options.octets, kOctets);
  send_command->add_option("--sessions", options.sessions, kSessions);
  auto* const fetch_command = add("fetch", "the same in the other direction");
  fetch_command->add_option("--octets", options.octets, kOctets);
  fetch_command->add_option("--sessions", options.sessions, kSessions);
  auto* const idle_command = add("idle", "opens sessions, commits them, and holds them");
  idle_command->add_option("--sessions", options.sessions, kSessions);
  idle_command->add_option("--hold", options.hold, "seconds, or until TERM");
  auto* const sessions_command = add("sessions", "short sessions: EHLO, QUIT");
  sessions_command->add_option("--count", options.count, "sessions in all");
  sessions_command->add_option("--concurrency", options.concurrency, "sessions at once");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  const auto address = starttls::config::parse_address(options.connect);
  if (!address) {
    fmt::print(stderr, "load: --connect: {}\n", address.error().reason);
    return EXIT_FAILURE;
  }

  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));  // if not, the old limit counts
  }
  Tally tally;
  if (send_command->parsed()) send(options, *address, tally);
  if (fetch_command->parsed()) fetch(options, *address, tally);
  if (idle_command->parsed()) idle(options, *address, tally);
  if (sessions_command->parsed()) sessions(options, *address, tally);
  tally.print();
  return tally.errors() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_command(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "load: {}\n", error.what());
    return EXIT_FAILURE;
  }
}

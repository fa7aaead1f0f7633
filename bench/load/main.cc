// load: runs sessions through the proxy under test, with many bytes, many messages, many commands,
// or many sessions. The server of the proxy must be `backend`. Prints one line of JSON. Exit status
// 1 if anything went wrong.

#include <algorithm>
#include <atomic>
#include <barrier>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include "bench/load/client.h"
#include "bench/load/tally.h"
#include "lib/config/config.h"
#include "tools/mail_server/pattern.h"

namespace {

using namespace starttls;
using bench::Client;
using bench::Clock;
using bench::Tally;
using bench::Target;
using bench::Times;

/// The run ends after this many errors: a proxy that does not answer would cost a minute per
/// session.
constexpr unsigned kEnoughErrors = 20;

struct Options {
  std::string connect;
  std::string protocol = "smtp";
  std::string tls = "none";
  std::string version = "1.3";
  std::string ca_file;
  std::uint64_t bytes = 0;
  unsigned sessions = 1;
  unsigned count = 1000;
  unsigned concurrency = 8;
  double rate = 0;
  double seconds = 0;
  double hold = 10;
  bool fetch = false;
};

/// The parameters of a command.
struct Job {
  const Options& options;
  const Target& target;
  Tally& tally;

  /// Connects, and returns a client that is greeted, secured and committed.
  [[nodiscard]] std::unique_ptr<Client> open_committed() const {
    auto client = bench::make_client(options.protocol, target);
    client->open();
    client->commit();
    tally.add_session(*client);
    return client;
  }
};

void record(bench::Histogram& histogram, Clock::time_point since) {
  histogram.record(static_cast<std::uint64_t>((Clock::now() - since).count()));
}

/// Runs `work` on this many threads. An exception ends its thread and counts as an error.
void on_threads(unsigned count, Tally& tally, const std::function<void(Times&)>& work) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      Times times;
      try {
        work(times);
      } catch (const std::exception& error) {
        tally.add_error(error.what());
      }
      tally.add_times(times);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::uint64_t whole_lines(std::uint64_t bytes) {
  constexpr auto kLine = bench::kPatternLine;
  return (bytes + kLine - 1) / kLine * kLine;
}

/// Hands out units of work until there were `--count`, or `--seconds` are over. Without a rate
/// (closed loop) the next unit begins at once. With a rate (open loop) each unit is due at a fixed
/// time. Its times count from then on, however late it begins. So a stall shows in the times of all
/// units that were due meanwhile.
class Pace {
 public:
  explicit Pace(const Options& options) : options_(options) {}

  void start() noexcept { begin_ = Clock::now(); }
  /// Waits until the next unit is due, and returns that time; nothing if there are no more units.
  std::optional<Clock::time_point> next() {
    const unsigned number = begun_++;
    if (number >= options_.count) return std::nullopt;
    auto due = Clock::now();
    if (options_.rate > 0) due = after(number / options_.rate);
    if (options_.seconds > 0 && due >= after(options_.seconds)) return std::nullopt;
    std::this_thread::sleep_until(due);
    return due;
  }

 private:
  [[nodiscard]] Clock::time_point after(double seconds) const {
    return begin_ +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

  const Options& options_;
  Clock::time_point begin_ = Clock::now();
  std::atomic<unsigned> begun_ = 0;
};

/// Opens `--sessions` connections, and does `work` with each once all are open. Before the work it
/// prints `{"open": N}` and waits a moment. The measuring program reads the clocks then, so that
/// opening does not count. `begin` is called when the work begins.
void on_sessions(const Job& job, const std::function<void()>& begin,
                 const std::function<void(Client&, Times&)>& work) {
  constexpr std::chrono::milliseconds kLook{25};
  std::atomic<unsigned> open = 0;
  const auto on_all_open = [&]() noexcept {
    std::printf("{\"open\": %u}\n", open.load());
    std::fflush(stdout);
    std::this_thread::sleep_for(kLook);
    job.tally.restart();
    begin();
  };
  std::barrier all_open(static_cast<std::ptrdiff_t>(job.options.sessions), on_all_open);
  on_threads(job.options.sessions, job.tally, [&](Times& times) {
    std::unique_ptr<Client> client;
    try {
      client = job.open_committed();
    } catch (...) {
      all_open.arrive_and_drop();
      throw;
    }
    ++open;
    all_open.arrive_and_wait();
    work(*client, times);
    client->quit();
  });
}

void send(const Job& job) {
  const std::uint64_t bytes = whole_lines(job.options.bytes);
  on_sessions(
      job, [] {},
      [&](Client& client, Times&) {
        client.send_message(bytes);
        job.tally.add_bytes(bytes);
        job.tally.add_done();
      });
}

void fetch(const Job& job) {
  on_sessions(
      job, [] {},
      [&](Client& client, Times&) {
        client.fetch(job.options.bytes);
        job.tally.add_bytes(job.options.bytes);
        job.tally.add_done();
      });
}

/// Divides units of work among the sessions.
void repeat(const Job& job, const std::function<void(Client&)>& unit) {
  Pace pace(job.options);
  on_sessions(
      job, [&pace] { pace.start(); },
      [&](Client& client, Times& times) {
        while (const auto due = pace.next()) {
          unit(client);
          record(times.whole, *due);
          job.tally.add_done();
        }
      });
}

void messages(const Job& job) {
  const bool sends = !job.options.fetch && bench::can_send(job.options.protocol);
  const std::uint64_t bytes = whole_lines(job.options.bytes);
  repeat(job, [&](Client& client) {
    if (sends) {
      client.send_message(bytes);
    } else {
      client.fetch(bytes);
    }
    job.tally.add_bytes(bytes);
  });
}

void commands(const Job& job) {
  repeat(job, [](Client& client) { client.round_trip(); });
}

void sessions(const Job& job) {
  Pace pace(job.options);
  on_threads(std::min(job.options.concurrency, job.options.count), job.tally, [&](Times& times) {
    while (const auto due = pace.next()) {
      try {
        const auto client = bench::make_client(job.options.protocol, job.target);
        client->open();
        record(times.ready, *due);
        client->commit();
        record(times.committed, *due);
        job.tally.add_session(*client);
        client->quit();
        record(times.whole, *due);
        job.tally.add_done();
      } catch (const std::exception& error) {
        job.tally.add_error(error.what());
        if (job.tally.errors() >= kEnoughErrors) return;
      }
    }
  });
}

/// Prints `{"open": N}` once all sessions are open, holds them, and ends each of them properly.
void idle(const Job& job) {
  // TERM ends the wait, not the process. A session that cannot end properly afterwards was not
  // held.
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, nullptr);

  std::vector<std::unique_ptr<Client>> clients;
  std::mutex mutex;  // guards clients
  std::atomic<unsigned> begun = 0;
  const unsigned threads = std::min(job.options.concurrency, job.options.sessions);
  on_threads(threads, job.tally, [&](Times&) {
    while (begun++ < job.options.sessions) {
      auto client = job.open_committed();
      const std::lock_guard lock(mutex);
      clients.push_back(std::move(client));
    }
  });
  std::printf("{\"open\": %zu}\n", clients.size());
  std::fflush(stdout);
  const auto nanoseconds = static_cast<std::int64_t>(job.options.hold * 1e9);
  const timespec hold{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  sigtimedwait(&term, nullptr, &hold);
  for (const auto& client : clients) {
    try {
      client->quit();
      job.tally.add_done();
    } catch (const std::exception& error) {
      job.tally.add_error(error.what());
    }
  }
}

/// Returns the target that the options name. Errors: what is wrong with the options, in words.
Result<Target> make_target(const Options& options, Target target) {
  auto address = config::parse_address(options.connect);
  if (!address) return fail(Errc::config, "--connect: " + address.error().reason);
  target.address = std::move(*address);
  for (const auto mode : {TlsMode::starttls, TlsMode::implicit}) {
    if (options.tls == name(mode)) target.tls = mode;
  }
  if (target.tls == TlsMode::none) return target;
  const auto version = options.version == "1.2" ? TlsVersion::tls1_2 : TlsVersion::tls1_3;
  auto context = tls::Context::client(
      {.ca_file = options.ca_file, .min_version = version, .max_version = version});
  if (!context) return fail(std::move(context.error()));
  target.context = std::move(*context);
  return target;
}

int run_command(int argc, char** argv) {
  Options options;
  Target target;
  CLI::App app{"Mail sessions through a proxy; `backend` must be behind it."};
  app.require_subcommand(1);
  void (*chosen)(const Job&) = nullptr;
  const auto add = [&](const char* name, void (*function)(const Job&), const char* description) {
    CLI::App* command = app.add_subcommand(name, description);
    command->callback([&chosen, function] { chosen = function; });
    command->add_option("--connect", options.connect, "ADDRESS:PORT or unix:PATH")->required();
    command->add_option("--protocol", options.protocol, "smtp, lmtp, imap, pop3, sieve, nntp")
        ->check(CLI::IsMember({"smtp", "lmtp", "imap", "pop3", "sieve", "nntp"}));
    command->add_option("--tls", options.tls, "none, starttls or implicit")
        ->check(CLI::IsMember({"none", "starttls", "implicit"}));
    command->add_option("--tls-version", options.version, "1.3 or 1.2")
        ->check(CLI::IsMember({"1.2", "1.3"}));
    command->add_option("--ca-file", options.ca_file, "who is trusted; PEM");
    command->add_option("--server-name", target.server_name, "SNI, and the name verified");
    command->add_option("--record", target.record, "plaintext bytes of a TLS record sent")
        ->check(CLI::Range(1, 16384));
    command->add_flag("--resume", target.resume, "resume earlier TLS sessions");
    return command;
  };
  const auto add_sessions = [&](CLI::App* command) {
    command->add_option("--sessions", options.sessions, "connections at once")
        ->check(CLI::Range(1, 1'000'000));
  };
  const auto add_bytes = [&](CLI::App* command, const char* description) {
    command->add_option("--bytes", options.bytes, description)->required();
  };
  const auto add_count = [&](CLI::App* command, const char* description) {
    command->add_option("--count", options.count, description);
    command->add_option("--rate", options.rate, "so many a second; 0: closed loop");
    command->add_option("--seconds", options.seconds, "begins none after that; 0: no limit");
  };
  auto* const send_command = add("send", send, "one large message a session");
  add_bytes(send_command, "of a session");
  add_sessions(send_command);
  auto* const fetch_command = add("fetch", fetch, "the same in the other direction");
  add_bytes(fetch_command, "of a session");
  add_sessions(fetch_command);
  auto* const messages_command =
      add("messages", messages, "many small messages; POP3 fetches them");
  add_bytes(messages_command, "of a message");
  add_count(messages_command, "messages in all");
  add_sessions(messages_command);
  messages_command->add_flag("--fetch", options.fetch, "in the other direction");
  auto* const commands_command = add("commands", commands, "round trips of one command");
  add_count(commands_command, "commands in all");
  add_sessions(commands_command);
  auto* const idle_command = add("idle", idle, "opens sessions, commits them, and holds them");
  add_sessions(idle_command);
  idle_command->add_option("--concurrency", options.concurrency, "opened at once")
      ->check(CLI::Range(1, 10'000));
  idle_command->add_option("--hold", options.hold, "seconds, or until TERM");
  auto* const sessions_command = add("sessions", sessions, "short sessions: commit, then quit");
  add_count(sessions_command, "sessions in all");
  sessions_command->add_option("--concurrency", options.concurrency, "sessions at once, at most")
      ->check(CLI::Range(1, 10'000));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  const auto made = make_target(options, std::move(target));
  if (!made) {
    std::fprintf(stderr, "load: %s\n", made.error().reason.c_str());
    return EXIT_FAILURE;
  }

  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));  // if this fails, the old limit stays
  }
  Tally tally;
  chosen({options, *made, tally});
  tally.print();
  return tally.errors() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_command(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "load: %s\n", error.what());
    return EXIT_FAILURE;
  }
}

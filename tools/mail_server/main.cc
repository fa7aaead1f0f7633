// backend: the server side of the mail protocols for the demo and for benchmarks. It is not a real
// mail server and does not keep the promises of one.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "lib/config/config.h"
#include "lib/net/descriptor_limit.h"
#include "lib/net/listener.h"
#include "lib/net/loop.h"
#include "lib/net/signals.h"
#include "tools/mail_server/connection.h"

namespace {

using namespace starttls;

struct Options {
  std::string protocol;
  std::string listen;
  std::string tls = "none";
  std::string chain;
  std::string key;
  std::string store;
  unsigned workers = 1;
  std::size_t record = 0;
};

/// A loop with its thread, its listener and its connections.
class Worker {
 public:
  Worker(const bench::Settings& settings, std::unique_ptr<net::Loop> loop)
      : settings_(settings), loop_(std::move(loop)) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// Ends all connections.
  ~Worker() {
    loop_->post([this] {
      listener_.reset();
      for (const auto& [key, connection] : connections_) connection->stop();
      loop_->stop();
    });
    if (thread_.joinable()) thread_.join();
  }

  Result<> listen(net::Socket socket) {
    const auto kind =
        net::local_port(socket) == 0 ? net::Stream::Kind::unix_socket : net::Stream::Kind::tcp;
    listener_ = std::make_unique<net::Listener>(
        *loop_, kind,
        [this](net::Listener::Connection client) { on_client(std::move(client.stream)); });
    return listener_->open(std::move(socket));
  }

  void start() {
    thread_ = std::thread([this] { loop_->run(); });
  }

 private:
  void on_client(net::Stream::Ptr stream) {
    auto connection = std::make_unique<bench::Connection>(
        settings_, std::move(stream), [this](bench::Connection& ended) {
          loop_->defer([this, key = &ended] { connections_.erase(key); });
        });
    bench::Connection& born = *connection;
    connections_.emplace(&born, std::move(connection));
    born.start();
  }

  const bench::Settings& settings_;
  std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<net::Listener> listener_;
  std::unordered_map<bench::Connection*, std::unique_ptr<bench::Connection>> connections_;
  std::thread thread_;
};

Result<bench::Settings> make_settings(const Options& options) {
  bench::Settings settings{bench::find_protocol(options.protocol), TlsMode::none, nullptr,
                           bench::Mailbox{options.store}, options.record};
  for (const auto mode : {TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
    if (options.tls == name(mode)) settings.tls = mode;
  }
  if (settings.tls == TlsMode::none) return settings;
  auto context = tls::Context::server({.certificates = {{options.chain, options.key}}});
  if (!context) return fail(std::move(context.error()));
  settings.context = std::move(*context);
  return settings;
}

Result<> serve(const Options& options) {
  net::ignore_signals_of_writes();
  net::raise_descriptor_limit();
  const auto settings = make_settings(options);
  if (!settings) return fail(settings.error());
  auto address = config::parse_address(options.listen);
  if (!address) return fail(Errc::config, "--listen: " + address.error().reason);

  const auto control = net::Loop::create();
  if (!control) return fail(control.error());
  net::Signals signals(**control, [&loop = **control](int) { loop.stop(); });
  if (auto watching = signals.open({SIGTERM, SIGINT}); !watching) return watching;
  std::vector<std::unique_ptr<Worker>> workers;
  for (unsigned i = 0; i < options.workers; ++i) {
    auto socket = net::bind_listener(*address);
    if (!socket) return fail(std::move(socket.error()));
    if (i == 0) {
      if (!address->is_unix()) address->port = net::local_port(*socket);
      std::printf("listening %s\n", net::local_name(*socket).c_str());
    }
    auto loop = net::Loop::create();
    if (!loop) return fail(std::move(loop.error()));
    workers.push_back(std::make_unique<Worker>(*settings, std::move(*loop)));
    if (auto result = workers.back()->listen(std::move(*socket)); !result) return result;
  }
  for (const auto& worker : workers) worker->start();
  std::fflush(stdout);
  (*control)->run();
  return {};
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Server side of mail protocols, for the demo and for benchmarks."};
  app.add_option("--protocol", options.protocol, bench::protocol_names())
      ->required()
      ->check([](const std::string& name) {
        return bench::find_protocol(name) != nullptr
                   ? std::string{}
                   : "none of " + bench::protocol_names() + ": " + name;
      });
  app.add_option("--listen", options.listen, "ADDRESS:PORT (0 = any) or unix:PATH")->required();
  app.add_option("--tls", options.tls,
                 "none, opportunistic (STARTTLS offered), starttls (required) or implicit")
      ->check(CLI::IsMember({"none", "opportunistic", "starttls", "implicit"}));
  app.add_option("--chain", options.chain, "certificate chain, PEM");
  app.add_option("--key", options.key, "its key, PEM");
  auto* const store =
      app.add_option("--store", options.store, "keep messages and scripts as files in this folder")
          ->check(CLI::ExistingDirectory);
  bool discard = false;  // not read: discarding is the default anyway
  app.add_flag("--discard", discard, "drop messages, and say which were the bench's pattern")
      ->excludes(store);
  app.add_option("--record", options.record,
                 "bytes of XSEND's pattern in one write, and so in one TLS record")
      ->check(CLI::Range(1, 16384));
  app.add_option("--workers", options.workers, "loops, one thread each")->check(CLI::Range(1, 64));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  const auto result = serve(options);
  if (result) return EXIT_SUCCESS;
  std::fprintf(stderr, "backend: %s\n", result.error().reason.c_str());
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "backend: %s\n", error.what());
    return EXIT_FAILURE;
  }
}

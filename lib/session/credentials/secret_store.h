#pragma once

// The secrets that sockets and programs give, for all workers of a process. Workers ask from their
// threads. The store lives on the control loop, and its answers go back to the loop that asked. A
// source that is slow or dead holds up nothing but the logins that need it.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/utc.h"
#include "lib/config/config.h"
#include "lib/net/loop.h"
#include "lib/net/resolver.h"
#include "lib/net/timer.h"
#include "lib/session/credentials/program_runner.h"
#include "lib/session/credentials/secret_cache.h"
#include "lib/session/credentials/secret_request.h"
#include "lib/session/credentials/socket_request.h"

namespace starttls::session {

/// Lives on one loop's thread. Tickets must be gone before it goes, and no other thread may run.
class SecretStore {
 public:
  using OnAnswer = std::function<void(SecretAnswer)>;

  /// The arguments outlive the store.
  SecretStore(net::Loop& loop, net::Resolver& resolver, ProgramRunner& programs);
  SecretStore(const SecretStore&) = delete;
  SecretStore& operator=(const SecretStore&) = delete;

  struct Waiting;
  /// A request under way. Its owner may destroy it, and so give it up, at any time on the thread
  /// that asked; nothing is reported then.
  class Ticket {
   public:
    Ticket(SecretStore& store, std::shared_ptr<Waiting> waiting) noexcept;
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket();

   private:
    SecretStore& store_;
    std::shared_ptr<Waiting> waiting_;
  };

  /// Asks for a secret. Called on the thread of `asker`, from any thread. `on_answer` is called
  /// once there, from the loop.
  [[nodiscard]] std::unique_ptr<Ticket> ask(net::Loop& asker, SecretRequest request,
                                            OnAnswer on_answer);
  /// Notes when a secret that came from elsewhere ends. May be called from any thread.
  void note_end(std::string service, std::string user, UnixTime end);

  /// Forgets the secrets of sources that no service has any more. Called on the store's thread.
  void keep_sources_of(const std::vector<config::Service>& services);
  /// Returns when the last secret of this account ends, if that is known. Called on the store's
  /// thread.
  [[nodiscard]] std::optional<UnixTime> end_of(const std::string& service,
                                               const std::string& user) const;

 private:
  struct Fetch {
    SecretCache::Account account;
    std::unique_ptr<SocketRequest> socket = {};
    std::unique_ptr<net::Timer> deadline = {};  // of a program
  };

  void begin(const std::shared_ptr<Waiting>& waiting);
  void forget(const std::shared_ptr<Waiting>& waiting) noexcept;
  void fetch(const SecretRequest& request);
  void run_program(const SecretRequest& request, std::uint64_t id);
  void on_fetched(std::uint64_t id, SecretAnswer answer);
  void answer(const std::shared_ptr<Waiting>& waiting, const SecretAnswer& answer);
  void sweep();

  net::Loop& loop_;
  net::Resolver& resolver_;
  ProgramRunner& programs_;
  SecretCache cache_;
  std::map<SecretCache::Ticket, std::shared_ptr<Waiting>> waiting_;
  SecretCache::Ticket next_ticket_ = 0;
  std::map<std::uint64_t, Fetch> fetches_;
  std::uint64_t next_fetch_ = 0;
  std::map<std::pair<std::string, std::string>, UnixTime> ends_;  // by service and user
  net::Timer sweep_;
  bool sweeps_ = false;
};

/// Runs nothing: for a process that has no launcher.
class NoPrograms final : public ProgramRunner {
 public:
  explicit NoPrograms(net::Loop& loop);
  void run(Request request, OnOutput on_output) override;

 private:
  void refuse_all();

  std::vector<OnOutput> refused_;
  net::Timer timer_;
};

}  // namespace starttls::session

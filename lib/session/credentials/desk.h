#pragma once

// Gets the credentials that a role asks for: checks the client's password, then gets the secret
// from its source. Nothing of it holds up the loop.

#include <functional>
#include <memory>
#include <optional>

#include "lib/net/timer.h"
#include "lib/session/credentials/accounts.h"
#include "lib/session/credentials/secret_file.h"
#include "lib/session/credentials/secret_store.h"
#include "lib/session/worker_context.h"

namespace starttls::session {

/// Serves one role, with one request at a time. Lives on its worker's thread. May be destroyed at
/// any time there, also from inside its callback; nothing is reported then.
class CredentialsDesk {
 public:
  using OnAnswer = std::function<void(Result<proto::Credentials>)>;

  /// The arguments outlive us.
  CredentialsDesk(const WorkerContext& context, const Accounts& accounts);
  CredentialsDesk(const CredentialsDesk&) = delete;
  CredentialsDesk& operator=(const CredentialsDesk&) = delete;

  /// Asks for credentials, instead of an earlier request. `on_answer` is called once, from the
  /// loop. Errors: client_login, login.
  void ask(const proto::LoginRequest& request, OnAnswer on_answer);
  /// Gives the request up, if there is one.
  void cancel() noexcept;
  [[nodiscard]] bool is_asking() const noexcept { return on_answer_ != nullptr; }

 private:
  void on_checked(bool right);
  void read_file();
  void ask_store();
  void on_secret(SecretAnswer answer);
  void give(Secret secret);
  void refuse(const NoSecret& failure);
  void answer(Result<proto::Credentials> result);
  void on_timer();
  void deliver();

  WorkerContext context_;
  const Accounts& accounts_;
  net::Timer timer_;  // of the source, then for the answer
  std::unique_ptr<net::WorkPool::Job> job_;
  std::unique_ptr<SecretStore::Ticket> ticket_;
  Accounts::Decision decision_;
  OnAnswer on_answer_;
  std::optional<Result<proto::Credentials>> answer_;
  Secret given_;          // last
  bool refused_ = false;  // the server has refused that one
};

}  // namespace starttls::session

#include "lib/session/credentials/client_login.h"

#include <utility>

namespace starttls::session {

ClientLogin::ClientLogin(const WorkerContext& context, const Accounts& accounts)
    : desk_(context, accounts), pause_(context.loop, [this] {
        const auto on_over = std::exchange(on_over_, nullptr);  // it may begin another pause
        on_over();
      }) {}

void ClientLogin::begin(std::chrono::milliseconds now) noexcept {
  began_at_ = now;
  has_result_ = false;
}

const proto::LoginReport* ClientLogin::take_result(const proto::LoginReport* report) noexcept {
  if (report == nullptr || std::exchange(has_result_, true)) return nullptr;
  return report;
}

void ClientLogin::ask(const proto::LoginRequest& request, CredentialsDesk::OnAnswer on_answer) {
  desk_.ask(request, std::move(on_answer));
}

void ClientLogin::pause(std::function<void()> on_over) {
  if (is_pausing()) return;
  on_over_ = std::move(on_over);
  pause_.start(proto::kRefusalDelay);
}

void ClientLogin::stop() noexcept {
  desk_.cancel();
  pause_.stop();
  on_over_ = nullptr;
}

}  // namespace starttls::session

#include "proxy/system_name.h"

#include <algorithm>
#include <utility>

#include "lib/config/config.h"
#include "lib/net/address.h"

namespace starttls {

bool is_qualified_name(const std::string& name) {
  return name.find('.') != std::string::npos && !name.ends_with('.') &&
         name != "localhost.localdomain" && config::check_host(name) && !net::parse_ip(name, 0);
}

std::string immediate_system_name() {
  auto name = net::kernel_hostname();
  return is_qualified_name(name) ? name : net::address_literal();
}

SystemName::SystemName(net::Loop& loop, std::shared_ptr<session::OwnName> own,
                       std::function<void(const std::string& name)> on_changed)
    : loop_(loop),
      own_(std::move(own)),
      on_changed_(std::move(on_changed)),
      again_(loop, [this] { look(); }) {}

void SystemName::look() {
  if (query_ != nullptr) return;
  again_.stop();
  const auto name = net::kernel_hostname();
  if (is_qualified_name(name)) {
    settle(name);
    return;
  }
  if (name.empty()) return;  // there is nothing to ask for
  query_ = std::make_unique<net::NameQuery>(
      loop_, name, [this](const net::NameOutcome& outcome) { on_outcome(outcome); });
  query_->start();
}

void SystemName::stop() {
  query_.reset();
  again_.stop();
}

void SystemName::on_outcome(const net::NameOutcome& outcome) {
  // We are inside the query's call, maybe even inside `start`, so the query is destroyed later.
  loop_.defer([done = std::shared_ptr<net::NameQuery>(std::move(query_))] {});
  if (is_qualified_name(outcome.canonical)) {
    pause_ = kFirstPause;
    settle(outcome.canonical);
    return;
  }
  if (!own_->text().starts_with('[')) return;  // the earlier name stays
  again_.start(pause_);
  pause_ = std::min(pause_ * 2, kLastPause);
}

void SystemName::settle(const std::string& name) {
  if (own_->text() == name) return;
  own_->set(name);
  on_changed_(name);
}

}  // namespace starttls

#include "lib/session/upstream/link.h"

#include <utility>

#include "lib/net/address.h"
#include "lib/session/upstream/proxy_header.h"

namespace starttls::session {

ServerLink::ServerLink(const SessionContext& env, std::shared_ptr<const Service> service,
                       Leg& client, const ClientIdentity& identity, LegEvents& leg_events,
                       LinkEvents& events)
    : env_(env),
      client_(client),
      identity_(identity),
      leg_events_(leg_events),
      events_(events),
      target_(std::move(service)) {}

Result<> ServerLink::settle() {
  const auto* const conveyed = identity_.is_conveyed() ? &*identity_.address() : nullptr;
  return target_.settle(client_.stream(), conveyed, env_.loop_guard);
}

void ServerLink::open(std::chrono::milliseconds give_up_at) {
  if (use_warm()) return;
  make_opener(give_up_at);
  opener_->start();
}

void ServerLink::replace(std::unique_ptr<Leg> old, std::chrono::milliseconds give_up_at) {
  old->write(target_.service().protocol->capabilities.goodbye);
  old->write("\r\n");
  old->end_write();
  if (use_warm()) {
    // We may be inside a call of the old leg.
    env_.loop.defer([kept = std::shared_ptr<Leg>(std::move(old))] {});
    return;
  }
  make_opener(give_up_at);
  opener_->keep_until_it_ends(std::move(old));
  opener_->start();
}

void ServerLink::replace_in_the_clear(std::unique_ptr<Leg> old,
                                      std::chrono::milliseconds give_up_at) {
  make_opener(give_up_at);
  opener_->stay_in_the_clear();
  opener_->keep_until_it_ends(std::move(old));
  opener_->start();
}

/// Returns false if no connection is kept warm, or none is ready.
bool ServerLink::use_warm() {
  auto warm = env_.owner.take_warm(target_.service(), leg_events_);
  if (!warm) return false;
  address_index_ = warm->address_index;
  warm->warm = true;
  events_.on_linked(std::move(*warm));
  return true;
}

void ServerLink::make_opener(std::chrono::milliseconds give_up_at) {
  auto& tally = target_.service().metrics->of_worker(env_.worker);
  opener_ = std::make_unique<UpstreamOpener>(
      WorkerContext{env_.loop, env_.resolver, env_.work, env_.secrets, tally}, target_, give_up_at,
      static_cast<OpenerEvents&>(*this));
  if (target_.upstream().send_proxy != config::SendProxy::no) {
    opener_->begin_with(proxy_header(target_, identity_, client_));
  }
}

void ServerLink::on_opened() {
  UpstreamConnection opened = take();
  // The opener is in the middle of its own call, so destroy it later. An idle session keeps nothing
  // of it.
  env_.loop.defer([done = std::shared_ptr<UpstreamOpener>(std::move(opener_))] {});
  events_.on_linked(std::move(opened));
}

std::optional<UpstreamConnection> ServerLink::abandon() {
  if (opener_ == nullptr) return std::nullopt;
  return take();
}

UpstreamConnection ServerLink::take() {
  UpstreamConnection opened = opener_->take(leg_events_);
  address_index_ = opened.address_index;
  return opened;
}

std::string ServerLink::server_name() const {
  const auto& upstream = target_.upstream();
  const auto& at = address();
  const bool has_name = !upstream.server_name.empty();
  if (!has_name && at.is_unix()) return at.path;
  if (!has_name && net::parse_ip(at.host, at.port)) return to_string(at);
  return config::peer_name(upstream, at);
}

const Address& ServerLink::address() const noexcept {
  return opener_ != nullptr ? opener_->address() : target_.addresses()[address_index_];
}

}  // namespace starttls::session

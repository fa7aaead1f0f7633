#include "lib/session/session_record.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>
#include <variant>

namespace starttls::session {
namespace {

std::uint64_t as_ms(std::chrono::nanoseconds time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

const tls::Facts& facts_or_clear(const std::optional<tls::Facts>& facts) {
  static const tls::Facts clear = [] {
    tls::Facts none;
    none.version = "none";
    return none;
  }();
  return facts ? *facts : clear;
}

/// Returns the group of a leg's key exchange; "" if the leg is in the clear.
std::string_view group_name(const std::optional<tls::Facts>& facts) noexcept {
  return facts ? name(facts->group) : std::string_view{};
}

/// True for a field that a line of text leaves out.
bool is_empty(const log::Field& field) noexcept {
  const auto* text = std::get_if<std::string_view>(&field.value);
  return text != nullptr && text->empty();
}

/// Names the proof that the server had to give: "pin" if only its key was checked.
std::string_view verify_name(const config::Upstream& upstream) noexcept {
  if (upstream.verify == Verification::full) return "full";
  return upstream.pins.empty() ? "none" : "pin";
}

}  // namespace

SessionRecord::SessionRecord(log::Logger& log, const Service& service, metrics::Tally& tally,
                             std::string id, std::string client, Time now)
    : log_(log),
      service_(service),
      traffic_(tally),
      id_(std::move(id)),
      client_(std::move(client)),
      born_at_(now) {
  tally.session_opened();
}

void SessionRecord::on_conveyed(std::string client, std::string_view dialled) {
  const std::string balancer = std::exchange(client_, std::move(client));
  log_.debug("client named by a PROXY header", {{"session", id_},
                                                {"service", service_.config.name},
                                                {"balancer", balancer},
                                                {"client", client_},
                                                {"dialled", dialled}});
}

void SessionRecord::on_connected(std::string server, Time at, bool warm) {
  server_ = std::move(server);
  if (warm) {
    log_.debug("warm connection used",
               {{"session", id_}, {"service", service_.config.name}, {"peer", server_}});
  }
  if (connected_at_ == Time{}) connected_at_ = at;
}

void SessionRecord::on_greeted(Time at) {
  if (greeted_at_ != Time{}) return;
  greeted_at_ = at;
  tally().prelude_ended(at - born_at_);
}

void SessionRecord::on_login(const proto::LoginReport& report) {
  // Before a client is greeted there is one account, also if no secret for it came.
  const auto& login = service_.config.login;
  const bool is_known = login && login->when == LoginWhen::connect;
  login_ = report.name + "->" + (report.user.empty() && is_known ? login->user : report.user);
  login_mechanism_ = report.server == Mechanism::automatic ? "" : name(report.server);
  login_failure_ = report.failure;
}

void SessionRecord::set_outcome(Outcome outcome, std::string words) {
  outcome_ = outcome;
  words_ = std::move(words);
}

void SessionRecord::log_event(const Event& event, const Error& error) {
  const log::Field fields[] = {{"session", id_},          {"service", service_.config.name},
                               {"leg", name(event.side)}, {"peer", event.peer},
                               {"state", event.state},    {"error", name(error.code)},
                               {"reason", error.reason},  {"evidence", error.evidence}};
  if (event.repetition == Repetition::written) {
    log_.write(event.level, event.message, fields);
  } else {
    log_.fault(event.level,
               {std::string{event.message}, service_.config.name, std::string{name(event.side)},
                std::string{name(error.code)}, error.reason},
               fields);
  }
}

void SessionRecord::log_phase(std::string_view from, std::string_view to) {
  if (!log_.enabled(log::Level::debug)) return;
  log_.debug("phase",
             {{"session", id_}, {"service", service_.config.name}, {"from", from}, {"to", to}});
}

void SessionRecord::end(Time now) {
  // A client leaves after a login that failed, perhaps while a fresh connection is made for it.
  const bool just_left = outcome_ == Outcome::ok() || outcome_ == Outcome{Errc::closed};
  if (just_left && login_failure_) {
    set_outcome(login_failure_->code, login_failure_->reason);
  }
  tally().session_ended(outcome_, now - born_at_);
}

void SessionRecord::log_end(const config::Upstream& upstream, const LegFacts& facts,
                            Time now) const {
  const bool secured = facts.upstream.has_value();
  const auto& up = facts_or_clear(facts.upstream);
  const auto& down = facts_or_clear(facts.downstream);
  const auto since_birth = [this](Time at) { return at == Time{} ? 0 : as_ms(at - born_at_); };
  // Warn of encryption without identity on every line, not only on the one at start.
  const bool unverified = secured && upstream.verify == Verification::none && upstream.pins.empty();
  const bool ok = outcome_ == Outcome::ok();
  const std::string reply = last_reply_ == 0 ? std::string{} : std::to_string(last_reply_);
  log::Field fields[] = {{"session", id_},
                         {"service", service_.config.name},
                         {"client", client_},
                         {"server", server_},
                         {"downstream_tls", down.version},
                         {"downstream_cipher", down.cipher},
                         {"downstream_group", group_name(facts.downstream)},
                         {"downstream_resumed", down.resumed},
                         {"sni", facts.sni},
                         {"client_certificate", facts.client_certificate},
                         {"upstream_tls", up.version},
                         {"upstream_cipher", up.cipher},
                         {"upstream_group", group_name(facts.upstream)},
                         {"upstream_resumed", up.resumed},
                         {"upstream_verify", secured ? verify_name(upstream) : "none"},
                         {"bytes_to_server", traffic_.to_server()},
                         {"bytes_to_client", traffic_.to_client()},
                         {"connect_ms", since_birth(connected_at_)},
                         {"prelude_ms", since_birth(greeted_at_)},
                         {"total_ms", since_birth(now)},
                         {"login", login_},
                         {"login_mechanism", login_mechanism_},
                         {"last_reply", reply},
                         {"outcome", name(outcome_)},
                         // Only a failure has a reason. A note says how a good session ended.
                         {"reason", ok ? std::string_view{} : words_},
                         {"note", ok ? words_ : std::string_view{}}};
  // JSON always has every field, for machines. People read only those with a value.
  auto end = std::end(fields);
  if (log_.format() == log::Format::text) end = std::remove_if(std::begin(fields), end, is_empty);
  log_.write(unverified ? log::Level::warn : log::Level::info, "session",
             std::span<const log::Field>{std::begin(fields), end});
}

std::optional<FailedSession> SessionRecord::failure() const {
  if (outcome_ == Outcome::ok()) return std::nullopt;
  return FailedSession{id_, service_.config.name, outcome_, words_};
}

SessionStatus SessionRecord::status(std::string_view phase, std::string_view state,
                                    const LegFacts& facts, Time now) const {
  return {.session = id_,
          .service = service_.config.name,
          .client = client_,
          .server = server_,
          .downstream_tls = facts_or_clear(facts.downstream).version,
          .downstream_group = std::string(group_name(facts.downstream)),
          .upstream_tls = facts_or_clear(facts.upstream).version,
          .upstream_group = std::string(group_name(facts.upstream)),
          .phase = std::string(phase),
          .state = std::string(state),
          .age = now - born_at_,
          .bytes_to_server = traffic_.to_server(),
          .bytes_to_client = traffic_.to_client()};
}

}  // namespace starttls::session

#include "lib/session/credentials/accounts.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/session/credentials/password.h"
#include "lib/session/credentials/secret_file.h"

namespace starttls::session {
namespace {

/// True if a client may log in by this name. Other names would be commands of their own in a
/// request to a source, or in the exchange with the server.
bool is_usable_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxLoginName && ascii::is_one_line(name);
}

}  // namespace

Error wrong_login() {
  return Error{Errc::client_login, "wrong name or password"};
}

Accounts::Accounts(const config::Service& service)
    : service_(service.name),
      login_(service.login.value_or(config::Login{})),
      rows_(service.accounts) {
  for (const auto& row : rows_) {
    if (row.password && is_hash(*row.password)) hashes_.push_back(*row.password);
  }
}

const config::Account* Accounts::find(std::string_view name) const noexcept {
  const auto row_of = [this](std::string_view wanted) -> const config::Account* {
    const auto row = std::find_if(rows_.begin(), rows_.end(),
                                  [wanted](const auto& each) { return each.name == wanted; });
    return row == rows_.end() ? nullptr : &*row;
  };
  // A client that calls itself "*" is one of any other name.
  const auto* const row = row_of(name);
  return row != nullptr ? row : row_of(config::kAnyAccount);
}

/// Returns the hash to compute for a name. If any row has one, there is one for each name: the time
/// must not show which names exist.
std::optional<Secret> Accounts::hash_for(std::string_view name, const config::Account* row) const {
  if (row != nullptr && row->password && is_hash(*row->password)) return row->password;
  if (hashes_.empty()) return std::nullopt;
  return hashes_[std::hash<std::string_view>{}(name) % hashes_.size()];
}

Result<Accounts::Decision> Accounts::decide(const proto::LoginRequest& request) const {
  if (login_.when == LoginWhen::connect) {
    return use_source({.right = true}, nullptr, {});
  }
  if (!is_usable_name(request.name) || !is_usable(request.password, false)) {
    return fail(wrong_login());
  }
  const auto* const row = find(request.name);
  const bool passes_on =
      row != nullptr ? !row->password.has_value() : rows_.empty() && !login_.source.is_set();
  if (passes_on) {
    Decision decision{.right = true};
    const auto& user = row == nullptr ? login_.user : config::user_of(login_, *row);
    decision.credentials = {.user = user.empty() ? request.name : user,
                            .secret = request.password,
                            .passed_on = true,
                            .mechanism = login_.mechanism};
    return decision;
  }
  Decision decision{.hash = hash_for(request.name, row)};
  if (row == nullptr) return decision;
  const Secret& password = *row->password;
  decision.hash_decides = is_hash(password);
  decision.right = decision.hash_decides || password.empty() || password == request.password;
  if (!decision.right) return decision;
  return use_source(std::move(decision), row, request.name);
}

/// Names the source of the secret for a row, or for the whole login (`row` is null). `client` is
/// the name that the client logged in with.
Result<Accounts::Decision> Accounts::use_source(Decision decision, const config::Account* row,
                                                const std::string& client) const {
  const auto& source = row == nullptr ? login_.source : config::source_of(login_, *row);
  const auto& user = row == nullptr ? login_.user : config::fixed_user_of(login_, *row);
  decision.credentials.user = user.empty() ? client : user;
  decision.credentials.token = source.token;
  decision.credentials.mechanism = login_.mechanism;
  if (source.is_fetched()) {
    decision.file = source.file;
    decision.request = {.service = service_,
                        .account = row != nullptr && row->source.is_set() ? row->name : "",
                        .user = decision.credentials.user,
                        .user_is_fixed = !user.empty(),
                        .source = source,
                        .lifetime = login_.lifetime,
                        .timeout = login_.timeout};
    return decision;
  }
  if (!source.text || !is_usable(*source.text, source.token)) {
    return fail(Errc::login, "no secret is configured for this login");
  }
  decision.credentials.secret = *source.text;
  return decision;
}

}  // namespace starttls::session

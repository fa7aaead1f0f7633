#include "proxy/probe/login_choice.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "lib/base/ascii.h"

namespace starttls {
namespace {

std::string in_quotes(std::string_view text) {
  return "'" + ascii::escape(text) + "'";
}

void add_name(std::string& names, std::string_view name) {
  names += (names.empty() ? "" : ", ") + ascii::escape(name);
}

/// Finds one account among those of a service with a login.
class AccountSearch {
 public:
  AccountSearch(const config::Service& service, const config::Login& login)
      : login_(login), rows_(service.accounts) {}

  [[nodiscard]] Result<LoginChoice> find(const std::string& account) const {
    if (account.empty()) return the_only_one();
    if (const auto* const row = named(account)) return of_row(*row, account);
    if (account == login_.user) return of_service(login_.user);
    const auto row = std::find_if(rows_.begin(), rows_.end(), [&](const auto& each) {
      return config::user_of(login_, each) == account;
    });
    if (row != rows_.end()) return of_row(*row, account);
    if (const auto* const any = named(config::kAnyAccount)) return of_row(*any, account);
    if (!rows_.empty() || login_.source.is_set()) {
      return fail(Errc::config,
                  "probe --login: there is no account " + in_quotes(account) + known());
    }
    // The client's own name and password pass.
    return of_service(login_.user.empty() ? account : login_.user);
  }

 private:
  [[nodiscard]] Result<LoginChoice> the_only_one() const {
    const bool has_own = !login_.user.empty() && (login_.source.is_set() || rows_.empty());
    if (has_own) return of_service(login_.user);
    if (rows_.size() == 1 && rows_.front().name != config::kAnyAccount) {
      return of_row(rows_.front(), rows_.front().name);
    }
    return fail(Errc::config, "probe --login: give the name of an account" + known());
  }

  [[nodiscard]] const config::Account* named(std::string_view name) const noexcept {
    const auto row = std::find_if(rows_.begin(), rows_.end(),
                                  [name](const auto& each) { return each.name == name; });
    return row == rows_.end() ? nullptr : &*row;
  }

  [[nodiscard]] LoginChoice of_service(const std::string& user) const {
    return {.user = user,
            .mechanism = login_.mechanism,
            .token = login_.source.token,
            .source = login_.source,
            .timeout = login_.timeout};
  }

  [[nodiscard]] LoginChoice of_row(const config::Account& row, const std::string& asked) const {
    const auto& user = config::user_of(login_, row);
    LoginChoice choice{
        .account = row.name, .user = user.empty() ? asked : user, .mechanism = login_.mechanism};
    if (!config::uses_proxy_secret(login_, row)) return choice;
    choice.source = config::source_of(login_, row);
    choice.source_row = row.source.is_set() ? row.name : "";
    choice.token = choice.source.token;
    choice.timeout = login_.timeout;
    return choice;
  }

  /// Returns the names that there are, for an error.
  [[nodiscard]] std::string known() const {
    std::string names;
    if (!login_.user.empty()) add_name(names, login_.user);
    for (const auto& row : rows_) add_name(names, row.name);
    return names.empty() ? "" : "; there are: " + names;
  }

  const config::Login& login_;
  const std::vector<config::Account>& rows_;
};

}  // namespace

Result<std::size_t> find_service(std::span<const config::Service> services,
                                 const std::string& name) {
  if (name.empty() && services.size() == 1) return 0;
  std::string names;
  for (std::size_t i = 0; i < services.size(); ++i) {
    if (services[i].name == name) return i;
    add_name(names, services[i].name);
  }
  const auto problem =
      name.empty() ? std::string("give the name of a service") : "there is no " + in_quotes(name);
  return fail(Errc::config, "probe --service: " + problem + "; there are: " + names);
}

Result<LoginChoice> choose_login(const config::Service& service, const LoginOptions& options) {
  if (!config::proves_server(service.upstream)) {
    return fail(Errc::config,
                "probe --login: only a verified server may hear a secret: the server's TLS must be "
                "'starttls' or 'implicit', with verification or pins");
  }
  Result<LoginChoice> choice = LoginChoice{.user = options.account};
  if (service.login) {
    choice = AccountSearch(service, *service.login).find(options.account);
  } else if (options.account.empty()) {
    return fail(Errc::config, "probe --login: give the name of the account at the server");
  }
  if (!choice) return choice;
  if (!options.file.empty()) choice->source = {};
  choice->token = choice->token || options.token;
  if (!choice->source.is_set() && options.file.empty()) {
    return fail(Errc::config,
                "probe --login: the settings have no secret for " + in_quotes(choice->user) +
                    ": give a file that has it, --login-file FILE ('-' is standard input)");
  }
  return choice;
}

}  // namespace starttls

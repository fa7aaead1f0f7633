#include "proxy/launcher/program_table.h"

#include <algorithm>
#include <utility>

#include "lib/base/login_settings.h"

namespace starttls::launcher {
namespace {

/// Replaces each mark in an argument. The user's own text is not searched again.
std::string with_user(std::string_view argument, std::string_view user) {
  std::string out;
  for (;;) {
    const auto mark = argument.find(kUserPlaceholder);
    out += argument.substr(0, mark);
    if (mark == std::string_view::npos) return out;
    out += user;
    argument.remove_prefix(mark + kUserPlaceholder.size());
  }
}

}  // namespace

bool has_programs(const config::Config& config) noexcept {
  const auto& all = config.services;
  return std::any_of(all.begin(), all.end(), [](const config::Service& service) {
    const auto& rows = service.accounts;
    return service.login && (!service.login->source.command.empty() ||
                             std::any_of(rows.begin(), rows.end(), [](const auto& row) {
                               return !row.source.command.empty();
                             }));
  });
}

bool may_be_argument(std::string_view user) noexcept {
  return is_valid_user(user) && !user.starts_with('-');
}

ProgramTable::ProgramTable(const config::Config& config) {
  for (const auto& service : config.services) {
    if (!service.login) continue;
    const auto& login = *service.login;
    if (login.when == LoginWhen::connect) {
      if (login.source.command.empty() || login.user.empty()) continue;
      rows_.push_back({.service = service.name,
                       .user = login.user,
                       .command = login.source.command,
                       .timeout = login.timeout});
      continue;
    }
    for (const auto& account : service.accounts) {
      if (config::uses_proxy_secret(login, account)) add(service, account);
    }
  }
}

void ProgramTable::add(const config::Service& service, const config::Account& account) {
  const auto& source = config::source_of(*service.login, account);
  if (source.command.empty()) return;
  Row row{.service = service.name,
          .owner = account.source.is_set() ? account.name : "",
          .user = config::fixed_user_of(*service.login, account),
          .command = source.command,
          .timeout = service.login->timeout};
  if (row.user.empty()) {
    for (const auto& each : service.accounts) {
      if (each.name != config::kAnyAccount) row.others.push_back(each.name);
    }
  }
  rows_.push_back(std::move(row));
}

bool ProgramTable::fits(const Row& row, const std::string& user) noexcept {
  if (!row.user.empty()) return user == row.user;
  return may_be_argument(user) &&
         std::find(row.others.begin(), row.others.end(), user) == row.others.end();
}

Result<Program> ProgramTable::find(const Account& account) const {
  const auto found = std::find_if(rows_.begin(), rows_.end(), [&account](const Row& row) {
    return row.service == account.service && row.owner == account.account &&
           fits(row, account.user);
  });
  if (found == rows_.end()) {
    return fail(Errc::login, "the launcher's configuration has no program for this account");
  }
  Program program{.timeout = found->timeout};
  for (const auto& argument : found->command) {
    program.arguments.push_back(with_user(argument, account.user));
  }
  return program;
}

}  // namespace starttls::launcher

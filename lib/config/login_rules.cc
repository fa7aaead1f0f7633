#include "lib/config/login_rules.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "lib/config/exposure.h"

namespace starttls::config {
namespace {

constexpr std::string_view kLogin = "service.login";
constexpr std::string_view kLoginKeys = "service.login.";
constexpr std::string_view kAccount = "service.account";
constexpr std::string_view kWhen = "service.login.when";
constexpr std::string_view kMechanism = "service.login.mechanism";
constexpr std::string_view kUser = "service.login.user";
constexpr std::string_view kSecret = "service.login.secret";

/// The kinds of a source, as members of the login's section and of a row.
struct Kinds {
  static constexpr std::string_view kNames[] = {"secret", "file", "socket", "command"};

  explicit Kinds(const SecretSource& source)
      : is_set{source.text.has_value(), !source.file.empty(), !source.socket.empty(),
               !source.command.empty()} {}

  bool is_set[std::size(kNames)];
};

/// Returns the key of a source that is set.
std::string_view key_of(const SecretSource& source) {
  const Kinds kinds{source};
  const auto* const set = std::find(std::begin(kinds.is_set), std::end(kinds.is_set), true);
  return Kinds::kNames[set - std::begin(kinds.is_set)];
}

bool sends_tokens(Mechanism mechanism) noexcept {
  return mechanism == Mechanism::xoauth2 || mechanism == Mechanism::oauthbearer;
}

/// The rules for one service.
class LoginRules {
 public:
  LoginRules(const Service& service, const Section& section, Findings& findings)
      : service_(service), login_(*service.login), section_(section), findings_(findings) {}

  void run() {
    one_source();
    token_has_effect();
    if (login_.when == LoginWhen::connect) {
      connect();
    } else {
      secret_of_some_account();
      for (std::size_t row = 0; row < service_.accounts.size(); ++row) account(row);
      no_warm_connections();
    }
    mechanism_for_secrets();
    only_to_proved_servers();
  }

 private:
  void add(std::string_view path, const std::string& text) {
    const auto* const setting = section_.find(path);
    findings_.add(setting == nullptr ? section_.place : setting->value.place,
                  std::string(path) + ": " + text);
  }

  [[nodiscard]] const Value& written_row(std::size_t row) const {
    return section_.find(kAccount)->value.elements[row];
  }
  /// Adds a finding about a member of a row, or about the row if it does not have the member.
  void add(std::size_t row, std::string_view name, const std::string& text) {
    const auto& written = written_row(row);
    const auto* const member = written.member(name);
    findings_.add(member == nullptr ? written.place : member->place,
                  std::string(kAccount) + "." + std::string(name) + ": " + text);
  }
  [[nodiscard]] std::string shown_name(std::size_t row) const {
    return shown(*written_row(row).member("name"), "'" + service_.accounts[row].name + "'");
  }

  void one_source() {
    const auto check = [](const SecretSource& source, const auto& add_at) {
      if (!source.is_set()) return;
      const auto first = key_of(source);
      const Kinds kinds{source};
      for (std::size_t i = 0; i < std::size(Kinds::kNames); ++i) {
        if (!kinds.is_set[i] || Kinds::kNames[i] == first) continue;
        add_at(Kinds::kNames[i],
               "cannot be used with " + std::string(first) + ": a secret has one source");
      }
    };
    check(login_.source, [this](std::string_view key, const std::string& text) {
      add(std::string(kLoginKeys) + std::string(key), text);
    });
    for (std::size_t row = 0; row < service_.accounts.size(); ++row) {
      check(service_.accounts[row].source,
            [this, row](std::string_view key, const std::string& text) { add(row, key, text); });
    }
  }

  /// Refuses a token that no secret from outside has.
  void token_has_effect() {
    const std::string text =
        "has no effect without file, socket or command: a secret that is written here is a "
        "password";
    const auto& rows = service_.accounts;
    const bool used_by_row = std::any_of(rows.begin(), rows.end(), [](const Account& row) {
      return row.source.is_fetched() && !row.token;
    });
    const auto& source = login_.source;
    if (source.token && !source.is_fetched() && (source.is_set() || !used_by_row)) {
      add(std::string(kLoginKeys) + "token", text);
    }
    for (std::size_t row = 0; row < rows.size(); ++row) {
      const auto& one = rows[row];
      if (!one.token.value_or(false)) continue;
      if (!one.password && !one.source.is_set()) {
        add(row, "token",
            "has no effect in a row without a password: the client's own is passed on to the "
            "server");
      } else if (const auto used = source_of(login_, one); used.is_set() && !used.is_fetched()) {
        add(row, "token", text);
      }
    }
  }

  void connect() {
    if (!service_.protocol.empty() && service_.protocol != "smtp" && service_.protocol != "lmtp") {
      add(kWhen, "'connect' is for smtp and lmtp only: with " + service_.protocol +
                     ", a client cannot do without a login");
    }
    if (login_.user.empty()) {
      add(kUser, "is required if when is 'connect': no client names an account");
    }
    if (!login_.source.is_set()) {
      add(kSecret,
          "or file, socket or command is required if when is 'connect': no client gives a "
          "password");
    }
    if (!service_.accounts.empty()) {
      add(kAccount, "has no effect if service.login.when is 'connect': no client logs in");
    }
  }

  /// Refuses a secret that no client can use. The user expects that some clients do.
  void secret_of_some_account() {
    if (!login_.source.is_set()) return;
    const auto& rows = service_.accounts;
    const bool used = std::any_of(rows.begin(), rows.end(), [](const Account& row) {
      return row.password && !row.source.is_set();
    });
    if (used) return;
    add(std::string(kLoginKeys) + std::string(key_of(login_.source)),
        rows.empty() ? "needs rows of [[service.account]]: they say which clients may use it"
                     : "is used by no [[service.account]]: rows with a password and without a "
                       "source of their own use it");
  }

  void account(std::size_t row) {
    const auto& one = service_.accounts[row];
    for (std::size_t earlier = 0; earlier < row; ++earlier) {
      if (service_.accounts[earlier].name != one.name) continue;
      add(row, "name", shown_name(row) + " is already the name of an earlier row");
      break;
    }
    if (one.source.is_set() && !one.password) {
      add(row, key_of(one.source),
          "needs a password in this row: without one, the client's own is passed on to the server");
    }
    if (one.password && !source_of(login_, one).is_set()) {
      add(row, "password",
          "needs a secret, a file, a socket or a command, here or in [service.login]: the proxy "
          "cannot log in without");
    }
  }

  /// Refuses warm connections, since each client's login comes before all else on a connection.
  void no_warm_connections() {
    if (service_.upstream.warm == 0) return;
    add("service.upstream.warm",
        "cannot be used if service.login.when is 'client': each client needs a login of its own");
  }

  /// Compares the mechanism with all secrets that it would send.
  void mechanism_for_secrets() {
    if (login_.mechanism == Mechanism::automatic) return;
    const std::string of_service = "the secret";
    const bool tokens = sends_tokens(login_.mechanism);
    const std::string start = "'" + std::string(name(login_.mechanism)) + "' sends " +
                              (tokens ? "tokens" : "passwords") + " only, but ";
    const std::string kind = tokens ? "password" : "token";
    const auto compare = [&](const SecretSource& source, const std::string& what) {
      if (!source.is_set() || source.token == tokens) return true;
      add(kMechanism, start + what + " is a " + kind +
                          (tokens ? ": set token = true, with file, socket or command"
                                  : ": leave mechanism out, or set token = false"));
      return false;
    };
    if (login_.when == LoginWhen::connect) {
      static_cast<void>(compare(login_.source, of_service));
      return;
    }
    bool passes_on = service_.accounts.empty();
    for (std::size_t row = 0; row < service_.accounts.size(); ++row) {
      const auto& one = service_.accounts[row];
      passes_on |= !one.password;
      if (!one.password) continue;
      const bool is_services = !one.source.is_set() && !one.token;
      if (!compare(source_of(login_, one),
                   is_services ? of_service : "that of the account " + shown_name(row))) {
        return;
      }
    }
    if (tokens && passes_on) {
      add(kMechanism, start + "a client's own password is passed on: leave mechanism out");
    }
  }

  /// Refuses to send a secret to a server that may be another one.
  void only_to_proved_servers() {
    const auto& rows = service_.accounts;
    const bool sends =
        login_.source.is_set() || std::any_of(rows.begin(), rows.end(), [](const Account& row) {
          return row.source.is_set() || row.password.has_value();
        });
    if (!sends) return;
    for (const auto* const key :
         {"service.upstream.tls", "service.upstream.verify", "service.upstream.pins"}) {
      if (section_.is_bad(key)) return;
    }
    const auto& up = service_.upstream;
    if (!proves_server(up)) {
      const auto [member, text] = why_not_proved(up);
      add("service.upstream." + std::string(member), text);
    }
    if (!up.original_destination || section_.is_bad("service.destination")) return;
    for (std::size_t row = 0; row < service_.destinations.size(); ++row) {
      const auto here = upstream_at(up, service_.destinations[row]);
      // Settings that a row does not change are reported for the service.
      if (proves_server(here) || (!proves_server(up) && same_proof(here, up))) continue;
      const auto [member, text] = why_not_proved(here);
      const auto& written = section_.find("service.destination")->value.elements[row];
      const auto* const value = written.member(member);
      findings_.add(value == nullptr ? written.place : value->place,
                    "service.destination." + std::string(member) + ": " + text);
    }
  }

  [[nodiscard]] static bool same_proof(const Upstream& one, const Upstream& other) {
    return one.tls == other.tls && one.verify == other.verify && one.pins == other.pins;
  }

  struct NotProved {
    std::string_view member;
    std::string text;
  };
  [[nodiscard]] static NotProved why_not_proved(const Upstream& upstream) {
    constexpr auto kRule =
        "' cannot be used with the secrets of a login, which only a verified server may see: set ";
    if (upstream.tls == TlsMode::none || upstream.tls == TlsMode::opportunistic) {
      return {"tls", "'" + std::string(name(upstream.tls)) + kRule + "'starttls' or 'implicit'"};
    }
    return {"verify", std::string("'none") + kRule + "'full', or pins to the server's key"};
  }

  const Service& service_;
  const Login& login_;
  const Section& section_;
  Findings& findings_;
};

}  // namespace

bool has_bad_login(const Section& section) noexcept {
  return std::any_of(section.settings.begin(), section.settings.end(), [](const Setting& each) {
    return each.bad && (each.path.starts_with(kLoginKeys) || each.path == kAccount);
  });
}

void check_login(const Service& service, const Section& section, Findings& findings) {
  if (has_bad_login(section)) return;
  if (service.login) {
    LoginRules(service, section, findings).run();
  } else if (!service.accounts.empty()) {
    findings.add(section.find(kAccount)->value.place,
                 std::string(kAccount) + ": has no effect without [" + std::string(kLogin) +
                     "]: write that section, too; it may be empty");
  }
}

}  // namespace starttls::config

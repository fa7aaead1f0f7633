#include "lib/config/describe.h"

#include <algorithm>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/config/exposure.h"
#include "lib/config/mistakes.h"

namespace starttls::config {
namespace {

using std::chrono::milliseconds;

template <class Element>
std::string joined(const std::vector<Element>& all, std::string_view separator) {
  std::string text;
  for (const auto& each : all) {
    if (!text.empty()) text += separator;
    text += to_string(each);
  }
  return text;
}

bool is_local_server(const Address& address) {
  return is_local(address) || ascii::iequals(address.host, "localhost");
}

std::string_view upstream_tls(TlsMode mode) noexcept {
  switch (mode) {
    case TlsMode::none:
      return "none, in the clear";
    case TlsMode::opportunistic:
      return "STARTTLS if the server offers it, otherwise in the clear";
    case TlsMode::starttls:
      return "STARTTLS, required";
    case TlsMode::implicit:
      return "from the first byte";
  }
  return "unknown";
}

std::string_view downstream_tls(TlsMode mode) noexcept {
  switch (mode) {
    case TlsMode::none:
      return "none, in the clear";
    case TlsMode::opportunistic:
      return "STARTTLS offered, the client chooses";
    case TlsMode::starttls:
      return "STARTTLS, required";
    case TlsMode::implicit:
      return "from the first byte";
  }
  return "unknown";
}

std::string pins(const std::vector<Pin>& pins) {
  return (pins.size() == 1 ? "" : "one of ") + joined(pins, ", ");
}

std::string verification(const Upstream& upstream) {
  if (upstream.verify == Verification::none) {
    return upstream.pins.empty() ? "nothing" : "only the server's key: " + pins(upstream.pins);
  }
  std::vector<std::string> names;
  if (upstream.original_destination) names.push_back(peer_name(upstream, {}));
  for (const auto& address : upstream.address) {
    auto peer = peer_name(upstream, address);
    if (names.empty() || names.back() != peer) names.push_back(std::move(peer));
  }
  std::string text = "the chain up to ";
  text += upstream.ca_file.empty() ? "the system's trust store" : upstream.ca_file;
  text += names.size() == 1 ? ", the name " : ", the names ";
  for (std::size_t i = 0; i < names.size(); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (!upstream.pins.empty()) text += ", and the key: " + pins(upstream.pins);
  return text;
}

std::string timeouts(const Timeouts& timeouts) {
  const auto one = [](std::string_view name, milliseconds value) {
    return std::string(name) + " " + to_string(value);
  };
  return one("connect", timeouts.connect) + ", " + one("handshake", timeouts.handshake) + ", " +
         one("prelude", timeouts.prelude) + ", " + one("command", timeouts.command) + ", " +
         one("idle", timeouts.idle);
}

void line(std::string& out, std::string_view label, std::string_view text) {
  constexpr std::size_t kTextColumn = 20;
  std::string start = "  " + std::string(label);
  start.resize(std::max(start.size() + 1, kTextColumn), ' ');
  out += start + std::string(text) + "\n";
}

std::string allowed(const Service& service) {
  if (!service.downstream.allow.empty()) return joined(service.downstream.allow, ", ");
  const auto& listen = service.listen;
  if (std::all_of(listen.begin(), listen.end(), is_local)) return "anyone on this machine";
  const bool known = std::none_of(listen.begin(), listen.end(),
                                  [](const Address& each) { return each.is_inherited(); });
  if (known || exposure(service) == Exposure::none) return "anyone";
  return "anyone on this machine (the start fails if others can reach an inherited socket)";
}

/// Returns the addresses that a service listens on. Those of inherited sockets are not known here.
std::string listens_on(const Service& service) {
  std::string text = joined(service.listen, ", ");
  if (std::any_of(service.listen.begin(), service.listen.end(),
                  [](const Address& each) { return each.is_inherited(); })) {
    text += " (systemd: inherited sockets; their addresses are checked at the start)";
  }
  return text;
}

void describe_chain_of(const std::string& chain, const DescribeChain& describe_chain,
                       std::string& out) {
  if (!describe_chain) return;
  for (const auto& [label, text] : describe_chain(chain)) line(out, label, text);
}

void describe(const Downstream& downstream, const DescribeChain& describe_chain, std::string& out) {
  const auto& certificates = downstream.certificates;
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    std::string text = certificates[i].chain + " with the key " + certificates[i].key;
    if (i > 0) {
      text += ", for clients that ask for one of its names";
    } else if (certificates.size() > 1) {
      text += ", the default";
    }
    line(out, "certificate", text);
    describe_chain_of(certificates[i].chain, describe_chain, out);
  }
  if (downstream.tls == TlsMode::none) return;
  line(out, "client's minimum", "TLS " + std::string(number(downstream.min_tls)));
  if (!downstream.client_ca.empty()) {
    line(out, "client certificate", "required, from a CA in " + downstream.client_ca);
  }
  if (!downstream.ticket_keys.empty()) line(out, "ticket keys", downstream.ticket_keys);
}

/// Describes the use of the post-quantum group with a server.
std::string_view post_quantum(PostQuantum setting, PostQuantumSupport support) noexcept {
  if (setting == PostQuantum::off) return "not offered";
  switch (support) {
    case PostQuantumSupport::none:
      return "not offered: this TLS library does not have X25519MLKEM768";
    case PostQuantumSupport::with_key_share:
      return "X25519MLKEM768 offered, always with its key share";
    case PostQuantumSupport::full:
      return "X25519MLKEM768 offered";
  }
  return "not offered";
}

void describe_tls(const Upstream& up, const KnownFacts& facts, std::string& out) {
  line(out, "TLS with server", upstream_tls(up.tls));
  if (up.tls == TlsMode::none) return;
  line(out, "server's minimum", "TLS " + std::string(number(up.min_tls)));
  line(out, "post-quantum", std::string(post_quantum(up.post_quantum, facts.post_quantum)));
  line(out, "verified", verification(up));
  if (!up.certificate.chain.empty()) {
    line(out, "our certificate", up.certificate.chain + " with the key " + up.certificate.key);
    describe_chain_of(up.certificate.chain, facts.describe_chain, out);
  }
}

std::string server(const Upstream& upstream) {
  return upstream.original_destination ? "the server that the client meant to reach"
                                       : joined(upstream.address, ", then ");
}

std::string mechanism_words(Mechanism mechanism) {
  if (mechanism == Mechanism::automatic) return "by the best mechanism that the server lists";
  std::string words = "by ";
  for (const char c : name(mechanism)) words += ascii::to_upper(c);
  return words;
}

std::string secret_words(const SecretSource& source) {
  const std::string what = source.token ? "the token" : "the password";
  if (!source.file.empty()) return what + " in " + source.file;
  if (!source.socket.empty()) return what + " from the socket " + source.socket;
  // Its arguments may be secrets.
  if (!source.command.empty()) return what + " that " + source.command.front() + " prints";
  return what + " in the configuration";
}

/// Returns which client uses which account at the server, without a secret.
std::string account_words(const Login& login, const Account& account, std::string_view any_name) {
  std::string text = account.name == kAnyAccount ? std::string(any_name) : account.name;
  if (account.password) {
    text += account.password->empty() ? ", with any password," : ", with its password,";
  }
  const auto& user = user_of(login, account);
  text += " is " + (user.empty() ? "the same" : user) + " at the server, with ";
  return text + (uses_proxy_secret(login, account) ? secret_words(source_of(login, account))
                                                   : "the client's own password");
}

void describe_login(const Service& service, std::string& out) {
  if (!service.login) return;
  const auto& login = *service.login;
  const auto how = mechanism_words(login.mechanism);
  if (login.when == LoginWhen::connect) {
    line(out, "login", "the proxy logs in before the client is greeted, " + how);
    line(out, "account",
         "each client is " + login.user + " at the server, with " + secret_words(login.source));
    return;
  }
  line(out, "login", "a client logs in to the proxy, then the proxy to the server, " + how);
  constexpr std::string_view kAnyName = "any name";
  for (const auto& account : service.accounts) {
    line(out, "account",
         account_words(login, account, service.accounts.size() == 1 ? kAnyName : "any other name"));
  }
  if (service.accounts.empty()) {
    line(out, "account", account_words(login, {std::string(kAnyAccount), {}, {}, {}}, kAnyName));
  }
}

void describe(const Service& service, const KnownFacts& facts, std::string& out) {
  const auto& up = service.upstream;
  out += "service " + service.name + " (" + service.protocol + ")\n";
  line(out, "listens on", listens_on(service));
  line(out, "clients allowed", allowed(service));
  if (service.downstream.max_per_client > 0) {
    line(out, "sessions",
         "at most " + std::to_string(service.downstream.max_per_client) + " per client address");
  }
  if (!service.downstream.proxy_protocol.empty()) {
    line(out, "PROXY header",
         "required from " + joined(service.downstream.proxy_protocol, ", ") +
             ", refused from others");
  }
  line(out, "TLS with clients", downstream_tls(service.downstream.tls));
  describe(service.downstream, facts.describe_chain, out);
  for (const auto& row : service.destinations) {
    line(out, "server in", joined(row.networks, ", "));
    describe_tls(upstream_at(up, row), facts, out);
  }
  line(out, service.destinations.empty() ? "server" : "server elsewhere", server(up));
  if (service.destinations.empty() || !lacks_name(up)) {
    describe_tls(up, facts, out);
  } else {
    line(out, "", "refused: no name to verify is known");
  }
  if (up.from_client) line(out, "connects from", "the client's own address");
  if (up.send_proxy != SendProxy::no) {
    line(out, "PROXY to server",
         std::string("the client's address, in a header of version ") +
             (up.send_proxy == SendProxy::v1 ? "1" : "2"));
  }
  describe_login(service, out);
  line(out, "greeting", up.greeting_text ? "with the server's text" : "in our own words");
  if (up.warm > 0) {
    line(out, "kept ready",
         std::to_string(up.warm) + " connections per worker, after their handshake");
  }
  line(out, "time-outs", timeouts(service.timeouts));
  for (const auto& warning : warnings(service)) line(out, "WARNING", warning);
  if (!facts.find_warnings) return;
  for (const auto& warning : facts.find_warnings(service)) line(out, "WARNING", warning);
}

/// Adds the warnings about one server leg. The warnings about a leg without TLS begin with `clear`.
void warn(const Upstream& up, const std::string& clear, std::vector<std::string>& found) {
  if (up.tls == TlsMode::none) {
    const auto cross = [&](const std::string& where) {
      found.push_back(clear + "mail and passwords cross the network to " + where +
                      " in the clear (upstream.tls = none)");
    };
    if (up.original_destination) cross("the servers that clients meant to reach");
    for (const auto& address : up.address) {
      if (!is_local_server(address)) cross(to_string(address));
    }
    return;
  }
  if (up.tls == TlsMode::opportunistic) {
    found.emplace_back(
        "an attacker on the network can keep the server leg in the clear (upstream.tls = "
        "opportunistic)");
  }
  if (up.verify == Verification::none && up.pins.empty()) {
    found.emplace_back(
        "the server's certificate is not checked: it can be anyone's (upstream.verify = none)");
  }
}

}  // namespace

std::vector<std::string> warnings(const Service& service) {
  const auto& down = service.downstream;
  const auto& up = service.upstream;
  std::vector<std::string> found;
  // The start fails if others can reach an inherited socket, unless the service says which clients
  // may connect. So an inherited socket of an exposed service is local.
  const bool local =
      std::all_of(service.listen.begin(), service.listen.end(), [&service](const Address& each) {
        return is_local(each) || (each.is_inherited() && exposure(service) != Exposure::none);
      });
  if (down.tls == TlsMode::opportunistic && !local) {
    found.emplace_back(
        "an attacker on the network can keep clients in the clear (downstream.tls = "
        "opportunistic)");
  }
  for (const auto& network : down.proxy_protocol) {
    const bool all = network.prefix == 0 || to_string(network) == "0.0.0.0/0";
    if (!all) continue;
    found.push_back("any peer can claim to be any client (downstream.proxy_protocol has " +
                    to_string(network) + ")");
  }
  if (down.tls != TlsMode::none && down.min_tls < TlsVersion::tls1_2) {
    found.push_back("TLS " + std::string(number(down.min_tls)) +
                    " is insecure and only for old devices: give each of them its own service "
                    "(downstream.min_tls)");
  }
  // Clients with TLS see a lock and cannot know that the encryption ends here.
  const std::string clear = down.tls == TlsMode::none
                                ? ""
                                : "the server leg is in the clear, even for clients with TLS: ";
  warn(up, clear, found);
  for (const auto& row : service.destinations) {
    std::vector<std::string> here;
    warn(upstream_at(up, row), clear, here);
    for (const auto& one : here) found.push_back("in " + joined(row.networks, ", ") + ": " + one);
  }
  // Other listeners would be an error, here or at the start.
  if (lends_secret(service) && !is_secret_fenced(service)) {
    found.emplace_back(
        "every user of this machine can use the proxy's secret at the server, without a password "
        "(service.login)");
  }
  for (auto& mistake : likely_mistakes(service)) found.push_back(std::move(mistake));
  return found;
}

std::vector<std::string> warnings(const Admin& admin) {
  if (!admin.listen || is_local(*admin.listen)) return {};
  return {"any program that reaches " + to_string(*admin.listen) +
          " can see the connected clients, without a password: restrict access to it "
          "(admin.listen)"};
}

std::vector<std::string> warnings(const Proxy& proxy, StartedBy started_by) {
  if (started_by != StartedBy::root || !proxy.user.empty()) return {};
  return {
      "started by root, the process stays root: set proxy.user, or start it as a user without "
      "rights"};
}

std::vector<std::string> check_warnings(const Proxy& proxy, StartedBy started_by) {
  auto found = warnings(proxy, started_by);
  if (!proxy.sandbox) {
    found.insert(found.begin(), "keeps rights that it does not need (proxy.sandbox = false)");
  }
  return found;
}

std::string describe(const Config& config, StartedBy started_by, const KnownFacts& facts) {
  std::string out;
  const auto of_process = check_warnings(config.proxy, started_by);
  if (!config.proxy.user.empty() || !of_process.empty()) {
    out += "process\n";
    if (!config.proxy.user.empty()) line(out, "becomes", "the user " + config.proxy.user);
    for (const auto& warning : of_process) line(out, "WARNING", warning);
  }
  if (config.admin.listen) {
    if (!out.empty()) out += "\n";
    out += "admin\n";
    line(out, "listens on", to_string(*config.admin.listen));
    for (const auto& warning : warnings(config.admin)) line(out, "WARNING", warning);
  }
  for (const auto& service : config.services) {
    if (!out.empty()) out += "\n";
    describe(service, facts, out);
  }
  return out;
}

}  // namespace starttls::config

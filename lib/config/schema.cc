#include "lib/config/schema.h"

#include <algorithm>
#include <iterator>

#include "lib/config/read.h"
#include "lib/config/read_login.h"
#include "lib/config/read_tables.h"

namespace starttls::config {
namespace {

constexpr std::uint64_t kMaxWorkers = 1024;
constexpr std::uint64_t kMaxSessions = 10'000'000;
constexpr std::uint64_t kMostPerClient = 1'000'000;
constexpr std::uint64_t kMaxWarm = 1000;

constexpr Choice<LogLevel> kLevels[] = {{"error", LogLevel::error},
                                        {"warn", LogLevel::warn},
                                        {"info", LogLevel::info},
                                        {"debug", LogLevel::debug}};
constexpr Choice<LogFormat> kFormats[] = {{"text", LogFormat::text}, {"json", LogFormat::json}};
constexpr Choice<TlsMode> kTlsModes[] = {{"none", TlsMode::none},
                                         {"opportunistic", TlsMode::opportunistic},
                                         {"starttls", TlsMode::starttls},
                                         {"implicit", TlsMode::implicit}};
constexpr Choice<Verification> kVerifyWords[] = {{"full", Verification::full},
                                                 {"none", Verification::none}};
constexpr Choice<SendProxy> kSendProxyWords[] = {
    {"", SendProxy::no}, {"v1", SendProxy::v1}, {"v2", SendProxy::v2}};
constexpr Choice<LoginWhen> kLoginTimes[] = {{"client", LoginWhen::client},
                                             {"connect", LoginWhen::connect}};
constexpr Choice<Mechanism> kMechanisms[] = {{"auto", Mechanism::automatic},
                                             {"plain", Mechanism::plain},
                                             {"login", Mechanism::login},
                                             {"xoauth2", Mechanism::xoauth2},
                                             {"oauthbearer", Mechanism::oauthbearer}};
constexpr Choice<RecordCodecChoice> kRecordCodecs[] = {{"auto", RecordCodecChoice::automatic},
                                                       {"ssl", RecordCodecChoice::library}};
constexpr Choice<RecordCipherChoice> kRecordCiphers[] = {{"auto", RecordCipherChoice::automatic},
                                                         {"library", RecordCipherChoice::library}};
constexpr Choice<PostQuantum> kPostQuantumWords[] = {{"auto", PostQuantum::automatic},
                                                     {"off", PostQuantum::off}};
constexpr Choice<TlsVersion> kUpstreamVersions[] = {{"1.2", TlsVersion::tls1_2},
                                                    {"1.3", TlsVersion::tls1_3}};
constexpr Choice<TlsVersion> kDownstreamVersions[] = {{"1.0", TlsVersion::tls1_0},
                                                      {"1.1", TlsVersion::tls1_1},
                                                      {"1.2", TlsVersion::tls1_2},
                                                      {"1.3", TlsVersion::tls1_3}};

/// Returns the pair that a member of `certificates` belongs to. In a list it is the pair that is
/// being read, on a command line the only one.
ChainAndKey& current_certificate(Output& target) {
  auto& all = target.service.downstream.certificates;
  if (all.empty()) all.emplace_back();
  return all.back();
}

Login& current_login(Output& target) {
  auto& login = target.service.login;
  return login ? *login : login.emplace();
}

constexpr Key kKeys[] = {
    {.path = "proxy.workers",
     .flag = "--workers",
     .operand = "N",
     .help = "event loops, one thread each; 0 = one per CPU",
     .read = [](const Input& in,
                Output& t) { read_number(in, 0, kMaxWorkers, t.config.proxy.workers); }},
    {.path = "proxy.hostname",
     .flag = "--hostname",
     .operand = "NAME",
     .help = "our own name in EHLO and replies [the system's]",
     .read = [](const Input& in, Output& t) { read_helo_name(in, t.config.proxy.hostname); }},
    {.path = "proxy.user",
     .flag = "--user",
     .operand = "NAME",
     .help = "started as root: become this user after binding",
     .read = [](const Input& in,
                Output& t) { static_cast<void>(read_text(in, t.config.proxy.user)); }},
    {.path = "proxy.drain_timeout",
     .flag = "--drain-timeout",
     .operand = "TIME",
     .help = "how long sessions may go on after TERM [30s]",
     .read = [](const Input& in, Output& t) { read_duration(in, t.config.proxy.drain_timeout); }},
    {.path = "proxy.max_sessions",
     .flag = "--max-sessions",
     .operand = "N",
     .help = "sessions at once; 0 = what RLIMIT_NOFILE allows",
     .read = [](const Input& in,
                Output& t) { read_number(in, 0, kMaxSessions, t.config.proxy.max_sessions); }},
    {.path = "proxy.sandbox",
     .flag = "--sandbox",
     .operand = "BOOL",
     .help = "after the start, drop all unneeded rights [true]",
     .read = [](const Input& in, Output& t) { read_boolean(in, t.config.proxy.sandbox); }},
    {.path = "proxy.record_codec",
     .flag = "--record-codec",
     .operand = "WHICH",
     .help = "auto, or ssl: records by the TLS library [auto]",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kRecordCodecs, t.config.proxy.record_codec); }},
    {.path = "proxy.record_cipher",
     .flag = "--record-cipher",
     .operand = "WHICH",
     .help = "auto: the fastest, or library [auto]",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kRecordCiphers, t.config.proxy.record_cipher); }},

    {.path = "log.level",
     .flag = "--log-level",
     .operand = "LEVEL",
     .help = "error, warn, info or debug [info]",
     .read = [](const Input& in, Output& t) { read_choice(in, kLevels, t.config.log.level); }},
    {.path = "log.format",
     .flag = "--log-format",
     .operand = "FORMAT",
     .help = "text or json [text]",
     .read = [](const Input& in, Output& t) { read_choice(in, kFormats, t.config.log.format); }},
    {.path = "log.file",
     .flag = "--log-file",
     .operand = "FILE",
     .help = "write the log to this file [standard error]",
     .read = [](const Input& in, Output& t) { read_path(in, t.config.log.file); }},

    {.path = "admin.listen",
     .flag = "--admin",
     .operand = "ADDRESS",
     .help = "IP:PORT or unix:PATH to listen on [off]",
     .read = [](const Input& in, Output& t) { read_admin_listen(in, t.config.admin.listen); }},

    {.path = "timeouts.connect",
     .flag = "--connect-timeout",
     .operand = "TIME",
     .help = "one TCP connection to a server address [10s]",
     .read = [](const Input& in, Output& t) { read_duration(in, t.service.timeouts.connect); }},
    {.path = "timeouts.handshake",
     .flag = "--handshake-timeout",
     .operand = "TIME",
     .help = "one TLS handshake [10s]",
     .read = [](const Input& in, Output& t) { read_duration(in, t.service.timeouts.handshake); }},
    {.path = "timeouts.prelude",
     .flag = "--prelude-timeout",
     .operand = "TIME",
     .help = "from accept to the client's greeting [30s]",
     .read = [](const Input& in, Output& t) { read_duration(in, t.service.timeouts.prelude); }},
    {.path = "timeouts.command",
     .flag = "--command-timeout",
     .operand = "TIME",
     .help = "each client command before the relay starts [5m]",
     .read = [](const Input& in, Output& t) { read_duration(in, t.service.timeouts.command); }},
    {.path = "timeouts.idle",
     .flag = "--idle-timeout",
     .operand = "TIME",
     .help = "relay without a byte in either direction [35m]",
     .read = [](const Input& in, Output& t) { read_duration(in, t.service.timeouts.idle); }},

    {.path = "service.name",
     .flag = "",  // the protocol's name
     .operand = "",
     .help = "the label in logs and metrics",
     .required = true,
     .read = [](const Input& in, Output& t) { read_label(in, t.service.name); }},
    {.path = "service.protocol",
     .flag = "--protocol",
     .operand = "NAME",
     .help = "protocol of client and server, e.g. smtp",
     .required = true,
     .read = [](const Input& in, Output& t) { read_protocol(in, t.service.protocol); }},
    {.path = "service.listen",
     .flag = "--listen",
     .operand = "ADDRESS",
     .help = "IP:PORT, unix:PATH or systemd:NAME; repeatable",
     .required = true,
     .read = [](const Input& in, Output& t) { read_listen(in, t.service.listen); }},

    {.path = "service.downstream.tls",
     .flag = "--downstream-tls",
     .operand = "MODE",
     .help = "none|opportunistic|starttls|implicit [none]",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kTlsModes, t.service.downstream.tls); }},
    {.path = "service.downstream.certificates",
     .flag = "",  // one pair: the flags of its members
     .operand = "",
     .help = "our certificates; SNI selects, first is default",
     .read = read_certificates},
    {.path = "service.downstream.certificates.chain",
     .flag = "--chain",
     .operand = "FILE",
     .help = "PEM file: our certificate, then its CA chain",
     .read = [](const Input& in,
                Output& t) { read_required_file(in, current_certificate(t).chain); }},
    {.path = "service.downstream.certificates.key",
     .flag = "--key",
     .operand = "FILE",
     .help = "PEM file: its private key",
     .read = [](const Input& in,
                Output& t) { read_required_file(in, current_certificate(t).key); }},
    {.path = "service.downstream.client_ca",
     .flag = "--client-ca",
     .operand = "FILE",
     .help = "clients must have a certificate of a CA in it",
     .read = [](const Input& in,
                Output& t) { read_readable_file(in, t.service.downstream.client_ca); }},
    {.path = "service.downstream.min_tls",
     .flag = "--downstream-min-tls",
     .operand = "VERSION",
     .help = "1.2 or 1.3; 1.0 or 1.1 for an old device [1.2]",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kDownstreamVersions, t.service.downstream.min_tls); }},
    {.path = "service.downstream.ticket_keys",
     .flag = "--ticket-keys",
     .operand = "FILE",
     .help = "lets replicas resume each other's TLS sessions",
     .read = [](const Input& in,
                Output& t) { read_readable_file(in, t.service.downstream.ticket_keys); }},
    {.path = "service.downstream.allow",
     .flag = "--allow",
     .operand = "NETWORK",
     .help = "allowed clients, e.g. 192.168.1.0/24; repeatable",
     .read = [](const Input& in, Output& t) { read_networks(in, t.service.downstream.allow); }},
    {.path = "service.downstream.proxy_protocol",
     .flag = "--proxy-protocol",
     .operand = "NETWORK",
     .help = "balancers that send a PROXY header; repeatable",
     .read = [](const Input& in,
                Output& t) { read_networks(in, t.service.downstream.proxy_protocol); }},
    {.path = "service.downstream.max_per_client",
     .flag = "--max-per-client",
     .operand = "N",
     .help = "sessions at once per client address; 0 = no limit",
     .read =
         [](const Input& in, Output& t) {
           read_number(in, 0, kMostPerClient, t.service.downstream.max_per_client);
         }},

    {.path = "service.upstream.address",
     .flag = "--upstream",
     .operand = "ADDRESS",
     .help = "HOST:PORT or unix:PATH; repeat it for a fallback",
     .required = true,
     .read = [](const Input& in, Output& t) { read_upstream(in, t.service.upstream); }},
    {.path = "service.upstream.tls",
     .flag = "--upstream-tls",
     .operand = "MODE",
     .help = "none|opportunistic|starttls|implicit [starttls]",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kTlsModes, t.service.upstream.tls); }},
    {.path = "service.upstream.verify",
     .flag = "--verify",
     .operand = "HOW",
     .help = "full (chain and name) or none [full]",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kVerifyWords, t.service.upstream.verify); }},
    {.path = "service.upstream.server_name",
     .flag = "--server-name",
     .operand = "NAME",
     .help = "name to verify and for SNI [HOST of --upstream]",
     .read = [](const Input& in,
                Output& t) { read_server_name(in, t.service.upstream.server_name); }},
    {.path = "service.upstream.ca_file",
     .flag = "--ca-file",
     .operand = "FILE",
     .help = "PEM file of trusted CAs [the system's]",
     .read = [](const Input& in,
                Output& t) { read_readable_file(in, t.service.upstream.ca_file); }},
    {.path = "service.upstream.pins",
     .flag = "--pin",
     .operand = "PIN",
     .help = "sha256:BASE64 of the server's key; repeatable",
     .read = [](const Input& in, Output& t) { read_pins(in, t.service.upstream.pins); }},
    {.path = "service.upstream.certificate",
     .flag = "",  // its members have flags
     .operand = "",
     .help = "our client certificate",
     .read = read_client_certificate},
    {.path = "service.upstream.certificate.chain",
     .flag = "--upstream-chain",
     .operand = "FILE",
     .help = "PEM file: our certificate, then its CA chain",
     .read = [](const Input& in,
                Output& t) { read_required_file(in, t.service.upstream.certificate.chain); }},
    {.path = "service.upstream.certificate.key",
     .flag = "--upstream-key",
     .operand = "FILE",
     .help = "PEM file: its private key",
     .read = [](const Input& in,
                Output& t) { read_required_file(in, t.service.upstream.certificate.key); }},
    {.path = "service.upstream.min_tls",
     .flag = "--min-tls",
     .operand = "VERSION",
     .help = "1.2 or 1.3 [1.2]",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kUpstreamVersions, t.service.upstream.min_tls); }},
    {.path = "service.upstream.post_quantum",
     .flag = "--post-quantum",
     .operand = "WHICH",
     .help = "auto: X25519MLKEM768 if possible, or off [auto]",
     .read =
         [](const Input& in, Output& t) {
           read_choice(in, kPostQuantumWords, t.service.upstream.post_quantum);
         }},
    {.path = "service.upstream.send_proxy",
     .flag = "--send-proxy",
     .operand = "VERSION",
     .help = "v1 or v2: the client's address in a PROXY header",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kSendProxyWords, t.service.upstream.send_proxy); }},
    {.path = "service.upstream.source",
     .flag = "--source",
     .operand = "WHOSE",
     .help = "client: connect from the client's own address",
     .read = [](const Input& in, Output& t) { read_source(in, t.service.upstream.from_client); }},
    {.path = "service.upstream.greeting_text",
     .flag = "--greeting-text",
     .operand = "BOOL",
     .help = "pass on the server's greeting text [true]",
     .read = [](const Input& in,
                Output& t) { read_boolean(in, t.service.upstream.greeting_text); }},
    {.path = "service.upstream.warm",
     .flag = "--warm",
     .operand = "N",
     .help = "connections kept ready per worker, TLS done [0]",
     .read = [](const Input& in,
                Output& t) { read_number(in, 0, kMaxWarm, t.service.upstream.warm); }},

    {.path = "service.destination",
     .flag = "",  // a table with rows
     .operand = "",
     .help = "rules for intercepted connections, by network",
     .read = read_destinations},
    {.path = "service.destination.networks",
     .flag = "",
     .operand = "",
     .help = "the server addresses that the row is for",
     .read = [](const Input& in,
                Output& t) { read_networks(in, t.service.destinations.back().networks); }},
    {.path = "service.destination.server_name",
     .flag = "",
     .operand = "",
     .help = "name to verify and for SNI",
     .read =
         [](const Input& in, Output& t) {
           read_server_name(in, t.service.destinations.back().server_name.emplace());
         }},
    {.path = "service.destination.verify",
     .flag = "",
     .operand = "",
     .help = "full or none",
     .read =
         [](const Input& in, Output& t) {
           read_choice(in, kVerifyWords, t.service.destinations.back().verify.emplace());
         }},
    {.path = "service.destination.pins",
     .flag = "",
     .operand = "",
     .help = "public keys; any one must match",
     .read = [](const Input& in,
                Output& t) { read_pins(in, t.service.destinations.back().pins.emplace()); }},
    {.path = "service.destination.tls",
     .flag = "",
     .operand = "",
     .help = "none, opportunistic, starttls or implicit",
     .read =
         [](const Input& in, Output& t) {
           read_choice(in, kTlsModes, t.service.destinations.back().tls.emplace());
         }},

    {.path = "service.login.when",
     .flag = "",  // like all of the login: its secrets must not be on a command line
     .operand = "",
     .help = "client, or connect: before the client is greeted",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kLoginTimes, current_login(t).when); }},
    {.path = "service.login.mechanism",
     .flag = "",
     .operand = "",
     .help = "auto, plain, login, xoauth2 or oauthbearer",
     .read = [](const Input& in,
                Output& t) { read_choice(in, kMechanisms, current_login(t).mechanism); }},
    {.path = "service.login.user",
     .flag = "",
     .operand = "",
     .help = "the account at the server",
     .read = [](const Input& in, Output& t) { read_login_name(in, current_login(t).user); }},
    {.path = "service.login.secret",
     .flag = "",
     .operand = "",
     .help = "the password for the server",
     .read = [](const Input& in, Output& t) { read_secret(in, current_login(t).source.text); }},
    {.path = "service.login.file",
     .flag = "",
     .operand = "",
     .help = "its first line is the secret, read at each login",
     .read = [](const Input& in, Output& t) { read_path(in, current_login(t).source.file); }},
    {.path = "service.login.socket",
     .flag = "",
     .operand = "",
     .help = "a unix socket that is asked for the secret",
     .read = [](const Input& in,
                Output& t) { read_socket_path(in, current_login(t).source.socket); }},
    {.path = "service.login.command",
     .flag = "",
     .operand = "",
     .help = "a program and its arguments: it prints the secret",
     .read = [](const Input& in, Output& t) { read_command(in, current_login(t).source.command); }},
    {.path = "service.login.token",
     .flag = "",
     .operand = "",
     .help = "the secret is an OAuth access token",
     .read = [](const Input& in, Output& t) { read_boolean(in, current_login(t).source.token); }},
    {.path = "service.login.lifetime",
     .flag = "",
     .operand = "",
     .help = "how long a secret from socket or command is kept",
     .read = [](const Input& in, Output& t) { read_duration(in, current_login(t).lifetime); }},
    {.path = "service.login.timeout",
     .flag = "",
     .operand = "",
     .help = "how long the secret may take to come",
     .read = [](const Input& in, Output& t) { read_duration(in, current_login(t).timeout); }},

    {.path = "service.account",
     .flag = "",  // a table with rows
     .operand = "",
     .help = "names by which clients may log in to the proxy",
     .read = read_accounts},
    {.path = "service.account.name",
     .flag = "",
     .operand = "",
     .help = "the client's login name; * = any other",
     .read = [](const Input& in,
                Output& t) { read_account_name(in, t.service.accounts.back().name); }},
    {.path = "service.account.password",
     .flag = "",
     .operand = "",
     .help = "what the client must say, or its hash",
     .read = [](const Input& in,
                Output& t) { read_password(in, t.service.accounts.back().password); }},
    {.path = "service.account.user",
     .flag = "",
     .operand = "",
     .help = "the account at the server, for this name",
     .read = [](const Input& in,
                Output& t) { read_login_name(in, t.service.accounts.back().user); }},
    {.path = "service.account.secret",
     .flag = "",
     .operand = "",
     .help = "the password for the server, for this name",
     .read = [](const Input& in,
                Output& t) { read_secret(in, t.service.accounts.back().source.text); }},
    {.path = "service.account.file",
     .flag = "",
     .operand = "",
     .help = "the file of the secret, for this name",
     .read = [](const Input& in,
                Output& t) { read_path(in, t.service.accounts.back().source.file); }},
    {.path = "service.account.socket",
     .flag = "",
     .operand = "",
     .help = "the socket that is asked for the secret, for this name",
     .read = [](const Input& in,
                Output& t) { read_socket_path(in, t.service.accounts.back().source.socket); }},
    {.path = "service.account.command",
     .flag = "",
     .operand = "",
     .help = "the program that prints the secret, for this name",
     .read = [](const Input& in,
                Output& t) { read_command(in, t.service.accounts.back().source.command); }},
    {.path = "service.account.token",
     .flag = "",
     .operand = "",
     .help = "the secret of this name is an OAuth access token",
     .read = [](const Input& in,
                Output& t) { read_boolean(in, t.service.accounts.back().token.emplace()); }},
};

constexpr std::string_view kServicePrefix = "service.";
constexpr std::string_view kTimeoutsPrefix = "timeouts.";

}  // namespace

std::span<const Key> keys() noexcept {
  return kKeys;
}

const Key* find_key(std::string_view path) noexcept {
  if (path.starts_with(kServicePrefix) &&
      path.substr(kServicePrefix.size()).starts_with(kTimeoutsPrefix)) {
    path.remove_prefix(kServicePrefix.size());
  }
  const auto* const key = std::find_if(std::begin(kKeys), std::end(kKeys),
                                       [path](const Key& each) { return each.path == path; });
  return key == std::end(kKeys) ? nullptr : key;
}

const Key* find_flag(std::string_view flag) noexcept {
  if (flag.empty()) return nullptr;
  const auto* const key = std::find_if(std::begin(kKeys), std::end(kKeys),
                                       [flag](const Key& each) { return each.flag == flag; });
  return key == std::end(kKeys) ? nullptr : key;
}

bool is_section(std::string_view path) noexcept {
  if (path == "service.timeouts") return true;
  return std::any_of(std::begin(kKeys), std::end(kKeys), [path](const Key& key) {
    return key.path.starts_with(path) && key.path.substr(path.size()).starts_with('.');
  });
}

}  // namespace starttls::config

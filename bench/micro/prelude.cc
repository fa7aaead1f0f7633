// Measures the cost of a role without any socket or TLS below it. Each dialogue is held once with a
// protocol of the backend. The timed loop then repeats the same words.

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "lib/proto/protocols.h"
#include "tools/mail_server/protocol.h"

namespace {

using namespace starttls;
using proto::Verdict;

enum class From : std::uint8_t { client, server, handshake };

struct Event {
  From from;
  std::string bytes = {};
};

using Script = std::vector<Event>;

proto::RoleSettings settings() {
  return {.downstream = TlsMode::starttls,
          .upstream = TlsMode::starttls,
          .hostname = "proxy.example",
          .tag = "R4nd"};
}

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason + ' ' + result.error().evidence);
  return std::move(*result);
}

/// The backend as a server that gets whole commands.
class Server {
 public:
  Server(std::string_view protocol, bench::Tls tls)
      : protocol_(bench::find_protocol(protocol)(tls, mailbox_)) {}

  std::string greet() {
    std::string reply;
    protocol_->greet(reply);
    return reply;
  }
  std::string say(std::string_view commands) {
    std::string reply;
    while (!commands.empty()) {
      const auto step = protocol_->step(commands, reply);
      if (step.consumed == 0) throw std::runtime_error("half a command");
      commands.remove_prefix(step.consumed);
    }
    return reply;
  }
  std::string secured() {
    std::string reply;
    protocol_->secured(reply);
    return reply;
  }

 private:
  bench::Mailbox mailbox_{""};
  std::unique_ptr<bench::Protocol> protocol_;
};

// ---- the upstream role, from the server's greeting until the client may be greeted

/// Plays `event`, and appends the role's output to `said`.
Verdict tell(proto::UpstreamRole& role, const Event& event, std::string& said) {
  if (event.from == From::handshake) return must(role.secured(said));
  std::string_view rest = event.bytes;
  for (;;) {
    const auto step = must(role.step(rest, said));
    rest.remove_prefix(step.consumed);
    if (step.verdict != Verdict::need_more || step.consumed == 0 || rest.empty()) {
      return step.verdict;
    }
  }
}

Script upstream_script(const proto::Protocol& row) {
  Server server(row.name, bench::Tls::required);
  Script script{{From::server, server.greet()}};
  const auto role = row.upstream(settings());
  std::string said;
  static_cast<void>(must(role->begin(said)));
  for (std::size_t next = 0;; ++next) {
    if (next == script.size()) throw std::runtime_error("neither side has a word to say");
    const Verdict verdict = tell(*role, script[next], said);
    if (verdict == Verdict::greeted) return script;
    const std::string reply = server.say(std::exchange(said, {}));
    if (!reply.empty()) script.push_back({From::server, reply});
    if (verdict == Verdict::start_tls) {
      script.push_back({From::handshake});
      if (auto more = server.secured(); !more.empty()) script.push_back({From::server, more});
    }
  }
}

void upstream(benchmark::State& state, const proto::Protocol& row) {
  const Script script = upstream_script(row);
  const auto with = settings();
  std::string said;
  for (auto _ : state) {
    const auto role = row.upstream(with);
    said.clear();
    static_cast<void>(must(role->begin(said)));
    Verdict verdict = Verdict::need_more;
    for (const Event& event : script) verdict = tell(*role, event, said);
    if (verdict != Verdict::greeted) state.SkipWithError("the client may not be greeted");
    benchmark::DoNotOptimize(role->greeting().data());
  }
}

// ---- the downstream role, from the client's greeting until both directions are relayed

/// The commands of a client.
struct Words {
  std::string_view protocol;
  std::string_view starttls;
  std::string_view capabilities;
  std::string_view commit;
};

constexpr Words kWords[] = {
    {"smtp", "STARTTLS\r\n", "EHLO legacy.example\r\n", "MAIL FROM:<a@legacy.example>\r\n"},
    {"lmtp", "STARTTLS\r\n", "LHLO legacy.example\r\n", "MAIL FROM:<a@legacy.example>\r\n"},
    {"imap", "a1 STARTTLS\r\n", "a2 CAPABILITY\r\n", "a3 LOGIN load secret\r\n"},
    {"pop3", "STLS\r\n", "CAPA\r\n", "USER load\r\n"},
    {"sieve", "STARTTLS\r\n", "CAPABILITY\r\n", "AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\n"},
    {"nntp", "STARTTLS\r\n", "CAPABILITIES\r\n", "AUTHINFO USER load\r\n"},
};

struct Heard {
  std::string to_client;
  std::string to_server;
};

Verdict tell(proto::DownstreamRole& role, const Event& event, Heard& heard) {
  if (event.from == From::handshake) return must(role.secured(heard.to_client));
  std::string_view rest = event.bytes;
  for (;;) {
    const auto step = event.from == From::client
                          ? must(role.from_client(rest, heard.to_client, heard.to_server))
                          : must(role.from_server(rest, heard.to_client, heard.to_server));
    rest.remove_prefix(step.consumed);
    if (step.verdict != Verdict::need_more || step.consumed == 0 || rest.empty()) {
      return step.verdict;
    }
  }
}

void downstream(benchmark::State& state, const proto::Protocol& row, const Words& words) {
  Server server(row.name, bench::Tls::none);
  const std::string greeting = server.greet();
  Script script;
  {
    const auto role = row.downstream(settings());
    Heard heard;
    static_cast<void>(must(role->begin(greeting, heard.to_client)));
    const auto say = [&](std::string_view bytes) {
      script.push_back({From::client, std::string(bytes)});
      const Verdict verdict = tell(*role, script.back(), heard);
      if (verdict == Verdict::relay) return;  // the role does not see the answer any more
      const std::string reply = server.say(std::exchange(heard.to_server, {}));
      if (!reply.empty()) {
        script.push_back({From::server, reply});
        static_cast<void>(tell(*role, script.back(), heard));
      }
    };
    if (words.protocol == "smtp" || words.protocol == "lmtp") say(words.capabilities);
    say(words.starttls);
    script.push_back({From::handshake});
    static_cast<void>(tell(*role, script.back(), heard));
    say(words.capabilities);
    say(words.commit);
    script.push_back({From::server});  // "called with empty input once the client commits"
  }

  const auto with = settings();
  Heard heard;
  for (auto _ : state) {
    const auto role = row.downstream(with);
    heard.to_client.clear();
    heard.to_server.clear();
    static_cast<void>(must(role->begin(greeting, heard.to_client)));
    Verdict verdict = Verdict::need_more;
    for (const Event& event : script) verdict = tell(*role, event, heard);
    if (verdict != Verdict::relay) state.SkipWithError("nothing is relayed");
    benchmark::DoNotOptimize(heard.to_client.data());
  }
}

// ---- one list of a large server

void ehlo_list(benchmark::State& state) {
  const Event question{From::client, "EHLO legacy.example\r\n"};
  const Event list{From::server,
                   "250-mx.example.com at your service\r\n250-SIZE 157286400\r\n250-8BITMIME\r\n"
                   "250-STARTTLS\r\n250-AUTH LOGIN PLAIN XOAUTH2 SCRAM-SHA-256 SCRAM-SHA-256-PLUS "
                   "OAUTHBEARER\r\n250-AUTH=LOGIN PLAIN\r\n250-ENHANCEDSTATUSCODES\r\n"
                   "250-PIPELINING\r\n250-CHUNKING\r\n250-DSN\r\n250-ETRN\r\n250-VRFY\r\n"
                   "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"
                   "250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n250-REQUIRETLS\r\n"
                   "250-LIMITS RCPTMAX=1000\r\n250-HELP\r\n250 SMTPUTF8\r\n"};
  auto with = settings();
  with.downstream = TlsMode::none;
  const auto role = proto::find_protocol("smtp")->downstream(with);
  Heard heard;
  static_cast<void>(must(role->begin("220 mx.example.com\r\n", heard.to_client)));
  for (auto _ : state) {
    heard.to_client.clear();
    heard.to_server.clear();
    static_cast<void>(tell(*role, question, heard));
    static_cast<void>(tell(*role, list, heard));
    benchmark::DoNotOptimize(heard.to_client.data());
  }
  if (heard.to_client.find("SMTPUTF8") == std::string::npos ||
      heard.to_client.find("STARTTLS") != std::string::npos) {
    state.SkipWithError("not the list that was meant");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(list.bytes.size()));
}
BENCHMARK(ehlo_list);

/// Registers a benchmark for each protocol of the table.
const bool registered = [] {
  for (const auto& row : proto::protocols()) {
    benchmark::RegisterBenchmark(("upstream/" + std::string(row.name)).c_str(), upstream, row);
    for (const auto& words : kWords) {
      if (words.protocol != row.name) continue;
      benchmark::RegisterBenchmark(("downstream/" + std::string(row.name)).c_str(), downstream, row,
                                   words);
    }
  }
  return true;
}();

}  // namespace

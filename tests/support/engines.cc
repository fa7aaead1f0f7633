#include "tests/support/engines.h"

#include <stdexcept>
#include <utility>

namespace starttls::test {
namespace {

const PkiFolder& lasting_folder() {
  static const PkiFolder folder;
  return folder;
}

std::string unused_name() {
  static int number = 0;
  return std::to_string(++number);
}

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason + ' ' + result.error().evidence);
  return std::move(*result);
}

void say(TlsEnd& from, TlsEnd& to, std::string wire) {
  wire += from.seal("a word");
  const auto received = to.receive(wire);
  if (received.error) throw std::runtime_error(received.error->reason);
  if (received.plain != "a word") throw std::runtime_error("the payload is gone");
}

}  // namespace

std::string lasting_file(const std::string& text, unsigned mode) {
  return lasting_folder().write(unused_name(), text, mode);
}

std::shared_ptr<const tls::Context> client_context(tls::ClientOptions options) {
  static const std::string root = lasting_file(test_pki().root.certificate_pem());
  if (options.ca_file.empty()) options.ca_file = root;
  return must(tls::Context::client(options));
}

std::shared_ptr<const tls::Context> server_context(const std::vector<pki::Identity>& identities,
                                                   tls::ServerOptions options) {
  for (const auto& identity : identities) {
    options.certificates.push_back(lasting_folder().write(unused_name(), identity));
  }
  return must(tls::Context::server(options));
}

std::unique_ptr<EngineEnd> client_end(std::shared_ptr<const tls::Context> context, std::string name,
                                      std::string_view server) {
  return std::make_unique<EngineEnd>(
      must(tls::Engine::client(std::move(context), worker_pool(), std::move(name), server)));
}

std::unique_ptr<EngineEnd> server_end(std::shared_ptr<const tls::Context> context) {
  return std::make_unique<EngineEnd>(must(tls::Engine::server(std::move(context), worker_pool())));
}

void converse(TlsEnd& client, TlsEnd& server) {
  const HandshakeResult outcome = shake_hands(client, server);
  for (const auto& error : {outcome.client_error, outcome.server_error}) {
    if (error) throw std::runtime_error(error->reason);
  }
  if (!outcome.done) throw std::runtime_error("the handshake does not end");
  say(server, client, outcome.to_client);
  say(client, server, outcome.to_server);
}

}  // namespace starttls::test

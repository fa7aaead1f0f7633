#include "bench/micro/tls.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <stdlib.h>
#include <sys/stat.h>

#include "tools/pki/pki.h"

namespace starttls::bench {
namespace {

void write(const std::string& path, const std::string& text) {
  const mode_t before = ::umask(S_IRWXG | S_IRWXO);  // a key that other users can read is refused
  std::ofstream file(path, std::ios::binary);
  ::umask(before);
  if (!(file << text).flush()) throw std::runtime_error("cannot write " + path);
}

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason);
  return std::move(*result);
}

}  // namespace

Certificates::Certificates()
    : folder_((std::filesystem::temp_directory_path() / "starttls-micro-XXXXXX").string()) {
  if (::mkdtemp(folder_.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), folder_);
  }
  using pki::Identity;
  const auto root = Identity::self_signed({.common_name = "root", .ca = true});
  const auto ca = root.issue({.common_name = "intermediate", .ca = true});
  write(folder_ + "/ca.pem", root.certificate_pem());
  for (const auto& [kind, key] :
       {std::pair{"ecdsa", pki::KeyType::ecdsa_p256}, {"rsa", pki::KeyType::rsa_2048}}) {
    const auto server =
        ca.issue({.common_name = kServerName, .dns_names = {kServerName}, .key = key});
    write(pair(kind).chain, server.chain_pem());
    write(pair(kind).key, server.key_pem());
  }
}

Certificates::~Certificates() {
  std::error_code ignored;  // a folder that cannot be removed is no reason to fail
  std::filesystem::remove_all(folder_, ignored);
}

ChainAndKey Certificates::pair(std::string_view kind) const {
  const std::string path = folder_ + '/' + std::string(kind);
  return {path + ".pem", path + ".key"};
}

const Certificates& certificates() {
  static const Certificates made;
  return made;
}

Contexts make_contexts(RecordCodecChoice codec, TlsVersion version, std::string_view certificate) {
  return {must(tls::Context::client({.ca_file = certificates().ca(),
                                     .min_version = version,
                                     .max_version = version,
                                     .record_codec = codec})),
          must(tls::Context::server({.certificates = {certificates().pair(certificate)},
                                     .min_version = TlsVersion::tls1_2,
                                     .record_codec = codec}))};
}

Ends shake_hands(const Contexts& contexts, BufferPool& pool, Slabs& slabs,
                 std::string_view server) {
  Ends ends{must(tls::Engine::client(contexts.client, pool, kServerName, server)),
            must(tls::Engine::server(contexts.server, pool))};
  tls::WireOut to_server{slabs.to_server};
  tls::WireOut to_client{slabs.to_client};
  bool client_done = false;
  bool server_done = false;
  std::span<const std::byte> rest;  // for the client, after its handshake: tickets
  while (!client_done || !server_done) {
    if (!client_done) {
      to_server.used = 0;
      const auto step = must(ends.client->handshake(to_client.written(), to_server));
      client_done = step.done;
      rest = to_client.written().subspan(step.consumed);
    }
    if (!server_done) {
      tls::WireOut out{to_client.buffer};
      server_done = must(ends.server->handshake(to_server.written(), out)).done;
      to_client.used = out.used;
      if (client_done) rest = to_client.written();
    }
  }
  tls::OpenedRecords opened;
  to_server.used = 0;
  if (auto result = ends.client->open(rest, slabs.plain, to_server, opened); !result) {
    throw std::runtime_error(result.error().reason);
  }
  return ends;
}

}  // namespace starttls::bench

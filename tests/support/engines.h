#pragma once

// Contexts and engines of the test PKI, and a whole connection between two ends.

#include <memory>
#include <string>
#include <vector>

#include "lib/tls/context.h"
#include "tests/support/tls_pair.h"

namespace starttls::test {

/// The address that the servers of these tests are said to have.
inline constexpr char kServer[] = "192.0.2.1:25";

/// Writes a file of that content, which lasts as long as the process. Returns its path.
std::string lasting_file(const std::string& text, unsigned mode = 0600);

/// Returns a context that trusts the test root, unless the options name a CA file.
std::shared_ptr<const tls::Context> client_context(tls::ClientOptions options = {});
/// Returns a context that has these certificates, in this order.
std::shared_ptr<const tls::Context> server_context(const std::vector<pki::Identity>& identities,
                                                   tls::ServerOptions options = {});

std::unique_ptr<EngineEnd> client_end(std::shared_ptr<const tls::Context> context,
                                      std::string name = "mail.test",
                                      std::string_view server = kServer);
std::unique_ptr<EngineEnd> server_end(std::shared_ptr<const tls::Context> context);

/// Runs a handshake and sends a word in each direction, so that tickets have arrived. Throws if
/// that fails.
void converse(TlsEnd& client, TlsEnd& server);

}  // namespace starttls::test

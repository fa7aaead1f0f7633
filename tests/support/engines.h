#pragma once

// Contexts and engines of the test PKI, and a whole connection between two ends.

#include <memory>
#include <string>
#include <vector>

#include "lib/tls/context.h"
#include "tests/support/tls_pair.h"

namespace starttls::test {

/// Where the servers of these tests are said to be.
inline constexpr char kServer[] = "192.0.2.1:25";

/// A file of that content, which lasts as long as the process; its path.
std::string lasting_file(const std::string& text, unsigned mode = 0600);

/// Trusts the test root unless the options name a CA file.
std::shared_ptr<const tls::Context> client_context(tls::ClientOptions options = {});
/// Has these certificates, in this order.
std::shared_ptr<const tls::Context> server_context(const std::vector<pki::Identity>& identities,
                                                   tls::ServerOptions options = {});

std::unique_ptr<EngineEnd> client_end(std::shared_ptr<const tls::Context> context,
                                      std::string name = "mail.test",
                                      std::string_view server = kServer);
std::unique_ptr<EngineEnd> server_end(std::shared_ptr<const tls::Context> context);

/// A handshake and a word in each direction, so that tickets have arrived. Throws where that fails.
void converse(TlsEnd& client, TlsEnd& server);

}  // namespace starttls::test

#include "proxy/convert/stunnel_options.h"

#include <algorithm>
#include <iterator>

#include "lib/base/ascii.h"

namespace starttls::stunnel {
namespace {

constexpr std::string_view kCiphers =
    "the cipher suites are fixed: ECDHE with AEAD (also AES-CBC if min_tls is below 1.2)";
constexpr std::string_view kRevocation = "revocation is not checked";
constexpr std::string_view kTickets =
    "has another format: downstream.ticket_keys names a file of base64 lines (openssl rand -base64 "
    "48)";
constexpr std::string_view kEngine = "keys must be in PEM files";
constexpr std::string_view kUser =
    "set proxy.user, or start the process as that user (see conf/systemd)";
constexpr std::string_view kExec = "a server is reached by its address only";

constexpr Known kKnown[] = {
    {"accept"},
    {"CAfile"},
    {"CApath"},
    {"cert"},
    {"checkEmail"},
    {"checkHost"},
    {"checkIP"},
    {"client"},
    {"connect"},
    {"debug"},
    {"exec"},
    {"failover"},
    {"key"},
    {"options"},
    {"output"},
    {"protocol"},
    {"protocolAuthentication"},
    {"protocolHost"},
    {"protocolPassword"},
    {"protocolUsername"},
    {"PSKsecrets"},
    {"renegotiation"},
    {"requireCert"},
    {"sessionResume"},
    {"sni"},
    {"socket"},
    {"sslVersion"},
    {"sslVersionMax"},
    {"sslVersionMin"},
    {"TIMEOUTconnect"},
    {"TIMEOUTidle"},
    {"transparent"},
    {"verify"},
    {"verifyChain"},
    {"verifyPeer"},

    {"compression", Fate::held},
    {"delay", Fate::held},  // names are looked up at each connection
    {"foreground", Fate::held},
    {"iconActive", Fate::held},
    {"iconError", Fate::held},
    {"iconIdle", Fate::held},
    {"log", Fate::held},
    {"logId", Fate::held},
    {"pid", Fate::held},
    {"reset", Fate::held},
    {"RNDbytes", Fate::held},
    {"RNDfile", Fate::held},
    {"RNDoverwrite", Fate::held},
    {"service", Fate::held},
    {"sessionCacheSize", Fate::held},
    {"sessionCacheTimeout", Fate::held},
    {"stack", Fate::held},
    {"taskbar", Fate::held},
    {"TIMEOUTclose", Fate::held},  // two seconds

    {"CAengine", Fate::lost, kEngine},
    {"chroot", Fate::lost, "paths are those of the system; see conf/systemd for a sandbox"},
    {"ciphers", Fate::lost, kCiphers},
    {"ciphersuites", Fate::lost, kCiphers},
    {"config", Fate::lost, "has no counterpart"},
    {"CRLfile", Fate::lost, kRevocation},
    {"CRLpath", Fate::lost, kRevocation},
    {"curves", Fate::lost, "the groups are fixed: X25519, P-256, P-384"},
    {"EGD", Fate::lost, "random numbers come from the kernel"},
    {"engine", Fate::lost, kEngine},
    {"engineCtrl", Fate::lost, kEngine},
    {"engineDefault", Fate::lost, kEngine},
    {"engineId", Fate::lost, kEngine},
    {"engineNum", Fate::lost, kEngine},
    {"execArgs", Fate::lost, kExec},
    {"fips", Fate::lost, "Debian's BoringSSL is not a certified module"},
    {"ident", Fate::lost, "the names of the clients' users are not looked up"},
    {"include", Fate::lost, "its folder cannot be read here: convert its files, too"},
    {"libwrap", Fate::lost,
     "hosts.allow and hosts.deny are not read: list the clients in downstream.allow"},
    {"local", Fate::lost, "the system chooses the address to connect from"},
    {"OCSP", Fate::lost, kRevocation},
    {"OCSPaia", Fate::lost, kRevocation},
    {"OCSPflag", Fate::lost, kRevocation},
    {"OCSPnonce", Fate::lost, kRevocation},
    {"protocolDomain", Fate::lost, "has no counterpart"},
    {"protocolHeader", Fate::lost, "has no counterpart"},
    {"PSKidentity", Fate::lost, "pre-shared keys are not supported"},
    {"pty", Fate::lost, kExec},
    {"redirect", Fate::lost, "a client without a good certificate is refused"},
    {"retry", Fate::lost, kExec},
    {"securityLevel", Fate::lost, "fixed: no RSA key below 2048 bits, no SHA-1"},
    {"sessiond", Fate::lost,
     "replicas share downstream.ticket_keys instead, a file of base64 lines"},
    {"setgid", Fate::lost, kUser},
    {"setuid", Fate::lost, kUser},
    {"syslog", Fate::lost, "the log goes to standard error (journald reads it) or to log.file"},
    {"ticketKeySecret", Fate::lost, kTickets},
    {"ticketMacSecret", Fate::lost, kTickets},
    {"TIMEOUTbusy", Fate::lost, "see timeouts.handshake, timeouts.prelude and timeouts.command"},
};

}  // namespace

const Known* find_known(std::string_view name) {
  const auto* const found =
      std::find_if(std::begin(kKnown), std::end(kKnown),
                   [name](const Known& known) { return ascii::iequals(known.name, name); });
  return found == std::end(kKnown) ? nullptr : found;
}

}  // namespace starttls::stunnel

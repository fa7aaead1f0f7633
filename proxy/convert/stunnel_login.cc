#include "proxy/convert/stunnel_login.h"

#include "lib/base/ascii.h"

namespace starttls::stunnel {

void convert_login(AnnotatedFile& file, const Service& service, const std::string& label,
                   TomlTable& out) {
  const auto& section = service.section;
  const auto* const user = file.last(section, "protocolUsername");
  const auto* const password = file.last(section, "protocolPassword");
  const auto* const mechanism = file.last(section, "protocolAuthentication");
  const auto* const first = user != nullptr ? user : password != nullptr ? password : mechanism;
  if (first == nullptr) return;
  if (!service.client || service.negotiation != "smtp") {
    file.note(section, first,
              "stunnel logs in only in client mode with protocol = smtp, so this service did not");
    return;
  }
  if (user == nullptr || password == nullptr || user->value.empty()) {
    file.note(section, first,
              "stunnel logs in only with protocolUsername and protocolPassword, so this service "
              "did not");
    return;
  }
  const bool by_login = mechanism != nullptr && ascii::iequals(mechanism->value, "login");
  const std::string path = label + ".password";
  out.set("login.when", toml("connect"));
  out.set("login.mechanism", toml(by_login ? "login" : "plain"));
  out.set("login.user", toml(user->value));
  out.set("login.file", toml(path));
  file.note(section, password,
            "is not copied: write the password into the file " + path +
                " beside this configuration, and let only the proxy's user read it (0600). Every "
                "client that may connect sends mail as this account");
}

}  // namespace starttls::stunnel

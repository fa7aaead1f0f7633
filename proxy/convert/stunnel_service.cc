#include "proxy/convert/stunnel_service.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/config/notation.h"
#include "lib/proto/protocols.h"

namespace starttls::stunnel {
namespace {

/// Returns the mail protocol that is usual on the port of `address`, or "".
std::string_view protocol_of_port(const std::string& address) {
  const auto parsed = config::parse_address(address);
  if (!parsed || parsed->is_unix()) return "";
  if (parsed->port == 587 || parsed->port == 2525) return "smtp";
  for (const auto& protocol : proto::protocols()) {
    if (parsed->port == protocol.port || parsed->port == protocol.tls_port) return protocol.name;
  }
  return "";
}

class ServiceReader {
 public:
  ServiceReader(const std::vector<Address>& taken, AnnotatedFile& file)
      : listening_(taken), file_(file) {}

  [[nodiscard]] bool read_addresses(Service& service);
  [[nodiscard]] bool read_protocol(Service& service);
  void read_transparent(Service& service);

 private:
  [[nodiscard]] bool read_accept(Service& service);

  const std::vector<Address>& listening_;
  AnnotatedFile& file_;
};

bool ServiceReader::read_addresses(Service& service) {
  const auto& section = service.section;
  for (const auto* const option : file_.all(section, "connect")) {
    auto address = stunnel::address(option->value, "127.0.0.1");
    if (!address) {
      file_.note(section, option, "'" + option->value + "' is not an address");
    } else if (std::find(service.connect.begin(), service.connect.end(), *address) ==
               service.connect.end()) {
      service.connect.push_back(std::move(*address));
    }
  }
  if (service.connect.empty()) {
    const auto* const exec = file_.last(section, "exec");
    file_.leave_out(
        section, exec,
        exec != nullptr ? "a server is reached by its address only" : "there is no connect");
    return false;
  }
  return read_accept(service);
}

/// Reads the address to listen on. ":::PORT" means both families in stunnel. Here each family has
/// an address of its own.
bool ServiceReader::read_accept(Service& service) {
  const auto& section = service.section;
  const auto* const accept = file_.last(section, "accept");
  if (accept == nullptr) {
    file_.leave_out(section, nullptr, "there is no accept");
    return false;
  }
  const auto address = stunnel::address(accept->value, "0.0.0.0");
  if (!address) {
    file_.leave_out(section, accept, "'" + accept->value + "' is not an address");
    return false;
  }
  auto parsed = *config::parse_address(*address);  // `address` has parsed it before
  if (!parsed.is_unix() && !config::is_ip_literal(std::string(without_interface(parsed.host)))) {
    const auto name = std::exchange(parsed.host, "127.0.0.1");
    if (ascii::iequals(name, "ip6-localhost")) {
      parsed.host = "::1";
    } else if (!ascii::iequals(name, "localhost")) {
      file_.note(
          section, accept,
          "listens on an address, not on a name: replace 127.0.0.1 by the address of " + name);
    }
  }
  std::vector<Address> listen = {parsed};
  if (parsed.host == "::") {
    parsed.host = "0.0.0.0";
    listen.insert(listen.begin(), parsed);
  }
  for (const auto& each : listen) {
    const auto text = to_string(each);
    if (std::find(service.connect.begin(), service.connect.end(), text) != service.connect.end()) {
      file_.leave_out(section, accept, "it would connect to itself");
      return false;
    }
    if (std::any_of(listening_.begin(), listening_.end(),
                    [&each](const Address& other) { return config::overlap(each, other); })) {
      file_.leave_out(section, accept, text + " belongs to another service");
      return false;
    }
    service.listen.push_back(text);
  }
  return true;
}

/// Reads the option that makes the server see the client's address. stunnel can also take the
/// server's address from the connection.
void ServiceReader::read_transparent(Service& service) {
  const auto& section = service.section;
  const auto* const option = file_.last(section, "transparent");
  if (option == nullptr || ascii::iequals(option->value, "no") ||
      ascii::iequals(option->value, "none")) {
    return;
  }
  const auto is = [option](std::string_view value) { return ascii::iequals(option->value, value); };
  if (is("destination") || is("both")) {
    file_.note(section, option,
               "the server is the one of connect; for the server that each client meant to reach, "
               "set upstream.address = \"original-destination\"");
  }
  if (!is("source") && !is("both") && !is("yes")) return;
  if (service.listen.front().starts_with("unix:")) {
    file_.note(section, option, "clients of a unix socket have no address to connect from");
    return;
  }
  service.from_client = true;
  file_.note(section, option,
             "is upstream.source = \"client\" here: it needs CAP_NET_ADMIN, and routes that bring "
             "the server's answers back (see conf/nftables)");
}

/// Finds out the protocol that both sides speak. stunnel names it only if it negotiates TLS.
bool ServiceReader::read_protocol(Service& service) {
  const auto& section = service.section;
  if (const auto* const protocol = file_.last(section, "protocol")) {
    if (ascii::iequals(protocol->value, "proxy")) {
      // stunnel knows it in server mode only.
      service.sends_proxy = !service.client;
      if (service.client) file_.note(section, protocol, "no PROXY header is sent to the server");
    } else {
      for (const char c : protocol->value) service.negotiation += ascii::to_lower(c);
      if (proto::find_protocol(service.negotiation) == nullptr) {
        file_.leave_out(section, protocol, "'" + protocol->value + "' is not a mail protocol");
        return false;
      }
      service.protocol = service.negotiation;
      return true;
    }
  }
  auto addresses = service.connect;
  addresses.push_back(service.listen.front());
  for (const auto& address : addresses) {
    service.protocol = protocol_of_port(address);
    if (!service.protocol.empty()) return true;
  }
  for (const auto& protocol : proto::protocols()) {
    for (std::size_t at = 0; at < section.name.size(); ++at) {
      if (!ascii::istarts_with(std::string_view(section.name).substr(at), protocol.name)) continue;
      service.protocol = protocol.name;
      return true;
    }
  }
  file_.leave_out(section, nullptr, "neither its ports nor its name show a mail protocol");
  return false;
}

}  // namespace

std::optional<Service> read_service(const Section& section, const std::vector<Address>& taken,
                                    AnnotatedFile& file) {
  Service service{section, file.yes(section, "client"), {}, {}, {}, {}, false, false};
  ServiceReader reader(taken, file);
  if (!reader.read_addresses(service) || !reader.read_protocol(service)) return std::nullopt;
  reader.read_transparent(service);
  return service;
}

}  // namespace starttls::stunnel

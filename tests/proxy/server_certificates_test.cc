#include "proxy/server_certificates.h"

#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;

namespace {

std::shared_ptr<session::Service> service_to(const std::vector<Address>& servers) {
  auto service = std::make_shared<session::Service>();
  service->config.name = "office";
  service->config.upstream.address = servers;
  service->metrics = std::make_shared<metrics::Service>(1);
  return service;
}

std::vector<std::string> servers_of(const std::shared_ptr<session::Service>& service) {
  std::vector<std::string> names;
  for (const auto& each : server_certificates_of({service})) {
    CHECK(each.service == "office");
    names.push_back(each.server);
  }
  return names;
}

}  // namespace

TEST_CASE("server certificates: a server that a reload has removed is left out",
          "[proxy][metrics]") {
  const auto service = service_to({{"a.test", 25, ""}, {"", 0, "/run/b.sock"}});
  CHECK(servers_of(service).empty());
  for (const char* server : {"a.test:25", "unix:/run/b.sock", "old.test:25"}) {
    service->metrics->server_certificates().note(server, {});
  }
  CHECK(servers_of(service) == std::vector<std::string>{"a.test:25", "unix:/run/b.sock"});
}

TEST_CASE("server certificates: intercepted clients name the servers", "[proxy][metrics]") {
  const auto service = service_to({});
  service->config.upstream.original_destination = true;
  service->metrics->server_certificates().note("192.0.2.1:25", {});
  CHECK(servers_of(service) == std::vector<std::string>{"192.0.2.1:25"});
}

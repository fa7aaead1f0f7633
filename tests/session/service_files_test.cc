#include "lib/session/service_files.h"

#include "tests/support/catch.h"
#include "tests/support/tls_pair.h"

using namespace starttls;
using namespace starttls::session;
using namespace starttls::test;

namespace {

constexpr std::string_view kChain = "service.downstream.certificates.chain";
constexpr std::string_view kKey = "service.downstream.certificates.key";
constexpr std::string_view kClientCa = "service.downstream.client_ca";
constexpr std::string_view kTicketKeys = "service.downstream.ticket_keys";
constexpr std::string_view kCaFile = "service.upstream.ca_file";
constexpr std::string_view kOurChain = "service.upstream.certificate.chain";
constexpr std::string_view kOurKey = "service.upstream.certificate.key";

std::vector<std::string> told(const config::Service& service) {
  std::vector<std::string> all;
  for (const auto& each : check_files(service)) {
    all.push_back(std::string(each.key) + " " + std::to_string(each.row) + " " + each.reason);
  }
  return all;
}

std::string one(std::string_view key, int row, const std::string& reason) {
  return std::string(key) + " " + std::to_string(row) + " " + reason;
}

}  // namespace

TEST_CASE("service files: each fault is reported with its own file", "[session][security]") {
  const PkiFolder folder;
  const auto good = folder.write("good", test_pki().server);
  const auto other = folder.write("other", test_pki().server_rsa);
  const auto ca = folder.write("ca", test_pki().root).chain;
  const auto empty = folder.write("empty", "");
  const auto open = folder.write("open.key", "x", 0644);

  config::Service service;
  service.downstream.tls = TlsMode::implicit;
  service.downstream.certificates = {{good.chain, good.key}};
  service.upstream.ca_file = ca;
  CHECK(told(service).empty());

  service.downstream.certificates = {
      {good.chain, good.key}, {good.chain, other.key}, {empty, open}, {empty, good.key}, {"", open},
      {other.chain, ""}};
  service.downstream.client_ca = empty;
  service.downstream.ticket_keys = empty;
  service.upstream.ca_file = empty;
  service.upstream.certificate = {good.chain, other.key};
  const std::string foreign =
      other.key + ": the key does not belong to the first certificate of " + good.chain;
  const std::string none = empty + ": holds no certificate";
  const std::string readable =
      open +
      ": this secret is open to group or others (mode 0644): set 0600, or 0640 with owner root "
      "and a group of this process";
  CHECK(told(service) == std::vector{one(kKey, 1, foreign), one(kChain, 2, none),
                                     one(kKey, 2, readable), one(kChain, 3, none),
                                     one(kKey, 4, readable), one(kClientCa, 0, none),
                                     one(kTicketKeys, 0, empty + ": holds no ticket key"),
                                     one(kCaFile, 0, none), one(kOurKey, 0, foreign)});
}

TEST_CASE("service files: files that are not used are not checked", "[session]") {
  const PkiFolder folder;
  const auto empty = folder.write("empty", "");
  config::Service service;
  service.upstream.ca_file = empty;
  service.upstream.certificate = {empty, empty};
  CHECK(told(service).size() == 3);
  service.upstream.verify = Verification::none;
  CHECK(told(service).size() == 2);
  service.upstream.tls = TlsMode::none;
  CHECK(told(service).empty());

  // A row may verify even if the service does not.
  config::Destination row;
  row.tls = TlsMode::starttls;
  service.destinations = {row};
  CHECK(told(service).size() == 2);
  service.destinations[0].verify = Verification::full;
  const auto all = told(service);
  REQUIRE(all.size() == 3);
  CHECK(all[0].starts_with(kCaFile));
  CHECK(all[1].starts_with(kOurChain));
}

#include "lib/config/places.h"

#include "tests/support/catch.h"
#include "tests/support/loading.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using config::Config;
using config::Places;
using config::ValueName;

namespace {

constexpr std::string_view kChain = "service.downstream.certificates.chain";
constexpr std::string_view kKey = "service.downstream.certificates.key";

std::string told(const Places& places, const ValueName& value) {
  const auto problem = places.problem(value, "is wrong");
  return problem.where + ": " + problem.text;
}

}  // namespace

TEST_CASE("places: each value of a file has its line and column", "[config]") {
  TemporaryFolder folder;
  folder.fill({"a.pem", "a.key", "b.pem", "b.key", "ca.pem"});
  folder.write("name", "x.log");
  const auto path = folder.file("f.toml");
  const std::string text = R"([log]
file = "${file:name}"
[[service]]
name = "one"
protocol = "smtp"
listen = "127.0.0.1:25"
upstream = { address = "a:25", certificate = { chain = "a.pem", key = "a.key" } }
[[service]]
name = "two"
protocol = "nonsense"
listen = "127.0.0.1:26"
[service.upstream]
address = "a:25"
ca_file = "ca.pem"
[service.downstream]
tls = "implicit"
certificates = [ { chain = "a.pem", key = "a.key" }, 7,
  { key = "b.key", chain = "b.pem" } ]
)";
  Config config;
  Places places;
  // Places are found even if the file has errors.
  REQUIRE(load_text(text, path, kProtocols, config, &places).size() == 2);
  const auto at = [&](const std::string& place, std::string_view key) {
    return path + ":" + place + ": " + std::string(key) + ": is wrong";
  };
  CHECK(told(places, {std::nullopt, "log.file"}) == at("2:8", "log.file"));
  CHECK(told(places, {0, "service.upstream.certificate.chain"}) ==
        at("7:56", "service.upstream.certificate.chain"));
  CHECK(told(places, {0, "service.upstream.certificate.key"}) ==
        at("7:71", "service.upstream.certificate.key"));
  CHECK(told(places, {1, kChain}) == at("17:28", kChain));
  CHECK(told(places, {1, kKey}) == at("17:43", kKey));
  // Rows are counted as in the configuration. An entry that is no table is not a row.
  REQUIRE(config.services[1].downstream.certificates.size() == 2);
  CHECK(told(places, {1, kChain, 1}) == at("18:28", kChain));
  CHECK(told(places, {1, kKey, 1}) == at("18:11", kKey));
  CHECK(told(places, {1, "service.upstream.ca_file"}) == at("14:11", "service.upstream.ca_file"));
  // A key that is not written has the place of its service.
  CHECK(told(places, {0, "service.upstream.ca_file"}) == at("3:1", "service.upstream.ca_file"));
  CHECK(places.problem({1, kChain}, "").rank < places.problem({1, kKey}, "").rank);
  CHECK(places.problem({1, kKey}, "").rank < places.problem({1, kChain, 1}, "").rank);

  CHECK(places.shown({std::nullopt, "log.file"}, config.log.file) == "'${file:name}'");
  CHECK(places.shown({1, "service.upstream.ca_file"}, "it") == "it");
  CHECK(places.shown({1, "service.upstream.pins"}, "it") == "it");
}

TEST_CASE("places: the places of a command line are its flags", "[config]") {
  TemporaryFolder folder;
  folder.fill({"a.pem", "a.key"});
  const std::vector<config::Flag> flags{
      {"--protocol", {"smtp"}},           {"--listen", {"127.0.0.1:25"}},
      {"--upstream", {"a:25"}},           {"--key", {folder.file("a.key")}},
      {"--downstream-tls", {"starttls"}}, {"--chain", {folder.file("a.pem")}}};
  Config config;
  Places places;
  REQUIRE(lines(load_flags(flags, kProtocols, config, &places)) == Lines{});
  CHECK(told(places, {0, kChain}) == "--chain: is wrong");
  CHECK(told(places, {0, kKey}) == "--key: is wrong");
  CHECK(told(places, {0, "service.upstream.ca_file"}) == "--ca-file: is wrong");
  CHECK(told(places, {std::nullopt, "log.file"}) == "--log-file: is wrong");
  CHECK(places.problem({0, kKey}, "").rank < places.problem({0, kChain}, "").rank);
}

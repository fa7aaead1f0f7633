#include "lib/session/service_files.h"

#include <algorithm>
#include <utility>

#include "lib/session/policy.h"
#include "lib/tls/context.h"

namespace starttls::session {
namespace {

class Check {
 public:
  void certificate(std::string_view chain_key, std::string_view key_key, std::size_t row,
                   const ChainAndKey& files) {
    if (!files.chain.empty()) {
      note({chain_key, row, files.chain, {}}, tls::check_chain(files.chain));
    }
    if (!files.key.empty()) {
      note({key_key, row, files.key, {}}, tls::check_key({files.chain, files.key}));
    }
  }
  void note(FileProblem problem, const Result<>& result) {
    if (result) return;
    problem.reason = result.error().reason;
    problems_.push_back(std::move(problem));
  }
  [[nodiscard]] std::vector<FileProblem> take() { return std::move(problems_); }

 private:
  std::vector<FileProblem> problems_;
};

}  // namespace

std::vector<FileProblem> check_files(const config::Service& config) {
  Check check;
  const auto& down = config.downstream;
  for (std::size_t row = 0; row < down.certificates.size(); ++row) {
    check.certificate("service.downstream.certificates.chain",
                      "service.downstream.certificates.key", row, down.certificates[row]);
  }
  if (!down.client_ca.empty()) {
    check.note({"service.downstream.client_ca", 0, down.client_ca, {}},
               tls::check_trust_store(down.client_ca));
  }
  if (!down.ticket_keys.empty()) {
    check.note({"service.downstream.ticket_keys", 0, down.ticket_keys, {}},
               tls::check_ticket_keys(down.ticket_keys));
  }

  const auto& up = config.upstream;
  const auto somewhere = [&](auto is) {
    const auto& rows = config.destinations;
    return is(up) || std::any_of(rows.begin(), rows.end(),
                                 [&](const auto& row) { return is(config::upstream_at(up, row)); });
  };
  const auto verified = [](const config::Upstream& leg) {
    return uses_tls(leg.tls) && leg.verify == Verification::full;
  };
  if (somewhere(verified)) {
    check.note({"service.upstream.ca_file", 0, up.ca_file, {}}, tls::check_trust_store(up.ca_file));
  }
  if (somewhere([](const config::Upstream& leg) { return uses_tls(leg.tls); })) {
    check.certificate("service.upstream.certificate.chain", "service.upstream.certificate.key", 0,
                      up.certificate);
  }
  return check.take();
}

}  // namespace starttls::session

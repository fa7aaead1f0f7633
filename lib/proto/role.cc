#include "lib/proto/role.h"

#include <cassert>

namespace starttls::proto {
namespace {

/// Answers for a role that never asks for a login, so that this is never called.
Verdict no_login() noexcept {
  assert(false && "this role has no login");
  return Verdict::need_more;
}

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): an override moves it
Result<Verdict> UpstreamRole::on_credentials(Result<Credentials>, std::string&) {
  return no_login();
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): an override moves it
Result<Verdict> DownstreamRole::on_credentials(Result<Credentials>, std::string&, std::string&) {
  return no_login();
}

Result<Verdict> DownstreamRole::after_pause(std::string&) {
  return no_login();
}

Result<Verdict> DownstreamRole::on_server_lost(std::string_view, std::string&) {
  return Verdict::need_more;
}

Result<Verdict> DownstreamRole::reconnected(std::string&) {
  return no_login();
}

}  // namespace starttls::proto

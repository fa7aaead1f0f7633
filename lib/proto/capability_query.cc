#include "lib/proto/capability_query.h"

#include <algorithm>

#include "lib/base/ascii.h"

namespace starttls::proto {
namespace {

/// Returns the last whole line without its end; empty if there is none.
std::string_view last_line(std::string_view reply) noexcept {
  if (!reply.ends_with('\n')) return {};
  reply.remove_suffix(1);
  if (reply.ends_with('\r')) reply.remove_suffix(1);
  return reply.substr(reply.rfind('\n') + 1);  // npos + 1 is 0
}

bool is_whole_list(std::string_view reply, std::string_view announced_by) noexcept {
  const auto last = last_line(reply);
  if (!reply.ends_with('\n')) return false;
  return !reply.starts_with(announced_by) || last == ".";
}

}  // namespace

bool is_whole_smtp_reply(std::string_view reply) noexcept {
  constexpr std::size_t kCodeSize = 3;
  return reply.ends_with('\n') && last_line(reply).substr(0, kCodeSize + 1).find('-') != kCodeSize;
}

bool is_whole_imap_reply(std::string_view reply) noexcept {
  constexpr std::string_view kTag = "probe ";
  // After the tagged line there may be more that no command has asked for.
  for (auto end = reply.find('\n'); end != std::string_view::npos; end = reply.find('\n')) {
    const auto line = reply.substr(0, end);
    if (line.starts_with(kTag) || ascii::istarts_with(line, "* BYE")) return true;
    reply.remove_prefix(end + 1);
  }
  return false;
}

bool is_whole_pop3_list(std::string_view reply) noexcept {
  return is_whole_list(reply, "+OK");
}

bool is_whole_nntp_list(std::string_view reply) noexcept {
  return is_whole_list(reply, "1");
}

}  // namespace starttls::proto

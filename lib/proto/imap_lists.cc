#include "lib/proto/imap_lists.h"

#include <cstddef>

#include "lib/base/ascii.h"
#include "lib/proto/edits.h"
#include "lib/proto/imap_responses.h"
#include "lib/proto/imap_syntax.h"
#include "lib/proto/words.h"

namespace starttls::proto::imap {
namespace {

constexpr std::string_view kOwnLogins = "AUTH=PLAIN AUTH=LOGIN SASL-IR";

std::string_view without_line_end(std::string_view line) noexcept {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

/// True for a capability about the client's login. If it logs in to the proxy, the proxy's own are
/// listed in place of all of these. UNAUTHENTICATE would let it log in to the server (RFC 8437).
bool is_about_login(std::string_view name) noexcept {
  return ascii::istarts_with(name, "AUTH=") ||
         is_any_of(name, {"LOGINDISABLED", "SASL-IR", "UNAUTHENTICATE"});
}

/// True if the client must not see the capability.
bool is_left_out(std::string_view name, const ListEdit& how) noexcept {
  constexpr std::string_view kAuth = "AUTH=";
  if (is_any_of(name, {"STARTTLS", "XCLIENT", "XFORWARD"})) return true;
  if (how.login == ListEdit::Login::ours && is_about_login(name)) return true;
  if (how.login == ListEdit::Login::is_over && ascii::iequals(name, "UNAUTHENTICATE")) return true;
  return ascii::istarts_with(name, kAuth) &&
         is_barred_mechanism(name.substr(kAuth.size()), how.bars_external);
}

}  // namespace

std::optional<std::string_view> find_list(std::string_view line) noexcept {
  const auto text = without_line_end(line);
  const Response response(text);
  std::optional<std::string_view> list;
  if (response.untagged() && response.is("CAPABILITY")) {
    list = response.rest;
  } else if (is_any_of(response.word, {"OK", "PREAUTH"})) {
    list = capability_code(response.rest);
  }
  if (!list || list->empty() || literal_at_end(text)) return std::nullopt;
  return list;
}

std::string edit_list(std::string_view raw, const ListEdit& how) {
  const auto list = find_list(raw);
  if (!list) return std::string(raw);

  std::string kept;
  const auto add = [&kept](std::string_view words) {
    if (!kept.empty()) kept += ' ';
    kept += words;
  };
  const bool has_own_logins = how.login == ListEdit::Login::ours;
  bool edited = how.offers_starttls || has_own_logins;
  auto rest = *list;
  for (auto name = take_word(rest); !name.empty(); name = take_word(rest)) {
    const bool left_out = is_left_out(name, how);
    edited |= left_out;
    if (!left_out) add(name);
  }
  if (!edited) return std::string(raw);
  if (has_own_logins) add(kOwnLogins);
  if (how.offers_starttls) add("STARTTLS");

  const auto list_at = static_cast<std::size_t>(list->data() - raw.data());
  std::string line(raw);
  return line.replace(list_at, list->size(), kept);
}

}  // namespace starttls::proto::imap

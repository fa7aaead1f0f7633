#include "proxy/admin/status_page.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "proxy/admin/html.h"
#include "proxy/admin/status_style.h"

namespace starttls {
namespace {

/// A word, and the class of the style that colours it.
struct Word {
  std::string_view tone;
  std::string_view text;
};

void add_word(Html& page, const Word& word) {
  page.markup("<span class=\"word ").constant(word.tone).markup("\">");
  page.text(word.text).markup("</span>");
}

std::string_view words_of(TlsMode mode) noexcept {
  switch (mode) {
    case TlsMode::none:
      return "no TLS";
    case TlsMode::opportunistic:
      return "STARTTLS if offered";
    case TlsMode::starttls:
      return "STARTTLS";
    case TlsMode::implicit:
      return "TLS from the first byte";
  }
  return "";
}

std::string_view words_of_verification(std::string_view verify) noexcept {
  if (verify == "full") return ", verified";
  if (verify == "pin") return ", pinned key";
  return verify == "none" ? ", not verified" : "";
}

Word word_of(ServiceStatus::State state) noexcept {
  switch (state) {
    case ServiceStatus::State::serving:
      return {"good", "serving"};
    case ServiceStatus::State::draining:
      return {"warn", "draining"};
    case ServiceStatus::State::not_ready:
      return {"bad", "not ready"};
  }
  return {};
}

std::string_view tone_of(CertificateStatus::State state) noexcept {
  switch (state) {
    case CertificateStatus::State::valid:
      return "good";
    case CertificateStatus::State::ends_soon:
      return "warn";
    case CertificateStatus::State::expired:
    case CertificateStatus::State::not_yet_valid:
      return "bad";
  }
  return "";
}

/// Returns "29 days left", "less than a day left", "expired", "not valid yet".
std::string left_of(const CertificateStatus& certificate, UnixTime now) {
  if (certificate.state == CertificateStatus::State::expired) return "expired";
  if (certificate.state == CertificateStatus::State::not_yet_valid) return "not valid yet";
  return time_left(certificate.not_after, now);
}

std::string_view owner_of(const CertificateStatus& certificate) noexcept {
  if (certificate.owner == CertificateStatus::Owner::server) return "shown by the server";
  return certificate.leg == Side::downstream ? "ours, for clients" : "ours, for the server";
}

std::uint64_t total(const metrics::SessionCounts& sessions) noexcept {
  std::uint64_t sum = 0;
  for (const auto each : sessions.ended) sum += each;
  return sum;
}

std::uint64_t failed(const metrics::SessionCounts& sessions) noexcept {
  return total(sessions) - sessions.ended[Outcome::ok().index()];
}

/// Returns "12 ok, 3 timeout".
std::string outcomes_of(const metrics::SessionCounts& sessions) {
  std::string words;
  for (std::size_t i = 0; i < sessions.ended.size(); ++i) {
    if (sessions.ended[i] == 0) continue;
    if (!words.empty()) words += ", ";
    words += std::to_string(sessions.ended[i]) + " " + std::string(Outcome::kNames[i]);
  }
  return words;
}

void add_lines(Html& page, const std::vector<std::string>& lines, std::string_view if_none) {
  if (lines.empty()) page.text(if_none);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) page.markup("<br>");
    page.text(lines[i]);
  }
}

/// Adds the first rows to a table and ends it. Says how many rows it leaves out.
template <typename Row, typename AddRow>
void add_rows(Html& page, const std::vector<Row>& rows, const AddRow& add_row) {
  const std::size_t shown = std::min(rows.size(), kMaxPageRows);
  for (std::size_t i = 0; i < shown; ++i) add_row(rows[i]);
  page.markup("</tbody>\n</table></div>\n");
  if (shown == rows.size()) return;
  page.markup("<p class=\"quiet\">").number(rows.size() - shown).markup(" more are not shown: ");
  page.markup("see <a href=\"/status\">/status</a>.</p>\n");
}

void add_head(Html& page, const Status& status, std::string_view nonce) {
  page.markup(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"refresh\" content=\"");
  page.number(kPageRefresh.count()).markup("\">\n<title>starttls-proxy: ");
  page.text(overall(status)).markup("</title>\n<link rel=\"icon\" href=\"data:,\">\n");
  page.markup("<style nonce=\"").text(nonce).markup("\">").constant(kStatusStyle);
  page.markup("</style>\n</head>\n<body>\n");
}

void add_header(Html& page, const Status& status) {
  page.markup("<header>\n<h1>starttls-proxy</h1>\n");
  const std::string_view state = overall(status);
  add_word(page, {state == "ready" ? "good" : state == "draining" ? "warn" : "bad", state});
  page.markup("\n<span class=\"quiet\">").text(status.version).markup(" on ").text(status.host);
  page.markup(", since ").text(date_text(status.started)).markup("</span>\n</header>\n");
  if (status.obstacles.empty() && status.last_reload_successful) return;
  page.markup("<div class=\"note\" role=\"alert\">\n");
  for (const auto& each : status.obstacles) {
    page.markup("<p>Not ready: ").text(each).markup("</p>\n");
  }
  if (!status.last_reload_successful) {
    page.markup("<p>The last reload has failed: the configuration of ");
    page.text(date_text(status.loaded)).markup(" is in use. The log has the reason.</p>\n");
  }
  page.markup("</div>\n");
}

void add_first_end(Html& page, const Status& status) {
  page.markup("<div><dt>First certificate to end</dt><dd>");
  if (status.certificates.empty()) {
    page.markup("none<small>no certificate is known</small>");
  } else {
    const auto& first = status.certificates.front();
    page.markup("<span class=\"").constant(tone_of(first.state)).markup("\">");
    page.text(left_of(first, status.now)).markup("</span><small>").text(first.name);
    page.markup("</small>");
  }
  page.markup("</dd></div>\n");
}

void add_tiles(Html& page, const Status& status) {
  const auto sessions = all_sessions(status);
  page.markup("<dl class=\"tiles\">\n<div><dt>Open sessions</dt><dd>").number(sessions.open);
  page.markup("<small>of ").number(status.services.size());
  page.constant(status.services.size() == 1 ? " service" : " services");
  page.markup("</small></dd></div>\n<div><dt>Ended sessions</dt><dd>").number(total(sessions));
  page.markup("<small>since the start</small></dd></div>\n<div><dt>Failed sessions</dt><dd>");
  page.number(failed(sessions)).markup("<small>");
  if (total(sessions) > 0) {
    page.number(100 * failed(sessions) / total(sessions)).markup(" % of the ended ones");
  } else {
    page.markup("none has ended");
  }
  page.markup("</small></dd></div>\n");
  add_first_end(page, status);
  page.markup("</dl>\n");
}

void add_service(Html& page, const ServiceStatus& service) {
  page.markup("<tr><td class=\"name\" data-label=\"Service\"><span>").text(service.name);
  page.markup("<small>").text(service.protocol).markup("</small></span></td>");
  page.markup("<td class=\"long\" data-label=\"Clients\"><span>");
  add_lines(page, service.listen, "");
  page.markup("<small>").text(words_of(service.downstream_tls)).markup("</small></span></td>");
  page.markup("<td class=\"long\" data-label=\"Server\"><span>");
  add_lines(page, service.servers, "the address that a client dialled");
  page.markup("<small>").text(words_of(service.upstream_tls));
  page.text(words_of_verification(service.verify)).markup("</small></span></td>");
  page.markup("<td class=\"count\" data-label=\"Open\">").number(service.sessions.open);
  page.markup("</td><td data-label=\"Ended\"><span>").number(total(service.sessions));
  page.markup("<small>").text(outcomes_of(service.sessions)).markup("</small></span></td>");
  page.markup("<td data-label=\"State\">");
  add_word(page, word_of(service.state));
  page.markup("</td></tr>\n");
}

void add_services(Html& page, const Status& status) {
  page.markup(
      "<h2>Services</h2>\n<div class=\"table\"><table>\n<thead><tr><th>Service</th>"
      "<th>Clients connect to</th><th>Server</th><th class=\"count\">Open</th><th>Ended</th>"
      "<th>State</th></tr></thead>\n<tbody>\n");
  add_rows(page, status.services, [&page](const auto& each) { add_service(page, each); });
}

void add_certificates(Html& page, const Status& status) {
  page.markup("<h2>Certificates</h2>\n");
  if (status.certificates.empty()) {
    page.markup("<p class=\"quiet\">None is configured, and no server has shown one yet.</p>\n");
    return;
  }
  page.markup(
      "<div class=\"table\"><table>\n<thead><tr><th>Certificate</th><th>Service</th><th>Ends</th>"
      "<th>Left</th></tr></thead>\n<tbody>\n");
  add_rows(page, status.certificates, [&](const CertificateStatus& each) {
    page.markup("<tr><td class=\"long\" data-label=\"Certificate\"><span>")
        .text(each.name)
        .markup("<small>");
    page.text(owner_of(each)).markup("</small></span></td><td data-label=\"Service\">");
    page.text(each.service).markup("</td><td class=\"time\" data-label=\"Ends\">");
    page.text(date_text(each.not_after)).markup("</td><td data-label=\"Left\">");
    add_word(page, {tone_of(each.state), left_of(each, status.now)});
    page.markup("</td></tr>\n");
  });
}

void add_failures(Html& page, const Status& status) {
  page.markup("<h2>Last failures</h2>\n");
  if (status.failures.empty()) {
    page.markup("<p class=\"quiet\">No session has failed since the start.</p>\n");
    return;
  }
  page.markup(
      "<div class=\"table\"><table>\n<thead><tr><th>Last time</th><th>Service</th><th>Outcome</th>"
      "<th>Reason</th><th class=\"count\">Times</th></tr></thead>\n<tbody>\n");
  add_rows(page, status.failures, [&page](const auto& each) {
    page.markup("<tr><td class=\"time\" data-label=\"Last time\"><span>").text(date_text(each.at));
    page.markup("<small>session ").text(each.last.session).markup("</small></span></td>");
    page.markup("<td data-label=\"Service\">").text(each.last.service);
    page.markup("</td><td data-label=\"Outcome\">").text(name(each.last.outcome));
    page.markup("</td><td class=\"long\" data-label=\"Reason\">").text(each.last.reason);
    page.markup("</td><td class=\"count\" data-label=\"Times\">").number(each.times);
    page.markup("</td></tr>\n");
  });
}

void add_footer(Html& page, const Status& status) {
  page.markup("<footer>\n<p>As of ").text(date_text(status.now)).markup(", loaded again every ");
  page.number(kPageRefresh.count())
      .markup(
          " s. For programs: <a href=\"/status\">/status</a>, <a href=\"/metrics\">/metrics</a>, "
          "<a href=\"/sessions\">/sessions</a>, <a href=\"/healthz\">/healthz</a>, "
          "<a href=\"/readyz\">/readyz</a>.</p>\n</footer>\n</body>\n</html>\n");
}

}  // namespace

AdminResponse status_page(const Status& status, std::string nonce) {
  Html page;
  add_head(page, status, nonce);
  add_header(page, status);
  page.markup("<main>\n");
  add_tiles(page, status);
  add_services(page, status);
  add_certificates(page, status);
  add_failures(page, status);
  page.markup("</main>\n");
  add_footer(page, status);
  return {.content = AdminResponse::Content::html,
          .body = page.take(),
          .style_nonce = std::move(nonce)};
}

}  // namespace starttls

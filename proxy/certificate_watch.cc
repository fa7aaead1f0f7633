#include "proxy/certificate_watch.h"

#include <algorithm>
#include <chrono>

namespace starttls {

void CertificateWatch::follow(const Services& services) {
  certificates_ = certificates_of(services);
  logged_.clear();
  look();
}

void CertificateWatch::look() {
  using std::chrono::milliseconds;
  const auto clock = std::chrono::system_clock::now();
  const UnixTime now = UnixTime::of(clock);
  for (std::size_t i = 0; i < certificates_.size(); ++i) {
    const auto& each = certificates_[i];
    for (const auto& finding : look_at(each, now)) {
      if (!logged_.emplace(i, finding.kind).second) continue;
      log_.write(finding.is_error() ? log::Level::error : log::Level::warn, "own certificate",
                 {{"service", each.service},
                  {"leg", name(each.side)},
                  {"reason", finding.sentence(each.file)}});
    }
  }
  const auto next = next_change(certificates_, now);
  if (!next) return;
  // The date may be in any year, so the wait is limited while it is in seconds.
  const auto wait = std::min<std::chrono::seconds>(next->since_1970 - now.since_1970, kLongestWait);
  const auto into_second =
      std::chrono::duration_cast<milliseconds>(clock.time_since_epoch()) - now.since_1970;
  timer_.start(milliseconds{wait} - into_second + milliseconds{1});
}

}  // namespace starttls

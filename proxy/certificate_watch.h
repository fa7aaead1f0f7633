#pragma once

#include <chrono>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "lib/base/log.h"
#include "lib/net/loop.h"
#include "lib/net/timer.h"
#include "proxy/certificates.h"

namespace starttls {

/// Logs what is wrong with our own certificates: at once, and at the moment when one ends or begins
/// to need renewal. Lives on the control loop's thread.
class CertificateWatch {
 public:
  CertificateWatch(net::Loop& loop, log::Logger& log)
      : log_(log), timer_(loop, [this] { look(); }) {}

  /// Watches these from now on, and logs again everything that is wrong with them.
  void follow(const Services& services);

 private:
  /// The longest wait: a timer ends late if the clock was set or the machine has slept.
  static constexpr std::chrono::minutes kLongestWait{1};

  void look();

  log::Logger& log_;
  net::Timer timer_;
  std::vector<CertificateInUse> certificates_;
  /// The findings that are logged already: the certificate's index and the kind.
  std::set<std::pair<std::size_t, CertificateFinding::Kind>> logged_;
};

}  // namespace starttls

#pragma once

// One query for a name, asked as the system is configured: hosts file, name servers, search
// domains. It uses c-ares and runs on a loop.
//
// Each query has a c-ares channel of its own, so it can be cancelled alone. It also reads the files
// as they are now, so a resolv.conf that a DHCP client has replaced needs no further care.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/net/loop.h"
#include "lib/net/name_outcome.h"

namespace starttls::net {

/// One query. Lives on its loop's thread. May be destroyed at any time there; nothing is reported
/// then.
class NameQuery {
 public:
  /// Time for all name servers, search domains and retries together.
  static constexpr std::chrono::seconds kDeadline{10};

  using OnDone = std::function<void(NameOutcome)>;

  /// `done` is called once, from `start` or from the loop.
  NameQuery(Loop& loop, std::string name, OnDone done);
  NameQuery(const NameQuery&) = delete;
  NameQuery& operator=(const NameQuery&) = delete;
  ~NameQuery();

  void start();

 private:
  class Channel;

  std::unique_ptr<Channel> channel_;
};

}  // namespace starttls::net

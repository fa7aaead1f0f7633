#pragma once

// One query for a name, asked as the system is configured: hosts file, name servers, search
// domains. It uses c-ares and runs on a loop.
//
// Each query has a c-ares channel of its own, so it can be cancelled alone. It also reads the files
// as they are now, so a resolv.conf that a DHCP client has replaced needs no further care.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/net/loop.h"
#include "lib/net/name_cache.h"

namespace starttls::net {

/// One query. Lives on its loop's thread. May be destroyed at any time there; nothing is reported
/// then.
class NameQuery {
 public:
  /// Time for all name servers, search domains and retries together.
  static constexpr std::chrono::seconds kDeadline{10};

  struct Outcome {
    enum class Kind : std::uint8_t {
      found,
      no_such_name,  ///< the name servers say that there is no such name, or no address
      failed,        ///< no answer, or no usable one
    };
    Kind kind = Kind::failed;
    Addresses addresses;         ///< found: not empty, in RFC 6724's order
    std::chrono::seconds ttl{};  ///< the smallest; 0 if it comes from a file
    std::string canonical;       ///< found: the name that the addresses belong to
    std::string words;           ///< otherwise: c-ares's text
  };
  using OnDone = std::function<void(Outcome)>;

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

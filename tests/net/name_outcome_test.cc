#include "lib/net/name_outcome.h"

#include <deque>
#include <string>

#include <ares.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/support/catch.h"

using namespace starttls::net;
using namespace std::chrono_literals;

namespace {

using Kind = NameOutcome::Kind;

/// An answer as c-ares hands it over.
class Answer {
 public:
  Answer& alias(const std::string& from, const std::string& to, int ttl) {
    std::string& alias = text_.emplace_back(from);
    std::string& name = text_.emplace_back(to);
    auto& added = aliases_.emplace_back();
    added = {.ttl = ttl, .alias = alias.data(), .name = name.data(), .next = nullptr};
    if (aliases_.size() > 1) aliases_[aliases_.size() - 2].next = &added;
    found_.cnames = &aliases_.front();
    return *this;
  }

  Answer& address(const char* v4, int ttl) {
    auto& socket = sockets_.emplace_back();
    socket.sin_family = AF_INET;
    inet_pton(AF_INET, v4, &socket.sin_addr);
    auto& added = nodes_.emplace_back();
    added = {.ai_ttl = ttl,
             .ai_flags = 0,
             .ai_family = AF_INET,
             .ai_socktype = SOCK_STREAM,
             .ai_protocol = 0,
             .ai_addrlen = sizeof(sockaddr_in),
             .ai_addr = reinterpret_cast<sockaddr*>(&socket),
             .ai_next = nullptr};
    if (nodes_.size() > 1) nodes_[nodes_.size() - 2].ai_next = &added;
    found_.nodes = &nodes_.front();
    return *this;
  }

  [[nodiscard]] NameOutcome outcome() const { return name_outcome(ARES_SUCCESS, &found_); }

 private:
  // Elements of a deque stay at their addresses.
  std::deque<std::string> text_;
  std::deque<ares_addrinfo_cname> aliases_;
  std::deque<sockaddr_in> sockets_;
  std::deque<ares_addrinfo_node> nodes_;
  ares_addrinfo found_{};
};

}  // namespace

TEST_CASE("name outcome: the smallest TTL of the addresses counts", "[net]") {
  const auto outcome = Answer{}
                           .address("192.0.2.1", 300)
                           .address("192.0.2.2", 20)
                           .address("192.0.2.3", 60)
                           .outcome();
  CHECK(outcome.kind == Kind::found);
  CHECK(outcome.addresses.size() == 3);
  CHECK(outcome.ttl == 20s);
}

TEST_CASE("name outcome: R1: the TTL of an alias counts too", "[net][R1]") {
  const auto outcome = Answer{}
                           .alias("mail.test", "blue.test", 7)
                           .alias("blue.test", "host.test", 600)
                           .address("192.0.2.1", 300)
                           .outcome();
  CHECK(outcome.ttl == 7s);
  CHECK(outcome.canonical == "host.test");
}

TEST_CASE("name outcome: a TTL beyond 31 bits counts as 0", "[net]") {
  CHECK(Answer{}.address("192.0.2.1", -1).address("192.0.2.2", 300).outcome().ttl == 0s);
  CHECK(Answer{}.alias("mail.test", "host.test", -1).address("192.0.2.1", 300).outcome().ttl == 0s);
}

TEST_CASE("name outcome: only an answer of the name servers says that there is no such name",
          "[net]") {
  CHECK(Answer{}.outcome().kind == Kind::no_such_name);
  for (const int status : {ARES_ENOTFOUND, ARES_ENODATA, ARES_EBADNAME}) {
    CHECK(name_outcome(status, nullptr).kind == Kind::no_such_name);
  }
  for (const int status : {ARES_ESERVFAIL, ARES_ECONNREFUSED, ARES_ETIMEOUT, ARES_ECANCELLED,
                           ARES_EBADRESP, ARES_ENOMEM}) {
    const auto outcome = name_outcome(status, nullptr);
    CHECK(outcome.kind == Kind::failed);
    CHECK_FALSE(outcome.words.empty());
  }
}

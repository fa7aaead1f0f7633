#include "lib/session/upstream/loop_guard.h"

#include <optional>

#include "tests/support/catch.h"

using namespace starttls;
using session::LoopGuard;
using End = session::LoopGuard::End;

namespace {

net::SocketAddress at(const std::string& host, std::uint16_t port) {
  return *net::parse_ip(host, port);
}

}  // namespace

TEST_CASE("loop guard: whichever end is noted second finds the first", "[session][security]") {
  const auto order =
      GENERATE(std::pair{End::accepted, End::made}, std::pair{End::made, End::accepted});
  const auto ours = GENERATE(std::string{"192.0.2.1"}, std::string{"2001:db8::1"});
  LoopGuard guard;
  const auto server = at(ours == "192.0.2.1" ? "203.0.113.1" : "2001:db8::2", 25);
  const auto first = guard.note(order.first, at(ours, 40000), server);
  CHECK_FALSE(first.is_loop());
  const auto second = guard.note(order.second, at(ours, 40000), server);
  CHECK(second.is_loop());
}

TEST_CASE("loop guard: other connections are not matched", "[session]") {
  LoopGuard guard;
  const auto server = at("203.0.113.1", 25);
  const auto made = guard.note(End::made, at("192.0.2.1", 40000), server);
  CHECK_FALSE(guard.note(End::made, at("192.0.2.1", 40000), server).is_loop());
  CHECK_FALSE(guard.note(End::accepted, at("192.0.2.1", 40001), server).is_loop());
  CHECK_FALSE(guard.note(End::accepted, at("192.0.2.2", 40000), server).is_loop());
  CHECK_FALSE(guard.note(End::accepted, at("192.0.2.1", 40000), at("203.0.113.1", 587)).is_loop());
  CHECK_FALSE(guard.note(End::accepted, at("192.0.2.1", 40000), at("203.0.113.2", 25)).is_loop());
  CHECK(guard.note(End::accepted, at("::ffff:192.0.2.1", 40000), server).is_loop());
}

TEST_CASE("loop guard: an ended connection is forgotten, also one that was moved", "[session]") {
  LoopGuard guard;
  const auto client = at("192.0.2.1", 40000);
  const auto server = at("203.0.113.1", 25);
  std::optional<LoopGuard::Entry> holder;
  {
    auto made = guard.note(End::made, client, server);
    LoopGuard::Entry moved = std::move(made);
    holder = std::move(moved);
  }
  CHECK(guard.note(End::accepted, client, server).is_loop());
  holder.reset();
  CHECK_FALSE(guard.note(End::accepted, client, server).is_loop());
  CHECK_FALSE(guard.note(End::accepted, net::SocketAddress{}, server).is_loop());
}

TEST_CASE("loop guard: it knows the proxy's own ports", "[session]") {
  LoopGuard guard;
  CHECK_FALSE(guard.listens_on(25));
  guard.set_ports({25, 143});
  CHECK(guard.listens_on(143));
  guard.set_ports({143});
  CHECK_FALSE(guard.listens_on(25));
}

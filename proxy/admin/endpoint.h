#pragma once

// The admin endpoint: a small HTTP server on the control loop.
//
// Theory of operation.
//
// Each connection is one request (AdminRequest) and one answer, and then it is closed. Another
// class makes the answer, at once or, if workers must be asked, later. Nothing here delays mail,
// because it runs on the control loop's thread. Connections are few. Each has a deadline for its
// request, and another one for reading the answer. If all places are taken, the oldest connection
// is closed. So a client that opens many connections and sends nothing keeps no other client out.
//
// After the answer, the endpoint sends FIN and waits a while for the peer's FIN. Closing with bytes
// unread would send RST, and the answer would be lost on its way.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/listener.h"
#include "lib/net/loop.h"
#include "lib/net/timer.h"
#include "proxy/admin/http.h"
#include "proxy/binding.h"

namespace starttls {

/// Lives on the control loop's thread.
class AdminEndpoint {
 public:
  static constexpr std::size_t kMaxConnections = 32;
  /// The time from accept until the request is complete.
  static constexpr std::chrono::seconds kRequestTime{5};
  /// The time for the peer to read the answer, and to close.
  static constexpr std::chrono::seconds kAnswerTime{5};

  using Reply = std::function<void(AdminResponse)>;
  /// Makes a page: calls `reply` once, from inside this call or later, even if the connection has
  /// ended meanwhile.
  using MakePage = std::function<void(AdminPage page, Reply reply)>;

  AdminEndpoint(net::Loop& loop, log::Logger& log, MakePage make_page);
  AdminEndpoint(const AdminEndpoint&) = delete;
  AdminEndpoint& operator=(const AdminEndpoint&) = delete;
  ~AdminEndpoint();

  /// A change of the listener: a new address is bound, but nothing else has changed yet.
  struct Plan {
    std::optional<Address> address;
    std::optional<Binding> binding;           ///< nothing: the present listener stays
    std::unique_ptr<net::Listener> listener;  ///< from `listen` on

    [[nodiscard]] net::Takeover* takeover() noexcept {
      return binding && binding->takeover ? &*binding->takeover : nullptr;
    }
    [[nodiscard]] const net::Takeover* takeover() const noexcept {
      return binding && binding->takeover ? &*binding->takeover : nullptr;
    }
  };
  /// Plans to listen at `address` (nothing: nowhere). Binds it if it is new, for `owner`, and
  /// changes nothing else. `own_ports` are those of the services. Errors: system, with the address.
  [[nodiscard]] Result<Plan> plan(const std::optional<Address>& address,
                                  const std::optional<net::Owner>& owner,
                                  std::vector<std::uint16_t> own_ports) const;
  /// Listens on the socket that the plan has bound, beside the present one. After this nothing of
  /// the plan can fail, except its takeover. Errors: system.
  [[nodiscard]] Result<> listen(Plan& plan);
  /// Carries out a plan that listens; connections stay.
  void commit(Plan plan);
  /// Prepares for the end of this process: closes the listener as soon as another process shares
  /// the port. Otherwise each process would answer half of the requests, with its own counters and
  /// readiness.
  void on_draining();

 private:
  class Connection;

  /// How often we look for another process while we drain.
  static constexpr std::chrono::seconds kLook{1};

  [[nodiscard]] AdminHosts hosts() const noexcept;
  void on_connection(net::Stream::Ptr stream);
  void give_way();
  void on_request(Connection& connection);
  void answer(std::uint64_t id, const AdminResponse& response);
  void drop(std::uint64_t id);

  net::Loop& loop_;
  log::Logger& log_;
  MakePage make_page_;
  std::optional<Address> address_;  // as configured
  std::unique_ptr<net::Listener> listener_;
  net::Timer look_;
  net::Timer last_call_;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;  // the oldest first
  std::uint64_t next_id_ = 0;
};

}  // namespace starttls

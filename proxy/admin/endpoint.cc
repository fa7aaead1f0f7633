#include "proxy/admin/endpoint.h"

#include <string>
#include <string_view>
#include <utility>

#include "lib/config/config.h"
#include "lib/net/stream.h"

namespace starttls {

class AdminEndpoint::Connection final : net::StreamEvents {
 public:
  Connection(AdminEndpoint& server, std::uint64_t id, net::Stream::Ptr stream)
      : server_(server),
        id_(id),
        stream_(std::move(stream)),
        deadline_(server.loop_, [this] { server_.drop(id_); }),
        request_(server.hosts()) {
    stream_->set_events(this);
    deadline_.start(kRequestTime);
    stream_->start_reading(kRead);
  }

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] const AdminRequest& request() const noexcept { return request_; }

  void answer(const AdminResponse& response) {
    const std::string wire = to_wire(response, request_.wants_body());
    deadline_.start(kAnswerTime);
    answered_ = true;
    stream_->write(std::as_bytes(std::span{wire}));
    stream_->shutdown_write();
    drop_if_done();
  }

 private:
  static constexpr std::size_t kRead = 4096;

  void on_stream_data(std::span<std::byte> bytes) override {
    if (decided_) return;  // bytes after the request are ignored
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    if (!request_.feed(text)) return;
    decided_ = true;
    server_.on_request(*this);
  }
  void on_stream_end(const Error* error) override {
    // A peer that has asked and closed its half of the connection still wants its answer.
    peer_ended_ = true;
    if (error != nullptr || !decided_) {
      server_.drop(id_);
    } else {
      drop_if_done();
    }
  }
  void on_stream_drained() override { drop_if_done(); }
  void on_stream_write_failed(Error) override { server_.drop(id_); }

  void drop_if_done() {
    if (answered_ && peer_ended_ && stream_->queued() == 0) server_.drop(id_);
  }

  AdminEndpoint& server_;
  std::uint64_t id_;
  net::Stream::Ptr stream_;
  net::Timer deadline_;
  AdminRequest request_;
  bool decided_ = false;
  bool answered_ = false;
  bool peer_ended_ = false;
};

AdminEndpoint::AdminEndpoint(net::Loop& loop, log::Logger& log, MakePage make_page)
    : loop_(loop),
      log_(log),
      make_page_(std::move(make_page)),
      look_(loop, [this] { on_draining(); }),
      last_call_(loop, [this] { give_way(); }) {}

AdminEndpoint::~AdminEndpoint() = default;

Result<AdminEndpoint::Plan> AdminEndpoint::plan(const std::optional<Address>& address,
                                                const std::optional<net::Owner>& owner,
                                                std::vector<std::uint16_t> own_ports) const {
  Plan plan;
  plan.address = address;
  if (!address || address == address_) return plan;
  if (address_) own_ports.push_back(address_->port);
  auto binding =
      bind_address({.address = *address, .owner = owner, .own_ports = std::move(own_ports)});
  if (!binding) return fail(std::move(binding.error()));
  plan.binding.emplace(std::move(*binding));
  return plan;
}

Result<> AdminEndpoint::listen(Plan& plan) {
  if (!plan.binding) return {};
  plan.listener = std::make_unique<net::Listener>(
      loop_, plan.address->is_unix() ? net::Stream::Kind::unix_socket : net::Stream::Kind::tcp,
      [this](net::Listener::Connection client) { on_connection(std::move(client.stream)); });
  return plan.listener->open(std::move(plan.binding->sockets.front()));
}

void AdminEndpoint::commit(Plan plan) {
  if (plan.address == address_) return;
  address_ = std::move(plan.address);
  listener_ = std::move(plan.listener);
  if (listener_ == nullptr) {
    log_.info("admin closed", {});
    return;
  }
  const auto& binding = *plan.binding;
  log_.info("admin listening", {{"address", binding.name}});
  if (!binding.warning.empty()) log_.warn(binding.warning, {{"address", binding.name}});
}

/// Returns the names under which the listener answers: on loopback, only literal addresses. A
/// browser on this machine can reach loopback, and may send a request in the name of a web page
/// (S4). It cannot reach a unix socket.
AdminHosts AdminEndpoint::hosts() const noexcept {
  const bool is_loopback = address_ && !address_->is_unix() && config::is_local(*address_);
  return is_loopback ? AdminHosts::literals : AdminHosts::any;
}

void AdminEndpoint::on_draining() {
  // A unix socket's path leads to one process anyway.
  if (listener_ == nullptr || address_->is_unix()) return;
  if (!listener_->is_shared()) {
    look_.start(kLook);
    return;
  }
  // If the kernel cannot let handshakes that have begun finish, some are reset. Clients of this
  // endpoint ask again.
  last_call_.start(listener_->begin_end().patience);
}

void AdminEndpoint::give_way() {
  listener_->accept_queued();
  listener_.reset();
  log_.info("admin closed: another process answers", {});
}

void AdminEndpoint::on_connection(net::Stream::Ptr stream) {
  // This is a call of the listener and not of a connection, so a connection may be destroyed.
  if (connections_.size() >= kMaxConnections) connections_.erase(connections_.begin());
  const std::uint64_t id = next_id_++;
  connections_.emplace(id, std::make_unique<Connection>(*this, id, std::move(stream)));
}

void AdminEndpoint::on_request(Connection& connection) {
  const auto& request = connection.request();
  if (request.status() != HttpStatus::ok) {
    connection.answer(refusal(request.status()));
    return;
  }
  make_page_(request.page(),
             [this, id = connection.id()](const AdminResponse& response) { answer(id, response); });
}

void AdminEndpoint::answer(std::uint64_t id, const AdminResponse& response) {
  if (const auto found = connections_.find(id); found != connections_.end()) {
    found->second->answer(response);
  }
}

/// Destroys the connection later, because it may be in the middle of its own call.
void AdminEndpoint::drop(std::uint64_t id) {
  loop_.defer([this, id] { connections_.erase(id); });
}

}  // namespace starttls

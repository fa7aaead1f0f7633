// plain_relay LISTEN_ADDRESS PORT UPSTREAM_ADDRESS PORT
//
// The limit for any proxy: the simplest competent relay over libuv. It has no TLS and sends nothing
// of its own. It reads large pieces into one slab and tries the write at once. While a rest waits
// to be written, it does not read.

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <uv.h>

namespace {

constexpr std::size_t kSlab = 256UL * 1024;
constexpr int kBacklog = 1024;

char slab[kSlab];  // there is one thread, and it uses the slab only inside the read callback
sockaddr_in upstream_address;

struct Relay;

/// One of the two connections of a relay.
struct Side {
  uv_tcp_t tcp;
  uv_write_t write;
  uv_shutdown_t shutdown;
  std::string tail;  // the bytes that the kernel did not take; uv_write reads them until it is done
  Relay* relay = nullptr;
  Side* other = nullptr;
  bool ended = false;     // its FIN was seen
  bool fin_sent = false;  // the other's FIN was passed on to it
};

struct Relay {
  Side client;
  Side server;
  uv_connect_t connect;
  int handles = 2;
};

Side& side_of(uv_handle_t* handle) {
  return *static_cast<Side*>(handle->data);
}

void close(Relay& relay) {
  for (Side* side : {&relay.client, &relay.server}) {
    auto* handle = reinterpret_cast<uv_handle_t*>(&side->tcp);
    if (uv_is_closing(handle) != 0) continue;
    uv_close(handle, [](uv_handle_t* closed) {
      Relay* relay_of_it = side_of(closed).relay;
      if (--relay_of_it->handles == 0) delete relay_of_it;
    });
  }
}

void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer);

void read(Side& side) {
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&side.tcp),
      [](uv_handle_t*, std::size_t, uv_buf_t* buffer) { *buffer = uv_buf_init(slab, kSlab); },
      on_read);
}

void on_written(uv_write_t* request, int status) {
  if (status == UV_ECANCELED) return;
  Side& side = side_of(reinterpret_cast<uv_handle_t*>(request->handle));
  if (status != 0) {
    close(*side.relay);
  } else if (!side.other->ended) {
    read(*side.other);
  }
}

void write(Side& side, const char* data, std::size_t size) {
  auto* stream = reinterpret_cast<uv_stream_t*>(&side.tcp);
  uv_buf_t buffer = uv_buf_init(const_cast<char*>(data), static_cast<unsigned>(size));
  const int written = uv_try_write(stream, &buffer, 1);
  if (written < 0 && written != UV_EAGAIN) {
    close(*side.relay);
    return;
  }
  const std::size_t taken = written < 0 ? 0 : static_cast<std::size_t>(written);
  if (taken == size) return;
  uv_read_stop(reinterpret_cast<uv_stream_t*>(&side.other->tcp));
  side.tail.assign(data + taken, size - taken);
  buffer = uv_buf_init(side.tail.data(), static_cast<unsigned>(side.tail.size()));
  if (uv_write(&side.write, stream, &buffer, 1, on_written) != 0) close(*side.relay);
}

void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
  Side& side = side_of(reinterpret_cast<uv_handle_t*>(stream));
  if (count > 0) {
    write(*side.other, buffer->base, static_cast<std::size_t>(count));
  } else if (count == UV_EOF) {
    side.ended = true;
    uv_read_stop(stream);
    auto* other = reinterpret_cast<uv_stream_t*>(&side.other->tcp);
    // The FIN goes out after the bytes that still wait: libuv keeps the order.
    uv_shutdown(&side.other->shutdown, other, [](uv_shutdown_t* request, int status) {
      if (status == UV_ECANCELED) return;
      Side& done = side_of(reinterpret_cast<uv_handle_t*>(request->handle));
      done.fin_sent = true;
      if (status != 0 || done.other->fin_sent) close(*done.relay);
    });
  } else if (count < 0) {
    close(*side.relay);
  }
}

void on_client(uv_stream_t* listener, int status) {
  if (status != 0) return;
  auto* relay = new Relay;
  relay->client.other = &relay->server;
  relay->server.other = &relay->client;
  for (Side* side : {&relay->client, &relay->server}) {
    side->relay = relay;
    uv_tcp_init(listener->loop, &side->tcp);
    side->tcp.data = side;
  }
  uv_accept(listener, reinterpret_cast<uv_stream_t*>(&relay->client.tcp));
  uv_tcp_nodelay(&relay->client.tcp, 1);
  const int started = uv_tcp_connect(
      &relay->connect, &relay->server.tcp, reinterpret_cast<const sockaddr*>(&upstream_address),
      [](uv_connect_t* request, int result) {
        if (result == UV_ECANCELED) return;
        Side& server = side_of(reinterpret_cast<uv_handle_t*>(request->handle));
        if (result != 0) {
          close(*server.relay);
          return;
        }
        uv_tcp_nodelay(&server.tcp, 1);
        read(server);
        read(*server.other);
      });
  if (started != 0) close(*relay);
}

int failed(const char* what, int status) {
  std::fprintf(stderr, "plain_relay: %s: %s\n", what, uv_strerror(status));
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  sockaddr_in listen_address;
  if (argc != 5 || uv_ip4_addr(argv[1], std::atoi(argv[2]), &listen_address) != 0 ||
      uv_ip4_addr(argv[3], std::atoi(argv[4]), &upstream_address) != 0) {
    std::fputs("usage: plain_relay LISTEN_ADDRESS PORT UPSTREAM_ADDRESS PORT\n", stderr);
    return EXIT_FAILURE;
  }
  std::signal(SIGPIPE, SIG_IGN);
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener;
  uv_tcp_init(loop, &listener);
  int status = uv_tcp_bind(&listener, reinterpret_cast<const sockaddr*>(&listen_address), 0);
  if (status != 0) return failed("bind", status);
  status = uv_listen(reinterpret_cast<uv_stream_t*>(&listener), kBacklog, on_client);
  if (status != 0) return failed("listen", status);
  int size = sizeof(listen_address);
  uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&listen_address), &size);
  std::array<char, 64> name{};
  uv_ip4_name(&listen_address, name.data(), name.size());
  std::printf("listening %s:%d\n", name.data(), ntohs(listen_address.sin_port));
  std::fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);  // until a signal ends it
}

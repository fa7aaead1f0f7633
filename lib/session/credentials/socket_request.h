#pragma once

// Asks a unix socket for the secret of an account: writes the account and LF, and reads one line.

#include <chrono>
#include <functional>
#include <string>

#include "lib/net/connector.h"
#include "lib/net/stream.h"
#include "lib/net/timer.h"
#include "lib/session/credentials/secret_answer.h"

namespace starttls::session {

/// One request. May be destroyed at any time on the loop's thread, also from inside its callback;
/// nothing is reported then.
class SocketRequest final : net::StreamEvents {
 public:
  struct Question {
    std::string socket;
    std::string user;
    bool token = false;
    std::chrono::milliseconds timeout{};
  };
  using OnAnswer = std::function<void(SecretAnswer)>;

  /// Begins. `on_answer` is called once, from the loop.
  SocketRequest(net::Loop& loop, net::Resolver& resolver, Question question, OnAnswer on_answer);
  SocketRequest(const SocketRequest&) = delete;
  SocketRequest& operator=(const SocketRequest&) = delete;
  ~SocketRequest();

 private:
  void on_connected(Result<net::Connector::Connected> connected);
  void on_stream_data(std::span<std::byte> bytes) override;
  void on_stream_end(const Error* error) override;
  void on_stream_drained() override {}
  void on_stream_write_failed(Error error) override;
  void fail_with(const Error& error);
  void finish(SecretAnswer answer);

  Question question_;
  OnAnswer on_answer_;
  std::string text_;
  net::Timer deadline_;
  net::Connector connector_;
  net::Stream::Ptr stream_;
};

}  // namespace starttls::session

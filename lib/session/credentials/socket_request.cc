#include "lib/session/credentials/socket_request.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "lib/base/address.h"

namespace starttls::session {
namespace {

Address address_of(const std::string& socket) {
  Address address;
  address.path = socket;
  return address;
}

}  // namespace

SocketRequest::SocketRequest(net::Loop& loop, net::Resolver& resolver, Question question,
                             OnAnswer on_answer)
    : question_(std::move(question)),
      on_answer_(std::move(on_answer)),
      deadline_(loop, [this] { finish(too_late()); }),
      connector_(
          loop, resolver, address_of(question_.socket), question_.timeout,
          [this](Result<net::Connector::Connected> done) { on_connected(std::move(done)); }) {
  // A text that grows would leave copies of the secret in memory.
  text_.reserve(kMaxAnswer);
  deadline_.start(question_.timeout);
  connector_.start();
}

SocketRequest::~SocketRequest() {
  wipe(text_);
}

void SocketRequest::on_connected(Result<net::Connector::Connected> connected) {
  if (!connected) {
    fail_with(connected.error());
    return;
  }
  stream_ = std::move(connected->stream);
  stream_->set_events(this);
  stream_->start_reading(kMaxAnswer);
  const std::string line = question_.user + "\n";
  stream_->write(std::as_bytes(std::span{line}));
}

void SocketRequest::on_stream_data(std::span<std::byte> bytes) {
  const std::span text{reinterpret_cast<char*>(bytes.data()), bytes.size()};
  text_.append(text.data(), std::min(text.size(), kMaxAnswer - text_.size()));
  wipe(text);
  if (text_.find('\n') == std::string::npos && text_.size() < kMaxAnswer) return;
  finish(secret_in(text_, false, question_.token));
}

void SocketRequest::on_stream_end(const Error* error) {
  if (error != nullptr) {
    fail_with(*error);
  } else {
    finish(secret_in(text_, true, question_.token));
  }
}

/// The answer may be there although the other side has not read the question to its end. Its own
/// end is reported in any case.
void SocketRequest::on_stream_write_failed(Error) {}

void SocketRequest::fail_with(const Error& error) {
  if (error.code == Errc::timeout) {
    finish(too_late());
    return;
  }
  const auto& words = error.evidence.empty() ? error.reason : error.evidence;
  finish(NoSecret{metrics::SecretFailure::unreachable,
                  Error{Errc::login, "the socket of the secret does not answer",
                        question_.socket + ": " + words}});
}

void SocketRequest::finish(SecretAnswer answer) {
  deadline_.stop();
  stream_.reset();
  const auto on_answer = std::move(on_answer_);  // it may destroy us
  on_answer(std::move(answer));
}

}  // namespace starttls::session

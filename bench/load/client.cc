#include "bench/load/client.h"

#include <algorithm>

#include "tools/mail_server/pattern.h"

namespace starttls::bench {
namespace {

constexpr std::size_t kMaxLine = 4096;
/// A message up to this size goes out in one piece with its end.
constexpr std::size_t kSmall = 64UL * 1024;

}  // namespace

void Client::open() {
  if (target_.tls == TlsMode::implicit) connection_.start_tls();
  greeting();
  if (target_.tls == TlsMode::starttls) {
    ask_for_tls();
    if (!unread_.empty()) throw Failure("bytes behind the go-ahead: " + unread_);
    connection_.start_tls();
  }
  introduce();
}

void Client::fetch(std::uint64_t bytes) {
  ask_for(bytes);
  PatternCheck check;
  const auto take = [&](std::string_view piece) {
    const auto mine = piece.substr(0, std::min<std::uint64_t>(bytes - check.bytes(), piece.size()));
    check.take(mine);
    return piece.substr(mine.size());
  };
  unread_ = std::string(take(unread_));
  while (check.bytes() < bytes) {
    const auto piece = connection_.receive();
    if (piece.empty()) throw Failure("the connection ended too early");
    unread_ = take(piece);
  }
  if (!check.intact()) throw Failure("not what was sent has arrived");
}

void Client::quit() {
  say_goodbye();
  if (!unread_.empty() || !connection_.receive().empty()) {
    throw Failure("bytes behind the last reply");
  }
}

std::string Client::line() {
  for (;;) {
    const std::size_t end = unread_.find('\n');
    if (end != std::string::npos) {
      std::string found = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      if (found.ends_with('\r')) found.pop_back();
      return found;
    }
    if (unread_.size() > kMaxLine) throw Failure("a reply without end");
    const auto piece = connection_.receive();
    if (piece.empty()) throw Failure("the connection ended instead of a reply");
    unread_ += piece;
  }
}

std::string Client::expect(std::string_view beginning) {
  std::string heard = line();
  if (!heard.starts_with(beginning)) {
    throw Failure("wanted " + std::string(beginning) + ", heard " + heard);
  }
  return heard;
}

std::string Client::expect_last(std::string_view beginning) {
  constexpr int kMaxLines = 100;
  std::string heard = line();
  for (int i = 1; i < kMaxLines && !heard.starts_with(beginning); ++i) heard = line();
  if (!heard.starts_with(beginning)) throw Failure("wanted " + std::string(beginning));
  return heard;
}

void Client::say_pattern(std::uint64_t bytes, std::string_view end) {
  if (bytes <= kSmall) {
    say(std::string(pattern_at(0, bytes)).append(end));
    return;
  }
  for (std::uint64_t sent = 0; sent < bytes;) {
    const auto piece = pattern_at(sent, bytes - sent);
    say(piece);
    sent += piece.size();
  }
  say(end);
}

void Client::check_arrived(std::string_view answer, std::uint64_t bytes) {
  if (answer.find(std::to_string(bytes) + " bytes") == std::string_view::npos ||
      answer.find("pattern intact") == std::string_view::npos) {
    throw Failure("not what was sent has arrived: " + std::string(answer));
  }
}

}  // namespace starttls::bench

#include "token/progress.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace starttls::token {
namespace {

using std::chrono::seconds;

constexpr seconds kMinute{60};

bool is_terminal(int fd) {
  const char* const type = std::getenv("TERM");
  return ::isatty(fd) == 1 && type != nullptr && std::string_view{type} != "dumb";
}

bool has_colors(int fd) {
  const char* const no_color = std::getenv("NO_COLOR");  // set and not empty
  return is_terminal(fd) && (no_color == nullptr || *no_color == '\0');
}

}  // namespace

Progress::Progress(std::string what)
    : what_(std::move(what)), terminal_(is_terminal(STDERR_FILENO)) {}

Progress::~Progress() {
  if (terminal_ && shown_) std::fputs("\r\x1b[K", stderr);
}

void Progress::show(seconds since_start, seconds left) {
  if (terminal_) {
    constexpr std::string_view kTurns = "|/-\\";
    const char turn = kTurns[static_cast<std::size_t>(since_start.count()) % kTurns.size()];
    std::fprintf(stderr, "\r\x1b[K%c waiting for %s, %s left", turn, what_.c_str(),
                 duration_text(left).c_str());
    std::fflush(stderr);
  } else if (since_start >= next_) {
    next_ = since_start + kMinute;
    std::fprintf(stderr, "waiting for %s, %s left\n", what_.c_str(), duration_text(left).c_str());
  }
  shown_ = true;
}

std::string bold(const std::string& text) {
  return has_colors(STDOUT_FILENO) ? "\x1b[1m" + text + "\x1b[0m" : text;
}

std::string duration_text(seconds duration) {
  auto rest = std::to_string((duration % kMinute).count()) + " s";
  if (duration < kMinute) return rest;
  return std::to_string(duration / kMinute) + " min " + rest;
}

}  // namespace starttls::token

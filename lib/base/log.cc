#include "lib/base/log.h"

#include <chrono>
#include <iterator>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "lib/base/ascii.h"
#include "lib/base/utc.h"

namespace starttls::log {
namespace {

constexpr std::string_view kLevelNames[] = {"error", "warn", "info", "debug"};
constexpr std::string_view kPriorities[] = {"<3>", "<4>", "<6>", "<7>"};  // syslog(3)

/// Keeps a line readable. A peer can make a value as long as it likes.
constexpr std::size_t kMaxValue = 1000;

void append_json_string(fmt::memory_buffer& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text.substr(0, kMaxValue)) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (ascii::is_printable(c)) {
      out.push_back(c);
    } else {
      // Bytes, not code points: the peer's text need not be UTF-8.
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > kMaxValue) out.append(std::string_view{"..."});
  out.push_back('"');
}

bool needs_quotes(std::string_view text) {
  if (text.empty() || text.size() > kMaxValue) return true;
  for (const char c : text) {
    if (!ascii::is_printable(c) || c == ' ' || c == '"' || c == '=' || c == '\\') return true;
  }
  return false;
}

void append_text_value(fmt::memory_buffer& out, std::string_view text) {
  if (!needs_quotes(text)) {
    out.append(text);
    return;
  }
  fmt::format_to(std::back_inserter(out), "\"{}\"", ascii::escape(text, kMaxValue));
}

void append_value(fmt::memory_buffer& out, Format format, const Field::Value& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    if (format == Format::json) {
      append_json_string(out, *text);
    } else {
      append_text_value(out, *text);
    }
  } else if (const auto* number = std::get_if<std::uint64_t>(&value)) {
    fmt::format_to(std::back_inserter(out), "{}", *number);
  } else if (const auto* real = std::get_if<double>(&value)) {
    fmt::format_to(std::back_inserter(out), "{:.3f}", *real);
  } else {
    fmt::format_to(std::back_inserter(out), "{}", std::get<bool>(value));
  }
}

void append_text_fields(fmt::memory_buffer& out, Level level, std::string_view message,
                        std::span<const Field> fields) {
  fmt::format_to(std::back_inserter(out),
                 "level={} msg=", kLevelNames[static_cast<std::size_t>(level)]);
  append_text_value(out, message);
  for (const auto& field : fields) {
    fmt::format_to(std::back_inserter(out), " {}=", field.key);
    append_value(out, Format::text, field.value);
  }
  out.push_back('\n');
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{}.{:03}Z", utc(UnixTime::of(now), "%Y-%m-%dT%H:%M:%S"), ms);
}

}  // namespace

std::string format_line(Format format, std::string_view time, Level level, std::string_view message,
                        std::span<const Field> fields) {
  fmt::memory_buffer out;
  if (format == Format::json) {
    fmt::format_to(std::back_inserter(out), R"({{"time":"{}","level":"{}","msg":)", time,
                   kLevelNames[static_cast<std::size_t>(level)]);
    append_json_string(out, message);
    for (const auto& field : fields) {
      fmt::format_to(std::back_inserter(out), R"(,"{}":)", field.key);
      append_value(out, format, field.value);
    }
    out.append(std::string_view{"}\n"});
  } else {
    fmt::format_to(std::back_inserter(out), "{} ", time);
    append_text_fields(out, level, message, fields);
  }
  return fmt::to_string(out);
}

std::string format_journal_line(Level level, std::string_view message,
                                std::span<const Field> fields) {
  fmt::memory_buffer out;
  out.append(kPriorities[static_cast<std::size_t>(level)]);
  append_text_fields(out, level, message, fields);
  return fmt::to_string(out);
}

std::string Logger::line(Level level, std::string_view message,
                         std::span<const Field> fields) const {
  const Format format = format_;
  if (format == Format::text && to_journal_) return format_journal_line(level, message, fields);
  return format_line(format, timestamp(), level, message, fields);
}

Result<> Logger::open(const std::string& file) {
  const std::lock_guard lock(mutex_);
  auto opened = sink_.open(file);
  to_journal_ = sink_.to_journal();
  return opened;
}

void Logger::write(Level level, std::string_view message, std::span<const Field> fields) {
  if (!enabled(level)) return;
  const std::string text = line(level, message, fields);
  const std::lock_guard lock(mutex_);
  put(text);
}

void Logger::fault(Level level, Fault fault, std::span<const Field> fields) {
  if (!enabled(level)) return;
  const std::string message = fault.message;
  if (!enabled(Level::debug)) {
    const std::lock_guard lock(mutex_);
    if (!repeats_.admit(std::move(fault), Repeats::Clock::now())) return;
  }
  write(level, message, fields);
}

bool Logger::tick() {
  const std::lock_guard lock(mutex_);
  report_repeats(false);
  if (sink_.flush()) report_loss();
  return sink_.waiting() == 0;
}

void Logger::settle() {
  const std::lock_guard lock(mutex_);
  report_repeats(true);
  report_loss();
}

void Logger::finish(std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kPoll{5};
  const auto end = std::chrono::steady_clock::now() + patience;
  const std::lock_guard lock(mutex_);
  report_repeats(true);
  report_loss();
  while (!sink_.flush() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(kPoll);
  }
}

bool Logger::last_words(std::string_view message, std::string_view reason) noexcept {
  constexpr std::chrono::milliseconds kPatience{100};
  try {
    const Field fields[] = {{"reason", reason}};
    const std::string text = line(Level::error, message, fields);
    const std::unique_lock lock(mutex_, kPatience);
    if (!lock.owns_lock()) return false;
    return sink_.write(text) && sink_.flush();
  } catch (...) {  // there is no memory for a line
    return false;
  }
}

/// Writes a line or counts it as lost. The caller holds the lock, as in all functions below.
void Logger::put(std::string_view line) {
  if (sink_.flush()) report_loss();
  if (sink_.write(line)) return;
  ++untold_losses_;
  ++lost_lines_;
}

void Logger::report_repeats(bool everything) {
  for (const auto& [fault, times] : repeats_.take(Repeats::Clock::now(), everything)) {
    const Field fields[] = {{"of", fault.message},  {"service", fault.service}, {"leg", fault.leg},
                            {"error", fault.error}, {"reason", fault.reason},   {"times", times}};
    put(line(Level::warn, "repeated", fields));
  }
}

void Logger::report_loss() {
  if (untold_losses_ == 0) return;
  const Field fields[] = {{"lines", untold_losses_}};
  if (sink_.write(line(Level::warn, "log lines are lost", fields))) untold_losses_ = 0;
}

}  // namespace starttls::log

#include "proxy/launcher/program_output.h"

#include <algorithm>

#include "lib/base/ascii.h"
#include "lib/base/secret.h"

namespace starttls::launcher {
namespace {

/// The most of a line of standard error that is kept.
constexpr std::size_t kMaxLine = 300;
/// The shortest run of characters that may be a token. Words and paths are cut by other characters.
constexpr std::size_t kTokenRun = 24;
/// The shortest word that is looked for in the output, where a secret would be.
constexpr std::size_t kSecretWord = 6;

bool is_token_character(char c) noexcept {
  return ascii::is_alphanumeric(c) || c == '-' || c == '_' || c == '+';
}

bool is_space(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '"' || c == '\'';
}

std::string how_it_ended(ProgramEnd end) {
  switch (end.kind) {
    case ProgramEnd::Kind::exited:
      return "exit status " + std::to_string(end.number);
    case ProgramEnd::Kind::killed:
      return "ended by signal " + std::to_string(end.number);
    case ProgramEnd::Kind::too_late:
      return "did not end in time";
  }
  return {};
}

}  // namespace

bool looks_like_token(std::string_view line) noexcept {
  std::size_t run = 0;
  bool is_name = true;  // of a program or a file: no token is that long without any of the others
  for (const char c : line) {
    run = is_token_character(c) ? run + 1 : 0;
    is_name = (run <= 1 || is_name) && !(c >= 'A' && c <= 'Z') && !ascii::is_digit(c);
    if (run >= kTokenRun && !is_name) return true;
  }
  constexpr std::string_view kBearer = "Bearer ";
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (ascii::istarts_with(line.substr(i), kBearer)) return true;
  }
  return line.find("eyJ") != std::string_view::npos;  // '{"' in base64: the beginning of a JWT
}

ProgramOutput::ProgramOutput() {
  output_.reserve(kMaxOutput);
  line_.reserve(kMaxLine);
  last_line_.reserve(kMaxLine);
}

ProgramOutput::~ProgramOutput() {
  for (auto* text : {&output_, &line_, &last_line_}) wipe(*text);
}

void ProgramOutput::add_output(std::string_view bytes) {
  const auto room = kMaxOutput - output_.size();
  if (bytes.size() > room) whole_ = false;
  output_ += bytes.substr(0, room);
}

void ProgramOutput::add_error(std::string_view bytes) {
  for (const char c : bytes) {
    if (c != '\n') {
      if (line_.size() < kMaxLine) line_ += c;
      continue;
    }
    if (!ascii::trim(line_).empty()) last_line_.assign(line_);
    line_.clear();
  }
}

/// True if a line has something of the output in it: all of its first line, or a word.
bool ProgramOutput::has_secret(std::string_view line) const {
  const std::string_view output = output_;
  const auto first = ascii::trim(output.substr(0, output.find_first_of("\r\n")));
  if (!first.empty() && line.find(first) != std::string_view::npos) return true;
  while (!line.empty()) {
    const auto end = std::find_if(line.begin(), line.end(), is_space);
    const auto word = line.substr(0, static_cast<std::size_t>(end - line.begin()));
    if (word.size() >= kSecretWord && output.find(word) != std::string_view::npos) return true;
    line.remove_prefix(std::min(line.size(), word.size() + 1));
  }
  return false;
}

bool ProgramOutput::is_first_line_empty() const {
  const std::string_view output = output_;
  auto first = output.substr(0, output.find('\n'));
  if (first.ends_with('\r')) first.remove_suffix(1);
  return first.empty() || first == "\xef\xbb\xbf";
}

/// Returns the last line of standard error for the log, or why it is not shown.
std::string ProgramOutput::last_words() const {
  auto line = ascii::trim(line_);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) line = ascii::trim(last_line_);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) return {};
  if (looks_like_token(line) || has_secret(line)) {
    return " (the last line of its standard error is not shown: it may contain a secret)";
  }
  return ": " + ascii::escape(line, kMaxLine);
}

Answer ProgramOutput::answer(std::uint64_t id, ProgramEnd end) const {
  const bool succeeded = end.kind == ProgramEnd::Kind::exited && end.number == 0;
  if (succeeded && is_first_line_empty()) {
    return {Answer::Kind::failure, id,
            how_it_ended(end) + ", but the first line of its output is empty" + last_words()};
  }
  if (succeeded) {
    Answer answer{whole_ ? Answer::Kind::output : Answer::Kind::beginning, id};
    answer.text.reserve(kMaxOutput);
    answer.text = output_;
    return answer;
  }
  const bool late = end.kind == ProgramEnd::Kind::too_late;
  return {late ? Answer::Kind::timeout : Answer::Kind::failure, id,
          how_it_ended(end) + last_words()};
}

}  // namespace starttls::launcher

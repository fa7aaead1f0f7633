#include "lib/tls/pem_blocks.h"

#include <algorithm>
#include <optional>

namespace starttls::tls {
namespace {

constexpr std::string_view kBom = "\xef\xbb\xbf";
constexpr std::string_view kBegin = "-----BEGIN";
constexpr std::string_view kEnd = "-----END";
constexpr std::string_view kDashes = "-----";

std::string_view without_trailing_space(std::string_view line) noexcept {
  while (!line.empty() && static_cast<unsigned char>(line.back()) <= ' ') line.remove_suffix(1);
  return line;
}

bool has(std::string_view line, std::string_view part) noexcept {
  return line.find(part) != std::string_view::npos;
}

/// Returns the label of "-----BEGIN LABEL-----"; nothing if the line is not exactly that.
std::optional<std::string_view> label_of(std::string_view line, std::string_view word) noexcept {
  if (!line.starts_with(word) || !line.ends_with(kDashes)) return std::nullopt;
  line.remove_prefix(word.size());
  if (line.size() <= 1 + kDashes.size() || line.front() != ' ') return std::nullopt;
  const auto label = line.substr(1, line.size() - 1 - kDashes.size());
  if (has(label, "--")) return std::nullopt;
  return label;
}

/// Reads a text line by line.
class Scanner {
 public:
  explicit Scanner(std::string_view text) noexcept : rest_(text) {}

  std::vector<PemBlock> run() {
    while (!rest_.empty()) {
      const auto whole = rest_.substr(0, rest_.find('\n'));
      rest_.remove_prefix(std::min(whole.size() + 1, rest_.size()));
      ++line_;
      auto line = whole;
      while (line.starts_with(kBom)) line.remove_prefix(kBom.size());
      on_line(without_trailing_space(line));
    }
    if (open_) not_ended();
    return std::move(blocks_);
  }

 private:
  void on_line(std::string_view line) {
    if (has(line, {"\0", 1})) {
      fault(line_, "contains a NUL, so it is not PEM (is it DER or UTF-16?)");
      open_ = false;
    } else if (has(line.substr(std::min<std::size_t>(line.size(), 1)), kBegin)) {
      fault(line_, "a block must begin at the start of a line");
      open_ = false;
    } else if (line.starts_with(kBegin)) {
      if (open_) not_ended();
      begin(line);
    } else if (has(line, kEnd)) {
      end(line);
    }
  }

  void begin(std::string_view line) {
    const auto label = label_of(line, kBegin);
    if (!label) {
      fault(line_, "not of the form -----BEGIN CERTIFICATE-----");
      open_ = false;
      return;
    }
    open_ = true;
    block_ = {.line = line_, .label = *label, .text = line, .fault = {}};
  }

  void end(std::string_view line) {
    if (!open_) {
      // Its beginning may have been reported already.
      if (blocks_.empty() || blocks_.back().fault.empty()) {
        fault(line_, "this -----END line has no -----BEGIN line");
      }
      return;
    }
    open_ = false;
    if (label_of(line, kEnd) != block_.label) {
      fault(block_.line, "the block that begins here does not end with its own -----END line");
      return;
    }
    const char* const start = block_.text.data();
    block_.text = {start, static_cast<std::size_t>(line.data() + line.size() - start)};
    blocks_.push_back(block_);
  }

  void not_ended() {
    open_ = false;
    fault(block_.line, "the block that begins here has no end");
  }

  void fault(std::size_t line, std::string_view words) {
    blocks_.push_back({.line = line, .label = {}, .text = {}, .fault = words});
  }

  std::string_view rest_;
  std::size_t line_ = 0;
  bool open_ = false;
  PemBlock block_;  // if open
  std::vector<PemBlock> blocks_;
};

}  // namespace

std::vector<PemBlock> find_pem_blocks(std::string_view text) {
  return Scanner(text).run();
}

bool is_key_or_parameters(std::string_view label) noexcept {
  const auto is = [label](std::string_view what) {
    return label.ends_with(what) &&
           (label.size() == what.size() || label[label.size() - what.size() - 1] == ' ');
  };
  return is("PRIVATE KEY") || is("PUBLIC KEY") || is("PARAMETERS");
}

bool is_certificate(std::string_view label) noexcept {
  return label == "CERTIFICATE" || label == "X509 CERTIFICATE" || label == "TRUSTED CERTIFICATE";
}

}  // namespace starttls::tls

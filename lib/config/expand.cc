#include "lib/config/expand.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "lib/base/ascii.h"
#include "lib/base/secret.h"

namespace starttls::config {
namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 20U;

constexpr std::string_view kOpen = "${";
constexpr std::string_view kFile = "file:";

Result<std::string> variable(std::string_view name) {
  const char* const value = std::getenv(std::string(name).c_str());
  if (value == nullptr) {
    return fail(Errc::config, "the environment has no variable '" + ascii::escape(name) + "'");
  }
  return std::string(value);
}

/// Returns `text` with each "${...}" replaced by the result of `value_of`. A "${...}" inside
/// another one is a part of it.
template <class ValueOf>
Result<std::string> replace_all(std::string_view text, ValueOf value_of) {
  std::string out;
  while (true) {
    const auto open = text.find(kOpen);
    out += text.substr(0, open);
    if (open == std::string_view::npos) return out;
    text.remove_prefix(open + kOpen.size());

    auto close = text.find('}');
    for (auto inner = text.find(kOpen); inner < close && close != std::string_view::npos;
         inner = text.find(kOpen, inner + kOpen.size())) {
      close = text.find('}', close + 1);
    }
    if (close == std::string_view::npos) return fail(Errc::config, "'${' has no '}'");
    auto value = value_of(text.substr(0, close));
    if (!value) return value;
    out += *value;
    wipe(*value);
    text.remove_prefix(close + 1);
  }
}

/// Returns the value of a variable in the path of a "${file:...}".
Result<std::string> variable_in_path(std::string_view name) {
  if (name.starts_with(kFile) || name.find(kOpen) != std::string_view::npos) {
    return fail(Errc::config, "only ${NAME} is allowed inside '${file:...}'");
  }
  return variable(name);
}

Result<std::string> secret(std::string_view written, const std::filesystem::path& folder,
                           std::vector<std::string>& files) {
  auto path = replace_all(written, variable_in_path);
  if (!path) return path;
  files.push_back((folder / *path).lexically_normal().string());
  auto content = read_file(folder / *path);
  if (!content) {
    return fail(Errc::config, "'" + ascii::escape(written) + "': " + content.error().reason);
  }
  if (content->ends_with('\n')) content->pop_back();
  return content;
}

}  // namespace

Result<std::string> expand(std::string_view text, const std::filesystem::path& folder,
                           std::vector<std::string>& files) {
  return replace_all(text, [&](std::string_view what) -> Result<std::string> {
    if (what.starts_with(kFile)) return secret(what.substr(kFile.size()), folder, files);
    if (what.find(kOpen) != std::string_view::npos) {
      return fail(Errc::config, "'${' is allowed inside '${file:...}' only");
    }
    return variable(what);
  });
}

Result<std::string> read_file(const std::filesystem::path& path) {
  const auto system_error = [] { return fail(Errc::config, std::strerror(errno)); };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                             &std::fclose);
  if (!file) return system_error();

  std::string content;
  std::array<char, 4096> block;
  while (const auto size = std::fread(block.data(), 1, block.size(), file.get())) {
    content.append(block.data(), size);
    if (content.size() > kMaxFile) return fail(Errc::config, "larger than 1 MiB");
  }
  wipe(block);
  if (std::ferror(file.get()) != 0) return system_error();
  return content;
}

}  // namespace starttls::config

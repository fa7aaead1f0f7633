#include "lib/config/expand.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "lib/base/ascii.h"

namespace starttls::config {
namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 20U;

Result<std::string> secret(std::string_view path, const std::filesystem::path& folder,
                           std::vector<std::string>& files) {
  files.push_back((folder / path).lexically_normal().string());
  auto content = read_file(folder / path);
  if (!content) {
    return fail(Errc::config, "'" + ascii::escape(path) + "': " + content.error().reason);
  }
  if (content->ends_with('\n')) content->pop_back();
  return content;
}

Result<std::string> variable(std::string_view name) {
  const char* const value = std::getenv(std::string(name).c_str());
  if (value == nullptr) {
    return fail(Errc::config, "the environment has no variable '" + ascii::escape(name) + "'");
  }
  return std::string(value);
}

}  // namespace

Result<std::string> expand(std::string_view text, const std::filesystem::path& folder,
                           std::vector<std::string>& files) {
  constexpr std::string_view kOpen = "${";
  constexpr std::string_view kFile = "file:";
  std::string out;
  while (true) {
    const auto open = text.find(kOpen);
    out += text.substr(0, open);
    if (open == std::string_view::npos) return out;
    text.remove_prefix(open + kOpen.size());

    const auto close = text.find('}');
    if (close == std::string_view::npos) return fail(Errc::config, "'${' has no '}'");
    const auto what = text.substr(0, close);
    text.remove_prefix(close + 1);

    auto value =
        what.starts_with(kFile) ? secret(what.substr(kFile.size()), folder, files) : variable(what);
    if (!value) return value;
    out += *value;
  }
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
  if (std::ferror(file.get()) != 0) return system_error();
  return content;
}

}  // namespace starttls::config

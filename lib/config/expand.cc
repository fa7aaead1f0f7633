#include "lib/config/expand.h"

#include <cstdlib>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/regular_file.h"
#include "lib/base/secret.h"

namespace starttls::config {
namespace {

constexpr std::string_view kOpen = "${";
constexpr std::string_view kFile = "file:";

Result<std::string> variable(std::string_view name) {
  const char* const value = std::getenv(std::string(name).c_str());
  if (value == nullptr) {
    return fail(Errc::config, "the environment has no variable '" + ascii::escape(name) + "'");
  }
  return std::string(value);
}

/// Appends to a text that may have a secret in it.
void append(std::string& text, std::string_view more) {
  make_room(text, text.size() + more.size());
  text += more;
}

/// Returns `text` with each "${...}" replaced by the result of `value_of`. A "${...}" inside
/// another one is a part of it.
template <class ValueOf>
Result<std::string> replace_all(std::string_view text, ValueOf value_of) {
  std::string out;
  WipeAtEnd partial(out);
  while (true) {
    const auto open = text.find(kOpen);
    append(out, text.substr(0, open));
    if (open == std::string_view::npos) {
      partial.keep();
      return out;
    }
    text.remove_prefix(open + kOpen.size());

    auto close = text.find('}');
    for (auto inner = text.find(kOpen); inner < close && close != std::string_view::npos;
         inner = text.find(kOpen, inner + kOpen.size())) {
      close = text.find('}', close + 1);
    }
    if (close == std::string_view::npos) return fail(Errc::config, "'${' has no '}'");
    auto value = value_of(text.substr(0, close));
    if (!value) return value;
    append(out, *value);
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
  auto file = open_regular_file(path.string());
  if (!file) return fail(std::move(file.error()));
  return read_to_end(file->descriptor.get(), kMaxFile);
}

}  // namespace starttls::config

#include "tools/mail_server/dot_writer.h"

namespace starttls::bench {

void append_dotted(std::string_view content, std::string& out) {
  out.reserve(out.size() + content.size() + 8);
  if (content.starts_with('.')) out += '.';
  std::size_t begin = 0;
  for (;;) {
    const std::size_t found = content.find("\r\n.", begin);
    if (found == std::string_view::npos) break;
    out.append(content, begin, found + 2 - begin).append(1, '.');
    begin = found + 2;
  }
  out.append(content, begin);
  if (!content.empty() && !content.ends_with("\r\n")) out += "\r\n";
  out += ".\r\n";
}

}  // namespace starttls::bench

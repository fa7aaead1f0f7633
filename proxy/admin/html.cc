#include "proxy/admin/html.h"

#include "lib/metrics/exposition.h"

namespace starttls {

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : as_label_value(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace starttls

#pragma once

#include <string>
#include <string_view>

namespace starttls::bench {

/// Appends a message as POP3 and NNTP transfer it (RFC 1939 §3, RFC 3977 §3.1.1). A dot at the
/// beginning of a line is doubled, and a lone dot is the end. A last line without CRLF gets one.
void append_dotted(std::string_view content, std::string& out);

}  // namespace starttls::bench

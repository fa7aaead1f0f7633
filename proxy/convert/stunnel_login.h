#pragma once

// Converts the login that stunnel does for its clients.

#include <string>

#include "proxy/convert/annotated_file.h"
#include "proxy/convert/stunnel_service.h"
#include "proxy/convert/toml_table.h"

namespace starttls::stunnel {

/// Converts the login that stunnel makes at an SMTP server before it relays the client. The
/// password is not copied, because others may read the printed configuration.
void convert_login(AnnotatedFile& file, const Service& service, const std::string& label,
                   TomlTable& out);

}  // namespace starttls::stunnel

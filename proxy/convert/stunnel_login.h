#pragma once

// Converts the login that stunnel does for its clients.

#include <string>

#include "proxy/convert/annotated_file.h"
#include "proxy/convert/stunnel_service.h"
#include "proxy/convert/toml_table.h"

namespace starttls::stunnel {

/// Converts the login by which stunnel, before the client is heard, passes to an smtp server. The
/// password is not copied, because what is printed here may be read by others.
void convert_login(AnnotatedFile& file, const Service& service, const std::string& label,
                   TomlTable& out);

}  // namespace starttls::stunnel

#pragma once

// The options of stunnel that choose versions of TLS, and the other options that OpenSSL gets.

#include "proxy/convert/annotated_file.h"
#include "proxy/convert/toml_table.h"

namespace starttls::stunnel {

/// Sets the lowest version of TLS of a service, if it is not our default, and notes what has no
/// counterpart. `client`: stunnel's client mode, in which the server has TLS.
void convert_versions(AnnotatedFile& file, const Section& section, bool client, TomlTable& out);

}  // namespace starttls::stunnel

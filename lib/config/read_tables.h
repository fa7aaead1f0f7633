#pragma once

// Reads the values that are tables or lists of tables. Their members are keys of their own, with
// rows in the table of schema.cc.

#include "lib/config/schema.h"

namespace starttls::config {

void read_certificates(const Input& input, Output& target);
/// Reads our client certificate. An empty table, which is the default, means none.
void read_client_certificate(const Input& input, Output& target);
void read_destinations(const Input& input, Output& target);
void read_accounts(const Input& input, Output& target);

}  // namespace starttls::config

#pragma once

// The verification of servers, which stunnel does only on request.

#include <string>

#include "proxy/convert/annotated_file.h"
#include "proxy/convert/stunnel_service.h"

namespace starttls::stunnel {

/// Notes how stunnel's verification of the server differed from ours (client mode).
void note_verification(AnnotatedFile& file, const Service& service, const std::string& name);

}  // namespace starttls::stunnel

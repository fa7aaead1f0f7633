#include "proxy/convert/stunnel_versions.h"

#include <algorithm>
#include <iterator>

#include "lib/base/ascii.h"

namespace starttls::stunnel {

void convert_versions(AnnotatedFile& file, const Section& section, bool client, TomlTable& out) {
  struct Version {
    std::string_view name;
    std::string_view min_tls;
  };
  constexpr Version kVersions[] = {
      {"TLSv1", "1.0"}, {"TLSv1.1", "1.1"}, {"TLSv1.2", "1.2"}, {"TLSv1.3", "1.3"}};
  const auto find = [&kVersions](const Option& option) {
    const auto* const found = std::find_if(
        std::begin(kVersions), std::end(kVersions),
        [&](const Version& version) { return ascii::iequals(version.name, option.value); });
    return found == std::end(kVersions) ? std::string_view{} : found->min_tls;
  };

  const auto* minimum = file.last(section, "sslVersionMin");
  const auto* const exact = file.last(section, "sslVersion");
  if (minimum == nullptr) minimum = exact;
  for (const auto* const option : {exact, file.last(section, "sslVersionMax")}) {
    if (option == nullptr) continue;
    if (!ascii::iequals(option->value, "all") && find(*option) != "1.3") {
      file.note(section, option,
                "there is no highest version: TLS 1.3 is used if both sides know it");
    }
  }

  std::string_view min_tls = minimum == nullptr ? "" : find(*minimum);
  for (const auto* const option : file.all(section, "options")) {
    constexpr std::string_view kHeld[] = {"NO_SSLv2",         "NO_SSLv3",
                                          "NO_TLSv1",         "NO_TLSv1.1",
                                          "NO_TLSv1_1",       "SINGLE_DH_USE",
                                          "SINGLE_ECDH_USE",  "NO_COMPRESSION",
                                          "NO_RENEGOTIATION", "CIPHER_SERVER_PREFERENCE"};
    if (ascii::iequals(option->value, "NO_TLSv1_2") ||
        ascii::iequals(option->value, "NO_TLSv1.2")) {
      min_tls = "1.3";
    } else if (std::none_of(std::begin(kHeld), std::end(kHeld), [option](std::string_view held) {
                 return ascii::iequals(held, option->value);
               })) {
      file.note(section, option, ascii::escape(option->value) + " has no counterpart");
    }
  }
  if (min_tls.empty() || min_tls == "1.2") return;
  if (client && min_tls != "1.3") {
    file.note(section, minimum, "towards servers the lowest version is TLS 1.2");
    return;
  }
  out.set(client ? "upstream.min_tls" : "downstream.min_tls", toml(min_tls));
}

}  // namespace starttls::stunnel

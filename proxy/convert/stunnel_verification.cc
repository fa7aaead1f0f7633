#include "proxy/convert/stunnel_verification.h"

namespace starttls::stunnel {

void note_verification(AnnotatedFile& file, const Service& service, const std::string& name) {
  const auto& section = service.section;
  const auto [chain, peer, level] = file.verified(section);
  if (peer) {
    const auto* option = file.last(section, "verifyPeer");
    file.note(
        section, option == nullptr ? level : option,
        "stunnel accepted one certificate only; here its chain and the name " + name +
            " are verified. To require its key too, set upstream.pins to the pin that "
            "`starttls-proxy probe` prints; to check nothing but the key, set upstream.verify = "
            "\"none\" as well");
  } else if (!chain) {
    file.note(
        section, nullptr,
        "stunnel did not verify the server; here its chain and the name " + name +
            " are verified. `starttls-proxy probe` shows if the server passes, and what to do if "
            "it does not");
  } else if (file.all(section, "checkHost").empty() && file.all(section, "checkIP").empty()) {
    file.note(section, nullptr,
              "stunnel accepted any name; here the certificate must name " + name);
  }
}

}  // namespace starttls::stunnel

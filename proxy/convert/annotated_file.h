#pragma once

// A stunnel.conf and the notes about it, for the person that converts it.

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/convert/stunnel_conf.h"

namespace starttls::stunnel {

[[nodiscard]] bool is_yes(const Option* option);

class AnnotatedFile {
 public:
  /// Notes the options that are unknown or lost, and drops those that have to be written by hand.
  explicit AnnotatedFile(std::string_view text);

  [[nodiscard]] const Section& global() const noexcept { return file_.global; }
  [[nodiscard]] const std::vector<Section>& services() const noexcept { return file_.services; }

  /// Adds a note about the option, or about the section if `option` is null. A note about a default
  /// of all services is added once.
  void note(const Section& section, const Option* option, const std::string& text);
  /// Adds the note that the service is not converted.
  void leave_out(const Section& section, const Option* option, const std::string& why);
  /// Returns the notes in the order of the file.
  [[nodiscard]] std::vector<Note> take_notes();
  /// Returns the number of services that are not converted.
  [[nodiscard]] std::size_t left_out() const noexcept { return left_out_.size(); }
  [[nodiscard]] bool is_left_out(const Section& section) const {
    return left_out_.contains(&section);
  }

  /// Returns the options of the section, or, if it has none of that name, the global ones.
  [[nodiscard]] std::vector<const Option*> all(const Section& section, std::string_view name) const;
  /// Returns the last of them, which counts; null if there is none.
  [[nodiscard]] const Option* last(const Section& section, std::string_view name) const;
  [[nodiscard]] bool yes(const Section& section, std::string_view name) const {
    return is_yes(last(section, name));
  }

  /// The options verifyChain and verifyPeer, or the older verify.
  struct Verified {
    bool chain = false;
    bool peer = false;
    const Option* level = nullptr;
  };
  [[nodiscard]] Verified verified(const Section& section) const;
  /// True if clients must show a certificate (server mode).
  [[nodiscard]] bool demands_certificates(const Section& section) const {
    const auto [chain, peer, level] = verified(section);
    return chain || peer;
  }
  /// Returns all options that decide which clients are accepted; "" if every client is. Two
  /// services with the same demands give the same text.
  [[nodiscard]] std::string demand(const Section& section) const;

 private:
  void sort_out(Section& section);

  File file_;
  std::vector<Note> notes_;
  std::set<std::pair<std::size_t, std::string>> noted_;
  std::set<const Section*> left_out_;
};

}  // namespace starttls::stunnel

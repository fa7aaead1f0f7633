#pragma once

// A configuration in words, for people.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lib/config/config.h"

namespace starttls::config {

/// Returns the warnings about a service. They are about likely mistakes, verification switched off,
/// and a leg that is or may stay in the clear. One sentence each, for the log at start and for
/// `--check`.
[[nodiscard]] std::vector<std::string> warnings(const Service& service);
/// Returns the warnings about the admin endpoint.
[[nodiscard]] std::vector<std::string> warnings(const Admin& admin);

/// The user that has started the process.
enum class StartedBy : std::uint8_t { user, root };
/// Returns the warnings about the process.
[[nodiscard]] std::vector<std::string> warnings(const Proxy& proxy, StartedBy started_by);

/// Returns the same, and a warning about a sandbox that is off, as `--check` prints them.
[[nodiscard]] std::vector<std::string> check_warnings(const Proxy& proxy, StartedBy started_by);

/// A line of `describe`: a label and a text.
struct DescribedLine {
  std::string label;
  std::string text;
};
/// Returns the lines that describe a certificate chain, by its file.
using DescribeChain = std::function<std::vector<DescribedLine>(const std::string& chain)>;

/// Returns warnings about a service that the configuration alone does not give.
using FindWarnings = std::function<std::vector<std::string>(const Service& service)>;

/// Facts that a configuration does not have.
struct KnownFacts {
  DescribeChain describe_chain = {};
  FindWarnings find_warnings = {};
  PostQuantumSupport post_quantum = PostQuantumSupport::none;  ///< of the TLS library
};

/// Returns the effective policy of each service in plain words, as `--check` prints it, in whole
/// lines. The lines of `describe_chain` follow the chain's name.
[[nodiscard]] std::string describe(const Config& config, StartedBy started_by = StartedBy::user,
                                   const KnownFacts& facts = {});

}  // namespace starttls::config

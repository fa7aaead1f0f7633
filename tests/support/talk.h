#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tools/mail_server/protocol.h"

namespace starttls::bench {

using starttls::TemporaryFolder;

/// All that a protocol of tools/mail_server says to its input, fed as a connection would.
struct Talk {
  explicit Talk(std::unique_ptr<Protocol> made) : protocol(std::move(made)) {}

  /// What is left of earlier input comes first.
  std::string say(std::string_view input) {
    std::string reply;
    unread += input;
    std::string_view rest = unread;
    do {
      step = protocol->step(rest, reply);
      rest.remove_prefix(step.consumed);
    } while (step.want == Want::input && step.consumed > 0 && !rest.empty());
    unread = std::string(rest);
    return reply;
  }

  /// The same, octet by octet.
  std::string spell(std::string_view input) {
    std::string reply;
    for (const char c : input) reply += say({&c, 1});
    return reply;
  }

  /// The handshake has taken place: what it says then.
  std::string secure() {
    std::string reply;
    protocol->secured(reply);
    return reply;
  }

  std::unique_ptr<Protocol> protocol;
  Step step;
  std::string unread;
};

}  // namespace starttls::bench

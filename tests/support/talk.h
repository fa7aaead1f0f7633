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

/// Feeds a protocol of tools/mail_server as a connection would, and returns its replies.
struct Talk {
  explicit Talk(std::unique_ptr<Protocol> made) : protocol(std::move(made)) {}

  /// Feeds `input` after the unread rest of earlier input. Returns the reply.
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

  /// Does the same, byte by byte.
  std::string spell(std::string_view input) {
    std::string reply;
    for (const char c : input) reply += say({&c, 1});
    return reply;
  }

  /// Reports the end of the handshake. Returns the words of the protocol after it.
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

#pragma once

// `starttls-token authorize`: a person permits that this program gets tokens for an account.

#include <string>
#include <string_view>

#include "token/access.h"
#include "token/failure.h"
#include "token/settings.h"

namespace starttls::token {

/// How the provider's answer gets back to this program.
enum class Return : std::uint8_t {
  by_itself,  ///< it is polled for, or the browser brings it
  by_hand,    ///< a person copies an address (--paste)
};

/// Runs the account's flow, and stores the tokens. Prints for a person.
[[nodiscard]] Outcome<> authorize(const Surroundings& with, std::string_view account,
                                  const Choice& choice, Return how);

}  // namespace starttls::token

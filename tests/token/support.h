#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "lib/base/utc.h"
#include "token/http.h"
#include "token/settings.h"

namespace starttls::token {

inline constexpr UnixTime kNow{std::chrono::seconds{1'800'000'000}};

inline UnixTime later(std::chrono::seconds time) {
  return {kNow.since_1970 + time};
}

inline Response json_answer(std::string_view body, long status = 200) {
  return {
      .status = status, .content_type = "application/json; charset=utf-8", .body = Secret{body}};
}

inline Client public_client() {
  return {.account = "scan@example.com",
          .provider = "office365",
          .flow = Flow::device_code,
          .client_id = "the client",
          .scope = "mail offline_access",
          .token_url = "https://login.example.com/token",
          .authorize_url = "https://login.example.com/authorize",
          .device_url = "https://login.example.com/device"};
}

}  // namespace starttls::token

#pragma once

#include <chrono>

#include "proxy/admin/status.h"

namespace starttls::test {

inline constexpr UnixTime kStatusNow{std::chrono::seconds{1'700'000'000}};  // 2023-11-14 22:13:20

inline UnixTime days_later(int days) {
  return {kStatusNow.since_1970 + std::chrono::days{days}};
}

/// Returns the status of a process with one service of which everything is well.
inline Status good_status() {
  Status status{.version = "1.2.3",
                .host = "proxy.example.com",
                .now = kStatusNow,
                .started = days_later(-3),
                .loaded = days_later(-1)};
  ServiceStatus office{.name = "office",
                       .protocol = "smtp",
                       .listen = {"127.0.0.1:25"},
                       .servers = {"smtp.example.com:587", "smtp2.example.com:587"},
                       .downstream_tls = TlsMode::none,
                       .upstream_tls = TlsMode::starttls,
                       .verify = "full"};
  office.sessions.open = 2;
  office.sessions.ended[Outcome::ok().index()] = 97;
  office.sessions.ended[Outcome{Errc::timeout}.index()] = 3;
  status.services.push_back(office);
  status.certificates.push_back({CertificateStatus::Owner::server, "office", Side::upstream,
                                 "smtp.example.com:587", days_later(29),
                                 CertificateStatus::State::valid});
  return status;
}

}  // namespace starttls::test

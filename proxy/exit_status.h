#pragma once

// The exit statuses of the program, as in sysexits.h. 0 is success.

namespace starttls {

/// EX_USAGE: the command line is wrong.
inline constexpr int kExitUsage = 64;
/// EX_UNAVAILABLE: an address cannot be bound. For probe: the server cannot be reached or is
/// silent.
inline constexpr int kExitUnavailable = 69;
/// EX_SOFTWARE: an exception that no code catches, or the launcher has ended.
inline constexpr int kExitSoftware = 70;
/// EX_OSERR: the system refuses something else that the process needs.
inline constexpr int kExitSystem = 71;
/// EX_IOERR: the output of the command cannot be written.
inline constexpr int kExitOutput = 74;
/// EX_PROTOCOL, for probe: the server does not do what the protocol and the policy want.
inline constexpr int kExitProtocol = 76;
/// EX_NOPERM, for probe: the server's TLS, its certificate or the login is not acceptable.
inline constexpr int kExitNoPermission = 77;
/// EX_CONFIG: the configuration is wrong, or a file that it names.
inline constexpr int kExitConfig = 78;

}  // namespace starttls

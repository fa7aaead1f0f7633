#pragma once

// The messages between the proxy and the launcher, one per packet of a SOCK_SEQPACKET pair.
//
// The proxy can name an account, or ask for the configuration to be read again. No message of it
// names a program or an argument. Each side checks everything it receives, since the other one may
// have been taken over. All numbers are in the byte order of the machine.
//
//   request  kind (1 byte), id (8), lengths of service, account and user (2 each), then the names
//   answer   kind (1 byte), id (8), length of the text (4), then the text

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace starttls::launcher {

/// The longest name of a service, an account or a user, in bytes.
inline constexpr std::size_t kMaxName = 255;
/// The most of a program's output that is used. The rest is read and dropped.
inline constexpr std::size_t kMaxOutput = 16UL * 1024;
/// The longest words about a failure.
inline constexpr std::size_t kMaxWords = 2048;

/// The login that a program is run for.
struct Account {
  std::string service;
  std::string account;  ///< the row that the command is in; "" = it is in the service's login
  std::string user;     ///< at the server

  friend bool operator==(const Account&, const Account&) = default;
};

struct Request {
  enum class Kind : std::uint8_t {
    run = 1,  ///< run the account's program
    reload,   ///< read the configuration again; there is no account
  };
  Kind kind = Kind::run;
  std::uint64_t id = 0;
  Account account = {};
};

struct Answer {
  enum class Kind : std::uint8_t {
    ready = 1,  ///< the launcher has started
    output,     ///< all output of a program that has succeeded
    beginning,  ///< of the output of a program that has succeeded; there was more
    failure,    ///< words about a program, the configuration, or the start
    busy,       ///< too many programs run; words
    timeout,    ///< the program did not end in time; words
    reloaded,
  };
  Kind kind = Kind::failure;
  std::uint64_t id = 0;  ///< of the request; 0 = it is about the start
  std::string text = {};
};

/// Longest packets.
inline constexpr std::size_t kMaxRequest = 1 + 8 + 3 * 2 + 3 * kMaxName;
inline constexpr std::size_t kMaxAnswer = 1 + 8 + 4 + kMaxOutput;

/// True for a name at the server that a program may get as an argument: not empty, not too long,
/// and without control bytes.
[[nodiscard]] bool is_valid_user(std::string_view user) noexcept;

/// Returns the packet of a request; nothing if a name is too long for it.
[[nodiscard]] std::optional<std::string> to_packet(const Request& request);
/// Returns the request in a packet; nothing if it is malformed.
[[nodiscard]] std::optional<Request> parse_request(std::string_view packet);

/// Returns the packet of an answer. The caller wipes it. Words that are too long are cut.
[[nodiscard]] std::string to_packet(const Answer& answer);
/// Returns the answer in a packet; nothing if it is malformed. The caller wipes its text.
[[nodiscard]] std::optional<Answer> parse_answer(std::string_view packet);

}  // namespace starttls::launcher

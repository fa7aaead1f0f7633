// LP3. Logs in to servers that say anything, in every protocol and by every mechanism.
//
// Input: byte 0 chooses the protocol and whether its list is known, byte 1 the credentials, byte 2
// the size of the pieces. The rest is the server's words; 0x01 begins another flight. Every input
// is played twice, with flights whole and in pieces. Both must have the same result.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/login/server_login.h"
#include "tests/fuzz/holds.h"

namespace {

using namespace starttls;
using namespace starttls::proto;
using Status = ServerLogin::Status;

/// The list, the command, and at most three responses.
constexpr std::size_t kMaxMessages = 5;
constexpr std::string_view kSecret = "C4nary+of+the+fuzzer";

struct Plan {
  const LoginDialect& dialect;
  Credentials credentials;
  LoginOffer offer;
  std::size_t piece;
  std::vector<std::string_view> flights;
};

Credentials credentials_for(unsigned choice) {
  static constexpr Mechanism kMechanisms[] = {Mechanism::automatic, Mechanism::plain,
                                              Mechanism::login, Mechanism::xoauth2,
                                              Mechanism::oauthbearer};
  std::string secret(kSecret);
  const auto form = choice >> 4U & 7U;
  if (form == 1) secret += "\r\nQUIT";
  if (form == 2) secret += '\xff';
  if (form == 3) secret.resize(kMaxSecret, 's');
  if (form == 4) secret.resize(kMaxSecret + 1, 's');
  if (form == 5) secret += '\1';
  return {.user = "ann",
          .secret = Secret(secret),
          .token = (choice & 8U) != 0,
          .passed_on = (choice & 128U) != 0,
          .mechanism = kMechanisms[(choice & 7U) % 5U],
          .host = "mail.example",
          .port = 143};
}

Plan read_plan(std::string_view input) {
  const auto byte_at = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  static const std::array kDialects{&login::kSmtp, &login::kLmtp,  &login::kImap,
                                    &login::kPop3, &login::kSieve, &login::kNntp};
  Plan plan{.dialect = *kDialects[(byte_at(0) & 7U) % kDialects.size()],
            .credentials = credentials_for(byte_at(1)),
            .offer = {},
            .piece = byte_at(2) % 32U + 1U,
            .flights = {}};
  if ((byte_at(0) & 8U) != 0) {
    plan.offer.known = true;
    plan.offer.native = (byte_at(0) & 16U) != 0;
    plan.offer.initial_response = (byte_at(0) & 32U) != 0;
    if ((byte_at(0) & 64U) != 0) plan.offer.mechanisms = {"PLAIN", "OAUTHBEARER"};
    if ((byte_at(0) & 128U) != 0) plan.offer.mechanisms = {"LOGIN", "XOAUTH2"};
  }
  auto rest = input.substr(3);
  while (!rest.empty()) {
    const auto flight = rest.substr(0, rest.find('\1'));
    plan.flights.push_back(flight);
    rest.remove_prefix(std::min(rest.size(), flight.size() + 1));
  }
  return plan;
}

struct Outcome {
  std::string said;
  Status status = Status::going_on;
  Errc error{};
  bool failed = false;
  bool failed_after_words = false;  ///< in the call that said something
  std::string words;                ///< everything that the log may get
};

/// One login under way, as a driver runs it.
class Driver {
 public:
  explicit Driver(const Plan& plan)
      : usable_(usable(plan.credentials).has_value()),
        login_(plan.dialect, plan.credentials, plan.offer, "R4nd",
               line_rules(TlsMode::starttls, Errc::protocol)) {
    note(login_.begin(out_.said));
    if (!out_.said.empty()) ++messages_;
    HOLDS(usable_ || (out_.said.empty() && out_.status == Status::refused));
  }

  void feed(std::string_view bytes) {
    if (out_.failed || out_.status != Status::going_on) return;
    unread_ += bytes;
    const auto said_before = out_.said.size();
    const auto progress = login_.on_input(unread_, out_.said);
    const auto said = std::string_view(out_.said).substr(said_before);
    HOLDS(said.empty() || said.ends_with("\r\n"));
    if (!said.empty()) ++messages_;
    HOLDS(messages_ <= kMaxMessages);
    if (!progress) {
      out_.failed = true;
      out_.failed_after_words = !said.empty();
      out_.error = progress.error().code;
      // A driver drops what was appended for the server.
      out_.said.resize(said_before);
      out_.words += progress.error().reason + progress.error().evidence;
      HOLDS(out_.error == Errc::protocol || out_.error == Errc::attack);
      return;
    }
    HOLDS(progress->consumed <= unread_.size());
    unread_.erase(0, progress->consumed);
    // A call ends with at most one message: what waits then is an answer before its question.
    note(progress->status);
    if (out_.status == Status::going_on) {
      HOLDS(unread_.size() < kMaxLine);
      return;
    }
    // Only IMAP's BYE may come before the server has read our message.
    HOLDS(said.empty() || out_.status == Status::gone);
    std::string more;
    const auto after = login_.on_input("235 ok\r\n+OK\r\nR4nd2 OK\r\n", more);
    HOLDS(after && after->consumed == 0 && after->status == out_.status && more.empty());
  }

  [[nodiscard]] const Outcome& outcome() const { return out_; }

 private:
  void note(Status status) {
    out_.status = status;
    if (status == Status::going_on || status == Status::succeeded) return;
    const auto error = login_failure(login_, status, ReplyInLog::whole);
    HOLDS(error.code == Errc::login || error.code == Errc::client_login);
    HOLDS(!error.reason.empty());
    for (const char c : error.reason) HOLDS(ascii::is_printable(c));
    out_.words += error.reason + error.evidence + login_.reply().text;
  }

  bool usable_;
  ServerLogin login_;
  Outcome out_;
  std::string unread_;
  std::size_t messages_ = 0;
};

Outcome play(const Plan& plan, std::size_t piece) {
  Driver driver(plan);
  for (const auto flight : plan.flights) {
    for (std::size_t at = 0; at < flight.size(); at += piece) {
      driver.feed(flight.substr(at, piece));
    }
  }
  return driver.outcome();
}

/// Checks that the log does not get the secret. A server that lists it has not got it from us.
void judge_words(const Outcome& outcome) {
  if (outcome.status == Status::not_offered) return;
  HOLDS(outcome.words.find(kSecret) == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > 100000) return 0;
  const auto plan = read_plan({reinterpret_cast<const char*>(data), size});
  const auto whole = play(plan, SIZE_MAX / 2);
  judge_words(whole);
  const auto pieces = play(plan, plan.piece);
  judge_words(pieces);
  // A call that fails takes back what it wanted to say. An answer before its question is seen only
  // if both arrive together.
  HOLDS(pieces.said.starts_with(whole.said));
  if (whole.failed_after_words) return 0;
  HOLDS(whole.failed == pieces.failed && whole.error == pieces.error);
  HOLDS(whole.failed || whole.said == pieces.said);
  HOLDS(whole.status == pieces.status);
  return 0;
}

// The commands of each protocol, and the replies of the backend.

#include <string>

#include "bench/load/client.h"

namespace starttls::bench {
namespace {

/// SMTP (RFC 5321) and LMTP (RFC 2033).
class SmtpClient : public Client {
 public:
  explicit SmtpClient(const Target& target) : SmtpClient(target, "EHLO load.test\r\n") {}

  void commit() override {
    command("MAIL FROM:<load@load.test>\r\n", "250");
    command("RCPT TO:<sink@backend.test>\r\n", "250");
    has_envelope_ = true;
  }
  /// Sends a message. The first one has the envelope of `commit`; the others bring their own,
  /// pipelined (RFC 2920).
  void send_message(std::uint64_t bytes) override {
    if (has_envelope_) {
      say("DATA\r\n");
    } else {
      say("MAIL FROM:<load@load.test>\r\nRCPT TO:<sink@backend.test>\r\nDATA\r\n");
      reply("250");
      reply("250");
    }
    reply("354");
    has_envelope_ = false;
    say_pattern(bytes, ".\r\n");
    check_arrived(reply("250"), bytes);
  }
  void round_trip() override { command("NOOP\r\n", "250"); }

 protected:
  SmtpClient(const Target& target, std::string_view hello) : Client(target), hello_(hello) {}

 private:
  void greeting() override { reply("220"); }
  void ask_for_tls() override {
    introduce();
    command("STARTTLS\r\n", "220");
  }
  void introduce() override { command(hello_, "250"); }
  void ask_for(std::uint64_t bytes) override {
    command("XSEND " + std::to_string(bytes) + "\r\n", "250");
  }
  void say_goodbye() override { command("QUIT\r\n", "221"); }

  void command(std::string_view line, std::string_view code) {
    say(line);
    reply(code);
  }
  /// Reads all lines of a reply, and returns the last one.
  std::string reply(std::string_view code) {
    std::string heard = expect(code);
    while (heard.substr(code.size(), 1) == "-") heard = expect(code);
    return heard;
  }

  std::string_view hello_;
  bool has_envelope_ = false;
};

class LmtpClient final : public SmtpClient {
 public:
  explicit LmtpClient(const Target& target) : SmtpClient(target, "LHLO load.test\r\n") {}
};

/// IMAP (RFC 3501).
class ImapClient final : public Client {
 public:
  using Client::Client;

  void commit() override { command("LOGIN load secret"); }
  void send_message(std::uint64_t bytes) override {
    say("a APPEND INBOX {" + std::to_string(bytes) + "+}\r\n");
    say_pattern(bytes, "\r\n");
    check_arrived(expect("a OK"), bytes);
  }
  void round_trip() override { command("NOOP"); }

 private:
  void greeting() override { expect("* OK"); }
  void ask_for_tls() override { command("STARTTLS"); }
  void ask_for(std::uint64_t bytes) override { command("XSEND " + std::to_string(bytes)); }
  void say_goodbye() override { command("LOGOUT"); }

  void command(const std::string& words) {
    say("a " + words + "\r\n");
    expect_last("a OK");
  }
};

/// POP3 (RFC 1939). Messages go only from server to client.
class Pop3Client final : public Client {
 public:
  using Client::Client;

  void commit() override {
    command("USER load");
    command("PASS secret");
  }
  void send_message(std::uint64_t) override { throw Failure("POP3 sends no messages"); }
  void round_trip() override { command("NOOP"); }

 private:
  void greeting() override { expect("+OK"); }
  void ask_for_tls() override { command("STLS"); }
  void ask_for(std::uint64_t bytes) override { command("XSEND " + std::to_string(bytes)); }
  void say_goodbye() override { command("QUIT"); }

  void command(const std::string& words) {
    say(words + "\r\n");
    expect("+OK");
  }
};

/// ManageSieve (RFC 5804).
class SieveClient final : public Client {
 public:
  using Client::Client;

  void commit() override { command("AUTHENTICATE \"PLAIN\" \"AGxvYWQAc2VjcmV0\""); }
  void send_message(std::uint64_t bytes) override {
    say("PUTSCRIPT \"load\" {" + std::to_string(bytes) + "+}\r\n");
    say_pattern(bytes, "\r\n");
    check_arrived(expect("OK"), bytes);
  }
  void round_trip() override { command("NOOP"); }

 private:
  void greeting() override { expect_last("OK"); }
  void ask_for_tls() override {
    command("STARTTLS");
    list_follows_ = true;
  }
  /// Reads the list that comes again after STARTTLS, unasked (RFC 5804 §2.2).
  void introduce() override {
    if (list_follows_) expect_last("OK");
  }
  void ask_for(std::uint64_t bytes) override { command("XSEND " + std::to_string(bytes)); }
  void say_goodbye() override { command("LOGOUT"); }

  void command(const std::string& words) {
    say(words + "\r\n");
    expect_last("OK");
  }

  bool list_follows_ = false;
};

/// NNTP (RFC 3977).
class NntpClient final : public Client {
 public:
  using Client::Client;

  void commit() override {
    command("AUTHINFO USER load", "381");
    command("AUTHINFO PASS secret", "281");
  }
  void send_message(std::uint64_t bytes) override {
    command("POST", "340");
    say_pattern(bytes, ".\r\n");
    check_arrived(expect("240"), bytes);
  }
  void round_trip() override { command("MODE READER", "20"); }

 private:
  void greeting() override { expect("20"); }
  void ask_for_tls() override { command("STARTTLS", "382"); }
  void ask_for(std::uint64_t bytes) override { command("XSEND " + std::to_string(bytes), "290"); }
  void say_goodbye() override { command("QUIT", "205"); }

  void command(const std::string& words, std::string_view code) {
    say(words + "\r\n");
    expect(code);
  }
};

template <typename Protocol>
std::unique_ptr<Client> make(const Target& target) {
  return std::make_unique<Protocol>(target);
}

struct Row {
  std::string_view name;
  std::unique_ptr<Client> (*make)(const Target& target);
  bool can_send;
};

constexpr Row kRows[] = {
    {"smtp", make<SmtpClient>, true},   {"lmtp", make<LmtpClient>, true},
    {"imap", make<ImapClient>, true},   {"pop3", make<Pop3Client>, false},
    {"sieve", make<SieveClient>, true}, {"nntp", make<NntpClient>, true},
};

const Row* find(std::string_view protocol) noexcept {
  for (const Row& row : kRows) {
    if (row.name == protocol) return &row;
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Client> make_client(std::string_view protocol, const Target& target) {
  const Row* const row = find(protocol);
  return row == nullptr ? nullptr : row->make(target);
}

bool can_send(std::string_view protocol) noexcept {
  const Row* const row = find(protocol);
  return row != nullptr && row->can_send;
}

}  // namespace starttls::bench

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <stdlib.h>

#include "bench/backend/dot_reader.h"
#include "bench/backend/mailbox.h"
#include "bench/backend/protocol.h"
#include "bench/load/pattern.h"
#include "tests/support/catch.h"

using namespace starttls::bench;
using namespace std::string_literals;

namespace {

struct Read {
  std::string content;
  std::string rest;
  bool finished = false;
  friend bool operator==(const Read&, const Read&) = default;
};

/// Feeds `data` in pieces, cut at `first` and `second`.
Read read_dots(const std::string& data, std::size_t first, std::size_t second) {
  DotReader reader;
  Read read;
  const std::string pieces[] = {data.substr(0, first), data.substr(first, second - first),
                                data.substr(second)};
  for (const std::string& piece : pieces) {
    std::size_t taken = 0;
    if (!reader.finished()) {
      taken = reader.take(piece, [&read](std::string_view octets) { read.content += octets; });
    }
    read.rest += piece.substr(taken);
  }
  read.finished = reader.finished();
  return read;
}

struct Case {
  std::string data;
  Read wanted;
};

/// All that the protocol says to `input`, fed as a connection would.
struct Talk {
  explicit Talk(std::unique_ptr<Protocol> made) : protocol(std::move(made)) {}

  std::string say(std::string_view input) {
    std::string reply;
    do {
      step = protocol->step(input, reply);
      input.remove_prefix(step.consumed);
    } while (step.want == Want::input && step.consumed > 0 && !input.empty());
    unread = input;
    return reply;
  }

  std::unique_ptr<Protocol> protocol;
  Step step;
  std::string unread;
};

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("dot reader: content is the same wherever its input is cut", "[bench]") {
  const Case cases[] = {
      {".\r\nQUIT\r\n", {"", "QUIT\r\n", true}},
      {"a\r\n.\r\n", {"a\r\n", "", true}},
      {"..\r\n.\r\n", {".\r\n", "", true}},
      {"..a\r\nb.c\r\n...\r\n.\r\n", {".a\r\nb.c\r\n..\r\n", "", true}},
      {".a\r\n.\r\n", {"a\r\n", "", true}},
      // Only CRLF begins a line, and only CRLF ends the lone dot.
      {"a\n.\n.\r\nb\r.\rc\r\n.\r\n", {"a\n.\n.\r\nb\r.\rc\r\n", "", true}},
      {".\ra\r\n.\r\n", {"\ra\r\n", "", true}},
      {".\r\r\n.\r\n", {"\r\r\n", "", true}},
      {".\n\r\n.\r\n", {"\n\r\n", "", true}},
      {"\0\xff\r\n.\r\nx"s, {"\0\xff\r\n"s, "x", true}},
      {"a\r\n.", {"a\r\n", "", false}},
      {"a.\r\n.b", {"a.\r\nb", "", false}},
  };
  for (const Case& each : cases) {
    for (std::size_t first = 0; first <= each.data.size(); ++first) {
      for (std::size_t second = first; second <= each.data.size(); ++second) {
        CAPTURE(each.data, first, second);
        CHECK(read_dots(each.data, first, second) == each.wanted);
      }
    }
  }
}

TEST_CASE("pattern: a piece that is lost, doubled or swapped is noticed", "[bench]") {
  std::string all;
  while (all.size() < 1'000'000) all += pattern_at(all.size(), 1'000'000 - all.size());
  const auto intact = [](std::string_view octets, std::size_t piece) {
    PatternCheck check;
    for (; !octets.empty(); octets.remove_prefix(std::min(piece, octets.size()))) {
      check.take(octets.substr(0, piece));
    }
    return check.intact();
  };
  CHECK(intact(all, 1'000'000));
  CHECK(intact(all, 16384));
  CHECK(intact(all, 7));
  CHECK(all.find('.') == std::string::npos);
  for (const std::size_t size : {1UL, 16384UL, 262144UL}) {
    CHECK_FALSE(intact(std::string{all}.erase(300'000, size), 65536));
    CHECK_FALSE(intact(std::string{all}.insert(300'000, all, 300'000 - size, size), 65536));
  }
  std::string changed = all;
  changed[999'999] ^= 1;
  CHECK_FALSE(intact(changed, 65536));
}

TEST_CASE("backend smtp: takes mail only after STARTTLS, and forgets what was said before",
          "[bench][security]") {
  const Mailbox mailbox{""};
  Talk talk{make_smtp(Tls::required, mailbox)};
  CHECK(talk.say("EHLO a\r\n").find("250-STARTTLS\r\n") != std::string::npos);
  CHECK(talk.say("MAIL FROM:<a@b>\r\n").starts_with("530 "));
  CHECK(talk.say("XSEND 1\r\n").starts_with("530 "));
  CHECK(talk.say("STARTTLS\r\nMAIL FROM:<a@b>\r\n").starts_with("220 "));
  CHECK(talk.step.want == Want::start_tls);
  CHECK(talk.unread == "MAIL FROM:<a@b>\r\n");  // the leg refuses these

  std::string reply;
  talk.protocol->secured(reply);
  CHECK(reply.empty());
  CHECK(talk.say("MAIL FROM:<a@b>\r\n").starts_with("503 "));
  CHECK(talk.say("EHLO a\r\n").find("STARTTLS") == std::string::npos);
  CHECK(talk.say("STARTTLS\r\n").starts_with("503 "));
  CHECK(talk.say("MAIL FROM:<a@b>\r\n").starts_with("250 "));
}

TEST_CASE("backend smtp: pipelined commands and data are answered one by one", "[bench]") {
  const Mailbox mailbox{""};
  Talk talk{make_smtp(Tls::none, mailbox)};
  CHECK(
      talk.say("EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\na\r\n.\r\nQUIT\r\n") ==
      "250-backend.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n250 2.1.0 sender ok\r\n"
      "250 2.1.5 recipient ok\r\n354 go ahead\r\n250 2.0.0 ok: 3 octets discarded\r\n"
      "221 2.0.0 bye\r\n");
  CHECK(talk.step.want == Want::close);
}

TEST_CASE("backend smtp: each error is answered once", "[bench]") {
  const Mailbox mailbox{""};
  Talk talk{make_smtp(Tls::none, mailbox)};
  CHECK(talk.say("FOO\r\nRCPT TO:<a>\r\nDATA\r\nMAIL a\r\nEHLO\r\n") ==
        "500 5.5.1 unknown command\r\n503 5.5.1 MAIL first\r\n503 5.5.1 RCPT first\r\n"
        "503 5.5.1 wrong order\r\n501 5.5.4 a name is missing\r\n");
  CHECK(talk.say(std::string(kMaxCommand + 1, 'a')) == "500 5.5.2 line too long\r\n");
  CHECK(talk.step.want == Want::close);
}

TEST_CASE("backend lmtp: data is answered for each recipient", "[bench]") {
  const Mailbox mailbox{""};
  Talk talk{make_lmtp(Tls::none, mailbox)};
  CHECK(talk.say("EHLO a\r\n").starts_with("500 "));
  talk.say("LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
  CHECK(talk.say(".\r\n") ==
        "250 2.0.0 ok: 0 octets discarded, pattern intact\r\n"
        "250 2.0.0 ok: 0 octets discarded, pattern intact\r\n");
}

TEST_CASE("mailbox: messages are stored octet by octet, unfinished ones not at all", "[bench]") {
  std::string folder = (std::filesystem::temp_directory_path() / "starttls-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const Mailbox mailbox{folder};
  {
    const auto unfinished = mailbox.begin();
    unfinished->write("never");
    const auto first = mailbox.begin();
    first->write("a\r\n\0"s);
    first->write("b");
    CHECK(first->commit().value() == "5 octets stored as 000001.eml");
    CHECK(mailbox.begin()->commit().value() == "0 octets stored as 000002.eml");
  }
  CHECK(file_text(folder + "/000001.eml") == "a\r\n\0b"s);
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 2);
  std::filesystem::remove_all(folder);
  CHECK_FALSE(mailbox.begin()->commit());
}

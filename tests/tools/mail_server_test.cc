#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/talk.h"
#include "tools/mail_server/dot_reader.h"
#include "tools/mail_server/dot_writer.h"
#include "tools/mail_server/mailbox.h"
#include "tools/mail_server/pattern.h"
#include "tools/mail_server/protocol.h"

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
      taken = reader.take(piece, [&read](std::string_view bytes) { read.content += bytes; });
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

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("dot reader: the content does not depend on where the input is cut", "[bench]") {
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

TEST_CASE("pattern: a lost, doubled or swapped piece is noticed", "[bench]") {
  std::string all;
  while (all.size() < 1'000'000) all += pattern_at(all.size(), 1'000'000 - all.size());
  const auto intact = [](std::string_view bytes, std::size_t piece) {
    PatternCheck check;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
      check.take(bytes.substr(0, piece));
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

TEST_CASE("backend smtp: mail is accepted only after STARTTLS, and earlier commands are forgotten",
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
      "250-backend.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 0\r\n"
      "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 go ahead\r\n250 2.0.0 ok: 3 bytes "
      "discarded\r\n"
      "221 2.0.0 bye\r\n");
  CHECK(talk.step.want == Want::close);
}

TEST_CASE("backend smtp: every login is accepted, after TLS if it is required", "[bench]") {
  const Mailbox mailbox{""};
  Talk secured{make_smtp(Tls::required, mailbox)};
  CHECK(secured.say("EHLO a\r\n").find("AUTH") == std::string::npos);
  CHECK(secured.say("AUTH PLAIN AGEAYg==\r\n").starts_with("530 "));
  Talk talk{make_smtp(Tls::none, mailbox)};
  CHECK(talk.say("AUTH PLAIN\r\n").starts_with("503 "));
  talk.say("EHLO a\r\n");
  CHECK(talk.say("AUTH PLAIN AGEAYg==\r\n") == "235 2.7.0 welcome\r\n");
  CHECK(talk.say("AUTH PLAIN\r\nAGEAYg==\r\n") == "334 \r\n235 2.7.0 welcome\r\n");
  CHECK(talk.say("AUTH LOGIN\r\nYQ==\r\nYg==\r\n") ==
        "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 welcome\r\n");
  CHECK(talk.say("AUTH LOGIN\r\n*\r\n") == "334 VXNlcm5hbWU6\r\n501 5.7.0 cancelled\r\n");
  CHECK(talk.say("AUTH CRAM-MD5\r\n").starts_with("504 "));
  CHECK(talk.say("MAIL FROM:<a@b>\r\nAUTH PLAIN AGEAYg==\r\n")
            .ends_with("503 5.5.1 wrong order\r\n"));
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
        "250 2.0.0 ok: 0 bytes discarded, pattern intact\r\n"
        "250 2.0.0 ok: 0 bytes discarded, pattern intact\r\n");
}

TEST_CASE("mailbox: messages are stored byte for byte, unfinished ones are not stored", "[bench]") {
  TemporaryFolder folder;
  const Mailbox mailbox{folder.path};
  {
    const auto unfinished = mailbox.begin();
    unfinished->write("never");
    const auto first = mailbox.begin();
    first->write("a\r\n\0"s);
    first->write("b");
    CHECK(first->commit().value() == "5 bytes stored as 000001.eml");
    CHECK(mailbox.begin()->commit().value() == "0 bytes stored as 000002.eml");
  }
  CHECK(file_text(folder.file("000001.eml")) == "a\r\n\0b"s);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 2);
  std::filesystem::remove_all(folder.path);
  CHECK_FALSE(mailbox.begin()->commit());
}

TEST_CASE("mailbox: stored messages can be listed, read, replaced and removed", "[bench]") {
  TemporaryFolder folder;
  const Mailbox mailbox{folder.path};
  for (const auto* const content : {"first", "second"}) {
    const auto message = mailbox.begin();
    message->write(content);
    REQUIRE(message->commit());
    const auto script = mailbox.replace("a script.sieve");
    script->write(content);
    REQUIRE(script->commit());
  }
  const auto messages = mailbox.messages();
  REQUIRE(messages.size() == 2);
  CHECK(Mailbox::number(messages[1]) == 2);
  CHECK(messages[1].bytes == 6);
  CHECK(mailbox.read(messages[0].name).value() == "first");
  CHECK(mailbox.read("a script.sieve").value() == "second");
  CHECK(mailbox.list(".sieve").size() == 1);
  CHECK(mailbox.remove("000001.eml"));
  CHECK_FALSE(mailbox.remove("000001.eml"));
  CHECK_FALSE(mailbox.read("000001.eml"));
  CHECK(mailbox.messages().size() == 1);
}

TEST_CASE("mailbox: a name cannot lead out of its folder", "[bench][security]") {
  TemporaryFolder folder;
  const Mailbox mailbox{folder.path};
  for (const auto& name :
       {"../x"s, "/etc/passwd"s, "."s, ".x"s, ""s, "a\0b"s, "a\nb"s, std::string(101, 'a')}) {
    CAPTURE(name);
    CHECK(mailbox.replace(name) == nullptr);
    CHECK_FALSE(mailbox.read(name));
    CHECK_FALSE(mailbox.remove(name));
  }
}

TEST_CASE("mailbox: without a folder there is nothing to fetch", "[bench]") {
  const Mailbox mailbox{""};
  REQUIRE(mailbox.begin()->commit());
  REQUIRE(mailbox.replace("passwd")->commit());
  CHECK(mailbox.messages().empty());
  CHECK_FALSE(mailbox.read("etc/passwd"));
  CHECK_FALSE(mailbox.read("passwd"));
  CHECK_FALSE(mailbox.remove("passwd"));
}

TEST_CASE("dot writer: the reader reads what the writer wrote", "[bench]") {
  for (const auto& content : {""s, ".\r\n"s, "a\r\n.b\r\n..\r\n\r\n.\r\n"s, "\n.\n\r.\r\r\n"s}) {
    CAPTURE(content);
    std::string dotted;
    append_dotted(content, dotted);
    CHECK(read_dots(dotted, 0, dotted.size()) == Read{content, "", true});
  }
  std::string dotted;
  append_dotted("..no end", dotted);
  CHECK(dotted == "...no end\r\n.\r\n");
}

namespace {

/// The words that all protocols have in some form, one row per protocol.
struct Words {
  std::string_view name;
  std::string_view capability;
  std::string_view keyword;   ///< in the list, if STARTTLS is possible
  std::string_view starttls;  ///< the command
  std::string_view go_ahead;
  std::string_view refusal;    ///< of STARTTLS, if it is not possible
  std::string_view injection;  ///< the answer to bytes after STARTTLS
  std::string_view forbidden;  ///< before TLS, if TLS is required
  std::string_view wanted;     ///< the beginning of the answer
  std::string_view xsend;      ///< all it needs to accept XSEND
};

constexpr Words kWords[] = {
    {"smtp", "EHLO a\r\n", "250-STARTTLS\r\n", "STARTTLS\r\n", "220 2.0.0 go ahead\r\n", "503 ",
     "503 5.5.1 data behind STARTTLS\r\n", "MAIL FROM:<a@b>\r\n", "530 5.7.0 ",
     "EHLO a\r\nXSEND 7\r\n"},
    {"lmtp", "LHLO a\r\n", "250-STARTTLS\r\n", "STARTTLS\r\n", "220 2.0.0 go ahead\r\n", "503 ",
     "503 5.5.1 data behind STARTTLS\r\n", "XSEND 7\r\n", "530 5.7.0 ", "LHLO a\r\nXSEND 7\r\n"},
    {"imap", "a CAPABILITY\r\n", " STARTTLS", "b STARTTLS\r\n", "b OK go ahead\r\n", "b BAD ",
     "b BAD data behind STARTTLS\r\n* BYE data behind STARTTLS\r\n", "c LOGIN u p\r\n",
     "c NO [PRIVACYREQUIRED] ", "d LOGIN u p\r\ne XSEND 7\r\n"},
    {"pop3", "CAPA\r\n", "\r\nSTLS\r\n", "STLS\r\n", "+OK go ahead\r\n", "-ERR ",
     "-ERR data behind STLS\r\n", "USER u\r\n", "-ERR STLS first\r\n",
     "USER u\r\nPASS p\r\nXSEND 7\r\n"},
    {"sieve", "CAPABILITY\r\n", "\"STARTTLS\"\r\n", "STARTTLS\r\n", "OK \"go ahead\"\r\n", "NO ",
     "NO \"data behind STARTTLS\"\r\n", "AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\n",
     "NO (ENCRYPT-NEEDED) ", "AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\nXSEND 7\r\n"},
    {"nntp", "CAPABILITIES\r\n", "\r\nSTARTTLS\r\n", "STARTTLS\r\n", "382 go ahead\r\n", "502 ",
     "502 data behind STARTTLS\r\n", "GROUP a\r\n", "483 ", "XSEND 7\r\n"},
};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("backend: STARTTLS is offered and possible in exactly the modes that have it",
          "[bench][security]") {
  const Mailbox mailbox{""};
  for (const Words& words : kWords) {
    for (const Tls tls : {Tls::none, Tls::offered, Tls::required, Tls::active}) {
      CAPTURE(words.name, static_cast<int>(tls));
      const bool offers = tls == Tls::offered || tls == Tls::required;
      Talk talk{find_protocol(words.name)(tls, mailbox)};
      CHECK(has(talk.spell(words.capability), words.keyword) == offers);
      CHECK(talk.spell(words.forbidden).starts_with(words.wanted) == (tls == Tls::required));
      if (tls == Tls::required) {
        CHECK(talk.spell(words.xsend).find("7 bytes") == std::string::npos);
      }

      Talk fresh{find_protocol(words.name)(tls, mailbox)};
      const auto answer = fresh.say(words.starttls);
      if (!offers) {
        CHECK(answer.starts_with(words.refusal));
        CHECK(fresh.step.want == Want::input);
        continue;
      }
      CHECK(answer == words.go_ahead);
      CHECK(fresh.step.want == Want::start_tls);
    }
  }
}

TEST_CASE("backend: bytes after STARTTLS are not consumed, and are refused in the protocol's words",
          "[bench][security]") {
  const Mailbox mailbox{""};
  for (const Words& words : kWords) {
    CAPTURE(words.name);
    Talk talk{find_protocol(words.name)(Tls::required, mailbox)};
    CHECK(talk.say(std::string(words.starttls).append(words.forbidden)) == words.go_ahead);
    CHECK(talk.unread == words.forbidden);  // the leg refuses these
    std::string refusal;
    talk.protocol->refuse_injection(refusal);
    CHECK(refusal == words.injection);
  }
}

TEST_CASE("backend: inside TLS STARTTLS is gone, and everything that needs TLS is possible",
          "[bench][security]") {
  const Mailbox mailbox{""};
  for (const Words& words : kWords) {
    for (const Tls tls : {Tls::offered, Tls::required}) {
      CAPTURE(words.name);
      Talk talk{find_protocol(words.name)(tls, mailbox)};
      talk.say(words.starttls);
      const auto pushed = talk.secure();
      CHECK(pushed.empty() == (words.name != "sieve"));
      CHECK_FALSE(has(pushed, words.keyword));
      CHECK_FALSE(has(talk.say(words.capability), words.keyword));
      CHECK(talk.say(words.starttls).starts_with(words.refusal));
      CHECK(has(talk.say(words.xsend), "7 bytes follow"));
      CHECK(talk.step.want == Want::send_pattern);
      CHECK(talk.step.bytes == 7);
    }
  }
}

TEST_CASE("backend: a client's input may be cut anywhere, and endless lines are refused",
          "[bench]") {
  const Mailbox mailbox{""};
  for (const Words& words : kWords) {
    CAPTURE(words.name);
    const auto all = std::string(words.capability).append(words.xsend);
    Talk whole{find_protocol(words.name)(Tls::none, mailbox)};
    Talk spelled{find_protocol(words.name)(Tls::none, mailbox)};
    CHECK(whole.say(all) == spelled.spell(all));

    Talk longest{find_protocol(words.name)(Tls::none, mailbox)};
    CHECK_FALSE(longest.say(std::string(kMaxCommand + 1, 'a')).empty());
    CHECK(longest.step.want == Want::close);
  }
}

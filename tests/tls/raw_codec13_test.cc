// Tests the record layer of TLS 1.3. Some tests make the records of both sides by hand. Others run
// against the bare library, or compare the results with the library's own record layer.

#include "lib/tls/raw_codec13.h"

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/tls/engine.h"
#include "tests/support/catch.h"
#include "tests/support/hand_keys.h"
#include "tests/support/payload.h"
#include "tests/support/record_cipher.h"
#include "tests/support/tls_pair.h"

namespace starttls {
namespace {

using test::HandKeys;
using test::LibraryEnd;
using test::message;
using test::new_session_ticket;
using test::payload;
using test::PkiFolder;
using test::test_pki;
using tls::Context;
using tls::Engine;
using tls::RawCodec13Options;
using tls::RecordCodec;
namespace content = test::content;

constexpr std::uint16_t kSuites[] = {test::kAes128Gcm, test::kAes256Gcm, test::kChaCha20};
constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
constexpr std::size_t kMaxPlain = tls::kMaxRecordPlain;
constexpr std::string_view kUserCanceled{"\1\x5a", 2};
constexpr std::string_view kCloseNotify{"\1\0", 2};

// RFC 8446 §6.
constexpr int kUnexpectedMessage = 10;
constexpr int kBadRecordMac = 20;
constexpr int kRecordOverflow = 22;
constexpr int kIllegalParameter = 47;
constexpr int kDecodeError = 50;

enum class Role : std::uint8_t { client, server };  // ours

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

 private:
  std::mt19937 engine_;
};

std::string text(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}
std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::span<const std::uint8_t> as_uint8(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string from_hex(std::string_view hex) {
  std::string out;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  }
  return out;
}

/// Joins records in this order. With +, the right operand may be computed first.
std::string joined(std::initializer_list<std::string> records) {
  std::string out;
  for (const auto& record : records) out += record;
  return out;
}

struct Got {
  std::string plain;
  std::string out;
  bool close_notify = false;
  std::optional<Error> error;
  std::size_t unread = 0;
};

/// Feeds `wire` in pieces, as a leg does, until it is used up or the codec accepts no more.
template <typename Codec>
Got feed(Codec& codec, std::string_view wire, std::size_t piece = kAll,
         std::size_t room = std::size_t{300} << 10U) {
  Got got;
  std::vector<std::byte> plain(room);
  std::vector<std::byte> out_room(4096);
  while (!wire.empty()) {
    auto part = bytes(wire.substr(0, piece));
    wire.remove_prefix(part.size());
    for (;;) {
      tls::WireOut out{out_room};
      tls::OpenedRecords opened;
      const auto result = codec.open(part, plain, out, opened);
      REQUIRE(opened.consumed <= part.size());
      REQUIRE(opened.produced <= plain.size());
      part = part.subspan(opened.consumed);
      got.plain += text(std::span<const std::byte>(plain).first(opened.produced));
      got.out += text(out.written());
      got.close_notify |= opened.close_notify;
      if (!result) got.error = result.error();
      if (got.error || got.close_notify) {
        got.unread = part.size() + wire.size();
        return got;
      }
      if (opened.produced < plain.size() && (part.empty() || opened.consumed == 0)) break;
    }
    REQUIRE(part.empty());
  }
  return got;
}

template <typename Codec>
std::optional<std::string> seal(Codec& codec, std::string_view plain) {
  std::vector<std::byte> room(tls::sealed_size_bound(plain.size()));
  tls::WireOut out{room};
  const auto result = codec.seal(bytes(plain), out);
  if (!result) return std::nullopt;
  return text(out.written());
}

template <typename Codec>
std::string close(Codec& codec) {
  std::vector<std::byte> room(100);
  tls::WireOut out{room};
  codec.close(out);
  return text(out.written());
}

/// A codec with keys made by hand in both directions.
struct Bare {
  explicit Bare(Role role = Role::client, std::uint16_t suite = test::kAes128Gcm,
                std::uint64_t max_records = std::uint64_t{1} << 24U)
      : peer(suite, std::string(test::secret_size(suite), 'r')),
        ours(suite, std::string(test::secret_size(suite), 'w')) {
    RawCodec13Options options{
        .pool = pool, .cipher = test::record_cipher(), .max_records = max_records};
    if (role == Role::client) {
      options.on_ticket = [this](std::span<const std::byte> ticket) {
        tickets.push_back(text(ticket));
        return good_tickets;
      };
    }
    const std::string read(test::secret_size(suite), 'r');
    const std::string write(test::secret_size(suite), 'w');
    codec = tls::make_raw_codec13(suite, {as_uint8(read)}, {as_uint8(write)}, std::move(options));
    REQUIRE(codec != nullptr);
  }

  /// Opens our side's output. Data is joined; other records become "[type:content]".
  std::string said(std::string_view wire) {
    std::string out;
    while (!wire.empty()) {
      const auto inner = ours.open(wire);
      if (!inner) return out + "[unreadable]";
      if (inner->type == content::kData) {
        out += inner->content;
        continue;
      }
      out += '[' + std::to_string(inner->type) + ':';
      for (const char c : inner->content) {
        out += ' ' + std::to_string(static_cast<unsigned char>(c));
      }
      out += ']';
      const bool key_update = inner->type == content::kHandshake && inner->content[0] == 24;
      if (key_update) ours.update();
    }
    return out;
  }

  BufferPool pool;
  HandKeys peer;
  HandKeys ours;
  std::vector<std::string> tickets;
  bool good_tickets = true;
  std::unique_ptr<RecordCodec> codec;
};

constexpr char kOurKeyUpdate[] = "[22: 24 0 0 1 0]";

std::string fatal(int alert) {
  return "[21: 2 " + std::to_string(alert) + "]";
}

TEST_CASE("records: the example connection of RFC 8448 is reproduced", "[tls]") {
  // §3. The server's ticket has number 0.
  const std::string client_secret =
      from_hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
  const std::string server_secret =
      from_hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
  const std::string from_client = from_hex(
      "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a2044"
      "1e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4");
  const std::string from_server = from_hex(
      "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a"
      "59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d");
  std::string said;
  for (char c = 0; c < 50; ++c) said += c;

  BufferPool pool;
  const auto client =
      tls::make_raw_codec13(0x1301, {as_uint8(server_secret), 1}, {as_uint8(client_secret)},
                            {.pool = pool, .cipher = test::record_cipher()});
  const auto server =
      tls::make_raw_codec13(0x1301, {as_uint8(client_secret)}, {as_uint8(server_secret), 1},
                            {.pool = pool, .cipher = test::record_cipher()});
  REQUIRE(client);
  REQUIRE(server);
  CHECK(seal(*client, said) == from_client);
  CHECK(seal(*server, said) == from_server);
  CHECK(feed(*server, from_client).plain == said);
  CHECK(feed(*client, from_server).plain == said);
  const std::string client_end = from_hex("1703030013c9872760655666b74d7ff1153efd6db6d0b0e3");
  CHECK(close(*client) == client_end);
  CHECK(feed(*server, client_end).close_notify);
}

TEST_CASE("records: keys that do not fit the cipher suite are refused", "[tls]") {
  BufferPool pool;
  const std::string secret(48, 's');
  const auto keys = [&](std::size_t size) {
    return tls::TrafficKeys{as_uint8(secret).first(size)};
  };
  CHECK(tls::make_raw_codec13(0x1302, keys(48), keys(48),
                              {.pool = pool, .cipher = test::record_cipher()}));
  CHECK_FALSE(tls::make_raw_codec13(0x1302, keys(32), keys(48),
                                    {.pool = pool, .cipher = test::record_cipher()}));
  CHECK_FALSE(tls::make_raw_codec13(0x1301, keys(32), keys(48),
                                    {.pool = pool, .cipher = test::record_cipher()}));
  CHECK_FALSE(tls::make_raw_codec13(0x1301, keys(0), keys(32),
                                    {.pool = pool, .cipher = test::record_cipher()}));
  CHECK_FALSE(tls::make_raw_codec13(0x1304, keys(32), keys(32),
                                    {.pool = pool, .cipher = test::record_cipher()}));
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("records: payload of any size passes with any padding, segmentation and suite", "[tls]") {
  for (const auto suite : kSuites) {
    for (const auto role : {Role::client, Role::server}) {
      for (const std::size_t piece :
           {kAll, std::size_t{1}, std::size_t{5}, std::size_t{16406}, std::size_t{40000}}) {
        Random random(suite + static_cast<unsigned>(piece));
        Bare bare(role, suite);
        std::string wire;
        std::string sent;
        for (int i = 0; i < (piece == 1 ? 5 : 50); ++i) {
          const std::size_t sizes[] = {
              1,         random() % 100, random() % 5000, random() % (kMaxPlain + 1),
              kMaxPlain, kMaxPlain - 1};
          const std::string data = payload(sizes[random() % std::size(sizes)], random());
          const std::size_t most = kMaxPlain - data.size();
          const std::size_t paddings[] = {0, 0, most, most == 0 ? 0 : random() % most};
          wire += bare.peer.data(data, paddings[random() % std::size(paddings)]);
          sent += data;
        }
        const auto got = feed(*bare.codec, wire, piece);
        CHECK_FALSE(got.error);
        CHECK((got.plain == sent));
        CHECK(got.out.empty());
        CHECK(bare.pool.used_bytes() == 0);
      }
      Bare bare(role, suite);
      for (const std::size_t size : {0UL, 1UL, 16383UL, 16384UL, 16385UL, 100000UL}) {
        const auto wire = seal(*bare.codec, payload(size));
        REQUIRE(wire);
        CHECK(wire->size() == size + (size + kMaxPlain - 1) / kMaxPlain * 22);
        CHECK((bare.said(*wire) == payload(size)));
      }
      CHECK(bare.said(close(*bare.codec)) == "[21: 1 0]");
    }
  }
}

TEST_CASE("records: a plain room of one record is enough", "[tls]") {
  Bare bare;
  std::string wire;
  for (std::size_t size : {16384UL, 1UL, 16384UL, 300UL, 9000UL})
    wire += bare.peer.data(payload(size));
  wire += bare.peer.record(content::kAlert, kCloseNotify);
  const auto got = feed(*bare.codec, wire, kAll, tls::kMinPlainRoom);
  CHECK(got.plain.size() == 16384 + 1 + 16384 + 300 + 9000);
  CHECK(got.close_notify);
  CHECK_FALSE(got.error);
}

/// Returns data with every kind of control record in between.
std::string dialogue(HandKeys& peer, bool tickets) {
  std::string wire = peer.data("one,");
  wire += peer.key_update(true);
  wire += peer.data("two,", 7);
  wire += peer.data("", 3);
  wire += peer.record(content::kAlert, kUserCanceled);
  if (tickets) {
    const std::string ticket = new_session_ticket();
    const std::string pair = ticket + ticket;
    wire += peer.record(content::kHandshake, ticket, 2);
    wire += peer.record(content::kHandshake, std::string_view(pair).substr(0, 3));
    wire += peer.record(content::kHandshake, std::string_view(pair).substr(3, 60));
    wire += peer.record(content::kHandshake, std::string_view(pair).substr(63));
  }
  // A KeyUpdate in two pieces.
  wire += peer.record(content::kHandshake, std::string_view("\x18\0", 2));
  wire += peer.record(content::kHandshake, std::string_view("\0\1\0", 3));
  peer.update();
  wire += peer.data("three");
  wire += peer.record(content::kAlert, kCloseNotify, 1);
  return wire;
}

TEST_CASE("records: a dialogue with control records may be cut anywhere", "[tls][L18]") {
  for (const auto role : {Role::client, Role::server}) {
    std::size_t size = 1;
    for (std::size_t cut = 0; cut <= size; ++cut) {
      Bare bare(role);
      const std::string wire = dialogue(bare.peer, role == Role::client);
      size = wire.size();
      auto got = feed(*bare.codec, wire.substr(0, cut));
      REQUIRE_FALSE(got.error);
      if (cut < size) {
        const auto rest = feed(*bare.codec, wire.substr(cut));
        REQUIRE_FALSE(rest.error);
        CHECK_FALSE(got.close_notify);
        got.plain += rest.plain;
        got.close_notify = rest.close_notify;
      }
      CHECK(got.plain == "one,two,three");
      CHECK(got.close_notify);
      CHECK(bare.pool.used_bytes() == 0);
      CHECK(bare.tickets.size() == (role == Role::client ? 3 : 0));
      for (const auto& ticket : bare.tickets) CHECK(ticket == new_session_ticket());
      CHECK(bare.said(seal(*bare.codec, "bye").value()) == std::string(kOurKeyUpdate) + "bye");
    }
    Bare bare(role);
    const auto got = feed(*bare.codec, dialogue(bare.peer, role == Role::client), 1);
    CHECK(got.plain == "one,two,three");
    CHECK(got.close_notify);
  }
}

TEST_CASE("records: a call without input returns nothing, and loses nothing", "[tls]") {
  Bare bare;
  const std::string wire = bare.peer.data("data");
  std::vector<std::byte> plain(tls::kMinPlainRoom);
  tls::WireOut none;
  std::string got;
  for (std::size_t i = 0; i <= wire.size(); ++i) {
    tls::OpenedRecords opened;
    REQUIRE(bare.codec->open({}, plain, none, opened));
    CHECK(opened.consumed == 0);
    CHECK(opened.produced == 0);
    if (i < wire.size()) got += feed(*bare.codec, wire.substr(i, 1)).plain;
  }
  CHECK(got == "data");
}

TEST_CASE("records: a stream that stops in a record delivers nothing of it",
          "[tls][security][L11]") {
  Bare bare;
  const std::string first = bare.peer.data("first");
  const std::string second = bare.peer.data("second");
  for (std::size_t size = 1; size < second.size(); ++size) {
    Bare other;
    static_cast<void>(other.peer.data(""));
    const auto got = feed(*other.codec, first + second.substr(0, size));
    CHECK(got.plain == "first");
    CHECK_FALSE(got.error);
    CHECK_FALSE(got.close_notify);
    // The codec gives the block back when it is destroyed.
    CHECK(other.pool.used_bytes() == BufferPool::kBlockSize);
  }
}

TEST_CASE("records: a requested key update is answered once, before the next data", "[tls][M10]") {
  Bare bare;
  std::string wire;
  for (int i = 0; i < 20; ++i) {
    wire += bare.peer.key_update(true);
    wire += bare.peer.data("x");
  }
  const auto got = feed(*bare.codec, wire, 100);
  CHECK(got.plain == std::string(20, 'x'));
  CHECK(got.out.empty());  // a peer that asks but does not read cannot make output queue up
  CHECK(bare.said(seal(*bare.codec, "").value()).empty());
  CHECK(bare.said(seal(*bare.codec, "a").value()) == std::string(kOurKeyUpdate) + "a");
  CHECK(bare.said(seal(*bare.codec, "b").value()) == "b");
  CHECK_FALSE(feed(*bare.codec, bare.peer.key_update(false)).error);
  CHECK(bare.said(seal(*bare.codec, "c").value()) == "c");
  CHECK_FALSE(feed(*bare.codec, bare.peer.key_update(true)).error);
  CHECK(bare.said(close(*bare.codec)) == "[21: 1 0]");
}

TEST_CASE("records: the proxy's keys are renewed before they are used up", "[tls]") {
  for (const auto suite : kSuites) {
    Bare bare(Role::server, suite, 3);
    std::string said;
    for (int i = 0; i < 10; ++i) said += bare.said(seal(*bare.codec, std::to_string(i)).value());
    const std::string update = kOurKeyUpdate;
    CHECK(said == "012" + update + "345" + update + "678" + update + "9");
  }
  // If each record has a key update of its own, the output still fits into the promised size.
  Bare bare(Role::server, test::kAes128Gcm, 1);
  const auto wire = seal(*bare.codec, payload(20 * kMaxPlain));
  REQUIRE(wire);
  CHECK(wire->size() == 20 * (kMaxPlain + 22) + 19 * 27);
}

TEST_CASE("records: after close_notify nothing is read, and the proxy may go on writing",
          "[tls][L12]") {
  Bare bare;
  std::string wire = bare.peer.data("QUIT");
  wire += bare.peer.record(content::kAlert, kCloseNotify);
  const std::string behind = bare.peer.data("behind");
  const auto got = feed(*bare.codec, wire + behind);
  CHECK(got.plain == "QUIT");
  CHECK(got.close_notify);
  CHECK(got.unread == behind.size());
  const auto again = feed(*bare.codec, behind);
  CHECK(again.plain.empty());
  CHECK(again.close_notify);
  CHECK(bare.said(seal(*bare.codec, "221 bye").value()) == "221 bye");
  CHECK(bare.said(close(*bare.codec)) == "[21: 1 0]");
  CHECK(close(*bare.codec).empty());
  CHECK_FALSE(seal(*bare.codec, "more"));
}

TEST_CASE("records: the proxy's close_notify ends its own direction only", "[tls][L12]") {
  Bare bare;
  CHECK(bare.said(close(*bare.codec)) == "[21: 1 0]");
  CHECK_FALSE(seal(*bare.codec, "more"));
  std::string wire = bare.peer.key_update(true);
  wire += bare.peer.data("answer");
  CHECK(feed(*bare.codec, wire).plain == "answer");
  const auto bad = feed(*bare.codec, "250 injected in the clear\r\n");
  CHECK(bad.error);
  CHECK(bad.out.empty());  // after close_notify nothing is sent
}

struct Bad {
  std::string name;
  int alert;
  /// Makes the bad input.
  std::function<std::string(HandKeys& peer)> wire;
};

std::string repeated(int count, const std::function<std::string()>& make) {
  std::string out;
  for (int i = 0; i < count; ++i) out += make();
  return out;
}

std::vector<Bad> bad_input() {
  const auto handshake = [](std::string body) {
    return [body](HandKeys& peer) { return peer.record(content::kHandshake, body); };
  };
  const auto inner = [](std::string plain) {
    return [plain](HandKeys& peer) { return peer.seal(plain); };
  };
  const std::string update = message(24, std::string(1, '\0'));
  std::vector<Bad> out = {
      {"clear text", kUnexpectedMessage, [](HandKeys&) { return "250 injected\r\n"; }},
      {"a change_cipher_spec in the clear", kUnexpectedMessage,
       [](HandKeys&) { return std::string("\x14\3\3\0\1\1", 6); }},
      {"an alert in the clear", kUnexpectedMessage,
       [](HandKeys&) { return std::string("\x15\3\3\0\2\1\0", 7); }},
      {"a handshake record in the clear", kUnexpectedMessage,
       [](HandKeys&) { return std::string("\x16\3\3\0\4\0\0\0\0", 9); }},
      {"another version", kUnexpectedMessage,
       [](HandKeys& peer) {
         auto wire = peer.data("x");
         wire[2] = 1;
         return wire;
       }},
      {"no body", kBadRecordMac, [](HandKeys&) { return std::string("\x17\3\3\0\0", 5); }},
      {"less than a tag", kBadRecordMac,
       [](HandKeys&) { return std::string("\x17\3\3\0\xf", 5) + std::string(15, 'x'); }},
      {"only a tag", kUnexpectedMessage, inner("")},
      {"only padding", kUnexpectedMessage, inner(std::string(100, '\0'))},
      {"a length above the limit", kRecordOverflow,
       [](HandKeys&) { return std::string("\x17\3\3\x41\x01", 5); }},
      {"the greatest length of all", kRecordOverflow,
       [](HandKeys&) { return std::string("\x17\3\3\xff\xff", 5); }},
      {"the greatest length that is allowed, forged", kBadRecordMac,
       [](HandKeys&) { return std::string("\x17\3\3\x41\x00", 5) + std::string(16640, 'x'); }},
      {"too much data", kRecordOverflow, inner(std::string(kMaxPlain + 1, 'x') + '\x17')},
      {"too much padding", kRecordOverflow, inner("x\x17" + std::string(kMaxPlain, '\0'))},
      {"as much as a record can hold", kRecordOverflow, inner(std::string(16623, 'x') + '\x17')},
      {"a replay", kBadRecordMac,
       [](HandKeys& peer) {
         const auto wire = peer.record(content::kData, "");
         return wire + wire;
       }},
      {"a record left out", kBadRecordMac,
       [](HandKeys& peer) {
         static_cast<void>(peer.data("lost"));
         return peer.data("x");
       }},
      {"two records that changed places", kBadRecordMac,
       [](HandKeys& peer) {
         const auto first = peer.data("1");
         return peer.data("2") + first;
       }},
      {"the last byte cut off, and a record behind", kBadRecordMac,
       [](HandKeys& peer) {
         auto wire = peer.data("cut");
         // The next record begins with this byte, which would replace the one that is cut off.
         while (wire.back() == '\x17') wire = peer.data("cut");
         wire.pop_back();
         return wire + peer.data("behind");
       }},
      {"an encrypted change_cipher_spec", kUnexpectedMessage, inner("\1\x14")},
      {"an unknown type", kUnexpectedMessage, inner("x\x18")},
      {"the type 255", kUnexpectedMessage, inner("x\xff")},
      {"an empty record of an unknown type", kUnexpectedMessage, inner("\x63")},
      {"an empty alert", kUnexpectedMessage, inner("\x15")},
      {"half an alert", kDecodeError, inner("\1\x15")},
      {"an alert and a half", kDecodeError, inner(std::string("\1\0\1\x15", 4))},
      {"two alerts", kDecodeError, inner(std::string("\1\x5a\1\0\x15", 5))},
      {"an empty handshake record", kUnexpectedMessage, inner("\x16")},
      {"a key update of another value", kIllegalParameter, handshake(message(24, "\2"))},
      {"a key update of no value", kDecodeError, handshake(message(24, ""))},
      {"a key update of two bytes", kDecodeError, handshake(message(24, std::string(2, '\0')))},
      {"a key update with a message behind", kUnexpectedMessage, handshake(update + update)},
      {"a key update with a piece behind", kUnexpectedMessage, handshake(update + '\4')},
      {"a message above the limit", kIllegalParameter, handshake(std::string("\4\0\x40\1", 4))},
      {"the longest message of all", kIllegalParameter, handshake("\4\xff\xff\xff")},
      {"data between pieces of a message", kUnexpectedMessage,
       [](HandKeys& peer) {
         return joined({peer.record(content::kHandshake, "\4"), peer.data("x")});
       }},
      {"an empty record between pieces of a message", kUnexpectedMessage,
       [](HandKeys& peer) {
         return joined({peer.record(content::kHandshake, "\4"), peer.data("")});
       }},
      {"an alert between pieces of a message", kUnexpectedMessage,
       [](HandKeys& peer) {
         return joined(
             {peer.record(content::kHandshake, "\4"), peer.record(content::kAlert, kCloseNotify)});
       }},
      {"too many empty records", kUnexpectedMessage,
       [](HandKeys& peer) { return repeated(33, [&] { return peer.data("", 100); }); }},
      {"too many key updates", kUnexpectedMessage,
       [](HandKeys& peer) { return repeated(33, [&] { return peer.key_update(true); }); }},
      {"too many warnings", kUnexpectedMessage,
       [](HandKeys& peer) {
         return repeated(33, [&] { return peer.record(content::kAlert, kUserCanceled); });
       }},
      {"a message in too many pieces", kUnexpectedMessage,
       [](HandKeys& peer) {
         const auto ticket = new_session_ticket();
         std::size_t at = 0;
         return repeated(33,
                         [&] { return peer.record(content::kHandshake, ticket.substr(at++, 1)); });
       }},
      {"the old keys after a key update", kBadRecordMac,
       [](HandKeys& peer) {
         return joined(
             {peer.record(content::kHandshake, message(24, std::string(1, 0))), peer.data("old")});
       }},
  };
  // Every message except tickets and key updates: HelloRequest to Finished, and unassigned numbers.
  for (const int type : {0, 1, 2, 3, 5, 8, 11, 13, 15, 20, 22, 25, 254, 255}) {
    out.push_back({"message " + std::to_string(type), kUnexpectedMessage,
                   handshake(message(static_cast<std::uint8_t>(type), "body"))});
  }
  return out;
}

TEST_CASE("records: bad input ends the connection with the alert that the RFC names",
          "[tls][security][L2]") {
  for (const auto& bad : bad_input()) {
    for (const auto role : {Role::client, Role::server}) {
      for (const std::size_t piece : {kAll, std::size_t{1}, std::size_t{1000}}) {
        INFO(bad.name << ", piece " << piece);
        Bare bare(role);
        std::string wire = bare.peer.data("good");
        wire += bad.wire(bare.peer);
        wire += bare.peer.data("behind");
        const auto got = feed(*bare.codec, wire, piece);
        CHECK(got.plain == "good");
        REQUIRE(got.error);
        CHECK(got.error->code == Errc::tls);
        CHECK_FALSE(got.close_notify);
        CHECK(bare.said(got.out) == fatal(bad.alert));
        CHECK(ERR_peek_error() == 0);

        CHECK(bare.pool.used_bytes() == 0);
        const auto more = feed(*bare.codec, bare.peer.data("more"));
        CHECK(more.error);
        CHECK(more.plain.empty());
        CHECK(more.out.empty());
        CHECK_FALSE(seal(*bare.codec, "x"));
        CHECK(close(*bare.codec).empty());
      }
    }
  }
}

TEST_CASE("records: a bad header is refused before its record is complete", "[tls][security]") {
  for (const std::string_view header :
       {"250 i", "\x15\3\3\x40\1", "\x17\3\2\x40\1", "\x17\3\3\x41\1"}) {
    Bare bare;
    CHECK_FALSE(feed(*bare.codec, header.substr(0, 4)).error);
    CHECK(feed(*bare.codec, header.substr(4)).error);
  }
}

TEST_CASE("records: one flipped bit anywhere ends the connection", "[tls][security]") {
  for (const auto suite : kSuites) {
    const std::size_t size = Bare(Role::client, suite).peer.data(payload(64), 3).size();
    for (std::size_t at = 0; at < size; ++at) {
      for (const int bit : {0, 3, 7}) {
        INFO(at << '.' << bit);
        Bare bare(Role::client, suite);
        std::string wire = bare.peer.data("good");
        const std::size_t start = wire.size();
        wire += bare.peer.data(payload(64), 3);
        wire[start + at] =
            static_cast<char>(static_cast<unsigned char>(wire[start + at]) ^ 1U << bit);
        // The bytes after it are enough for the longest record.
        wire += bare.peer.data(payload(kMaxPlain));
        const auto got = feed(*bare.codec, wire);
        CHECK(got.plain == "good");
        REQUIRE(got.error);
        const bool too_long = at == 3 && bit == 7;
        const int alert = at < 3 ? kUnexpectedMessage : too_long ? kRecordOverflow : kBadRecordMac;
        CHECK(bare.said(got.out) == fatal(alert));
      }
    }
  }
}

TEST_CASE("records: records without payload are counted until payload comes",
          "[tls][security][L2]") {
  const auto idle = [](HandKeys& peer, int i) {
    switch (i % 3) {
      case 0:
        return peer.data("", 5);
      case 1:
        return peer.key_update(i % 2 == 0);
      default:
        return peer.record(content::kAlert, kUserCanceled);
    }
  };
  Bare bare;
  for (int round = 0; round < 5; ++round) {
    std::string wire;
    for (int i = 0; i < 32; ++i) wire += idle(bare.peer, i);
    wire += bare.peer.data("x");
    const auto got = feed(*bare.codec, wire);
    REQUIRE_FALSE(got.error);
    CHECK(got.plain == "x");
  }
  std::string wire;
  for (int i = 0; i < 32; ++i) wire += idle(bare.peer, i);
  REQUIRE_FALSE(feed(*bare.codec, wire).error);
  CHECK(feed(*bare.codec, bare.peer.data("")).error);
}

TEST_CASE("records: the longest message is accepted, a malformed ticket is not",
          "[tls][security]") {
  // 4 + 4 + 1 + 1 + 2 + 2 bytes of the message do not belong to the ticket.
  const auto longest = new_session_ticket(16384 - 14);
  REQUIRE(longest.size() == 4 + 16384);
  for (const std::size_t cut : {1UL, 4UL, 5UL, 16000UL}) {
    Bare bare;
    std::string wire = bare.peer.record(content::kHandshake, longest.substr(0, cut));
    wire += bare.peer.record(content::kHandshake, longest.substr(cut, 16384));
    if (cut < 4) wire += bare.peer.record(content::kHandshake, longest.substr(cut + 16384));
    wire += bare.peer.data("x");
    const auto got = feed(*bare.codec, wire);
    CHECK_FALSE(got.error);
    CHECK(got.plain == "x");
    REQUIRE(bare.tickets.size() == 1);
    CHECK((bare.tickets[0] == longest));
  }
  Bare bare;
  bare.good_tickets = false;
  const auto got = feed(*bare.codec, bare.peer.record(content::kHandshake, new_session_ticket()));
  CHECK(got.error);
  CHECK(bare.said(got.out) == fatal(kDecodeError));

  Bare server(Role::server);
  const auto refused =
      feed(*server.codec, server.peer.record(content::kHandshake, new_session_ticket()));
  CHECK(server.said(refused.out) == fatal(kUnexpectedMessage));
}

TEST_CASE("records: an alert of the peer ends both directions, at any level", "[tls]") {
  for (const char level : {'\1', '\2'}) {
    for (const int alert : {10, 20, 80, 100, 255}) {
      Bare bare;
      std::string wire = bare.peer.data("good");
      wire += bare.peer.record(content::kAlert, std::string{level, static_cast<char>(alert)});
      wire += bare.peer.data("behind");
      const auto got = feed(*bare.codec, wire);
      CHECK(got.plain == "good");
      REQUIRE(got.error);
      CHECK(got.error->reason.ends_with("(alert " + std::to_string(alert) + ")"));
      CHECK(got.out.empty());
      CHECK_FALSE(seal(*bare.codec, "x"));
      CHECK(close(*bare.codec).empty());
    }
    Bare bare;
    const auto got = feed(*bare.codec, bare.peer.record(content::kAlert, std::string{level, 0}));
    CHECK(got.close_notify);
    CHECK_FALSE(got.error);
  }
}

TEST_CASE("records: too little room for the output is an error, not half a record", "[tls]") {
  Bare bare;
  std::vector<std::byte> small(100);
  tls::WireOut out{small};
  CHECK_FALSE(bare.codec->seal(bytes(payload(200)), out));
  CHECK(out.used == 0);
  CHECK(bare.said(seal(*bare.codec, "next").value()) == "next");  // its number is still unused
  tls::WireOut none;
  bare.codec->close(none);
  CHECK(none.used == 0);

  Bare other;
  std::vector<std::byte> plain(tls::kMinPlainRoom);
  tls::OpenedRecords opened;
  CHECK_FALSE(other.codec->open(bytes("250 injected"), plain, none, opened));
  CHECK(none.used == 0);
}

// Tests against the library. The codec takes over one of the library's own ends.

struct Taken {
  explicit Taken(Role role, std::uint64_t max_records = std::uint64_t{1} << 24U,
                 const std::string& early = {}, std::size_t cipher_from = 0)
      : client(LibraryEnd::client({})), server(LibraryEnd::server(test_pki().server, {})) {
    std::string to_client;
    std::string to_server;
    REQUIRE(client->handshake(to_client, to_server));
    REQUIRE(server->handshake(to_server, to_client));
    REQUIRE(client->handshake(to_client, to_server).value());
    if (!early.empty()) to_server += client->seal(early);
    REQUIRE(server->handshake(to_server, to_client).value());
    SSL_write(server->ssl(), "", 0);  // the tickets
    to_client += server->drain();
    LibraryEnd& ours = role == Role::client ? *client : *server;
    if (role == Role::server) CHECK_FALSE(client->receive(to_client).error);
    peer = role == Role::client ? server.get() : client.get();
    RawCodec13Options options{
        .pool = pool, .cipher = test::record_cipher(), .max_records = max_records};
    if (role == Role::client) {
      options.on_ticket = [this, &ours](std::span<const std::byte> ticket) {
        sessions.emplace_back(SSL_process_tls13_new_session_ticket(
            ours.ssl(), as_uint8(text(ticket)).data(), ticket.size()));
        return sessions.back() != nullptr;
      };
    }
    options.cipher_from = cipher_from;
    codec = tls::make_raw_codec13(*ours.ssl(), std::move(options));
    if (role == Role::client) arrived = to_client;
  }

  BufferPool pool;
  std::unique_ptr<LibraryEnd> client;
  std::unique_ptr<LibraryEnd> server;
  LibraryEnd* peer = nullptr;
  std::string arrived;  ///< tickets
  std::vector<bssl::UniquePtr<SSL_SESSION>> sessions;
  std::unique_ptr<RecordCodec> codec;
};

TEST_CASE("records: a long dialogue with the library works while both renew keys", "[tls][M10]") {
  for (const auto role : {Role::client, Role::server}) {
    for (const std::uint64_t max_records : {1UL, 3UL, 1UL << 24U}) {
      Random random(static_cast<unsigned>(max_records));
      // Sometimes both ciphers take turns under one key.
      Taken taken(role, max_records, {}, max_records == 3 ? 0 : 250);
      REQUIRE(taken.codec);
      std::string wire = taken.arrived;
      std::string sent;
      std::string received;
      for (int i = 0; i < 300; ++i) {
        if (random() % 4 == 0) {
          const int how =
              random() % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
          REQUIRE(SSL_key_update(taken.peer->ssl(), how) == 1);
        }
        const std::size_t size = random() % (random() % 8 == 0 ? 60000 : 500) + 1;
        const std::string data = payload(size, random());
        sent += data;
        wire += taken.peer->seal(data);
        const std::size_t now = random() % (wire.size() + 1);  // the rest comes later
        const auto got = feed(*taken.codec, std::string_view(wire).substr(0, now),
                              random() % 3 == 0 ? 1 + random() % 3000 : kAll);
        REQUIRE_FALSE(got.error);
        CHECK(got.out.empty());
        wire.erase(0, now);
        received += got.plain;

        const std::string answer =
            payload(random() % (random() % 8 == 0 ? 60000 : 500) + 1, random());
        auto sealed = seal(*taken.codec, answer);
        REQUIRE(sealed);
        const auto heard = taken.peer->receive(*sealed);
        REQUIRE_FALSE(heard.error);
        REQUIRE((heard.plain == answer));
      }
      wire += taken.peer->close();
      const auto got = feed(*taken.codec, wire);
      CHECK(got.close_notify);
      CHECK((received + got.plain == sent));
      std::string end = close(*taken.codec);
      CHECK(taken.peer->receive(end).close_notify);
      CHECK(taken.sessions.size() == (role == Role::client ? 2 : 0));
    }
  }
}

TEST_CASE("records: the library and the codec understand each other's alerts", "[tls]") {
  for (const auto role : {Role::client, Role::server}) {
    Taken taken(role);
    auto got = feed(*taken.codec, taken.arrived + "250 injected in the clear\r\n");
    REQUIRE(got.error);
    const auto heard = taken.peer->receive(got.out);
    REQUIRE(heard.error);
    CHECK(heard.error->reason == "SSLV3_ALERT_UNEXPECTED_MESSAGE");

    Taken other(role);
    SSL_send_fatal_alert(other.peer->ssl(), SSL_AD_INTERNAL_ERROR);
    got = feed(*other.codec, other.arrived + other.peer->drain());
    REQUIRE(got.error);
    CHECK(got.error->reason == "TLS alert from the peer: internal error (alert 80)");
    CHECK(got.out.empty());
  }
}

TEST_CASE("records: a connection is taken over only if nothing is pending", "[tls]") {
  BufferPool pool;
  const auto fresh = LibraryEnd::client({});
  CHECK_FALSE(
      tls::make_raw_codec13(*fresh->ssl(), {.pool = pool, .cipher = test::record_cipher()}));

  const auto client12 = LibraryEnd::client({.max_version = TLS1_2_VERSION});
  const auto server12 = LibraryEnd::server(test_pki().server, {});
  REQUIRE(test::shake_hands(*client12, *server12).done);
  CHECK_FALSE(
      tls::make_raw_codec13(*client12->ssl(), {.pool = pool, .cipher = test::record_cipher()}));

  Taken taken(Role::server);
  CHECK(taken.codec);
  std::string wire = taken.client->seal("0123456789");
  BIO_write(SSL_get_rbio(taken.server->ssl()), wire.data(), static_cast<int>(wire.size()));
  char one = 0;
  REQUIRE(SSL_read(taken.server->ssl(), &one, 1) == 1);
  CHECK_FALSE(
      tls::make_raw_codec13(*taken.server->ssl(), {.pool = pool, .cipher = test::record_cipher()}));
  char rest[9];
  REQUIRE(SSL_read(taken.server->ssl(), rest, sizeof(rest)) == 9);
  CHECK(
      tls::make_raw_codec13(*taken.server->ssl(), {.pool = pool, .cipher = test::record_cipher()}));
  CHECK(ERR_peek_error() == 0);
}

// Tests of engines with either record layer. Their peer is the library during the handshake. After
// it, records are made by hand.

std::shared_ptr<const Context> client_context(RecordCodecChoice codec) {
  const PkiFolder folder;
  auto context =
      Context::client({.ca_file = folder.write("ca.pem", test_pki().root.certificate_pem()),
                       .record_codec = codec,
                       .record_cipher = test::record_cipher()});
  REQUIRE(context);
  return *context;
}

std::shared_ptr<const Context> server_context(RecordCodecChoice codec) {
  const PkiFolder folder;
  auto context = Context::server({.certificates = {folder.write("server", test_pki().server)},
                                  .record_codec = codec,
                                  .record_cipher = test::record_cipher()});
  REQUIRE(context);
  return *context;
}

struct ByHand {
  ByHand(Role role, const std::shared_ptr<const Context>& context) {
    auto made = role == Role::client
                    ? Engine::client(context, test::worker_pool(), "mail.test", "192.0.2.1:25")
                    : Engine::server(context, test::worker_pool());
    REQUIRE(made);
    engine = std::move(*made);
    end = role == Role::client ? LibraryEnd::server(test_pki().server, {}) : LibraryEnd::client({});
    std::string to_engine;
    std::string to_end;
    if (role == Role::server) REQUIRE(end->handshake(to_end, to_engine));
    for (int i = 0; i < 3; ++i) {
      step(to_engine, to_end);
      if (!to_end.empty()) REQUIRE(end->handshake(to_end, to_engine));
    }
    REQUIRE(engine->established());
    REQUIRE(SSL_in_init(end->ssl()) == 0);
    std::string rest = to_end;
    if (role == Role::server) CHECK_FALSE(end->receive(rest).error);

    bssl::Span<const std::uint8_t> read;
    bssl::Span<const std::uint8_t> write;
    REQUIRE(bssl::SSL_get_traffic_secrets(end->ssl(), &read, &write));
    const auto copy = [](bssl::Span<const std::uint8_t> secret) {
      return std::string(reinterpret_cast<const char*>(secret.data()), secret.size());
    };
    const std::uint16_t suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(end->ssl()));
    theirs.emplace(suite, copy(read), SSL_get_read_sequence(end->ssl()));
    if (role == Role::server) {
      peer.emplace(suite, copy(write), SSL_get_write_sequence(end->ssl()));
      return;
    }
    // Opens the library's tickets, so that they can be sent again in other shapes.
    SSL_write(end->ssl(), "", 0);
    to_engine += end->drain();
    HandKeys opener(suite, copy(write));
    std::string_view wire = to_engine;
    while (!wire.empty()) {
      const auto inner = opener.open(wire);
      REQUIRE(inner);
      REQUIRE(inner->type == content::kHandshake);
      tickets += inner->content;
    }
    peer.emplace(suite, copy(write));
  }

  void step(std::string& in, std::string& out) {
    std::vector<std::byte> room(tls::kHandshakeRoom);
    tls::WireOut wire{room};
    const auto result = engine->handshake(bytes(in), wire);
    REQUIRE(result);
    in.erase(0, result->consumed);
    out += text(wire.written());
  }

  std::unique_ptr<Engine> engine;
  std::unique_ptr<LibraryEnd> end;
  std::optional<HandKeys> peer;    // the peer's output
  std::optional<HandKeys> theirs;  // the engine's output
  std::string tickets;
};

TEST_CASE("records: tickets of any shape are kept, and resumed", "[tls]") {
  for (const auto codec : {RecordCodecChoice::automatic, RecordCodecChoice::library}) {
    for (const std::size_t piece : {std::size_t{20}, std::size_t{100}, std::size_t{5000}}) {
      const auto context = client_context(codec);
      {
        ByHand first(Role::client, context);
        CHECK_FALSE(first.engine->facts().resumed);
        REQUIRE(first.tickets.size() > 100);
        std::string wire;
        for (std::size_t at = 0; at < first.tickets.size(); at += piece) {
          wire += first.peer->record(content::kHandshake, first.tickets.substr(at, piece), 3);
          if (at / piece == 25) break;  // at most this many in a row
        }
        const bool whole = first.tickets.size() <= 26 * piece;
        if (whole) wire += first.peer->data("220 ready\r\n");
        const auto got = feed(*first.engine, wire, 7);
        REQUIRE_FALSE(got.error);
        if (whole) CHECK(got.plain == "220 ready\r\n");
      }
      ByHand second(Role::client, context);
      CHECK(second.engine->facts().resumed);
      if (piece == 20) continue;
      ByHand third(Role::client, context);
      CHECK(third.engine->facts().resumed);  // the server sent two tickets
      ByHand fourth(Role::client, context);
      CHECK_FALSE(fourth.engine->facts().resumed);
    }
  }
}

TEST_CASE("records: a malformed ticket ends the connection", "[tls][security]") {
  for (const auto codec : {RecordCodecChoice::automatic, RecordCodecChoice::library}) {
    ByHand hand(Role::client, client_context(codec));
    std::string ticket = new_session_ticket();
    ticket.pop_back();
    ticket[3] = static_cast<char>(ticket[3] - 1);
    const auto got = feed(*hand.engine, hand.peer->record(content::kHandshake, ticket));
    CHECK(got.error);
    std::string_view out = got.out;
    const auto alert = hand.theirs->open(out);
    REQUIRE(alert);
    CHECK(alert->content == std::string{2, kDecodeError});
    CHECK(ERR_peek_error() == 0);
  }
}

/// Returns the engine's data and its alert as a number.
std::pair<std::string, int> heard(ByHand& hand, std::string_view wire) {
  std::string data;
  int alert = -1;
  while (!wire.empty()) {
    const auto inner = hand.theirs->open(wire);
    REQUIRE(inner);
    if (inner->type == content::kData) data += inner->content;
    if (inner->type == content::kAlert) alert = static_cast<unsigned char>(inner->content.at(1));
    if (inner->type == content::kHandshake) hand.theirs->update();
  }
  return {data, alert};
}

/// Returns one record or a few. Both engines get the same records from the same random numbers.
std::string random_records(HandKeys& peer, Random random, bool client) {
  const auto size = [&random](std::size_t most) { return random() % (most + 1); };
  switch (random() % 20) {
    case 0:
      return joined({peer.key_update(true), peer.data("u")});
    case 1:
      return peer.key_update(false);
    case 2:
      return peer.data("", size(300));
    case 3:
      if (client) return peer.record(content::kHandshake, new_session_ticket(), size(40));
      break;
    case 4: {
      if (!client) break;
      const auto ticket = new_session_ticket(100) + new_session_ticket(3);
      const auto cut = 1 + size(ticket.size() - 2);
      return joined({peer.record(content::kHandshake, ticket.substr(0, cut)),
                     peer.record(content::kHandshake, ticket.substr(cut))});
    }
    case 5: {
      const auto most = payload(size(kMaxPlain), 5);
      return peer.data(most, kMaxPlain - most.size());
    }
    case 6:
      return joined({peer.record(content::kAlert, kUserCanceled), peer.data("w")});
    case 7:
      switch (random() % 12) {  // ends the connection in some way
        case 0:
          return peer.record(content::kAlert, kCloseNotify);
        case 1:
          return peer.record(content::kAlert, std::string{2, 80});
        case 2:
          return peer.record(content::kAlert, std::string{2});
        case 3:
          return peer.seal(std::string(kMaxPlain + 1, 'x') + '\x17');
        case 4:
          return std::string("\x17\3\3\x50\1", 5);
        case 5:
          return peer.record(content::kHandshake, message(24, "\2"));
        case 6:
          return peer.record(content::kHandshake, message(24, ""));
        case 7:
          return peer.record(content::kHandshake, message(24, std::string(1, '\0')) + "x");
        case 8:
          // Larger than any limit: newer libraries allow tickets that hold a chain.
          return peer.record(content::kHandshake, "\4\xff\xff\xff");
        case 9:
          return peer.record(content::kHandshake, message(2, "hello"));
        case 10: {
          auto wire = peer.data("forged");
          wire.back() = static_cast<char>(wire.back() ^ 1);
          return wire;
        }
        default:
          return peer.record(24, "heartbeat");
      }
    default:
      break;
  }
  return peer.data(payload(size(random() % 5 == 0 ? kMaxPlain : 900), random()),
                   size(3) * size(90));
}

TEST_CASE("records: both record layers behave the same", "[tls][security]") {
  for (const auto role : {Role::client, Role::server}) {
    const auto context = role == Role::client ? client_context : server_context;
    const auto raw_context = context(RecordCodecChoice::automatic);
    const auto library_context = context(RecordCodecChoice::library);
    int failed = 0;
    int closed = 0;
    for (unsigned seed = 1; seed <= 150; ++seed) {
      INFO("seed " << seed);
      ByHand raw(role, raw_context);
      ByHand library(role, library_context);
      Random random(seed);
      bool over = false;
      bool refused = false;
      for (int i = 0; i < 25 && !over; ++i) {
        const Random same(static_cast<unsigned>(random()));
        const std::string wire = random_records(*raw.peer, same, role == Role::client);
        const std::string other = random_records(*library.peer, same, role == Role::client);
        const std::size_t piece = random() % 3 == 0 ? 1 + random() % 200 : kAll;
        const auto got = feed(*raw.engine, wire, piece);
        const auto expected = feed(*library.engine, other, piece);
        CHECK((got.plain == expected.plain));
        REQUIRE(got.close_notify == expected.close_notify);
        REQUIRE(got.error.has_value() == expected.error.has_value());
        REQUIRE(got.unread == expected.unread);
        const auto alert = heard(raw, got.out);
        const auto expected_alert = heard(library, expected.out);
        INFO(alert.second << ", the library's: " << expected_alert.second);
        // §4.6.3 requires another alert than the library's.
        const bool key_update = got.error && got.error->reason == "TLS error: bad key update";
        if (key_update) {
          CHECK(expected_alert.second == kDecodeError);
        } else {
          REQUIRE(alert == expected_alert);
        }
        over = got.error || got.close_notify;
        failed += got.error ? 1 : 0;
        closed += got.close_notify ? 1 : 0;
        refused = got.error.has_value();
        if (refused) break;
        const std::string answer = payload(random() % 20000 + 1, random());
        const auto sealed = seal(*raw.engine, answer);
        const auto expected_seal = seal(*library.engine, answer);
        REQUIRE(sealed.has_value() == expected_seal.has_value());
        if (sealed) {
          REQUIRE((heard(raw, *sealed).first == answer));
          REQUIRE((heard(library, *expected_seal).first == answer));
        }
      }
      // After the peer's fatal alert the library would still say close_notify.
      const std::string end = close(*raw.engine);
      const std::string other_end = close(*library.engine);
      if (!refused) CHECK(heard(raw, end) == heard(library, other_end));
      CHECK(end.empty() == refused);
    }
    CHECK(failed > 20);
    CHECK(closed > 2);
  }
}

TEST_CASE("records: nothing of a bad record is delivered, with either record layer",
          "[tls][security]") {
  for (const auto codec : {RecordCodecChoice::automatic, RecordCodecChoice::library}) {
    const auto clients = client_context(codec);
    for (const auto& bad : bad_input()) {
      // The library accepts these: an alert amid a message, and pieces of any number and size.
      if (bad.name == "an alert between pieces of a message" ||
          bad.name == "a message in too many pieces" || bad.name == "an empty handshake record") {
        continue;
      }
      INFO(bad.name);
      ByHand hand(Role::client, clients);
      std::string wire = hand.peer->data("good");
      wire += bad.wire(*hand.peer);
      wire += std::string(17000, 'x');  // the library's longest record is longer
      const auto got = feed(*hand.engine, wire);
      CHECK(got.plain == "good");
      CHECK(got.error);
      CHECK_FALSE(got.close_notify);
      CHECK(ERR_peek_error() == 0);
    }
  }
}

}  // namespace
}  // namespace starttls

#include "lib/proto/proxy_header.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/crc32c.h"
#include "lib/base/ip_endpoint.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;
using namespace std::string_literals;

namespace {

using Family = IpEndpoint::Family;
using Origin = ProxyHeader::Origin;

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;
/// Bytes that may follow a header in the same segment. They are nothing, words, the first bytes of
/// a ClientHello, or the beginning of another header.
const std::vector<std::string> kBehind = {"",
                                          "EHLO a.example\r\n",
                                          "\x16\x03\x01\x02\0\x01\0"s,
                                          "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
                                          kSignature,
                                          "\n"};

struct Reading {
  std::optional<ProxyHeader> header;
  std::optional<Error> error;
  std::size_t consumed = 0;
};

/// Reads `input` in pieces. The first piece has `first` bytes, the others have `others`.
Reading read(std::string_view input, std::size_t first, std::size_t others) {
  ProxyHeaderReader reader;
  Reading out;
  auto size = first;
  for (std::size_t at = 0; at < input.size(); size = others) {
    const auto piece = input.substr(at, size);
    const auto step = reader.feed(piece);
    if (!step) {
      out.error = step.error();
      return out;
    }
    out.consumed += step->consumed;
    if (step->header) {
      out.header = *step->header;
      return out;
    }
    if (step->consumed != piece.size()) FAIL("left bytes over and wants more");
    at += piece.size();
  }
  return out;
}

Reading read(std::string_view input) {
  return read(input, input.size(), input.size());
}

/// Checks that the header is read the same at every split, byte by byte, and with anything after
/// it. It must never be read before its last byte is there.
ProxyHeader check_reads(const std::string& data) {
  CAPTURE(data);
  const auto whole = read(data);
  if (whole.error) FAIL(whole.error->reason);
  REQUIRE(whole.header);
  for (const auto& behind : kBehind) {
    const auto input = data + behind;
    for (std::size_t at = 0; at <= input.size(); ++at) {
      const auto reading = read(input, at, input.size());
      if (reading.header != whole.header) FAIL("split at " << at << ": another header");
      if (reading.consumed != data.size()) FAIL("split at " << at << ": over-read");
    }
    const auto drops = read(input, 1, 1);
    CHECK(drops.header == whole.header);
    CHECK(drops.consumed == data.size());
  }
  for (std::size_t size = 0; size < data.size(); ++size) {
    const auto cut = read(std::string_view(data).substr(0, size));
    if (cut.error || cut.header) FAIL("cut after " << size << ": decided");
  }
  CHECK(proxy_signature(data) == ProxySignature::yes);
  return *whole.header;
}

/// The result of a refusal: its reason, and the number of bytes after which it is known. The header
/// must be refused at every split, for the same reason.
struct Refusal {
  std::string reason;
  std::size_t known_after;
};
Refusal check_refused(const std::string& data) {
  CAPTURE(data);
  const auto whole = read(data);
  REQUIRE(whole.error);
  CHECK(whole.error->code == Errc::client_protocol);
  for (std::size_t at = 0; at <= data.size(); ++at) {
    const auto reading = read(data, at, 1);
    if (!reading.error) FAIL("split at " << at << ": accepted");
    if (reading.error->reason != whole.error->reason) FAIL("split at " << at << ": another reason");
  }
  std::size_t size = 0;
  while (!read(std::string_view(data).substr(0, size)).error) ++size;
  return {whole.error->reason, size};
}
std::string why(const std::string& data) {
  return check_refused(data).reason;
}

IpEndpoint v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint16_t port) {
  return {.family = Family::v4, .bytes = {a, b, c, d}, .port = port};
}
/// Returns 2001:db8::`last`.
IpEndpoint v6(std::uint8_t last, std::uint16_t port) {
  IpEndpoint out{.family = Family::v6, .bytes = {0x20, 0x01, 0x0d, 0xb8}, .port = port};
  out.bytes[15] = last;
  return out;
}

ProxyHeader relayed(std::uint8_t version, const IpEndpoint& client, const IpEndpoint& destination) {
  return {Origin::relayed, version, client, destination};
}
const ProxyHeader kUnknown1{.origin = Origin::unknown, .version = 1};
const ProxyHeader kUnknown2{.origin = Origin::unknown, .version = 2};
const ProxyHeader kLocal2{.origin = Origin::local, .version = 2};

std::string number(std::size_t value) {
  return {static_cast<char>(value >> 8U), static_cast<char>(value & 0xffU)};
}
/// Makes a header of version 2 by hand.
std::string binary(unsigned version_command, unsigned family_transport, const std::string& block) {
  return kSignature + static_cast<char>(version_command) + static_cast<char>(family_transport) +
         number(block.size()) + block;
}
std::string vector(unsigned type, const std::string& value) {
  return static_cast<char>(type) + number(value.size()) + value;
}

const std::string kInet = "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x00\x19"s;
const std::string kInet6 =
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xff\xff\x03\xe1"s;
const ProxyHeader kInetHeader = relayed(2, v4(192, 0, 2, 1, 56324), v4(198, 51, 100, 7, 25));

}  // namespace

// ---------------------------------------------------------------- reading version 1

TEST_CASE(
    "proxy header: the specification's examples of version 1 are read, and nothing after them",
    "[proto][proxy][P15]") {
  CHECK(check_reads("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n") ==
        relayed(1, v4(192, 168, 0, 1, 56324), v4(192, 168, 0, 11, 443)));
  CHECK(check_reads("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n") ==
        relayed(1, v4(255, 255, 255, 255, 65535), v4(255, 255, 255, 255, 65535)));

  IpEndpoint all{.family = Family::v6, .port = 65535};
  all.bytes.fill(0xff);
  const std::string longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  CHECK(check_reads("PROXY TCP6 " + longest + ' ' + longest + " 65535 65535\r\n") ==
        relayed(1, all, all));
  CHECK(check_reads("PROXY UNKNOWN\r\n") == kUnknown1);
  const auto worst = "PROXY UNKNOWN " + longest + ' ' + longest + " 65535 65535\r\n";
  CHECK(worst.size() == kMaxProxyLine);
  CHECK(check_reads(worst) == kUnknown1);
}

TEST_CASE("proxy header: version 1 accepts every spelling of an IPv6 address", "[proto][proxy]") {
  const auto to = v6(2, 25);
  for (const auto* address : {"2001:db8::1", "2001:DB8::1", "2001:0db8:0:0:0:0:0:1",
                              "2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::0.0.0.1"}) {
    CHECK(check_reads("PROXY TCP6 "s + address + " 2001:db8::2 0 25\r\n") ==
          relayed(1, v6(1, 0), to));
  }
  // HAProxy writes this if client and destination are of two families.
  CHECK(check_reads("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 9 25\r\n") ==
        relayed(1, v4(192, 0, 2, 1, 9), to));
}

TEST_CASE("proxy header: the text after UNKNOWN is ignored", "[proto][proxy]") {
  CHECK(check_reads("PROXY UNKNOWN \r\n") == kUnknown1);
  CHECK(check_reads("PROXY UNKNOWN TCP4 999.1.2.3 x\r\n") == kUnknown1);
}

TEST_CASE("proxy header: a malformed line is refused", "[proto][proxy][security][G6]") {
  const std::string kFields = "PROXY header: wrong number of fields";
  const std::string kProtocol = "PROXY header: unknown protocol";
  const std::string kAddress = "PROXY header: invalid address or port";
  const std::string kEnd = "PROXY header: CR or LF alone";
  const std::string kAscii = "PROXY header: a byte that is not printable US-ASCII";
  const auto line = [](const std::string& rest) { return why("PROXY " + rest + "\r\n"); };

  // Wrong spacing.
  CHECK(line("TCP4 1.2.3.4  5.6.7.8 1 2") == kFields);
  CHECK(line("TCP4 1.2.3.4 5.6.7.8 1 2 ") == kFields);
  CHECK(line("TCP4 1.2.3.4 5.6.7.8 1") == kFields);
  CHECK(line("TCP4 1.2.3.4 5.6.7.8 1 ") == kAddress);
  CHECK(line("TCP4 1.2.3.4 5.6.7.8 1 2 3") == kFields);
  CHECK(line("TCP4") == kFields);
  CHECK(line("TCP4  5.6.7.8 1 2") == kAddress);
  CHECK(line(" TCP4 1.2.3.4 5.6.7.8 1 2") == kProtocol);
  CHECK(line("TCP4\t1.2.3.4 5.6.7.8 1 2") == kAscii);
  CHECK(line("") == kProtocol);

  // Wrong protocols.
  CHECK(line("tcp4 1.2.3.4 5.6.7.8 1 2") == kProtocol);
  CHECK(line("UDP4 1.2.3.4 5.6.7.8 1 2") == kProtocol);
  CHECK(line("TCP 1.2.3.4 5.6.7.8 1 2") == kProtocol);
  CHECK(line("UNKNOWNS") == kProtocol);
  CHECK(line("unknown") == kProtocol);

  // Wrong addresses: of the other family, octal, hexadecimal, short, with a scope, names.
  for (const auto* address :
       {"::1", "::ffff:1.2.3.4", "01.2.3.4", "1.2.3.04", "00.0.0.0", "0x1.2.3.4", "1.2.3", "1",
        "1.2.3.256", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4", "1..2.3", "+1.2.3.4", "localhost", "-"}) {
    CHECK(line("TCP4 "s + address + " 5.6.7.8 1 2") == kAddress);
    CHECK(line("TCP4 5.6.7.8 "s + address + " 1 2") == kAddress);
  }
  for (const auto* address : {"1.2.3.4", "::1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
                              "1:2:3:4:5:6:7:8::", "12345::", ":1:2:3:4:5:6:7", "[::1]", "::1%lo",
                              "fe80::1%1", "::g", "::ffff:1.2.3", "::01.2.3.4"}) {
    CHECK(line("TCP6 "s + address + " ::1 1 2") == kAddress);
    CHECK(line("TCP6 ::1 "s + address + " 1 2") == kAddress);
  }

  // Wrong ports.
  for (const auto* port : {"65536", "99999", "00", "01", "025", "-1", "+1", "0x19", "1e1", "smtp",
                           "18446744073709551617"}) {
    CHECK(line("TCP4 1.2.3.4 5.6.7.8 "s + port + " 25") == kAddress);
    CHECK(line("TCP4 1.2.3.4 5.6.7.8 25 "s + port) == kAddress);
  }

  // Wrong ends of line, and bytes that are not text. Each is refused at that byte.
  const auto at = [](const std::string& data, const std::string& reason) {
    const auto refusal = check_refused("PROXY TCP4 1.2.3.4 5.6.7.8 1 2" + data);
    CHECK(refusal.reason == reason);
    return refusal.known_after - 30;
  };
  CHECK(at("\nEHLO\r\n", kEnd) == 1);
  CHECK(at("\rEHLO\r\n", kEnd) == 2);
  CHECK(at("\r\r\n", kEnd) == 2);
  CHECK(at("\0\r\n"s, kAscii) == 1);
  CHECK(at("\x7f\r\n", kAscii) == 1);
  CHECK(at("\xc3\xa9\r\n", kAscii) == 1);
  CHECK(why("PROXY UNKNOWN\n") == kEnd);
  CHECK(why("PROXY UNKNOWN \0\r\n"s) == kAscii);
  CHECK(why("PROXY \n") == kEnd);
}

TEST_CASE("proxy header: a line has at most 107 bytes", "[proto][proxy][security][G6]") {
  const std::string start = "PROXY UNKNOWN ";
  const std::string kLong = "PROXY header: line too long";
  const auto of_size = [&](std::size_t size) {
    return start + std::string(size - start.size() - 2, 'x') + "\r\n";
  };
  CHECK(check_reads(of_size(kMaxProxyLine)) == kUnknown1);
  const auto over = check_refused(of_size(kMaxProxyLine + 1));
  CHECK(over.reason == kLong);
  CHECK(over.known_after == kMaxProxyLine);
  const auto endless = check_refused(of_size(5000));
  CHECK(endless.reason == kLong);
  CHECK(endless.known_after == kMaxProxyLine);
}

TEST_CASE("proxy header: a missing header is noticed at the first byte that does not fit",
          "[proto][proxy][security][G6]") {
  const std::string kMissing = "connection does not begin with a PROXY header";
  const auto known_after = [&](const std::string& data) {
    const auto refusal = check_refused(data);
    CHECK(refusal.reason == kMissing);
    CHECK(proxy_signature(data) == ProxySignature::no);
    return refusal.known_after;
  };
  CHECK(known_after("EHLO a.example\r\n") == 1);
  CHECK(known_after("\x16\x03\x01\x02\0\x01\0"s) == 1);
  CHECK(known_after("\0"s) == 1);
  CHECK(known_after(" PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n") == 1);
  CHECK(known_after("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n") == 1);
  CHECK(known_after("PASS secret\r\n") == 2);
  CHECK(known_after("PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n") == 6);
  CHECK(known_after("PROXY\r\n") == 6);
  CHECK(known_after("\r\nEHLO a.example\r\n") == 3);
  CHECK(known_after("\r\n\r\n\0\r\nQUIT\r\n"s) == 12);
}

// ---------------------------------------------------------------- reading version 2

TEST_CASE("proxy header: version 2 is read, and nothing after it", "[proto][proxy][P15]") {
  CHECK(check_reads(binary(0x21, 0x11, kInet)) == kInetHeader);
  CHECK(check_reads(binary(0x21, 0x21, kInet6)) == relayed(2, v6(1, 65535), v6(2, 993)));
  auto mapped = kInet6;
  mapped.replace(0, 16, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01"s);
  CHECK(check_reads(binary(0x21, 0x21, mapped)) == relayed(2, v4(192, 0, 2, 1, 65535), v6(2, 993)));
}

TEST_CASE("proxy header: a header without addresses is unknown, a LOCAL header is local",
          "[proto][proxy][G6]") {
  const std::string paths(216, '/');
  CHECK(check_reads(binary(0x21, 0x31, paths)) == kUnknown2);
  CHECK(check_reads(binary(0x21, 0x31, paths + vector(0x04, "pad"))) == kUnknown2);
  // Datagrams.
  CHECK(check_reads(binary(0x21, 0x12, kInet)) == kUnknown2);
  CHECK(check_reads(binary(0x21, 0x22, kInet6)) == kUnknown2);
  CHECK(check_reads(binary(0x21, 0x32, paths)) == kUnknown2);
  // Unspecified family: there is no way to know the border between addresses and vectors.
  for (const unsigned family : {0x00U, 0x01U, 0x02U, 0x10U, 0x20U, 0x30U}) {
    CHECK(check_reads(binary(0x21, family, "")) == kUnknown2);
    CHECK(check_reads(binary(0x21, family, "\x03\xff\xff")) == kUnknown2);
  }
  // LOCAL: family and block are ignored, the length is not.
  for (const unsigned family : {0x00U, 0x11U, 0x21U, 0x31U, 0xffU}) {
    CHECK(check_reads(binary(0x20, family, "")) == kLocal2);
    CHECK(check_reads(binary(0x20, family, kInet)) == kLocal2);
    CHECK(check_reads(binary(0x20, family, "\x03\xff\xff junk")) == kLocal2);
  }
}

TEST_CASE("proxy header: vectors are skipped, the checksum is verified", "[proto][proxy]") {
  const auto ssl = "\x01\0\0\0\0"s + vector(0x21, "TLSv1.3") + vector(0x23, "");
  for (const auto& vectors :
       {vector(0x04, ""), vector(0x01, "imap"), vector(0x02, std::string(1000, 'a')),
        vector(0x05, std::string(128, 'u')), vector(0x20, "\x01\0\0\0\0"s), vector(0x20, ssl),
        vector(0x30, "blue"), vector(0xee, "custom") + vector(0x04, "xyz") + vector(0xff, "")}) {
    CHECK(check_reads(binary(0x21, 0x11, kInet + vectors)) == kInetHeader);
  }
  // A checksum made by another implementation.
  CHECK(check_reads(
            binary(0x21, 0x11, kInet + vector(0x04, "") + vector(0x03, "\x12\x41\xd4\xdb"))) ==
        kInetHeader);
}

TEST_CASE("proxy header: one wrong byte anywhere breaks the checksum",
          "[proto][proxy][security][G6]") {
  const auto good = binary(0x21, 0x11, kInet + vector(0x04, "") + vector(0x03, "\x12\x41\xd4\xdb"));
  for (std::size_t at = 16; at < good.size(); ++at) {
    if (at >= 28 && at < 34) continue;  // types and lengths, which may hide the checksum
    for (const unsigned flip : {0x01U, 0x80U}) {
      auto bad = good;
      bad[at] = static_cast<char>(static_cast<unsigned char>(bad[at]) ^ flip);
      CAPTURE(at);
      CHECK(why(bad) == "PROXY header: wrong checksum");
    }
  }
}

TEST_CASE("proxy header: a malformed block is refused", "[proto][proxy][security][G6]") {
  const std::string kCut = "PROXY header: a vector is incomplete";
  const std::string kSsl = "PROXY header: bad SSL vector";
  const std::string kSum = "PROXY header: bad checksum vector";
  const auto vectors = [](const std::string& data) {
    const auto header = binary(0x21, 0x11, kInet + data);
    const auto refusal = check_refused(header);
    CHECK(refusal.known_after == header.size());  // judged when it is complete
    return refusal.reason;
  };
  CHECK(vectors("\x04") == kCut);
  CHECK(vectors("\x04\0"s) == kCut);
  CHECK(vectors("\x04\0\x01"s) == kCut);
  CHECK(vectors("\x04\xff\xff" + std::string(300, 'x')) == kCut);
  CHECK(vectors(vector(0x04, "abc") + "\x04\0\x02x"s) == kCut);
  CHECK(vectors(vector(0x03, "")) == kSum);
  CHECK(vectors(vector(0x03, "123")) == kSum);
  CHECK(vectors(vector(0x03, "12345")) == kSum);
  CHECK(vectors(vector(0x03, "\0\0\0\0"s)) == "PROXY header: wrong checksum");
  CHECK(vectors(vector(0x05, std::string(129, 'u'))) == "PROXY header: unique id too long");
  CHECK(vectors(vector(0x20, "")) == kSsl);
  CHECK(vectors(vector(0x20, "\x01\0\0\0"s)) == kSsl);
  CHECK(vectors(vector(0x20, "\x01\0\0\0\0\x21"s)) == kSsl);
  CHECK(vectors(vector(0x20, "\x01\0\0\0\0\x21\0\x02x"s)) == kSsl);

  // The first checksum is right. The second one is refused because it is a second one.
  const auto two = binary(0x21, 0x11, kInet + vector(0x03, "\0\0\0\0"s) + vector(0x03, "abcd"));
  Crc32c crc;
  crc.update(two);
  auto summed = two;
  summed.replace(31, 4, number(crc.value() >> 16U) + number(crc.value() & 0xffffU));
  CHECK(why(summed) == kSum);

  // The same for unix sockets and datagrams.
  CHECK(why(binary(0x21, 0x31, std::string(216, '/') + "\x04")) == kCut);
  CHECK(why(binary(0x21, 0x12, kInet + "\x04")) == kCut);
}

TEST_CASE("proxy header: a wrong fixed part is refused at the wrong byte",
          "[proto][proxy][security][G6]") {
  const auto known_after = [](const std::string& data, const std::string& reason) {
    const auto refusal = check_refused(data);
    CHECK(refusal.reason == "PROXY header: " + reason);
    return refusal.known_after;
  };
  for (const unsigned first : {0x01U, 0x11U, 0x31U, 0xf1U}) {
    CHECK(known_after(binary(first, 0x11, kInet), "unknown version") == 13);
  }
  for (const unsigned first : {0x22U, 0x23U, 0x2fU}) {
    CHECK(known_after(binary(first, 0x11, kInet), "unknown command") == 13);
  }
  for (const unsigned second : {0x13U, 0x1fU, 0x41U, 0xf1U, 0x40U, 0x03U}) {
    CHECK(known_after(binary(0x21, second, kInet), "unknown address family or transport") == 14);
  }
  // A length that is too short for the addresses of that family.
  const auto shorter = [](std::string block) {
    block.pop_back();
    return block;
  };
  const std::string kShort = "too short for its addresses";
  CHECK(known_after(binary(0x21, 0x11, ""), kShort) == 16);
  CHECK(known_after(binary(0x21, 0x11, shorter(kInet)), kShort) == 16);
  CHECK(known_after(binary(0x21, 0x12, shorter(kInet)), kShort) == 16);
  CHECK(known_after(binary(0x21, 0x21, shorter(kInet6)), kShort) == 16);
  CHECK(known_after(binary(0x21, 0x21, kInet), kShort) == 16);
  CHECK(known_after(binary(0x21, 0x31, std::string(215, '/')), kShort) == 16);
}

TEST_CASE("proxy header: a block has a limit", "[proto][proxy][security][G6]") {
  const auto padded = [](unsigned command, std::size_t size) {
    return binary(command, 0x11, kInet + vector(0x04, std::string(size - kInet.size() - 3, 'x')));
  };
  // This header is too large to be read at every split.
  const auto largest = read(padded(0x21, kMaxProxyBlock) + "EHLO", 100, 100);
  CHECK(largest.header == kInetHeader);
  CHECK(largest.consumed == 16 + kMaxProxyBlock);
  for (const unsigned command : {0x20U, 0x21U}) {
    const auto over = padded(command, kMaxProxyBlock + 1).substr(0, 16);
    CHECK(why(over) == "PROXY header: too long");
    CHECK(why(padded(command, 65535).substr(0, 16)) == "PROXY header: too long");
  }
}

// ---------------------------------------------------------------- peers that must send none

TEST_CASE("proxy signature: a header is recognised by its first bytes, in any segmentation",
          "[proto][proxy][security][G5]") {
  const auto told_after = [](const std::string& data, ProxySignature expected) {
    CAPTURE(data);
    CHECK(proxy_signature(data) == expected);
    std::size_t size = 0;
    while (proxy_signature(std::string_view(data).substr(0, size)) == ProxySignature::maybe) {
      ++size;
    }
    for (std::size_t at = 0; at <= data.size(); ++at) {
      ProxySignatureDetector detector;
      auto said = detector.feed(std::string_view(data).substr(0, at));
      if (said != (at < size ? ProxySignature::maybe : expected)) FAIL("split at " << at);
      said = detector.feed(std::string_view(data).substr(at));
      if (said != expected) FAIL("split at " << at);
      if (detector.feed("PROXY TCP4 ") != expected) FAIL("changed its mind");
    }
    ProxySignatureDetector drops;
    for (std::size_t at = 0; at < data.size(); ++at) {
      const auto said = drops.feed(std::string_view(data).substr(at, 1));
      if (said != (at + 1 < size ? ProxySignature::maybe : expected)) FAIL("byte " << at);
    }
    return size;
  };
  using Is = ProxySignature;
  CHECK(told_after("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Is::yes) == 6);
  CHECK(told_after("PROXY UNKNOWN\r\n", Is::yes) == 6);
  CHECK(told_after("PROXY whatever it is, no good comes of it", Is::yes) == 6);
  CHECK(told_after(binary(0x21, 0x11, kInet), Is::yes) == 12);
  CHECK(told_after(kSignature + "anything", Is::yes) == 12);

  CHECK(told_after("EHLO a.example\r\n", Is::no) == 1);
  CHECK(told_after("\x16\x03\x01\x02\0\x01\0"s, Is::no) == 1);
  CHECK(told_after("PASS PROXY \r\n", Is::no) == 2);
  CHECK(told_after("PROXYAUTH\r\n", Is::no) == 6);
  CHECK(told_after("proxy TCP4 \r\n", Is::no) == 1);
  CHECK(told_after("\r\nQUIT\r\n", Is::no) == 3);
  CHECK(told_after("\r\n\r\n\0\r\nQUIT\r\n"s, Is::no) == 12);
  CHECK(proxy_signature("") == Is::maybe);
  CHECK(ProxySignatureDetector{}.feed("") == Is::maybe);
}

// ---------------------------------------------------------------- writing

namespace {

ProxyFacts between(const IpEndpoint& client, const IpEndpoint& destination) {
  return {.client = client, .destination = destination};
}

/// Returns the vectors of a header of version 2, which come after its addresses, as type and value.
std::vector<std::pair<unsigned, std::string>> vectors_of(std::string_view data) {
  std::vector<std::pair<unsigned, std::string>> out;
  while (data.size() >= 3) {
    const auto type = static_cast<unsigned char>(data[0]);
    const auto size = static_cast<std::size_t>(static_cast<unsigned char>(data[1])) << 8U |
                      static_cast<unsigned char>(data[2]);
    out.emplace_back(type, data.substr(3, size));
    data.remove_prefix(3 + size);
  }
  CHECK(data.empty());
  return out;
}

ProxyTls tls13() {
  return {.version = "TLSv1.3", .cipher = "TLS_AES_128_GCM_SHA256"};
}

}  // namespace

TEST_CASE("proxy header: version 1 is written, and read back", "[proto][proxy]") {
  const auto check = [](const ProxyFacts& facts, const std::string& expected) {
    CHECK(write_proxy_v1(facts) == expected);
    return check_reads(expected);
  };
  const auto client4 = v4(192, 168, 0, 1, 56324);
  const auto server4 = v4(192, 168, 0, 11, 443);
  CHECK(check(between(client4, server4), "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n") ==
        relayed(1, client4, server4));
  CHECK(check(between(v6(1, 0), v6(2, 65535)), "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n") ==
        relayed(1, v6(1, 0), v6(2, 65535)));
  // One address of each family.
  CHECK(check(between(client4, v6(2, 25)),
              "PROXY TCP6 ::ffff:192.168.0.1 2001:db8::2 56324 25\r\n") ==
        relayed(1, client4, v6(2, 25)));
  CHECK(check(between(v6(1, 9), server4), "PROXY TCP6 2001:db8::1 ::ffff:192.168.0.11 9 443\r\n") ==
        relayed(1, v6(1, 9), server4));
  // Addresses as a listener for both families has them.
  const auto mapped = [](const IpEndpoint& endpoint) {
    return IpEndpoint{Family::v6, mapped_bytes(endpoint), endpoint.port};
  };
  CHECK(check(between(mapped(client4), mapped(server4)),
              "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n") == relayed(1, client4, server4));
  // The longest header.
  IpEndpoint all{.family = Family::v6, .port = 65535};
  all.bytes.fill(0xff);
  CHECK(write_proxy_v1(between(all, all)).size() == 104);

  CHECK(check({}, "PROXY UNKNOWN\r\n") == kUnknown1);
  CHECK(write_proxy_v1({.client = client4}) == "PROXY UNKNOWN\r\n");
  CHECK(write_proxy_v1({.destination = server4}) == "PROXY UNKNOWN\r\n");
}

TEST_CASE("proxy header: version 2 is written, and read back", "[proto][proxy]") {
  const auto check = [](const ProxyFacts& facts, const std::string& expected) {
    CHECK(write_proxy_v2(facts) == expected);
    return check_reads(expected);
  };
  CHECK(check(between(kInetHeader.client, kInetHeader.destination), binary(0x21, 0x11, kInet)) ==
        kInetHeader);
  CHECK(check(between(v6(1, 65535), v6(2, 993)), binary(0x21, 0x21, kInet6)) ==
        relayed(2, v6(1, 65535), v6(2, 993)));
  const auto client4 = v4(192, 0, 2, 1, 65535);
  auto mixed = kInet6;
  mixed.replace(0, 16, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01"s);
  CHECK(check(between(client4, v6(2, 993)), binary(0x21, 0x21, mixed)) ==
        relayed(2, client4, v6(2, 993)));
  CHECK(check({}, binary(0x20, 0x00, "")) == kLocal2);
  CHECK(check({.client = client4}, binary(0x20, 0x00, "")) == kLocal2);
  CHECK(check({.server_name = "mx.example"}, binary(0x20, 0x00, vector(0x02, "mx.example"))) ==
        kLocal2);
}

TEST_CASE("proxy header: version 2 describes the client's TLS", "[proto][proxy]") {
  using Certificate = ProxyTls::ClientCertificate;
  auto facts = between(kInetHeader.client, kInetHeader.destination);
  const auto check = [&](const std::string& vectors) {
    const auto written = write_proxy_v2(facts);
    CHECK(written == binary(0x21, 0x11, kInet + vectors));
    CHECK(check_reads(written) == kInetHeader);
  };
  const auto version = vector(0x21, "TLSv1.3");
  const auto cipher = vector(0x23, "TLS_AES_128_GCM_SHA256");
  facts.tls = tls13();
  check(vector(0x20, "\x01\0\0\0\x01"s + version + cipher));
  // The name of an unverified certificate is not written. Dovecot would use it as the user's name.
  facts.tls->common_name = "root";
  check(vector(0x20, "\x01\0\0\0\x01"s + version + cipher));
  facts.tls->certificate = Certificate::connection;
  facts.tls->common_name = "J\xc3\xbcrgen";
  check(vector(0x20, "\x07\0\0\0\0"s + version + vector(0x22, "J\xc3\xbcrgen") + cipher));
  facts.tls->certificate = Certificate::session;
  facts.tls->common_name.clear();
  facts.alpn = "imap";
  facts.server_name = "mx.example";
  check(vector(0x20, "\x05\0\0\0\0"s + version + cipher) + vector(0x01, "imap") +
        vector(0x02, "mx.example"));
}

TEST_CASE("proxy header: texts that a receiver could misread are not written",
          "[proto][proxy][security]") {
  using Certificate = ProxyTls::ClientCertificate;
  for (const auto& bad : {"root\0.example"s, "\0"s, "a\r\nb"s, "a\x7f"s, std::string(256, 'a')}) {
    auto facts = between(kInetHeader.client, kInetHeader.destination);
    facts.tls = ProxyTls{
        .version = bad, .cipher = bad, .certificate = Certificate::connection, .common_name = bad};
    facts.server_name = bad;
    facts.alpn = bad;
    CHECK(write_proxy_v2(facts) == binary(0x21, 0x11, kInet + vector(0x20, "\x07\0\0\0\0"s)));
  }
}

TEST_CASE("proxy header: version 2 with all fields fits the smallest segment",
          "[proto][proxy][security]") {
  auto facts = between(v6(1, 1), v6(2, 2));
  facts.tls = tls13();
  facts.tls->certificate = ProxyTls::ClientCertificate::connection;
  // Tests sizes around every limit. A text is written completely or left out.
  for (const std::size_t name : {0U, 1U, 64U, 254U, 255U}) {
    for (const std::size_t cipher : {0U, 22U, 100U, 204U, 205U, 206U, 207U, 208U, 209U, 255U}) {
      for (const std::size_t server : {0U, 1U, 100U, 180U, 181U, 182U, 183U, 184U, 255U}) {
        facts.tls->common_name = std::string(name, 'n');
        facts.tls->cipher = std::string(cipher, 'c');
        facts.server_name = std::string(server, 's');
        facts.alpn = "imap";
        const auto written = write_proxy_v2(facts);
        CAPTURE(name, cipher, server);
        REQUIRE(written.size() <= kMaxWrittenProxyHeader);
        CHECK(read(written).header == relayed(2, v6(1, 1), v6(2, 2)));
        for (const auto& [type, value] : vectors_of(std::string_view(written).substr(52))) {
          if (type == 0x02) CHECK(value == facts.server_name);
          if (type == 0x01) CHECK(value == facts.alpn);
          if (type != 0x20) continue;
          for (const auto& [subtype, text] : vectors_of(std::string_view(value).substr(5))) {
            if (subtype == 0x22) CHECK(text == facts.tls->common_name);
            if (subtype == 0x23) CHECK(text == facts.tls->cipher);
          }
        }
      }
    }
  }
  // The whole room is used.
  facts.tls = tls13();
  facts.tls->cipher.clear();
  facts.alpn.clear();
  facts.server_name = std::string(255, 's');
  const auto without = write_proxy_v2(facts).size();
  facts.tls->cipher = std::string(kMaxWrittenProxyHeader - without - 3, 'c');
  CHECK(write_proxy_v2(facts).size() == kMaxWrittenProxyHeader);
  facts.tls->cipher += 'c';
  CHECK(write_proxy_v2(facts).size() < kMaxWrittenProxyHeader - 200);  // without the server's name
}

// G5, G6, P15. Reads and writes the PROXY protocol, against peers that begin with anything.
//
// Input: byte 0 is the size of the pieces, byte 1 chooses the meaning of the rest. The rest is the
// bytes of a connection, the block of a header of version 2, or the facts for an upstream server.
// The length (and checksum) of the block is then made right, since no fuzzer would guess it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/crc32c.h"
#include "lib/proto/proxy_header.h"
#include "tests/fuzz/holds.h"

namespace {

using namespace starttls;
using namespace starttls::proto;
using Origin = ProxyHeader::Origin;

constexpr std::string_view kSignature{"\r\n\r\n\0\r\nQUIT\n", 12};

struct Outcome {
  std::optional<ProxyHeader> header;
  std::string error;
  std::size_t consumed = 0;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome read(std::string_view input, std::size_t piece) {
  ProxyHeaderReader reader;
  Outcome out;
  for (std::size_t at = 0; at < input.size(); at += piece) {
    const auto part = input.substr(at, piece);
    const auto step = reader.feed(part);
    if (!step) {
      out.error = step.error().reason;
      out.consumed = 0;
      return out;
    }
    HOLDS(step->consumed <= part.size());
    HOLDS(step->header || step->consumed == part.size());
    out.consumed += step->consumed;
    if (step->header) {
      out.header = *step->header;
      return out;
    }
  }
  return out;
}

/// Checks that a header that was read can be written in both versions and read again.
void judge_rewritten(const ProxyHeader& header) {
  ProxyFacts facts;
  if (header.origin == Origin::relayed) {
    facts.client = header.client;
    facts.destination = header.destination;
  }
  for (const bool first : {true, false}) {
    const auto written = first ? write_proxy_v1(facts) : write_proxy_v2(facts);
    const auto again = read(written + "more", SIZE_MAX / 2);
    HOLDS(again.consumed == written.size());
    HOLDS(again.header);
    const bool relayed = header.origin == Origin::relayed;
    HOLDS(again.header->origin == (relayed ? Origin::relayed
                                   : first ? Origin::unknown
                                           : Origin::local));
    HOLDS(again.header->version == (first ? 1 : 2));
    HOLDS(again.header->client == header.client);
    HOLDS(again.header->destination == header.destination);
  }
}

void judge_connection(std::string_view input, std::size_t piece) {
  const auto whole = read(input, SIZE_MAX / 2);
  HOLDS(read(input, piece) == whole);

  const auto signature = proxy_signature(input);
  ProxySignatureDetector detector;
  auto said = detector.feed("");
  for (std::size_t at = 0; at < input.size(); at += piece) {
    said = detector.feed(input.substr(at, piece));
  }
  HOLDS(said == signature);

  if (!whole.error.empty()) return;
  if (!whole.header) {
    HOLDS(input.size() < 16 + kMaxProxyBlock);
    HOLDS(signature != ProxySignature::no);
    return;
  }
  HOLDS(signature == ProxySignature::yes);
  const auto data = input.substr(0, whole.consumed);
  HOLDS(data.size() <= (whole.header->version == 1 ? kMaxProxyLine : 16 + kMaxProxyBlock));
  // Nothing is decided before the header's last byte. Bytes after it do not matter.
  const auto cut = read(data.substr(0, data.size() - 1), SIZE_MAX / 2);
  HOLDS(!cut.header && cut.error.empty());
  HOLDS(read(data, SIZE_MAX / 2) == whole);
  if (whole.header->version == 1) {
    HOLDS(data.find('\n') == data.size() - 1);
    HOLDS(data.ends_with("\r\n"));
  }
  judge_rewritten(*whole.header);
}

std::string number(std::size_t value) {
  return {static_cast<char>(value >> 8U & 0xffU), static_cast<char>(value & 0xffU)};
}

/// Makes a header of version 2. `rest` is the two bytes that choose command and family, then the
/// block.
std::string make_binary(std::string_view rest, bool sum) {
  if (rest.size() < 2) return {};
  const auto block = rest.substr(2, 5000);
  std::string out{kSignature};
  out += rest.substr(0, 2);
  out += number(block.size() + (sum ? 7 : 0));
  out += block;
  if (!sum) return out;
  out += std::string_view("\x03\0\x04\0\0\0\0", 7);
  Crc32c crc;
  crc.update(out);
  const auto value = crc.value();
  out.resize(out.size() - 4);
  out += number(value >> 16U) + number(value & 0xffffU);
  return out;
}

std::string_view take(std::string_view& rest, std::size_t size) {
  const auto taken = rest.substr(0, size);
  rest.remove_prefix(taken.size());
  return taken;
}

std::size_t take_byte(std::string_view& rest) {
  const auto taken = take(rest, 1);
  return taken.empty() ? 0 : static_cast<unsigned char>(taken[0]);
}

std::string take_text(std::string_view& rest) {
  const auto size = take_byte(rest) * 2;
  return std::string(take(rest, size));
}

std::optional<IpEndpoint> take_endpoint(std::string_view& rest) {
  const auto kind = take_byte(rest) % 3;
  if (kind == 0) return std::nullopt;
  IpEndpoint out{.family = kind == 1 ? IpEndpoint::Family::v4 : IpEndpoint::Family::v6};
  const auto high = take_byte(rest);
  out.port = static_cast<std::uint16_t>(high << 8U | take_byte(rest));
  const auto data = take(rest, kind == 1 ? 4 : 16);
  std::transform(data.begin(), data.end(), out.bytes.begin(),
                 [](char c) { return static_cast<std::uint8_t>(c); });
  return out;
}

void judge_written(std::string_view rest, std::size_t piece) {
  ProxyFacts facts;
  facts.client = take_endpoint(rest);
  facts.destination = take_endpoint(rest);
  const auto tls = take_byte(rest);
  if (tls % 4 != 0) {
    facts.tls.emplace();
    facts.tls->certificate = static_cast<ProxyTls::ClientCertificate>(tls % 4 - 1);
    facts.tls->version = take_text(rest);
    facts.tls->cipher = take_text(rest);
    facts.tls->common_name = take_text(rest);
  }
  facts.server_name = take_text(rest);
  facts.alpn = take_text(rest);

  const bool known = facts.client && facts.destination;
  const auto line = write_proxy_v1(facts);
  const auto binary = write_proxy_v2(facts);
  HOLDS(line.size() <= kMaxProxyLine);
  HOLDS(binary.size() <= kMaxWrittenProxyHeader);
  for (const auto& written : {line, binary}) {
    const auto outcome = read(written + std::string(rest), piece);
    HOLDS(outcome.header);
    HOLDS(outcome.consumed == written.size());
    HOLDS((outcome.header->origin == Origin::relayed) == known);
    if (!known) continue;
    HOLDS(outcome.header->client == unmapped(*facts.client));
    HOLDS(outcome.header->destination == unmapped(*facts.destination));
  }
  // The header's vectors are complete. It can be read again with a checksum after them.
  const auto fixed = binary.substr(12, 2) + binary.substr(16);
  const auto summed = read(make_binary(fixed, true), piece);
  HOLDS(summed.header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 10'000) return 0;
  std::string_view rest{reinterpret_cast<const char*>(data), size};
  const auto piece = take_byte(rest) + 1;
  switch (take_byte(rest) % 4) {
    case 0:
      judge_connection(rest, piece);
      break;
    case 1:
      judge_connection(make_binary(rest, false), piece);
      break;
    case 2:
      judge_connection(make_binary(rest, true), piece);
      break;
    default:
      judge_written(rest, piece);
      break;
  }
  return 0;
}

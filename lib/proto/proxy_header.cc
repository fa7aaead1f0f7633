#include "lib/proto/proxy_header.h"

#include <algorithm>
#include <cassert>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "lib/base/ascii.h"
#include "lib/base/crc32c.h"

namespace starttls::proto {
namespace {

using Family = IpEndpoint::Family;
using Origin = ProxyHeader::Origin;

constexpr std::string_view kLineStart = "PROXY ";
constexpr std::string_view kSignature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t kFixedSize = 16;

// Values of the 13th byte (§2.2).
constexpr unsigned kVersion = 0x2;
constexpr unsigned kLocal = 0x0;
constexpr unsigned kProxy = 0x1;

// Values of the 14th byte (§2.2), and the sizes of the addresses.
constexpr unsigned kUnspecified = 0x0;
constexpr unsigned kInet = 0x1;
constexpr unsigned kInet6 = 0x2;
constexpr unsigned kUnix = 0x3;
constexpr unsigned kStream = 0x1;
constexpr unsigned kDatagram = 0x2;

constexpr std::size_t kInetSize = 2 * 4 + 2 * 2;
constexpr std::size_t kInet6Size = 2 * 16 + 2 * 2;
constexpr std::size_t kUnixSize = 2 * 108;

// Types of vectors (§2.2).
constexpr unsigned kAlpn = 0x01;
constexpr unsigned kAuthority = 0x02;
constexpr unsigned kCrc32c = 0x03;
constexpr unsigned kUniqueId = 0x05;
constexpr unsigned kSsl = 0x20;
constexpr unsigned kSslVersion = 0x21;
constexpr unsigned kSslCommonName = 0x22;
constexpr unsigned kSslCipher = 0x23;

constexpr std::size_t kMaxUniqueId = 128;  // §2.2.5
constexpr std::size_t kSslFixedSize = 5;   // §2.2.6: flags, and the outcome of the verification
constexpr unsigned kClientSsl = 0x01;
constexpr unsigned kClientCertConnection = 0x02;
constexpr unsigned kClientCertSession = 0x04;

constexpr std::size_t kMaxText = 255;  // bytes of a vector that we write

unsigned byte_at(std::string_view bytes, std::size_t at) noexcept {
  return static_cast<unsigned char>(bytes[at]);
}

std::uint16_t number_at(std::string_view bytes, std::size_t at) noexcept {
  return static_cast<std::uint16_t>(byte_at(bytes, at) << 8U | byte_at(bytes, at + 1));
}

void put_byte(std::string& out, unsigned value) {
  out += static_cast<char>(static_cast<unsigned char>(value));
}

void put_number(std::string& out, std::size_t value) {
  put_byte(out, static_cast<unsigned>(value >> 8U & 0xffU));
  put_byte(out, static_cast<unsigned>(value & 0xffU));
}

/// Returns the part of a wrong header that a log may show. A line that names no family may be a
/// client's login.
std::string_view without_login(std::string_view header) noexcept {
  constexpr std::size_t kFamily = 5;
  if (!header.starts_with(kLineStart)) return header;
  const auto family = header.substr(kLineStart.size(), kFamily);
  return family == "TCP4 " || family == "TCP6 " ? header : header.substr(0, kLineStart.size());
}

tl::unexpected<Error> malformed(std::string reason, std::string_view header) {
  return fail(Errc::client_protocol, "PROXY header: " + std::move(reason),
              peer_words(without_login(header)));
}

// ---------------------------------------------------------------- version 1

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  const auto port = ascii::parse_number(text);
  if (!port || *port > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*port);
}

/// Parses with inet_pton. It accepts what §2.1 allows, and the dotted end of an IPv6 address, which
/// HAProxy writes.
std::optional<IpEndpoint> parse_endpoint(Family family, std::string_view address,
                                         std::string_view port) {
  const auto number = parse_port(port);
  if (!number) return std::nullopt;
  IpEndpoint out{.family = family, .port = *number};
  const int known = family == Family::v4 ? AF_INET : AF_INET6;
  if (inet_pton(known, std::string(address).c_str(), out.bytes.data()) != 1) return std::nullopt;
  return unmapped(out);
}

/// Cuts a field and the one space after it off `rest`.
std::string_view take_field(std::string_view& rest) noexcept {
  const auto field = rest.substr(0, rest.find(' '));
  rest.remove_prefix(std::min(rest.size(), field.size() + 1));
  return field;
}

/// Parses a line of printable ASCII, without its CRLF.
Result<ProxyHeader> parse_line(std::string_view line) {
  ProxyHeader out{.origin = Origin::unknown, .version = 1};
  auto rest = line.substr(kLineStart.size());
  // The parser below would not notice a space after the ports.
  const auto spaces = std::count(rest.begin(), rest.end(), ' ');
  const auto family = take_field(rest);
  if (family == "UNKNOWN") return out;
  if (family != "TCP4" && family != "TCP6") return malformed("unknown protocol", line);
  if (spaces != 4) return malformed("wrong number of fields", line);

  const auto known = family == "TCP4" ? Family::v4 : Family::v6;
  const auto client = take_field(rest);
  const auto destination = take_field(rest);
  const auto client_port = take_field(rest);
  const auto destination_port = take_field(rest);
  const auto from = parse_endpoint(known, client, client_port);
  const auto to = parse_endpoint(known, destination, destination_port);
  if (!from || !to) return malformed("invalid address or port", line);
  out.origin = Origin::relayed;
  out.client = *from;
  out.destination = *to;
  return out;
}

std::string text_of(Family family, const IpEndpoint& endpoint) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family == Family::v4) {
    inet_ntop(AF_INET, endpoint.bytes.data(), text.data(), text.size());
  } else {
    inet_ntop(AF_INET6, mapped_bytes(endpoint).data(), text.data(), text.size());
  }
  return text.data();
}

// ---------------------------------------------------------------- version 2

/// Returns the size of the addresses that the block begins with, or nothing if we know none: then
/// the block is opaque.
std::optional<std::size_t> addresses_size(unsigned family, unsigned transport) noexcept {
  if (transport == kUnspecified) return std::nullopt;
  switch (family) {
    case kInet:
      return kInetSize;
    case kInet6:
      return kInet6Size;
    case kUnix:
      return kUnixSize;
    default:
      return std::nullopt;
  }
}

std::optional<std::size_t> addresses_size(std::string_view header) noexcept {
  if ((byte_at(header, 12) & 0xfU) != kProxy) return std::nullopt;
  return addresses_size(byte_at(header, 13) >> 4U, byte_at(header, 13) & 0xfU);
}

struct Vector {
  unsigned type;
  std::string_view value;
};

/// Cuts the first vector off `rest`. Returns nothing if it is cut short.
std::optional<Vector> take_vector(std::string_view& rest) noexcept {
  if (rest.size() < 3) return std::nullopt;
  const std::size_t size = number_at(rest, 1);
  if (rest.size() - 3 < size) return std::nullopt;
  const Vector out{.type = byte_at(rest, 0), .value = rest.substr(3, size)};
  rest.remove_prefix(3 + size);
  return out;
}

bool is_whole_ssl_vector(std::string_view value) noexcept {
  if (value.size() < kSslFixedSize) return false;
  value.remove_prefix(kSslFixedSize);
  while (!value.empty()) {
    if (!take_vector(value)) return false;
  }
  return true;
}

/// True if the checksum matches the whole header, with the checksum's own bytes read as 0 (§2.2.3).
bool has_checksum(std::string_view header, std::string_view checksum) noexcept {
  const auto at = static_cast<std::size_t>(checksum.data() - header.data());
  Crc32c crc;
  crc.update(header.substr(0, at));
  crc.update({"\0\0\0\0", 4});
  crc.update(header.substr(at + 4));
  const auto value = static_cast<std::uint32_t>(number_at(checksum, 0)) << 16U |
                     static_cast<std::uint32_t>(number_at(checksum, 2));
  return crc.value() == value;
}

/// Checks the vectors of a header. `vectors` is the end of `header`.
Result<> check_vectors(std::string_view header, std::string_view vectors) {
  bool summed = false;
  while (!vectors.empty()) {
    const auto vector = take_vector(vectors);
    if (!vector) return malformed("a vector is incomplete", header);
    switch (vector->type) {
      case kCrc32c:
        // A second checksum is refused: each of the two would have to match with the other in
        // place.
        if (vector->value.size() != 4 || summed) return malformed("bad checksum vector", header);
        if (!has_checksum(header, vector->value)) return malformed("wrong checksum", header);
        summed = true;
        break;
      case kSsl:
        if (!is_whole_ssl_vector(vector->value)) return malformed("bad SSL vector", header);
        break;
      case kUniqueId:
        if (vector->value.size() > kMaxUniqueId) return malformed("unique id too long", header);
        break;
      default:
        break;
    }
  }
  return {};
}

IpEndpoint endpoint_at(Family family, std::string_view block, std::size_t address,
                       std::size_t port) {
  IpEndpoint out{.family = family, .port = number_at(block, port)};
  const auto bytes = block.substr(address, family == Family::v4 ? 4 : 16);
  std::transform(bytes.begin(), bytes.end(), out.bytes.begin(),
                 [](char c) { return static_cast<std::uint8_t>(c); });
  return unmapped(out);
}

/// Parses a whole header. Its fixed part must be known to be good and to leave room for the
/// addresses.
Result<ProxyHeader> parse_binary(std::string_view header) {
  ProxyHeader out{.origin = Origin::unknown, .version = 2};
  if ((byte_at(header, 12) & 0xfU) == kLocal) {
    out.origin = Origin::local;
    return out;  // §2.2: the block is discarded
  }
  const auto addresses = addresses_size(header);
  if (!addresses) return out;
  const auto block = header.substr(kFixedSize);
  if (const auto good = check_vectors(header, block.substr(*addresses)); !good) {
    return fail(good.error());
  }
  const unsigned family = byte_at(header, 13) >> 4U;
  const unsigned transport = byte_at(header, 13) & 0xfU;
  // §2.2: valid values that we have no use for count as unspecified.
  if (transport != kStream || family == kUnix) return out;
  out.origin = Origin::relayed;
  if (family == kInet) {
    out.client = endpoint_at(Family::v4, block, 0, 8);
    out.destination = endpoint_at(Family::v4, block, 4, 10);
  } else {
    out.client = endpoint_at(Family::v6, block, 0, 32);
    out.destination = endpoint_at(Family::v6, block, 16, 34);
  }
  return out;
}

void put_vector(std::string& out, unsigned type, std::string_view value) {
  put_byte(out, type);
  put_number(out, value.size());
  out += value;
}

/// Appends a text vector, unless the text is empty, not clean, or too long for `limit` or
/// `kMaxText`.
void put_text(std::string& out, unsigned type, std::string_view text, std::size_t limit) {
  if (text.empty() || text.size() > kMaxText || out.size() + 3 + text.size() > limit) return;
  if (std::none_of(text.begin(), text.end(), ascii::is_control)) put_vector(out, type, text);
}

std::string ssl_value(const ProxyTls& tls, std::size_t limit) {
  using Certificate = ProxyTls::ClientCertificate;
  const bool verified = tls.certificate != Certificate::none;
  unsigned flags = kClientSsl;
  if (verified) flags |= kClientCertSession;
  if (tls.certificate == Certificate::connection) flags |= kClientCertConnection;
  std::string out;
  put_byte(out, flags);
  // §2.2.6: 0 means that there was a certificate and that it was verified.
  put_number(out, 0);
  put_number(out, verified ? 0 : 1);
  put_text(out, kSslVersion, tls.version, limit);
  if (verified) put_text(out, kSslCommonName, tls.common_name, limit);
  put_text(out, kSslCipher, tls.cipher, limit);
  return out;
}

// ---------------------------------------------------------------- both

struct Endpoints {
  Family family;  ///< of the pair
  IpEndpoint client;
  IpEndpoint destination;
};

std::optional<Endpoints> endpoints(const ProxyFacts& facts) noexcept {
  if (!facts.client || !facts.destination) return std::nullopt;
  const auto client = unmapped(*facts.client);
  const auto destination = unmapped(*facts.destination);
  const bool v4 = client.family == Family::v4 && destination.family == Family::v4;
  return Endpoints{v4 ? Family::v4 : Family::v6, client, destination};
}

void put_address(std::string& out, Family family, const IpEndpoint& endpoint) {
  const auto bytes = family == Family::v4 ? endpoint.bytes : mapped_bytes(endpoint);
  out.append(reinterpret_cast<const char*>(bytes.data()), family == Family::v4 ? 4 : 16);
}

}  // namespace

// ---------------------------------------------------------------- reading

Result<ProxyHeaderReader::Step> ProxyHeaderReader::feed(std::string_view input) {
  assert(size_ == 0 || held_.size() < size_);
  Step step;
  while (step.consumed < input.size()) {
    const auto rest = input.substr(step.consumed);
    if (size_ == 0) {
      held_ += rest.front();
      ++step.consumed;
      if (const auto good = on_byte(); !good) return fail(good.error());
    } else {
      const auto part = rest.substr(0, size_ - held_.size());
      held_ += part;
      step.consumed += part.size();
    }
    if (held_.size() != size_) continue;
    const auto header = held_.front() == kLineStart.front()
                            ? parse_line(std::string_view(held_).substr(0, size_ - 2))
                            : parse_binary(held_);
    if (!header) return fail(header.error());
    step.header = *header;
    return step;
  }
  return step;
}

/// Handles the last byte of `held_`, which is new. The header's size is not known before it.
Result<> ProxyHeaderReader::on_byte() {
  switch (proxy_signature(held_)) {
    case ProxySignature::no:
      return fail(Errc::client_protocol, "connection does not begin with a PROXY header",
                  peer_words(held_));
    case ProxySignature::maybe:
      return {};
    case ProxySignature::yes:
      break;
  }
  return held_.front() == kLineStart.front() ? on_line_byte() : on_fixed_byte();
}

Result<> ProxyHeaderReader::on_line_byte() {
  const char before = held_[held_.size() - 2];
  const char last = held_.back();
  // §2.1: neither CR nor LF alone ends the line.
  if (last == '\n' ? before != '\r' : before == '\r') return malformed("CR or LF alone", held_);
  if (last == '\n') {
    size_ = held_.size();
    return {};
  }
  if (last != '\r' && !ascii::is_printable(last)) {
    return malformed("a byte that is not printable US-ASCII", held_);
  }
  if (held_.size() == kMaxProxyLine) return malformed("line too long", held_);
  return {};
}

Result<> ProxyHeaderReader::on_fixed_byte() {
  const unsigned last = byte_at(held_, held_.size() - 1);
  switch (held_.size()) {
    case 13:
      if (last >> 4U != kVersion) return malformed("unknown version", held_);
      if ((last & 0xfU) != kLocal && (last & 0xfU) != kProxy) {
        return malformed("unknown command", held_);
      }
      return {};
    case 14:
      // §2.2: for a LOCAL connection it is ignored.
      if ((byte_at(held_, 12) & 0xfU) == kLocal) return {};
      if (last >> 4U > kUnix || (last & 0xfU) > kDatagram) {
        return malformed("unknown address family or transport", held_);
      }
      return {};
    case kFixedSize: {
      const std::size_t announced = number_at(held_, 14);
      if (announced > kMaxProxyBlock) return malformed("too long", held_);
      if (announced < addresses_size(held_).value_or(0)) {
        return malformed("too short for its addresses", held_);
      }
      size_ = kFixedSize + announced;
      return {};
    }
    default:
      return {};
  }
}

ProxySignature proxy_signature(std::string_view first_bytes) noexcept {
  for (const auto signature : {kLineStart, kSignature}) {
    const auto size = std::min(signature.size(), first_bytes.size());
    if (first_bytes.substr(0, size) != signature.substr(0, size)) continue;
    return size == signature.size() ? ProxySignature::yes : ProxySignature::maybe;
  }
  return ProxySignature::no;
}

ProxySignature ProxySignatureDetector::feed(std::string_view input) noexcept {
  static_assert(std::tuple_size_v<decltype(first_)> == kSignature.size());
  const auto part = input.substr(0, first_.size() - size_);
  std::copy(part.begin(), part.end(), first_.begin() + size_);
  size_ = static_cast<std::uint8_t>(size_ + part.size());
  return proxy_signature({first_.data(), size_});
}

// ---------------------------------------------------------------- writing

std::string write_proxy_v1(const ProxyFacts& facts) {
  const auto both = endpoints(facts);
  if (!both) return "PROXY UNKNOWN\r\n";
  std::string out{kLineStart};
  out += both->family == Family::v4 ? "TCP4 " : "TCP6 ";
  out += text_of(both->family, both->client) + ' ';
  out += text_of(both->family, both->destination) + ' ';
  out += std::to_string(both->client.port) + ' ';
  out += std::to_string(both->destination.port) + "\r\n";
  assert(out.size() <= kMaxProxyLine);
  return out;
}

std::string write_proxy_v2(const ProxyFacts& facts) {
  std::string block;
  const auto both = endpoints(facts);
  if (both) {
    put_address(block, both->family, both->client);
    put_address(block, both->family, both->destination);
    put_number(block, both->client.port);
    put_number(block, both->destination.port);
  }
  constexpr std::size_t kLimit = kMaxWrittenProxyHeader - kFixedSize;
  if (facts.tls) put_vector(block, kSsl, ssl_value(*facts.tls, kLimit - block.size() - 3));
  put_text(block, kAlpn, facts.alpn, kLimit);
  put_text(block, kAuthority, facts.server_name, kLimit);

  std::string out{kSignature};
  put_byte(out, kVersion << 4U | (both ? kProxy : kLocal));
  const unsigned family = both && both->family == Family::v4 ? kInet : kInet6;
  put_byte(out, both ? family << 4U | kStream : kUnspecified);
  put_number(out, block.size());
  out += block;
  assert(out.size() <= kMaxWrittenProxyHeader);
  return out;
}

}  // namespace starttls::proto

#include "proxy/launcher/message.h"

#include <algorithm>
#include <cstring>

#include "lib/base/ascii.h"

namespace starttls::launcher {
namespace {

template <class Number>
void append_number(std::string& packet, Number number) {
  char bytes[sizeof(Number)];
  std::memcpy(bytes, &number, sizeof(Number));
  packet.append(bytes, sizeof(Number));
}

/// Takes a number from the beginning of `rest`. Returns false if it is too short.
template <class Number>
bool take_number(std::string_view& rest, Number& number) {
  if (rest.size() < sizeof(Number)) return false;
  std::memcpy(&number, rest.data(), sizeof(Number));
  rest.remove_prefix(sizeof(Number));
  return true;
}

template <class Kind>
bool take_kind(std::string_view& rest, Kind last, Kind& kind) {
  std::uint8_t number = 0;
  if (!take_number(rest, number)) return false;
  if (number == 0 || number > static_cast<std::uint8_t>(last)) return false;
  kind = static_cast<Kind>(number);
  return true;
}

std::size_t longest_text(Answer::Kind kind) noexcept {
  const bool is_output = kind == Answer::Kind::output || kind == Answer::Kind::beginning;
  return is_output ? kMaxOutput : kMaxWords;
}

}  // namespace

bool is_valid_user(std::string_view user) noexcept {
  return !user.empty() && user.size() <= kMaxName &&
         std::none_of(user.begin(), user.end(), ascii::is_control);
}

std::optional<std::string> to_packet(const Request& request) {
  const auto& [service, account, user] = request.account;
  for (const auto* name : {&service, &account, &user}) {
    if (name->size() > kMaxName) return std::nullopt;
  }
  std::string packet;
  append_number(packet, static_cast<std::uint8_t>(request.kind));
  append_number(packet, request.id);
  for (const auto* name : {&service, &account, &user}) {
    append_number(packet, static_cast<std::uint16_t>(name->size()));
  }
  packet += service;
  packet += account;
  packet += user;
  return packet;
}

std::optional<Request> parse_request(std::string_view packet) {
  Request request;
  std::uint16_t lengths[3] = {};
  if (!take_kind(packet, Request::Kind::reload, request.kind)) return std::nullopt;
  if (!take_number(packet, request.id)) return std::nullopt;
  std::size_t all = 0;
  for (auto& length : lengths) {
    if (!take_number(packet, length) || length > kMaxName) return std::nullopt;
    all += length;
  }
  if (packet.size() != all || (request.kind == Request::Kind::reload && all > 0)) {
    return std::nullopt;
  }
  auto& account = request.account;
  account.service = packet.substr(0, lengths[0]);
  account.account = packet.substr(lengths[0], lengths[1]);
  account.user = packet.substr(std::size_t{lengths[0]} + lengths[1]);
  return request;
}

std::string to_packet(const Answer& answer) {
  const auto text = std::string_view(answer.text).substr(0, longest_text(answer.kind));
  std::string packet;
  packet.reserve(kMaxAnswer);  // growing would leave a copy of a secret
  append_number(packet, static_cast<std::uint8_t>(answer.kind));
  append_number(packet, answer.id);
  append_number(packet, static_cast<std::uint32_t>(text.size()));
  packet += text;
  return packet;
}

std::optional<Answer> parse_answer(std::string_view packet) {
  Answer answer;
  std::uint32_t length = 0;
  if (!take_kind(packet, Answer::Kind::reloaded, answer.kind)) return std::nullopt;
  if (!take_number(packet, answer.id) || !take_number(packet, length)) return std::nullopt;
  if (packet.size() != length || length > longest_text(answer.kind)) return std::nullopt;
  answer.text = packet;
  return answer;
}

}  // namespace starttls::launcher

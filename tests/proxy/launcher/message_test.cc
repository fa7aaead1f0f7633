#include "proxy/launcher/message.h"

#include <string>

#include "tests/support/catch.h"

namespace starttls::launcher {
namespace {

Request request_to_run() {
  return {.kind = Request::Kind::run, .id = 7, .account = {"office", "scanner", "box@example.com"}};
}

TEST_CASE("launcher messages: a request arrives as it was sent", "[proxy][launcher]") {
  const auto packet = to_packet(request_to_run());
  REQUIRE(packet);
  const auto parsed = parse_request(*packet);
  REQUIRE(parsed);
  CHECK(parsed->kind == Request::Kind::run);
  CHECK(parsed->id == 7);
  CHECK(parsed->account == request_to_run().account);

  const auto reload = parse_request(*to_packet({.kind = Request::Kind::reload, .id = 8}));
  REQUIRE(reload);
  CHECK(reload->kind == Request::Kind::reload);
  CHECK(reload->id == 8);
}

TEST_CASE("launcher messages: a malformed request is refused", "[proxy][launcher][security]") {
  const auto packet = *to_packet(request_to_run());
  for (std::size_t size = 0; size < packet.size(); ++size) {
    CHECK_FALSE(parse_request(packet.substr(0, size)));
  }
  CHECK_FALSE(parse_request(packet + "x"));
  for (const int kind : {0, 3, 255}) {
    auto other = packet;
    other[0] = static_cast<char>(kind);
    CHECK_FALSE(parse_request(other));
  }
  auto reload = packet;  // with an account
  reload[0] = static_cast<char>(Request::Kind::reload);
  CHECK_FALSE(parse_request(reload));
  auto longer = packet;  // the length of the first name says more than there is
  longer[9] = '\xff';
  longer[10] = '\xff';
  CHECK_FALSE(parse_request(longer));
}

TEST_CASE("launcher messages: a name that is too long is not sent", "[proxy][launcher]") {
  auto request = request_to_run();
  request.account.user.assign(kMaxName, 'a');
  CHECK(parse_request(to_packet(request).value()));
  request.account.user += 'a';
  CHECK_FALSE(to_packet(request));
}

TEST_CASE("launcher messages: an answer arrives as it was sent", "[proxy][launcher]") {
  const std::string output("a\nb\0c", 5);
  const auto parsed = parse_answer(to_packet(Answer{Answer::Kind::output, 9, output}));
  REQUIRE(parsed);
  CHECK(parsed->kind == Answer::Kind::output);
  CHECK(parsed->id == 9);
  CHECK(parsed->text == output);

  const std::string words(kMaxWords + 1, 'w');
  CHECK(parse_answer(to_packet(Answer{Answer::Kind::failure, 9, words}))->text.size() == kMaxWords);
}

TEST_CASE("launcher messages: a malformed answer is refused", "[proxy][launcher][security]") {
  const auto packet = to_packet(Answer{Answer::Kind::failure, 9, "exit status 1"});
  for (std::size_t size = 0; size < packet.size(); ++size) {
    CHECK_FALSE(parse_answer(packet.substr(0, size)));
  }
  CHECK_FALSE(parse_answer(packet + "x"));
  for (const int kind : {0, 8, 255}) {
    auto other = packet;
    other[0] = static_cast<char>(kind);
    CHECK_FALSE(parse_answer(other));
  }
  // Only output may be long.
  auto words = to_packet(Answer{Answer::Kind::output, 9, std::string(kMaxWords + 1, 'w')});
  CHECK(parse_answer(words));
  words[0] = static_cast<char>(Answer::Kind::failure);
  CHECK_FALSE(parse_answer(words));
}

TEST_CASE("launcher messages: a user has no control bytes", "[proxy][launcher][security]") {
  CHECK(is_valid_user("box@example.com"));
  CHECK(is_valid_user("m\xC3\xBCller"));
  CHECK(is_valid_user(std::string(kMaxName, 'a')));
  CHECK_FALSE(is_valid_user(""));
  CHECK_FALSE(is_valid_user(std::string(kMaxName + 1, 'a')));
  for (const char c : std::string("\0\n\r\t\x01\x1f\x7f", 7)) {
    CHECK_FALSE(is_valid_user(std::string("box") + c));
  }
}

}  // namespace
}  // namespace starttls::launcher

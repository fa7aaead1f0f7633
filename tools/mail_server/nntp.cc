#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lib/base/ascii.h"
#include "tools/mail_server/dot_reader.h"
#include "tools/mail_server/dot_writer.h"
#include "tools/mail_server/line_protocol.h"
#include "tools/mail_server/sasl.h"

namespace starttls::bench {
namespace {

/// The only group that is listed. A group with any other name has the same articles.
constexpr std::string_view kGroup = "backend.test";

/// NNTP (RFC 3977, RFC 4642, RFC 4643). The store's messages are the articles of every group.
class Nntp final : public LineProtocol {
 public:
  Nntp(Tls tls, const Mailbox& mailbox) noexcept : tls_(tls), mailbox_(mailbox) {}

  void greet(std::string& reply) override { reply += "200 backend.test\r\n"; }
  void secured(std::string&) override {
    tls_ = Tls::active;
    authenticated_ = has_user_ = false;
    articles_.reset();
  }
  void refuse_injection(std::string& reply) const override {
    reply += "502 data behind STARTTLS\r\n";
  }

 private:
  struct Command {
    std::string_view verb;
    Step (Nntp::*handler)(std::string_view arguments, std::string& reply);
    bool before_tls;  ///< possible while required TLS is not active yet
  };
  static const Command kCommands[];

  /// An article that is being received.
  struct Data {
    DotReader reader;
    std::unique_ptr<Message> message;
  };

  enum class Part : std::uint8_t { all, head, body, none };

  Step on_line(std::string_view line, std::string& reply) override;
  void on_long_line(std::string& reply) override { reply += "501 line too long\r\n"; }

  std::optional<std::size_t> take_data(std::string_view input, std::string& reply) override {
    if (!data_) return std::nullopt;
    Message& message = *data_->message;
    const std::size_t taken =
        data_->reader.take(input, [&message](std::string_view content) { message.write(content); });
    if (data_->reader.finished()) {
      const auto stored = message.commit();
      reply += stored ? "240 " + *stored + "\r\n" : "441 " + stored.error().reason + "\r\n";
      data_.reset();
    }
    return taken;
  }

  Step capabilities(std::string_view, std::string& reply) {
    reply += "101 list\r\nVERSION 2\r\nREADER\r\nPOST\r\nLIST ACTIVE\r\n";
    if (offers_tls(tls_) && !authenticated_) reply += "STARTTLS\r\n";
    if (!authenticated_) {
      // Credentials have to wait for TLS (RFC 4643 §2.2).
      reply +=
          tls_ == Tls::required ? "AUTHINFO\r\n" : "AUTHINFO USER SASL\r\nSASL PLAIN LOGIN\r\n";
    }
    return answer(reply, ".\r\n");
  }
  Step mode(std::string_view argument, std::string& reply) {
    return answer(reply, ascii::iequals(argument, "READER") ? "200 reading and posting\r\n"
                                                            : "501 MODE READER\r\n");
  }
  Step quit(std::string_view, std::string& reply) {
    reply += "205 bye\r\n";
    return {0, Want::close};
  }
  Step starttls(std::string_view arguments, std::string& reply) {
    if (!offers_tls(tls_) || authenticated_) return answer(reply, "502 no STARTTLS here\r\n");
    if (!arguments.empty()) return answer(reply, "501 no arguments allowed\r\n");
    reply += "382 go ahead\r\n";
    return {0, Want::start_tls};
  }

  Step authinfo(std::string_view arguments, std::string& reply) {
    if (authenticated_) return answer(reply, "502 logged in already\r\n");
    const auto kind = ascii::first_word(arguments);
    const auto rest = ascii::after_first_word(arguments);
    if (rest.empty()) return answer(reply, "501 AUTHINFO USER name\r\n");
    if (ascii::iequals(kind, "USER")) {
      has_user_ = true;
      return answer(reply, "381 and the password\r\n");
    }
    if (ascii::iequals(kind, "PASS")) {
      return has_user_ ? welcome(reply) : answer(reply, "482 USER first\r\n");
    }
    if (!ascii::iequals(kind, "SASL")) return answer(reply, "501 USER, PASS or SASL\r\n");
    sasl_ = Sasl::begin(ascii::first_word(rest), !ascii::after_first_word(rest).empty());
    if (!sasl_) return answer(reply, "503 PLAIN or LOGIN\r\n");
    return go_on(reply);
  }
  Step go_on(std::string& reply) {
    if (!sasl_->finished()) {
      // "=" is an empty challenge (RFC 4643 §2.4.2).
      const auto challenge = sasl_->challenge();
      reply += fmt::format("383 {}\r\n", challenge.empty() ? "=" : challenge);
      return {};
    }
    sasl_.reset();
    return welcome(reply);
  }
  Step welcome(std::string& reply) {
    authenticated_ = true;
    return answer(reply, "281 welcome\r\n");
  }

  Step list(std::string_view argument, std::string& reply) {
    if (!argument.empty() && !ascii::iequals(ascii::first_word(argument), "ACTIVE")) {
      return answer(reply, "503 LIST ACTIVE\r\n");
    }
    const auto articles = mailbox_.messages();
    reply +=
        fmt::format("215 list\r\n{} {} {} y\r\n", kGroup, last_of(articles), first_of(articles));
    return answer(reply, ".\r\n");
  }
  Step group(std::string_view name, std::string& reply) {
    if (name.empty()) return answer(reply, "501 GROUP name\r\n");
    articles_ = mailbox_.messages();
    current_ = 0;
    reply += fmt::format("211 {} {} {} {}\r\n", articles_->size(), first_of(*articles_),
                         last_of(*articles_), ascii::printable(name));
    return {};
  }

  Step article(std::string_view argument, std::string& reply) {
    return send(Part::all, argument, reply);
  }
  Step head(std::string_view argument, std::string& reply) {
    return send(Part::head, argument, reply);
  }
  Step body(std::string_view argument, std::string& reply) {
    return send(Part::body, argument, reply);
  }
  Step stat(std::string_view argument, std::string& reply) {
    return send(Part::none, argument, reply);
  }

  /// Sends an article. `argument`: a number, a message id of ours, or nothing (current article).
  Step send(Part part, std::string_view argument, std::string& reply) {
    constexpr std::string_view kIdEnd = "@backend.test>";
    std::optional<std::uint64_t> number;
    const bool by_id = argument.starts_with('<');
    if (by_id) {
      if (argument.ends_with(kIdEnd)) {
        number = ascii::parse_number(argument.substr(1, argument.size() - 1 - kIdEnd.size()));
      }
    } else if (!articles_) {
      return answer(reply, "412 GROUP first\r\n");
    } else if (argument.empty()) {
      if (articles_->empty()) return answer(reply, "420 the group is empty\r\n");
      number = Mailbox::number((*articles_)[current_]);
    } else {
      number = ascii::parse_number(argument);
    }

    const auto articles = by_id ? mailbox_.messages() : *articles_;
    const auto found = std::find_if(articles.begin(), articles.end(), [number](const auto& each) {
      return number && Mailbox::number(each) == *number;
    });
    const auto content = found != articles.end() ? mailbox_.read(found->name)
                                                 : Result<std::string>{fail(Errc::system, "")};
    if (!content) {
      return answer(reply, by_id ? "430 no such article\r\n" : "423 no such article\r\n");
    }
    if (!by_id) current_ = static_cast<std::size_t>(found - articles.begin());
    append_article(part, *content, fmt::format("{} <{}{}", by_id ? 0 : *number, *number, kIdEnd),
                   reply);
    return {};
  }

  static void append_article(Part part, std::string_view content, std::string_view which,
                             std::string& reply) {
    const std::size_t end_of_head = std::min(content.find("\r\n\r\n"), content.size());
    const std::size_t body = std::min(end_of_head + 4, content.size());
    switch (part) {
      case Part::all:
        reply += fmt::format("220 {}\r\n", which);
        append_dotted(content, reply);
        break;
      case Part::head:
        reply += fmt::format("221 {}\r\n", which);
        append_dotted(content.substr(0, end_of_head), reply);
        break;
      case Part::body:
        reply += fmt::format("222 {}\r\n", which);
        append_dotted(content.substr(body), reply);
        break;
      case Part::none:
        reply += fmt::format("223 {}\r\n", which);
        break;
    }
  }

  Step post(std::string_view, std::string& reply) {
    data_.emplace(Data{{}, mailbox_.begin()});
    return answer(reply, "340 go ahead\r\n");
  }

  /// Sends the pattern. The reply code is 290: x9x is for extensions that are not standard
  /// (RFC 3977 §3.2).
  Step xsend(std::string_view argument, std::string& reply) {
    const auto bytes = ascii::parse_number(argument);
    if (!bytes) return answer(reply, "501 XSEND bytes\r\n");
    reply += fmt::format("290 {} bytes follow\r\n", *bytes);
    return {0, Want::send_pattern, *bytes};
  }

  // An empty group's last number is one below its first (RFC 3977 §6.1.1.2).
  static std::uint64_t first_of(const std::vector<Mailbox::File>& articles) {
    return articles.empty() ? 1 : Mailbox::number(articles.front());
  }
  static std::uint64_t last_of(const std::vector<Mailbox::File>& articles) {
    return articles.empty() ? 0 : Mailbox::number(articles.back());
  }

  static Step answer(std::string& reply, std::string_view line) {
    reply += line;
    return {};
  }

  Tls tls_;
  const Mailbox& mailbox_;
  bool authenticated_ = false;
  bool has_user_ = false;
  std::optional<Sasl> sasl_;
  std::optional<Data> data_;
  std::optional<std::vector<Mailbox::File>>
      articles_;  // the group's articles, as they were at GROUP
  std::size_t current_ = 0;
};

constexpr Nntp::Command Nntp::kCommands[] = {
    {"CAPABILITIES", &Nntp::capabilities, true},
    {"MODE", &Nntp::mode, true},
    {"QUIT", &Nntp::quit, true},
    {"STARTTLS", &Nntp::starttls, true},
    {"AUTHINFO", &Nntp::authinfo, false},
    {"LIST", &Nntp::list, false},
    {"GROUP", &Nntp::group, false},
    {"ARTICLE", &Nntp::article, false},
    {"HEAD", &Nntp::head, false},
    {"BODY", &Nntp::body, false},
    {"STAT", &Nntp::stat, false},
    {"POST", &Nntp::post, false},
    {"XSEND", &Nntp::xsend, false},
};

Step Nntp::on_line(std::string_view line, std::string& reply) {
  if (sasl_) {
    if (line == "*") {
      sasl_.reset();
      return answer(reply, "481 cancelled\r\n");
    }
    sasl_->answer();
    return go_on(reply);
  }
  const auto* const found = find_command(kCommands, ascii::first_word(line));
  if (found == nullptr) return answer(reply, "500 unknown command\r\n");
  if (tls_ == Tls::required && !found->before_tls) return answer(reply, "483 STARTTLS first\r\n");
  return (this->*found->handler)(ascii::after_first_word(line), reply);
}

}  // namespace

std::unique_ptr<Protocol> make_nntp(Tls tls, const Mailbox& mailbox) {
  return std::make_unique<Nntp>(tls, mailbox);
}

}  // namespace starttls::bench

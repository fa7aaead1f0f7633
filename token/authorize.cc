#include "token/authorize.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>

#include "lib/base/ascii.h"
#include "token/answer.h"
#include "token/code_flow.h"
#include "token/device_flow.h"
#include "token/loopback.h"
#include "token/progress.h"
#include "token/requests.h"
#include "token/store.h"

namespace starttls::token {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr seconds kForAPerson = std::chrono::minutes{15};
constexpr milliseconds kLockLimit{10'000};

seconds since(Clock::time_point start) {
  return std::chrono::floor<seconds>(Clock::now() - start);
}

void say(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

Outcome<Grant> ask(Http& http, const std::string& url, Outcome<Form> form) {
  if (!form) return failed(std::move(form.error()));
  const auto response = http.post(url, *form);
  if (!response) return failed(response.error());
  return read_grant(*response, *form);
}

Outcome<Grant> by_device(const Surroundings& with, Http& http, const Client& client) {
  const auto form = device_form(client, with.now());
  if (!form) return failed(form.error());
  const auto response = http.post(client.device_url, *form);
  if (!response) return failed(response.error());
  const auto device = read_device_code(*response, *form);
  if (!device) return failed(device.error());

  say("Open this address in a browser on any device:\n\n  " + device->address +
      "\n\nand enter this code:\n\n  " + bold(device->user_code) + "\n\n");
  if (!device->complete_address.empty()) {
    say("This address has the code in it:\n\n  " + device->complete_address + "\n\n");
  }
  DevicePolling polling{device->interval, device->lifetime};
  const auto start = Clock::now();
  Progress progress{"the confirmation"};
  while (true) {
    for (const auto next = Clock::now() + polling.wait(); Clock::now() < next;) {
      const auto left = polling.left(since(start));
      if (left == seconds::zero()) {
        return failed(Exit::permission, "the code was not confirmed in time: start again");
      }
      progress.show(since(start), left);
      std::this_thread::sleep_for(std::min<Clock::duration>(seconds{1}, next - Clock::now()));
    }
    auto grant = ask(http, client.token_url, poll_form(client, device->device_code, with.now()));
    if (grant || !polling.goes_on(grant.error())) return grant;
  }
}

void show_address(const std::string& address) {
  say("Open this address in a browser:\n\n  " + address + "\n\n");
}

Outcome<Grant> by_browser(const Surroundings& with, Http& http, const Client& client) {
  auto loopback = Loopback::open(client.redirect);
  if (!loopback) return failed(std::move(loopback.error()));
  const auto attempt = begin_attempt(loopback->redirect());
  show_address(authorization_address(client, client.account, attempt));
  say("The browser must be on this machine. Otherwise use --paste.\n\n");

  const auto reader = [&](std::string_view target) {
    return read_redirect(target, client.redirect.path, attempt);
  };
  const auto start = Clock::now();
  Progress progress{"the browser"};
  while (since(start) < kForAPerson) {
    progress.show(since(start), kForAPerson - since(start));
    auto code = loopback->wait(seconds{1}, reader);
    if (!code) return failed(std::move(code.error()));
    if (*code) return ask(http, client.token_url, code_form(client, attempt, **code, with.now()));
  }
  return failed(Exit::permission, "the browser did not come back in time: start again");
}

/// Reads a line from standard input. Errors: usage, at its end; permission, after `limit`.
Outcome<std::string> read_line(milliseconds limit) {
  constexpr std::size_t kMaxLine = std::size_t{16} << 10U;
  const auto end = Clock::now() + limit;
  std::string line;
  while (line.size() < kMaxLine) {
    const auto left = std::chrono::ceil<milliseconds>(end - Clock::now());
    if (left <= milliseconds::zero()) {
      return failed(Exit::permission, "nothing was pasted in time: start again");
    }
    ::pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) {
      return failed(Exit::io, "standard input cannot be read");
    }
    if (input.revents == 0) continue;
    char c = 0;
    const auto got = ::read(STDIN_FILENO, &c, 1);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return failed(Exit::usage, "standard input ended before an address was pasted");
    if (c == '\n') return line;
    if (c != '\r') line += c;
  }
  return failed(Exit::usage, "the line is too long");
}

Outcome<Grant> by_paste(const Surroundings& with, Http& http, const Client& client) {
  // Nothing listens there. The browser shows an error, and the address that is needed.
  constexpr unsigned kSomePort = 8765;
  constexpr int kTries = 5;
  const auto port = client.redirect.port != 0 ? client.redirect.port : kSomePort;
  const auto attempt = begin_attempt("http://" + client.redirect.host + ":" + std::to_string(port) +
                                     client.redirect.path);
  show_address(authorization_address(client, client.account, attempt));
  say("After the confirmation the browser cannot open a page that begins with\n" +
      attempt.redirect + "\nCopy the whole address of that page and paste it here:\n");
  for (int left = kTries;; --left) {
    const auto line = read_line(kForAPerson);
    if (!line) return failed(line.error());
    const auto code = read_pasted(*line, attempt);
    if (code) return ask(http, client.token_url, code_form(client, attempt, *code, with.now()));
    if (code.error().status != Exit::usage || left <= 1) return failed(code.error());
    say("That did not work: " + code.error().reason + ". Paste it again:\n");
  }
}

/// Makes sure that tokens can be stored, before a person makes the effort.
Outcome<> try_store(const Store& store, std::string_view account) {
  const auto lock = store.lock(account, kLockLimit);
  if (!lock) return failed(lock.error());
  const auto pending = store.prepare(account);
  if (!pending) return failed(pending.error());
  return {};
}

Outcome<> keep(const Store& store, const Entry& entry) {
  const auto lock = store.lock(entry.account, kLockLimit);
  if (!lock) return failed(lock.error());
  auto pending = store.prepare(entry.account);
  if (!pending) return failed(std::move(pending.error()));
  return pending->commit(entry);
}

}  // namespace

Outcome<> authorize(const Surroundings& with, std::string_view account, const Choice& choice,
                    Return how) {
  if (auto good = check_account(account); !good) return good;
  auto client = make_client(find_account(with.settings, account), choice, account);
  if (!client) return failed(std::move(client.error()));
  if (how == Return::by_hand && client->flow == Flow::device_code) {
    client->flow = Flow::authorization_code;
  }
  if (auto good = check_authorization(*client); !good) return good;
  const auto store = Store::open(with.settings.store);
  if (!store) return failed(store.error());
  if (auto good = try_store(*store, account); !good) return good;
  const auto http = with.make_http();
  if (!http) return failed(http.error());

  Outcome<Grant> grant = client->flow == Flow::device_code ? by_device(with, **http, *client)
                         : how == Return::by_hand          ? by_paste(with, **http, *client)
                                                           : by_browser(with, **http, *client);
  if (!grant) return failed(std::move(grant.error()));
  if (grant->refresh_token.empty()) {
    return failed(Exit::config,
                  "the provider gave no refresh token, so the access would end within the hour: "
                  "the scope may lack offline_access, or the client may not keep access");
  }
  if (auto kept = keep(*store, make_entry(*client, *grant, with.now())); !kept) return kept;
  say(ascii::escape(account) + " is authorized. Its access tokens are printed by\n\n  " +
      "starttls-token access " + ascii::escape(account) + "\n");
  return {};
}

}  // namespace starttls::token

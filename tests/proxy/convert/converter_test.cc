#include "proxy/convert/converter.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/config/load.h"
#include "proxy/convert/stunnel_conf.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
namespace fs = std::filesystem;
using Catch::Matchers::ContainsSubstring;
using Lines = std::vector<std::string>;

namespace {

/// The conversion of `text`, and the loader's opinion of the result. Every file that it names
/// exists.
struct Converted {
  explicit Converted(std::string_view text) : conversion(convert_stunnel(text)) {
    constexpr std::string_view kProtocols[] = {"smtp", "lmtp", "imap", "pop3", "sieve", "nntp"};
    if (conversion.services == 0) return;
    const TemporaryFolder folder;
    folder.fill({"a.pem", "a.key", "b.pem", "b.key", "ca.pem", "stunnel.pem"});
    for (const auto& [where, problem, rank] :
         config::load_text(conversion.toml, folder.file("x.toml"), kProtocols, config)) {
      problems.push_back(where.substr(where.find(':')) + ": " + problem);
    }
  }

  [[nodiscard]] const config::Service& only() const {
    CAPTURE(conversion.toml, conversion.notes);
    REQUIRE(problems == Lines{});
    REQUIRE(config.services.size() == 1);
    REQUIRE(conversion.services == 1);
    return config.services.front();
  }

  Conversion conversion;
  config::Config config;
  Lines problems;
};

Lines to_strings(const std::vector<config::Network>& networks) {
  Lines all;
  for (const auto& network : networks) all.push_back(to_string(network));
  return all;
}

Lines notes(std::string_view text) {
  return convert_stunnel(text).notes;
}

/// Returns the only note.
std::string note(std::string_view text) {
  const auto all = notes(text);
  CAPTURE(all);
  REQUIRE(all.size() == 1);
  return all.front();
}

const std::string kVerifiedImap =
    "[mail]\nclient = yes\naccept = 127.0.0.1:143\nconnect = imap.example.com:993\n"
    "verifyChain = yes\ncheckHost = imap.example.com\n";
const std::string kImaps = "[imaps]\naccept = 993\nconnect = 143\ncert = a.pem\nkey = a.key\n";

}  // namespace

TEST_CASE("convert: a port that contradicts the mode gets a note", "[convert]") {
  CHECK(note("[mail]\nclient = yes\naccept = 127.0.0.1:143\nconnect = imap.example.com:143\n"
             "verifyChain = yes\ncheckHost = imap.example.com\n")
            .find("port 143 is for STARTTLS: check that the mode is right") != std::string::npos);
  CHECK(note("[mail]\nclient = yes\naccept = 127.0.0.1:25\nconnect = smtp.example.com:465\n"
             "protocol = smtp\nverifyChain = yes\ncheckHost = smtp.example.com\n")
            .find("port 465 is for TLS from the first byte") != std::string::npos);
}

TEST_CASE("convert: the samples of stunnel's own file are converted", "[convert]") {
  const Converted gmail(
      "\xef\xbb\xbf; Sample\n"
      "setuid = stunnel4\npid = /run/stunnel.pid\nforeground = yes\n\n"
      "[gmail-pop3]\nclient = yes\naccept = 127.0.0.1:110\nconnect = pop.gmail.com:995\n"
      "verifyChain = yes\nCApath = /etc/ssl/certs\ncheckHost = pop.gmail.com\nOCSPaia = yes\n"
      "[gmail-smtp]\r\nclient = yes\r\naccept = 127.0.0.1:25\r\nconnect = smtp.gmail.com:465\r\n"
      "verifyChain = yes\r\nCApath = /etc/ssl/certs\r\ncheckHost = smtp.gmail.com\r\n");
  CHECK(gmail.conversion.toml ==
        "# Relative paths are relative to this file's folder.\n"
        "# line 2: setuid: set proxy.user, or start the process as that user (see conf/systemd)\n"
        "\n"
        "# line 13: [gmail-pop3] OCSPaia: revocation is not checked\n"
        "[[service]]\n"
        "name             = \"gmail-pop3\"\n"
        "protocol         = \"pop3\"\n"
        "listen           = \"127.0.0.1:110\"\n"
        "upstream.address = \"pop.gmail.com:995\"\n"
        "upstream.tls     = \"implicit\"\n"
        "\n"
        "[[service]]\n"
        "name             = \"gmail-smtp\"\n"
        "protocol         = \"smtp\"\n"
        "listen           = \"127.0.0.1:25\"\n"
        "upstream.address = \"smtp.gmail.com:465\"\n"
        "upstream.tls     = \"implicit\"\n");
  CHECK(gmail.problems == Lines{});
  CHECK(
      gmail.conversion.notes ==
      Lines{"line 2: setuid: set proxy.user, or start the process as that user (see conf/systemd)",
            "line 13: [gmail-pop3] OCSPaia: revocation is not checked"});
}

TEST_CASE("convert: a protocol means STARTTLS with the server in client mode", "[convert]") {
  for (const std::string protocol : {"smtp", "imap", "pop3", "nntp"}) {
    const Converted converted("client = yes\n[x]\naccept = localhost:2000\nprotocol = " + protocol +
                              "\nconnect = mail.example.com:2001\nverifyChain = yes\n"
                              "checkHost = other.example.com\nCAfile = ca.pem\ndelay = yes\n");
    const auto& service = converted.only();
    CHECK(service.protocol == protocol);
    CHECK(to_string(service.listen.front()) == "127.0.0.1:2000");
    CHECK(service.downstream.tls == TlsMode::none);
    CHECK(service.upstream.tls == TlsMode::starttls);
    CHECK(service.upstream.verify == Verification::full);
    CHECK(service.upstream.server_name == "other.example.com");
    CHECK(service.upstream.ca_file.ends_with("/ca.pem"));
    CHECK(converted.conversion.notes == Lines{});
  }
}

TEST_CASE("convert: a protocol means STARTTLS with the client in server mode", "[convert]") {
  for (const std::string protocol : {"smtp", "imap", "pop3"}) {
    const Converted converted("[x]\naccept = :::2000\nconnect = /run/mail.sock\nprotocol = " +
                              protocol + "\ncert = a.pem\nkey = a.key\n");
    const auto& service = converted.only();
    CHECK(service.protocol == protocol);
    // stunnel takes clients of both families there.
    REQUIRE(service.listen.size() == 2);
    CHECK(to_string(service.listen[0]) == "0.0.0.0:2000");
    CHECK(to_string(service.listen[1]) == "[::]:2000");
    CHECK(service.downstream.tls == TlsMode::starttls);
    REQUIRE(service.downstream.certificates.size() == 1);
    CHECK(service.upstream.tls == TlsMode::none);
    CHECK(to_string(service.upstream.address.front()) == "unix:/run/mail.sock");
    // See S1.
    CHECK(converted.conversion.notes.size() == (protocol == "smtp" ? 1 : 0));
  }
}

TEST_CASE("convert: a port alone means any host to accept on, and this host to connect to",
          "[convert]") {
  const Converted converted("[pop]\naccept = pop3s\nconnect = pop3\ncert = stunnel.pem\n");
  const auto& service = converted.only();
  CHECK(to_string(service.listen.front()) == "0.0.0.0:995");
  CHECK(to_string(service.upstream.address.front()) == "127.0.0.1:110");
  CHECK(service.downstream.tls == TlsMode::implicit);
  // Without `key`, certificate and key are in one file.
  CHECK(service.downstream.certificates.front().key ==
        service.downstream.certificates.front().chain);
}

TEST_CASE("convert: a server that stunnel did not verify is verified from now on",
          "[convert][security]") {
  const std::string start = "[mail]\nclient = yes\naccept = 127.0.0.1:143\nconnect = a.test:993\n";
  for (const std::string more : {"", "verify = 0\n", "verify = 1\n", "verifyChain = no\n"}) {
    const Converted converted(start + more);
    CHECK(converted.only().upstream.verify == Verification::full);
    REQUIRE(converted.conversion.notes.size() == 1);
    CHECK_THAT(converted.conversion.notes.front(),
               ContainsSubstring("stunnel did not verify the server") &&
                   ContainsSubstring("the name a.test"));
  }
  CHECK_THAT(note(start + "verify = 2\n"), ContainsSubstring("stunnel accepted any name"));
  CHECK_THAT(note(start + "verifyPeer = yes\nCAfile = ca.pem\n"),
             ContainsSubstring("line 5: [mail] verifyPeer: stunnel accepted one certificate") &&
                 ContainsSubstring("upstream.pins"));
  CHECK_THAT(note(start + "verify = 4\n"),
             ContainsSubstring("[mail] verify: stunnel accepted one"));
  CHECK(notes(start + "verifyChain = yes\ncheckHost = a.test\n") == Lines{});
}

TEST_CASE("convert: clients that could connect in the clear must be listed",
          "[convert][security]") {
  const Converted open(
      "[mail]\nclient = yes\naccept = 2525\nconnect = smtp.example.com:465\n"
      "verifyChain = yes\ncheckHost = smtp.example.com\n");
  CHECK(to_strings(open.only().downstream.allow) == Lines{"127.0.0.1", "::1"});
  REQUIRE(open.conversion.notes.size() == 1);
  CHECK_THAT(open.conversion.notes.front(),
             ContainsSubstring("line 3: [mail] accept: stunnel accepted every client"));

  const Converted named(
      "[mail]\nclient = yes\naccept = gate.example.com:25\nconnect = smtp.example.com:465\n"
      "verifyChain = yes\ncheckHost = smtp.example.com\n");
  CHECK(to_string(named.only().listen.front()) == "127.0.0.1:25");
  CHECK_THAT(named.conversion.notes.front(), ContainsSubstring("gate.example.com"));
}

TEST_CASE("convert: S1: clients that could send mail through a server must be listed",
          "[convert][security][S1]") {
  const std::string note =
      ": stunnel accepted every client; here downstream.allow has this machine only: add the "
      "networks of your clients";
  for (const std::string text :
       {"[smtps]\naccept = 465\nconnect = 25\ncert = a.pem\n",
        "[smtp]\naccept = :::587\nconnect = 25\ncert = a.pem\nprotocol = smtp\n",
        "[smtp]\nclient = yes\naccept = :::25\nconnect = a.test:465\nverifyChain = yes\n"
        "checkHost = a.test\n"}) {
    CAPTURE(text);
    const Converted converted(text);
    CHECK(to_strings(converted.only().downstream.allow) == Lines{"127.0.0.1", "::1"});
    REQUIRE(converted.conversion.notes.size() == 1);
    CHECK_THAT(converted.conversion.notes[0], ContainsSubstring("accept" + note));
  }
  // There this machine is a client with the address itself.
  const Converted one_address("[lmtp]\naccept = 192.0.2.1:2424\nconnect = 24\ncert = a.pem\n");
  CHECK(to_strings(one_address.only().downstream.allow) == Lines{"192.0.2.1"});
  REQUIRE(one_address.conversion.notes.size() == 1);
  CHECK_THAT(one_address.conversion.notes[0],
             ContainsSubstring("accept" + note + ", such as \"192.0.2.0/24\""));
  for (const std::string text :
       {"[smtps]\naccept = 127.0.0.1:465\nconnect = 25\ncert = a.pem\n",
        "[smtps]\naccept = /run/x.sock\nconnect = 25\ncert = a.pem\n",
        "[smtps]\naccept = 465\nconnect = 25\ncert = a.pem\nverifyChain = yes\nCAfile = ca.pem\n",
        // The server learns the client's address.
        "[smtps]\naccept = 465\nconnect = 25\ncert = a.pem\nprotocol = proxy\n",
        "[imaps]\naccept = 993\nconnect = 143\ncert = a.pem\n"}) {
    CAPTURE(text);
    const Converted converted(text);
    CHECK(converted.only().downstream.allow.empty());
    CHECK(converted.conversion.notes == Lines{});
  }
}

TEST_CASE("convert: clients' certificates are required, or the service is left out",
          "[convert][security]") {
  const Converted chain(kImaps + "verifyChain = yes\nCAfile = ca.pem\n");
  CHECK(chain.only().downstream.client_ca.ends_with("/ca.pem"));
  CHECK(chain.conversion.notes == Lines{});
  CHECK_THAT(note(kImaps + "verify = 3\nCAfile = ca.pem\n"),
             ContainsSubstring("stunnel accepted only certificates that are in this file"));

  for (const std::string more :
       {"verifyChain = yes\nCApath = /etc/stunnel/clients\n", "verify = 2\n",
        "verifyChain = yes\nCAfile = ca.pem\ncheckHost = scanner.example.com\n",
        "verifyChain = yes\nCAfile = ca.pem\ncheckEmail = a@example.com\n",
        "verifyChain = yes\nCAfile =\n", "PSKsecrets = secrets\n"}) {
    const auto left_out = convert_stunnel(kImaps + more);
    CAPTURE(more, left_out.notes);
    CHECK(left_out.services == 0);
    CHECK(left_out.toml.empty());
    CHECK(std::any_of(left_out.notes.begin(), left_out.notes.end(), [](const std::string& each) {
      return each.find("[imaps]") != each.npos && each.ends_with("; the service is left out");
    }));
  }
}

TEST_CASE("convert: a server that is not for mail is left out", "[convert]") {
  CHECK_THAT(
      note("[https]\naccept = 443\nconnect = 80\ncert = a.pem\n"),
      ContainsSubstring("line 1: [https] neither its ports nor its name show a mail protocol"));
  CHECK_THAT(note("[x]\naccept = 25\nconnect = 26\nprotocol = ldap\ncert = a.pem\n"),
             ContainsSubstring("line 4: [x] protocol: 'ldap' is not a mail protocol"));
  CHECK_THAT(note("[imapd]\naccept = 993\nexec = /usr/sbin/imapd\n"),
             ContainsSubstring("[imapd] exec: "));
  CHECK_THAT(note("[imapd]\naccept = 993\nconnect = 143\n"),
             ContainsSubstring("there is no certificate"));
  CHECK_THAT(note("[imapd]\naccept = 993\n"), ContainsSubstring("there is no connect"));
  CHECK_THAT(note("[imapd]\nconnect = 993\n"), ContainsSubstring("there is no accept"));
  CHECK_THAT(note("[imapd]\naccept = 1:2:3\nconnect = 143\n"),
             ContainsSubstring("'1:2:3' is not an address"));
  CHECK(note("exec = /usr/sbin/imapd\n") == "there is no [service]: inetd mode has no counterpart");
  CHECK(notes("include = /etc/stunnel/conf.d\n") ==
        Lines{"there is no [service] in this file itself",
              "line 1: include: its folder cannot be read here: convert its files, too"});
  CHECK_THAT(note("[imapd]\naccept = 127.0.0.1:143\nconnect = 143\ncert = a.pem\n"),
             ContainsSubstring("it would connect to itself"));
  CHECK_THAT(note(kImaps + "[more]\naccept = 993\nconnect = 1143\ncert = b.pem\n"),
             ContainsSubstring("line 7: [more] accept: 0.0.0.0:993 belongs to another service"));
  // The service's name gives the protocol that the ports do not.
  CHECK(Converted("[my-imap]\naccept = 9000\nconnect = 9001\ncert = a.pem\n").only().protocol ==
        "imap");
}

TEST_CASE("convert: every option of stunnel is known, and an unknown one is named", "[convert]") {
  CHECK(note(kVerifiedImap + "verifyChian = yes\n") ==
        "line 7: [mail] verifyChian: is not a known option of stunnel 5");
  CHECK(note(kVerifiedImap + "what is this\n") == "line 7: not understood: 'what is this'");
  CHECK(
      notes("TimeOutBusy = 5\n" + kVerifiedImap) ==
      Lines{"line 1: TimeOutBusy: see timeouts.handshake, timeouts.prelude and timeouts.command"});
  // An option that is switched off needs no note.
  CHECK(notes(kVerifiedImap + "libwrap = no\ntransparent = none\nfips = no\nident = no\n") ==
        Lines{});
  CHECK_THAT(note(kVerifiedImap + "libwrap = yes\n"), ContainsSubstring("downstream.allow"));
}

TEST_CASE("convert: a secret is never repeated", "[convert][security]") {
  const auto result = convert_stunnel(
      "[mail]\nclient = yes\naccept = 127.0.0.1:25\nconnect = smtp.example.com:587\n"
      "protocol = smtp\nprotocolUsername = user\nprotocolPassword = canary-s3cret\n"
      "ticketKeySecret = canary-key\nengineCtrl = PIN:canary-pin\n");
  CHECK(result.services == 1);
  CHECK(result.notes.size() == 4);
  CHECK(result.toml.find("canary") == std::string::npos);
  for (const auto& each : result.notes) CHECK(each.find("canary") == std::string::npos);
}

TEST_CASE("convert: a login at the server becomes a login at connect", "[convert][login]") {
  const std::string smtp =
      "[office mail]\nclient = yes\naccept = 127.0.0.1:2525\nconnect = smtp.example.com:587\n"
      "protocol = smtp\nverifyChain = yes\ncheckHost = smtp.example.com\n";
  const std::string user = "protocolUsername = scan@example.com\n";
  const std::string password = "protocolPassword = hunter2\n";
  const std::string note_about_password =
      "line 9: [office mail] protocolPassword: is not copied: write the password into the file "
      "office-mail.password beside this configuration, and let only the proxy's user read it "
      "(0600). Every client that may connect sends mail as this account";
  CHECK(notes(smtp + user + password) == Lines{note_about_password});
  const Converted converted(smtp + user + password);
  const auto& service = converted.only();
  REQUIRE(service.login);
  CHECK(service.login->when == LoginWhen::connect);
  CHECK(service.login->mechanism == Mechanism::plain);
  CHECK(service.login->user == "scan@example.com");
  CHECK(fs::path(service.login->source.file).filename() == "office-mail.password");
  CHECK_FALSE(service.login->source.text);
  CHECK_FALSE(service.login->source.token);
  const auto by = [&](const std::string& mechanism) {
    const Converted other(smtp + user + password + "protocolAuthentication = " + mechanism + "\n");
    return other.only().login->mechanism;
  };
  CHECK(by("LOGIN") == Mechanism::login);
  CHECK(by("plain") == Mechanism::plain);
  CHECK(by("ntlm") == Mechanism::plain);  // as stunnel does

  // A listener that stunnel opened to everyone is for this machine only, also with a login.
  const auto everywhere = [](std::string text) {
    text.replace(text.find("127.0.0.1:2525"), 14, "2525");
    return text;
  };
  const Converted open(everywhere(smtp + user + password));
  CHECK(to_strings(open.only().downstream.allow) == Lines{"127.0.0.1", "::1"});
}

TEST_CASE("convert: services that stunnel did not log in for are noted", "[convert][login]") {
  const std::string smtp =
      "[mail]\nclient = yes\naccept = 127.0.0.1:25\nconnect = smtp.example.com:587\n"
      "protocol = smtp\nverifyChain = yes\ncheckHost = smtp.example.com\n";
  const std::string both = "protocolUsername = user\nprotocolPassword = hunter2\n";
  const std::string half =
      ": stunnel logs in only with protocolUsername and protocolPassword, so this service did not";
  CHECK(note(smtp + "protocolUsername = user\n") == "line 8: [mail] protocolUsername" + half);
  CHECK(note(smtp + "protocolPassword = hunter2\n") == "line 8: [mail] protocolPassword" + half);
  CHECK_FALSE(Converted(smtp + "protocolPassword = hunter2\n").only().login);
  const std::string elsewhere =
      ": stunnel logs in only in client mode with protocol = smtp, so this service did not";
  CHECK(note(kVerifiedImap + both) == "line 7: [mail] protocolUsername" + elsewhere);
  CHECK_FALSE(Converted(kVerifiedImap + both).only().login);
  CHECK_FALSE(Converted(kVerifiedImap + "protocol = imap\n" + both).only().login);
  CHECK_FALSE(Converted(kImaps + both).only().login);
}

TEST_CASE("convert: TLS versions are converted if they are safe", "[convert][security]") {
  const auto server = [](const std::string& more) {
    return Converted(kImaps + more).only().downstream.min_tls;
  };
  CHECK(server("") == TlsVersion::tls1_2);
  CHECK(server("sslVersionMin = TLSv1\n") == TlsVersion::tls1_0);
  CHECK(server("sslVersionMin = TLSv1.1\n") == TlsVersion::tls1_1);
  CHECK(server("sslVersion = TLSv1.3\n") == TlsVersion::tls1_3);
  CHECK(server("options = NO_SSLv2\noptions = NO_TLSv1.2\n") == TlsVersion::tls1_3);

  CHECK(Converted(kVerifiedImap + "sslVersion = TLSv1.3\n").only().upstream.min_tls ==
        TlsVersion::tls1_3);
  CHECK_THAT(note(kVerifiedImap + "sslVersionMin = TLSv1\n"),
             ContainsSubstring("towards servers the lowest version is TLS 1.2"));
  CHECK_THAT(note(kImaps + "sslVersionMax = TLSv1.2\n"),
             ContainsSubstring("there is no highest version"));
  CHECK_THAT(note(kImaps + "options = ALL\n"),
             ContainsSubstring("options: ALL has no counterpart"));
}

TEST_CASE("convert: log, time-outs, server name and client certificate are converted",
          "[convert]") {
  const Converted converted(
      "debug = daemon.warning\noutput = /dev/stderr\nTIMEOUTidle = 7200\n" + kVerifiedImap +
      "TIMEOUTconnect = 5\ncert = a.pem\nkey = a.key\nconnect = imap2.example.com:imaps\n"
      "socket = l:TCP_NODELAY=1\nTIMEOUTclose = 0\n");
  const auto& service = converted.only();
  CHECK(converted.config.log.level == log::Level::warn);
  CHECK(converted.config.log.file.empty());
  CHECK(service.timeouts.idle == std::chrono::hours{2});
  CHECK(service.timeouts.connect == std::chrono::seconds{5});
  CHECK(service.upstream.certificate.key.ends_with("/a.key"));
  CHECK(service.upstream.address.size() == 2);
  CHECK(service.upstream.server_name == "imap.example.com");  // for both
  CHECK(converted.conversion.notes == Lines{});

  CHECK_THAT(note(kVerifiedImap + "TIMEOUTidle = 0\n"), ContainsSubstring("keeps its default"));
  // stunnel's own log stays its own.
  for (const std::string file : {"/var/log/stunnel4/stunnel.log", "/dev/stdout"}) {
    const Converted logging("output = " + file + "\n" + kVerifiedImap);
    CHECK(logging.only().name == "mail");
    CHECK(logging.config.log.file.empty());
    CHECK(logging.conversion.notes ==
          Lines{"line 1: output: the log goes to standard error (journald reads it); for a file of "
                "its own, set log.file"});
  }
  const Converted smtp(
      "[x]\nclient = yes\naccept = 127.0.0.1:25\nconnect = a.test:587\nprotocol = smtp\n"
      "protocolHost = me.example.com\nverifyChain = yes\ncheckHost = a.test\n");
  CHECK(smtp.config.proxy.hostname == "me.example.com");
}

TEST_CASE("convert: names that share a service become its certificates", "[convert]") {
  const std::string second = "[other]\nsni = imaps:mail.example.org\ncert = b.pem\nkey = b.key\n";
  const Converted same(kImaps + second + "connect = 143\n");
  REQUIRE(same.only().downstream.certificates.size() == 2);
  CHECK(same.only().downstream.certificates[1].chain.ends_with("/b.pem"));

  // A certificate or an address that is given twice counts once.
  const Converted twice(kImaps + "connect = 127.0.0.1:143\n" + second + second +
                        "[first]\nsni = imaps:mail.example.com\ncert = a.pem\nkey = a.key\n");
  CHECK(twice.only().downstream.certificates.size() == 2);
  CHECK(twice.only().upstream.address.size() == 1);

  const auto other = convert_stunnel(kImaps + second + "connect = 10143\n");
  CHECK(other.services == 1);
  CHECK(other.toml.find("b.pem") == std::string::npos);
  CHECK_THAT(
      other.notes.front(),
      ContainsSubstring("line 7: [other] sni: a name chooses the certificate here, and not"));
  CHECK_THAT(note("[x]\nsni = nobody:a.test\nconnect = 143\ncert = a.pem\n"),
             ContainsSubstring("no service of that name"));
}

TEST_CASE("convert: S7: a demand for certificates is kept if services are merged",
          "[convert][security][S7]") {
  const std::string second = "[other]\nsni = imaps:mail.example.org\ncert = b.pem\nkey = b.key\n";
  const std::string demand = "verifyChain = yes\nCAfile = ca.pem\n";
  for (const std::string& more :
       {demand, std::string("verify = 2\nCAfile = ca.pem\n"),
        std::string("verifyPeer = yes\nCAfile = ca.pem\n"), demand + "checkEmail = a@b.test\n",
        std::string("PSKsecrets = secrets\n")}) {
    CAPTURE(more);
    const Converted converted(kImaps + second + more);
    CHECK(converted.only().downstream.certificates.size() == 1);
    CHECK(converted.only().downstream.client_ca.empty());
    REQUIRE(converted.conversion.notes.size() == 1);
    CHECK(converted.conversion.notes[0] ==
          "line 7: [other] sni: its clients had to show a certificate, which [imaps] does not "
          "demand; "
          "one service has one rule for all its names; the service is left out");
  }
  // With another authority the section is left out.
  CHECK(Converted(kImaps + demand + second + "verifyChain = yes\nCAfile = b.pem\n")
            .only()
            .downstream.certificates.size() == 1);

  const Converted both(kImaps + demand + second + demand);
  CHECK(both.only().downstream.certificates.size() == 2);
  CHECK(both.only().downstream.client_ca.ends_with("/ca.pem"));
  CHECK(both.conversion.notes == Lines{});
  CHECK(Converted(demand + kImaps + second).conversion.notes == Lines{});

  const Converted primary(kImaps + demand + second);
  CHECK(primary.only().downstream.certificates.size() == 2);
  REQUIRE(primary.conversion.notes.size() == 1);
  CHECK_THAT(primary.conversion.notes[0],
             ContainsSubstring("line 9: [other] sni: its clients must show a certificate here"));
  // A note also reports any other rule that a name had of its own.
  CHECK_THAT(note(kImaps + second + "sslVersionMin = TLSv1.3\n"),
             ContainsSubstring("line 10: [other] sslVersionMin: is the same for all names here: "
                               "the value of [imaps]"));
}

TEST_CASE("convert: the server goes on to learn the client's address", "[convert]") {
  const std::string imap = "[imap]\naccept = 192.0.2.1:993\nconnect = 143\ncert = a.pem\n";
  const Converted header(imap + "protocol = proxy\n");
  CHECK(header.only().upstream.send_proxy == config::SendProxy::v1);
  CHECK(header.only().downstream.tls == TlsMode::implicit);
  CHECK(header.conversion.notes == Lines{});
  // stunnel has this in server mode only.
  CHECK_THAT(note(kVerifiedImap + "protocol = proxy\n"),
             ContainsSubstring("protocol: no PROXY header is sent to the server"));

  for (const std::string value : {"source", "yes", "both"}) {
    const Converted transparent(imap + "transparent = " + value + "\n");
    CHECK(transparent.only().upstream.from_client);
    const auto& said = transparent.conversion.notes;
    REQUIRE(said.size() == (value == "both" ? 2 : 1));
    CHECK_THAT(said.back(), ContainsSubstring("CAP_NET_ADMIN"));
  }
  const Converted destination(imap + "transparent = destination\n");
  CHECK_FALSE(destination.only().upstream.from_client);
  CHECK_THAT(destination.conversion.notes.front(), ContainsSubstring("original-destination"));

  const Converted local(
      "[imap]\naccept = /run/x.sock\nconnect = 143\ncert = a.pem\n"
      "transparent = source\n");
  CHECK_FALSE(local.only().upstream.from_client);
  CHECK_THAT(local.conversion.notes.front(), ContainsSubstring("have no address"));
}

TEST_CASE("convert: a service with pre-shared keys is left out for that reason", "[convert]") {
  CHECK(note("[imaps]\naccept = 993\nconnect = 143\nPSKsecrets = secrets\n") ==
        "line 4: [imaps] PSKsecrets: pre-shared keys are not supported; the service is left out");
  CHECK_THAT(
      note(kVerifiedImap + "PSKsecrets = secrets\n"),
      ContainsSubstring("pre-shared keys are not supported: the server needs a certificate"));
}

TEST_CASE("convert: each note is a comment at its service", "[convert]") {
  const Converted converted("ident = me\n[https]\naccept = 443\nconnect = 80\n" + kVerifiedImap +
                            "OCSPaia = yes\n" + kImaps + "CRLfile = x\n" +
                            "[other]\nsni = imaps:a.test\ncert = b.pem\nredirect = 80\n");
  REQUIRE(converted.problems == Lines{});
  const auto& toml = converted.conversion.toml;
  const auto& comments = converted.conversion.notes;
  CHECK(converted.conversion.sections == 4);
  CHECK(converted.conversion.services == 2);
  CHECK(converted.conversion.left_out == 1);
  REQUIRE(comments.size() == 5);
  std::size_t last = 0;
  for (const auto& each : comments) {
    const auto at = toml.find("# " + each + "\n");
    CAPTURE(each, toml);
    REQUIRE(at != std::string::npos);
    CHECK(at > last);
    last = at;
  }
  CHECK(toml.find("\n# " + comments[2] + "\n[[service]]\nname             = \"mail\"\n") !=
        std::string::npos);
  CHECK(toml.find("\n# " + comments[3] + "\n[[service]]\nname                    = \"imaps\"\n") !=
        std::string::npos);
  CHECK(toml.ends_with("\n\n# " + comments[4] + "\n"));
}

TEST_CASE("convert: a certificate without its service is not lost silently", "[convert]") {
  const std::string second = "[other]\nsni = imaps:mail.example.org\ncert = b.pem\n";
  const auto left_out = convert_stunnel("[imaps]\naccept = 993\nconnect = 143\n" + second);
  CHECK(left_out.services == 0);
  CHECK(left_out.left_out == 2);
  CHECK_THAT(left_out.notes.back(),
             ContainsSubstring("line 5: [other] sni: its service [imaps] is not converted; the "
                               "service is left out"));
  CHECK_THAT(note(kImaps + "[other]\nsni = imaps:mail.example.org\n"),
             ContainsSubstring("line 7: [other] sni: there is no certificate for this name"));
}

TEST_CASE("convert: names of services fit their labels and differ", "[convert]") {
  const Converted converted(
      "[my mail/1]\naccept = 993\nconnect = 143\ncert = a.pem\n"
      "[my mail 1]\naccept = 995\nconnect = 110\ncert = a.pem\n[]\naccept = 465\nconnect = 25\n"
      "cert = a.pem\n");
  REQUIRE(converted.problems == Lines{});
  REQUIRE(converted.config.services.size() == 3);
  CHECK(converted.config.services[0].name == "my-mail-1");
  CHECK(converted.config.services[1].name == "my-mail-1-2");
  CHECK(converted.config.services[2].name == "service");
}

TEST_CASE("convert: a value that TOML would read otherwise is not written", "[convert][security]") {
  CHECK(Converted(kImaps + "output = C:\\mail \"x\"\n").only().name == "imaps");
  const Converted quoted("[imaps]\naccept = 993\nconnect = /run/a\"b\\c\ncert = a.pem\n");
  CHECK(to_string(quoted.only().upstream.address.front()) == "unix:/run/a\"b\\c");
  for (const std::string value : {"/tmp/${HOME}", "/tmp/a\x01", "/tmp/\xff"}) {
    const Converted refused(kVerifiedImap + "CAfile = " + value + "\n");
    CHECK(refused.only().upstream.ca_file.empty());
    CHECK_THAT(refused.conversion.notes.front(), ContainsSubstring("written by hand"));
  }
}

TEST_CASE("convert: a file that is cut after any byte gives a good configuration or none",
          "[convert]") {
  const std::string whole = "debug = 7\noutput = /tmp/log\n" + kVerifiedImap + kImaps +
                            "verifyChain = yes\nCAfile = ca.pem\nsslVersionMin = TLSv1\n"
                            "[other]\nsni = imaps:mail.example.org\ncert = b.pem\nkey = b.key\n";
  const auto is_about_a_file = [](const std::string& problem) {
    return problem.find("No such file") != std::string::npos ||
           problem.find("Is a directory") != std::string::npos;
  };
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    auto converted = Converted(whole.substr(0, size));
    std::erase_if(converted.problems, is_about_a_file);  // "a.pe"
    CAPTURE(size, converted.conversion.toml);
    CHECK(converted.problems == Lines{});
    CHECK((converted.conversion.services > 0) == !converted.conversion.toml.empty());
  }
}

TEST_CASE("stunnel: syslog levels are read by name and number", "[convert]") {
  CHECK(stunnel::syslog_level("emerg") == 0);
  CHECK(stunnel::syslog_level("7") == 7);
  CHECK(stunnel::syslog_level("local0.Warning") == 4);
  for (const auto* const none : {"", "8", "77", "daemon", "."}) {
    CHECK_FALSE(stunnel::syslog_level(none));
  }
}

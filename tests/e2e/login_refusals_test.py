"""The answers to clients before a login, and to a login that is refused: the table of failures."""

import pathlib
import tempfile
import time

from support import main, sasl
from support.admin import metrics
from support.client import FIN
from support.daemon import configuration, run_to_end
from support.login_case import TOKEN, LoginCase
from support.login_client import WAYS
from support.login_server import NO
from support.logins import (ACCOUNTS, NAME, PASSWORD, TEMPORARY, USER, WRONG, login, write)

DELAY = 0.19  # 200 ms, less what a timer may be early: its loop counts whole milliseconds
# Anything but a login is refused before the login.
REFUSED = {"smtp": rb"530 5\.7\.0 ", "lmtp": rb"530 5\.7\.0 ", "imap": rb"x NO ", "pop3": rb"-ERR",
           "sieve": rb"NO", "nntp": rb"480 "}
CANCELLED = {"smtp": rb"501 5\.7\.0 ", "lmtp": rb"501 5\.7\.0 ", "imap": rb"l BAD ", "pop3": rb"-ERR",
             "sieve": rb"NO", "nntp": rb"481 "}
MALFORMED = {"smtp": rb"501 5\.5\.2 ", "lmtp": rb"501 5\.5\.2 ", "imap": rb"l BAD ", "pop3": rb"-ERR",
             "sieve": rb"NO", "nntp": rb"501 "}
HIDDEN = {"smtp": rb"504 5\.5\.4 ", "lmtp": rb"504 5\.5\.4 ", "imap": rb"l NO ", "pop3": rb"-ERR",
          "sieve": rb"NO", "nntp": rb"503 "}


class WrongPassword(LoginCase):
    def test_lp13_name_and_password_are_refused_by_the_same_words(self):
        """The server hears nothing of it, and the secret is still good for the next client."""
        for protocol in self.protocols:
            replies = set()
            for way in WAYS[protocol]:
                for name, password in ((NAME, "wrong"), (NAME, ""), ("nobody", PASSWORD), (USER, "wrong"),
                                       ("", ""), (NAME.upper(), PASSWORD), (NAME, PASSWORD + " ")):
                    if way == "atoms" and not (name and password.strip() == password != ""):
                        continue
                    with self.subTest(protocol=protocol, way=way, name=name):
                        client, reply = self.log_in(f"{protocol}-token", way, name, password)
                        self.assertRegex(reply, WRONG[protocol])
                        replies.add(reply)
                        client.close()
            self.assertEqual(len(replies), 1, replies)
            self.assertEqual(self.scripts[protocol].attempts, [])
            client, reply = self.log_in(f"{protocol}-token")
            self.assertTrue(client.succeeded(reply), reply)

    def test_a_refusal_comes_after_200_ms(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                client = self.client(f"{protocol}-token")
                before = time.monotonic()
                reply = client.log_in(WAYS[protocol][0], "nobody", "wrong")
                self.assertGreaterEqual(time.monotonic() - before, DELAY)
                self.assertRegex(reply, WRONG[protocol])

    def test_a_client_may_try_again(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                client = self.client(f"{protocol}-token")
                for way in WAYS[protocol][:2]:
                    self.assertRegex(client.log_in(way, NAME, "wrong"), WRONG[protocol])
                reply = client.log_in(WAYS[protocol][-1], NAME, PASSWORD)
                self.assertTrue(client.succeeded(reply), reply)
                self.assert_relayed(client)
                line = self.session(client)
                self.assertEqual((line["outcome"], line["login"]), ("ok", f"{NAME}->{USER}"))

    def test_the_third_refusal_is_the_last(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                client = self.client(f"{protocol}-token")
                for _ in range(3):
                    self.assertRegex(client.log_in("PLAIN", NAME, "wrong"), WRONG[protocol])
                rest, how = client.rest()
                self.assertEqual(how, FIN)
                self.assertLessEqual(rest.count(b"\r\n"), 1, rest)
                line = self.session(client)
                self.assertEqual(line["outcome"], "client_login")
        samples = metrics(self.admin)
        for protocol in self.protocols:
            self.assertGreaterEqual(samples("starttls_sessions_total", service=f"{protocol}-token",
                                            outcome="client_login"), 1)

    def test_another_identity_is_refused_as_wrong(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                client = self.client(f"{protocol}-token")
                reply = client.authenticate("PLAIN", [sasl.plain(NAME, PASSWORD, identity="boss")])
                self.assertRegex(reply, WRONG[protocol])
                reply = client.authenticate("PLAIN", [sasl.plain(NAME, PASSWORD, identity=NAME)])
                self.assertTrue(client.succeeded(reply), reply)

    def test_logins_are_counted(self):
        client, _ = self.log_in("imap-token", "quoted", NAME, "wrong")
        self.session(client)
        client, _ = self.log_in("imap-token", "LOGIN")
        self.session(client)
        samples = metrics(self.admin)
        for side, mechanism in (("client", "login"), ("server", "oauthbearer")):
            self.assertGreaterEqual(samples("starttls_logins_total", service="imap-token", side=side,
                                            mechanism=mechanism, outcome="ok"), 1)
        self.assertGreaterEqual(samples("starttls_logins_total", service="imap-token", side="client",
                                        mechanism="native", outcome="client_login"), 1)


class NoSecret(LoginCase):
    def assert_temporary(self, service, words, outcome="login"):
        client, reply = self.log_in(service, WAYS[service.partition("-")[0]][0])
        self.assertRegex(reply, TEMPORARY[client.protocol])
        line = self.session(client)
        self.assertEqual(line["outcome"], outcome)
        self.assertRegex(line["reason"], words)

    def test_the_server_refuses_the_proxys_secret(self):
        for protocol in self.protocols:
            for service in ("plain", "login", "xoauth2", "oauthbearer"):
                with self.subTest(protocol=protocol, service=service):
                    self.scripts[protocol].reset(decide=lambda *_: "no")
                    code = {"smtp": "535 5.7.8", "lmtp": "535 5.7.8", "nntp": "481",
                            "imap": "AUTHENTICATIONFAILED", "pop3": "AUTH", "sieve": ": NO"}[protocol]
                    self.assert_temporary(f"{protocol}-{service}", code)

    def test_the_server_lists_no_mechanism_that_fits(self):
        lists = {"smtp": [b"AUTH CRAM-MD5 GSSAPI"], "lmtp": [], "imap": [b"AUTH=CRAM-MD5", b"LOGINDISABLED"],
                 "pop3": [b"SASL CRAM-MD5"], "sieve": [b'"SASL" "CRAM-MD5"'], "nntp": [b"SASL CRAM-MD5"]}
        for protocol, listed in lists.items():
            for service in ("password", "token", "xoauth2", "passed"):
                with self.subTest(protocol=protocol, service=service):
                    self.scripts[protocol].reset(listed=listed)
                    self.assert_temporary(f"{protocol}-{service}",
                                          "CRAM-MD5" if listed else "lists no mechanism")
                    self.assertEqual(self.scripts[protocol].attempts, [])

    def test_lp16_the_first_line_of_the_file_counts(self):
        for text in (TOKEN, TOKEN + "\n", TOKEN + "\r\n", "\ufeff" + TOKEN + "\n",
                     TOKEN + "\nanother\n\n", TOKEN + "\r\n# a comment\r\n"):
            with self.subTest(text):
                write(self.token, text)
                self.scripts["smtp"].reset()
                client, reply = self.log_in("smtp-xoauth2")
                self.assertTrue(client.succeeded(reply), reply)
                [attempt] = self.scripts["smtp"].attempts
                self.assertEqual(sasl.parsed(attempt)[1], TOKEN.encode())

    def test_lp16_lp17_a_file_without_a_usable_secret(self):
        texts = {"nothing": "", "an empty line": "\n", "a BOM": "\ufeff\r\n",
                 "a NUL": "to\0ken\n", "a CR": "to\rken\n", "a control": "to\1ken\n",
                 "too long": "t" * 9001}
        for protocol in self.protocols:
            for name, text in texts.items():
                with self.subTest(protocol=protocol, text=name):
                    write(self.token, text)
                    empty = name in ("nothing", "an empty line", "a BOM")
                    self.assert_temporary(f"{protocol}-xoauth2",
                                          "the first line .* is empty" if empty else "has bytes that no secret may")
                    self.assertEqual(self.scripts[protocol].attempts, [])
        self.token.unlink()
        self.assert_temporary("smtp-xoauth2", "the file .* cannot be read")

    def test_the_refused_own_password_gets_the_servers_reply(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                self.scripts[protocol].reset(decide=lambda *_: "no", echo=False)
                client = self.client(f"{protocol}-passed")
                before = time.monotonic()
                for way in (WAYS[protocol][0], "PLAIN", "LOGIN" if protocol != "nntp" else "PLAIN="):
                    self.assertEqual(client.log_in(way, NAME, PASSWORD), NO[protocol].replace(b"%s", b"l"))
                self.assertGreaterEqual(time.monotonic() - before, 3 * DELAY)
                self.assertEqual(client.rest()[1], FIN)
                self.assertEqual(self.session(client)["outcome"], "client_login")
                self.assertEqual([sasl.parsed(attempt) for attempt in self.scripts[protocol].attempts],
                                 [(NAME.encode(), PASSWORD.encode())] * 3)


class WordsOfTheServer(LoginCase):
    def test_the_code_reaches_the_client_whatever_the_text(self):
        """A client that reads a temporary refusal as a permanent one drops its mail."""
        codes = {"smtp": b"454", "lmtp": b"454 4.7.0", "imap": b"%s NO [UNAVAILABLE]",
                 "pop3": b"-ERR [SYS/TEMP]", "sieve": b"NO (TRYLATER)", "nntp": b"403"}
        echo = b"no " + PASSWORD.encode()
        for protocol, code in codes.items():
            for text in (b"", b' "%b"' % echo if protocol == "sieve" else b" " + echo):
                with self.subTest(protocol=protocol, text=text):
                    refusal = code + text + b"\r\n"
                    self.scripts[protocol].reset(decide=lambda *_, bytes=refusal: bytes, echo=False)
                    client, reply = self.log_in(f"{protocol}-passed")
                    self.assertTrue(reply.startswith(code.replace(b"%s", b"l") + b" "), reply)
                    self.assertNotIn(PASSWORD.encode(), reply)
                    self.assertEqual(self.session(client)["outcome"], "client_login")

    def test_the_log_has_the_code_of_a_refusal_alone(self):
        """A server may repeat the client's password in its words, in any form."""
        for protocol in self.protocols:
            with self.subTest(protocol):
                self.scripts[protocol].reset(decide=lambda *_: "no", echo=False)
                client, reply = self.log_in(f"{protocol}-passed")
                self.assertIn(b"not you", reply)
                session = self.session(client)["session"]
                [failed] = self.daemon.lines(
                    lambda line, session=session: (line.get("msg"), line.get("session"))
                    == ("login failed", session))
                self.assertNotIn("not you", failed["evidence"])


class BeforeTheLogin(LoginCase):
    @classmethod
    def services(cls, protocol):
        kinds = {"token": super().services(protocol)["token"]}
        kinds["secured"] = {**kinds["token"], "downstream.tls": "starttls"}
        return kinds

    def test_lp22_before_tls_no_login_is_offered_or_taken(self):
        for protocol in self.protocols:
            for way in WAYS[protocol]:
                with self.subTest(protocol=protocol, way=way):
                    client = self.connect(f"{protocol}-secured")
                    told = client.greeted()
                    told += client.capabilities()
                    self.assertNotRegex(told, rb"(?m)PLAIN|AUTH[ =]|AUTHINFO|^USER")
                    self.assertFalse(client.succeeded(client.log_in(way, NAME, PASSWORD)))
                    self.assertEqual(self.scripts[protocol].attempts, [])
                    client.close()
            client = self.client(f"{protocol}-secured", "starttls")
            reply = client.log_in("PLAIN", NAME, PASSWORD)
            self.assertTrue(client.succeeded(reply), reply)

    def test_lp22_others_must_be_allowed_to_come(self):
        text = configuration(self.servers["imap"].port, protocol="imap", login=login(), accounts=ACCOUNTS)
        text = text.replace('"127.0.0.1:0"', '"0.0.0.0:0"')
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "proxy.toml"
            for allow, status in (("", 78), ('downstream.allow = ["192.0.2.0/24"]', 0)):
                path.write_text(text.replace("[service.login]", f"{allow}\n[service.login]"))
                done = run_to_end("--config", path, "--check")
                self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn("allow", run_to_end("--config", path, "--check").stdout)

    def test_what_passes(self):
        passing = {
            "smtp": (b"NOOP", b"RSET", b"HELP", b"EHLO again"), "lmtp": (b"NOOP", b"RSET", b"LHLO again"),
            "imap": (b"x NOOP", b'x ID NIL', b"x CAPABILITY"), "pop3": (b"NOOP",),
            "sieve": (b"NOOP", b"CAPABILITY"), "nntp": (b"MODE READER", b"DATE", b"HELP"),
        }
        goodbye = {"smtp": b"QUIT", "lmtp": b"QUIT", "imap": b"x LOGOUT", "pop3": b"QUIT",
                   "sieve": b"LOGOUT", "nntp": b"QUIT"}
        for protocol, commands in passing.items():
            with self.subTest(protocol):
                client = self.client(f"{protocol}-token")
                for command in commands:
                    client.send(command + b"\r\n")
                    reply = client.end_of_list() if command == b"CAPABILITY" else client.answer()
                    self.assertNotRegex(reply, rb"\A(5|4|-ERR|NO|x NO|x BAD)")
                client.send(goodbye[protocol] + b"\r\n")
                self.assertEqual(client.rest()[1], FIN)
                self.assertEqual(self.session(client)["outcome"], "ok")

    def test_all_else_is_refused_and_reaches_no_server(self):
        """No local password may reach the server by another way."""
        commands = {
            "smtp": (b"MAIL FROM:<a@b.test>", b"VRFY a", b"BDAT 5 LAST", b"ETRN x", b"XYZZY"),
            "lmtp": (b"MAIL FROM:<a@b.test>", b"VRFY a"),
            "imap": (b"x SELECT INBOX", b"x COMPRESS DEFLATE", b"x ENABLE UTF8=ACCEPT", b"x UNAUTHENTICATE"),
            "pop3": (b"STAT", b"RETR 1", b"APOP scanner c4c9334bac560ecc979e58001b3e22fb", b"XTND"),
            "sieve": (b"LISTSCRIPTS", b'HAVESPACE "x" 10', b"UNAUTHENTICATE"),
            "nntp": (b"GROUP misc.test", b"POST", b"LIST", b"AUTHINFO GENERIC x y"),
        }
        for protocol, refused in commands.items():
            for command in refused:
                with self.subTest(protocol=protocol, command=command):
                    client = self.client(f"{protocol}-token")
                    reply = client.ask(command)
                    self.assertRegex(reply, REFUSED[protocol])
                    self.session(client)
                    verb = command.split()[protocol == "imap"]
                    self.assertNotIn(verb, bytes(self.servers[protocol].connections[-1].secure))

    def test_lp8_lists_have_our_mechanisms(self):
        told = {
            "smtp": ([b"AUTH CRAM-MD5 XOAUTH2", b"AUTH=CRAM-MD5 XOAUTH2", b"X-EXPS GSSAPI NTLM"],
                     [b"AUTH PLAIN LOGIN"]),
            "imap": ([b"AUTH=CRAM-MD5", b"AUTH=XOAUTH2", b"LOGINDISABLED", b"UNAUTHENTICATE"],
                     [b"AUTH=PLAIN", b"AUTH=LOGIN", b"SASL-IR"]),
            "pop3": ([b"SASL CRAM-MD5 XOAUTH2"], [b"USER", b"SASL PLAIN LOGIN"]),
            "sieve": ([b'"SASL" "SCRAM-SHA-1 XOAUTH2"', b'"UNAUTHENTICATE"'], [b'"SASL" "PLAIN LOGIN"']),
            "nntp": ([b"AUTHINFO SASL", b"SASL XOAUTH2 NTLM"], [b"AUTHINFO USER SASL", b"SASL PLAIN"]),
        }
        for protocol, (listed, expected) in told.items():
            with self.subTest(protocol):
                self.scripts[protocol].reset(listed=listed)
                client = self.client(f"{protocol}-token")
                for word in expected:
                    self.assertEqual(client.listed.count(word), 1, client.listed)
                for word in (b"CRAM", b"XOAUTH2", b"SCRAM", b"NTLM", b"EXPS", b"AUTH=C", b"LOGINDISABLED",
                             b"UNAUTH", b"GSSAPI"):
                    self.assertNotIn(word, client.listed)
                client.close()

    def test_a_pop3_greeting_has_no_apop_stamp(self):
        client = self.client("pop3-token")
        self.assertRegex(client.greeting, rb"\A\+OK[^<]*\r\n\Z")

    def test_mechanisms_that_hide_the_password_are_refused(self):
        for protocol in self.protocols:
            for mechanism in ("CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "NTLM", "EXTERNAL", "LOGIN-PLUS", "X"):
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    client = self.client(f"{protocol}-token")
                    self.assertRegex(client.authenticate(mechanism, [b""]), HIDDEN[protocol])
                    reply = client.log_in("PLAIN", NAME, PASSWORD)
                    self.assertTrue(client.succeeded(reply), reply)
        client = self.client("smtp-token")
        self.assertRegex(client.command(b"X-EXPS GSSAPI"), rb"504 5\.5\.4 ")

    def test_smtp_wants_a_hello_before_auth(self):
        for hello in (None, b"HELO client.test"):
            with self.subTest(hello=hello):
                client = self.connect("smtp-token")
                client.greeted()
                if hello:
                    self.assertRegex(client.command(hello), rb"250 ")
                self.assertRegex(client.command(b"AUTH PLAIN " + sasl.encoded(sasl.plain(NAME, PASSWORD))),
                                 rb"503 5\.5\.1 ")
                client.capabilities()
                reply = client.log_in("PLAIN=", NAME, PASSWORD)
                self.assertTrue(client.succeeded(reply), reply)

    def test_lp11_a_login_that_is_cancelled(self):
        star = {"sieve": b'"*"'}
        for protocol in self.protocols:
            for mechanism in ("PLAIN", "LOGIN") if protocol != "nntp" else ("PLAIN",):
                for said in range(2 if mechanism == "LOGIN" else 1):
                    with self.subTest(protocol=protocol, mechanism=mechanism, said=said):
                        client = self.client(f"{protocol}-token")
                        messages = sasl.answers(mechanism, NAME, PASSWORD)[:said]
                        client.ask(client.command_of(mechanism))
                        for message in messages:
                            client.ask(client.message(sasl.encoded(message)))
                        reply = client.ask(star.get(protocol, b"*"))
                        self.assertRegex(reply, CANCELLED[protocol])
                        reply = client.log_in("PLAIN", NAME, PASSWORD)
                        self.assertTrue(client.succeeded(reply), reply)

    def test_lp10_our_own_prompts(self):
        for protocol in self.protocols:
            if protocol == "nntp":
                continue
            with self.subTest(protocol):
                client = self.client(f"{protocol}-token")
                prompts = [client.ask(client.command_of("LOGIN"))]
                prompts.append(client.ask(client.message(sasl.encoded(NAME))))
                reply = client.ask(client.message(sasl.encoded(PASSWORD)))
                self.assertTrue(client.succeeded(reply), reply)
                frame = {"smtp": b"334 %s\r\n", "lmtp": b"334 %s\r\n", "imap": b"+ %s\r\n",
                         "pop3": b"+ %s\r\n", "sieve": b'"%s"\r\n'}[protocol]
                self.assertEqual(prompts, [frame % prompt for prompt in sasl.PROMPTS])

    def test_lp11_lp23_each_way_of_a_login(self):
        for protocol in self.protocols:
            for way in WAYS[protocol]:
                with self.subTest(protocol=protocol, way=way):
                    client, reply = self.log_in(f"{protocol}-token", way)
                    self.assertTrue(client.succeeded(reply), reply)
                    self.assert_relayed(client)
        client = self.client("smtp-token")
        self.assertRegex(client.command(b"auth plain " + sasl.encoded(sasl.plain(NAME, PASSWORD))), rb"235 ")
        client = self.client("imap-token")
        self.assertRegex(client.ask(b"l authenticate plain " + sasl.encoded(sasl.plain(NAME, PASSWORD))),
                         rb"l OK")


if __name__ == "__main__":
    main.main()

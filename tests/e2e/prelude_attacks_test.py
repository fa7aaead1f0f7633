"""Attacks before TLS, by a server or by an attacker in its place. No line of them counts, and most
end the session. Also the lines that a client must not send before TLS. Test names carry the ids of
the cases.

The servers here always go on as an honest one would, through the handshake to the end. A proxy that
overlooks an attack then has a session, and the test sees that session, not a time-out.
"""

import socket
import unittest

from support import main, wait
from support.client import FIN
from support.daemon import Daemon, configuration
from support.dialects import PROTOCOLS, start_tls
from support.environment import pki
from support.fake_server import FakeServer, Gone, tls_context

CANARY = b"canary-4711"

# The start of the client's one line when the server cannot be trusted, up to the reason. The last
# digit of SMTP's codes depends on the outcome.
FAILED = {"smtp": rb"421 4\.7\.%d ", "lmtp": rb"421 4\.7\.%d ",
          "imap": rb"\* BYE \[UNAVAILABLE\] ", "pop3": rb"-ERR \[SYS/TEMP\] ",
          "sieve": rb'BYE \(TRYLATER\) "', "nntp": rb"400 "}

# Steps of a script. Bytes are sent; "%t" in them is the tag of the last line received.
LINE = "a line is awaited"
HELLO = "the first byte of the client is awaited, and not consumed"
TLS = "the handshake"


def handshake(certificate):
    """Returns the step TLS with another certificate."""
    return lambda connection: connection.start_tls(tls_context(certificate))


def play(steps, connection):
    tag = b""
    try:
        for step in steps:
            if step is LINE:
                tag = next_line(connection).split()[0]
            elif step is HELLO:
                connection.sock.recv(1, socket.MSG_PEEK)
            elif step is TLS:
                connection.start_tls(tls_context())
            elif callable(step):
                step(connection)
            else:
                connection.send(step.replace(b"%t", tag))
    finally:
        if connection.sock.fileno() >= 0:  # a failed handshake closes it
            connection.sock.setblocking(False)
            connection.wait_for_end()  # records the bytes that have come and were not read


def next_line(connection):
    """Reads byte by byte before TLS, since a handshake may follow the line."""
    if connection.tls:
        return connection.line()
    line = b""
    while not line.endswith(b"\n"):
        try:
            byte = connection.sock.recv(1)
        except OSError:
            byte = b""
        if not byte:
            raise Gone
        connection.clear += byte
        line += byte
    return line


def in_the_clear(dialect):
    """Returns the steps of an honest server up to the request for TLS."""
    if isinstance(dialect, type(PROTOCOLS["smtp"])):
        return dialect.greeting, LINE, dialect.offer(False), LINE
    return dialect.greeting, LINE


def under_tls(dialect):
    """Returns the steps of an honest server after the handshake, until the client may be greeted."""
    if dialect is PROTOCOLS["imap"]:
        return LINE, b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n%t OK done\r\n"
    return (dialect.offer(True),) if dialect.pushes else ()


def go_ahead(dialect):
    return dialect.go_ahead.replace(b"%s", b"%t")


class Scripted(unittest.TestCase):
    """One daemon before a server that plays `self.steps`."""

    def start(self, protocol, **settings):
        self.protocol = protocol
        self.dialect = PROTOCOLS[protocol]
        self.played = 0
        self.server = self.enterContext(FakeServer(lambda c: play(self.steps, c)))
        self.daemon = self.enterContext(
            Daemon(configuration(self.server.port, protocol=protocol, **settings)))

    def session(self, *steps):
        """Runs a session of an impatient client. Returns (the bytes it got, log line, server's end)."""
        self.steps = steps
        with self.daemon.connect() as client:
            client.send(self.dialect.capability + b"\r\n" + self.dialect.commit + b"\r\n")
            told = self.until_end(client)
        self.played += 1
        session = self.daemon.sessions(self.played)[-1]
        connection = self.server.connection(self.played - 1)
        self.assertTrue(connection.ended.wait(wait.DEADLINE), "the server's connection is open")
        return told, session, connection

    def until_end(self, client):
        """Returns all bytes to the client until its connection ends, which must be with FIN."""
        told = b""
        try:
            while data := client.sock.recv(65536):
                told += data
        except OSError as error:
            self.fail(f"{error} instead of FIN, after the client had read {told!r}")
        return told

    def fails(self, outcome, *steps):
        """Asserts that the session fails: one line for the client, and nothing of the client's crosses."""
        told, session, connection = self.session(*steps)
        code = b"5" if outcome in ("handshake", "certificate") else b"0"
        self.assertRegex(told, rb"\A" + FAILED[self.protocol].replace(b"%d", code)
                         + rb"[ -~]{1,500}\r\n\Z")
        self.assertEqual(session["outcome"], outcome)
        heard = bytes(connection.clear + connection.secure)
        self.assertNotIn(self.dialect.commit, heard)
        self.assertNotIn(self.dialect.capability + b"\r\n", heard)
        return connection

    def goes_on(self, *steps):
        """Asserts that the session succeeds. Returns the bytes that the client got."""
        told, _, connection = self.session(*steps)
        self.assertIsNotNone(connection.tls)
        return told


class AnyServer(Scripted):
    """Attacks on every protocol that all of them have in common."""

    def test_honest_servers_pass(self):
        """Without this test, all failures below might have another reason."""
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                self.start(protocol)
                told = self.goes_on(*in_the_clear(self.dialect), go_ahead(self.dialect), TLS,
                                    *under_tls(self.dialect), LINE)
                self.assertIn(b"mail.test" if not self.dialect.pushes else b"IMPLEMENTATION", told)

    def test_b2_b5_b6_b7_bytes_after_the_go_ahead(self):
        for protocol in PROTOCOLS:
            self.start(protocol)
            dialect = self.dialect
            for extra in (dialect.offer(False).replace(b"%s", b"2"), dialect.greeting, b"\r\n",
                          b"\xfe\xffno line"):
                with self.subTest(protocol=protocol, extra=extra):
                    self.fails("attack", *in_the_clear(dialect), go_ahead(dialect) + extra, TLS,
                               *under_tls(dialect))

    def test_b8_plaintext_before_the_server_hello(self):
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                self.start(protocol)
                self.fails("handshake", *in_the_clear(self.dialect), go_ahead(self.dialect), HELLO,
                           self.dialect.greeting, TLS, *under_tls(self.dialect))

    def test_b9_plaintext_on_an_implicit_leg(self):
        """CVE-2026-1642: bytes read before the handshake must not count as bytes from after it."""
        for protocol in PROTOCOLS:
            self.start(protocol, upstream={"tls": "implicit"})
            greeting = self.dialect.greeting
            for steps in ((greeting,), (HELLO, greeting)):
                with self.subTest(protocol=protocol, steps=steps):
                    self.fails("handshake", *steps, TLS, greeting)

    def test_x1_to_x4_certificates(self):
        for protocol in PROTOCOLS:
            for mode in ("starttls", "implicit"):
                self.start(protocol, upstream={"tls": mode})
                dialect = self.dialect
                for certificate in ("self-signed", "unknown-ca", "wrong-name", "expired"):
                    tls = handshake(certificate)
                    with self.subTest(protocol=protocol, mode=mode, certificate=certificate):
                        if mode == "implicit":
                            self.fails("certificate", tls, dialect.greeting)
                        else:
                            self.fails("certificate", *in_the_clear(dialect), go_ahead(dialect),
                                       tls, *under_tls(dialect))

    def test_an_opportunistic_leg_does_not_fall_back_after_a_handshake(self):
        for protocol in PROTOCOLS:
            self.start(protocol, upstream={"tls": "opportunistic"})
            dialect = self.dialect
            for outcome, steps in (("certificate", (handshake("expired"),)),
                                   ("handshake", (HELLO, dialect.greeting, TLS))):
                with self.subTest(protocol=protocol, outcome=outcome):
                    self.fails(outcome, *in_the_clear(dialect), go_ahead(dialect), *steps,
                               *under_tls(dialect))


class ImapServer(Scripted):
    GREETING = b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] mail.test ready\r\n"
    # The greeting of an honest session, with the capabilities from after TLS.
    TOLD = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] mail.test ready\r\n"
    UNTAGGED = (  # T1 to T10
        b'* LIST () "/" 7XiYhgS7\r\n', b'* LSUB () "/" jcaZji2A\r\n',
        b"* STATUS YFlgClUY (MESSAGES 529001 UNSEEN 3)\r\n", b"* STATUS INBOX (MESSAGES 529001)\r\n",
        b"* SEARCH 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\r\n",
        b"* FLAGS (\\Flagged)\r\n", b"* 54321 EXISTS\r\n", b"* 12345 RECENT\r\n",
        b"* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 3 EXPUNGE\r\n",
        b"* 1 FETCH (BODY[] {28}\r\nFrom: Injected\r\n\r\nInjected\r\n)\r\n")

    def setUp(self):
        self.start("imap")
        self.rest = (TLS, *under_tls(self.dialect))

    def test_t1_to_t20_untagged_data_before_tls_is_dropped(self):
        for line in self.UNTAGGED:
            with self.subTest(where="behind the greeting", line=line):
                self.assertEqual(self.TOLD, self.goes_on(self.GREETING + line, LINE, b"%t OK go\r\n",
                                                         *self.rest, LINE))
            with self.subTest(where="before the tagged OK", line=line):
                self.assertEqual(self.TOLD, self.goes_on(self.GREETING, LINE,
                                                         line + b"%t OK go\r\n", *self.rest, LINE))

    def test_t10_a_tagged_line_inside_a_literal_does_not_count(self):
        """The proxy counts the bytes of a literal; otherwise a line in it could pass for the go-ahead."""
        def literal(connection):
            tag = next_line(connection).split()[0]
            fake = tag + b" OK go\r\n"
            connection.send(b"* 1 FETCH (BODY[] {%d}\r\n%s)\r\n%s NO no\r\n" % (len(fake), fake, tag))

        self.fails("tls_refused", self.GREETING, literal, *self.rest)

    def test_t21_capabilities_in_the_clear_do_not_count(self):
        for steps in ((self.GREETING + b"* CAPABILITY IDLE\r\n", LINE, b"%t OK go\r\n"),
                      (self.GREETING, LINE, b"* CAPABILITY IDLE\r\n%t OK go\r\n"),
                      (self.GREETING, LINE, b"%t OK [CAPABILITY IDLE] go\r\n")):
            with self.subTest(steps=steps):
                self.assertEqual(self.TOLD, self.goes_on(*steps, *self.rest, LINE))

    def test_t22_b3_alerts_in_the_clear_do_not_reach_the_client(self):
        for code in (b"[ALERT]", b"[PARSE]", b"[BADCHARSET (UTF-8)]"):
            for steps in ((self.GREETING + b"* OK " + code + b" pwned\r\n", LINE, b"%t OK go\r\n"),
                          (self.GREETING, LINE, b"* NO " + code + b" pwned\r\n%t OK go\r\n"),
                          (self.GREETING, LINE, b"%t OK " + code + b" pwned\r\n")):
                with self.subTest(steps=steps):
                    self.assertEqual(self.TOLD, self.goes_on(*steps, *self.rest, LINE))
            # Only the text of the greeting stays: a client does not show that in a pop-up.
            with self.subTest(greeting=code):
                self.assertEqual(self.TOLD, self.goes_on(b"* OK " + code + b" mail.test ready\r\n",
                                                         LINE, b"%t OK go\r\n", *self.rest, LINE))

    def test_b3_b4_untagged_lines_after_the_go_ahead(self):
        for extra in (b"* OK [ALERT] suffix.\r\n", b"* BYE close the connection please.\r\n"):
            with self.subTest(extra=extra):
                self.fails("attack", self.GREETING, LINE, b"%t OK go\r\n" + extra, *self.rest)

    def test_b3_an_alert_inside_tls_is_passed_on(self):
        told = self.goes_on(self.GREETING, LINE, b"%t OK go\r\n", TLS, LINE,
                            b"* OK [ALERT] after TLS.\r\n* CAPABILITY IMAP4rev1\r\n%t OK done\r\n",
                            LINE)
        self.assertIn(b"* OK [ALERT] after TLS.\r\n", told)

    def test_b11_answers_before_the_question(self):
        for early in (b"2 OK begin TLS now\r\n", b"a001 OK go\r\n* CAPABILITY IMAP4rev1\r\n",
                      b"* CAPABILITY IMAP4rev1\r\n1 OK begin TLS now\r\n"):
            with self.subTest(early=early):
                self.fails("attack", self.GREETING + early, LINE, *self.rest)
            with self.subTest(late=early):
                self.fails("attack", self.GREETING, LINE, early, *self.rest)

    def test_b11_tags_are_random(self):
        tags = []
        for _ in range(3):
            connection = self.fails("tls_refused", self.GREETING, LINE, b"%t NO no\r\n")
            tags.append(bytes(connection.clear).split()[0])
        self.assertEqual(len(set(tags)), 3, tags)
        self.assertGreaterEqual(min(map(len, tags)), 11)  # 64 bits in base64

    def test_n5_starttls_refused(self):
        for reply in (b"%t BAD unknown\r\n", b"%t NO not now\r\n", b"%t NO [ALERT] {3}\r\n",
                      b"* BYE no\r\n"):
            with self.subTest(reply=reply):
                self.fails("tls_refused", self.GREETING, LINE, reply, *self.rest)

    def test_n5_a_continuation_is_not_an_answer(self):
        connection = self.fails("protocol", self.GREETING, LINE, b"+ continue with something.\r\n",
                                *self.rest)
        self.assertRegex(bytes(connection.clear), rb"\A\S+ STARTTLS\r\n\Z")

    def test_n6_a_server_that_refuses_every_command(self):
        for greeting in (b"* OK mail.test\r\n", b"* OK [CAPABILITY IMAP4] mail.test\r\n",
                         b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] mail.test\r\n"):
            with self.subTest(greeting=greeting):
                self.fails("tls_refused", greeting, LINE, b"%t BAD unknown command\r\n", *self.rest)

    PREAUTH = (b"* PREAUTH ready\r\n", b"* preauth ready\r\n", b"* PREAUTH\r\n",
               b"* PREAUTH [CAPABILITY IMAP4REV1 STARTTLS AUTH=PLAIN] ready\r\n",
               b"* PREAUTH [CAPABILITY IMAP4REV1] ready\r\n", b"* PREAUTH [ALERT] ready\r\n")

    def test_n7_preauth(self):
        for greeting in self.PREAUTH:
            with self.subTest(greeting=greeting):
                connection = self.fails("attack", greeting)
                self.assertEqual(connection.clear, b"")

    def test_n7_preauth_and_a_yes_to_starttls(self):
        for greeting in self.PREAUTH:
            with self.subTest(greeting=greeting):
                self.fails("attack", greeting, LINE, b"%t OK go\r\n", *self.rest)

    def test_n8_a_line_that_is_not_a_greeting(self):
        for greeting in (b"* NO hello\r\n", b"* BAD hello\r\n", b"* OKAY hello\r\n", b"a OK hello\r\n",
                         b"1Gdo00V4 wFaIW2WP\r\n", b"garbage\r\n* OK hello\r\n", b"*OK hello\r\n",
                         b"+ OK hello\r\n", b"* \r\n"):
            with self.subTest(greeting=greeting):
                self.fails("protocol", greeting, LINE, b"%t OK go\r\n", *self.rest)
        self.fails("greeting_refused", b"* BYE full\r\n")


class ImapPreauth(Scripted):
    """N7, if PREAUTH is no attack."""

    GREETING = b"* PREAUTH [CAPABILITY IMAP4rev1] mail.test\r\n"

    def test_n7_preauth_passes_inside_tls(self):
        self.start("imap", upstream={"tls": "implicit"})
        self.assertEqual(self.GREETING, self.goes_on(TLS, self.GREETING, LINE))

    def test_n7_preauth_counts_as_not_offered_on_an_opportunistic_leg(self):
        self.start("imap", upstream={"tls": "opportunistic"})
        told, session, connection = self.session(self.GREETING, LINE)
        self.assertEqual(told, b"* PREAUTH mail.test\r\n")  # the list came in the clear, and is dropped
        self.assertNotIn(b"STARTTLS", connection.clear)
        self.assertEqual(session["upstream_tls"], "none")
        self.assertIn("continuing in the clear", self.daemon.text())


class OtherServers(Scripted):
    def test_n2_only_one_code_is_a_yes(self):
        replies = {"smtp": (b"250 go\r\n", b"200 go\r\n", b"221 go\r\n", b"334 go\r\n", b"502 no\r\n"),
                   "lmtp": (b"250 go\r\n",),
                   "pop3": (b"-ERR no\r\n", b"-ERR [sys/perm] no\r\n"),  # N9
                   "nntp": (b"283 go\r\n", b"381 go\r\n", b"200 go\r\n", b"580 no\r\n", b"502 no\r\n"),
                   "sieve": (b"NO\r\n", b'NO (TRYLATER) "later"\r\n', b'BYE "bye"\r\n')}
        for protocol, refusals in replies.items():
            self.start(protocol)
            for refusal in refusals:
                with self.subTest(protocol=protocol, refusal=refusal):
                    self.fails("tls_refused", *in_the_clear(self.dialect), refusal, TLS,
                               *under_tls(self.dialect))

    def test_n10_a_line_that_only_looks_like_a_yes(self):
        replies = {"smtp": (b"2200 go\r\n", b"220go\r\n", b"22\r\n"),
                   "pop3": (b"+Okay, do your thing.\r\n", b"+OKAY\r\n", b"+ok\r\n", b"OK\r\n"),
                   "nntp": (b"3820 go\r\n", b"382go\r\n", b"+OK\r\n"), "sieve": (b"OKAY\r\n", b"+OK\r\n")}
        for protocol, lines in replies.items():
            self.start(protocol)
            for line in lines:
                with self.subTest(protocol=protocol, line=line):
                    self.fails("protocol", *in_the_clear(self.dialect), line, TLS,
                               *under_tls(self.dialect))

    def test_n9_n10_any_text_may_follow_a_yes(self):
        self.start("pop3")
        for reply in (b"+OK\r\n", b"+OK [sys/perm]\r\n", b"+OK go on\r\n"):
            with self.subTest(reply=reply):
                self.assertEqual(self.dialect.greeting,
                                 self.goes_on(*in_the_clear(self.dialect), reply, TLS, LINE))

    def test_n10_greetings(self):
        self.start("pop3")
        self.fails("greeting_refused", b"-ERR go away\r\n")
        for greeting in (b"+Do you even care?\r\n", b"+OKAY\r\n", b"* OK hello\r\n"):
            with self.subTest(greeting=greeting):
                self.fails("protocol", greeting, LINE, b"+OK\r\n", TLS)

    def test_n12_b12_unsolicited_replies(self):
        """If one passed for the answer that was due, the session would be a success."""
        answers = {  # early reply, and the server's next steps
            "smtp": ((b"250-x\r\n250 STARTTLS\r\n220 go\r\n", (LINE, LINE)),),
            "lmtp": ((b"250-x\r\n250 STARTTLS\r\n", (LINE, LINE, b"220 go\r\n")),),
            "pop3": ((b"+OK go\r\n", (LINE,)), (b"1 120\r\n2 200\r\n.\r\n", ())),
            "sieve": ((b"OK\r\n", (LINE,)), (b'"SASL" "PLAIN"\r\nOK\r\n', ())),
            "nntp": ((b"382 go\r\n", (LINE,)), (b"281 ok\r\n", ()))}
        for protocol, lines in answers.items():
            self.start(protocol)
            for early, steps in lines:
                with self.subTest(protocol=protocol, early=early):
                    self.fails("attack", self.dialect.greeting + early, *steps, TLS,
                               *under_tls(self.dialect))


class Clients(unittest.TestCase):
    """Legs on which the client must start TLS itself."""

    def start(self, protocol, mode):
        """Returns the client's connection, greeted by a proxy before an honest server."""
        dialect = PROTOCOLS[protocol]
        chain, key = pki().pair()
        self.server = self.enterContext(FakeServer(self.serve))
        self.dialect = dialect
        text = configuration(self.server.port, protocol=protocol)
        text += (f'\ndownstream.tls = "{mode}"\n'
                 f'downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n')
        self.daemon = self.enterContext(Daemon(text))
        client = self.enterContext(self.daemon.connect())
        self.assertIn(b"mail.test", client.line())
        return client

    def serve(self, connection):
        def smtp(connection):
            while verb := connection.line().split()[0].upper():
                connection.send(b"250 mail.test\r\n" if verb == b"EHLO" else b"250 2.1.0 ok\r\n")

        play((*in_the_clear(self.dialect), go_ahead(self.dialect), TLS, *under_tls(self.dialect),
              smtp), connection)

    def secret_stays(self, client):
        client.close()
        self.daemon.session()
        self.assertNotIn(CANARY, self.server.heard())
        self.assertNotIn(CANARY.decode(), self.daemon.text())

    def test_s1_inside_tls_the_client_must_say_hello_again(self):
        for mode in ("starttls", "opportunistic"):
            with self.subTest(mode=mode):
                client = self.start("smtp", mode)
                self.assertTrue(client.command(b"EHLO evil.test").startswith(b"250"))
                self.assertTrue(client.command(b"STARTTLS").startswith(b"220 "))
                start_tls(client)
                self.assertTrue(client.command(b"MAIL FROM:<evil@b.test>").startswith(b"503 "))
                self.assertTrue(client.command(b"EHLO good.test").startswith(b"250"))
                self.assertTrue(client.command(b"MAIL FROM:<good@b.test>").startswith(b"250 "))
                client.close()
                heard = self.server.heard()
                self.assertNotIn(b"<evil@", heard)
                self.assertEqual(mode == "starttls", b"evil.test" not in heard)
                self.assertTrue(heard.endswith(b"EHLO good.test\r\nMAIL FROM:<good@b.test>\r\n"))

    def test_n15_n16_smtp_commands_before_tls(self):
        client = self.start("smtp", "starttls")
        for command in (b"AUTH PLAIN " + CANARY, b"MAIL FROM:<" + CANARY + b"@b.test>",
                        b"VRFY " + CANARY, b"RCPT TO:<" + CANARY + b">", b"DATA", b"BDAT 5 LAST",
                        b"XCLIENT NAME=" + CANARY, CANARY):
            with self.subTest(command=command):
                self.assertTrue(client.command(command).startswith(b"530 5.7.0 "))
        for command in (b"NOOP", b"RSET", b"HELO " + CANARY, b"EHLO " + CANARY):
            with self.subTest(command=command):
                self.assertRegex(client.command(command), rb"\A25[0-9]")
        self.secret_stays(client)

    def test_n14_p10_imap_logins_and_literals_before_tls(self):
        client = self.start("imap", "starttls")
        secret = b"%d" % len(CANARY)
        # The next line must be the answer to all the bytes sent. There must be no "+", and no
        # answer to the content of a literal.
        for sent, answer in (
                (b"a1 LOGIN user " + CANARY, b"a1 NO [PRIVACYREQUIRED] "),
                (b"a2 AUTHENTICATE PLAIN " + CANARY, b"a2 NO [PRIVACYREQUIRED] "),
                (b"a3 LOGIN {5}", b"a3 NO [PRIVACYREQUIRED] "),
                (b"a4 LOGIN {0}", b"a4 NO [PRIVACYREQUIRED] "),
                (b"a5 LOGIN user {%s+}\r\n%s" % (secret, CANARY), b"a5 NO [PRIVACYREQUIRED] "),
                (b"a6 LOGIN {%s+}\r\n%s {3+}\r\nabc" % (secret, CANARY), b"a6 NO [PRIVACYREQUIRED] "),
                (b"a7 LOGIN {13+}\r\nxx STARTTLS\r\n secret", b"a7 NO [PRIVACYREQUIRED] "),
                (b"a8 APPEND INBOX {9+}\r\nxx NOOP\r\n", b"a8 BAD "),
                (b"a9 ID ({3}", b"a9 BAD "),
                (b"b1 LOGIN {18446744073709551616}", b"b1 NO [PRIVACYREQUIRED] "),
                (b"+ NOOP", b"* BAD "), (b"* NOOP", b"* BAD "), (b" NOOP", b"* BAD "),
                (b"b2 NOOP", b"b2 OK ")):
            with self.subTest(sent=sent):
                client.send(sent + b"\r\n")
                told = client.line()
                self.assertTrue(told.startswith(answer), told)
        self.secret_stays(client)

    def test_p10_a_literal_that_is_too_long_ends_the_session(self):
        for size in (b"5000", b"4294967296", b"18446744073709551616"):
            with self.subTest(size=size):
                client = self.start("imap", "starttls")
                client.send(b"a1 LOGIN {" + size + b"+}\r\n" + CANARY)
                told, end = client.rest()
                self.assertRegex(told, rb"\A\* BYE [ -~]+\r\n\Z")
                self.assertEqual(end, FIN)
                self.secret_stays(client)
                self.assertEqual(self.daemon.session()["outcome"], "client_protocol")


if __name__ == "__main__":
    main.main()

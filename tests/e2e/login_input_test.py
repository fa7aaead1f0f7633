"""Hostile clients at the login: sizes, odd bytes, broken base64, literals, and clients that leave."""

from support import main, sasl
from support.client import FIN
from support.login_case import PROTOCOLS, LoginCase
from support.login_client import WAYS, quoted
from support.logins import NAME, PASSWORD, SECRET, USER, WRONG

# How a login may be refused, if it is not as wrong: malformed, too long, out of order.
REFUSED = {"smtp": rb"5\d\d 5\.", "lmtp": rb"5\d\d 5\.", "imap": rb"l (NO|BAD) |\* BYE ", "pop3": rb"-ERR",
           "sieve": rb"NO", "nntp": rb"(481|5\d\d) "}

ODD = {"quotes": b'"quo"ted"', "backslashes": b"\\back\\\\slash\\", "8-bit": b"\xe9\xff\x80\xc3\xa9",
       "blanks": b" two  blanks ", "an atom": b"atom", "an atom with specials": b"%*](){", "a literal": b"{5}",
       "another literal": b"{5+}", "a huge literal": b"{4294967296}", "a command": b"l LOGOUT",
       "an answer": b"* BYE", "a star": b"*", "an equals sign": b"=", "base64": b"AHVzZXIAcGFzcw==",
       "controls": b"\x01\x02\x1b\x7f", "a tab": b"a\tb"}


def fits(protocol, way, word):
    """True if a client can say that word in that way."""
    if way == "atoms":
        return bool(word) and not set(word) & set(b'(){ %*"\\]') and all(32 < byte < 127 for byte in word)
    if protocol == "nntp" and way == "USER":  # leading and final blanks are the line's
        return word.strip() == word != b""
    return True


class Passwords(LoginCase):
    """The client's own password is passed on, so that the server hears what the proxy understood."""

    @classmethod
    def services(cls, protocol):
        return {"passed": {"login": {"when": "client", "mechanism": "auto"}},
                "passed-login": {"login": {"when": "client", "mechanism": "login"}}}

    def try_password(self, service, way, password, user=NAME.encode()):
        """Returns the last reply, and what the server heard: the name and the password, if anything."""
        protocol = service.partition("-")[0]
        self.scripts[protocol].attempts.clear()
        client, reply = self.log_in(service, way, user, password)
        heard = [sasl.parsed(attempt) for attempt in self.scripts[protocol].attempts]
        if client.succeeded(reply):
            self.assert_relayed(client)
            self.assertEqual(heard, [(user, password)])
        else:
            self.assertEqual(heard, [], reply)
        client.close()
        return reply, client.succeeded(reply)

    def test_lp12_odd_bytes_arrive_as_they_were(self):
        for protocol in self.protocols:
            for way in WAYS[protocol]:
                for name, word in ODD.items():
                    for service in ("passed", "passed-login"):
                        if fits(protocol, way, word):
                            with self.subTest(protocol=protocol, way=way, word=name, service=service):
                                reply, good = self.try_password(f"{protocol}-{service}", way, word)
                                self.assertTrue(good, reply)

    def test_lp12_odd_bytes_through_the_protocols_own_login(self):
        lists = {"imap": [], "pop3": [b"USER"], "nntp": [b"AUTHINFO USER"]}
        for protocol, listed in lists.items():
            self.scripts[protocol].reset(listed=listed)
            for name, word in ODD.items():
                if protocol == "nntp" and word.strip() != word:
                    continue
                for user in (NAME.encode(), b'odd "name\\') if protocol == "imap" else (NAME.encode(),):
                    with self.subTest(protocol=protocol, word=name, user=user):
                        reply, good = self.try_password(f"{protocol}-passed", "PLAIN", word, user)
                        self.assertTrue(good, reply)

    def test_sizes(self):
        for protocol in self.protocols:
            for way in WAYS[protocol]:
                for size in (1, 255, 5000):
                    with self.subTest(protocol=protocol, way=way, size=size):
                        reply, good = self.try_password(f"{protocol}-passed", way, b"p" * size)
                        self.assertTrue(good, reply)
                with self.subTest(protocol=protocol, way=way, size=9000):
                    reply, good = self.try_password(f"{protocol}-passed", way, b"p" * 9000)
                    if protocol in ("smtp", "lmtp"):
                        self.assertTrue(good, reply)
                with self.subTest(protocol=protocol, way=way, size=9001):
                    reply, good = self.try_password(f"{protocol}-passed", way, b"p" * 9001)
                    self.assertFalse(good)

    def test_an_empty_password_reaches_no_server(self):
        for protocol in self.protocols:
            for way in WAYS[protocol]:
                if way != "atoms":
                    with self.subTest(protocol=protocol, way=way):
                        reply, good = self.try_password(f"{protocol}-passed", way, b"")
                        self.assertFalse(good)
                        self.assertRegex(reply, REFUSED[protocol])

    def test_a_password_with_a_line_end_or_a_nul_reaches_no_server(self):
        for protocol in self.protocols:
            for way in WAYS[protocol]:
                if way in ("USER", "atoms", "quoted"):
                    continue
                for byte in (b"\0", b"\r", b"\n", b"\r\n", b"\r\nRCPT TO:<a@b.test>\r\n"):
                    with self.subTest(protocol=protocol, way=way, byte=byte):
                        reply, good = self.try_password(f"{protocol}-passed", way, b"pass" + byte + b"word")
                        self.assertFalse(good)
                        self.assertRegex(reply, REFUSED[protocol])

    def test_a_name_that_is_no_name_reaches_no_server(self):
        for protocol in self.protocols:
            way = "LOGIN" if "LOGIN" in WAYS[protocol] else "PLAIN"
            for user in (b"a\0b", b"a\rb", b"a\nb", b"a\r\nNOOP\r\n", b"n" * 256):
                if way == "PLAIN" and b"\0" in user:
                    continue
                with self.subTest(protocol=protocol, user=user[:8]):
                    reply, good = self.try_password(f"{protocol}-passed", way, b"word", user)
                    self.assertFalse(good)
                    self.assertRegex(reply, REFUSED[protocol])
            reply, good = self.try_password(f"{protocol}-passed", way, b"word", b"n" * 255)
            self.assertTrue(good, reply)


class Malformed(LoginCase):
    @classmethod
    def services(cls, protocol):
        return {"password": super().services(protocol)["password"]}

    def assert_still_works(self, client):
        """Asserts that nothing has reached the server, and that a login still works."""
        self.assertEqual(self.scripts[client.protocol].attempts, [])
        reply = client.log_in("PLAIN", NAME, PASSWORD)
        self.assertTrue(client.succeeded(reply), reply)
        [attempt] = self.scripts[client.protocol].attempts
        self.assertEqual(sasl.parsed(attempt), (USER.encode(), SECRET.encode()))
        self.assert_relayed(client)
        self.scripts[client.protocol].reset()

    def test_base64(self):
        good = sasl.encoded(b"\0" + NAME.encode() + b"\0" + b"x" * 6)
        self.assertFalse(good.endswith(b"="))
        texts = {"a blank": good[:8] + b" " + good[8:], "a tab": good[:8] + b"\t" + good[8:],
                 "no padding": sasl.encoded(b"\0ab\0cd")[:-1], "half its padding": sasl.encoded(b"\0a\0bcd")[:-1],
                 "too much padding": good + b"=", "padding within": b"AAA=" + good,
                 "bits after the end": b"AGEAYm", "url's alphabet": b"AGEA-_", "8-bit": b"\xe9\xe9\xe9\xe9",
                 "a star and more": b"*x", "an equals sign and more": b"=AGEA", "three signs": b"===",
                 "one NUL": sasl.encoded(b"\0ab"), "no NUL": sasl.encoded(b"abc")}
        for protocol in self.protocols:
            for name, text in texts.items():
                for inline in (False, True):
                    if protocol == "sieve" and name == "8-bit":
                        continue
                    with self.subTest(protocol=protocol, text=name, inline=inline):
                        client = self.client(f"{protocol}-password")
                        if inline:
                            reply = client.ask(client.command_of("PLAIN") + b" " + client.message(text))
                        else:
                            client.ask(client.command_of("PLAIN"))
                            reply = client.ask(client.message(text))
                        self.assertRegex(reply, REFUSED[protocol])
                        self.assert_still_works(client)

    def test_lp11_an_empty_first_message(self):
        """`=` is the empty message on the line of the command; no PLAIN is empty."""
        for protocol in self.protocols:
            for mechanism in ("PLAIN", "LOGIN") if protocol != "nntp" else ("PLAIN",):
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    client = self.client(f"{protocol}-password")
                    reply = client.ask(client.command_of(mechanism, b""))
                    if mechanism == "LOGIN":
                        self.assertTrue(client.is_challenge(reply), reply)
                        reply = client.ask(client.message(sasl.encoded(PASSWORD)))
                        self.assertRegex(reply, WRONG[protocol])
                    else:
                        self.assertRegex(reply, REFUSED[protocol])
                    self.assert_still_works(client)

    def test_literals(self):
        """Nothing waits for bytes that will not come, and nothing is kept for them."""
        for size in (b"4294967295", b"4294967296", b"18446744073709551616", b"9" * 40, b"-1", b"", b"x"):
            for plus in (b"", b"+"):
                for line in (b"l LOGIN {%b%b}", b"l LOGIN " + quoted(NAME.encode()) + b" {%b%b}"):
                    with self.subTest(size=size, plus=plus, line=line):
                        client = self.client("imap-password")
                        client.send(line % (size, plus) + b"\r\n")
                        reply = client.answer()
                        self.assertRegex(reply, REFUSED["imap"])
                        self.assertEqual(self.scripts["imap"].attempts, [])
                        client.close()
        for size in (b"4294967296", b"9" * 40, b"x"):
            with self.subTest(protocol="sieve", size=size):
                client = self.client("sieve-password")
                self.assertRegex(client.ask(b'AUTHENTICATE "PLAIN" {%b+}' % size), rb"NO|BYE")
                client.close()

    def test_empty_literals(self):
        for plus in (b"", b"+"):
            client = self.client("imap-password")
            client.send(b"l LOGIN {0%b}\r\n" % plus)
            if not plus:
                self.assertTrue(client.is_challenge(client.answer()))
            client.send(b" {0%b}\r\n" % plus)
            if not plus:
                self.assertTrue(client.is_challenge(client.answer()))
            client.send(b"\r\n")
            self.assertRegex(client.answer(), REFUSED["imap"])
            self.assert_still_works(client)
        client = self.client("sieve-password")
        client.send(b'AUTHENTICATE "PLAIN" {0+}\r\n\r\n')
        self.assertRegex(client.answer(), rb"NO")
        self.assert_still_works(client)

    def test_arguments_that_are_missing_or_too_many(self):
        lines = {
            "smtp": (b"AUTH", b"AUTH ", b"AUTH PLAIN a b", b"AUTH  "),
            "lmtp": (b"AUTH", b"AUTH PLAIN a b"),
            "imap": (b"l LOGIN", b"l LOGIN a", b"l LOGIN a b c", b'l LOGIN "a b', b"l LOGIN a {3", b"l LOGIN (a) b",
                     b"l AUTHENTICATE", b"l AUTHENTICATE PLAIN a b", b'l LOGIN "a"b c'),
            "pop3": (b"PASS " + PASSWORD.encode(), b"AUTH PLAIN a b", b"USER", b"PASS"),
            "sieve": (b"AUTHENTICATE", b"AUTHENTICATE PLAIN", b'AUTHENTICATE "PLAIN" "a" "b"',
                      b'AUTHENTICATE ""'),
            "nntp": (b"AUTHINFO", b"AUTHINFO USER", b"AUTHINFO PASS " + PASSWORD.encode(), b"AUTHINFO SASL",
                     b"AUTHINFO SASL PLAIN a b"),
        }
        for protocol, broken in lines.items():
            for line in broken:
                with self.subTest(protocol=protocol, line=line):
                    client = self.client(f"{protocol}-password")
                    self.assertRegex(client.ask(line), REFUSED[protocol] + rb"|482 ")
                    self.assert_still_works(client)

    def test_a_string_of_sieve_without_an_end_ends_the_session(self):
        """Nothing shows where the next command begins."""
        client = self.client("sieve-password")
        self.assertRegex(client.ask(b'AUTHENTICATE "PLAIN'), rb"\ANO ")
        self.assertEqual(client.rest()[1], FIN)
        self.assertEqual(self.session(client)["outcome"], "client_protocol")

    def test_twenty_errors_end_the_session(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                client = self.client(f"{protocol}-password")
                command = client.command_of("CRAM-MD5")
                for _ in range(19):
                    self.assertRegex(client.ask(command), REFUSED[protocol])
                client.send(command + b"\r\n")
                self.assertEqual(client.rest()[1], FIN)
                self.assertEqual(self.session(client)["outcome"], "too_many_errors")

    def test_a_line_without_end(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                client = self.client(f"{protocol}-password")
                client.ask(client.command_of("PLAIN"))
                client.send(b"A" * 13000)
                self.assertEqual(client.rest()[1], FIN)
                self.assertEqual(self.session(client)["outcome"], "client_protocol")
                self.assertEqual(self.scripts[protocol].attempts, [])


class Leaving(LoginCase):
    """A client that leaves in any state leaves nothing open."""

    @classmethod
    def services(cls, protocol):
        return {"login": super().services(protocol)["login"]}

    def test_a_client_that_leaves_in_every_state(self):
        idle = self.daemon.descriptors()
        for protocol in PROTOCOLS:
            first = self.client(f"{protocol}-login")
            mechanism = "LOGIN" if protocol != "nntp" else "PLAIN"
            steps = [first.command_of(mechanism), *(first.message(sasl.encoded(text)) for text in (
                (NAME, PASSWORD) if mechanism == "LOGIN" else (sasl.plain(NAME, PASSWORD),)))]
            first.close()
            for count in range(len(steps)):
                for how in ("finish", "reset", "within a line"):
                    with self.subTest(protocol=protocol, count=count, how=how):
                        client = self.client(f"{protocol}-login")
                        for step in steps[:count]:
                            client.ask(step)
                        client.send(steps[count][:-3] if how == "within a line" else steps[count] + b"\r\n")
                        if how == "reset":
                            client.reset()
                        else:
                            client.finish()
                            client.rest()
                        self.session(client)
        self.gateway.settles(idle)

    def test_everything_at_once(self):
        """A client that sends its whole login in one piece, and more commands after it."""
        for protocol in self.protocols:
            if protocol in ("pop3", "nntp"):
                continue
            with self.subTest(protocol):
                client = self.client(f"{protocol}-login")
                text = sasl.encoded(sasl.plain(NAME, PASSWORD))
                client.send(client.command_of("PLAIN", text) + b"\r\nl LOGOUT\r\n")
                reply = client.answer()
                self.assertTrue(client.succeeded(reply), reply)
                self.assertEqual(client.exactly(10), b"l LOGOUT\r\n")  # the server echoes

    def test_a_server_that_waits_while_the_client_leaves(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                self.scripts[protocol].reset(said=lambda step: None if step == "result" else b"")
                client = self.client(f"{protocol}-login")
                client.log_in("PLAIN", NAME, PASSWORD, wait=False)
                client.reset()
                self.session(client)


if __name__ == "__main__":
    main.main()

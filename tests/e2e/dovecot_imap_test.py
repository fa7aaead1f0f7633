"""IMAP to a real Dovecot, in all directions: logins, literals, IDLE, COMPRESS, byte by byte."""

import imaplib
import random
import shutil
import zlib

from support import dovecot, main, peers, wait
from support.client import Client
from support.directions import (BRIDGE, IN_SHORT, PAIRS, TERMINATE, TO_TLS, UPGRADE, Directions,
                                in_pairs, tls_client)
from support.dovecot import OWN, PASSWORD, STRANGE
from support.environment import pki
from support.scram import Scram

HEADERS = b"From: a@legacy.test\r\nTo: box@mail.test\r\nSubject: octets\r\n\r\n"
LINES = HEADERS + b"\xe9\xff\xfe\x80 \xc3\xa9\r\n.\r\na STARTTLS\r\n* BYE\r\n{5}\r\n"


def large():
    """Returns 1.5 MB of lines with every byte except NUL, CR and LF."""
    data = random.Random(4711).randbytes(1_500_000).translate(None, b"\0\r\n")
    return HEADERS + b"".join(data[at:at + 700] + b"\r\n" for at in range(0, len(data), 700))


class Raw(Client):
    """IMAP by hand: tags and literals, and every byte is visible."""

    def answer(self, tag):
        """Reads up to and including the tagged line; literals are part of it."""
        data = b""
        while True:
            line = self.line()
            if not line:
                raise AssertionError(f"ended: {data!r}")
            data += line
            if line.endswith(b"}\r\n"):
                data += self.exactly(int(line[line.rindex(b"{") + 1:-3]))
            elif line.startswith(tag + b" "):
                return data

    def ask(self, tag, line):
        self.send(tag + b" " + line + b"\r\n")
        return self.answer(tag)

    def log_in(self, user=b"box"):
        answer = self.ask(b"l", b"LOGIN %s %s" % (user, PASSWORD.encode()))
        if b"\r\nl OK" not in b"\r\n" + answer:
            raise AssertionError(answer)

    def append(self, message, plus):
        """Appends to the INBOX. Returns the UID, or the line of refusal."""
        self.send(b"p APPEND INBOX {%d%s}\r\n" % (len(message), b"+" if plus else b""))
        if not plus:
            go_ahead = self.line()
            if not go_ahead.startswith(b"+ "):
                raise AssertionError(go_ahead)
        self.send(message + b"\r\n")
        end = self.answer(b"p").splitlines()[-1].split()
        return int(end[4].rstrip(b"]")) if end[1] == b"OK" else end[1]

    def fetch(self, uid):
        self.ask(b"n", b"NOOP")
        answer = self.ask(b"f", b"UID FETCH %d BODY.PEEK[]" % uid)
        size, _, rest = answer.partition(b"{")[2].partition(b"}\r\n")
        return rest[:int(size)]


class Imap(dovecot.DovecotTest):
    protocol = "imap"

    def imaplib(self, pair, directions=None):
        """Returns an imaplib client, after the downstream TLS."""
        port = (directions or self.directions).ports[pair]
        if pair[0] == "implicit":
            client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=tls_client(), timeout=wait.DEADLINE)
        else:
            client = imaplib.IMAP4("127.0.0.1", port, timeout=wait.DEADLINE)
        if pair[0] == "starttls":
            self.assertEqual(client.starttls(tls_client())[0], "OK")
        return self.enterContext(client)

    def raw(self, pair, directions=None):
        client = self.enterContext((directions or self.directions).connect(pair, Raw))
        self.assertTrue(client.line().startswith(b"* OK "))
        if pair[0] == "starttls":
            self.assertEqual(client.ask(b"s", b"STARTTLS")[:4], b"s OK")
            client.start_tls(tls_client(), "mail.test")
        return client

    def direct(self, pair):
        """Connects to the server directly, with STARTTLS if it has it, to compare the proxy with it."""
        client = self.enterContext(Raw(self.server(pair).ports["imap"]))
        client.line()
        if pair[1] != "none":
            client.ask(b"s", b"STARTTLS")
            client.start_tls(tls_client(), "mail.test")
        return client

    def test_dovecots_own_refusal_of_clear_logins_passes(self):
        server = f"{STRANGE}:{self.secured.ports['imap']}"
        with Directions("imap", {"none": server}, TERMINATE) as directions:
            for pair in TERMINATE:
                with self.subTest(pair):
                    client = self.imaplib(pair, directions)
                    self.assertIn("LOGINDISABLED", client.capabilities)
                    with self.assertRaisesRegex(imaplib.IMAP4.error, r"\[PRIVACYREQUIRED\]"):
                        client.login("box", PASSWORD)
                    client.logout()

    @in_pairs()
    def test_login(self, pair):
        before = len(self.server(pair).logins("imap"))
        client = self.imaplib(pair)
        for name in ("STARTTLS", "LOGINDISABLED"):
            self.assertNotIn(name, client.capabilities)
            self.assertNotIn(name.encode(), client.capability()[1][0])
        self.assertFalse([name for name in client.capabilities if name.endswith("-PLUS")])
        self.assertIn("AUTH=SCRAM-SHA-256", client.capabilities)
        self.assertEqual(client.login("box", PASSWORD)[0], "OK")
        self.assertEqual(client.select()[0], "OK")
        self.assertIn(b"COMPRESS=DEFLATE", client.capability()[1][0])
        address = client.sock.getsockname()
        self.assertEqual(client.logout()[0], "BYE")
        self.directions.assert_legs(pair, address)
        self.assert_login(pair, before + 1, "user=<box>", "method=PLAIN,")

    @in_pairs()
    def test_mechanisms(self, pair):
        def plain(_):
            return b"\0box\0" + PASSWORD.encode()

        scram = Scram("box", PASSWORD)
        steps = {
            "PLAIN": [plain],
            "LOGIN": [lambda _: b"box", lambda _: PASSWORD.encode()],
            "SCRAM-SHA-256": [lambda _: scram.first(), scram.final, scram.verify],
        }
        for mechanism, answers in steps.items():
            before = len(self.server(pair).logins("imap"))
            client = self.imaplib(pair)
            answer = iter(answers)
            self.assertEqual(
                client.authenticate(mechanism, lambda said: next(answer)(said))[0], "OK")
            self.assertIsNone(next(answer, None), "the exchange ended early")
            client.logout()
            self.assert_login(pair, before + 1, f"method={mechanism},")

    def test_d14_d15_dovecot_gets_no_claim_about_the_clients_address(self):
        """Dovecot believes the address in an ID from a proxy that it trusts, in any spelling."""
        claim = b"192.0.2.99"
        spellings = (b'("name" "a" "x-originating-ip" "%b")', b'("X-Originating-IP""%b")',
                     b'("\\x-\\originating-ip"  "%b")',
                     b'({4+}\r\nname {3+}\r\n"b" {16+}\r\nx-originating-ip "%b")')
        pairs = (("none", "starttls"), ("starttls", "starttls"), ("implicit", "none"))
        settings = "login_trusted_networks = 127.0.0.0/8\n"
        with dovecot.Dovecot("yes", plaintext=True, settings=settings) as server:
            logins = 0
            for spelling in spellings:
                with self.subTest("it does believe it", spelling=spelling):
                    client = self.enterContext(Raw(server.ports["imap"]))
                    client.line()
                    client.ask(b"i", b"ID " + spelling % claim)
                    client.log_in()
                    logins += 1
                    self.assertIn("rip=192.0.2.99,", server.logins("imap", logins)[logins - 1])
            address = f"{STRANGE}:{server.ports['imap']}"
            with Directions("imap", {"none": address, "starttls": address}, pairs) as directions:
                for pair in pairs:
                    for spelling in spellings:
                        with self.subTest(pair=pair, spelling=spelling):
                            client = self.raw(pair, directions)
                            self.assertRegex(client.ask(b"i", b"ID " + spelling % claim),
                                             rb"\A\* ID [^\r]+\r\ni OK ")
                            client.log_in()
                            logins += 1
                            self.assertIn("rip=127.0.0.1,", server.logins("imap", logins)[logins - 1])
                    with self.subTest("a literal that waits", pair=pair):
                        client = self.raw(pair, directions)
                        client.send(b"i ID ({4}\r\n")
                        self.assertTrue(client.line().startswith(b"+ "))
                        client.send(b"name NIL)\r\n")
                        self.assertIn(b"\r\ni OK ", client.answer(b"i"))
                        client.log_in()
                        logins += 1

    @in_pairs(IN_SHORT)
    def test_the_server_refuses_a_wrong_password(self, pair):
        client = self.imaplib(pair)
        with self.assertRaisesRegex(imaplib.IMAP4.error, r"\[AUTHENTICATIONFAILED\]"):
            client.login("box", "wrong")
        self.assertEqual(client.login("box", PASSWORD)[0], "OK")

    @in_pairs()
    def test_a_login_with_literals(self, pair):
        for plus in (b"", b"+"):
            client = self.raw(pair)
            for words in (b"l LOGIN {3%s}\r\n", b"box {11%s}\r\n"):
                client.send(words % plus)
                if not plus:
                    self.assertTrue(client.line().startswith(b"+ "))
            client.send(b"c4nary-w0rd\r\n")
            self.assertIn(b"\r\nl OK", b"\r\n" + client.answer(b"l"))

    @in_pairs(UPGRADE)
    def test_all_commands_may_come_at_once_before_the_greeting(self, pair):
        client = self.enterContext(self.directions.connect(pair, Raw))
        client.send(b"a CAPABILITY\r\nb LOGIN box c4nary-w0rd\r\nc SELECT INBOX\r\nd LOGOUT\r\n")
        self.assertTrue(client.line().startswith(b"* OK "))
        self.assertNotIn(b"STARTTLS", client.answer(b"a"))
        for tag in (b"b", b"c", b"d"):
            self.assertIn(b"\r\n%s OK" % tag, b"\r\n" + client.answer(tag))

    @in_pairs()
    def test_messages_are_stored_and_fetched_byte_by_byte(self, pair):
        messages = {
            "8-bit": LINES,
            "bare lf": HEADERS + b"one\ntwo\n\nthree\r\n",
            "lone cr": HEADERS + b"one\rtwo\r\rthree\r\n",
            "nul": HEADERS + b"before\0after\r\n\0\r\n",
            "empty": b"",
            "no line end": HEADERS + b"x",
            "large": large(),
        }
        direct, proxied = self.direct(pair), self.raw(pair)
        for client in (direct, proxied):
            client.log_in()
            client.ask(b"e", b"SELECT INBOX")
        for name, message in messages.items():
            with self.subTest(message=name):
                first = direct.append(message, True)
                if not message:
                    self.assertEqual(first, b"NO")
                    self.assertEqual(proxied.append(message, True), first)
                    continue
                stored = direct.fetch(first)
                if name in ("8-bit", "large"):
                    self.assertEqual(stored, message)
                self.assertEqual(proxied.fetch(first), stored)
                for plus in (False, True):
                    self.assertEqual(direct.fetch(proxied.append(message, plus)), stored)

    def test_idle(self):
        idlers = {}
        for pair in PAIRS:
            idlers[pair] = client = self.raw(pair)
            client.log_in(b"other")
            client.ask(b"e", b"SELECT INBOX")
            client.send(b"i IDLE\r\n")
            self.assertTrue(client.line().startswith(b"+ "))
        for pair in (UPGRADE[0], TERMINATE[0]):
            another = self.direct(pair)
            another.log_in(b"other")
            another.append(LINES, True)
        for pair, client in idlers.items():
            with self.subTest(pair=pair):
                while not (line := client.line()).endswith(b" EXISTS\r\n"):
                    self.assertRegex(line, rb"^\* ")
                client.send(b"DONE\r\n")
                self.assertIn(b"\r\ni OK", b"\r\n" + client.answer(b"i"))

    @in_pairs()
    def test_compress(self, pair):
        message = large()
        client = self.raw(pair)
        client.log_in(b"third")
        self.assertEqual(client.ask(b"z", b"COMPRESS DEFLATE")[:4], b"z OK")
        deflate = zlib.compressobj(wbits=-15)
        inflate = zlib.decompressobj(wbits=-15)

        def say(words):
            client.send(deflate.compress(words) + deflate.flush(zlib.Z_SYNC_FLUSH))

        def hear(mark):
            heard = inflate.decompress(client.buffered())
            while mark not in heard[-200:]:
                piece = client.sock.recv(65536)
                self.assertTrue(piece, heard[-200:])
                heard += inflate.decompress(piece)
            return heard

        say(b'a LIST "" "*"\r\n')
        self.assertIn(b'* LIST (\\HasNoChildren) "." INBOX\r\n', hear(b"\r\na OK"))
        say(b"b APPEND INBOX {%d+}\r\n" % len(message) + message + b"\r\n")
        hear(b"b OK")
        say(b"c SELECT INBOX\r\nd FETCH * BODY.PEEK[]\r\n")
        self.assertIn(message, hear(b"\r\nd OK"))
        say(b"e LOGOUT\r\n")
        self.assertIn(b"* BYE", hear(b"\r\ne OK"))

    @in_pairs()
    def test_curl(self, pair):
        message = large()
        mailbox = "curl-" + "-".join(pair)
        server = self.direct(pair)
        server.log_in(b"third")
        server.ask(b"c", b"CREATE " + mailbox.encode())
        scheme = "imaps" if pair[0] == "implicit" else "imap"
        url = f"{scheme}://mail.test:{self.directions.ports[pair]}/{mailbox}"
        with peers.scratch() as (outside, inside):
            (outside / "mail").write_bytes(message)
            shutil.copy(pki().ca, outside / "ca.pem")
            for what in (["--upload-file", inside / "mail", url], [f"{url};UID=1"]):
                result = peers.run(
                    "/usr/bin/curl", "--silent", "--show-error", "--user", f"third:{PASSWORD}",
                    "--cacert", inside / "ca.pem",
                    *(["--ssl-reqd"] if pair[0] == "starttls" else []), *what)
                self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, message)

    @in_pairs(TO_TLS)
    def test_openssl_and_gnutls(self, pair):
        for program in ("openssl", "gnutls-cli"):
            heard = peers.tls_client(program, self.directions.ports[pair],
                                     b"a LOGIN box c4nary-w0rd\r\nb STATUS INBOX (UIDNEXT)\r\n"
                                     b"c LOGOUT\r\n",
                                     starttls="imap" if pair[0] == "starttls" else None)
            for words in (b"a OK", b"* STATUS INBOX (UIDNEXT ", b"c OK"):
                self.assertIn(words, heard)

    @in_pairs((TERMINATE[0], BRIDGE[0]))
    def test_before_tls_no_login_is_offered_and_nothing_reaches_the_server(self, pair):
        client = self.enterContext(self.directions.connect(pair, Raw))
        self.assertTrue(client.line().startswith(b"* OK "))
        self.assertEqual(client.ask(b"a", b"CAPABILITY").splitlines()[0],
                         b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED")
        for command in (b"LOGIN early c4nary-w0rd", b"AUTHENTICATE PLAIN AGVhcmx5AGM0bmFyeS13MHJk"):
            self.assertTrue(client.ask(b"b", command).startswith(b"b NO [PRIVACYREQUIRED]"))
        client.ask(b"s", b"STARTTLS")
        client.start_tls(tls_client(), "mail.test")
        client.log_in()
        client.ask(b"z", b"LOGOUT")
        self.assertNotIn("early", self.server(pair).log())

    def test_starttls_of_a_server_on_its_own_address_is_not_passed_on(self):
        # In the clear Dovecot offers both STARTTLS and login to its neighbours.
        port = self.secured.ports["imap"]
        with Raw(port) as client:
            offered = client.line()
        self.assertIn(b" STARTTLS ", offered)
        self.assertIn(b" AUTH=PLAIN ", offered)
        with Directions("imap", {"none": f"{OWN}:{port}"}, TERMINATE) as directions:
            for pair in TERMINATE:
                with self.subTest(pair):
                    client = self.imaplib(pair, directions)
                    self.assertNotIn("STARTTLS", client.capabilities)
                    self.assertEqual(client.login("box", PASSWORD)[0], "OK")
                    client.logout()


if __name__ == "__main__":
    main.main()

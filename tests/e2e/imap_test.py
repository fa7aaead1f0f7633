"""IMAP before the relay, between scripted peers: ID, literals, long logins, servers that do not answer."""

import unittest

from support import main
from support.client import FIN
from support.daemon import Daemon, configuration
from support.dialects import start_tls
from support.environment import pki
from support.fake_server import FakeServer, tls_context

CLAIM = b"192.0.2.99"  # the address that a client claims to have
MESSAGE = b"x" * 150_000


class Imap(unittest.TestCase):
    """A proxy before one server that upgrades, and that answers ID only with an untagged line."""

    def start(self, mode):
        self.server = self.enterContext(FakeServer(self.serve))
        text = configuration(self.server.port, protocol="imap", downstream={"tls": mode})
        if mode != "none":
            chain, key = pki().pair()
            text += f'\ndownstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n'
        self.daemon = self.enterContext(Daemon(text))
        client = self.enterContext(self.daemon.connect())
        self.assertRegex(client.line(), rb"\A\* OK ")
        return client

    def serve(self, connection):
        connection.send(b"* OK mail.test\r\n")
        while True:
            line = connection.line()
            tag, verb = line.split()[:2]
            verb = verb.upper()
            if verb == b"STARTTLS":
                connection.send(tag + b" OK go\r\n")
                connection.start_tls(tls_context())
                continue
            if verb == b"CAPABILITY":
                connection.send(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")
            elif verb == b"ID":
                connection.send(b"* NO [ALERT] what?\r\n")
                continue
            elif verb == b"FETCH":
                connection.send(b"* 1 FETCH (BODY[] {%d}\r\n%s)\r\n" % (len(MESSAGE), MESSAGE))
            connection.send(tag + b" OK done\r\n")

    def secure(self, client, command=b"s STARTTLS\r\n"):
        client.send(command)
        self.assertRegex(client.line(), rb"\As OK ")
        start_tls(client)

    def ids(self):
        """Returns the ID commands that the server has received."""
        return [line for line in self.server.heard().splitlines(keepends=True) if b" ID" in line.upper()]

    def test_d15_claims_in_an_id_do_not_reach_the_server(self):
        spellings = (b'("x-originating-ip" "%b")', b'("X-Originating-IP""%b")',
                     b'("\\x-\\originating-ip" "%b")',
                     b'({16+}\r\nx-originating-ip "%b")', b'({16+}\r\nx-originating-ip {10+}\r\n%b)',
                     b'("x-forward-ip" "%b")', b'("x-connected-ip" "%b")', b'("x-session-id" "%b")',
                     b'("x-proxy-ttl" "%b")')
        for mode in ("none", "starttls"):
            with self.subTest(mode=mode):
                client = self.start(mode)
                if mode == "starttls":
                    self.secure(client)
                for spelling in spellings:
                    client.send(b"i ID " + spelling % CLAIM + b"\r\n")
                    self.assertEqual(client.line(), b"* NO [ALERT] what?\r\n")
                for malformed in (b'(("x-originating-ip" "%b"))', b'("x-originating-ip" "%b"',
                                  b'("x-originating-ip" "%b") x'):
                    client.send(b"i ID " + malformed % CLAIM + b"\r\n")
                    self.assertEqual(client.line(), b"i BAD Invalid ID\r\n")
                client.send(b'n ID ("name" "a" "x-originating-ip" "%b" "os" NIL)\r\n' % CLAIM)
                client.line()
                client.close()
                self.daemon.session()
                self.assertNotIn(CLAIM, self.server.heard())
                self.assertEqual(self.ids(),
                                 [b"i ID NIL\r\n"] * len(spellings) + [b'n ID ("name" "a" "os" NIL)\r\n'])

    def test_d14_the_literals_of_an_id_are_not_read_as_commands(self):
        client = self.start("opportunistic")
        client.send(b"i ID ({4}\r\n")
        self.assertRegex(client.line(), rb"\A\+ ")
        client.send(b"name {10}\r\n")
        self.assertRegex(client.line(), rb"\A\+ ")
        client.send(b"s STARTTLS)\r\n")  # the text of a literal
        self.assertEqual(client.line(), b"* NO [ALERT] what?\r\n")
        client.close()
        self.daemon.session()
        self.assertEqual(self.ids(), [b'i ID ("name" "s STARTTLS")\r\n'])

    def test_d14_before_tls_no_literal_of_an_id_is_asked_for(self):
        client = self.start("starttls")
        for command in (b'i ID ("name" {4}', b'i ID ("name" {9+}\r\nb NOOP\r\n)'):
            client.send(command + b"\r\n")
            self.assertEqual(client.line(), b"i BAD STARTTLS first\r\n")
        client.send(b"i ID NIL\r\n")
        self.assertEqual(client.line() + client.line(), b"* ID NIL\r\ni OK ID completed\r\n")
        self.secure(client)
        client.send(b"i ID ({4}\r\n")
        self.assertRegex(client.line(), rb"\A\+ ")

    def test_d4_a_server_that_never_answers_the_id(self):
        client = self.start("none")
        client.send(b"i ID NIL\r\nl LOGIN u p\r\n")
        self.assertEqual(client.line(), b"* NO [ALERT] what?\r\n")
        self.assertEqual(client.line(), b"l OK done\r\n")
        client.send(b"f FETCH 1 BODY[]\r\n")
        self.assertEqual(client.line(), b"* 1 FETCH (BODY[] {%d}\r\n" % len(MESSAGE))
        self.assertEqual(client.exactly(len(MESSAGE)), MESSAGE)
        self.assertEqual(client.line() + client.line(), b")\r\nf OK done\r\n")
        client.close()
        self.assertEqual(self.daemon.session()["outcome"], "ok")

    def test_d9_a_long_initial_response(self):
        for size in (10_000, 90_000):
            with self.subTest(size=size):
                client = self.start("none")
                response = b"a AUTHENTICATE PLAIN " + b"x" * size + b"\r\n"
                client.send(response)
                self.assertEqual(client.line(), b"a OK done\r\n")
                client.close()
                self.assertEqual(self.daemon.session()["outcome"], "ok")
                self.assertTrue(self.server.heard().endswith(response))

    def test_d13_commands_that_end_in_a_bare_lf(self):
        client = self.start("starttls")
        client.send(b"a NOOP\n")
        self.assertEqual(client.line(), b"a OK NOOP completed\r\n")
        self.secure(client, b"s STARTTLS\n")
        client.send(b"b NOOP\nc LOGIN u p\n")
        self.assertEqual(client.line() + client.line(), b"b OK done\r\nc OK done\r\n")
        client.close()
        self.daemon.session()
        self.assertTrue(self.server.heard().endswith(b"b NOOP\nc LOGIN u p\n"))

    def test_d13_injection_after_a_bare_lf(self):
        for injected in (b"b NOOP\n", b"b NOOP\r\n", b"b", b"\n"):
            with self.subTest(injected=injected):
                client = self.start("starttls")
                client.send(b"s STARTTLS\n" + injected)
                told, end = client.rest()
                self.assertEqual(told, b"s BAD STARTTLS must be the last command\r\n* BYE Closing\r\n")
                self.assertEqual(end, FIN)
                self.assertEqual(self.daemon.session()["outcome"], "attack")
                self.assertNotIn(b"NOOP", self.server.heard())


if __name__ == "__main__":
    main.main()

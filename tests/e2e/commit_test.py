"""The bytes that pass before, with and after the command that starts the relay."""

import copy
import unittest

from matrix_test import serve
from support import main
from support.client import Client
from support.daemon import Daemon, configuration
from support.dialects import PROTOCOLS, greeted
from support.fake_server import FakeServer, Smtp, tls_context

LOGINS = {"smtp": b"AUTH PLAIN ", "lmtp": b"AUTH PLAIN ", "imap": b"l1 AUTHENTICATE PLAIN ",
          "pop3": b"AUTH PLAIN ", "sieve": b'AUTHENTICATE "PLAIN" "', "nntp": b"AUTHINFO SASL PLAIN "}
MAIL = b"MAIL FROM:<a@b.test>\r\n"


class Listing(Smtp):
    """Answers EHLO with `listed`, but only when it has heard MAIL, which it answers as well."""

    listed = b""

    def secured(self, connection):
        connection.line()
        connection.line()
        connection.send(self.listed + b"250 2.1.0 ok\r\n")
        connection.wait_for_end()


class Pop3:
    """Answers CAPA by a status alone. Serves one mail, with lines that look like a list."""

    mail = b"+OK 30 octets\r\nSTLS\r\nSASL X-PLUS\r\nXCLIENT\r\n.\r\n"

    def __call__(self, connection):
        connection.send(b"+OK mail.test\r\n")
        connection.line()
        connection.send(b"+OK go\r\n")
        connection.start_tls(tls_context())
        connection.line()
        connection.send(b"+OK\r\n")
        connection.line()
        connection.send(self.mail)
        connection.wait_for_end()


class Commit(unittest.TestCase):
    def client(self, script, protocol="smtp"):
        server = self.enterContext(FakeServer(script))
        daemon = self.enterContext(Daemon(configuration(server.port, protocol=protocol)))
        return server, self.enterContext(Client(daemon.port))

    def listed(self, listed):
        """Returns a client that has sent EHLO and MAIL together, and has read the greeting."""
        _, client = self.client(Listing(listed=listed))
        client.line()
        client.send(b"EHLO client.test\r\n" + MAIL)
        return client

    def test_g2_the_reply_before_the_commit_is_edited(self):
        client = self.listed(b"250-mail.test\r\n250-STARTTLS\r\n250-XCLIENT ADDR\r\n250 SIZE 1\r\n")
        expected = b"250-mail.test\r\n250 SIZE 1\r\n250 2.1.0 ok\r\n"
        self.assertEqual(client.exactly(len(expected)), expected)

    def test_d4_a_reply_that_breaks_a_limit_passes_unchanged(self):
        for listed in (b"250-mail.test\r\n250-" + b"x" * 9000 + b"\r\n250 SIZE 1\r\n",
                       b"what is no reply\r\n", b"250-mail.test\r\n550 no\r\n",
                       (b"250-" + b"x" * 1000 + b"\r\n") * 70 + b"250 SIZE 1\r\n"):
            with self.subTest(listed=listed[:20]):
                client = self.listed(listed)
                expected = listed + b"250 2.1.0 ok\r\n"
                self.assertEqual(client.exactly(len(expected)), expected)

    def test_d5_a_mail_is_not_edited_as_a_list(self):
        _, client = self.client(Pop3(), "pop3")
        client.line()
        self.assertEqual(client.command(b"CAPA"), b"+OK\r\n")
        client.send(b"RETR 1\r\n")
        told = client.line()
        while not told.endswith(b"\r\n.\r\n"):
            told += client.line()
        self.assertEqual(told, Pop3.mail)

    def test_d9_a_login_longer_than_any_line(self):
        for protocol, login in LOGINS.items():
            with self.subTest(protocol=protocol):
                dialect = copy.copy(PROTOCOLS[protocol])
                dialect.commit = login + b"x" * 90_000 + (b'"' if login.endswith(b'"') else b"")
                server, client = self.client(serve(dialect, False), protocol)
                greeted(client, dialect)
                client.send(dialect.commit + b"\r\n")
                self.assertEqual(client.line(), dialect.committed)
                client.close()
                self.assertIn(dialect.commit, server.heard())


if __name__ == "__main__":
    main.main()

"""Commands after the client's STARTTLS, for every protocol: refused, never executed, never passed on."""

import unittest

from matrix_test import serve
from support import main
from support.client import FIN, Client
from support.daemon import Daemon, configuration
from support.dialects import PROTOCOLS, answer, start_tls
from support.environment import pki
from support.fake_server import FakeServer

INJECTED = {"smtp": b"EHLO commandinjectiontester", "lmtp": b"LHLO commandinjectiontester",
            "imap": b"XXXXX NOOP", "pop3": b"CAPA", "sieve": b'NOOP "XXXXX"', "nntp": b"DATE"}
REFUSED = {"smtp": b"503 ", "lmtp": b"503 ", "imap": b"s1 BAD ", "pop3": b"-ERR ", "sieve": b"NO ",
           "nntp": b"502 "}


class Injection(unittest.TestCase):
    def session(self, protocol, mode):
        dialect = PROTOCOLS[protocol]
        server = self.enterContext(FakeServer(serve(dialect, False)))
        chain, key = pki().pair()
        text = configuration(server.port, protocol=protocol)
        text += (f'\ndownstream.tls = "{mode}"\n'
                 f'downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n')
        daemon = self.enterContext(Daemon(text))
        client = self.enterContext(Client(daemon.port))
        if dialect.pushes:
            answer(client, dialect)
        else:
            client.line()
        return dialect, server, daemon, client

    def test_a_command_in_the_same_segment(self):
        """A1 to A5"""
        for protocol in PROTOCOLS:
            for mode in ("starttls", "opportunistic"):
                with self.subTest(protocol=protocol, mode=mode):
                    dialect, server, daemon, client = self.session(protocol, mode)
                    client.send(dialect.starttls + b"\r\n" + INJECTED[protocol] + b"\r\n")
                    told, end = client.rest()
                    client.close()
                    self.assertTrue(told.startswith(REFUSED[protocol]), told)
                    self.assertNotIn(b"XXXXX", told)
                    self.assertEqual(end, FIN)
                    self.assertEqual(daemon.session()["outcome"], "attack")
                    self.assertNotIn(INJECTED[protocol], server.heard())

    def test_d13_a_command_after_a_bare_lf(self):
        """STARTTLS ends with a bare LF, and so does the command; at two splits."""
        for protocol in PROTOCOLS:
            for split in (False, True):
                with self.subTest(protocol=protocol, split=split):
                    dialect, server, daemon, client = self.session(protocol, "starttls")
                    bare = dialect.starttls + b"\n"
                    if split:
                        client.send(bare[:3])
                        bare = bare[3:]
                    client.send(bare + INJECTED[protocol] + b"\n")
                    told, end = client.rest()
                    client.close()
                    self.assertTrue(told.startswith(REFUSED[protocol]), told)
                    self.assertNotIn(b"XXXXX", told)
                    self.assertEqual(end, FIN)
                    self.assertEqual(daemon.session()["outcome"], "attack")
                    self.assertNotIn(INJECTED[protocol], server.heard())

    def test_d13_a_bare_lf_starts_tls(self):
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                dialect, server, daemon, client = self.session(protocol, "starttls")
                client.send(dialect.starttls + b"\n")
                client.line()
                start_tls(client)
                if dialect.pushes:
                    answer(client, dialect)
                client.send(dialect.capability + b"\n")
                answer(client, dialect)
                client.send(dialect.commit + b"\n")
                self.assertEqual(client.line(), dialect.committed)
                client.close()
                self.assertEqual(daemon.session()["outcome"], "ok")

    def test_part_of_a_line_is_enough(self):
        """A9: the command may still be incomplete."""
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                dialect, _, daemon, client = self.session(protocol, "starttls")
                client.send(dialect.starttls + b"\r\nN")
                told, _ = client.rest()
                client.close()
                self.assertTrue(told.startswith(REFUSED[protocol]), told)
                self.assertEqual(daemon.session()["outcome"], "attack")

    def test_plaintext_after_the_go_ahead_reaches_only_the_tls_engine(self):
        """A7"""
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                dialect, server, daemon, client = self.session(protocol, "starttls")
                client.send(dialect.starttls + b"\r\n")
                client.line()
                client.send(INJECTED[protocol] + b"\r\n")
                told, _ = client.rest()
                client.close()
                self.assertNotIn(b"XXXXX", told)
                self.assertEqual(daemon.session()["outcome"], "handshake")
                self.assertNotIn(INJECTED[protocol], server.heard())

    def test_nothing_reaches_the_server_before_the_clients_tls(self):
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                dialect, server, daemon, client = self.session(protocol, "starttls")
                client.send(dialect.commit + b"\r\n")
                refusal = client.line()
                self.assertNotEqual(refusal, dialect.committed)
                client.close()
                daemon.session()
                self.assertNotIn(dialect.verb(dialect.commit), server.heard().upper())


if __name__ == "__main__":
    main.main()

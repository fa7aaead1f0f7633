"""Peers that leave before the relay. The client hears why, and no useless connection is opened."""

import socket
import threading
import time
import unittest

from support import main, wait
from support.client import FIN, RESET
from support.daemon import Daemon, configuration, toml
from support.dialects import PROTOCOLS, answer, greeted, start_tls
from support.environment import pki
from support.fake_server import FakeServer, Smtp

CLEAR = {
    "smtp": b"220 mail.test ESMTP\r\n", "imap": b"* OK ready\r\n", "pop3": b"+OK ready\r\n",
    "sieve": b'"IMPLEMENTATION" "x"\r\n"SIEVE" ""\r\nOK\r\n', "nntp": b"200 ready\r\n"}
REFUSALS = {
    "smtp": b"250 mail.test\r\n", "imap": b"%t BAD what\r\n", "pop3": b"-ERR what\r\n",
    "sieve": b"NO\r\n", "nntp": b"500 what\r\n"}


def terminating(server, **options):
    """Returns a service that offers TLS to its clients."""
    chain, key = pki().pair()
    return configuration(server.port, **options) + (
        f"\ndownstream.certificates = [{{ chain = {toml(chain)}, key = {toml(key)} }}]")


def refuse_tls(connection, protocol):
    """Plays a server in the clear up to its refusal of TLS."""
    connection.send(CLEAR[protocol])
    if protocol != "sieve":  # its list has no STARTTLS
        tag = connection.line().split()[0]
        connection.send(REFUSALS[protocol].replace(b"%t", tag))


class ServerLeaves(unittest.TestCase):
    def leaving(self, words, cut=False, **options):
        """Returns a daemon for a server that says `words` instead of an answer to EHLO, and leaves."""
        class Leaving(Smtp):
            def secured(self, connection):
                connection.line()
                connection.send(words)
                if cut:
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" * 2)
                else:
                    connection.end_tls()

        server = self.enterContext(FakeServer(Leaving()))
        return self.enterContext(Daemon(configuration(server.port, **options)))

    def test_a_client_that_waits_for_an_answer_hears_why_there_is_none(self):
        for words, cut in ((b"", False), (b"250-mail.test\r\n250-PIPEL", False), (b"", True)):
            with self.subTest(words=words, cut=cut):
                daemon = self.leaving(words, cut)
                client = self.enterContext(daemon.connect())
                client.reply()
                client.send(b"EHLO legacy.test\r\n")
                said, end = client.rest()
                self.assertRegex(said, rb"\A421 4\.4\.1 [^\r\n]*closed the connection[^\r\n]*\r\n\Z")
                self.assertEqual(end, FIN)
                self.assertEqual(daemon.session()["outcome"], "closed")
                [event] = daemon.lines(lambda line: line.get("msg") == "session failed")
                self.assertEqual((event["leg"], event["error"]), ("upstream", "closed"))

    def test_an_end_after_the_last_answer_travels(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon = self.enterContext(Daemon(configuration(server.port)))
        client = self.enterContext(daemon.connect())
        client.reply()
        client.command(b"EHLO legacy.test")
        self.assertEqual(client.command(b"QUIT"), b"221 2.0.0 bye\r\n")
        self.assertEqual(client.rest(), (b"", FIN))
        self.assertEqual(daemon.session()["outcome"], "ok")

    def test_what_has_come_is_delivered_after_the_commit(self):
        daemon = self.leaving(b"250-mail.test\r\n250-PIPEL")
        client = self.enterContext(daemon.connect())
        client.reply()
        client.send(b"EHLO legacy.test\r\nMAIL FROM:<a@b.test>\r\n")
        self.assertEqual(client.rest()[0], b"250-mail.test\r\n250-PIPEL")
        client.finish()
        self.assertEqual(daemon.session()["outcome"], "ok")

    def test_a_client_before_its_tls_hears_it_too(self):
        class Idle(Smtp):
            def secured(self, connection):
                connection.send(b"421 4.4.2 idle\r\n")
                connection.end_tls()

        server = self.enterContext(FakeServer(Idle()))
        daemon = self.enterContext(Daemon(terminating(server, downstream={"tls": "starttls"})))
        client = self.enterContext(daemon.connect())
        client.reply()
        said, end = client.rest()
        self.assertRegex(said, rb"\A421 4\.4\.1 [^\r\n]*\r\n\Z")
        self.assertEqual((end, daemon.session()["outcome"]), (FIN, "closed"))

    def test_d2_a_server_that_is_replaced_anyway_may_leave_during_the_handshake(self):
        def leaving(connection):
            connection.send(b"220 mail.test ESMTP\r\n")
            connection.line()
            connection.send(b"250 mail.test\r\n")
            if len(server.connections) > 1:
                connection.wait_for_end()

        server = self.enterContext(FakeServer(leaving))
        daemon = self.enterContext(Daemon(terminating(
            server, upstream={"tls": "none"}, downstream={"tls": "opportunistic"})))
        client = self.enterContext(daemon.connect())
        client.reply()
        client.send(b"EHLO legacy.test\r\nSTARTTLS\r\n")
        answer(client, PROTOCOLS["smtp"])
        self.assertEqual(client.line()[:4], b"220 ")
        self.assertTrue(server.connection(0).ended.wait(wait.DEADLINE))
        start_tls(client)
        client.send(b"EHLO legacy.test\r\n")
        answer(client, PROTOCOLS["smtp"])
        self.assertEqual(len(server.connections), 2)

    def test_a_server_that_has_heard_nothing_may_leave_then_too(self):
        leave = threading.Event()

        class Once(Smtp):
            def secured(self, connection):
                if len(server.connections) > 1:
                    super().secured(connection)
                    return
                leave.wait(wait.DEADLINE)
                connection.end_tls()

        server = self.enterContext(FakeServer(Once()))
        daemon = self.enterContext(Daemon(terminating(server, downstream={"tls": "starttls"})))
        client = self.enterContext(daemon.connect())
        client.reply()
        client.send(b"STARTTLS\r\n")
        self.assertEqual(client.line()[:4], b"220 ")
        leave.set()
        self.assertTrue(server.connection(0).ended.wait(wait.DEADLINE))
        start_tls(client)
        client.send(b"EHLO legacy.test\r\n")
        answer(client, PROTOCOLS["smtp"])


class ClientLeaves(unittest.TestCase):
    """A client that ends its direction before its TLS. It is no fault of the server."""

    def start(self, protocol, mode):
        def script(connection):
            connection.send(CLEAR[protocol])
            connection.wait_for_end()

        server = self.enterContext(FakeServer(script))
        return self.enterContext(Daemon(terminating(
            server, protocol=protocol, upstream={"tls": "none"}, downstream={"tls": mode})))

    def test_a_client_that_leaves_instead_of_starting_tls(self):
        for protocol in CLEAR:
            with self.subTest(protocol):
                daemon = self.start(protocol, "starttls")
                with daemon.connect() as client:
                    greeted(client, PROTOCOLS[protocol])
                    client.finish()
                    self.assertEqual(client.rest(), (b"", FIN))
                self.assertEqual(daemon.session()["outcome"], "ok")
                daemon.warnings(0)

    def test_a_client_that_leaves_with_its_starttls(self):
        for protocol, dialect in PROTOCOLS.items():
            if protocol not in CLEAR:
                continue
            with self.subTest(protocol):
                daemon = self.start(protocol, "starttls")
                with daemon.connect() as client:
                    client.send(dialect.starttls + b"\r\n")
                    client.finish()
                    client.rest()
                self.assertEqual(daemon.session()["outcome"], "handshake")


class AfterAFallback(unittest.TestCase):
    def start(self, protocol, script):
        server = self.enterContext(FakeServer(script))
        daemon = self.enterContext(Daemon(configuration(
            server.port, protocol=protocol, upstream={"tls": "opportunistic"})))
        return server, daemon

    def test_a_client_that_leaves_without_a_word_ends_its_session(self):
        for protocol in CLEAR:
            with self.subTest(protocol):
                def script(connection, protocol=protocol):
                    refuse_tls(connection, protocol)
                    connection.wait_for_end()

                server, daemon = self.start(protocol, script)
                with daemon.connect() as client:
                    greeted(client, PROTOCOLS[protocol])
                    client.finish()
                    self.assertEqual(client.rest(), (b"", FIN))
                self.assertEqual(daemon.session()["outcome"], "ok")
                # SMTP's first connection has heard our hello.
                self.assertEqual(len(server.connections), 2 if protocol == "smtp" else 1)

    def test_words_to_the_client_and_an_end_are_the_end(self):
        for protocol, words in (("pop3", b"-ERR idle\r\n"), ("imap", b"* BYE idle\r\n"),
                                ("nntp", b"400 idle\r\n"), ("sieve", b'BYE "idle"\r\n')):
            with self.subTest(protocol):
                ready = threading.Event()

                def script(connection, protocol=protocol, words=words, ready=ready):
                    refuse_tls(connection, protocol)
                    ready.wait(wait.DEADLINE)
                    connection.send(words)

                server, daemon = self.start(protocol, script)
                with daemon.connect() as client:
                    greeted(client, PROTOCOLS[protocol])
                    ready.set()
                    self.assertEqual(client.rest(), (words, FIN))
                daemon.session()
                self.assertEqual(len(server.connections), 1)


class Cut(unittest.TestCase):
    def test_a_reset_that_a_write_notices_is_no_end(self):
        """The client's bytes wait, since the server does not read. A reply finds the client gone."""
        ends, gone = [], threading.Event()

        def lazy(connection):
            gone.wait(wait.DEADLINE)
            connection.send(b"250 a word\r\n" * 100)
            time.sleep(0.5)  # the proxy writes it before it can read that the client is gone
            try:
                while connection.sock.recv(1 << 18):
                    pass
                ends.append(FIN)
            except OSError:
                ends.append(RESET)

        server = self.enterContext(FakeServer(Smtp(relay=lazy)))
        daemon = self.enterContext(Daemon(configuration(server.port)))
        client = self.enterContext(daemon.connect())
        client.reply()
        client.command(b"EHLO legacy.test")
        client.command(b"MAIL FROM:<a@b.test>")
        client.sock.setblocking(False)
        line = b"x" * (1 << 20)
        full = 0
        while full < 10:  # the proxy has stopped reading as well
            try:
                client.sock.send(line)
                full = 0
            except BlockingIOError:
                full += 1
                time.sleep(0.05)
        client.sock.setblocking(True)
        client.reset()
        gone.set()
        wait.until(lambda: ends, "the server has seen the end")
        self.assertEqual(ends, [RESET])
        self.assertEqual(daemon.session()["outcome"], "truncated")


class Slow(unittest.TestCase):
    def test_bytes_of_a_refused_literal_are_no_commands(self):
        def imap(connection):
            connection.send(CLEAR["imap"])
            connection.wait_for_end()

        server = self.enterContext(FakeServer(imap))
        daemon = self.enterContext(Daemon(terminating(
            server, protocol="imap", upstream={"tls": "none"}, downstream={"tls": "opportunistic"},
            timeouts={"command": "2s"})))
        client = self.enterContext(daemon.connect())
        greeted(client, PROTOCOLS["imap"])
        started = time.monotonic()
        client.send(b"a XCLIENT {4000+}\r\n")
        with self.assertRaises(OSError):
            while time.monotonic() - started < wait.DEADLINE:
                client.send(b"x")
                time.sleep(0.2)
        self.assertEqual(daemon.session()["outcome"], "timeout")


if __name__ == "__main__":
    main.main()

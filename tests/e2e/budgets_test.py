"""Budgets: limits for a client before the greeting, before its TLS, and after its server has ended."""

import socket
import threading
import time
import unittest

from support import admin, main, wait
from support.client import FIN, Client
from support.daemon import Daemon, configuration, toml
from support.environment import pki
from support.fake_server import FakeServer, Gone, Smtp, tls_context

EARLY = 12 * 1024
CLIENTS_END = 60  # seconds


class BeforeTheGreeting(unittest.TestCase):
    """R6: the proxy reads about one line, counts it in the metrics, and frees it."""

    CLIENTS = 5

    def buffered(self):
        return admin.metrics(admin.address(self.daemon))("starttls_buffer_bytes")

    def test_r6_only_one_line_is_read_ahead(self):
        greeting = threading.Event()
        honest = Smtp(context=tls_context())

        def script(connection):
            greeting.wait(wait.DEADLINE)
            honest(connection)

        server = self.enterContext(FakeServer(script))
        self.addCleanup(greeting.set)
        text = configuration(server.port, timeouts={"prelude": "2m"})
        self.daemon = self.enterContext(Daemon(admin.configured(text)))
        clients = []
        for _ in range(self.CLIENTS):
            client = self.enterContext(Client(self.daemon.port))
            threading.Thread(target=self.pour, args=[client.sock.dup()], daemon=True).start()
            clients.append(client)
        wait.until(lambda: self.buffered() >= self.CLIENTS * (EARLY - 64), "all of it is counted")
        for _ in range(5):  # each asks all workers
            self.assertLessEqual(self.buffered(), self.CLIENTS * 2 * EARLY)
        greeting.set()
        for client in clients:
            self.assertEqual(client.line()[:4], b"220 ")
            self.assertEqual(client.line()[:3], b"250")
        for client in clients:
            client.close()
        wait.until(lambda: self.buffered() == 0, "nothing is held any more")

    def pour(self, sock):
        with sock:
            try:
                sock.sendall(b"EHLO client.test\r\n" + (b"NOOP " + b"x" * 500 + b"\r\n") * 128)
            except OSError:
                pass  # closed by the test


class BeforeTheClientsTls(unittest.TestCase):
    """R8: commands do not extend the time without end."""

    def test_r8_from_the_greeting_to_tls_there_is_one_deadline(self):
        server = self.enterContext(FakeServer(Smtp()))
        chain, key = pki().pair()
        text = configuration(server.port, upstream={"tls": "none"},
                             downstream={"tls": "starttls"}, timeouts={"command": "2s"})
        text += f"\ndownstream.certificates = [{{ chain = {toml(chain)}, key = {toml(key)} }}]\n"
        daemon = self.enterContext(Daemon(text))
        client = self.enterContext(Client(daemon.port))
        self.assertEqual(client.line()[:4], b"220 ")
        end = time.monotonic() + wait.DEADLINE
        answer = b"250 "
        while answer[:4] == b"250 " and time.monotonic() < end:
            client.send(b"NOOP\r\n")
            answer = client.line()
            time.sleep(0.05)  # often enough not to count as silence
        self.assertEqual(answer[:9], b"421 4.4.1")
        self.assertEqual(client.rest()[1], FIN)
        line = daemon.session()
        self.assertEqual((line["outcome"], line["reason"]),
                         ("timeout", "the client did not begin TLS in time"))


class AfterTheServersEnd(unittest.TestCase):
    """R7: a client that stays after its server has ended is held for a minute."""

    def relayed(self, script, **options):
        server = self.enterContext(FakeServer(script))
        self.daemon = self.enterContext(Daemon(configuration(
            server.port, upstream={"tls": "none"}, timeouts={"idle": "10m"}, **options)))
        return self.enterContext(Client(self.daemon.port))

    def test_r7_the_client_has_a_minute(self):
        def script(connection):
            connection.send(b"220 mail.test\r\n")
            connection.line()
            connection.send(b"221 bye\r\n")
            connection.sock.shutdown(socket.SHUT_WR)
            while connection.receive():
                pass

        client = self.relayed(script)
        self.assertEqual(client.line()[:4], b"220 ")
        started = time.monotonic()
        client.send(b"QUIT\r\n")
        self.assertEqual(client.rest(), (b"221 bye\r\n", FIN))
        # The client is alive and sends commands: that changes nothing.
        while "outcome=" not in self.daemon.text():
            self.assertLess(time.monotonic() - started, CLIENTS_END + wait.DEADLINE)
            try:
                client.send(b"NOOP\r\n")
            except OSError:
                break
            time.sleep(0.2)
        line = self.daemon.session()
        self.assertEqual((line["outcome"], line.get("reason", "")), ("ok", ""))
        self.assertGreaterEqual(time.monotonic() - started, CLIENTS_END - 2)

    def test_a_clients_half_close_is_different(self):
        """The session goes on for as long as its server sends."""
        rest = threading.Event()

        def script(connection):
            connection.send(b"220 mail.test\r\n")
            try:
                while True:
                    connection.receive()
            except Gone:
                rest.wait(wait.DEADLINE)
                connection.send(b"250 still here\r\n")

        client = self.relayed(script, downstream={"tls": "none"})
        self.assertEqual(client.line()[:4], b"220 ")
        client.send(b"NOOP\r\n")
        client.finish()
        rest.set()
        self.assertEqual(client.rest(), (b"250 still here\r\n", FIN))


if __name__ == "__main__":
    main.main()

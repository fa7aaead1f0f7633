"""Connections kept warm: a client gets the same greeting, only sooner. Events on a connection while
it waits never reach a client."""

import itertools
import pathlib
import re
import signal
import socket
import tempfile
import threading
import unittest

from support import dialects, main, wait
from support.client import FIN, Client, free_port, unacknowledged
from support.daemon import Daemon, configuration, toml
from support.dialects import PROTOCOLS
from support.environment import pki
from support.fake_server import FakeServer, Gone, Smtp, tls_context

UPSTREAM = ("none", "opportunistic", "starttls", "implicit")
PAYLOAD = bytes(range(256)) * 40 + b"\r\n"
CANARY = b"canary-4711"
SOON = 10_000  # milliseconds on a busy machine; a prelude may take three times that


def message(text, **fields):
    """Returns a test for log lines: True if a line has that message and these fields."""
    return lambda line: line.get("msg") == text and all(
        line.get(key) == value for key, value in fields.items())


def silent_context():
    """Returns a server's context that sends no tickets after its handshake. While tickets are on
    their way, a connection is not handed out. A test could then not know if its client gets it."""
    return tls_context(num_tickets=0)


def converse(client, dialect):
    """Runs a session in the clear, up to its relay and through it. Returns all bytes to the client."""
    heard = dialects.greeted(client, dialect)
    client.send(dialect.capability + b"\r\n")
    heard += dialects.answer(client, dialect)
    client.send(dialect.commit + b"\r\n")
    heard += client.line()
    client.send(PAYLOAD)
    heard += client.exactly(len(PAYLOAD))
    client.finish()
    rest, how = client.rest()
    if how != FIN:
        raise AssertionError(how)
    return heard + rest


def echo(connection):
    """Echoes the payload after the client's commitment."""
    left = len(PAYLOAD)
    while left > 0:
        piece = connection.receive()
        connection.send(piece)
        left -= len(piece)
    connection.wait_for_end()


class SameAsCold(unittest.TestCase):
    def test_every_byte(self):
        for protocol, dialect in PROTOCOLS.items():
            with self.subTest(protocol):
                self.every_mode(protocol, dialect)

    def every_mode(self, protocol, dialect):
        def script(implicit, context):
            return lambda connection: dialects.serve(dialect, connection, implicit, context, echo)

        with (FakeServer(script(False, None)) as plain,
              FakeServer(script(False, silent_context())) as upgrading,
              FakeServer(script(True, silent_context())) as implicit):
            servers = dict(zip(UPSTREAM, (plain, upgrading, upgrading, implicit)))
            with Daemon(self.services(protocol, servers), listeners=2 * len(UPSTREAM)) as daemon:
                ports = {line["service"]: int(line["address"].rpartition(":")[2])
                         for line in daemon.lines(message("listening"), 2 * len(UPSTREAM))}
                for mode in UPSTREAM:
                    with self.subTest(upstream=mode):
                        self.compare(daemon, dialect, servers[mode], ports, mode)

    def services(self, protocol, servers):
        chain, key = pki().pair()
        text = ["[proxy]", 'hostname = "proxy.test"', "workers = 1", "[log]", 'level = "debug"']
        for mode, kind in itertools.product(UPSTREAM, ("cold", "warm")):
            text += ["[[service]]", f'name = "{kind}-{mode}"', f'protocol = "{protocol}"',
                     'listen = "127.0.0.1:0"',
                     f'upstream.address = "127.0.0.1:{servers[mode].port}"',
                     f'upstream.tls = "{mode}"', f"upstream.warm = {2 if kind == 'warm' else 0}",
                     'upstream.server_name = "mail.test"', f"upstream.ca_file = {toml(pki().ca)}"]
            if mode == "none":  # none on both legs would be a plain relay
                text += ['downstream.tls = "opportunistic"', "downstream.certificates = "
                         f"[{{ chain = {toml(chain)}, key = {toml(key)} }}]"]
        return "\n".join(text)

    def compare(self, daemon, dialect, server, ports, mode):
        heard, lines = {}, {}
        before = self.used(server, dialect)
        for kind in ("cold", "warm"):
            service = f"{kind}-{mode}"
            if kind == "warm":
                daemon.lines(message("warm connection ready", service=service), 2)
            with Client(ports[service]) as client:
                heard[kind] = converse(client, dialect)
            lines[kind] = daemon.lines(lambda line, name=service: "outcome" in line
                                       and line["service"] == name)[0]
        self.assertEqual(heard["cold"], heard["warm"])
        used = wait.until(lambda: len(found := self.used(server, dialect)) == len(before) + 2
                          and found, "two sessions at the server")
        one, other = ([re.sub(rb"[0-9a-f]{32}", b"TAG", data) for data in (c.clear, c.secure)]
                      for c in used if c not in before)
        self.assertEqual(one, other)
        self.assertEqual(len(daemon.lines(message("warm connection used"))), 1
                         + UPSTREAM.index(mode))
        for key in ("outcome", "upstream_tls", "upstream_cipher", "upstream_group", "upstream_verify",
                    "server", "bytes_to_server", "bytes_to_client"):
            self.assertEqual(lines["cold"][key], lines["warm"][key], key)
        self.assertEqual(lines["warm"]["outcome"], "ok")
        for key in ("connect_ms", "prelude_ms"):
            self.assertLess(int(lines["warm"][key]), SOON, key)

    @staticmethod
    def used(server, dialect):
        """Returns the connections that were a client's and have ended."""
        return [c for c in server.connections
                if dialect.commit in c.clear + c.secure and c.ended.is_set()]


class Warm(unittest.TestCase):
    """A pool for an SMTP server that can be made to misbehave."""

    def start(self, port, warm=1, **upstream):
        return self.enterContext(Daemon(configuration(
            port, upstream={"warm": warm, **upstream}, proxy={"workers": 1})))

    def ready(self, daemon, count=1):
        return daemon.lines(message("warm connection ready"), count)

    def honest_session(self, client):
        self.assertRegex(client.line(), rb"^220 ")
        self.assertRegex(client.command(b"EHLO client.test"), rb"(?s)^250-mail\.test.*250 SIZE")
        self.assertEqual(client.command(b"MAIL FROM:<a@b.test>"), b"250 2.0.0 ok\r\n")
        self.assertEqual(client.command(b"QUIT"), b"221 2.0.0 bye\r\n")
        client.close()

    def test_the_greeting_does_not_wait_for_the_server(self):
        answering = threading.Event()
        numbers = itertools.count()
        honest = Smtp(context=silent_context())

        def script(connection):
            if next(numbers) >= 2:
                answering.wait(wait.DEADLINE)
            honest(connection)

        with FakeServer(script) as server:
            daemon = self.start(server.port, warm=2)
            self.ready(daemon, 2)
            clients = [self.enterContext(daemon.connect()) for _ in range(2)]
            for client in clients:
                self.honest_session(client)
            # The third client must wait as if there were no pool.
            late = self.enterContext(daemon.connect())
            daemon.lines(message("phase", to="upstream_prelude"))
            self.assertEqual(len(daemon.lines(message("warm connection used"))), 2)
            answering.set()
            self.honest_session(late)
            self.ready(daemon, 4)  # and the pool is full again
            for line in daemon.sessions(3)[:2]:
                self.assertLess(int(line["prelude_ms"]), SOON)
                self.assertEqual(line["outcome"], "ok")
            # Two sessions and a slow one, two kept: no other connection was opened.
            self.assertEqual(len(server.connections), 5)

    def test_the_server_closes_a_waiting_connection(self):
        closing = threading.Event()
        first = itertools.count()
        honest = Smtp(context=silent_context())

        def secured(connection):
            if next(first) == 0:
                closing.wait(wait.DEADLINE)
                raise Gone
            Smtp.secured(honest, connection)

        script = Smtp(context=silent_context())
        script.secured = secured
        with FakeServer(script) as server:
            daemon = self.start(server.port)
            self.ready(daemon)
            closing.set()
            daemon.lines(message("warm connection lost", reason="the server closed the connection"))
            with daemon.connect() as client:  # there is no warm connection, or a new one
                self.honest_session(client)
            self.ready(daemon, 2)
            self.assertEqual(daemon.session()["outcome"], "ok")

    def test_unsolicited_lines_of_the_server_do_not_reach_the_client(self):
        speaking = threading.Event()
        first = itertools.count()
        honest = Smtp(context=silent_context())

        def secured(connection):
            if next(first) == 0:
                speaking.wait(wait.DEADLINE)
                connection.send(b"421 4.3.2 " + CANARY + b"\r\n")
                connection.wait_for_end()
                raise Gone
            Smtp.secured(honest, connection)

        script = Smtp(context=silent_context())
        script.secured = secured
        with FakeServer(script) as server:
            daemon = self.start(server.port)
            self.ready(daemon)
            speaking.set()
            daemon.lines(message("warm connection lost"))
            with daemon.connect() as client:
                self.honest_session(client)
            self.assertTrue(server.connection().ended.wait(wait.DEADLINE))
            self.assertEqual(daemon.session()["outcome"], "ok")
            self.assertNotIn(CANARY.decode(), daemon.text())

    def test_bytes_after_the_greeting_disqualify_a_connection(self):
        def script(connection):
            connection.start_tls(tls_context())
            connection.send(b"220 mail.test ESMTP\r\n421 4.3.2 " + CANARY + b"\r\n")
            connection.wait_for_end()

        with FakeServer(script) as server:
            daemon = self.start(server.port, tls="implicit")
            line = daemon.lines(message("no warm connection"))[0]
            self.assertRegex(line["reason"], r"more than its greeting")
            self.assertNotIn("warm connection ready", daemon.text())

    def test_a_connection_that_dies_at_the_last_moment_is_replaced(self):
        first = itertools.count()
        honest = Smtp(context=silent_context())
        dying = threading.Event()

        def secured(connection):
            if next(first) == 0:
                dying.wait(wait.DEADLINE)
                connection.sock.shutdown(socket.SHUT_WR)
                wait.until(lambda: unacknowledged(connection.sock) == 0, "the end is on the other side")
                raise Gone
            Smtp.secured(honest, connection)

        script = Smtp(context=silent_context())
        script.secured = secured
        with FakeServer(script) as server:
            daemon = self.start(server.port)
            self.ready(daemon)
            tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task")

            def all_are(state):
                return all(each.read_text().rpartition(") ")[2][0] == state
                           for each in tasks.glob("*/stat"))

            # Until its loop waits again, epoll(7) lists the warm connection before new events.
            wait.until(lambda: all_are("S"), "the loop waits again")
            daemon.process.send_signal(signal.SIGSTOP)
            wait.until(lambda: all_are("T"), "it is stopped")
            with daemon.connect() as client:  # the daemon sees this client first, then the end
                dying.set()
                self.assertTrue(server.connection().ended.wait(wait.DEADLINE))
                daemon.process.send_signal(signal.SIGCONT)
                self.honest_session(client)
            self.assertNotIn("warm connection used", daemon.text())

    def test_a_server_that_is_down(self):
        port = free_port()
        daemon = self.start(port, warm=3)
        tells = message("no warm connection")
        with daemon.connect() as client:
            self.assertRegex(client.rest()[0], rb"^421 4\.4\.1 ")
        # One warning, then debug lines in growing intervals.
        lines = daemon.lines(lambda line: tells(line) and line["level"] == "debug")
        first = [line for line in daemon.lines(tells) if line["level"] == "warn"]
        self.assertEqual(len(first), 1)
        self.assertEqual((first[0]["error"], first[0]["peer"]), ("unreachable", f"127.0.0.1:{port}"))
        self.assertLess(len(lines), 6)
        with FakeServer(Smtp(context=silent_context()), port=port):
            daemon.lines(message("connections are kept warm again"))
            self.ready(daemon, 3)
            with daemon.connect() as client:
                self.honest_session(client)
            daemon.lines(message("warm connection used"))
            daemon.sessions(2)
            daemon.terminate()
            daemon.expect_exit(0)

    def test_a_wrong_certificate(self):
        for protocol in ("smtp", "imap", "sieve"):
            dialect = PROTOCOLS[protocol]

            def script(connection, dialect=dialect):
                dialects.serve(dialect, connection, False, tls_context("wrong-name"))

            with self.subTest(protocol), FakeServer(script) as server:
                daemon = self.enterContext(Daemon(configuration(
                    server.port, protocol=protocol, upstream={"warm": 2})))
                line = daemon.lines(message("no warm connection"))[0]
                self.assertEqual((line["level"], line["error"]), ("warn", "certificate"))
                with daemon.connect() as client:
                    data, how = client.rest()
                    self.assertEqual(how, FIN)
                    self.assertRegex(data, b"^" + dialect.failure + b"$")
                self.assertNotIn("warm connection ready", daemon.text())

    def test_a_drain_says_goodbye(self):
        with FakeServer(Smtp(context=silent_context())) as server:
            daemon = self.start(server.port, warm=3)
            self.ready(daemon, 3)
            daemon.terminate()
            daemon.expect_exit(0)
            for connection in server.connections:
                self.assertTrue(connection.ended.wait(wait.DEADLINE))
                self.assertEqual(connection.secure, b"QUIT\r\n")

    def test_many_clients_at_once(self):
        with FakeServer(Smtp()) as server:
            daemon = self.start(server.port, warm=3)
            self.ready(daemon, 3)
            for _ in range(4):
                clients = [self.enterContext(daemon.connect()) for _ in range(10)]
                for client in clients:
                    self.honest_session(client)
            for line in daemon.sessions(40):
                self.assertEqual(line["outcome"], "ok")
            self.ready(daemon, 3 + len(daemon.lines(message("warm connection used"))))


class Reload(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(FakeServer(Smtp(context=silent_context())))
        self.file = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "proxy.toml"
        self.write()
        self.daemon = self.enterContext(Daemon(arguments=["--config", self.file]))
        self.daemon.lines(message("warm connection ready"), 2)

    def write(self, **upstream):
        self.file.write_text(configuration(self.server.port, proxy={"workers": 1},
                                           upstream={"warm": 2, **upstream}), encoding="utf-8")

    def hang_up(self):
        self.daemon.process.send_signal(signal.SIGHUP)
        self.daemon.lines(message("reloaded"))

    def test_with_the_same_policy_keeps_them(self):
        self.hang_up()
        with self.daemon.connect() as client:
            self.assertRegex(client.line(), rb"^220 ")
            self.daemon.lines(message("warm connection used"))
            self.daemon.lines(message("warm connection ready"), 3)
            self.assertEqual(len(self.server.connections), 3)

    def test_with_another_policy_ends_them(self):
        self.write(server_name="other.test")
        self.hang_up()
        with self.daemon.connect() as client:
            self.assertRegex(client.line(), rb"^421 4\.7\.5 proxy\.test mail server other\.test: "
                                            rb"name mismatch")
        for connection in self.server.connections[:2]:
            self.assertTrue(connection.ended.wait(wait.DEADLINE))
            self.assertEqual(connection.secure, b"QUIT\r\n")
        self.assertNotIn("warm connection used", self.daemon.text())

    def test_to_none_and_back(self):
        self.write(warm=0)
        self.hang_up()
        for connection in self.server.connections[:2]:
            self.assertTrue(connection.ended.wait(wait.DEADLINE))
        self.write()
        self.daemon.process.send_signal(signal.SIGHUP)
        self.daemon.lines(message("warm connection ready"), 4)


if __name__ == "__main__":
    main.main()

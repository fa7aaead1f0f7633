"""The relay where nothing is encrypted: bursts pass from socket to socket unseen, and byte-exact.

A loop opens its pipe when it first passes a burst. So the list of descriptors shows if one has passed.
"""

import pathlib
import resource
import socket
import tempfile
import threading
import time
import unittest

from support import main, wait
from support.client import FIN, RESET, Client, unacknowledged
from support.daemon import SANDBOX, Daemon, configuration
from support.environment import SANITIZED, unsanitized
from support.fake_server import FakeServer, Smtp
from support.freeze import frozen_workers
from support.relay import commit, receive_digest, send_pieces

KIB = 1 << 10
MIB = 1 << 20
BURST = 64 * KIB  # Stream::kBurst
TAIL = 4 * KIB    # Stream::kBurstTail
PIPE = MIB        # SplicePipe::kCapacity
SIZES = (1, TAIL, TAIL + 1, BURST - 1, BURST, BURST + 1, BURST + TAIL, PIPE - 1, PIPE, PIPE + 1,
         PIPE + TAIL - 1, PIPE + TAIL, PIPE + TAIL + 1, 2 * PIPE + TAIL, 3 * PIPE + 1)
# Enough for the kernel to open the window wide.
WARM_UP = 4 * MIB
BURST_THAT_SPLICES = 256 * KIB
MUCH = (8 if SANITIZED else 32) * MIB
STALLED = (64 if SANITIZED else 256) * MIB
STALL = 5  # equal numbers of bytes on their way, one after the other: the sender waits
GROWTH = 16 * MIB
SESSIONS = 50 if SANITIZED else 200


def reset(sock):
    """Ends the connection with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def settle(sock, has_sent=lambda: True):
    """Waits until the peer's kernel has all bytes, or takes no more of them. `has_sent` is true if our
    kernel has all of them."""
    seen = []

    def settled():
        sent = has_sent()
        seen.append(unacknowledged(sock))
        if seen[-1] == 0:
            return sent
        return len(seen) >= STALL and len(set(seen[-STALL:])) == 1

    wait.until(settled, "the bytes are on the other side")


class Sending(threading.Thread):
    """Sends pieces in the background. `join` returns their digest."""

    def __init__(self, sock, size):
        super().__init__(daemon=True)
        self._sock = sock
        self._size = size
        self._progress = [0]
        self._digest = None
        self.start()

    def run(self):
        self._digest = send_pieces(self._sock, self._size, self._progress)

    def join(self, timeout=wait.DEADLINE):
        super().join(timeout)
        return self._digest

    @property
    def sent(self):
        """The bytes of whole pieces that our kernel has taken."""
        return self._progress[0]

    def settle(self):
        settle(self._sock, lambda: self.sent == self._size)


class Clear(unittest.TestCase):
    """A daemon without TLS on either leg, and both ends of one session."""

    def setUp(self):
        self.over = threading.Event()
        self.server = self.enterContext(FakeServer(lambda _: self.over.wait(4 * wait.DEADLINE)))

    def start(self, upstream=None, **options):
        self.daemon = self.enterContext(Daemon(arguments=[
            "--protocol", "smtp", "--listen", "127.0.0.1:0", "--workers", "1",
            "--downstream-tls", "none", "--upstream", upstream or f"127.0.0.1:{self.server.port}",
            "--upstream-tls", "none", "--sandbox", str(SANDBOX).lower()], **options))
        self.addCleanup(self.over.set)  # before the daemon ends, which waits for its sessions
        self.pipes_before = self.pipes()

    def pipes(self):
        return sum("=pipe:" in each for each in self.daemon.descriptor_list())

    def assert_spliced(self, expected=True):
        self.assertEqual(self.pipes() - self.pipes_before, 2 if expected else 0)

    def connect(self):
        """Returns the sockets of a new session's client and server."""
        count = len(self.server.connections)
        client = self.enterContext(Client(self.daemon.port))
        self.server.connection(count).sock.settimeout(wait.DEADLINE)
        return client, self.server.connection(count).sock

    def passes(self, source, sink, size):
        sending = Sending(source, size)
        try:
            digest = receive_digest(sink, size)
        except TimeoutError:
            self.fail("bytes are missing: no more came in time")
        self.assertEqual(digest, sending.join())

    def warm_session(self):
        """Returns a session that has spliced a burst. Its windows are open wide both ways."""
        self.start()
        client, server = self.connect()
        self.warm_up = 0
        while not self.warm_up or self.pipes() == self.pipes_before:
            self.assertLess(self.warm_up, 50 * WARM_UP, "no burst was spliced")
            for source, sink in ((client.sock, server), (server, client.sock)):
                self.passes(source, sink, WARM_UP)
                self.burst(source, sink, BURST_THAT_SPLICES)
            self.warm_up += WARM_UP + BURST_THAT_SPLICES
        self.assert_spliced()
        return client, server

    def burst(self, source, sink, size):
        """Sends bytes that all wait in the kernel before the relay sees the first of them."""
        with frozen_workers(self.daemon.process.pid):
            sending = Sending(source, size)
            sending.settle()
        self.assertEqual(receive_digest(sink, size), sending.join())

    def ended(self, outcome="ok"):
        session = self.daemon.session()
        self.assertEqual(session["outcome"], outcome)
        return session


class Bytes(Clear):
    def test_sizes_around_the_limits(self):
        client, server = self.warm_session()
        for source, sink in ((client.sock, server), (server, client.sock)):
            for size in SIZES:
                with self.subTest(size=size, to="server" if sink is server else "client"):
                    self.burst(source, sink, size)
        client.finish()
        self.assertEqual(server.recv(1), b"")
        server.shutdown(socket.SHUT_WR)
        session = self.ended()
        total = self.warm_up + sum(SIZES)
        self.assertEqual((int(session["bytes_to_server"]), int(session["bytes_to_client"])),
                         (total, total))

    def test_both_ways_at_once(self):
        client, server = self.warm_session()
        up, down = Sending(client.sock, MUCH), Sending(server, MUCH)
        digests = []
        reading = threading.Thread(target=lambda: digests.append(receive_digest(server, MUCH)))
        reading.start()
        self.assertEqual(receive_digest(client.sock, MUCH), down.join())
        reading.join(wait.DEADLINE)
        self.assertEqual(digests, [up.join()])

    def test_a_server_at_a_unix_socket(self):
        path = str(pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "server")
        listener = self.enterContext(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen()
        self.start(upstream=f"unix:{path}")
        client = self.enterContext(Client(self.daemon.port))
        server = self.enterContext(listener.accept()[0])
        self.passes(client.sock, server, MUCH)
        self.passes(server, client.sock, MUCH)
        self.assert_spliced()

    def test_a_server_that_offers_no_tls(self):
        """Both legs stayed in the clear. The relay begins after the commands up to MAIL."""
        class NoTls(Smtp):
            def __call__(self, connection):
                self.say(connection, self.greeting)
                self.secured(connection)

        digests = []

        def exchange(connection):
            digests.append(receive_digest(connection.sock, MUCH))
            digests.append(send_pieces(connection.sock, MUCH))

        server = self.enterContext(FakeServer(NoTls(relay=exchange)))
        self.daemon = self.enterContext(Daemon(configuration(
            server.port, upstream={"tls": "opportunistic"}, proxy={"workers": 1})))
        self.pipes_before = self.pipes()
        client = self.enterContext(Client(self.daemon.port))
        commit(client)
        self.assertEqual(client.buffered(), b"")
        sent = Sending(client.sock, MUCH)
        received = receive_digest(client.sock, MUCH)
        wait.until(lambda: len(digests) == 2, "the server has sent all")
        self.assertEqual(digests, [sent.join(), received])
        self.assert_spliced()

    def test_tls_on_one_leg(self):
        def give(connection):
            send_pieces(connection.sock, MUCH)
            connection.wait_for_end()

        server = self.enterContext(FakeServer(Smtp(relay=give)))
        self.daemon = self.enterContext(Daemon(configuration(server.port, proxy={"workers": 1})))
        self.pipes_before = self.pipes()
        client = self.enterContext(Client(self.daemon.port))
        commit(client)
        receive_digest(client.sock, MUCH, client.buffered())
        self.assert_spliced(False)


class SlowReader(Clear):
    def test_a_reader_that_stops_gets_everything_later(self):
        client, server = self.warm_session()
        for source, sink in ((client.sock, server), (server, client.sock)):
            with self.subTest(to="server" if sink is server else "client"):
                before = self.daemon.resident_bytes()
                sending = Sending(source, STALLED)
                sending.settle()
                self.assertLess(sending.sent, STALLED)
                if not SANITIZED:
                    self.assertLess(self.daemon.resident_bytes() - before, GROWTH)
                digest = receive_digest(sink, STALLED)
                self.assertEqual(digest, sending.join())

    def test_a_small_window(self):
        client, server = self.warm_session()
        for source, sink in ((client.sock, server), (server, client.sock)):
            with self.subTest(to="server" if sink is server else "client"):
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * KIB)
                self.passes(source, sink, 2 * PIPE)  # slow: the kernel probes a full window


class Ends(Clear):
    def test_the_end_comes_after_a_burst_and_the_other_direction_goes_on(self):
        for first in ("client", "server"):
            with self.subTest(first):
                client, server = self.warm_session()
                ends = [client.sock, server] if first == "client" else [server, client.sock]
                for source, sink in (ends, ends[::-1]):
                    with frozen_workers(self.daemon.process.pid):
                        sending = Sending(source, PIPE // 2)
                        sending.settle()
                        self.assertIsNotNone(sending.join())
                        source.shutdown(socket.SHUT_WR)
                    self.assertEqual(receive_digest(sink, PIPE // 2), sending.join())
                    self.assertEqual(sink.recv(1), b"")
                self.ended()

    def cut_after(self, data):
        """Returns what the client gets if data and a reset of the server come at once."""
        client, server = self.warm_session()
        with frozen_workers(self.daemon.process.pid):
            server.sendall(data)
            wait.until(lambda: unacknowledged(server) == 0, "the bytes are on the other side")
            reset(server)
        return client.rest()

    def test_a_cut_after_a_line(self):
        data = b"250 a whole line\r\n" * 40_000
        self.assertEqual(self.cut_after(data), (data, FIN))
        self.assertRegex(self.ended()["note"], "the server's connection was cut")

    def test_a_cut_inside_a_line(self):
        data = b"250 a whole line\r\n" * 40_000 + b"250 half a li"
        received, end = self.cut_after(data)
        self.assertTrue(data.startswith(received))
        self.assertEqual(end, RESET)
        self.ended("truncated")

    def test_a_reader_that_leaves_in_a_burst(self):
        client, server = self.warm_session()
        with frozen_workers(self.daemon.process.pid):
            sending = Sending(server, PIPE // 2)
            sending.settle()
            self.assertIsNotNone(sending.join())
            client.reset()
            server.shutdown(socket.SHUT_WR)  # later the daemon may have cut the connection
        self.daemon.session()
        second, server = self.connect()
        self.passes(server, second.sock, WARM_UP)
        self.assert_spliced()

    def test_the_last_reply_is_seen(self):
        client, server = self.warm_session()
        data = b"\r\n" + b"250 2.1.5 ok\r\n" * 50_000 + b"550 5.7.1 no\r\n"
        with frozen_workers(self.daemon.process.pid):
            server.sendall(data)
            settle(server)
        self.assertEqual(client.exactly(len(data)), data)
        server.shutdown(socket.SHUT_WR)
        client.finish()
        self.assertEqual(self.daemon.session()["last_reply"], "550")


class FewDescriptors(Clear):
    def test_many_sessions_at_once(self):
        """Each sends and receives; the limit leaves room for the sessions, and for few others."""
        self.start(max_files=2 * SESSIONS + 250)
        digests = {}

        def one(client, server, size):
            up, down = Sending(client.sock, size), Sending(server, size)
            received = receive_digest(server, size), receive_digest(client.sock, size)
            digests[client] = received == (up.join(), down.join())

        threads = []
        for number in range(SESSIONS):
            client, server = self.connect()
            size = PIPE // 4 + 999 * number
            threads.append(threading.Thread(target=one, args=(client, server, size)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * wait.DEADLINE)
        self.assertEqual(list(digests.values()), [True] * SESSIONS)

    @unsanitized("this sanitizer needs descriptors of its own for its checks")
    def test_none_is_left_for_a_pipe(self):
        self.start()
        client, server = self.connect()
        # A limit at the lowest free number: nothing more can be opened.
        taken = {int(each.partition("=")[0]) for each in self.daemon.descriptor_list()}
        free = next(number for number in range(1 << 16) if number not in taken)
        before = resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE, (free, before[1]))
        self.passes(client.sock, server, MUCH)
        self.passes(server, client.sock, MUCH)
        self.assert_spliced(False)
        resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE, before)
        self.passes(client.sock, server, MUCH)
        self.assert_spliced()


if __name__ == "__main__":
    main.main()

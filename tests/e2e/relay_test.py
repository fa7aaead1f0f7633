"""The relay: byte-exact, bounded, each direction ended on its own."""

import contextlib
import socket
import threading
import time
import unittest

from support import main, wait
from support.client import FIN, RESET
from support.daemon import Daemon, configuration
from support.environment import SANITIZED
from support.fake_server import FakeServer, Smtp
from support.relay import Digest, commit, receive_digest, send_pieces

MIB = 1 << 20
WAITING = (64 if SANITIZED else 256) * MIB
GROWTH = 16 * MIB


class Relay(unittest.TestCase):
    def relayed(self, relay):
        """Returns a daemon and a client after the prelude; `relay(connection)` runs at the server."""
        server = self.enterContext(FakeServer(Smtp(relay=relay)))
        daemon = self.enterContext(Daemon(configuration(server.port)))
        client = self.enterContext(daemon.connect())
        commit(client)
        return server, daemon, client


class HalfClose(Relay):
    def test_the_clients_end_reaches_the_server_and_the_answer_still_comes(self):
        def answer_after_the_end(connection):
            asked = b""
            while data := connection.sock.recv(65536):
                asked += data
            connection.send(b"you said " + asked)
            connection.end_tls()

        server, daemon, client = self.relayed(answer_after_the_end)
        client.send(b"last words\r\n")
        client.finish()
        self.assertEqual(client.rest(), (b"you said last words\r\n", FIN))
        self.assertIsNone(server.connection().error)
        self.assertEqual(daemon.session()["outcome"], "ok")

    def test_the_servers_end_reaches_the_client_and_the_client_may_go_on(self):
        heard = []
        ended, done = threading.Event(), threading.Event()

        def say_goodbye_and_listen(connection):
            connection.send(b"goodbye\r\n")
            connection.end_tls()
            ended.set()
            connection.sock.setblocking(True)
            # Python's ssl does not return the bytes that it reads after its own close_notify. So
            # count the bytes of ciphertext instead.
            raw = socket.socket(fileno=socket.dup(connection.sock.fileno()))
            with raw:
                while data := raw.recv(65536):
                    heard.append(len(data))
            done.set()

        _, daemon, client = self.relayed(say_goodbye_and_listen)
        self.assertEqual(client.rest(), (b"goodbye\r\n", FIN))
        # The server's end of TLS may still read, and those bytes would not be counted.
        self.assertTrue(ended.wait(wait.DEADLINE))
        client.send(b"x" * 100000)
        client.finish()
        self.assertTrue(done.wait(wait.DEADLINE))
        self.assertGreater(sum(heard), 100000)
        self.assertEqual(int(daemon.session()["bytes_to_server"]) > 100000, True)

    def test_quit_and_fin_at_once_still_get_the_reply(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon = self.enterContext(Daemon(configuration(server.port)))
        with daemon.connect() as client:
            commit(client)
            client.send(b"QUIT\r\n")
            client.finish()
            self.assertEqual(client.rest(), (b"221 2.0.0 bye\r\n", FIN))


class Truncation(Relay):
    @staticmethod
    def cut_after(data):
        def relay(connection):
            connection.send(data)
            # FIN without close_notify.
            socket.socket.shutdown(connection.sock, socket.SHUT_WR)
            connection.wait_for_end()

        return relay

    def test_inside_a_line_the_client_gets_what_was_authenticated_and_a_reset(self):
        _, daemon, client = self.relayed(self.cut_after(b"250 whole\r\n250 half a li"))
        data, end = client.rest()
        # A reset may discard bytes that the client has not read yet; no other bytes may appear.
        self.assertTrue(b"250 whole\r\n250 half a li".startswith(data), data)
        self.assertEqual(end, RESET)
        session = daemon.session()
        self.assertEqual(session["outcome"], "truncated")
        self.assertEqual(session["upstream_tls"], "TLSv1.3")

    def test_after_a_whole_line_the_connection_is_closed_normally(self):
        _, daemon, client = self.relayed(self.cut_after(b"221 bye\r\n"))
        self.assertEqual(client.rest(), (b"221 bye\r\n", FIN))
        client.close()
        session = daemon.session()
        self.assertEqual((session["outcome"], session["reason"]), ("ok", ""))
        self.assertRegex(session["note"], "the server's connection was cut")

    def test_a_servers_reset_is_passed_on_as_a_reset(self):
        def reset(connection):
            connection.send(b"250 half a li")
            connection.receive()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        _, _, client = self.relayed(reset)
        self.assertEqual(client.exactly(13), b"250 half a li")
        client.send(b"go\r\n")
        self.assertEqual(client.rest(), (b"", RESET))

    def test_a_forged_record_is_not_delivered(self):
        def forge(connection):
            connection.send(b"250 real\r\n")
            socket.socket.sendall(connection.sock, b"\x17\x03\x03\x00\x20" + b"forged!!" * 4)
            connection.wait_for_end()

        _, daemon, client = self.relayed(forge)
        data, _ = client.rest()
        self.assertTrue(b"250 real\r\n".startswith(data), data)
        session = daemon.session()
        self.assertEqual((session["outcome"], session["upstream_tls"]), ("tls", "TLSv1.3"))


class BackPressure(Relay):
    """P14. If a reader stops, the other side waits in the kernel, not in our memory."""

    def stalls(self, daemon, before, progress):
        """Waits until the sender makes no more progress; memory must not have grown."""
        seen = [0, 0.0]

        def settled():
            if progress[0] != seen[0]:
                seen[:] = [progress[0], time.monotonic()]
            return seen[0] > 0 and time.monotonic() - seen[1] > 0.5

        wait.until(settled, "the sender is stopped")
        self.assertLess(progress[0], WAITING, "nobody stopped the sender")
        if not SANITIZED:
            self.assertLess(daemon.resident_bytes() - before, GROWTH)

    def test_the_server_stops_reading(self):
        go_on = threading.Event()
        digests = []

        def stall(connection):
            go_on.wait(wait.DEADLINE)
            digests.append(receive_digest(connection.sock, WAITING))
            connection.send(b"250 all of it\r\n")

        _, daemon, client = self.relayed(stall)
        before, progress = daemon.resident_bytes(), [0]
        sent = []
        sender = threading.Thread(
            target=lambda: sent.append(send_pieces(client.sock, WAITING, progress)))
        sender.start()
        try:
            self.stalls(daemon, before, progress)
        finally:
            go_on.set()
            sender.join()
        self.assertEqual(client.line(), b"250 all of it\r\n")
        self.assertEqual(digests, sent)

    def test_the_client_stops_reading(self):
        progress = [0]
        sent = []

        def pour(connection):
            sent.append(send_pieces(connection.sock, WAITING, progress))

        _, daemon, client = self.relayed(pour)
        self.stalls(daemon, daemon.resident_bytes(), progress)
        digest = receive_digest(client.sock, WAITING, client.buffered())
        wait.until(lambda: sent, "the server has sent all")
        self.assertEqual([digest], sent)

    def test_the_server_stops_reading_before_it_has_answered(self):
        """The bytes that wait for the server by then still hold the client back when the relay begins."""
        answer, read = threading.Event(), threading.Event()
        said = b"EHLO legacy.test\r\nMAIL FROM:<a@legacy.test>\r\n"
        digests = []

        class Late(Smtp):
            def secured(self, connection):
                connection.line()
                answer.wait(wait.DEADLINE)
                connection.send(self.capabilities)
                read.wait(wait.DEADLINE)
                connection.line()
                digest, size = Digest(), WAITING
                while size:
                    data = connection.receive()
                    digest.update(data)
                    size -= len(data)
                digests.append(digest.value)
                connection.send(b"250 all of it\r\n")

        server = self.enterContext(FakeServer(Late()))
        daemon = self.enterContext(Daemon(configuration(server.port)))
        client = self.enterContext(daemon.connect())
        client.reply()
        client.send(said)
        before, progress, sent = daemon.resident_bytes(), [0], []
        sender = threading.Thread(
            target=lambda: sent.append(send_pieces(client.sock, WAITING, progress)))
        sender.start()
        try:
            self.stalls(daemon, before, progress)
            answer.set()
            self.assertTrue(client.reply().startswith(b"250"))
            self.stalls(daemon, before, progress)
        finally:
            answer.set()
            read.set()
            sender.join()
        self.assertEqual(client.line(), b"250 all of it\r\n")
        self.assertEqual(digests, sent)

    def test_a_client_that_pauses_gets_everything_after_both_have_ended(self):
        """The client gets all bytes, however many still wait here when both ends are known. It may
        pause for longer than a peer may take for its FIN."""
        sizes = {}
        over = threading.Event()

        def pour(connection):
            send_pieces(connection.sock, int(connection.line()))
            connection.end_tls()
            over.wait(wait.DEADLINE)

        server = self.enterContext(FakeServer(Smtp(relay=pour)))
        daemon = self.enterContext(Daemon(configuration(server.port)))
        self.addCleanup(over.set)
        for size in range(1 << 20, 6 << 20, 64 << 10):
            client = self.enterContext(daemon.connect())
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            commit(client)
            client.send(b"%d\r\n" % size)
            client.finish()
            sizes[client] = size
        time.sleep(3)
        for client, size in sizes.items():
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            data, end = client.rest()
            self.assertEqual((len(data), end), (size, FIN))
        self.assertEqual({line["outcome"] for line in daemon.sessions(len(sizes))}, {"ok"})

    def test_a_slow_client_gets_everything_from_a_server_that_was_cut(self):
        """The server has ended long before, and the client still reads a little now and then."""
        size = 3 << 20
        sent = []

        def pour(connection):
            sent.append(send_pieces(connection.sock, size))

        _, daemon, client = self.relayed(pour)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        received = bytearray(client.buffered())
        while len(received) < size:
            data = client.sock.recv(size - len(received))
            self.assertTrue(data, "the end came early")
            received += data
            time.sleep(0.08)
        wait.until(lambda: sent, "the server has sent all")
        self.assertEqual([Digest(received).value], sent)
        self.assertEqual(daemon.session()["outcome"], "truncated")

    def test_a_stalled_session_does_not_disturb_another(self):
        def pour(connection):
            with contextlib.suppress(OSError):  # its client leaves in the middle
                send_pieces(connection.sock, WAITING)

        server = self.enterContext(FakeServer(Smtp()))
        stalled = self.enterContext(FakeServer(Smtp(relay=pour)))
        text = configuration(server.port, proxy={"workers": 1})
        second = configuration(stalled.port).partition("[[service]]")[2]
        text += "\n[[service]]" + second.replace('"office"', '"stalled"')
        with Daemon(text, listeners=2) as daemon:
            ports = {line["service"]: int(line["address"].rpartition(":")[2])
                     for line in daemon.lines(lambda f: f.get("msg") == "listening", 2)}
            daemon.port = ports["stalled"]
            with daemon.connect() as lazy:
                commit(lazy)
                daemon.port = ports["office"]
                with daemon.connect() as client:
                    commit(client)
                    self.assertTrue(client.command(b"QUIT").startswith(b"221 "))
                lazy.reset()


if __name__ == "__main__":
    main.main()

"""Much data, and many sessions: nothing is lost, and no descriptor or memory is kept."""

import os
import threading
import time
import unittest

from support import main, wait
from support.daemon import Daemon, configuration
from support.fake_server import FakeServer, Smtp
from support.relay import Digest, commit, receive_digest, send_pieces

MIB = 1 << 20
SIZE = int(os.environ.get("STARTTLS_BULK_MIB", "1024")) * MIB
SESSIONS = int(os.environ.get("STARTTLS_SESSIONS", "10000"))
CLIENTS = 4


class Bulk(unittest.TestCase):
    """M10. Much data each way and both ways at once: the same bytes arrive."""

    def report(self, what, daemon, start, cpu):
        seconds = time.monotonic() - start
        print(f"{what}: {seconds:.1f} s, {daemon.cpu_seconds() - cpu:.2f} CPU-s of the daemon")

    def test_much_from_client_to_server(self):
        digests = []

        def take(connection):
            digests.append(receive_digest(connection.sock, SIZE))
            connection.send(b"250 all of it\r\n")

        with FakeServer(Smtp(relay=take)) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                commit(client)
                start, cpu = time.monotonic(), daemon.cpu_seconds()
                digests.append(send_pieces(client.sock, SIZE))
                self.assertEqual(client.line(), b"250 all of it\r\n")
                self.report(f"{SIZE // MIB} MiB to the server", daemon, start, cpu)
        self.assertEqual(digests[0], digests[1])

    def test_much_from_server_to_client(self):
        digests = []

        def give(connection):
            digests.append(send_pieces(connection.sock, SIZE))
            connection.wait_for_end()

        with FakeServer(Smtp(relay=give)) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                commit(client)
                start, cpu = time.monotonic(), daemon.cpu_seconds()
                digests.append(receive_digest(client.sock, SIZE, client.buffered()))
                self.report(f"{SIZE // MIB} MiB to the client", daemon, start, cpu)
        self.assertEqual(digests[0], digests[1])

    def test_both_ways_at_once(self):
        size = SIZE // 8
        digests = {}

        def both(connection):
            # One TLS object is not for two threads, so they take turns, a MiB each.
            taken, given = Digest(), Digest()
            block = os.urandom(MIB)
            for _ in range(size // MIB):
                wanted = MIB
                while wanted:
                    data = connection.sock.recv(min(wanted, 1 << 18))
                    taken.update(data)
                    wanted -= len(data)
                connection.send(block)
                given.update(block)
            digests["taken"], digests["given"] = taken.value, given.value

        with FakeServer(Smtp(relay=both)) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                commit(client)
                sender = threading.Thread(
                    target=lambda: digests.update(sent=send_pieces(client.sock, size)))
                sender.start()
                received = receive_digest(client.sock, size, client.buffered())
                sender.join()
            server.heard()
        self.assertEqual((digests["taken"], received), (digests["sent"], digests["given"]))


class ManySessions(unittest.TestCase):
    def test_sessions_release_descriptors_and_memory(self):
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            def one(number):
                with daemon.connect() as client:
                    if number % 8 == 0:
                        return  # gone before the greeting
                    if number % 8 == 1:
                        client.send(b"EHLO legacy.test\r\nMAIL")
                        client.reset()
                        return
                    client.send(b"QUIT\r\n")
                    replies, _ = client.rest()
                    if not (replies.startswith(b"220 ") and b"\r\n221 " in replies):
                        raise AssertionError(f"session {number}: {replies!r}")

            def many(count):
                numbers, errors = iter(range(count)), []
                lock = threading.Lock()

                def work():
                    while not errors:
                        with lock:
                            number = next(numbers, None)
                        if number is None:
                            return
                        try:
                            one(number)
                        except (AssertionError, OSError) as error:
                            errors.append(error)

                threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                if errors:
                    raise errors[0]

            descriptors = daemon.descriptors()
            warm = max(SESSIONS // 10, 1)
            many(warm)
            daemon.sessions(warm)
            before = daemon.resident_bytes()
            start, cpu = time.monotonic(), daemon.cpu_seconds()
            many(SESSIONS - warm)
            daemon.sessions(SESSIONS, deadline=60)
            wait.until(lambda: daemon.descriptors() <= descriptors,
                       lambda: f"{descriptors} descriptors, not {daemon.descriptors()}")
            growth = daemon.resident_bytes() - before
            print(f"{SESSIONS - warm} sessions: {time.monotonic() - start:.1f} s, "
                  f"{daemon.cpu_seconds() - cpu:.1f} CPU-s of the daemon, "
                  f"{growth / 1024:.0f} KiB grown")
            self.assertLess(growth, 4 * MIB)


if __name__ == "__main__":
    main.main()

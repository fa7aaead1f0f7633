"""Limits: sessions, sessions of one client, descriptors, time; and clients that leave or never speak."""

import os
import pathlib
import resource
import select
import signal
import socket
import ssl
import time
import unittest

from backend_test import Backend
from support import hello, main, wait
from support.client import FIN, Client
from support.daemon import Daemon, configuration, run_to_end
from support.environment import SANITIZED, pki, unsanitized
from support.fake_server import FakeServer, Smtp, taker

MAILBOX = b"MAIL FROM:<a@b.test>"
# libuv opens one for each worker, with that worker's first connection.
SPARE = 2
# By hand: STARTTLS_SESSIONS=100000.
SESSIONS = int(os.environ.get("STARTTLS_SESSIONS") or (500 if SANITIZED else 3000))


def with_certificate(text):
    chain, key = pki().pair()
    return text + f'\ndownstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n'


def greeted(client):
    """Reads the greeting, and returns the client."""
    line = client.line()
    if not line.startswith(b"220 "):
        raise AssertionError(line)
    return client


def refusal(client):
    """Returns the words to a client that is refused; one that is served after all sends QUIT."""
    first = client.line()
    if first.startswith(b"220 "):
        client.send(b"QUIT\r\n")
    heard, end = client.rest()
    client.close()
    return first + heard, end


def anonymous_bytes(daemon):
    """Returns the memory that the daemon itself has written to. Unlike its proportional share (PSS), this
    does not grow when another process ends that has the same program mapped."""
    text = pathlib.Path(f"/proc/{daemon.process.pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines()
                if line.startswith("Anonymous:"))


class Sessions(unittest.TestCase):
    """Limits of the number of sessions."""

    def setUp(self):
        self.server = self.enterContext(FakeServer(Smtp()))

    def daemon(self, **tables):
        return self.enterContext(Daemon(configuration(self.server.port, **tables)))

    def client(self, daemon, source=None):
        client = Client(daemon.port, source=source)
        self.addCleanup(client.close)
        return client

    def soon_served(self, daemon, deadline=wait.DEADLINE):
        """Waits until a client is served: the sessions that have ended must be forgotten first."""
        def served():
            client = self.client(daemon)
            line = client.line()
            if line.startswith(b"220 "):
                return True
            self.assertIn(b"too many sessions", line)
            client.close()  # otherwise it would keep its place until the daemon gives it up
            return False

        wait.until(served, "a client is served", deadline)

    def test_one_client_has_a_limit_of_sessions(self):
        daemon = self.daemon(downstream={"max_per_client": 4}, proxy={"workers": 4})
        clients = [greeted(self.client(daemon)) for _ in range(4)]
        self.assertEqual(
            refusal(self.client(daemon)),
            (b"421 4.3.2 proxy.test too many sessions from your address\r\n", FIN))
        failed = daemon.lines(lambda fields: fields.get("msg") == "session failed")[0]
        self.assertEqual((failed["error"], failed["evidence"]),
                         ("limit", "downstream.max_per_client = 4"))
        greeted(self.client(daemon, "127.0.0.7"))
        clients.pop().close()
        self.soon_served(daemon)

    def test_conveyed_clients_are_counted_not_their_balancer(self):
        daemon = self.daemon(downstream={"max_per_client": 1, "proxy_protocol": "127.0.0.1"})
        held = []
        for host in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"):
            family = "TCP6" if ":" in host else "TCP4"
            to = "::1" if ":" in host else "127.0.0.1"
            header = f"PROXY {family} {host} {to} 1025 25\r\n".encode()
            held.append(self.client(daemon))
            held[-1].send(header)
            greeted(held[-1])
            another = self.client(daemon)
            another.send(header.replace(b" 1025 ", b" 1026 "))
            heard, _ = refusal(another)
            self.assertIn(b"too many sessions from your address", heard)

    def test_a_new_limit_is_for_new_sessions(self):
        daemon = self.daemon(downstream={"max_per_client": 1})
        first = greeted(self.client(daemon))
        self.assertIn(b"your address", refusal(self.client(daemon))[0])
        path = daemon.configuration_file
        text = path.read_text()
        for number, (limit, outcome) in enumerate(((2, "served"), (1, "refused")), 1):
            path.write_text(text.replace("max_per_client = 1", f"max_per_client = {limit}"))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.lines(lambda fields: fields.get("msg") == "reloaded", number)

            # Each worker gets the new limits in its own time.
            def settled():
                client = self.client(daemon)
                served = client.line().startswith(b"220 ")
                if served == (outcome == "served"):
                    return client, served
                client.close()
                return None

            second, _ = wait.until(settled, f"the limit is {limit}")
        self.assertTrue(first.command(b"EHLO a.test").startswith(b"250-"))
        self.assertIsNotNone(second)

    def test_a_first_limit_counts_running_sessions(self):
        daemon = self.daemon()
        clients = [greeted(self.client(daemon)) for _ in range(2)]
        with open(daemon.configuration_file, "a", encoding="utf-8") as file:
            file.write("\ndownstream.max_per_client = 2\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.lines(lambda fields: fields.get("msg") == "reloaded")
        # Each worker gets the new limit in its own time.
        wait.until(lambda: b"your address" in refusal(self.client(daemon))[0], "the limit holds")
        self.assertTrue(clients.pop().command(b"EHLO a.test").startswith(b"250-"))

    def test_a_refused_client_takes_no_place(self):
        """A refused client that is slow to leave cannot keep out one that is allowed."""
        daemon = self.daemon(proxy={"max_sessions": 3}, downstream={"allow": ["127.0.0.1"]})
        before = daemon.descriptors()
        strangers = [self.client(daemon, "127.0.0.9") for _ in range(200)]
        for stranger in strangers:
            self.assertEqual((stranger.line()[:10], stranger.rest()), (b"421 4.3.2 ", (b"", FIN)))
        # The daemon may still be about to close some. For the end of a refused client it waits 2 s, so
        # less than that is waited here.
        wait.until(lambda: daemon.descriptors() - before < 80, "of few the end is waited for", 1)
        for _ in range(3):
            self.soon_served(daemon, 1)
        self.assertIn(b"too many sessions\r\n", refusal(self.client(daemon))[0])

    def test_all_clients_together_have_a_limit_of_sessions(self):
        daemon = self.daemon(proxy={"max_sessions": 3, "workers": 2})
        clients = [greeted(self.client(daemon)) for _ in range(3)]
        self.assertEqual(refusal(self.client(daemon, "127.0.0.7")),
                         (b"421 4.3.2 proxy.test too many sessions\r\n", FIN))
        failed = daemon.lines(lambda fields: fields.get("msg") == "session failed")[0]
        self.assertEqual((failed["error"], failed["evidence"]), ("limit", "max_sessions = 3"))
        clients.pop().close()
        self.soon_served(daemon)

    def test_nothing_is_sent_in_the_clear_if_tls_is_due(self):
        text = configuration(self.server.port, proxy={"max_sessions": 1},
                             downstream={"tls": "implicit"})
        daemon = self.enterContext(Daemon(with_certificate(text)))
        first = self.client(daemon)
        daemon.lines(lambda fields: fields.get("to") == "downstream_handshake")
        self.assertEqual(refusal(self.client(daemon)), (b"", FIN))
        first.start_tls(ssl.create_default_context(cafile=pki().ca), "mail.test")
        greeted(first)


@unittest.skipIf(os.geteuid() != 0, "another process's limits are root's to set")
class Descriptors(unittest.TestCase):
    """P18: when no descriptor is left, new clients get an error, and no thread spins."""

    def exhaust(self, daemon):
        """Limits the process to the descriptors that it has, or fewer."""
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        taken = {int(name) for name in os.listdir(f"/proc/{daemon.process.pid}/fd")}
        lowest = next(number for number in range(len(taken) + 1) if number not in taken)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (lowest, limits[1]))
        return limits

    def test_one_client_gets_a_reason_and_others_wait_without_spinning(self):
        for workers in (1, 4):
            with self.subTest(workers=workers):
                self.without_descriptors(workers)

    def without_descriptors(self, workers):
        server = self.enterContext(FakeServer(Smtp()))
        daemon = self.enterContext(Daemon(configuration(server.port, proxy={"workers": workers})))
        with daemon.connect() as running:
            greeted(running)
            limits = self.exhaust(daemon)
            before = daemon.cpu_seconds()
            for _ in range(3):
                with daemon.connect() as client:
                    heard = client.line()
                    if workers == 1:
                        self.assertEqual(heard[:6], b"421 4.")
                        self.assertEqual(client.rest(), (b"", FIN))
                    else:  # a client may get descriptors that others have just closed, for one leg or both
                        self.assertIn(heard[:4], (b"421 ", b"220 "))
            if workers == 1:
                failed = daemon.lines(lambda fields: fields.get("msg") == "session failed", 3)
                self.assertEqual({fields["evidence"] for fields in failed},
                                 {"no descriptor is left for this process"})

            # These keep the descriptors that they got; the clients after them wait in the kernel.
            lasting = [daemon.connect() for _ in range(12)]
            self.assertTrue(running.command(b"EHLO a.test").startswith(b"250-"))
            time.sleep(0.5)
            self.assertTrue(running.command(MAILBOX).startswith(b"250 "))
            spent = daemon.cpu_seconds() - before
            print(f"CPU time without descriptors: {spent:.2f} s")
            if not SANITIZED:
                self.assertLess(spent, 0.3)

            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
            heard = {client.line()[:4] for client in lasting}
            self.assertIn(b"220 ", heard, "who waited is served")
            self.assertLessEqual(heard, {b"220 ", b"421 "})
            for client in lasting:
                client.close()
            with daemon.connect() as client:
                greeted(client)

    def test_no_descriptor_for_the_server(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon = self.enterContext(Daemon(configuration(server.port, proxy={"workers": 1})))
        limits = self.exhaust(daemon)
        soft = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)[0]
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (soft + 1, limits[1]))
        with daemon.connect() as client:
            heard, end = client.rest()
        self.assertEqual((heard[:10], end), (b"421 4.4.1 ", FIN))
        failed = daemon.lines(lambda fields: fields.get("msg") == "session failed")[0]
        self.assertIn("too many open files", failed["reason"] + failed["evidence"])
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
        with daemon.connect() as client:
            greeted(client)


def slowly(data):
    """Returns a server that sends this byte by byte, for as long as its peer reads."""
    def script(connection):
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data * 100:
            connection.send(bytes([byte]))
            time.sleep(0.02)
    return script


def after(prelude, data):
    """Returns the same server, which first sends these replies and reads a line after each."""
    def script(connection):
        for reply in prelude:
            connection.send(reply)
            connection.line()
        slowly(data)(connection)
    return script


class TooFewDescriptors(unittest.TestCase):
    """A process that may open too few descriptors reports it and ends with status 71."""

    WORDS = (r"starttls-proxy: cannot create an event loop: too many open files "
             r"\(number {} of {}; the limit is {} open descriptors\)\n")

    def assert_refused(self, limit, number, count, *arguments):
        result = run_to_end(*arguments, wrapper=["prlimit", f"--nofile={limit}:{limit}"])
        self.assertEqual(result.returncode, 71, result.stderr)
        self.assertRegex(result.stderr, self.WORDS.format(number, count, limit))

    def daemon(self, workers):
        return ["--protocol", "smtp", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9",
                "--upstream-tls", "none", "--workers", workers]

    @unsanitized("a sanitizer opens descriptors of its own")
    def test_r9_two_workers(self):
        for limit in range(6, 22):
            with self.subTest(limit=limit):
                self.assert_refused(limit, "[123]", 3, *self.daemon(2))

    def test_r9_many_workers(self):
        self.assert_refused(256, r"\d\d", 65, *self.daemon(64))

    def test_r9_a_soft_limit_is_raised(self):
        with Daemon(arguments=self.daemon(8), wrapper=["prlimit", "--nofile=30:256"]):
            pass

    def test_r9_probe(self):
        self.assert_refused(6, 1, 1, "probe", "--protocol", "smtp", "--upstream", "127.0.0.1:9",
                            "--upstream-tls", "none")


class Slow(unittest.TestCase):
    """P13: deadlines are absolute. One byte now and then extends none, on neither leg."""

    LIMIT = 1.0  # the timeout under test
    ALL = 15.0  # generous, for a busy machine; the bytes that drip in here take longer in total

    def measured(self, port, say, *heard):
        """Asserts that the client hears one of these words at last, b"" = none at all, and hears them in
        time."""
        begun = time.monotonic()
        with Client(port) as client:
            say(client)
            data, end = client.rest()
        last = next((words for words in heard if words and data.endswith(words)), data)
        self.assertIn(last, heard)
        self.assertEqual(end, FIN)
        took = time.monotonic() - begun
        self.assertGreater(took, 0.9 * self.LIMIT)
        self.assertLess(took, self.ALL)

    def test_slow_clients(self):
        data = b"".join(hello.records(hello.message()))

        def slow_command(client):
            greeted(client)
            client.dribble(b"EHLO " + 500 * b"a", 0.1)

        def slow_handshake(client):
            greeted(client)
            self.assertTrue(client.command(b"STARTTLS").startswith(b"220 "))
            client.dribble(data, 0.3)

        # Only the limit under test is short. The one of handshakes is for both legs, so the server has no
        # TLS where it is short.
        for tls, limit, say, heard in (
                ("none", "command", slow_command,
                 b"421 4.4.1 proxy.test the client sent no command in time\r\n"),
                ("starttls", "command", slow_command,
                 b"421 4.4.1 proxy.test the client did not begin TLS in time\r\n"),
                ("starttls", "handshake", slow_handshake, b""),
                ("implicit", "handshake", lambda client: client.dribble(data, 0.3), b"")):
            timeouts = {"handshake": "20s", "prelude": "20s", "command": "20s", limit: "1s"}
            clear = limit == "handshake"
            with self.subTest(tls=tls, limit=limit), FakeServer(taker if clear else Smtp()) as server:
                text = configuration(server.port, timeouts=timeouts, downstream={"tls": tls},
                                     upstream={"tls": "none"} if clear else None)
                with Daemon(text if tls == "none" else with_certificate(text)) as daemon:
                    self.measured(daemon.port, say, heard)

    def test_slow_servers(self):
        clear = (b"220 mail.test here\r\n", b"250-mail.test\r\n250 STARTTLS\r\n")
        go_ahead = b"220 go\r\n"
        failed = b"421 4.4.1 proxy.test mail server mail.test: "
        # On a busy machine the time may be over before the connection is up.
        late = (failed + b"the server did not answer in time\r\n",
                failed + b"timed out while connecting to the server\r\n")
        record = b"\x16\x03\x03\x3f\xff\x02\0\x3f\xfb" + 16000 * b"\0"
        cases = {
            "greeting": (slowly(b"220-mail.test is so slow\r\n"), "20s", "1s", late),
            "capabilities": (after(clear[:1], b"250-mail.test\r\n"), "20s", "1s", late),
            "go-ahead": (after(clear, b"220 2.0.0 Ready to start, some day, "), "20s", "1s", late),
            "handshake": (lambda connection: (after(clear, b"")(connection),
                                              connection.send(go_ahead), connection.receive(),
                                              slowly(record)(connection)), "1s", "20s",
                          (failed + b"the TLS handshake with the server timed out\r\n",)),
        }
        for what, (script, handshake, prelude, heard) in cases.items():
            with self.subTest(what), FakeServer(script) as server:
                text = configuration(server.port,
                                     timeouts={"handshake": handshake, "prelude": prelude})
                with Daemon(text) as daemon:
                    self.measured(daemon.port, lambda client: None, *heard)


class Crowd(unittest.TestCase):
    """P18, P19: ten thousand clients that connect and send nothing, or leave at once."""

    SOON = 20  # seconds on a busy machine; to wait for the others would take a minute

    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        # The daemon counts two descriptors per session.
        self.size = min(1000 if SANITIZED else 10_000, hard // 2 - 300)
        self.backend = self.enterContext(Backend("smtp", "none"))
        self.context = ssl.create_default_context(cafile=pki().ca)

    def daemon(self, handshake):
        text = configuration(self.backend.port, upstream={"tls": "none"}, log={"level": "info"},
                             downstream={"tls": "implicit"},
                             timeouts={"handshake": handshake})
        return self.enterContext(Daemon(with_certificate(text)))

    def serve_one(self, daemon):
        """Runs a usual session and returns how long it took."""
        begun = time.monotonic()
        with daemon.connect() as client:
            client.start_tls(self.context, "mail.test")
            greeted(client)
            client.command(b"QUIT")
            client.rest()
        return time.monotonic() - begun

    def connect_all(self, port, count):
        """Connects without blocking, with as many at a time as the kernel lets wait."""
        socks, poll, pending = [], select.epoll(), 0
        self.addCleanup(poll.close)
        try:
            while len(socks) < count or pending:
                while len(socks) < count and pending < 500:
                    sock = socket.socket()
                    sock.setblocking(False)
                    sock.connect_ex(("127.0.0.1", port))
                    poll.register(sock, select.EPOLLOUT | select.EPOLLONESHOT)
                    socks.append(sock)
                    pending += 1
                for _, event in poll.poll(wait.DEADLINE):
                    if event & select.EPOLLERR:
                        raise AssertionError("a client could not connect")
                    pending -= 1
        except BaseException:
            for sock in socks:
                sock.close()
            raise
        return socks

    def leave(self, socks):
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()

    def test_silent_clients(self):
        daemon = self.daemon("1m")
        self.serve_one(daemon)
        daemon.sessions()
        idle, memory = daemon.descriptors(), daemon.resident_bytes()
        socks = self.connect_all(daemon.port, self.size)
        try:
            wait.until(lambda: daemon.descriptors() >= idle + self.size - 10, "all are accepted")
            a_client = (daemon.resident_bytes() - memory) / self.size
            took = self.serve_one(daemon)
        finally:
            self.leave(socks)
        print(f"{self.size} silent clients: {a_client:.0f} bytes each, another served in "
              f"{took * 1000:.0f} ms")
        self.assertLess(took, self.SOON)
        if not SANITIZED:
            self.assertLess(a_client, 16384)
        wait.until(lambda: daemon.descriptors() <= idle + SPARE, "all are forgotten")
        self.serve_one(daemon)

    def test_silent_clients_are_disconnected(self):
        daemon = self.daemon("10s")
        self.serve_one(daemon)
        daemon.sessions()
        idle = daemon.descriptors()
        socks = self.connect_all(daemon.port, self.size // 10)
        try:
            for sock in socks:
                sock.setblocking(True)
                sock.settimeout(wait.DEADLINE)
                self.assertEqual(sock.recv(1), b"")
        finally:
            self.leave(socks)
        outcomes = [line["outcome"] for line in daemon.sessions(1 + len(socks))]
        self.assertEqual(outcomes, ["ok"] + ["timeout"] * len(socks))
        wait.until(lambda: daemon.descriptors() <= idle + SPARE, "all are forgotten")

    def test_clients_that_leave_at_once(self):
        daemon = self.daemon("1m")
        self.serve_one(daemon)
        daemon.sessions()
        idle = daemon.descriptors()
        self.leave(self.connect_all(daemon.port, 500))
        memory, done, worst = daemon.resident_bytes(), 0, 0.0
        while done < self.size:
            self.leave(self.connect_all(daemon.port, 500))
            done += 500
            worst = max(worst, self.serve_one(daemon))
        wait.until(lambda: daemon.descriptors() <= idle + SPARE, "all are forgotten")
        grown = daemon.resident_bytes() - memory
        print(f"{done} clients came and left: {grown >> 10} KiB more, others served within "
              f"{worst * 1000:.0f} ms")
        self.assertLess(worst, self.SOON)
        if not SANITIZED:
            self.assertLess(grown, 4 << 20)


class Leaving(unittest.TestCase):
    """P16: a client may leave at any point, by FIN or by RST."""

    def paths(self):
        """Returns the points at which a client leaves: (downstream mode, the steps before it leaves)."""
        data = b"".join(hello.records(hello.message()))
        context = ssl.create_default_context(cafile=pki().ca)
        header = b"PROXY TCP4 192.0.2.7 198.51.100.1 40001 25\r\n"

        def secured(client):
            client.send(header)
            greeted(client)
            client.command(b"STARTTLS")
            client.start_tls(context, "mail.test")

        def steps(*lines):
            def do(client):
                client.send(header)
                greeted(client)
                for line in lines:
                    client.command(line)
            return do

        mail = (b"EHLO a.test", MAILBOX, b"RCPT TO:<b@mail.test>", b"DATA")
        return [
            ("none", lambda client: None),
            ("none", lambda client: client.send(header[:9])),
            ("none", lambda client: client.send(header)),
            ("none", lambda client: client.send(header + b"EHLO early.test\r\n")),
            ("none", steps()),
            ("none", lambda client: (steps()(client), client.send(b"EHLO a"))),
            *(("none", steps(*mail[:count])) for count in range(1, 5)),
            ("none", lambda client: (steps(*mail)(client), client.send(b"Subject: half a li"))),
            ("implicit", lambda client: client.send(header)),
            ("implicit", lambda client: client.send(header + data[:40])),
            ("implicit", lambda client: (client.send(header + data), client.exactly(1))),
            ("starttls", steps(b"EHLO a.test")),
            ("starttls", steps(b"STARTTLS")),
            ("starttls", lambda client: (steps(b"STARTTLS")(client), client.send(data[:40]))),
            ("starttls", lambda client: (steps(b"STARTTLS")(client), client.send(data),
                                         client.exactly(1))),
            ("starttls", secured),
            ("starttls", lambda client: (secured(client), client.command(b"EHLO a.test"))),
        ]

    def leave(self, daemons, silent):
        count = {}
        for mode, act in self.paths():
            # Silent servers are only for clients that do not wait for them; so "half" is only here.
            for end in ("fin", "rst", "half"):
                client = Client(daemons[mode].port)
                act(client)
                if end == "half":
                    client.finish()
                if end == "rst":
                    client.reset()
                else:
                    client.close()
                count[mode] = count.get(mode, 0) + 1
        for what, act in silent.items():
            for end in ("close", "reset"):
                client = Client(daemons[what].port)
                act(client)
                getattr(client, end)()
                count[what] = count.get(what, 0) + 1
        return count

    def test_clients_may_leave_in_every_state(self):
        header = b"PROXY TCP4 192.0.2.7 198.51.100.1 40001 25\r\n"
        mute = {
            "greeting": Smtp(greeting=None), "capabilities": Smtp(clear_capabilities=None),
            "go-ahead": Smtp(go_ahead=None),
            "handshake": lambda connection: (connection.send(b"220 a\r\n"), connection.line(),
                                             connection.send(b"250 STARTTLS\r\n"),
                                             connection.line(), connection.send(b"220 go\r\n"),
                                             connection.wait_for_end()),
        }
        server = self.enterContext(FakeServer(Smtp()))
        daemons = {}
        for mode in ("none", "implicit", "starttls"):
            text = configuration(server.port, downstream={"tls": mode,
                                                          "proxy_protocol": "127.0.0.1"})
            daemons[mode] = self.enterContext(
                Daemon(with_certificate(text) if mode != "none" else text))
        silent = {}
        for what, script in mute.items():
            quiet = self.enterContext(FakeServer(script))
            daemons[what] = self.enterContext(Daemon(configuration(
                quiet.port, downstream={"proxy_protocol": "127.0.0.1"})))

            def until_there(client, quiet=quiet):
                seen = len(quiet.connections)
                client.send(header)
                wait.until(lambda: len(quiet.connections) > seen, "the server is reached")

            silent[what] = until_there
        before = {}
        for round_ in range(2):
            count = self.leave(daemons, silent)
            for name, daemon in daemons.items():
                daemon.sessions(count[name] * (round_ + 1))

                def settled(daemon=daemon, name=name):
                    return daemon.descriptors() <= before.get(name, 1 << 20) + SPARE

                wait.until(settled, lambda name=name, daemon=daemon:
                           f"{name}: {daemon.descriptor_list()}")
                before[name] = daemon.descriptors()


class ManySessions(unittest.TestCase):
    """P18: one session after another, and they leave no memory or descriptor in use."""

    def test_memory_and_descriptors_stay(self):
        backend = self.enterContext(Backend("smtp", "starttls"))
        daemon = self.enterContext(Daemon(configuration(backend.port, log={"level": "info"})))

        def sessions(count):
            for _ in range(count):
                with daemon.connect() as client:
                    client.send(b"QUIT\r\n")
                    heard, end = client.rest()
                    if heard[:4] != b"220 " or end != FIN:
                        raise AssertionError(heard)

        sessions(max(SESSIONS // 10, 300))
        descriptors, memory = daemon.descriptors(), anonymous_bytes(daemon)
        begun = time.monotonic()
        sessions(SESSIONS)
        took = time.monotonic() - begun
        wait.until(lambda: daemon.descriptors() <= descriptors + SPARE, daemon.descriptor_list)
        grown = anonymous_bytes(daemon) - memory
        print(f"{SESSIONS} sessions in {took:.0f} s: {memory >> 10} KiB, {grown >> 10} KiB more")
        if not SANITIZED:
            self.assertLess(grown, 1 << 20)


if __name__ == "__main__":
    main.main()

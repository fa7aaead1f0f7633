"""Wrong configurations, wrong clients, peers that leave: a clear error, no crash, no harm to others."""

import pathlib
import socket
import tempfile
import threading
import unittest

from support import main, wait
from support.client import FIN, RESET
from support.daemon import Daemon, configuration, run_to_end
from support.environment import pki
from support.fake_server import FakeServer, Smtp
from support.relay import commit

CONFIG_ERROR = 78


class Configuration(unittest.TestCase):
    def refused(self, text, *more):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "proxy.toml"
            path.write_bytes(text)
            result = run_to_end("--config", path, *more)
            self.assertEqual(result.returncode, CONFIG_ERROR, result.stderr)
            self.assertNotIn("listening", result.stderr)
            return result.stderr.replace(str(path), "FILE")

    def test_an_empty_file(self):
        self.assertRegex(self.refused(b""), r"FILE.*service")

    def test_a_malformed_file_is_named_with_line_and_column(self):
        self.assertRegex(self.refused(b"[proxy]\nworkers = = 1\n"), r"FILE:2:\d+: ")

    def test_bytes_that_are_not_text(self):
        self.assertRegex(self.refused(b"\xff\xfe\0[proxy]"), r"FILE:1:\d+: ")

    def test_a_missing_file(self):
        result = run_to_end("--config", "/nonexistent/proxy.toml")
        self.assertEqual(result.returncode, CONFIG_ERROR)
        self.assertIn("/nonexistent/proxy.toml", result.stderr)

    def test_a_folder_instead_of_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            result = run_to_end("--config", folder)
        self.assertEqual(result.returncode, CONFIG_ERROR)
        self.assertIn(folder, result.stderr)

    def test_all_mistakes_are_reported_at_once_with_the_nearest_key(self):
        said = self.refused(b'[proxy]\nworker = 1\n\n[[service]]\nname = "a"\nprotocol = "smpt"\n'
                            b'listen = "127.0.0.1:0"\nupstream.address = "mail.test:25"\n'
                            b'upstream.sever_name = "x"\n')
        self.assertRegex(said, r"FILE:2:\d+: .*worker.*workers")
        self.assertRegex(said, r"FILE:6:\d+: .*smpt")
        self.assertRegex(said, r"FILE:9:\d+: .*sever_name.*server_name")

    def test_an_unreadable_ca_file(self):
        said = self.refused(b'[[service]]\nname = "a"\nprotocol = "smtp"\nlisten = "127.0.0.1:0"\n'
                            b'upstream.address = "mail.test:25"\nupstream.ca_file = "nowhere.pem"\n')
        self.assertRegex(said, r"FILE:6:\d+: .*nowhere\.pem")

    def test_an_open_relay_is_refused(self):
        said = self.refused(b'[[service]]\nname = "a"\nprotocol = "smtp"\nlisten = "0.0.0.0:0"\n'
                            b'upstream.address = "mail.test:25"\n')
        self.assertIn("downstream.allow", said)

    def test_s1_an_open_relay_under_tls_is_refused_too(self):
        chain, key = pki().pair()
        for tls in ("starttls", "implicit"):
            for protocol in ("smtp", "lmtp"):
                said = self.refused(f"""\
[[service]]
name = "a"
protocol = "{protocol}"
listen = "0.0.0.0:0"
downstream.tls = "{tls}"
downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]
upstream.address = "127.0.0.1:25"
upstream.tls = "none"
""".encode(), "--check")
                self.assertRegex(said, r"FILE:4:10: .*any client that reaches 0\.0\.0\.0:0 could send mail")

    def test_s2_a_certificate_that_anyone_could_use_is_refused(self):
        chain, key = pki().pair()
        pair = f'{{ chain = "{chain}", key = "{key}" }}'
        for protocol in ("smtp", "lmtp", "imap", "pop3", "sieve", "nntp"):
            said = self.refused(f"""\
[[service]]
name = "a"
protocol = "{protocol}"
listen = "0.0.0.0:0"
downstream.tls = "implicit"
downstream.certificates = [{pair}]
upstream.address = "mail.test:25"
upstream.certificate = {pair}
upstream.send_proxy = "v2"
""".encode(), "--check")
            self.assertRegex(said, r"FILE:4:10: .*any client that reaches 0\.0\.0\.0:0 could use our "
                                   "certificate")

    def test_an_address_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            result = run_to_end("--protocol", "smtp", "--listen", address, "--upstream",
                                "mail.test:25")
        self.assertEqual(result.returncode, 69)
        self.assertIn(f"cannot listen on {address}: bind: Address already in use", result.stderr)


class Undisturbed(unittest.TestCase):
    """Base of tests with a second session: its relay goes on during the whole test."""

    def setUp(self):
        # The server's script for its next connection; the first connection is the undisturbed one.
        self.script = Smtp()
        self.server = self.enterContext(FakeServer(lambda connection: self.script(connection)))
        self.daemon = self.enterContext(Daemon(configuration(self.server.port)))
        self.baseline = self.daemon.descriptors()
        self.other = self.enterContext(self.daemon.connect())
        commit(self.other)
        self.open = self.daemon.descriptors()
        self.ended = 0

    def tearDown(self):
        self.still_served()
        # Back to one session, then to none: all descriptors are closed.
        wait.until(lambda: self.daemon.descriptors() <= self.open, "descriptors are closed")
        self.assertTrue(self.other.command(b"QUIT").startswith(b"221 "))
        self.other.close()
        wait.until(lambda: self.daemon.descriptors() <= self.baseline,
                   lambda: f"all but {self.baseline} descriptors are closed: "
                           f"{self.daemon.descriptor_list()}")

    def still_served(self):
        self.assertEqual(self.other.command(b"NOOP"), b"250 2.0.0 ok\r\n")

    def next_session(self):
        """Returns the line of the session that has just ended."""
        self.ended += 1
        self.still_served()
        return self.daemon.sessions(self.ended)[-1]


class BadClient(Undisturbed):
    def refused(self, data, reason, greeted=True):
        """Asserts that the session ends with this reason, as the client's fault."""
        with self.daemon.connect() as client:
            if greeted:
                client.reply()
            try:
                client.send(data)
            except OSError:
                pass  # the daemon need not read on
            if not greeted:
                self.assertEqual(client.line(), Smtp.greeting)
            self.assertEqual(client.rest(), (f"500 5.5.2 proxy.test {reason}\r\n".encode(), FIN))
        session = self.next_session()
        self.assertEqual((session["outcome"], session["reason"]), ("client_protocol", reason))

    def test_64_kib_without_a_line_end(self):
        for greeted in (True, False):
            with self.subTest(greeted=greeted):
                self.refused(b"A" * 65536, "client sent a line that is too long", greeted)

    def test_nul_and_stray_cr(self):
        for data, reason in ((b"EHLO a\0b\r\n", "a NUL"), (b"\0\r\n", "a NUL"),
                               (b"EHLO a\rb\r\n", "a CR without LF"),
                               (b"NO\rOP\r\n", "a CR without LF"),
                               (b"NOOP\r\r\n", "a CR without LF")):
            with self.subTest(data=data):
                self.refused(data, f"client sent {reason}")

    def test_bytes_beyond_ascii_are_passed_to_the_server(self):
        with self.daemon.connect() as client:
            client.reply()
            self.assertTrue(client.command(b"\x80\xff\xc3\xa9").startswith(b"500 "))
            client.command(b"QUIT")
        self.assertEqual(self.next_session()["outcome"], "ok")

    def test_s12_d7_a_tls_client_hello_on_a_clear_leg(self):
        """Before the greeting the client gets only an alert; after it, nothing more than an alert."""
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2
        script = self.script
        for greeted in (True, False):
            with self.subTest(greeted=greeted):
                gate = threading.Event()
                self.script = script if greeted else lambda connection, gate=gate: (
                    gate.wait(wait.DEADLINE), script(connection))
                with self.daemon.connect() as client:
                    if greeted:
                        client.reply()
                    client.send(hello)
                    gate.set()
                    self.assertEqual(client.rest(), (b"\x15\x03\x01\x00\x02\x02\x0a", FIN))
                session = self.next_session()
                self.assertEqual(
                    (session["outcome"], session["reason"]),
                    ("tls_on_clear_port",
                     "client began with TLS; this listener is for clear text / STARTTLS"))


class BadServer(Undisturbed):
    def refused(self, reason, **replies):
        """Asserts that the session ends with this reason, and that the client's words do not cross."""
        self.script = Smtp(**replies)
        with self.daemon.connect() as client:
            client.send(b"EHLO canary\r\n")
            told = f"421 4.7.0 proxy.test mail server mail.test: {reason}\r\n"
            self.assertEqual(client.rest(), (told.encode(), FIN))
        session = self.next_session()
        self.assertEqual((session["outcome"], session["reason"]), ("protocol", reason))
        self.assertNotIn(b"canary", self.server.connections[-1].clear)

    def test_64_kib_without_a_line_end(self):
        reason = "server sent a line that is too long"
        self.refused(reason, greeting=b"220 " + b"A" * 65536)
        self.refused(reason, clear_capabilities=b"250-" + b"A" * 65536)
        self.refused(reason, go_ahead=b"454 " + b"A" * 65536)

    def test_endless_replies(self):
        reason = "server sent a reply that is too long"
        self.refused(reason, greeting=b"220-hello\r\n" * 10000)
        self.refused(reason, clear_capabilities=b"250-SIZE\r\n" * 10000)

    def test_s12_nul_stray_cr_and_bare_lf(self):
        for reply, reason in ((b"220 a\0b\r\n", "a NUL"), (b"22\r0 ok\r\n", "a CR without LF"),
                              (b"220 ok\r\r\n", "a CR without LF"), (b"220 ok\n", "an LF without CR"),
                              (b"\0", "a NUL")):
            with self.subTest(reply=reply):
                self.refused(f"server sent {reason}", greeting=reply + b"\r\n")

    def test_s12_a_line_that_is_not_a_reply(self):
        for reply in (b"\r\n", b"2\r\n", b"25\r\n", b"2500 x\r\n", b"abc d\r\n", b"+OK\r\n"):
            with self.subTest(reply=reply):
                self.refused("server sent an invalid reply", clear_capabilities=reply)
        for reply in (b"250-\r\n251 x\r\n", b"250-a\r\n550 b\r\n"):
            with self.subTest(reply=reply):
                self.refused("server sent one reply with two codes", clear_capabilities=reply)


class PeersThatLeave(Undisturbed):
    """P16, P17: in every state, by FIN and by RST."""

    STATES = (b"", b"EH", b"EHLO a.test\r\n", b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\n",
              b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<b@mail.test>\r\nDATA\r\nhalf a li")

    def test_a_client_before_its_greeting(self):
        for script in (Smtp(greeting=None), Smtp(clear_capabilities=None), Smtp(go_ahead=None)):
            self.script = script
            for data in self.STATES:
                with self.subTest(data=data):
                    client = self.daemon.connect()
                    client.send(data)
                    self.server.connection(self.ended + 1)
                    client.reset()
                    self.assertEqual(self.next_session()["outcome"], "closed")
            # A client that has sent nothing and ends has no answer to wait for.
            client = self.daemon.connect()
            self.server.connection(self.ended + 1)
            client.close()
            self.assertEqual(self.next_session()["outcome"], "closed")

    def test_a_client_after_its_greeting(self):
        for data in self.STATES:
            for reset in (False, True):
                with self.subTest(data=data, reset=reset):
                    client = self.daemon.connect()
                    client.reply()
                    client.send(data)
                    # Nothing is left unread: unread data would turn a FIN into a reset.
                    for _ in range(data.count(b"\r\n")):
                        client.reply()
                    if data.endswith(b"li"):
                        server = self.server.connections[-1]
                        wait.until(lambda server=server: server.secure.endswith(b"li"),
                                   "the server has the half line")
                    client.reset() if reset else client.close()
                    cut = reset and data.endswith(b"li")
                    self.assertEqual(self.next_session()["outcome"], "truncated" if cut else "ok")
        for connection in self.server.connections[1:]:
            self.assertTrue(connection.ended.wait(wait.DEADLINE), "a server leg was left open")
            # An end in the middle of a message stays one: no dot is added (RFC 5321 4.1.1.10).
            self.assertEqual(connection.messages, [])

    def test_a_server_in_the_relay(self):
        def leaver(reset, data):
            def relay(connection):
                connection.send(data)
                if reset:
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                               b"\1\0\0\0\0\0\0\0")

            return relay

        for data in (b"", b"250 ok\r\n", b"250 half a li"):
            for reset in (False, True):
                with self.subTest(data=data, reset=reset):
                    self.script = Smtp(relay=leaver(reset, data))
                    inside_line = data.endswith(b"li")
                    with self.daemon.connect() as client:
                        commit(client)
                        self.assertEqual(client.rest(), (data, RESET if inside_line else FIN))
                    self.assertEqual(self.next_session()["outcome"],
                                     "truncated" if inside_line else "ok")

    def test_a_server_after_the_handshake(self):
        class Leaving(Smtp):
            def secured(self, connection):
                connection.receive()

        self.script = Leaving()
        with self.daemon.connect() as client:
            client.reply()
            client.send(b"EHLO legacy.test\r\n")
            said, end = client.rest()
            self.assertRegex(said, rb"\A421 4\.4\.1 [^\r\n]*\r\n\Z")
            self.assertEqual(end, FIN)
        self.assertEqual(self.next_session()["outcome"], "closed")


if __name__ == "__main__":
    main.main()

"""Attacks and edge cases of clients, and of servers that leave, for every protocol over real sockets.

Test names begin with the ids of their cases: A command injection, S state carried across TLS, G
general, P parser and resources, K capabilities.
"""

import contextlib
import functools
import itertools
import re
import socket
import ssl
import struct
import threading
import unittest

from support import main, wait
from support.client import FIN, free_port, unacknowledged
from support.dialects import PROTOCOLS, start_tls
from support.environment import SANITIZED, pki
from support.fake_server import FakeServer, Gone, tls_context
from support.gateway import Gateway

SHORT = "2s"  # long enough for a busy machine to come this far in the test


class Words:
    """The words of a protocol that its dialect of the matrix does not have."""

    def __init__(self, **words):
        self.__dict__.update(words)


_SMTP = {"argument": b"NOOP ", "nope": b"500 what\r\n", "refused": b"5", "active": b"503 ",
         "no_tls": b"502 ", "unknown": b"FOO", "bye": (b"QUIT", b"221 bye\r\n"), "broken": b"500 5.5.2 ",
         "errors": b"421 4.7.0 ", "down": b"421 4.4.1 ", "late": b"421 4.4.1 ", "shaken": b"421 4.7.5 "}


def _everywhere(failure, **words):
    """Returns the words of a protocol that has one word for every failure."""
    return Words(errors=failure, down=failure, late=failure, shaken=failure, **words)


WORDS = {
    "smtp": Words(**_SMTP),
    "lmtp": Words(**_SMTP),
    "imap": _everywhere(b"* BYE [UNAVAILABLE] ", argument=b"b NOOP ", nope=b"%s BAD what\r\n",
                        refused=b"s1 BAD ", active=b"s1 BAD ", no_tls=b"s1 BAD ", unknown=b"b FOO",
                        bye=(b"b LOGOUT", b"* BYE\r\nb OK\r\n"), broken=b"* BYE [CLIENTBUG] "),
    "pop3": _everywhere(b"-ERR [SYS/TEMP] ", argument=b"NOOP ", nope=b"-ERR what\r\n",
                        refused=b"-ERR ", active=b"-ERR ", no_tls=b"-ERR ", unknown=b"FOO",
                        bye=(b"QUIT", b"+OK bye\r\n"), broken=b"-ERR "),
    "sieve": _everywhere(b'BYE (TRYLATER) "', argument=b"NOOP ", nope=b'NO "what"\r\n',
                         refused=b"NO ", active=b"NO ", no_tls=b"NO ", unknown=b"FOO",
                         bye=(b"LOGOUT", b"OK\r\n"), broken=b'NO "'),
    "nntp": _everywhere(b"400 ", argument=b"CAPABILITIES ", nope=b"500 what\r\n", refused=b"502 ",
                        active=b"502 ", no_tls=b"502 ", unknown=b"FOO",
                        bye=(b"QUIT", b"205 bye\r\n"), broken=b"501 "),
}


class Server:
    """A script for FakeServer: as much of a server as the tests need. After the commit it echoes."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.dialect = PROTOCOLS[protocol]
        self.gate = None   # an Event that it waits for before it answers a request for its list
        self.leave = None  # number of its answers up to TLS that it gives before it ends
        self.reset = False

    def __call__(self, connection):
        dialect = self.dialect
        self.say(connection, 0, dialect.greeting)
        while line := connection.line():
            verb, tag = dialect.verb(line), line.split()[0]
            if verb == dialect.verb(dialect.starttls):
                self.say(connection, 2, dialect.go_ahead.replace(b"%s", tag))
                connection.start_tls(tls_context())
                self.say(connection, 3, dialect.offer(True) if dialect.pushes else b"")
            elif verb == dialect.verb(dialect.capability):
                if self.gate:
                    self.gate.wait(wait.DEADLINE)
                self.say(connection, 1, dialect.offer(connection.tls).replace(b"%s", tag))
            elif verb == dialect.verb(dialect.commit):
                connection.send(dialect.committed)
                while True:
                    connection.send(connection.receive())
            elif verb == dialect.verb(WORDS[self.protocol].bye[0]):
                connection.send(WORDS[self.protocol].bye[1])
                return
            else:
                connection.send(WORDS[self.protocol].nope.replace(b"%s", tag))

    def say(self, connection, step, data):
        if self.leave == step:
            if self.reset:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
            raise Gone
        connection.send(data)


class Lazy(Server):
    """Accepts STARTTLS, then sends these bytes of a handshake, ten per second, and no more."""

    def __init__(self, protocol, data):
        super().__init__(protocol)
        self.data = data

    def __call__(self, connection):
        connection.start_tls = lambda _: self.drip(connection)
        super().__call__(connection)

    def drip(self, connection):
        connection.sock.recv(4096)  # the ClientHello; bytes before it would be an attack
        connection.sock.settimeout(0.1)
        for byte in self.data:
            connection.send(byte)
            try:
                while connection.sock.recv(4096):
                    pass
            except TimeoutError:
                continue
            except OSError:
                raise Gone from None
            raise Gone
        connection.sock.settimeout(None)
        connection.wait_for_end()
        raise Gone


def client_hello():
    """Returns the first flight of a client, as an eager one sends it."""
    out = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="mail.test")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def each(*modes, only=tuple(PROTOCOLS)):
    """Runs the test for every protocol in each of these pairs of modes, each in a subtest."""
    def decorate(test):
        @functools.wraps(test)
        def run(self):
            for protocol, mode in itertools.product(only, modes or self.modes):
                with self.subTest(protocol=protocol, mode=mode):
                    self.choose(protocol, *mode)
                    test(self, protocol)

        return run

    return decorate


class Cases(unittest.TestCase):
    """A daemon with services "PROTOCOL-DOWNSTREAM-UPSTREAM" for all tests of a class."""

    modes = ()
    tables = {}

    @classmethod
    def setUpClass(cls):
        cls.scripts = {protocol: Server(protocol) for protocol in PROTOCOLS}
        cls.servers = {protocol: cls.enterClassContext(FakeServer(
            lambda connection, protocol=protocol: cls.scripts[protocol](connection)))
            for protocol in PROTOCOLS}
        cls.gateway = cls.enterClassContext(Gateway(cls.services(), **cls.tables))
        cls.idle = cls.gateway.daemon.descriptors()

    @classmethod
    def services(cls):
        return {f"{protocol}-{down}-{up}": {
            "protocol": protocol, "downstream.tls": down, "upstream.tls": up,
            "upstream.address": f"127.0.0.1:{cls.servers[protocol].port}"}
                for protocol in PROTOCOLS for down, up in cls.modes}

    def setUp(self):
        # P16: after any test, all descriptors of its sessions are closed.
        self.addCleanup(lambda: self.gateway.settles(self.idle))

    def choose(self, protocol, down, up):
        """Sets protocol, modes and script for the methods below."""
        self.words, self.dialect = WORDS[protocol], PROTOCOLS[protocol]
        self.script = self.scripts[protocol] = Server(protocol)
        self.server = self.servers[protocol]
        self.service = f"{protocol}-{down}-{up}"

    def greeted(self):
        """Returns a client of the present subtest that has read its greeting."""
        client = self.gateway.connect(self.service)
        self.addCleanup(client.close)
        if "-implicit-" in self.service:
            start_tls(client)
        self.answer(client) if self.dialect.pushes else client.line()
        return client

    def answer(self, client):
        """Returns the server's list, to its last line."""
        lines = [client.line()]
        while lines[-1] and not self.dialect.ends(lines[-1]):
            lines.append(client.line())
        return b"".join(lines)

    def secure(self, client):
        """Starts TLS as the client."""
        client.send(self.dialect.starttls + b"\r\n")
        self.handshake(client)

    def handshake(self, client):
        self.assertTrue(client.line().startswith(
            self.dialect.go_ahead.replace(b"%s", self.dialect.starttls.split()[0]).split()[0]))
        start_tls(client)
        if self.dialect.pushes:
            self.answer(client)

    def serves(self, client):
        """Asserts a whole session: list, commit, relay; then it ends."""
        client.send(self.dialect.capability + b"\r\n")
        self.assertNotIn(self.dialect.verb(self.dialect.starttls), self.answer(client))
        client.send(self.dialect.commit + b"\r\n")
        self.assertEqual(client.line(), self.dialect.committed)
        client.send(b"STARTTLS\r\n\0\xff")
        self.assertEqual(client.exactly(12), b"STARTTLS\r\n\0\xff")
        client.close()

    def connection(self, client):
        """Returns the server's side of this session, which is over."""
        self.gateway.session(client)
        connection = self.server.connections[-1]
        self.assertTrue(connection.ended.wait(wait.DEADLINE))
        return connection

    def refused(self, client, prefix, outcome):
        """Asserts that the rest is one line that begins so, then FIN, and that the log has the outcome."""
        told, end = client.rest()
        client.close()
        self.assertRegex(told, rb"\A" + re.escape(prefix) + rb"[ -~]*\r\n(\* BYE [ -~]*\r\n)?\Z")
        self.assertEqual(end, FIN)
        self.assertEqual(self.gateway.session(client)["outcome"], outcome)
        return told


class Injection(Cases):
    """Bytes that come together with STARTTLS, at every possible moment."""

    modes = (("starttls", "none"), ("opportunistic", "none"), ("implicit", "none"))

    @each(("opportunistic", "none"))
    def test_a6_a_command_in_a_segment_of_its_own_before_the_go_ahead(self, _):
        # The go-ahead waits for the server, so that the second segment is certain to be there.
        self.script.gate = threading.Event()
        client = self.greeted()
        client.send(self.dialect.capability + b"\r\n" + self.dialect.starttls + b"\r\n")
        wait.until(lambda: self.dialect.capability in self.server.connections[-1].clear, "a list")
        client.send(self.words.unknown + b" XXXXX\r\n")
        client.send(client_hello())
        wait.until(lambda: unacknowledged(client.sock) == 0, "the segments are on the other side")
        self.script.gate.set()
        self.answer(client)
        self.refused(client, self.words.refused, "attack")
        self.assertNotIn(b"XXXXX", self.connection(client).clear)

    @each(("starttls", "none"), ("opportunistic", "none"))
    def test_a6_a_command_in_a_segment_of_its_own_after_the_go_ahead(self, _):
        client = self.greeted()
        client.send(self.dialect.starttls + b"\r\n")
        client.send(self.words.unknown + b" XXXXX\r\n" + client_hello())
        told, end = client.rest()
        client.close()
        # In time it is refused; later it is a bad TLS record. Log and client agree on which one.
        go_ahead = self.dialect.go_ahead.replace(b"%s", self.dialect.starttls.split()[0]).split()[0]
        outcome, pattern = ("handshake", re.escape(go_ahead) + rb"[ -~]*\r\n(?s:\x15\x03...\x02.)") if (
            told.startswith(go_ahead)) else (
            "attack", re.escape(self.words.refused) + rb"[ -~]*\r\n(\* BYE [ -~]*\r\n)?")
        self.assertRegex(told, rb"\A" + pattern + rb"\Z")
        self.assertEqual((end, self.gateway.session(client)["outcome"]), (FIN, outcome))
        self.assertNotIn(b"XXXXX", self.connection(client).clear)

    @each(("starttls", "none"), ("opportunistic", "none"))
    def test_a8_a_client_hello_in_the_segment_of_starttls(self, _):
        client = self.greeted()
        client.send(self.dialect.starttls + b"\r\n" + client_hello())
        self.refused(client, self.words.refused, "attack")

    @each(("starttls", "none"), ("opportunistic", "none"))
    def test_a11_starttls_at_the_end_of_a_group(self, _):
        client = self.greeted()
        client.send(self.dialect.capability + b"\r\n" + self.dialect.starttls + b"\r\n")
        self.assertIn(self.dialect.verb(self.dialect.starttls), self.answer(client))
        self.handshake(client)
        self.serves(client)

    @each(("starttls", "none"))
    def test_a12_p1_a_buffer_that_is_exactly_full_before_the_greeting(self, protocol):
        """STARTTLS ends with the last byte that the proxy buffers; one more byte is still noticed."""
        def waiting(connection):
            gate.wait(wait.DEADLINE)
            Server(protocol)(connection)

        for more in (b"", b"N"):
            gate = threading.Event()
            self.scripts[protocol] = waiting
            client = self.gateway.connect(self.service)
            starttls = self.dialect.starttls + b"\r\n"
            client.send(self.filler(65536 - len(starttls)) + starttls + more)
            gate.set()
            if more:
                told, end = client.rest()
                client.close()
                self.assertTrue(told.splitlines()[-2 if protocol == "imap" else -1].startswith(
                    self.words.refused), told[-200:])
                self.assertEqual(end, FIN)
                self.assertEqual(self.gateway.session(client)["outcome"], "attack")
                continue
            go_ahead = self.dialect.go_ahead.replace(b"%s", self.dialect.starttls.split()[0])
            self.skip_to(client, protocol, go_ahead.split()[0])
            start_tls(client)
            if self.dialect.pushes:
                self.answer(client)
            self.serves(client)

    def filler(self, size):
        """Returns commands of `size` bytes in total that are answered before TLS."""
        data = b""
        while size:
            line = min(size, 8000) if size > 8100 or size <= 8000 else size // 2
            head = self.words.argument
            text = b"x" * (line - len(head) - 4)
            data += head + (b'"' + text + b'"' if b'"' in self.words.broken else text + b"xx")
            data += b"\r\n"
            size -= line
        return data

    def skip_to(self, client, protocol, word):
        """Reads the answers to the filler, and the go-ahead after them."""
        commands = 9
        if protocol == "sieve":
            self.answer(client)  # the greeting
            for _ in range(commands):
                self.assertTrue(client.line().startswith(b"OK (TAG"))
                client.line()
        else:
            client.line()
            for _ in range(commands):
                if protocol == "nntp":
                    self.answer(client)
                else:
                    client.line()
        self.assertTrue(client.line().startswith(word))

    @each(("starttls", "none"))
    def test_a13_an_injecting_session_among_others(self, _):
        clients = [self.greeted() for _ in range(4)]
        evil = clients.pop(1)
        for client in clients:
            client.send(self.dialect.starttls[:3])
        evil.send(self.dialect.starttls + b"\r\n" + self.words.unknown + b" XXXXX\r\n")
        for client in clients:
            client.send(self.dialect.starttls[3:] + b"\r\n")
        for client in clients:
            self.handshake(client)
        self.refused(evil, self.words.refused, "attack")
        for client in clients:
            self.serves(client)
            self.gateway.session(client)
        for connection in self.server.connections[-4:]:
            self.assertTrue(connection.ended.wait(wait.DEADLINE))
            self.assertNotIn(b"XXXXX", connection.clear)

    @each()
    def test_a14_starttls_over_tls(self, _):
        client = self.greeted()
        if "-implicit-" not in self.service:
            self.secure(client)
        client.send(self.dialect.starttls + b"\r\n")
        self.assertTrue(client.line().startswith(self.words.active))
        self.serves(client)
        self.assertEqual(self.connection(client).clear.count(b"STARTTLS"), 1)  # the relay's

    @each(("starttls", "none"), only=("smtp", "lmtp"))
    def test_a15_an_envelope_in_the_clear(self, _):
        client = self.greeted()
        client.send(self.dialect.capability + b"\r\n")
        self.answer(client)
        for line in (b"MAIL FROM:<evil@x.test>", b"RCPT TO:<evil@y.test>"):
            self.assertTrue(client.command(line).startswith(b"530 5.7.0 "))
        self.secure(client)
        self.assertTrue(client.command(b"MAIL FROM:<evil@x.test>").startswith(b"503 5.5.1 "))
        self.serves(client)
        self.assertNotIn(b"evil", self.connection(client).clear)

    @each(("opportunistic", "none"))
    def test_a15_s2_s3_starttls_after_a_clear_commit_is_data(self, _):
        client = self.greeted()
        client.send(self.dialect.commit + b"\r\n" + self.dialect.starttls + b"\r\n")
        self.assertEqual(client.line(), self.dialect.committed)
        self.assertEqual(client.line(), self.dialect.starttls + b"\r\n")  # the server's echo
        client.close()
        self.assertEqual(self.gateway.session(client)["downstream_tls"], "none")


class State(Cases):
    """State that must not be carried across TLS, or to the wrong side of it."""

    modes = (("starttls", "none"), ("opportunistic", "none"), ("none", "starttls"),
             ("starttls", "starttls"))

    @each(("starttls", "none"), ("starttls", "starttls"))
    def test_s2_no_login_before_tls(self, _):
        client = self.greeted()
        client.send(self.dialect.commit + b" CANARY\r\n")
        self.assertNotEqual(client.line(), self.dialect.committed)
        self.secure(client)
        self.serves(client)
        connection = self.connection(client)
        self.assertNotIn(b"CANARY", connection.clear + connection.secure)

    @each(("starttls", "none"), ("opportunistic", "none"))
    def test_s4_the_lists_in_the_clear_and_inside_tls_differ(self, protocol):
        client = self.greeted()
        client.send(self.dialect.capability + b"\r\n")
        before = self.answer(client)
        self.secure(client)
        client.send(self.dialect.capability + b"\r\n")
        after = self.answer(client)
        word = self.dialect.verb(self.dialect.starttls)
        if self.dialect.pushes:
            word = b'"' + word + b'"'  # it is in sieve's closing words as well
        self.assertEqual((before.count(word), after.count(word)), (1, 0))
        if "-starttls-" in self.service:
            for word in (b"SIZE", b"AUTH", b"USER", b"PLAIN", b"READER", b"fileinto"):
                self.assertNotIn(word, before)
        self.assertEqual(b"LOGINDISABLED" in before,
                         protocol == "imap" and "-starttls-" in self.service)
        self.assertNotIn(b"LOGINDISABLED", after)

    @each(("none", "starttls"), ("starttls", "starttls"))
    def test_s5_inside_tls_the_server_gets_the_clients_command_first(self, protocol):
        client = self.greeted()
        if "-none-" not in self.service:
            self.secure(client)
        self.serves(client)
        said = bytes(self.connection(client).secure)
        if protocol == "imap":
            said = re.sub(rb"\A[0-9A-Za-z]+ CAPABILITY\r\n", b"", said)
        self.assertTrue(said.startswith(self.dialect.capability + b"\r\n"), said[:80])
        self.assertNotIn(b"proxy.test", said)

    @each()
    def test_s6_k12_xclient(self, protocol):
        tag = b"s1 " if protocol == "imap" else b""
        client = self.greeted()
        for secure in (False, True):
            if secure and "-none-s" in self.service:
                break
            if secure:
                self.secure(client)
            client.send(tag + b"XCLIENT ADDR=192.0.2.99\r\n")
            self.assertRegex(client.line(), rb"\A(5|4|s1 NO|s1 BAD|-ERR|NO)")
        self.serves(client)
        connection = self.connection(client)
        self.assertNotIn(b"192.0.2.99", connection.clear + connection.secure)

    @each(("none", "starttls"))
    def test_g3_the_clients_own_starttls_on_a_leg_without_tls(self, _):
        client = self.greeted()
        client.send(self.dialect.starttls + b"\r\n")
        self.assertTrue(client.line().startswith(self.words.no_tls))
        self.serves(client)
        self.assertEqual(self.connection(client).secure.count(b"STARTTLS"), 1)  # the relay's

    @each(("starttls", "starttls"))
    def test_k13_each_leg_has_its_own_version(self, _):
        client = self.greeted()
        client.send(self.dialect.starttls + b"\r\n")
        client.line()
        context = ssl.create_default_context(cafile=pki().ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        client.start_tls(context, "mail.test")
        if self.dialect.pushes:
            self.answer(client)
        self.serves(client)
        line = self.gateway.session(client)
        self.assertEqual((line["downstream_tls"], line["upstream_tls"]), ("TLSv1.2", "TLSv1.3"))


class Robust(Cases):
    """Clients that break the rules, or leave."""

    modes = (("starttls", "none"), ("none", "starttls"))

    @each(("starttls", "none"))
    def test_g13_bytes_that_are_not_a_handshake(self, _):
        garbage = {"garbage": b"\xde\xad\xbe\xef" * 16,
                   "SSLv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37),
                   "HTTP": b"GET / HTTP/1.1\r\nHost: mail.test\r\n\r\n"}
        for name, data in (*garbage.items(), ("end", None)):
            with self.subTest(name):
                client = self.greeted()
                client.send(self.dialect.starttls + b"\r\n")
                client.line()
                client.finish() if data is None else client.send(data)
                told, _ = client.rest()
                client.close()
                # At most an alert: nothing more is sent in the clear.
                self.assertRegex(told, rb"(?s)\A(\x15\x03.{1,20})?\Z")
                self.assertEqual(self.gateway.session(client)["outcome"], "handshake")
                self.connection(client)

    @each(("starttls", "none"))
    def test_p1_a_client_that_talks_before_the_greeting(self, _):
        client = self.gateway.connect(self.service)
        client.send(self.dialect.commit + b" CANARY\r\n" + self.dialect.capability + b"\r\n")
        self.answer(client) if self.dialect.pushes else client.line()
        self.assertNotEqual(client.line(), self.dialect.committed)
        self.assertIn(self.dialect.verb(self.dialect.starttls), self.answer(client))
        client.close()
        self.assertNotIn(b"CANARY", self.connection(client).clear)

    @each()
    def test_p5_p6_p7_p8_malformed_lines(self, _):
        head = self.words.argument
        lines = [head + b"a\0b\r\n", b"\0", head + b"a\rb\r\n", self.dialect.starttls + b"\r\r\n",
                 b"A" * 65536]
        for line in lines:
            with self.subTest(line=line[:20]):
                client = self.greeted()
                client.send(line)
                self.refused(client, self.words.broken, "client_protocol")

    @each()
    def test_p8_a_line_without_end(self, _):
        """Sends 2 MiB of it: the proxy refuses at once, and keeps none of it."""
        before = self.gateway.daemon.resident_bytes()
        client = self.greeted()
        with contextlib.suppress(OSError):  # the daemon need not read on
            for _ in range(32):
                client.send(b"A" * 65536)
        self.refused(client, self.words.broken, "client_protocol")
        if not SANITIZED:
            self.assertLess(self.gateway.daemon.resident_bytes() - before, 3 << 19)

    @each()
    def test_p9_bytes_beyond_ascii(self, _):
        client = self.greeted()
        client.send(self.words.unknown + b" \xc3\xa9\xff\xfe\xc0\x80\x1b[31m\r\n")
        self.assertTrue(client.line())
        if "-none-" not in self.service:
            self.secure(client)
        self.serves(client)
        self.gateway.session(client)
        self.assertNotIn("\x1b", self.gateway.daemon.text())

    @each(("starttls", "none"))
    def test_p16_a_client_that_leaves_in_every_state(self, _):
        hello = client_hello()

        def clear(data):
            def talk(client):
                client.send(data)
            return talk

        def tls(data):
            def talk(client):
                self.secure(client)
                client.send(data)
            return talk

        dialect = self.dialect
        states = [clear(b""), clear(dialect.capability[:3]), clear(dialect.capability + b"\r\n"),
                  clear(dialect.starttls + b"\r\n"),
                  lambda client: (client.send(self.dialect.starttls + b"\r\n"), client.line(),
                                  client.send(hello[:100])),
                  lambda client: (client.send(self.dialect.starttls + b"\r\n"), client.line(),
                                  client.send(hello)),
                  tls(b""), tls(dialect.capability + b"\r\n"), tls(dialect.commit + b"\r\n"),
                  tls(dialect.commit + b"\r\nhalf a li")]
        for number, talk in enumerate(states):
            for reset in (False, True):
                with self.subTest(state=number, reset=reset):
                    client = self.greeted()
                    talk(client)
                    client.reset() if reset else client.close()
                    self.connection(client)

    @each(("starttls", "none"))
    def test_p20_errors_without_end(self, _):
        client = self.greeted()
        client.send((self.words.unknown + b"\r\n") * 25)
        told, end = client.rest()
        client.close()
        lines = told.splitlines()
        self.assertEqual(len(lines), 20, told)
        self.assertTrue(lines[-1].startswith(self.words.errors), lines[-1])
        self.assertEqual((end, self.gateway.session(client)["outcome"]),
                         (FIN, "too_many_errors"))


class Slow(Cases):
    """Deadlines that no byte extends. All protocols wait at once, since only the clock is tested. A class
    shortens only the limit that it tests."""

    modes = (("starttls", "none"), ("none", "starttls"))

    def at_once(self, service, talk, expect):
        """Calls `talk(client)`, then is silent; all protocols side by side."""
        clients = []
        for protocol in PROTOCOLS:
            self.choose(protocol, *service)
            client = self.greeted()
            talk(client)
            clients.append((protocol, client))
        for protocol, client in clients:
            with self.subTest(protocol):
                told, end = client.rest()
                client.close()
                self.assertEqual(end, FIN)
                expect(protocol, told)
                self.assertEqual(self.gateway.session(client)["outcome"], "timeout")


class SlowHandshakes(Slow):
    tables = {"timeouts": {"handshake": SHORT}}

    def test_p21_silence_after_starttls(self):
        def talk(client):
            client.send(self.dialect.starttls + b"\r\n")
            client.line()

        self.at_once(("starttls", "none"), talk, lambda protocol, told: self.assertEqual(told, b""))

    def test_p13_half_a_handshake(self):
        def talk(client):
            client.send(self.dialect.starttls + b"\r\n")
            client.line()
            client.send(client_hello()[:50])

        self.at_once(("starttls", "none"), talk, lambda protocol, told: self.assertEqual(told, b""))

    def test_g11_p13_a_server_that_never_shakes_hands(self):
        """The server is silent, or sends its handshake byte by byte."""
        silence = ()
        hello = [b"\x16", b"\x03", b"\x03", b"\x10", b"\x00"] + [b"\x02"] * 100
        for data in (silence, hello):
            clients = []
            for protocol in PROTOCOLS:
                self.choose(protocol, "none", "starttls")
                self.scripts[protocol] = Lazy(protocol, data)
                heard = len(self.server.connections)
                client = self.gateway.connect(self.service)
                self.addCleanup(client.close)
                client.send(self.dialect.commit + b" CANARY\r\n")
                clients.append((protocol, client, self.server.connection(heard)))
            for protocol, client, connection in clients:
                with self.subTest(protocol, drips=bool(data)):
                    # The server stays lazy: a large ClientHello without an answer is tried again.
                    self.refused(client, WORDS[protocol].late, "timeout")
                    self.assertTrue(connection.ended.wait(wait.DEADLINE))
                    self.assertNotIn(b"CANARY", connection.clear)


class SlowCommands(Slow):
    tables = {"timeouts": {"command": SHORT}}

    def test_p13_a_command_byte_by_byte(self):
        """Bytes that drip in do not move the deadline."""
        stop = threading.Event()
        threads = []

        def talk(client):
            def drip():
                while not stop.wait(0.1):
                    try:
                        client.send(b"N")
                    except OSError:
                        return

            threads.append(threading.Thread(target=drip))
            threads[-1].start()

        try:
            self.at_once(("none", "starttls"), talk, lambda protocol, told: self.assertTrue(
                told.startswith(WORDS[protocol].late) and told.count(b"\r\n") == 1, told))
        finally:
            stop.set()
            for thread in threads:
                thread.join()


class ServersThatFail(Cases):
    """Servers that leave, are not there, or are others: a client in the clear gets one line."""

    modes = (("none", "starttls"), ("none", "implicit"))

    @classmethod
    def services(cls):
        nobody = free_port()
        return {**super().services(), **{f"{protocol}-none-nobody": {
            "protocol": protocol, "upstream.address": f"127.0.0.1:{nobody}"}
                                         for protocol in PROTOCOLS}}

    @each(("none", "nobody"))
    def test_g17_a_server_that_refuses_connections(self, _):
        client = self.gateway.connect(self.service)
        self.assertIn(b"refused", self.refused(client, self.words.down, "unreachable"))

    @each(("none", "starttls"))
    def test_t26_a_name_that_the_server_sends_proves_nothing(self, _):
        """The certificate is good for the name that the server uses in all of its clear text."""
        def script(connection, server=self.script):
            clear, start = connection.send, connection.start_tls
            connection.send = lambda data: clear(data.replace(b"mail.test", b"wrong.test"))
            connection.start_tls = lambda _: start(tls_context("wrong-name"))
            server(connection)

        self.scripts[self.service.partition("-")[0]] = script
        client = self.gateway.connect(self.service)
        client.send(self.dialect.commit + b" CANARY\r\n")
        told = self.refused(client, self.words.shaken, "certificate")
        self.assertIn(b"name mismatch: wanted mail.test, got wrong.test", told)
        connection = self.connection(client)
        self.assertNotIn(b"CANARY", connection.clear + connection.secure)

    @each(("none", "starttls"))
    def test_p17_a_server_that_disappears_in_every_state(self, protocol):
        for step, reset in itertools.product((0, 1, 2, 3), (False, True)):
            asks_for_list = protocol in ("smtp", "lmtp", "imap")
            if (step == 1 and not asks_for_list) or (step == 3 and not self.dialect.pushes):
                continue  # this protocol has no such state
            with self.subTest(step=step, reset=reset):
                self.script.leave, self.script.reset = step, reset
                client = self.gateway.connect(self.service)
                client.send(self.dialect.commit + b" CANARY\r\n")
                told, end = client.rest()
                client.close()
                self.assertTrue(told.startswith(self.words.down), told)
                self.assertEqual((told.count(b"\r\n"), end), (1, FIN))
                # A reset may arrive before the proxy knows that it is connected.
                early = {"unreachable"} if reset and step == 0 else set()
                self.assertIn(self.gateway.session(client)["outcome"], {"closed"} | early)
                connection = self.connection(client)
                self.assertNotIn(b"CANARY", connection.clear + connection.secure)

    @each(("none", "starttls"))
    def test_p4_the_end_comes_inside_a_line(self, protocol):
        # A positive greeting or a positive go-ahead, without its last byte.
        def script(connection, dialect=self.dialect):
            connection.send(dialect.greeting[:-1] if step == 0 else dialect.greeting)
            while step:
                line = connection.line()
                verb, tag = dialect.verb(line), line.split()[0]
                if verb == dialect.verb(dialect.starttls):
                    connection.send(dialect.go_ahead.replace(b"%s", tag)[:-1])
                    break
                connection.send(dialect.offer(False).replace(b"%s", tag))

        for step in (0, 1):
            with self.subTest(step=step):
                self.scripts[protocol] = script
                client = self.gateway.connect(self.service)
                client.send(self.dialect.commit + b" CANARY\r\n")
                self.refused(client, self.words.down, "closed")
                self.assertNotIn(b"CANARY", self.connection(client).clear)

    @each(("none", "starttls"))
    def test_p17_an_end_in_the_dialogue_and_in_the_relay(self, protocol):
        def committed(connection):
            connection.send(dialect.committed)
            connection.end_tls()
            connection.sock.setblocking(True)
            connection.wait_for_end()

        dialect = self.dialect

        def script(connection):
            self.serve_until(protocol, connection, dialect.commit, committed)

        self.scripts[protocol] = script
        client = self.greeted()
        client.send(dialect.commit + b"\r\n")
        self.assertEqual(client.rest(), (dialect.committed, FIN))  # drained, then closed
        client.close()
        self.assertEqual(self.gateway.session(client)["outcome"], "ok")

    def serve_until(self, protocol, connection, command, then):
        """Plays the usual server up to `command`, then calls `then`."""
        whole_line = connection.line

        def line():
            heard = whole_line()
            if heard == command + b"\r\n":
                then(connection)
                raise Gone
            return heard

        connection.line = line
        Server(protocol)(connection)


if __name__ == "__main__":
    main.main()

"""The PROXY protocol, in and out: the client's address, from balancers and to servers."""

import os
import socket
import ssl
import struct
import sys
import unittest
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from support import canary, hello, main, peers, wait
from support.client import FIN, Client, free_port
from support.daemon import Daemon, configuration, run_to_end
from support.dovecot import PASSWORD, Dovecot
from support.environment import pki
from support.fake_server import FakeServer, Gone, Smtp
from support.peers import Postfix

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 40001 25\r\n"
BALANCER = "127.0.0.1"
NOBODY = "192.0.2.99"


def line6(client="2001:db8::7", port=40001):
    return f"PROXY TCP6 {client} 2001:db8::1 {port} 25\r\n".encode()


def binary(client="192.0.2.7", destination="198.51.100.1", port=40001, *, vectors=b"", command=1):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    block = (socket.inet_pton(family, client) + socket.inet_pton(family, destination)
             + struct.pack("!HH", port, 25) + vectors)
    if command == 0:
        return SIGNATURE + bytes([0x20, 0]) + struct.pack("!H", len(vectors)) + vectors
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + bytes([0x20 | command, kind]) + struct.pack("!H", len(block)) + block


LOCAL = binary(command=0)


def client_hello():
    return b"".join(hello.records(hello.message()))


def with_certificate(text):
    chain, key = pki().pair()
    return text + f'\ndownstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n'


def ending(client):
    """Returns all bytes to a client until the end, and the kind of end; then closes the client."""
    heard = client.rest()
    client.close()
    return heard


def refusal(client):
    """Returns the same for a client that must be refused. If it is served after all, it sends QUIT."""
    first = client.line()
    if first.startswith(b"220"):
        client.send(b"QUIT\r\n")
    heard, end = ending(client)
    return first + heard, end


class Believing(unittest.TestCase):
    """Headers that come in. One daemon and one server for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.script = Smtp()
        cls.server = cls.enterClassContext(FakeServer(cls.script))
        cls.daemons = {}
        for name, downstream, timeouts in (
                ("clear", {}, {}),
                ("picky", {"allow": ["192.0.2.0/24", "2001:db8::/32"]}, {}),
                ("implicit", {"tls": "implicit"}, {}),
                ("starttls", {"tls": "starttls"}, {}),
                ("hasty", {}, {"prelude": "1s"}),
                ("strict", {"proxy_protocol": NOBODY}, {}),
                ("default", {"proxy_protocol": []}, {}),
                ("strict_implicit", {"proxy_protocol": NOBODY, "tls": "implicit"}, {}),
                ("picky_implicit", {"tls": "implicit", "allow": ["127.0.0.2", "192.0.2.0/24"],
                                    "proxy_protocol": "127.0.0.1", "max_per_client": 1}, {})):
            downstream = {"proxy_protocol": ["127.0.0.0/8"], **downstream}
            text = configuration(cls.server.port, downstream=downstream, timeouts=timeouts)
            if "tls" in downstream:
                text = with_certificate(text)
            cls.daemons[name] = cls.enterClassContext(Daemon(text))

    def daemon(self, name):
        return self.daemons[name]

    def last(self, name, client):
        """Returns the last session line of this client."""
        found = self.daemon(name).lines(
            lambda fields: "outcome" in fields and fields["client"] == client)
        return found[-1]

    def failure(self, name, client):
        """Returns the line with the reason why the session of this client failed."""
        return self.daemon(name).lines(
            lambda fields: fields.get("msg") == "session failed" and fields["peer"] == client)[-1]

    def connect(self, name):
        client = Client(self.daemon(name).port)
        self.addCleanup(client.close)
        client.name = "{}:{}".format(*client.address)
        return client

    def serve(self, client):
        """Runs a session from the greeting to its end."""
        self.assertEqual(client.line()[:4], b"220 ")
        self.assertEqual(client.command(b"EHLO a.test")[:4], b"250-")
        self.assertEqual(client.command(b"QUIT")[:4], b"221 ")
        self.assertEqual(ending(client), (b"", FIN))

    def test_a_line_names_the_client(self):
        client = self.connect("clear")
        client.send(LINE)
        self.serve(client)
        self.assertEqual(self.last("clear", "192.0.2.7:40001")["outcome"], "ok")
        conveyed = self.daemon("clear").lines(
            lambda fields: fields.get("msg") == "client named by a PROXY header"
            and fields["balancer"] == client.name)[-1]
        self.assertEqual((conveyed["client"], conveyed["dialled"]),
                         ("192.0.2.7:40001", "198.51.100.1:25"))

    def test_headers_of_every_form_name_the_client(self):
        for number, (header, name) in enumerate((
                (line6(port=41000), "[2001:db8::7]:41000"),
                (binary(port=41001), "192.0.2.7:41001"),
                (binary("2001:db8::7", "2001:db8::1", 41002), "[2001:db8::7]:41002"),
                (binary(port=41003, vectors=b"\x04\0\x03abc"), "192.0.2.7:41003"))):
            with self.subTest(number):
                client = self.connect("clear")
                client.send(header)
                self.serve(client)
                self.assertEqual(self.last("clear", name)["outcome"], "ok")

    def test_a_header_may_come_in_pieces(self):
        # Pieces sent at once would prove little: each must arrive on its own.
        clients = []
        for header in (LINE, binary()):
            for split in range(1, len(header)):
                client = self.connect("clear")
                client.send(header[:split])
                clients.append((client, header[split:] + b"EHLO a.test\r\nQUIT\r\n"))
        for client, rest in clients:
            client.send(rest)
        for client, _ in clients:
            heard, end = ending(client)
            self.assertEqual((heard[:4], heard[-9:], end), (b"220 ", b"0.0 bye\r\n", FIN))

    def test_the_clients_first_command_may_be_in_the_headers_segment(self):
        client = self.connect("starttls")
        client.send(binary() + b"EHLO a.test\r\n")
        self.assertEqual(client.line()[:4], b"220 ")
        self.assertRegex(client.reply(), rb"\A250-(.*\n)*250[- ]STARTTLS")

    def test_a_handshake_in_the_headers_segment_loses_no_byte(self):
        for header in (LINE, binary(), LOCAL):
            context = ssl.create_default_context(cafile=pki().ca)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname="mail.test")
            client = self.connect("implicit")
            pending = header
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    client.send(pending + outgoing.read())
                    pending = b""
                    incoming.write(client.sock.recv(65536))
            client.send(outgoing.read())
            while True:
                try:
                    self.assertEqual(tls.read(4), b"220 ")
                    break
                except ssl.SSLWantReadError:
                    incoming.write(client.sock.recv(65536))

    def test_a_handshake_after_a_header_at_every_split(self):
        hello = client_hello()
        for header in (LINE, binary()):
            clients = []
            for split in range(1, len(header) + 8):
                client = self.connect("implicit")
                client.send((header + hello)[:split])
                clients.append((client, (header + hello)[split:]))
            for client, rest in clients:
                client.send(rest)
            for client, _ in clients:
                self.assertEqual(client.exactly(1), b"\x16", "a ServerHello")
                client.reset()

    def test_a_missing_header_ends_the_session(self):
        client = self.connect("clear")
        client.send(b"EHLO a.test\r\n")
        heard, end = refusal(client)
        self.assertEqual((heard[:4], end), (b"421 ", FIN))
        failure = self.failure("clear", client.name)
        self.assertEqual((failure["error"], failure["state"], failure["evidence"]),
                         ("not_allowed", "proxy_header", "E"))
        self.assertEqual(self.last("clear", client.name)["outcome"], "not_allowed")

    def test_a_handshake_without_a_header_gets_no_answer(self):
        client = self.connect("implicit")
        client.send(client_hello())
        self.assertEqual(ending(client), (b"", FIN))
        self.assertEqual(self.last("implicit", client.name)["outcome"], "not_allowed")

    def test_a_bad_header_ends_the_session(self):
        bad = {
            "too long for a line": b"PROXY TCP4 " + 200 * b"1",
            "a bad address": b"PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n",
            "LF alone": b"PROXY UNKNOWN\n",
            "a vector that is cut": binary(vectors=b"\x04\0\x09abc"),
            "too long for a block": SIGNATURE + b"\x21\x11\xff\xff" + 100 * b"\0",
            "a block too short": SIGNATURE + b"\x21\x11\0\x04abcd",
            "an unknown version": SIGNATURE + b"\x31\x11\0\x0c" + 12 * b"\0",
        }
        for what, header in bad.items():
            with self.subTest(what):
                client = self.connect("clear")
                client.send(header)
                heard, end = ending(client)
                self.assertEqual((heard[:4], end), (b"421 ", FIN))
                failure = self.failure("clear", client.name)
                self.assertEqual(failure["error"], "not_allowed")
                self.assertIn("PROXY header", failure["reason"])
                self.assertTrue(failure["evidence"])

    def test_a_late_header_ends_the_session_even_if_it_comes_slowly(self):
        silent = self.connect("hasty")
        slow = self.connect("hasty")
        slow.dribble(LINE, pause=1)
        for client in (silent, slow):
            heard, end = ending(client)
            self.assertEqual((heard[:4], end), (b"421 ", FIN))
            self.assertEqual(self.failure("hasty", client.name)["reason"],
                             "no PROXY header came in time")
            line = self.last("hasty", client.name)
            self.assertEqual(line["outcome"], "timeout")
            self.assertLess(int(line["total_ms"]), 25_000)  # less than the 30 s of other timeouts

    def test_a_second_header_ends_the_session(self):
        for second in (LINE, binary(), LOCAL):
            for name in ("clear", "implicit"):
                client = self.connect(name)
                client.send(binary(port=42000) + second)
                heard, end = ending(client)
                self.assertEqual((heard[:4], end), (b"421 " if name == "clear" else b"", FIN))
                self.assertEqual(self.last(name, "192.0.2.7:42000")["reason"],
                                 "the connection has a second PROXY header")

    def test_a_header_from_an_untrusted_address_ends_the_session(self):
        for name in ("strict", "default", "strict_implicit"):
            for header in (LINE, binary(), LOCAL):
                client = self.connect(name)
                client.send(header[:5])
                client.send(header[5:])
                heard, end = refusal(client)
                self.assertEqual((heard[-4:] if not heard else heard.splitlines()[-1][:4], end),
                                 (b"" if name == "strict_implicit" else b"421 ", FIN))
                line = self.last(name, client.name)
                self.assertEqual((line["outcome"], line["client"]), ("not_allowed", client.name))

    def test_bytes_after_or_instead_of_a_header_are_not_logged(self):
        """The bytes may be a login. Each daemon's log is searched for this one when it stops."""
        login = b"EHLO a.test\r\nAUTH PLAIN " + canary.plain("user") + b"\r\n"
        word = canary.PASSWORD.encode()
        for name, header in (("strict", LINE + login), ("clear", binary() + LINE + login),
                             ("strict", b"PROXY LOGIN user " + word + b"\r\n"),
                             ("clear", b"PROXY LOGIN user " + word + b"\r\n"),
                             ("clear", b"PROXY LOGIN user " + word + b"\n"),
                             ("clear", b"PROXY LOGIN user " + word + 100 * b" ")):
            client = self.connect(name)
            client.send(header)
            self.assertEqual(ending(client)[0].splitlines()[-1][:4], b"421 ")

    def test_other_clients_need_no_header(self):
        self.serve(self.connect("strict"))
        context = ssl.create_default_context(cafile=pki().ca)
        client = self.connect("strict_implicit")
        client.start_tls(context, "mail.test")
        self.serve(client)

    def test_the_allow_list_applies_to_the_conveyed_client(self):
        client = self.connect("picky")
        client.send(LINE)
        self.serve(client)
        client = self.connect("picky")
        client.send(line6())
        self.serve(client)
        for header, name in ((b"PROXY TCP4 203.0.113.7 198.51.100.1 40001 25\r\n",
                              "203.0.113.7:40001"), (b"PROXY UNKNOWN\r\n", None)):
            client = self.connect("picky")
            client.send(header)
            heard, end = refusal(client)
            self.assertEqual((heard[:10], end), (b"421 4.3.2 ", FIN))
            self.assertEqual(self.last("picky", name or client.name)["outcome"], "not_allowed")

    def test_a_client_that_is_not_allowed_is_refused_before_its_header(self):
        """A refused client need not send anything first: otherwise a silent crowd would use up the places."""
        said = {"127.0.0.1": b"PROXY TCP4 203.0.113.7 198.51.100.1 40001 25\r\n", "127.0.0.3": b""}
        for source, header in said.items():
            with Client(self.daemon("picky_implicit").port, source=source) as client:
                client.send(header)
                self.assertEqual(ending(client), (b"", FIN))
        daemon = self.daemon("picky_implicit")
        with Client(daemon.port, source="127.0.0.2"):
            daemon.lines(lambda fields: fields.get("to") == "proxy_header", 2)
            with Client(daemon.port, source="127.0.0.2") as second:
                self.assertEqual(ending(second), (b"", FIN))
        lines = daemon.sessions(4)
        self.assertEqual(sorted(line["outcome"] for line in lines),
                         ["closed", "limit", "not_allowed", "not_allowed"])

    def test_a_balancers_check_is_admitted_with_its_own_address(self):
        for header in (LOCAL, binary(command=0, vectors=b"\x04\0\x01x")):
            client = self.connect("picky")
            client.send(header)
            self.serve(client)
            self.assertEqual(self.last("picky", client.name)["outcome"], "ok")

    def test_a_check_that_leaves_at_once_does_no_harm(self):
        # The server does not greet. If it did, a client that is slow to leave might be greeted first, and its
        # session would end well.
        with mock.patch.object(self.script, "greeting", None):
            client = self.connect("picky")
            client.send(LOCAL)
            client.reset()
            silent = self.connect("picky")
            silent.reset()
            for each in (client, silent):
                self.assertEqual(self.last("picky", each.name)["outcome"], "closed")
        again = self.connect("picky")
        again.send(LOCAL)
        self.serve(again)


class PlainRelay(unittest.TestCase):
    """A service without TLS looks at no bytes, except for headers that it must not accept."""

    def test_an_unwanted_header_does_not_reach_the_server(self):
        def greet(connection):
            connection.send(b"220 here\r\n")
            connection.wait_for_end()

        with FakeServer(greet) as server:
            text = configuration(server.port, upstream={"tls": "none"},
                                 downstream={"proxy_protocol": [NOBODY]})
            with Daemon(text) as daemon:
                with daemon.connect() as client:
                    self.assertEqual(client.line(), b"220 here\r\n")
                    client.send(LINE)
                    self.assertEqual(ending(client), (b"", FIN))
                self.assertEqual(daemon.session()["outcome"], "not_allowed")
            self.assertEqual(server.heard(), b"")

    def test_early_bytes_after_a_trusted_header_arrive_whole(self):
        def listen(connection):
            connection.send(b"220 here\r\n")
            self.assertEqual(connection.line(), b"EHLO early\r\n")
            connection.send(b"250 whole\r\n")

        with FakeServer(listen) as server:
            text = configuration(server.port, upstream={"tls": "none"},
                                 downstream={"proxy_protocol": [BALANCER]})
            with Daemon(text) as daemon, daemon.connect() as client:
                client.send(LINE + b"EHLO early\r\n")
                self.assertEqual(ending(client), (b"220 here\r\n250 whole\r\n", FIN))
                self.assertEqual(daemon.session()["client"], "192.0.2.7:40001")



def take_header(connection):
    """Reads the PROXY header of a connection, byte by byte: (header, vectors of version 2)."""
    header = b""

    def read(size):
        data = b""
        while len(data) < size:
            more = connection.sock.recv(size - len(data))
            if not more:
                raise Gone
            data += more
        return data

    header = read(6)
    if header == b"PROXY ":
        while not header.endswith(b"\r\n"):
            header += read(1)
        return header, {}
    header += read(10)
    if not header.startswith(SIGNATURE):
        raise Gone
    block = read(struct.unpack("!H", header[14:])[0])
    sizes = {0x11: 12, 0x21: 36, 0: 0}
    return header + block, vectors(block[sizes[header[13]]:])


def vectors(data):
    """Returns type -> value of a block's type-length-value vectors."""
    found = {}
    while data:
        kind, size = struct.unpack("!BH", data[:3])
        found[kind] = data[3:3 + size]
        data = data[3 + size:]
    return found


class Expecting:
    """A script: a server that expects PROXY headers, and keeps them; `script` does the rest."""

    def __init__(self, script):
        self._script = script
        self.headers = []

    def __call__(self, connection):
        self.headers.append(take_header(connection))
        self._script(connection)


class ImplicitSmtp(Smtp):
    """A server with TLS from the first byte."""

    def __call__(self, connection):
        connection.start_tls(self.context)
        self.say(connection, self.greeting)
        self.secured(connection)


def session(client):
    """Runs a session from the greeting to the end."""
    greeting = client.line()
    assert greeting.startswith(b"220 "), greeting
    assert client.command(b"EHLO a.test").startswith(b"250-")
    assert client.command(b"QUIT").startswith(b"221 ")


class Telling(unittest.TestCase):
    """Headers that go out, byte by byte."""

    def header(self, version, *, mode="starttls", downstream=None, say=b"", talk=session):
        """Runs one session. Returns the server's (header, vectors), the client, the daemon's port."""
        script = Expecting(ImplicitSmtp() if mode == "implicit" else Smtp())
        with FakeServer(script) as server:
            text = configuration(server.port, downstream=downstream,
                                 upstream={"send_proxy": version, "tls": mode})
            if "tls" in (downstream or {}):
                text = with_certificate(text)
            with Daemon(text) as daemon, daemon.connect() as client:
                address = client.address
                client.send(say)
                talk(client)
                client.close()
                self.assertEqual(daemon.session()["outcome"], "ok")
        self.assertEqual(len(script.headers), 1)
        return *script.headers[0], address, daemon.port

    def test_a_line_carries_the_connections_addresses(self):
        for mode in ("starttls", "implicit"):
            header, _, client, port = self.header("v1", mode=mode)
            self.assertEqual(
                header, f"PROXY TCP4 127.0.0.1 127.0.0.1 {client[1]} {port}\r\n".encode())

    def test_a_block_carries_the_connections_addresses(self):
        for mode in ("starttls", "implicit"):
            header, found, client, port = self.header("v2", mode=mode)
            self.assertEqual(header, SIGNATURE + b"\x21\x11\0\x0c" + 2 * b"\x7f\0\0\1"
                             + struct.pack("!HH", client[1], port))
            self.assertEqual(found, {})

    def test_a_balancers_addresses_are_passed_on(self):
        believing = {"proxy_protocol": ["127.0.0.1"]}
        for version, said, told in (
                ("v1", binary(), LINE), ("v1", line6(), line6()),
                ("v2", LINE, binary()),
                ("v2", line6(), binary("2001:db8::7", "2001:db8::1"))):
            header, *_ = self.header(version, downstream=believing, say=said)
            self.assertEqual(header, told)
        header, _, client, port = self.header("v1", downstream=believing, say=LOCAL)
        self.assertEqual(header,
                         f"PROXY TCP4 127.0.0.1 127.0.0.1 {client[1]} {port}\r\n".encode())

    def talk_tls(self, **settings):
        def talk(client):
            context = ssl.create_default_context(cafile=pki().ca)
            context.set_alpn_protocols(["smtp"])
            if "certificate" in settings:
                context.load_cert_chain(*pki().pair(settings["certificate"]))
            context.maximum_version = settings.get("version", ssl.TLSVersion.MAXIMUM_SUPPORTED)
            client.start_tls(context, "mail.test")
            session(client)
        return talk

    def test_a_block_describes_the_clients_tls(self):
        for version, name, cipher in (
                (ssl.TLSVersion.TLSv1_2, b"TLSv1.2", b"ECDHE-ECDSA-"),
                (ssl.TLSVersion.TLSv1_3, b"TLSv1.3", b"TLS_")):
            _, found, *_ = self.header("v2", downstream={"tls": "implicit"},
                                       talk=self.talk_tls(version=version))
            self.assertEqual(found[0x20][:5], b"\1\0\0\0\1", "TLS, and no certificate")
            inner = vectors(found[0x20][5:])
            self.assertEqual(set(inner), {0x21, 0x23})
            self.assertEqual(inner[0x21], name)
            self.assertTrue(inner[0x23].startswith(cipher), inner)
            self.assertEqual((found[1], found[2]), (b"smtp", b"mail.test"))

    def test_a_block_describes_a_verified_certificate(self):
        _, found, *_ = self.header(
            "v2", downstream={"tls": "implicit", "client_ca": pki().ca},
            talk=self.talk_tls(certificate="client"))
        self.assertEqual(found[0x20][:5], b"\7\0\0\0\0")
        self.assertEqual(vectors(found[0x20][5:])[0x22], b"device")

    def test_tls_that_has_not_begun_is_not_described(self):
        _, found, *_ = self.header("v2", downstream={"tls": "opportunistic"})
        self.assertEqual(found, {})

    def test_a_plain_relay_sends_the_header_first(self):
        for version in ("v1", "v2"):
            script = Expecting(lambda connection: connection.send(b"220 x\r\n"))
            with FakeServer(script) as server:
                text = configuration(server.port, upstream={"send_proxy": version, "tls": "none"})
                with Daemon(text) as daemon, daemon.connect() as client:
                    self.assertEqual(client.line(), b"220 x\r\n")
                    client.finish()
                    ending(client)
                    daemon.session()
            self.assertIn(b"PROXY" if version == "v1" else b"QUIT", script.headers[0][0])

    def test_each_attempt_gets_one_header(self):
        refusing, taking = Expecting(lambda connection: connection.send(b"554 no\r\n")), \
            Expecting(Smtp())
        with FakeServer(refusing) as first, FakeServer(taking) as second:
            addresses = [f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"]
            text = configuration(0, address=addresses, upstream={"send_proxy": "v1"})
            with Daemon(text) as daemon, daemon.connect() as client:
                session(client)
        self.assertEqual(refusing.headers, taking.headers)
        self.assertEqual(len(taking.headers), 1)

    def test_two_proxies_in_a_row(self):
        script = Expecting(Smtp())
        with FakeServer(script) as server:
            inner = configuration(server.port, upstream={"send_proxy": "v1"},
                                  downstream={"proxy_protocol": "127.0.0.1"})
            with Daemon(inner) as second:
                outer = configuration(second.port,
                                      upstream={"send_proxy": "v2", "tls": "none"},
                                      downstream={"proxy_protocol": "127.0.0.1"})
                with Daemon(outer) as first, first.connect() as client:
                    client.send(line6())
                    session(client)
                    client.close()
                    for daemon in (first, second):
                        self.assertEqual(daemon.session()["client"], "[2001:db8::7]:40001")
        self.assertEqual([header for header, _ in script.headers], [line6()])

    def test_probe_sends_a_header_of_its_own(self):
        for version in ("v1", "v2"):
            script = Expecting(Smtp())
            with FakeServer(script) as server:
                result = run_to_end("probe", "--protocol", "smtp", "--ca-file", pki().ca,
                                    "--upstream", f"127.0.0.1:{server.port}",
                                    "--server-name", "mail.test", "--send-proxy", version)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            header, _ = script.headers[0]
            if version == "v2":
                self.assertEqual(header, SIGNATURE + b"\x20\0\0\0")
            else:
                self.assertRegex(header, b"^PROXY TCP4 127.0.0.1 127.0.0.1 [0-9]+ %d\r\n$"
                                 % server.port)


SERVICE = """
[[service]]
name = "{name}"
protocol = "{protocol}"
listen = "127.0.0.1:0"
downstream.proxy_protocol = ["127.0.0.9"]
upstream.address = "{address}"
upstream.server_name = "mail.test"
upstream.ca_file = "{ca}"
upstream.tls = "{mode}"
upstream.send_proxy = "{version}"
"""

# The client's address, the balancer's header, and the address that the server must see.
CLIENTS = (("127.0.0.5", b"", "127.0.0.5"),
           ("127.0.0.9", binary(), "192.0.2.7"),
           ("127.0.0.9", line6(), "2001:db8::7"))


class RealServers(unittest.TestCase):
    """Postfix and Dovecot see the client's own address, or the address from a balancer."""

    def pairs(self, protocol, addresses):
        """Returns services for both versions and modes: the configuration, and (mode, version) of each."""
        text, pairs = '[proxy]\nworkers = 1\nhostname = "proxy.test"\n', []
        for mode, address in addresses.items():
            for version in ("v1", "v2"):
                text += SERVICE.format(name=f"{mode}-{version}", protocol=protocol, mode=mode,
                                       address=address, ca=pki().ca, version=version)
                pairs.append((mode, version))
        return text, pairs

    def test_postfix(self):
        ports = [free_port(), free_port()]
        options = "  -o smtpd_upstream_proxy_protocol=haproxy -o inet_protocols=all\n"
        services = (f"127.0.0.1:{ports[0]} inet n - n - - smtpd\n{options}"
                    f"127.0.0.1:{ports[1]} inet n - n - - smtpd\n{options}"
                    "  -o smtpd_tls_wrappermode=yes\n")
        with Postfix(services=services) as postfix:
            text, pairs = self.pairs("smtp", {"starttls": f"127.0.0.1:{ports[0]}",
                                              "implicit": f"127.0.0.1:{ports[1]}"})
            with Daemon(text, listeners=len(pairs)) as daemon:
                for number, (source, said, seen) in enumerate(CLIENTS, 1):
                    for port in daemon.ports:
                        with Client(port, source=source) as client:
                            client.send(said)
                            session(client)
                    mark = f"disconnect from unknown[{seen}]"
                    wait.until(lambda: postfix.log().count(mark) == len(pairs),
                               lambda: f"{mark}\n{postfix.log()[-3000:]}")

    def test_dovecot(self):
        ports = [free_port(), free_port()]
        settings = f"""
haproxy_trusted_networks = 127.0.0.0/8
service imap-login {{
  inet_listener imap_haproxy {{
    port = {ports[0]}
    haproxy = yes
  }}
  inet_listener imaps_haproxy {{
    port = {ports[1]}
    haproxy = yes
    ssl = yes
  }}
}}
"""
        with Dovecot("required", settings=settings) as dovecot:
            text, pairs = self.pairs("imap", {"starttls": f"127.0.0.1:{ports[0]}",
                                              "implicit": f"127.0.0.1:{ports[1]}"})
            logins = 0
            with Daemon(text, listeners=len(pairs)) as daemon:
                for source, said, seen in CLIENTS:
                    for port in daemon.ports:
                        with Client(port, source=source) as client:
                            client.send(said)
                            self.assertIn(b"* OK", client.line())
                            client.send(f"a LOGIN box {PASSWORD}\r\n".encode())
                            while not (line := client.line()).startswith(b"a "):
                                self.assertTrue(line)
                            self.assertTrue(line.startswith(b"a OK "), line)
                            client.send(b"b LOGOUT\r\n")
                            ending(client)
                        logins += 1
                        self.assertIn(f"rip={seen},", dovecot.logins("imap", logins)[-1])

    def test_curl_sends_its_address(self):
        peers.require()
        with FakeServer(Smtp()) as server:
            text = configuration(server.port, downstream={"proxy_protocol": ["127.0.0.1"]})
            with Daemon(text) as daemon:
                result = peers.run("/usr/bin/curl", "--silent", "--show-error", "--haproxy-protocol",
                                   f"smtp://127.0.0.1:{daemon.port}", "--mail-from", "a@a.test",
                                   "--mail-rcpt", "b@mail.test", "--upload-file", "-",
                                   input=b"Subject: x\r\n\r\nhello\r\n")
                self.assertEqual(result.returncode, 0, result.stderr)
                conveyed = daemon.lines(
                    lambda fields: fields.get("msg") == "client named by a PROXY header")[0]
                self.assertEqual(conveyed["client"], conveyed["balancer"])
                self.assertEqual(daemon.session()["outcome"], "ok")
            self.assertIn(b"hello", server.connection().messages[0])


if __name__ == "__main__":
    main.main()

"""TLS itself: records, handshakes, names and tickets of peers (cases L1 to L20)."""

import collections
import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import tempfile
import threading
import unittest

from support import hello, main, wait
from support.client import FIN, RESET, Client, free_port
from support.daemon import Daemon, run_to_end, toml
from support.environment import SANITIZED, pki
from support.fake_server import FakeServer, tls_context
from support.groups import set_group
from support.records import (ALERT, CLOSE_NOTIFY, DATA, FATAL, HANDSHAKE, HELLO_REQUEST, WARNING,
                             Records)

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
MODES = ("implicit", "starttls")
# RFC 8446 6.2
UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW, HANDSHAKE_FAILURE = 10, 20, 22, 40
ILLEGAL_PARAMETER, DECODE_ERROR, PROTOCOL_VERSION, USER_CANCELED = 47, 50, 70, 90
NO_RENEGOTIATION = 100
# The algorithms that peers may sign with: ECDSA, Ed25519, RSA-PSS, RSA, none of them with SHA-1
# (RFC 9155).
SIGNATURES = (0x403, 0x503, 0x603, 0x807, 0x804, 0x805, 0x806, 0x401, 0x501, 0x601)
MIB = 1 << 20
MAX_HELLO = 16384  # BoringSSL's limit for a ClientHello
FLOOD = 20000  # records, enough to show the CPU time and memory that a connection may cost
# CPU seconds for a flood that is cut short after a few records, and for 20000 that are let through.
CUT_SHORT, LET_THROUGH = (5, 30) if SANITIZED else (0.5, 5)


def client_context(version=None):
    context = ssl.create_default_context(cafile=pki().ca)
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def protocol_ids_that_fill(context):
    """Returns "smtp", and so many other ids that the context's hello is about as large as allowed."""
    context.set_alpn_protocols(["smtp"])
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="mail.test").do_handshake()
    record_head, id_size = 5, 250
    room = MAX_HELLO - (len(outgoing.read()) - record_head)
    return ["smtp"] + [f"{number:0{id_size}}" for number in range(room // (1 + id_size))]


def server_context(version=None, certificate="server"):
    context = tls_context(certificate)
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def service(name, upstream_port, downstream="none", upstream="none", protocol="smtp",
            certificates=("server",), address=None, listen="127.0.0.1:0", **keys):
    """Returns the lines of one service; `keys` are added ("__": a dot)."""
    settings = {"name": name, "protocol": protocol, "listen": listen,
                "downstream__tls": downstream, "upstream__tls": upstream,
                "upstream__address": address or f"127.0.0.1:{upstream_port}"}
    if upstream != "none":
        settings.update(upstream__server_name="mail.test", upstream__ca_file=pki().ca)
    settings.update(keys)
    lines = ["[[service]]", *(f"{key.replace('__', '.')} = {toml(value)}"
                              for key, value in settings.items())]
    if downstream != "none":
        pairs = (pair if isinstance(pair, tuple) else pki().pair(pair) for pair in certificates)
        lines.append("downstream.certificates = [" + ", ".join(
            f"{{ chain = {toml(str(chain))}, key = {toml(str(key))} }}"
            for chain, key in pairs) + "]")
    return lines


def configuration(*services):
    return "\n".join(["[proxy]", 'hostname = "proxy.test"', "workers = 1", *sum(services, [])])


def serve(peer, relay=None, starttls=None):
    """Plays a server up to MAIL, then calls `relay(peer)`. `starttls(peer)` returns the peer with TLS."""
    peer.send(b"220 mail.test ESMTP\r\n")
    while line := peer.line():
        if line.startswith(b"EHLO"):
            peer.send(b"250-mail.test\r\n250 STARTTLS\r\n" if starttls else b"250 mail.test\r\n")
        elif line.startswith(b"STARTTLS") and starttls:
            peer.send(b"220 go\r\n")
            peer, starttls = starttls(peer), None
        elif line.startswith(b"MAIL"):
            peer.send(b"250 ok\r\n")
            return (relay or echo)(peer)
        elif line.startswith(b"QUIT"):
            peer.send(b"221 bye\r\n")
            return None
        else:
            peer.send(b"500 what\r\n")


def echo(peer):
    while chunk := peer.receive():
        peer.send(chunk)


def commit(peer, greeted=False):
    """Plays a client, from the greeting to the relay."""
    commands = [b"EHLO client.test", b"MAIL FROM:<a@client.test>"]
    replies = [] if greeted else [peer.line()]
    for command in commands:
        peer.send(command + b"\r\n")
        replies.append(peer.line())
    if not all(reply.startswith(b"2") for reply in replies):
        raise AssertionError(replies)


def flip(record):
    """Returns the record with one bit of its authentication changed."""
    return record[:-1] + bytes((record[-1] ^ 1,))


class Layer(unittest.TestCase):
    """One daemon per class; its sessions end one after the other."""

    @classmethod
    def start(cls, *services):
        cls.daemon = cls.enterClassContext(Daemon(configuration(*services),
                                                  listeners=len(services)))
        lines = cls.daemon.lines(lambda f: f.get("msg") == "listening", len(services))
        cls.sessions = collections.Counter()
        cls.ports = {line["service"]: int(line["address"].rpartition(":")[2]) for line in lines}

    def client(self, name):
        """Returns a new client of that service."""
        client = Client(self.ports[name])
        self.sessions[client.address] += 1
        return client

    def session_of(self, client):
        """Returns the line at the end of the session of `client`, which is the last one of its port."""
        name = "{}:{}".format(*client.address)
        return self.daemon.lines(lambda f: "outcome" in f and f["client"] == name,
                                 self.sessions[client.address])[-1]

    def cpu(self, limit):
        """Returns a check for later: the daemon's CPU time since now is below the limit."""
        before = self.daemon.cpu_seconds()
        return lambda: self.assertLess(self.daemon.cpu_seconds() - before, limit)


class Clients(Layer):
    """Clients that make their own records, in front of a server in the clear."""

    @classmethod
    def setUpClass(cls):
        cls.relay = echo
        cls.server = cls.enterClassContext(FakeServer(lambda peer: serve(peer, cls.relay)))
        cls.start(*(service(mode, cls.server.port, mode) for mode in MODES),
                  service("nowhere", free_port(), "implicit"))

    def connect(self, mode, version):
        """Returns (connection, records), at the relay's start."""
        client = self.enterContext(self.client(mode))
        if mode == "starttls":
            client.line()
            client.command(b"EHLO client.test")
            self.assertTrue(client.command(b"STARTTLS").startswith(b"220 "))
        peer = Records(client.sock, client_context(version), "mail.test")
        commit(peer, greeted=mode == "starttls")
        return client, peer

    def each(self, check, versions=VERSIONS, relay=echo):
        """Calls `check(peer)` in every mode and version; the line of each session is checked after it."""
        type(self).relay = staticmethod(relay)
        for mode in MODES:
            for version in versions:
                with self.subTest(mode, version=version):
                    client, peer = self.connect(mode, version)
                    expect = check(peer)
                    client.close()
                    session = self.session_of(client)
                    self.assertEqual(session["downstream_tls"], version)
                    if expect:
                        expect(session)

    def refused(self, peer, alert, reason):
        """Asserts that the client reads our alert, then FIN, and that the log has the reason."""
        self.sees(peer, alert)
        return lambda session: (self.assertEqual(session["outcome"], "tls", session),
                                self.assertRegex(session["reason"], reason))

    def sees(self, peer, alert):
        _, alerts, end = peer.rest()
        self.assertEqual((alerts, end), ([(FATAL, alert)], FIN))

    def ping(self, peer, chunk=b"ping\r\n"):
        peer.send(chunk)
        self.assertEqual(peer.line(), chunk)

    # --- L1

    def test_renegotiation_is_refused(self):
        def check(peer):
            self.ping(peer)
            peer.send(hello.message(), HANDSHAKE)
            return self.refused(peer, NO_RENEGOTIATION, "no renegotiation")

        self.each(check, ["TLSv1.2"])

    def test_a_hello_within_tls_1_3_is_refused(self):
        def check(peer):
            peer.send(hello.message(), HANDSHAKE)
            return self.refused(peer, UNEXPECTED_MESSAGE, "unexpected message")

        self.each(check, ["TLSv1.3"])

    # --- L2

    def flood(self, record, alert, reason, versions=VERSIONS):
        """Asserts that `record(peer)`, sent again and again, ends the session soon and at little cost."""

        def check(peer):
            cheap = self.cpu(CUT_SHORT)
            self.ping(peer)
            stop = threading.Event()

            def send():
                try:
                    while not stop.is_set():
                        peer.sock.sendall(b"".join(record(peer) for _ in range(100)))
                except OSError:
                    pass  # the other thread reads, and after a while the daemon closes the connection

            sender = threading.Thread(target=send)
            sender.start()
            try:
                answers = []
                while not answers or answers[-1][0] != ALERT:
                    answers.append(peer.record())
            finally:
                stop.set()
                sender.join()
            self.assertEqual(tuple(answers[-1][1]), (FATAL, alert))
            self.assertLessEqual(len(answers), 34)  # the daemon's KeyUpdates, until its limit
            cheap()
            return lambda session: (self.assertEqual(session["outcome"], "tls", session),
                                    self.assertRegex(session["reason"], reason))

        self.each(check, versions)

    def test_key_updates_without_data(self):
        for wanted in (0, 1):
            with self.subTest(wanted=wanted):
                self.flood(lambda peer, wanted=wanted: peer.key_update(wanted), UNEXPECTED_MESSAGE,
                           "too many key updates", ["TLSv1.3"])

    def test_empty_records(self):
        self.flood(lambda peer: peer.seal(DATA, b""), UNEXPECTED_MESSAGE,
                   "too many empty fragments")

    def test_warnings(self):
        self.flood(lambda peer: peer.seal(ALERT, bytes((WARNING, USER_CANCELED))),
                   UNEXPECTED_MESSAGE, "too many warning alerts")


    def test_a_few_of_each_do_no_harm(self):
        """Sends KeyUpdates in both directions, empty records and warnings, with data between them."""

        def check(peer):
            sent = bytearray()
            dice = random.Random(3)
            for number in range(40):
                kinds = [lambda: peer.seal(DATA, b""),
                         lambda: peer.seal(ALERT, bytes((WARNING, USER_CANCELED)))]
                if peer.version == "TLSv1.3":
                    kinds += [lambda: peer.key_update(0), lambda: peer.key_update(1),
                              lambda: peer.seal(DATA, b"", padding=500)]
                data = dice.randbytes(dice.choice((1, 100, 16384)))
                peer.sock.sendall(b"".join(dice.choice(kinds)() for _ in range(number % 4)))
                peer.send(data)
                sent += data
                heard = b""
                while len(heard) < len(data):
                    kind, plain = peer.record()
                    self.assertIn(kind, (DATA, HANDSHAKE))
                    heard += plain if kind == DATA else b""
                self.assertEqual(heard, data)
            peer.send(CLOSE_NOTIFY, ALERT)
            peer.sock.shutdown(socket.SHUT_WR)
            self.assertEqual(peer.rest(), (b"", [tuple(CLOSE_NOTIFY)], FIN))
            self.assertTrue(bytes(self.server.connections[-1].clear).endswith(sent))
            return lambda session: self.assertEqual(session["outcome"], "ok", session)

        self.each(check)

    def test_records_of_one_byte(self):
        """Sends many, cut at random by TCP: they arrive whole, in order, and at a bounded cost."""
        data = random.Random(5).randbytes(FLOOD // 10 if SANITIZED else FLOOD)

        def check(peer):
            self.ping(peer)
            cheap = self.cpu(LET_THROUGH)
            records = b"".join(peer.seal(DATA, data[at:at + 1]) for at in range(len(data)))
            sender = threading.Thread(target=peer.sock.sendall, args=(records,))
            sender.start()
            heard = b""
            while len(heard) < len(data):
                heard += peer.record()[1]
            sender.join()
            self.assertEqual(heard, data)
            cheap()

        self.each(check)

    def test_key_updates_of_a_peer_that_does_not_read(self):
        """Each requests a KeyUpdate of ours that the peer does not read: these must not use up memory."""

        def check(peer):
            self.ping(peer)
            before = self.daemon.resident_bytes()
            for _ in range(FLOOD // 400):
                peer.sock.sendall(b"".join(peer.key_update(1) + peer.seal(DATA, b"x")
                                           for _ in range(100)))
            peer.send(CLOSE_NOTIFY, ALERT)
            peer.sock.shutdown(socket.SHUT_WR)
            data, _, _ = peer.rest()
            self.assertEqual(data, b"x" * (FLOOD // 4))
            if not SANITIZED:
                self.assertLess(self.daemon.resident_bytes() - before, 4 * MIB)

        self.each(check, ["TLSv1.3"])

    # --- L4, L13

    def test_a_bad_record_gets_an_alert_that_can_be_read(self):
        """Further data on its way to us must not turn the alert into a reset."""
        header = lambda size: b"\x17\3\3" + size.to_bytes(2, "big")
        cases = {
            "forged": (lambda peer: flip(peer.seal(DATA, b"QUIT\r\n")), BAD_RECORD_MAC),
            "far too large": (lambda peer: header(65535) + bytes(65535), RECORD_OVERFLOW),
            "too large": (lambda peer: peer.seal(DATA, bytes(16385)), RECORD_OVERFLOW),
            "unknown type": (lambda peer: peer.seal(99, b"?"), UNEXPECTED_MESSAGE),
            "change of cipher": (lambda peer: peer.seal(20, b"\1"), UNEXPECTED_MESSAGE),
            "a record in the clear": (lambda peer: b"\x15\3\3\0\2\1\0", None),
            "a wrong version": (lambda peer: b"\x17\2\0\0\x20" + bytes(32), None),
            "an alert of one byte": (lambda peer: peer.seal(ALERT, b"\2"), DECODE_ERROR),
            "an unknown alert level": (lambda peer: peer.seal(ALERT, b"\7\0"), ILLEGAL_PARAMETER),
            "data behind a KeyUpdate": (
                lambda peer: peer.seal(HANDSHAKE, b"\x18\0\0\1\0\x18"), None),
            "no type at all": (lambda peer: peer.seal(0, b"", padding=100), None),
        }
        for name, (record, alert) in cases.items():
            def check(peer, record=record, alert=alert):
                self.ping(peer)
                bad = record(peer)
                peer.sock.sendall(bad + peer.seal(DATA, b"lost" * 4000) * 50)
                data, alerts, end = peer.rest()
                self.assertEqual((data, len(alerts), end), (b"", 1, FIN))
                self.assertEqual(alerts[0][0], FATAL)
                if alert:
                    self.assertEqual(alerts[0][1], alert)
                self.assertNotIn(b"lost", self.server.connections[-1].clear)
                return lambda session: self.assertEqual(session["outcome"], "tls", session)

            with self.subTest(name):
                self.each(check)

    def test_a_fatal_alert_of_the_client(self):
        def check(peer):
            peer.send(bytes((FATAL, 40)), ALERT)
            self.assertEqual(peer.rest()[2], FIN)
            return lambda session: self.assertRegex(session["reason"], "alert from the peer: .*40")

        self.each(check)

    # --- L11, L12

    def test_a_reply_still_follows_the_clients_end(self):
        """Sends QUIT, close_notify and FIN in one segment."""

        def check(peer):
            peer.sock.sendall(peer.seal(DATA, b"QUIT\r\n") + peer.seal(ALERT, CLOSE_NOTIFY))
            peer.sock.shutdown(socket.SHUT_WR)
            self.assertEqual(peer.rest(), (b"221 bye\r\n", [tuple(CLOSE_NOTIFY)], FIN))
            return lambda session: self.assertEqual(session["outcome"], "ok", session)

        def answer_after_the_end(peer):
            heard = b""
            while chunk := peer.sock.recv(4096):
                heard += chunk
            if heard != b"QUIT\r\n":
                raise AssertionError(heard)
            peer.send(b"221 bye\r\n")

        self.each(check, relay=answer_after_the_end)
        self.assertEqual([c.error for c in self.server.connections if c.error], [])

    def test_close_notify_alone_is_also_an_end(self):
        def check(peer):
            peer.sock.sendall(peer.seal(DATA, b"QUIT\r\n") + peer.seal(ALERT, CLOSE_NOTIFY))
            peer.sock.sendall(peer.seal(DATA, b"after the end"))
            self.assertEqual(peer.rest(), (b"QUIT\r\n", [tuple(CLOSE_NOTIFY)], FIN))

        self.each(check)

    def test_the_servers_end_and_the_client_goes_on(self):
        heard = []

        def say_goodbye_and_listen(peer):
            peer.line()
            peer.send(b"goodbye\r\n")
            peer.sock.shutdown(socket.SHUT_WR)
            chunk = bytearray()
            while more := peer.sock.recv(65536):
                chunk += more
            heard.append(bytes(chunk))

        def check(peer):
            self.assertEqual(peer.command(b"QUIT"), b"goodbye\r\n")
            self.assertEqual(peer.record(), (ALERT, CLOSE_NOTIFY))
            for _ in range(10):
                peer.send(b"x" * 16384)
            peer.send(CLOSE_NOTIFY, ALERT)
            self.assertEqual(peer.rest(), (b"", [], FIN))
            self.assertTrue(self.server.connections[-1].ended.wait(wait.DEADLINE))
            self.assertEqual(heard.pop(), b"x" * 163840)
            return lambda session: self.assertEqual(session["outcome"], "ok", session)

        self.each(check, relay=say_goodbye_and_listen)

    def test_a_client_that_is_cut(self):
        """Without close_notify: inside a line the server gets a reset, otherwise FIN."""
        for words, end, outcome in ((b"DATA\r\nhalf a li", RESET, "truncated"),
                                    (b"QUIT\r\n", FIN, "ok")):
            ends = []

            def listen(peer, ends=ends):
                heard = b""
                try:
                    while chunk := peer.sock.recv(4096):
                        heard += chunk
                    ends.append((heard, FIN))
                except ConnectionResetError:
                    ends.append((heard, RESET))

            def check(peer, words=words, end=end, ends=ends, outcome=outcome):
                peer.send(words)
                peer.sock.shutdown(socket.SHUT_WR)
                self.assertTrue(self.server.connections[-1].ended.wait(wait.DEADLINE))
                self.assertEqual(ends.pop(), (words, end))
                peer.rest()
                fields = ("note", "reason") if outcome == "ok" else ("reason", "note")
                return lambda session: (self.assertEqual(session["outcome"], outcome, session),
                                        self.assertRegex(session[fields[0]], "the client.*cut"),
                                        self.assertEqual(session[fields[1]], ""))

            with self.subTest(words=words):
                self.each(check, relay=listen)

    def test_a_failure_is_reported_inside_tls_and_ends_with_close_notify(self):
        for version in VERSIONS:
            with self.subTest(version), self.client("nowhere") as client:
                peer = Records(client.sock, client_context(version), "mail.test")
                data, alerts, end = peer.rest()
                self.assertRegex(data, rb"\A421 4\.4\.1 [ -~]+\r\n\Z")
                self.assertEqual((alerts, end), ([tuple(CLOSE_NOTIFY)], FIN))

    # --- L5

    def test_tickets_live_half_a_day_and_allow_no_early_data(self):
        for mode in MODES:
            client, peer = self.connect(mode, "TLSv1.3")
            with self.subTest(mode):
                self.assertGreater(len(peer.tickets), 0)
                for ticket in peer.tickets:
                    self.assertLessEqual(int.from_bytes(ticket[4:8], "big"), 12 * 3600)
                    nonce = ticket[12]
                    size = int.from_bytes(ticket[13 + nonce:15 + nonce], "big")
                    extensions = ticket[15 + nonce + size:]
                    self.assertFalse(extensions[2:4] == b"\0\x2a", extensions)
            client.close()
        with self.client("implicit") as client:
            client.start_tls(client_context("TLSv1.2"), "mail.test")
            self.assertLessEqual(client.sock.session.ticket_lifetime_hint, 12 * 3600)
            self.assertGreater(client.sock.session.ticket_lifetime_hint, 0)


class Servers(Layer):
    """Servers that make their own records, for clients in the clear."""

    @classmethod
    def setUpClass(cls):
        cls.relay = echo
        cls.version = "TLSv1.3"
        cls.served = []

        def secure(connection):
            peer = Records(connection.sock, server_context(cls.version))
            cls.served.append(peer)
            return peer

        def implicit(connection):
            serve(secure(connection), lambda peer: cls.relay(peer))

        def starttls(connection):
            serve(connection, lambda peer: cls.relay(peer), secure)

        cls.servers = {"implicit": cls.enterClassContext(FakeServer(implicit)),
                       "starttls": cls.enterClassContext(FakeServer(starttls))}
        cls.start(*(service(mode, server.port, upstream=mode)
                    for mode, server in cls.servers.items()))

    def each(self, relay, check, versions=VERSIONS):
        """Calls `relay(peer)` at the server and `check(client)`, in every mode and version."""
        type(self).relay = staticmethod(relay)
        for mode in MODES:
            for version in versions:
                type(self).version = version
                with (self.subTest(mode, version=version),
                      self.client(mode) as client):
                    commit(client)
                    expect = check(client)
                    client.close()
                    connection = self.servers[mode].connections[-1]
                    self.assertTrue(connection.ended.wait(wait.DEADLINE))
                    self.assertIsNone(connection.error)
                    session = self.session_of(client)
                    self.assertEqual(session["upstream_tls"], version)
                    if expect:
                        expect(session)

    def bad_peer(self, records, alert, reason, versions=VERSIONS):
        """Asserts that these records after a whole line get `alert`, and that the client gets the line."""
        seen = []

        def relay(peer):
            peer.send(b"250 real\r\n")
            try:
                for record in records(peer):
                    peer.sock.sendall(record)
            except OSError:
                pass  # a flood lasts longer than the session
            seen.append(peer.rest())

        def check(client):
            cheap = self.cpu(CUT_SHORT)
            self.assertEqual(client.rest(), (b"250 real\r\n", FIN))

            def expect(session):
                cheap()
                self.assertRegex(session["reason"], reason)
                self.assertEqual(session["outcome"], "tls")
                _, alerts, _ = seen.pop()
                self.assertEqual(alerts, [(FATAL, alert)])

            return expect

        self.each(relay, check, versions)

    def test_a_server_that_wants_to_renegotiate(self):
        self.bad_peer(lambda peer: [peer.seal(HANDSHAKE, HELLO_REQUEST)], NO_RENEGOTIATION,
                      "no renegotiation", ["TLSv1.2"])

    def test_key_updates_without_data(self):
        for wanted in (0, 1):
            self.bad_peer(lambda peer, wanted=wanted: [peer.key_update(wanted)
                                                       for _ in range(1000)],
                          UNEXPECTED_MESSAGE, "too many key updates", ["TLSv1.3"])

    def test_empty_records(self):
        self.bad_peer(lambda peer: [peer.seal(DATA, b"") for _ in range(1000)],
                      UNEXPECTED_MESSAGE, "too many empty fragments")

    def test_warnings(self):
        self.bad_peer(lambda peer: [peer.seal(ALERT, bytes((WARNING, USER_CANCELED)))
                                    for _ in range(1000)],
                      UNEXPECTED_MESSAGE, "too many warning alerts")

    def test_bad_records(self):
        for record, alert in ((lambda peer: flip(peer.seal(DATA, b"x")), BAD_RECORD_MAC),
                              (lambda peer: peer.seal(DATA, bytes(16385)), RECORD_OVERFLOW),
                              (lambda peer: peer.seal(99, b"?"), UNEXPECTED_MESSAGE)):
            self.bad_peer(lambda peer, record=record: [record(peer)], alert, "TLS error")

    def test_key_updates_keep_the_data_flowing(self):
        data = random.Random(7).randbytes(200000)

        def relay(peer):
            for number, at in enumerate(range(0, len(data), 10000)):
                peer.sock.sendall(peer.key_update(number % 2))
                peer.send(data[at:at + 10000])
            heard = b""
            while len(heard) < len(data):
                kind, plain = peer.record()
                heard += plain if kind == DATA else b""
            if heard != data:
                raise AssertionError("the data has changed")
            peer.send(CLOSE_NOTIFY, ALERT)
            if peer.rest() != (b"", [tuple(CLOSE_NOTIFY)], FIN):
                raise AssertionError("no end")

        def check(client):
            sender = threading.Thread(target=client.send, args=(data,))
            sender.start()
            self.assertEqual(client.exactly(len(data)), data)
            sender.join()
            client.finish()
            self.assertEqual(client.rest(), (b"", FIN))
            return lambda session: self.assertEqual(session["outcome"], "ok", session)

        self.each(relay, check, ["TLSv1.3"])

    def test_the_proxys_end_is_a_close_notify(self):
        seen = []

        def check(client):
            client.send(b"last words\r\n")
            client.finish()
            self.assertEqual(client.rest(), (b"you are welcome\r\n", FIN))
            self.assertEqual(seen.pop(), (b"last words\r\n", [tuple(CLOSE_NOTIFY)], FIN))

        def relay(peer):
            seen.append(peer.rest())
            peer.send(b"you are welcome\r\n")
            peer.send(CLOSE_NOTIFY, ALERT)

        self.each(relay, check)


class Bridge(Layer):
    """TLS on both legs: each kind of end is passed on as that kind."""

    @classmethod
    def setUpClass(cls):
        cls.relay = echo
        cls.server = cls.enterClassContext(FakeServer(
            lambda connection: serve(Records(connection.sock, server_context()),
                                     lambda peer: cls.relay(peer))))
        cls.start(service("bridge", cls.server.port, "implicit", "implicit"))

    def ended(self, relay, last_words=None):
        """Returns the end that the client sees, after `relay(peer)` ran, and the session's line."""
        type(self).relay = staticmethod(relay)
        with self.client("bridge") as client:
            peer = Records(client.sock, client_context(), "mail.test")
            commit(peer)
            peer.send(b"QUIT\r\n")
            if last_words:
                peer.sock.sendall(last_words(peer))
            seen = peer.rest()
        self.assertTrue(self.server.connections[-1].ended.wait(wait.DEADLINE))
        self.assertIsNone(self.server.connections[-1].error)
        return seen, self.session_of(client)

    def test_a_cut_inside_a_line_is_not_a_close_notify(self):
        def cut(peer):
            peer.line()
            peer.send(b"250 half a li")
            peer.sock.shutdown(socket.SHUT_WR)
            peer.rest()

        (data, alerts, end), session = self.ended(cut)
        self.assertTrue(b"250 half a li".startswith(data), data)
        self.assertEqual((alerts, end), ([], RESET))
        self.assertEqual(session["outcome"], "truncated")

    def test_an_end_with_close_notify_on_both_sides(self):
        def end(peer):
            if peer.rest() != (b"QUIT\r\n", [tuple(CLOSE_NOTIFY)], FIN):
                raise AssertionError("the client's end did not come through")
            peer.send(b"221 bye\r\n")
            peer.send(CLOSE_NOTIFY, ALERT)

        seen, session = self.ended(end, lambda peer: peer.seal(ALERT, CLOSE_NOTIFY))
        self.assertEqual(seen, (b"221 bye\r\n", [tuple(CLOSE_NOTIFY)], FIN))
        self.assertEqual(session["outcome"], "ok")


class Handshakes(Layer):
    """The first bytes of clients."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(FakeServer(serve))
        port = cls.server.port
        both = {"certificates": ("server", "wrong-name")}
        cls.start(*(service(mode, port, mode, **both) for mode in MODES),
                  service("rsa", port, "implicit", certificates=("server-rsa",)),
                  service("new", port, "implicit", downstream__min_tls="1.3"),
                  service("old", port, "implicit", downstream__min_tls="1.0",
                          certificates=("server-rsa",)),
                  *(service(protocol, port, "implicit", protocol=protocol)
                    for protocol in ("smtp", "lmtp", "imap", "pop3", "sieve", "nntp")))

    def opened(self, mode):
        """Returns a client that is about to begin its handshake."""
        client = self.enterContext(self.client(mode))
        if mode == "starttls":
            client.line()
            client.command(b"EHLO client.test")
            client.command(b"STARTTLS")
        return client

    def answer(self, mode, chunk):
        """Returns the answer to a raw first flight, until the end, and the session's line."""
        client = self.opened(mode)
        client.send(chunk)
        told, end = client.rest()
        client.close()
        self.assertEqual(end, FIN)
        return told, self.session_of(client)

    def greeted(self, mode, chunk):
        """Asserts that the proxy answers a ClientHello with a ServerHello."""
        client = self.opened(mode)
        client.send(chunk)
        self.assertEqual(client.exactly(6)[::5], b"\x16\2")
        client.close()

    def use(self, mode, context, name="mail.test"):
        """Runs a whole session and returns its client."""
        client = self.opened(mode)
        client.start_tls(context, name)
        commit(client, greeted=mode == "starttls")
        words = os.urandom(40000) + b"\r\n"
        client.send(words)
        self.assertEqual(client.exactly(len(words)), words)
        return client

    def refuses(self, mode, context, alert):
        client = self.opened(mode)
        with self.assertRaisesRegex(ssl.SSLError, alert):
            client.start_tls(context, "mail.test")

    # --- L4

    def test_bytes_that_are_not_a_hello(self):
        rubbish = random.Random(11)
        good = hello.message()
        cases = {
            "SSLv2": b"\x80\x2e\1\0\2\0\x15\0\0\0\x10\1\0\x80\2\0\x80\3\0\x80\4\0\x80\5\0\x80"
                     b"\6\0\x40\7\0\xc0" + bytes(16),
            "an SSLv2 frame of TLS": b"\x80\x2e\1\3\1\0\x15\0\0\0\x10\0\0\x0a" + bytes(34),
            "a large record": b"\x16\3\1\x48\1" + bytes(0x4801),
            "data": hello.records(b"EHLO canary\r\n", kind=23)[0],
            "an alert": b"\x15\3\1\0\2\2\x28",
            "change of cipher": b"\x14\3\1\0\1\1",
            "an unknown type": hello.records(good, kind=99)[0],
            "a ServerHello": hello.records(b"\2" + good[1:])[0],
            "Finished": hello.records(b"\x14\0\0\x0c" + bytes(12))[0],
            "HTTP": b"GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
            "a proxy's request": b"CONNECT canary:25 HTTP/1.1\r\n\r\n",
            "SMTP": b"EHLO canary\r\nMAIL FROM:<canary@a.test>\r\n",
            "zeros": bytes(4096),
            "empty records": b"\x16\3\1\0\0" * 1000,
            "a hello that is too short": hello.records(b"\1" + hello.vector(b"\3\3", 3))[0],
            "a hello with a tail": hello.records(
                b"\1" + hello.vector(good[4:] + b"tail", 3))[0],
            "compression alone": hello.records(hello.message(compression=b"\1"))[0],
            "no compression method": hello.records(hello.message(compression=b""))[0],
            **{f"rubbish {number}": b"\x16\3\1\0\x40" + rubbish.randbytes(64)
               for number in range(20)},
            **{f"noise {number}": b"\xff" + rubbish.randbytes(64) for number in range(20)},
        }
        connections = len(self.server.connections)
        for mode in MODES:
            for name, chunk in cases.items():
                with self.subTest(mode, name=name):
                    client = self.opened(mode)
                    client.send(chunk)
                    # Noise may look like the head of a large record: then the daemon waits for
                    # more.
                    client.finish()
                    told, end = client.rest()
                    self.assertEqual(end, FIN)
                    self.assertRegex(told, rb"(?s)\A(\x15\x03[\x00-\x04]\x00\x02\x02.)?\Z")
                    session = self.session_of(client)
                    self.assertEqual((session["outcome"], session["downstream_tls"]),
                                     ("handshake", "none"))
        # On the implicit leg no server connection was made; on the other one nothing was passed on.
        self.server.heard()  # all have ended
        reached = self.server.connections[connections:]
        self.assertEqual([bytes(each.clear) for each in reached], [b""] * len(cases))

    def test_compression_is_never_chosen(self):
        client = self.opened("implicit")
        client.send(hello.records(hello.message(compression=b"\1\0"))[0])
        head = client.exactly(5)
        answer = client.exactly(int.from_bytes(head[3:], "big"))
        session_id = answer[38]
        self.assertEqual(answer[39 + session_id + 2], 0)

    def test_suites_groups_and_versions_that_are_refused(self):
        suites = {"RSA key exchange": (0x009c, 0x009d, 0x003c, 0x002f), "3DES": (0x000a, 0xc012),
                  "CBC": (0xc027, 0xc023, 0xc013, 0xc009, 0xc028), "RC4": (5, 0xc011),
                  "NULL": (0, 2, 0x3b), "anonymous": (0xc018, 0x34), "DHE": (0x9e, 0x33)}
        for name, numbers in suites.items():
            with self.subTest(name):
                told, session = self.answer("rsa", hello.records(hello.message(suites=numbers))[0])
                self.assertEqual(told[5:], bytes((FATAL, HANDSHAKE_FAILURE)))
                self.assertIn("no shared cipher", session["reason"])
        told, _ = self.answer("rsa", hello.records(hello.message(groups=(hello.P521,)))[0])
        self.assertEqual(told[5:], bytes((FATAL, HANDSHAKE_FAILURE)))
        for version in (0x300, 0x301, 0x302):
            with self.subTest(version):
                told, session = self.answer("rsa", hello.records(hello.message(version=version))[0])
                self.assertEqual(told[5:], bytes((FATAL, PROTOCOL_VERSION)))
                self.assertIn("only speaks", session["reason"])
        told, _ = self.answer("new", hello.records(hello.message())[0])
        self.assertEqual(told[5:], bytes((FATAL, PROTOCOL_VERSION)))

    def test_suites_and_groups_that_are_accepted(self):
        for mode, kind in (("implicit", "ECDSA"), ("rsa", "RSA")):
            for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"):
                # TLS 1.2 names the curve of the certificate by the same list (RFC 8422 5.1.1).
                groups = ("X25519", "prime256v1", "secp384r1") if kind == "RSA" else ("prime256v1",)
                for group in groups:
                    with self.subTest(mode, suite=suite, group=group):
                        context = client_context("TLSv1.2")
                        context.set_ciphers(f"ECDHE-{kind}-{suite}")
                        set_group(context, group)
                        with self.use(mode, context) as client:
                            self.assertEqual(client.sock.cipher()[0], f"ECDHE-{kind}-{suite}")
        for group in ("X25519", "prime256v1", "secp384r1"):
            context = client_context("TLSv1.3")
            set_group(context, group)
            for mode in ("implicit", "rsa", "new"):
                with self.use(mode, context) as client:
                    self.assertEqual(client.sock.version(), "TLSv1.3")

    def test_old_versions_if_configured(self):
        def context(version, ciphers):
            out = client_context()
            out.set_ciphers(f"{ciphers}:@SECLEVEL=0")
            out.minimum_version = out.maximum_version = version
            return out

        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with self.subTest(version):
                name = {"TLSv1": "TLSv1"}.get(version.name, "TLSv1.1")
                with self.use("old", context(version, "DEFAULT")) as client:
                    self.assertEqual(client.sock.version(), name)
                self.assertEqual(self.session_of(client)["downstream_tls"], name)
                self.refuses("rsa", context(version, "DEFAULT"), "(?i)protocol.version")
        # A client that can do better must do so.
        tls_1_2 = ssl.TLSVersion.TLSv1_2
        self.refuses("old", context(tls_1_2, "ECDHE-RSA-AES128-SHA"), "(?i)handshake.failure")
        with self.use("old", context(tls_1_2, "DEFAULT")) as client:
            self.assertIn("GCM", client.sock.cipher()[0])

    # --- L9

    def shown(self, mode, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = self.opened(mode)
        client.start_tls(context, name)
        certificate = client.sock.getpeercert(binary_form=True)
        client.close()
        for pair in ("server", "wrong-name"):
            text = pathlib.Path(pki().pair(pair)[0]).read_text(encoding="ascii")
            end = "-----END CERTIFICATE-----"
            if ssl.PEM_cert_to_DER_cert(text[:text.index(end)] + end + "\n") == certificate:
                return pair
        return None

    def test_the_certificate_by_name(self):
        names = {"mail.test": "server", "wrong.test": "wrong-name", "WRONG.Test": "wrong-name",
                 "unknown.test": "server", "x" * 63 + ".test": "server", "127.0.0.1": "server",
                 "wrong.test.evil.test": "server", None: "server"}
        for mode in MODES:
            for name, pair in names.items():
                with self.subTest(mode, name=name):
                    self.assertEqual(self.shown(mode, name), pair)

    def test_odd_names(self):
        def with_name(value):
            return hello.records(hello.message(extensions={hello.SERVER_NAME: value}))[0]

        # Any unknown name gets the default certificate.
        for name in (b"x", b"..", b"wrong.test.", b"\xff\xfe", b"a" * 255, b"127.0.0.1", b"*.test"):
            for mode in MODES:
                with self.subTest(mode, name=name):
                    self.greeted(mode, with_name(hello.server_name(name)))
        for value in (b"", b"\0", b"\0\0", hello.server_name(b""), hello.server_name(b"a", b"b"),
                      hello.server_name(b"a\0b"), hello.server_name(b"a" * 256),
                      hello.server_name(b"a", kind=1), b"\0\x10\0\0\1a",
                      hello.server_name(b"a") + b"tail", hello.server_name(b"a" * 15000)):
            for mode in MODES:
                with self.subTest(mode, value=value[:32]):
                    told, session = self.answer(mode, with_name(value))
                    self.assertEqual(told[5:6], bytes((FATAL,)))
                    self.assertEqual(session["outcome"], "handshake")

    def test_thousands_of_names_cost_no_memory(self):
        letters = random.Random(13)
        # A daemon of its own, since a large log is searched afterwards.
        daemon = self.enterContext(Daemon(configuration(
            service("one", self.server.port, "implicit"))))

        def ask(times):
            for _ in range(times):
                name = letters.randbytes(100).hex().encode() + b".test"
                with daemon.connect() as client:
                    client.send(hello.records(hello.message(
                        extensions={hello.SERVER_NAME: hello.server_name(name)}))[0])
                    self.assertEqual(client.exactly(6)[::5], b"\x16\2")

        if SANITIZED:
            ask(200)
            return
        ask(500)
        before = daemon.resident_bytes()
        ask(1500)
        self.assertLess(daemon.resident_bytes() - before, MIB)

    # --- L14, L15

    def test_protocol_ids(self):
        ids = {"smtp": "smtp", "imap": "imap", "pop3": "pop3", "sieve": "managesieve",
               "nntp": "nntp", "lmtp": None}
        for protocol, ours in ids.items():
            for version in VERSIONS:
                def handshake(offer, protocol=protocol, version=version):
                    context = client_context(version)
                    if offer:
                        context.set_alpn_protocols(offer)
                    client = self.opened(protocol)
                    client.start_tls(context, "mail.test")
                    with client.sock as sock:
                        return sock.selected_alpn_protocol()

                with self.subTest(protocol, version=version):
                    self.assertIsNone(handshake([]))
                    others = [id for id in ids.values() if id and id != ours]
                    if ours is None:
                        self.assertIsNone(handshake(["h2", "smtp"]))
                        continue
                    self.assertEqual(handshake([ours]), ours)
                    self.assertEqual(handshake(["h2", *others, ours, "x" * 255]), ours)
                    for wrong in (["h2", "http/1.1"], others, [ours.upper()], [ours + "x"]):
                        with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
                            handshake(wrong)

    # --- L17

    def test_http_inside_tls_is_not_echoed(self):
        request = (b"POST /<script>canary</script> HTTP/1.1\r\nHost: canary\r\n"
                   + b"X-Canary: canary\r\n" * 40 + b"\r\n")
        for mode in (*MODES, "imap", "pop3"):
            with self.subTest(mode):
                client = self.opened(mode)
                client.start_tls(client_context(), "mail.test")
                client.send(request)
                client.finish()
                self.assertNotIn(b"canary", client.rest()[0])

    def test_http_before_tls_ends_the_session(self):
        client = self.enterContext(self.client("starttls"))
        client.send(b"POST /canary HTTP/1.1\r\n" + b"X-Canary: canary\r\n" * 40)
        told, end = client.rest()
        self.assertEqual(end, FIN)
        self.assertNotIn(b"anary", told)
        self.assertLessEqual(told.count(b"\n"), 22)

    # --- L18

    def fragmented(self, mode, size, context, cut):
        """Runs a session with a ClientHello in records of `size` bytes, cut by `cut(chunk)`."""
        client = self.opened(mode)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="mail.test")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        first = outgoing.read()
        for piece in cut(b"".join(hello.records(first[5:], size))):
            client.send(piece)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.send(outgoing.read())
                incoming.write(client.sock.recv(65536))
        tls.write(b"EHLO client.test\r\n")
        client.send(outgoing.read())
        heard = b""
        while b"250 mail.test" not in heard:
            try:
                heard += tls.read(4096)
            except ssl.SSLWantReadError:
                incoming.write(client.sock.recv(65536))

    def test_a_hello_in_pieces(self):
        byte_by_byte = lambda chunk: (chunk[at:at + 1] for at in range(len(chunk)))
        at_once = lambda chunk: (chunk,)
        for mode in MODES:
            for version in VERSIONS:
                with self.subTest(mode, version=version):
                    for size, cut in ((1, at_once), (7, byte_by_byte), (16384, byte_by_byte)):
                        self.fragmented(mode, size, client_context(version), cut)
                    large = client_context(version)
                    large.set_alpn_protocols(protocol_ids_that_fill(large))
                    self.fragmented(mode, 16384, large, at_once)
                    self.fragmented(mode, 1000, large, at_once)

    def test_a_hello_that_is_too_large(self):
        for mode in MODES:
            for chunk in (70000, 1 << 20):
                with self.subTest(mode, chunk=chunk):
                    # The head announces the size, so the daemon need not wait for the rest.
                    told, session = self.answer(
                        mode, hello.records(b"\1" + hello.vector(bytes(chunk), 3))[0])
                    self.assertEqual(told[5:6], bytes((FATAL,)))
                    self.assertRegex(session["reason"], "excessive message size")


def first_bytes(hellos, connection):
    """Plays a server: keeps the ClientHello's record, and refuses (handshake_failure)."""
    chunk = b""
    while len(chunk) < 5 or len(chunk) < 5 + int.from_bytes(chunk[3:5], "big"):
        chunk += connection.receive()
    hellos.append(chunk)
    connection.send(b"\x15\3\3\0\2\2\x28")
    connection.wait_for_end()


class OurHello(Layer):
    """Our ClientHello to servers (L3, L10, L16)."""

    @classmethod
    def setUpClass(cls):
        cls.hellos = []

        def implicit(connection):
            first_bytes(cls.hellos, connection)

        def starttls(connection):
            def handshake(connection):
                first_bytes(cls.hellos, connection)
                return connection

            serve(connection, None, handshake)

        cls.servers = {"implicit": cls.enterClassContext(FakeServer(implicit)),
                       "starttls": cls.enterClassContext(FakeServer(starttls))}
        # The names under test, and the names that servers must get.
        cls.names = {"mail.test": b"mail.test", "MAIL.Test.": b"MAIL.Test",
                     "localhost": b"localhost", "127.0.0.1": None, "::1": None, "": None}
        services = [
            service(f"{mode}-{number}", server.port, upstream=mode, upstream__server_name=name)
            for mode, server in cls.servers.items() for number, name in enumerate(cls.names)]
        services += [
            service(f"{mode}-host", 0, upstream=mode, upstream__server_name="",
                    address=f"localhost:{server.port}") for mode, server in cls.servers.items()]
        services += [
            service(protocol, cls.servers["implicit"].port, upstream="implicit",
                    protocol=protocol) for protocol in ("imap", "pop3", "sieve", "nntp", "lmtp")]
        services += [
            service("new", cls.servers["implicit"].port, upstream="implicit",
                    upstream__min_tls="1.3")]
        cls.start(*services)

    def heard(self, name):
        """Returns our ClientHello on that service. The client must get the failure and the reason."""
        with self.client(name) as client:
            told, end = client.rest()
        self.assertEqual(end, FIN)
        self.assertIn(b"handshake failure", told)
        return hello.parse(self.hellos.pop())

    def test_the_name_is_the_configured_one(self):
        for mode in MODES:
            for number, (name, sent) in enumerate(self.names.items()):
                with self.subTest(mode, name=name):
                    self.assertEqual(self.heard(f"{mode}-{number}").name, sent)
            with self.subTest(mode, name="of the address"):
                self.assertEqual(self.heard(f"{mode}-host").name, b"localhost")

    def test_no_protocol_id_and_no_early_data(self):
        for name in [name for name in self.ports if name != "new"]:
            with self.subTest(name):
                said = self.heard(name)
                self.assertNotIn(hello.ALPN, said.extensions)
                self.assertNotIn(hello.EARLY_DATA, said.extensions)
                self.assertNotIn(hello.PRE_SHARED_KEY, said.extensions)
                self.assertEqual((said.version, said.compression), (hello.TLS_1_2, b"\0"))
                self.assertIn(hello.EXTENDED_MASTER_SECRET, said.extensions)
                # RFC 5746: a server that renegotiates in the old way is recognized by its silence.
                self.assertIn(hello.RENEGOTIATION_INFO, said.extensions)

    def test_s11_no_signature_with_sha_1_is_offered(self):
        for name in self.ports:
            with self.subTest(name):
                offered = self.heard(name).numbers(hello.SIGNATURES)
                self.assertEqual(sorted(offered), sorted(SIGNATURES))

    def test_what_is_offered(self):
        said = self.heard("implicit-0")
        is_real = lambda number: number & 0x0f0f != 0x0a0a  # RFC 8701: GREASE
        self.assertEqual({number for number in said.suites if is_real(number)},
                         {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9})
        groups = [number for number in said.numbers(hello.GROUPS) if is_real(number)]
        # P-521 is for certificates: TLS 1.2 accepts none with a curve that is not in the list (T8).
        self.assertEqual(groups[-4:], [hello.X25519, hello.P256, hello.P384, hello.P521])
        self.assertEqual({number for number in said.numbers(hello.VERSIONS, 1) if is_real(number)},
                         {0x303, 0x304})
        new = self.heard("new")
        self.assertEqual({number for number in new.numbers(hello.VERSIONS, 1) if is_real(number)},
                         {0x304})
        self.assertEqual({number for number in new.suites if is_real(number)},
                         {0x1301, 0x1302, 0x1303})


class ServersPolicy(Layer):
    """Suites, groups and versions of servers."""

    @classmethod
    def setUpClass(cls):
        cls.context = None

        def script(connection):
            connection.start_tls(cls.context)
            serve(connection)

        cls.server = cls.enterClassContext(FakeServer(script))
        cls.start(service("up", cls.server.port, upstream="implicit"),
                  service("new", cls.server.port, upstream="implicit", upstream__min_tls="1.3"))

    def session(self, context, name="up"):
        """Runs a session. Returns (the first line that the client gets, the session's line)."""
        type(self).context = context
        with self.client(name) as client:
            line = client.line()
            if line.startswith(b"220 "):
                commit(client, greeted=True)
                words = os.urandom(40000)
                client.send(words)
                self.assertEqual(client.exactly(len(words)), words)
        return line, self.session_of(client)

    def test_suites_and_groups_that_are_accepted(self):
        for certificate, kind in (("server", "ECDSA"), ("server-rsa", "RSA")):
            for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"):
                for group in ("X25519", "prime256v1", "secp384r1", "secp521r1"):
                    with self.subTest(kind, suite=suite, group=group):
                        context = server_context("TLSv1.2", certificate)
                        context.set_ciphers(f"ECDHE-{kind}-{suite}")
                        set_group(context, group)
                        line, session = self.session(context)
                        self.assertTrue(line.startswith(b"220 "), line)
                        self.assertEqual(session["upstream_tls"], "TLSv1.2")
                        self.assertRegex(session["upstream_cipher"], "_(GCM|CHACHA20)_")
        for group in ("X25519", "prime256v1", "secp384r1", "secp521r1"):
            for certificate in ("server", "server-rsa"):
                context = server_context("TLSv1.3", certificate)
                set_group(context, group)
                line, session = self.session(context, "new")
                self.assertTrue(line.startswith(b"220 "), line)
                self.assertEqual(session["upstream_tls"], "TLSv1.3")

    def test_suites_groups_and_versions_that_are_refused(self):
        for suites in ("ECDHE-RSA-AES128-SHA256", "AES128-GCM-SHA256", "AES256-SHA",
                       "DHE-RSA-AES128-GCM-SHA256"):
            with self.subTest(suites):
                context = server_context("TLSv1.2", "server-rsa")
                context.set_ciphers(suites)
                line, session = self.session(context)
                self.assertTrue(line.startswith(b"421 4.7.5 "), line)
                self.assertEqual(session["outcome"], "handshake")
        context = server_context("TLSv1.3")
        set_group(context, "X448")
        self.assertTrue(self.session(context)[0].startswith(b"421 4.7.5 "))
        line, _ = self.session(server_context("TLSv1.2"), "new")
        self.assertRegex(line, rb"\A421 4\.7\.5 .*only speaks TLS 1\.2 or older")


class OldClients(Layer):
    """Old devices at a service that accepts them."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(FakeServer(serve))
        cls.start(service("one", cls.server.port, "implicit", certificates=("server", "server-rsa"),
                          downstream__min_tls="1.0"))

    def test_t10_no_rsa_key_transport(self):
        for version in (0x301, 0x302, 0x303):
            for suites in ((0x2f, 0x35, 0x0a), (0x3c, 0x9c, 0x2f)):
                with self.subTest(version=version, suites=suites):
                    with self.client("one") as client:
                        client.send(hello.records(hello.message(version=version, suites=suites))[0])
                        self.assertEqual(client.rest()[0][5:], bytes((FATAL, HANDSHAKE_FAILURE)))
                    self.assertIn("no shared cipher", self.session_of(client)["reason"])
        # ECDHE with AES-CBC, for those versions only.
        for version, first in ((0x301, HANDSHAKE), (0x302, HANDSHAKE), (0x303, ALERT)):
            for suite in (0xc009, 0xc00a, 0xc013, 0xc014):
                with self.subTest(version=version, suite=suite):
                    client = self.enterContext(self.client("one"))
                    client.send(hello.records(hello.message(version=version, suites=(suite,)))[0])
                    self.assertEqual(client.exactly(1)[0], first)


class AskedClients(Layer):
    """The CertificateRequest to a client that must show a certificate."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(FakeServer(serve))
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        blocks = (pki().folder / "many-ca.pem").read_text().split("-----BEGIN")[1:]
        # Numbers of names, of 84 bytes each; up to 16 KiB are sent.
        cls.counts = {"few": 100, "most": 185, "more": 215, "64k": 775, "all": len(blocks)}
        services = []
        for name, count in cls.counts.items():
            file = cls.folder / f"{name}.pem"
            file.write_text("".join("-----BEGIN" + block for block in blocks[:count]))
            services.append(service(name, cls.server.port, "implicit",
                                    downstream__client_ca=str(file)))
        cls.start(service("one", cls.server.port, "implicit", downstream__client_ca=pki().ca),
                  *services)

    def request(self, name):
        """Returns (signature schemes, names of CAs) of a CertificateRequest of TLS 1.2 (RFC 5246 7.4.4)."""
        client = self.enterContext(self.client(name))
        client.send(hello.records(hello.message())[0])
        messages = b""
        while True:
            while len(messages) >= 4 and len(messages) >= 4 + int.from_bytes(messages[1:4], "big"):
                end = 4 + int.from_bytes(messages[1:4], "big")
                kind, body, messages = messages[0], messages[4:end], messages[end:]
                if kind == 13:
                    return certificate_request(body)
            head = client.exactly(5)
            self.assertEqual(head[0], HANDSHAKE)
            messages += client.exactly(int.from_bytes(head[3:], "big"))

    def test_s11_no_signature_with_sha_1_is_accepted(self):
        schemes, names = self.request("one")
        self.assertEqual(sorted(schemes), sorted(SIGNATURES))
        self.assertEqual(len(names), 1)
        self.assertIn(b"starttls-proxy test root", names[0])


    def test_t5_a_list_of_names_that_is_too_long_is_left_out(self):
        for name, count in self.counts.items():
            with self.subTest(name):
                _, names = self.request(name)
                self.assertEqual(len(names), count if name in ("few", "most") else 0)

    def test_t5_clients_are_accepted_with_a_list_of_any_length(self):
        for name in self.counts:
            for version in VERSIONS:
                with self.subTest(name, version=version), self.client(name) as client:
                    context = client_context(version)
                    context.load_cert_chain(*pki().pair("client"))
                    client.start_tls(context, "mail.test")
                    self.assertRegex(client.line(), rb"\A220 ")
        with self.client("all") as client:
            client.start_tls(client_context(), "mail.test")
            self.assertRegex(client.line(), rb"\A421 4\.7\.5 .*certificate is required")


def certificate_request(body):
    at = 1 + body[0]
    end = at + 2 + int.from_bytes(body[at:at + 2], "big")
    schemes = [int.from_bytes(body[i:i + 2], "big") for i in range(at + 2, end, 2)]
    names, at = [], end + 2
    while at < len(body):
        size = int.from_bytes(body[at:at + 2], "big")
        names.append(body[at + 2:at + 2 + size])
        at += 2 + size
    return schemes, names


class Reloads(unittest.TestCase):
    """L8, L19, L20."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / "proxy.toml"

    def write(self, *services):
        self.file.write_text(configuration(*services), encoding="utf-8")

    def start(self):
        return self.enterContext(Daemon(arguments=["--config", self.file]))

    def reload(self, daemon, count):
        daemon.process.send_signal(signal.SIGHUP)
        daemon.lines(lambda f: f.get("msg") == "reloaded", count)

    def test_a_client_ca_that_is_added_counts_for_old_sessions_too(self):
        server = self.enterContext(FakeServer(serve))
        old = service("one", server.port, "implicit")
        self.write(old)
        daemon = self.start()
        sessions = {}
        for version in VERSIONS:
            context = client_context(version)
            for session in (None, "again"):
                with Client(daemon.port) as client:
                    client.sock = context.wrap_socket(
                        client.sock, server_hostname="mail.test",
                        session=sessions[version][1] if session else None)
                    self.assertEqual(client.sock.session_reused, bool(session))
                    client.line()
                    sessions[version] = context, client.sock.session
        self.write(service("one", server.port, "implicit", downstream__client_ca=pki().ca))
        self.reload(daemon, 1)
        for version, (context, session) in sessions.items():
            with self.subTest(version), Client(daemon.port) as client:
                client.sock = context.wrap_socket(client.sock, server_hostname="mail.test",
                                                  session=session)
                self.assertFalse(client.sock.session_reused)
                self.assertTrue(client.line().startswith(b"421 4.7.5 "))

    def test_sessions_with_an_unverified_server_do_not_outlive_the_policy(self):
        contexts = {version: server_context(version, "wrong-name") for version in VERSIONS}
        for version, context in contexts.items():
            def script(connection, context=context):
                connection.start_tls(context)
                serve(connection)

            with self.subTest(version), FakeServer(script) as server:
                self.write(service("one", server.port, upstream="implicit",
                                   upstream__verify="none"))
                with Daemon(arguments=["--config", self.file]) as daemon:
                    for number in (1, 2):
                        with daemon.connect() as client:
                            commit(client)
                        line = daemon.sessions(number)[-1]
                    self.assertEqual(line["upstream_resumed"], "true")
                    self.write(service("one", server.port, upstream="implicit"))
                    self.reload(daemon, 1)
                    with daemon.connect() as client:
                        self.assertRegex(client.line(), rb"\A421 4\.7\.5 .*name mismatch")
                    self.assertEqual(daemon.sessions(3)[2]["upstream_resumed"], "false")

    def test_files_that_cannot_be_used_change_nothing(self):
        server = self.enterContext(FakeServer(serve))
        chain, key = self.folder / "tls.pem", self.folder / "tls.key"

        def copy(name):
            for source, target in zip(pki().pair(name), (chain, key)):
                if target.is_dir():
                    target.rmdir()
                shutil.copy(source, target)

        def break_file(chunk, path):
            path.write_bytes(chunk)

        def make_folder(path):
            path.unlink()
            path.mkdir()

        copy("server")
        self.write(service("one", server.port, "implicit", certificates=((chain, key),)))
        daemon = self.start()
        good = chain.read_bytes()
        running = self.enterContext(daemon.connect())
        running.start_tls(client_context(), "mail.test")
        commit(running)
        cases = {
            "an empty chain": lambda: break_file(b"", chain),
            "no PEM": lambda: break_file(os.urandom(1000), chain),
            "a broken PEM": lambda: break_file(good.replace(b"M", b"!", 20), chain),
            "half a chain": lambda: break_file(good[:len(good) // 4], chain),
            "an empty key": lambda: break_file(b"", key),
            "a chain for a key": lambda: break_file(good, key),
            "another key": lambda: shutil.copy(pki().pair("server-rsa")[1], key),
            "no chain": chain.unlink,
            "no key": key.unlink,
            "a folder for a key": lambda: make_folder(key),
            "a key for everybody": lambda: key.chmod(0o644),
            "a key for the group": lambda: key.chmod(0o660),
        }
        errors = 0
        for number, (name, spoil) in enumerate(cases.items()):
            with self.subTest(name):
                copy("server")
                spoil()
                # The daemon also looks at the files by itself, and then reports the fault first.
                daemon.process.send_signal(signal.SIGHUP)
                errors += 1
                line = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"),
                                    errors)[-1]
                errors = daemon.text().count("not reloaded")
                self.assertIn(str(self.folder), line["reason"])
                with daemon.connect() as client:
                    client.start_tls(client_context(), "mail.test")
                    commit(client)
                running.send(b"still here\r\n")
                self.assertEqual(running.line(), b"still here\r\n")
        copy("server-rsa")
        daemon.process.send_signal(signal.SIGHUP)

        def renewed():
            with daemon.connect() as client:
                client.start_tls(client_context("TLSv1.2"), "mail.test")
                return "RSA" in client.sock.cipher()[0]

        wait.until(renewed, "the new certificate is shown")

    def test_a_private_key_that_others_can_read_is_refused_at_start(self):
        chain, source = pki().pair()
        key = self.folder / "tls.key"
        shutil.copy(source, key)
        self.write(service("one", 1, "implicit", certificates=((chain, key),)))
        roots = 78 if os.geteuid() else 0  # a file that root has written has root's group too
        for mode, status in ((0o600, 0), (0o400, 0), (0o640, roots), (0o440, roots), (0o604, 78),
                             (0o660, 78), (0o620, 78), (0o666, 78)):
            with self.subTest(oct(mode)):
                key.chmod(mode)
                ended = run_to_end("--config", self.file, "--check")
                self.assertEqual(ended.returncode, status, ended.stderr)
                if status:
                    self.assertIn(str(key), ended.stderr)


if __name__ == "__main__":
    main.main()

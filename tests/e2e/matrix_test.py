"""Six protocols, sixteen pairs of TLS modes: a real session through each, and the bytes that peers got."""

import itertools
import unittest

from support import dialects, main, wait
from support.client import Client
from support.daemon import Daemon, toml
from support.dialects import PROTOCOLS, answer, start_tls
from support.environment import pki
from support.fake_server import FakeServer, tls_context

MODES = ("none", "opportunistic", "starttls", "implicit")
PAYLOAD = bytes(range(256)) * 300 + b"\r\n.\r\nSTARTTLS\n250-x\r\n"
GOODBYES = {"imap": b"probe LOGOUT\r\n", "sieve": b"LOGOUT\r\n"}  # the proxy's own; QUIT for the others


def serve(dialect, implicit):
    """Returns a script for FakeServer: the dialect's server, which echoes after the client's commit."""

    def script(connection):
        dialects.serve(dialect, connection, implicit, tls_context(), committed)

    def committed(connection):
        echo(connection, len(PAYLOAD))
        connection.wait_for_end()

    return script


def echo(connection, data):
    while data > 0:
        piece = connection.receive()
        connection.send(piece)
        data -= len(piece)


class Matrix(unittest.TestCase):
    def converse(self, dialect, client, mode):
        """Plays the client's side of a session of that downstream mode.

        With none on both legs the proxy does not take part. The client then talks to the server,
        which has STARTTLS, and its TLS ends there.
        """
        if mode == "implicit":
            start_tls(client)
        if dialect.pushes:
            greeting = answer(client, dialect)
        else:
            greeting = client.line()
        self.assertIn(b"mail.test" if not dialect.pushes else b"IMPLEMENTATION", greeting)
        word = dialect.verb(dialect.starttls)
        offers = mode in ("starttls", "opportunistic")
        if offers:
            client.send(dialect.capability + b"\r\n")
            self.assertIn(word, answer(client, dialect))
            client.send(dialect.starttls + b"\r\n")
            self.assertTrue(client.line().startswith(
                dialect.go_ahead.replace(b"%s", dialect.starttls.split()[0]).split()[0]))
            start_tls(client)
            if dialect.pushes:
                self.assertNotIn(word, answer(client, dialect))
        client.send(dialect.capability + b"\r\n")
        self.assertNotIn(word, answer(client, dialect))
        client.send(dialect.commit + b"\r\n")
        self.assertEqual(client.line(), dialect.committed)
        client.send(PAYLOAD)
        self.assertEqual(client.exactly(len(PAYLOAD)), PAYLOAD)

    def check_server(self, dialect, connection, down, up):
        """Checks all bytes that the server received; in the clear only those that the mode allows."""
        self.check_words(connection, up, dialect,
                         dialect.capability + b"\r\n" + dialect.commit + b"\r\n" + PAYLOAD)

    def check_words(self, connection, up, dialect, said):
        heard = bytes(connection.clear), bytes(connection.secure)
        if up == "none":
            self.assertEqual(heard, (said, b""))
        elif up == "implicit":
            self.assertEqual(heard, (b"", said))
        else:
            self.assertNotIn(b"client.test", heard[0])
            self.assertTrue(heard[0].upper().endswith(dialect.verb(dialect.starttls) + b"\r\n"))
            self.assertTrue(heard[1].endswith(said), heard[1][:200])
            # Before the client's words there is at most the proxy's own question (IMAP).
            own = heard[1][:-len(said)]
            self.assertLessEqual(own.count(b"\n"), 1, own)

    def check_plain_server(self, dialect, connection):
        """Checks that the server got each byte of the client, STARTTLS included, and none of the proxy's."""
        self.assertEqual(connection.clear,
                         dialect.capability + b"\r\n" + dialect.starttls + b"\r\n")
        self.assertEqual(connection.secure,
                         dialect.capability + b"\r\n" + dialect.commit + b"\r\n" + PAYLOAD)

    def check_plain_log(self, daemon, session):
        """Checks that there was no prelude: once connected, the proxy relayed."""
        lines = daemon.lines(lambda fields: fields.get("msg") == "phase"
                             and fields["session"] == session["session"])
        self.assertEqual([line["to"] for line in lines[:2]], ["connecting", "relay"])

    def test_every_pair(self):
        for protocol, dialect in PROTOCOLS.items():
            with self.subTest(protocol=protocol):
                self.every_pair_of(protocol, dialect)

    def every_pair_of(self, protocol, dialect):
        chain, key = pki().pair()
        with (FakeServer(serve(dialect, False)) as clear,
              FakeServer(serve(dialect, True)) as implicit):
            pairs = list(itertools.product(MODES, MODES))
            text = ["[proxy]", 'hostname = "proxy.test"', "workers = 1", "[log]", 'level = "debug"']
            for down, up in pairs:
                server = implicit if up == "implicit" else clear
                text += ["[[service]]", f'name = "{down}-{up}"', f'protocol = "{protocol}"',
                         'listen = "127.0.0.1:0"', f'downstream.tls = "{down}"',
                         f'upstream.address = "127.0.0.1:{server.port}"', f'upstream.tls = "{up}"',
                         'upstream.server_name = "mail.test"',
                         f"upstream.ca_file = {toml(pki().ca)}"]
                if down != "none":
                    text.append("downstream.certificates = "
                                f"[{{ chain = {toml(chain)}, key = {toml(key)} }}]")
            with Daemon("\n".join(text), listeners=len(pairs)) as daemon:
                ports = {line["service"]: int(line["address"].rpartition(":")[2])
                         for line in daemon.lines(lambda f: f.get("msg") == "listening", len(pairs))}
                counts = {id(clear): 0, id(implicit): 0}
                for number, (down, up) in enumerate(pairs):
                    with self.subTest(protocol=protocol, downstream=down, upstream=up):
                        server = implicit if up == "implicit" else clear
                        with Client(ports[f"{down}-{up}"]) as client:
                            plain = down == up == "none"
                            self.converse(dialect, client, "starttls" if plain else down)
                        session = daemon.sessions(number + 1)[-1]
                        # The server must not remember the bytes from before the client's TLS, so
                        # then there are two connections.
                        first = counts[id(server)]
                        count = 2 if down == "opportunistic" else 1
                        counts[id(server)] += count
                        connections = [server.connection(first + i) for i in range(count)]
                        for connection in connections:
                            self.assertTrue(connection.ended.wait(wait.DEADLINE))
                        if down == "opportunistic":
                            self.check_words(connections[0], up, dialect,
                                             dialect.capability + b"\r\n"
                                             + GOODBYES.get(protocol, b"QUIT\r\n"))
                        connection = connections[-1]
                        if plain:
                            self.check_plain_server(dialect, connection)
                            self.check_plain_log(daemon, session)
                        else:
                            self.check_server(dialect, connection, down, up)
                        self.assertEqual(session["upstream_tls"],
                                         "none" if up == "none" else "TLSv1.3")
                        self.assertEqual(session["downstream_tls"],
                                         "none" if down == "none" else "TLSv1.3")


if __name__ == "__main__":
    main.main()

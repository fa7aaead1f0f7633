"""Servers that accept one hello per connection, and servers that must forget words sent in the clear."""

import unittest

from support import main, wait
from support.daemon import Daemon, configuration, toml
from support.dialects import PROTOCOLS, answer, greeted, start_tls
from support.environment import pki
from support.fake_server import FakeServer, Gone, tls_context

DOWNSTREAM = {"tls": "opportunistic"}
UNAVAILABLE = {"smtp": b"421 4.3.2 ", "lmtp": b"421 4.3.2 ", "imap": b"* BYE [UNAVAILABLE] ",
               "sieve": b"BYE (TRYLATER) ", "nntp": b"400 "}


class Server:
    """A script: a server that accepts one hello. `offers_tls`: it offers STARTTLS and accepts it.
    `hangs_up`: it ends the connection after it has refused STARTTLS.
    """

    def __init__(self, protocol, offers_tls=False, hangs_up=False):
        self.protocol = protocol
        self.dialect = PROTOCOLS[protocol]
        self.offers_tls = offers_tls
        self.hangs_up = hangs_up

    def __call__(self, connection):
        dialect = self.dialect
        connection.commands = []
        hellos = 0
        connection.send(dialect.greeting)
        while True:
            line = connection.line()
            verb, tag = dialect.verb(line), line.split()[0]
            connection.commands.append(verb)
            if verb in (b"EHLO", b"LHLO"):
                hellos += 1
                offer = dialect.offer(connection.tls or not self.offers_tls)
                connection.send(offer if hellos == 1 else b"503 5.5.1 you have said that\r\n")
            elif verb == dialect.verb(dialect.starttls):
                if self.offers_tls:
                    connection.send(dialect.go_ahead.replace(b"%s", tag))
                    # Without tickets: a connection with unread bytes is not used as a warm one.
                    connection.start_tls(tls_context(num_tickets=0))
                    hellos = 0
                    if dialect.pushes:
                        connection.send(dialect.offer(True))
                    continue
                refusal = {"imap": b"%s NO no\r\n", "pop3": b"-ERR no\r\n", "sieve": b"NO\r\n"}
                connection.send(refusal.get(self.protocol, b"502 no\r\n").replace(b"%s", tag))
                if self.hangs_up:
                    raise Gone
            elif verb in (b"CAPA", b"CAPABILITY", b"CAPABILITIES"):
                connection.send(dialect.offer(True).replace(b"%s", tag))
            elif verb in (b"ID", b"NOOP", b"LANG", b"DATE", b"UTF8"):
                connection.send({"imap": b"%s OK\r\n", "pop3": b"+OK\r\n", "sieve": b"OK\r\n",
                                 "nntp": b"111 20260101000000\r\n"}.get(
                                     self.protocol, b"250 ok\r\n").replace(b"%s", tag))
            elif verb == dialect.verb(dialect.commit):
                connection.send(dialect.committed)
            elif verb in (b"QUIT", b"LOGOUT"):
                raise Gone
            else:
                raise AssertionError(f"unexpected command: {line!r}")


def gateway(server, protocol, upstream, downstream=None):
    text = configuration(server.port, protocol=protocol, upstream=upstream, downstream=downstream)
    if downstream:
        chain, key = pki().pair()
        text += f"\ndownstream.certificates = [{{ chain = {toml(chain)}, key = {toml(key)} }}]"
    return Daemon(text)


class AfterFallback(unittest.TestCase):
    def test_d1_the_proxys_hello_does_not_use_up_the_clients(self):
        for protocol in ("smtp", "lmtp"):
            dialect = PROTOCOLS[protocol]
            with self.subTest(protocol), FakeServer(Server(protocol)) as server:
                with gateway(server, protocol, {"tls": "opportunistic"}) as daemon:
                    with daemon.connect() as client:
                        self.assertEqual(client.line(), dialect.greeting)
                        self.assertTrue(client.command(dialect.capability).startswith(b"250-"))
                        self.assertEqual(client.command(dialect.commit), dialect.committed)
                        client.command(b"QUIT")
                    self.assertEqual(daemon.session()["outcome"], "ok")
                    daemon.warnings(1)
                first, second = server.connection(0), server.connection(1)
                server.heard()
                self.assertEqual(first.commands[-1], b"QUIT")
                self.assertEqual(second.commands,
                                 [dialect.verb(dialect.capability), dialect.verb(dialect.commit), b"QUIT"])
                self.assertEqual(len(server.connections), 2)

    def test_d1_a_server_that_hangs_up_after_its_refusal_is_reached_in_the_clear(self):
        for protocol in ("imap", "pop3", "sieve", "nntp"):
            dialect = PROTOCOLS[protocol]
            with self.subTest(protocol), FakeServer(Server(protocol, hangs_up=True)) as server:
                with gateway(server, protocol, {"tls": "opportunistic"}) as daemon:
                    with daemon.connect() as client:
                        greeted(client, dialect)
                        self.assertTrue(server.connection(0).ended.wait(wait.DEADLINE))
                        client.send(dialect.capability + b"\r\n")
                        answer(client, dialect)
                        client.send(dialect.commit + b"\r\n")
                        self.assertEqual(client.line(), dialect.committed)
                    self.assertEqual(daemon.session()["outcome"], "ok")
                self.assertNotIn(dialect.verb(dialect.starttls), server.connection(1).commands)

    # A refusal of TLS that ends the connection, and of the fresh connection.
    LAST_WORDS = {"smtp": (b"421 4.7.0 not now\r\n", b"554 5.7.1 too many\r\n"),
                  "lmtp": (b"421 4.7.0 not now\r\n", b"554 5.7.1 too many\r\n"),
                  "imap": (b"* BYE no\r\n", b"* BYE too many\r\n"),
                  "sieve": (b'BYE "no"\r\n', b'NO "too many"\r\n'),
                  "nntp": (b"400 no\r\n", b"502 too many\r\n")}

    def test_n2_a_refusal_that_says_goodbye_is_a_refusal(self):
        for protocol, (goodbye, refusal) in self.LAST_WORDS.items():
            for welcome in (True, False):
                dialect = PROTOCOLS[protocol]

                def script(connection, dialect=dialect, goodbye=goodbye, refusal=refusal, welcome=welcome):
                    if connection is not server.connections[0]:
                        connection.send(dialect.greeting if welcome else refusal)
                        if welcome:
                            connection.wait_for_end()
                        return
                    connection.send(dialect.greeting)
                    while dialect.verb(connection.line()) != dialect.verb(dialect.starttls):
                        connection.send(dialect.offer(False))
                    connection.send(goodbye)

                with self.subTest(protocol, welcome=welcome), FakeServer(script) as server, \
                        gateway(server, protocol, {"tls": "opportunistic"}) as daemon:
                    with daemon.connect() as client:
                        if welcome:
                            greeted(client, dialect)
                            client.finish()
                        else:
                            # In our own words: the leg is meant to upgrade.
                            said, _ = client.rest()
                            self.assertTrue(said.startswith(UNAVAILABLE[protocol]), said)
                            self.assertIn(b"too many", said)
                    self.assertEqual(daemon.session()["outcome"], "ok" if welcome else "greeting_refused")


class AfterTheClientsTls(unittest.TestCase):
    # A command of each protocol that a server may remember.
    EARLY = {"smtp": b"EHLO evil.test", "lmtp": b"LHLO evil.test", "imap": b'i1 ID ("name" "evil")',
             "pop3": b"LANG ru", "sieve": b"NOOP", "nntp": b"DATE"}

    def early(self, client, dialect, protocol):
        """Sends a command in the clear, and starts TLS."""
        client.send(self.EARLY[protocol] + b"\r\n")
        if protocol in ("smtp", "lmtp"):
            answer(client, dialect)
        else:
            client.line()
        client.send(dialect.starttls + b"\r\n")
        client.line()
        start_tls(client)

    def test_d2_the_server_gets_nothing_that_was_said_in_the_clear(self):
        for protocol, dialect in PROTOCOLS.items():
            for mode in ("none", "starttls", "opportunistic"):
                offers = mode != "none"
                with self.subTest(protocol, mode=mode), \
                        FakeServer(Server(protocol, offers_tls=offers)) as server, \
                        gateway(server, protocol, {"tls": mode}, DOWNSTREAM) as daemon:
                    with daemon.connect() as client:
                        greeted(client, dialect)
                        self.early(client, dialect, protocol)
                        if dialect.pushes:
                            answer(client, dialect)
                        client.send(dialect.capability + b"\r\n")
                        answer(client, dialect)
                        client.send(dialect.commit + b"\r\n")
                        self.assertEqual(client.line(), dialect.committed)
                    session = daemon.session()
                    self.assertEqual(session["outcome"], "ok")
                    self.assertEqual(session["upstream_tls"], "TLSv1.3" if offers else "none")
                    server.heard()
                    heard = self.EARLY[protocol].split()[1 if protocol == "imap" else 0]
                    self.assertIn(heard, server.connection(0).commands)
                    commands = server.connection(1).commands
                    self.assertEqual(commands[-2:], [dialect.verb(dialect.capability),
                                                     dialect.verb(dialect.commit)])
                    if protocol not in ("smtp", "lmtp"):
                        self.assertNotIn(heard, commands)
                    self.assertNotIn(b"evil", bytes(server.connection(1).clear)
                                     + bytes(server.connection(1).secure))

    def test_d2_a_server_that_got_nothing_is_kept(self):
        for protocol, dialect in PROTOCOLS.items():
            with self.subTest(protocol), FakeServer(Server(protocol, offers_tls=True)) as server, \
                    gateway(server, protocol, {"tls": "starttls"}, DOWNSTREAM) as daemon:
                with daemon.connect() as client:
                    greeted(client, dialect)
                    client.send(dialect.starttls + b"\r\n")
                    client.line()
                    start_tls(client)
                    if dialect.pushes:
                        answer(client, dialect)
                    client.send(dialect.capability + b"\r\n")
                    answer(client, dialect)
                daemon.session()
                self.assertEqual(len(server.connections), 1)

    def test_d2_a_fresh_connection_that_fails_is_reported_inside_tls(self):
        class Once(Server):
            """A server that takes one connection, and refuses the next."""

            def __init__(self, protocol):
                super().__init__(protocol)
                self.taken = False

            def __call__(self, connection):
                if self.taken:
                    connection.commands = []
                    connection.send(b"421 4.3.2 busy\r\n")
                    raise Gone
                self.taken = True
                super().__call__(connection)

        with FakeServer(Once("smtp")) as server, \
                gateway(server, "smtp", {"tls": "none"}, DOWNSTREAM) as daemon:
            with daemon.connect() as client:
                client.line()
                self.early(client, PROTOCOLS["smtp"], "smtp")
                self.assertTrue(client.line().startswith(b"421 4.3.2 "))
                self.assertEqual(client.line(), b"")
            self.assertEqual(daemon.session()["outcome"], "greeting_refused")

    def test_d2_commands_sent_right_after_the_handshake_wait_for_the_fresh_connection(self):
        with FakeServer(Server("smtp", offers_tls=True)) as server, \
                gateway(server, "smtp", {"tls": "starttls"}, DOWNSTREAM) as daemon:
            with daemon.connect() as client:
                client.line()
                self.early(client, PROTOCOLS["smtp"], "smtp")
                client.send(b"EHLO good.test\r\nMAIL FROM:<a@b.test>\r\n")
                answer(client, PROTOCOLS["smtp"])
                self.assertEqual(client.line(), b"250 2.1.0 ok\r\n")
            daemon.session()

    def test_d2_a_warm_connection_serves_it(self):
        def ready(line):
            return line.get("msg") == "warm connection ready"

        with FakeServer(Server("smtp", offers_tls=True)) as server, \
                gateway(server, "smtp", {"tls": "starttls", "warm": 1}, DOWNSTREAM) as daemon:
            daemon.lines(ready, 2)  # one per worker
            with daemon.connect() as client:
                client.line()
                daemon.lines(ready, 3)
                self.early(client, PROTOCOLS["smtp"], "smtp")
                client.send(b"EHLO good.test\r\n")
                answer(client, PROTOCOLS["smtp"])
            daemon.lines(lambda line: line.get("msg") == "warm connection used", 2)
            self.assertEqual(daemon.session()["outcome"], "ok")


if __name__ == "__main__":
    main.main()

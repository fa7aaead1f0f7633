"""The groups of the key exchange, with an OpenSSL that has X25519MLKEM768, and with servers that do not
answer a large ClientHello.

The proxy's TLS library may lack the group: Debian's BoringSSL does. Then some tests are not part of the
run, and a line says so.
"""

import concurrent.futures
import json
import selectors
import socket
import time
import unittest

from support import hello, main, wait
from support.client import Client, free_port
from support.daemon import Daemon, configuration, run_to_end
from support.environment import NEWER_OPENSSL, pki
from support.fake_server import FakeServer, Gone, Smtp
from support.openssl import OpenSsl
from support.relay import commit

SEGMENT = 1460  # payload of a TCP segment in Ethernet
KEY_SHARE = 1216  # bytes of an ML-KEM key share: no ClientHello with one is smaller
ML_KEM = "X25519MLKEM768"


def checked(*arguments):
    """Returns the facts of --check, with these arguments besides the server's address."""
    said = run_to_end("--protocol", "smtp", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1",
                      "--server-name", "mail.test", "--check", "--json", *arguments)
    return json.loads(said.stdout)


# "none", "with_key_share" or "full": see PostQuantumSupport.
SUPPORT = checked()["process"]["post_quantum"]


def best(other="X25519"):
    """Returns the group of a connection with a peer that has ML-KEM, too."""
    return other if SUPPORT == "none" else ML_KEM


def relay(server, mode="implicit", timeouts=None, **upstream):
    return configuration(server.port, proxy={"workers": 1}, upstream={"tls": mode, **upstream},
                         timeouts=timeouts)


def first_record(sock):
    """Waits for a whole ClientHello and returns it. It stays in the socket."""
    wanted = 5
    while True:
        try:
            data = sock.recv(1 << 16, socket.MSG_PEEK)
        except OSError:
            raise Gone from None
        if not data:
            raise Gone
        if len(data) >= 5:
            wanted = 5 + int.from_bytes(data[3:5], "big")
        if len(data) >= wanted:
            return data[:wanted]
        time.sleep(wait.POLL)


class Choking(Smtp):
    """A server that does not answer a ClientHello of more than `limit` bytes."""

    mode = "starttls"
    reaction = "close"
    limit = KEY_SHARE

    def __init__(self, **changes):
        super().__init__(**changes)
        self.hellos = []

    def __call__(self, connection):
        if self.mode == "starttls":
            self.say(connection, self.greeting)
            self.prelude(connection)
        record = first_record(connection.sock)
        self.hellos.append(record)
        if len(record) > self.limit:
            self.react(connection)
            raise Gone
        connection.start_tls(self.context)
        if self.mode == "implicit":
            self.say(connection, self.greeting)
        self.secured(connection)

    def react(self, connection):
        if self.reaction == "silence":
            connection.wait_for_end()
        elif self.reaction == "close":
            connection.sock.recv(1 << 16)
        else:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def offers(self):
        """Returns for each ClientHello so far the groups, and if it is within the limit."""
        return [(hello.parse(record).numbers(hello.GROUPS), len(record) <= self.limit)
                for record in self.hellos]


class Server(OpenSsl):
    """s_server, which greets as an SMTP server. Its groups are in the notation of OpenSSL."""

    def __init__(self, groups, *arguments):
        self.port = free_port()
        chain, key = pki().pair()
        super().__init__("s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", chain, "-key", key,
                         "-cert_chain", chain, "-crlf", "-groups", groups, *arguments,
                         program=NEWER_OPENSSL)
        self.says("ACCEPT")

    def greet(self, count=1):
        self.says("CIPHER is", count)
        self.type("220 mail.test ESMTP")


class Groups(unittest.TestCase):
    """Each leg with each group; a group that the client has not guessed takes a HelloRetryRequest."""

    def test_towards_servers(self):
        for groups, group in (("P-256", "P-256"), ("P-384", "P-384"), ("X25519", "X25519"),
                              ("P-384:X25519", "X25519"), (f"{ML_KEM}:X25519", best())):
            with self.subTest(groups), Server(groups) as server:
                with Daemon(relay(server)) as daemon, Client(daemon.port) as client:
                    server.greet()
                    self.assertEqual(client.line()[:3], b"220")
                    client.close()
                    self.assertEqual(daemon.session()["upstream_group"], group)

    def test_towards_clients(self):
        chain, key = pki().pair()
        with FakeServer(Smtp()) as server:
            config = configuration(server.port, downstream={"tls": "implicit"}) + (
                f'\ndownstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n')
            for groups, group in (("P-256", "P-256"), ("P-384", "P-384"), ("X25519", "X25519"),
                                  ("P-521:P-384", "P-384"),  # a key share that we do not want
                                  (f"{ML_KEM}:X25519", best()),
                                  (f"*X25519:{ML_KEM}", "X25519"),
                                  (f"P-521:{ML_KEM}:P-256", best("P-256"))):
                with self.subTest(groups), Daemon(config) as daemon:
                    with self.client(daemon.port, groups) as client:
                        client.says("220 mail.test")
                    session = daemon.session()
                    self.assertEqual((session["downstream_group"], session["downstream_tls"]),
                                     (group, "TLSv1.3"))

    @staticmethod
    def client(port, groups):
        return OpenSsl("s_client", "-connect", f"127.0.0.1:{port}", "-servername", "mail.test",
                       "-CAfile", pki().ca, "-verify_return_error", "-crlf", "-groups", groups,
                       program=NEWER_OPENSSL)

    def test_an_older_version_names_its_group_too(self):
        with Server("P-384", "-tls1_2") as server:
            with Daemon(relay(server)) as daemon, Client(daemon.port) as client:
                server.greet()
                self.assertEqual(client.line()[:3], b"220")
                client.close()
                self.assertEqual(daemon.session()["upstream_group"], "P-384")


class Settings(unittest.TestCase):
    def test_check_says_what_is_offered(self):
        offered = {"none": f"not offered: this TLS library does not have {ML_KEM}",
                   "with_key_share": f"{ML_KEM} offered, always with its key share",
                   "full": f"{ML_KEM} offered"}
        for setting, text in (("auto", offered[SUPPORT]), ("off", "not offered")):
            facts = checked("--post-quantum", setting)
            self.assertTrue(facts["ok"])
            self.assertEqual(facts["services"][0]["upstream"]["post_quantum"], setting)
            said = run_to_end("--protocol", "smtp", "--listen", "127.0.0.1:0", "--upstream",
                              "mail.test:25", "--post-quantum", setting, "--check").stdout
            self.assertIn(f"  post-quantum      {text}\n", said)

    def test_off_offers_all_other_groups(self):
        script = Choking(mode="implicit")
        with FakeServer(script) as server, Daemon(relay(server, post_quantum="off")) as daemon:
            with Client(daemon.port) as client:
                commit(client)
            self.assertEqual(daemon.session()["upstream_group"], "X25519")
        self.assertEqual(script.offers(),
                         [([hello.X25519, hello.P256, hello.P384, hello.P521], True)])

    def test_probe_says_if_the_server_took_the_group(self):
        for groups, setting in ((f"{ML_KEM}:X25519", "auto"), ("X25519", "auto"),
                                (f"{ML_KEM}:X25519", "off")):
            group = best() if ML_KEM in groups and setting == "auto" else "X25519"
            offered = SUPPORT != "none" and setting == "auto"
            with self.subTest(groups, setting=setting), Server(groups) as server:
                probing = self.enterContext(Probe(server.port, "--post-quantum", setting))
                server.greet()
                server.says("EHLO")
                server.type("250 mail.test")
                facts = probing.facts()
                self.assertEqual(facts["verdict"], "accepted", facts)
                self.assertEqual(facts["tls_group"], group)
                self.assertEqual(facts["post_quantum"], group == ML_KEM if offered else None)


class Probe:
    """A probe of a server with implicit TLS, beside the test."""

    def __init__(self, port, *arguments):
        self._arguments = ["probe", "--json", "--protocol", "smtp", "--upstream", f"127.0.0.1:{port}",
                           "--server-name", "mail.test", "--ca-file", pki().ca, "--upstream-tls",
                           "implicit", *arguments]

    def __enter__(self):
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._result = self._pool.submit(run_to_end, *self._arguments)
        return self

    def __exit__(self, *_):
        self._pool.shutdown()

    def facts(self):
        return json.loads(self._result.result(wait.DEADLINE).stdout)


def pump(one, other):
    """Passes bytes both ways until one side ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                try:
                    data = key.fileobj.recv(1 << 16)
                    if not data:
                        return
                    key.data.sendall(data)
                except OSError:
                    return


class Chokes(unittest.TestCase):
    """Servers that choke on the post-quantum key share."""

    @staticmethod
    def sessions(script, count, **upstream):
        """Runs sessions one after the other. Returns their lines and the log's events."""
        timeouts = {"handshake": "3s"} if script.reaction == "silence" else None
        with FakeServer(script) as server:
            with Daemon(relay(server, script.mode, timeouts, **upstream)) as daemon:
                for number in range(count):
                    with Client(daemon.port) as client:
                        client.line()
                    daemon.sessions(number + 1)
                events = [line["msg"] for line in daemon.warnings()
                          if line["msg"].startswith("upstream failed")]
                return daemon.sessions(count), events

    def test_a_server_that_drops_large_hellos(self):
        for mode in ("implicit", "starttls"):
            for reaction in ("close", "reset", "silence"):
                with self.subTest(mode, reaction=reaction):
                    script = Choking(mode=mode, reaction=reaction)
                    lines, events = self.sessions(script, 3)
                    offers = script.offers()
                    # Never a weaker offer than the first.
                    self.assertEqual({tuple(groups) for groups, _ in offers},
                                     {tuple(offers[0][0])})
                    self.assertIn(hello.X25519_MLKEM768, offers[0][0])
                    fits = [fits for _, fits in offers]
                    outcomes = [line["outcome"] for line in lines]
                    if SUPPORT == "full":
                        self.assertEqual(outcomes, ["ok"] * 3)
                        self.assertEqual(fits, [False, True, True, True])
                        self.assertEqual(events,
                                         ["upstream failed, trying a smaller ClientHello"])
                        self.assertEqual({line["upstream_group"] for line in lines}, {"X25519"})
                    else:
                        self.assertNotIn("ok", outcomes)
                        self.assertEqual(fits, [False] * 3)
                        self.assertEqual(events, [])

    def test_off_reaches_such_a_server(self):
        script = Choking(reaction="silence")
        lines, events = self.sessions(script, 1, post_quantum="off")
        self.assertEqual((lines[0]["outcome"], events), ("ok", []))

    def test_a_server_that_is_silent_altogether_is_not_tried_for_ever(self):
        class Silent(Choking):
            def __call__(self, connection):
                self.hellos.append(first_record(connection.sock))
                connection.sock.recv(1 << 16)

        script = Silent(mode="implicit")
        lines, _ = self.sessions(script, 2)
        self.assertEqual([line["outcome"] for line in lines], ["handshake"] * 2)
        self.assertEqual([fits for _, fits in script.offers()],
                         [False, True, True] if SUPPORT == "full" else [False, False])


class Withheld(unittest.TestCase):
    """The offer of the group without its key share."""

    def test_a_server_behind_such_a_box_may_still_ask_for_the_key_share(self):
        with Server(ML_KEM) as server:
            first = []

            def forward(connection):
                record = first_record(connection.sock)
                first.append(len(record) <= KEY_SHARE)
                if len(record) > KEY_SHARE:
                    connection.sock.recv(1 << 16)
                    return
                with socket.create_connection(("127.0.0.1", server.port)) as onward:
                    pump(connection.sock, onward)

            with FakeServer(forward) as box, Daemon(relay(box)) as daemon:
                with Client(daemon.port) as client:
                    server.greet()
                    self.assertEqual(client.line()[:3], b"220")
                self.assertEqual(daemon.session()["upstream_group"], ML_KEM)
            self.assertEqual(first, [False, True])

    def test_a_server_that_drops_hellos_of_two_segments(self):
        """The first ClientHello may fit into one; that of a resumption does not."""
        script = Choking(mode="implicit", reaction="silence", limit=SEGMENT)
        lines, _ = Chokes.sessions(script, 4)
        self.assertEqual([line["outcome"] for line in lines], ["ok"] * 4)
        offers = script.offers()
        self.assertEqual({tuple(groups) for groups, _ in offers}, {tuple(offers[0][0])})
        self.assertEqual([fits for _, fits in offers].count(False), 1)
        self.assertTrue(offers[-1][1])

    def test_probe_reports_such_a_server(self):
        script = Choking(mode="implicit")
        with FakeServer(script) as server, Probe(server.port) as probing:
            facts = probing.facts()
        self.assertEqual((facts["verdict"], facts["key_share_withheld"], facts["post_quantum"]),
                         ("accepted", True, False), facts)


def load_tests(loader, _tests, _pattern):
    """Leaves out the tests that this TLS library makes impossible, and says so."""
    impossible = {"none": (Chokes, Withheld), "with_key_share": (Withheld,), "full": ()}[SUPPORT]
    for each in impossible:
        print(f"The tests of {each.__name__} are not part of this run: X25519MLKEM768 in this TLS "
              f"library: {SUPPORT}")
    wanted = [each for each in (Groups, Settings, Chokes, Withheld) if each not in impossible]
    return unittest.TestSuite(map(loader.loadTestsFromTestCase, wanted))


if __name__ == "__main__":
    main.main()

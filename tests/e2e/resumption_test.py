"""Resumption on both legs: the number of handshakes that it spares, and those that it must not spare."""

import base64
import itertools
import os
import pathlib
import shutil
import signal
import ssl
import tempfile
import unittest

from support import main, wait
from support.client import Client
from support.daemon import Daemon, toml
from support.environment import SANITIZED, pki
from support.fake_server import FakeServer, Gone, tls_context

SESSIONS = 100 if SANITIZED else 1000
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(version):
    context = tls_context()
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def client_context(version):
    context = ssl.create_default_context(cafile=pki().ca)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def script(context=None):
    """Returns a script that greets and answers QUIT; over TLS if there is a context."""

    def run(connection):
        if context is not None:
            connection.start_tls(context)
        connection.send(b"220 mail.test ESMTP\r\n")
        while not connection.line().startswith(b"QUIT"):
            connection.send(b"250 ok\r\n")
        connection.send(b"221 bye\r\n")
        if context is not None:
            connection.end_tls()
        raise Gone

    return run


def service(name, upstream_port, downstream=None, upstream=None):
    """Returns the lines of one service; the dicts add keys."""
    keys = {"name": name, "protocol": "smtp", "listen": "127.0.0.1:0",
            **{f"downstream.{key}": value for key, value in (downstream or {}).items()},
            "upstream.address": f"127.0.0.1:{upstream_port}",
            **{f"upstream.{key}": value for key, value in (upstream or {}).items()}}
    lines = ["[[service]]", *(f"{key} = {toml(value)}" for key, value in keys.items())]
    if downstream:
        chain, key = pki().pair()
        lines.append("downstream.certificates = "
                     f"[{{ chain = {toml(chain)}, key = {toml(key)} }}]")
    return lines


def converse(client):
    client.line()
    client.send(b"QUIT\r\n")
    if client.line() != b"221 bye\r\n":
        raise AssertionError("no goodbye")


class Resumption(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.number = 0

    def start(self, *services, listeners=1):
        self.number += 1
        self.file = self.folder / f"proxy{self.number}.toml"
        self.write(*services)
        return self.enterContext(Daemon(arguments=["--config", self.file], listeners=listeners))

    def write(self, *services):
        text = ["[proxy]", 'hostname = "proxy.test"', "workers = 2", *sum(services, [])]
        self.file.write_text("\n".join(text), encoding="utf-8")

    def downstream_session(self, port, context, session=None):
        """Runs a session. Returns (True if it was resumed, the TLS session for the next time)."""
        with Client(port) as client:
            client.sock = context.wrap_socket(client.sock, server_hostname="mail.test",
                                              session=session)
            converse(client)
            return client.sock.session_reused, client.sock.session

    def upstream_session(self, port):
        with Client(port) as client:
            line = client.line()
            if not line.startswith(b"220 "):
                raise AssertionError(line)
            client.send(b"QUIT\r\n")
            client.line()

    def test_a_thousand_clients(self):
        with FakeServer(script()) as server:
            daemon = self.start(service("secure", server.port, {"tls": "implicit"},
                                        {"tls": "none"}))
            for version in VERSIONS:
                with self.subTest(version):
                    context = client_context(version)
                    _, session = self.downstream_session(daemon.port, context)
                    resumed = 0
                    for _ in range(SESSIONS):
                        again, session = self.downstream_session(daemon.port, context, session)
                        resumed += again
                    print(f"downstream, TLS {version}: {resumed} of {SESSIONS} resumed")
                    self.assertGreater(resumed, 0.99 * SESSIONS)
            lines = daemon.sessions(2 * (SESSIONS + 1))
            self.assertGreater(sum(line["downstream_resumed"] == "true" for line in lines),
                               0.99 * 2 * SESSIONS)

    def test_a_thousand_sessions_with_the_server(self):
        for version in VERSIONS:
            with self.subTest(version), FakeServer(script(server_context(version))) as server:
                daemon = self.start(service("office", server.port, upstream={
                    "tls": "implicit", "server_name": "mail.test", "ca_file": pki().ca}))
                for _ in range(SESSIONS + 1):
                    self.upstream_session(daemon.port)
                lines = daemon.sessions(SESSIONS + 1)
                resumed = sum(line["upstream_resumed"] == "true" for line in lines)
                print(f"upstream, TLS {version}: {resumed} of {SESSIONS} resumed")
                self.assertGreater(resumed, 0.99 * SESSIONS)

    def test_across_a_reload(self):
        with FakeServer(script(server_context("1.3"))) as server:
            both = service("bridge", server.port, {"tls": "implicit"}, {
                "tls": "implicit", "server_name": "mail.test", "ca_file": pki().ca})
            daemon = self.start(both)
            context = client_context("1.3")
            _, session = self.downstream_session(daemon.port, context)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.lines(lambda f: f.get("msg") == "reloaded")
            again, _ = self.downstream_session(daemon.port, context, session)
            self.assertTrue(again)
            self.assertEqual(daemon.sessions(2)[1]["upstream_resumed"], "true")

            # Another policy: sessions that were accepted under the old one are not resumed.
            self.write(both + ['upstream.min_tls = "1.3"', 'downstream.min_tls = "1.3"'])
            _, session = self.downstream_session(daemon.port, context)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.lines(lambda f: f.get("msg") == "reloaded", 2)
            count = itertools.count(4)

            # Each worker gets the new policy in its own time.
            def afresh():
                again, _ = self.downstream_session(daemon.port, context, session)
                line = daemon.sessions(next(count))[-1]
                self.assertEqual(line["upstream_resumed"], str(again).lower())
                return not again

            wait.until(afresh, "a session is not resumed")

    def test_replicas_that_share_ticket_keys(self):
        keys = self.folder / "tickets"

        def write_keys(*lines):
            keys.write_bytes(b"# newest first\n" + b"\n".join(lines) + b"\n")
            keys.chmod(0o600)

        first, second = (base64.b64encode(os.urandom(48)) for _ in range(2))
        write_keys(first)
        with FakeServer(script()) as server:
            shared = service("secure", server.port,
                             {"tls": "implicit", "ticket_keys": str(keys)}, {"tls": "none"})
            alone = service("secure", server.port, {"tls": "implicit"}, {"tls": "none"})
            one, two, other = self.start(shared), self.start(shared), self.start(alone)
            for version in VERSIONS:
                with self.subTest(version):
                    context = client_context(version)
                    _, session = self.downstream_session(one.port, context)
                    again, _ = self.downstream_session(other.port, context, session)
                    self.assertFalse(again)
                    again, session = self.downstream_session(two.port, context, session)
                    self.assertTrue(again)

            # Rotated: the old key still opens, and a new ticket is made under the new key.
            write_keys(second, first)
            one.lines(lambda f: f.get("msg") == "reloaded")
            again, session = self.downstream_session(one.port, context, session)
            self.assertTrue(again)
            write_keys(second)
            two.lines(lambda f: f.get("msg") == "reloaded")

            # Each worker gets the keys in its own time. The first daemon may still have sealed with
            # the old key. The other may not have the new key yet.
            def opened():
                again, fresh = self.downstream_session(one.port, context, session)
                return again and self.downstream_session(two.port, context, fresh)[0]

            wait.until(opened, "the new key opens the ticket")

    def test_wrong_ticket_keys_are_refused(self):
        keys = self.folder / "tickets"
        shutil.copy(pki().pair()[1], keys)
        with FakeServer(script()) as server:
            daemon = self.start(service("secure", server.port, {"tls": "implicit"},
                                        {"tls": "none"}))
            self.write(service("secure", server.port,
                               {"tls": "implicit", "ticket_keys": str(keys)}, {"tls": "none"}))
            daemon.process.send_signal(signal.SIGHUP)
            line = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"))[0]
            self.assertIn("line 1 is not base64 of 48 bytes", line["reason"])

    def test_not_with_another_policy(self):
        """L6, CVE-2025-23419: a session of one service does not open another one."""
        with FakeServer(script()) as server:
            daemon = self.start(
                service("open", server.port, {"tls": "implicit"}, {"tls": "none"}),
                service("closed", server.port, {"tls": "implicit", "client_ca": pki().ca},
                        {"tls": "none"}), listeners=2)
            for version in VERSIONS:
                with self.subTest(version):
                    context = client_context(version)
                    _, session = self.downstream_session(daemon.ports[0], context)
                    with Client(daemon.ports[1]) as client:
                        client.sock = context.wrap_socket(
                            client.sock, server_hostname="mail.test", session=session)
                        self.assertFalse(client.sock.session_reused)
                        self.assertTrue(client.line().startswith(b"421 4.7.5 "))


if __name__ == "__main__":
    main.main()

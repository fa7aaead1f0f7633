"""HAProxy as our client and as our server: its checks succeed, and the client's address is passed on."""

import socket
import ssl
import unittest

from support import children, main, peers, wait
from support.client import FIN, Client, free_port
from support.daemon import Daemon, configuration, toml
from support.environment import pki
from support.fake_server import FakeServer, Gone, Smtp

DEFAULTS = """\
global
  stats socket ipv4@127.0.0.1:{control} level admin
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout check 10s
  # A check's connection has no longer than the time to the next one.
  default-server inter 1s fall 20 rise 1
"""

SERVICE = """
[[service]]
name = "{name}"
protocol = "smtp"
listen = "{listen}"
upstream.address = "127.0.0.1:{server}"
upstream.server_name = "mail.test"
upstream.ca_file = "{ca}"
downstream.proxy_protocol = ["127.0.0.1", "::1"]
downstream.allow = {allow}
"""


class HAProxy:
    """A HAProxy with these sections in its configuration."""

    def __init__(self, sections):
        peers.require()
        self._sections = sections

    def __enter__(self):
        self._control = free_port()
        self._scratch = peers.scratch()
        outside, inside = self._scratch.__enter__()  # pylint: disable=unnecessary-dunder-call
        (outside / "haproxy.cfg").write_text(DEFAULTS.format(control=self._control) + self._sections,
                                             encoding="utf-8")
        self._log = outside / "log"
        with open(self._log, "wb") as log:
            self._process = children.start(
                peers.command("/usr/sbin/haproxy", "-db", "-f", inside / "haproxy.cfg"),
                stdout=log, stderr=log)
        try:
            wait.until(self.states, lambda: self._log.read_text(encoding="utf-8"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(wait.DEADLINE)
        self._scratch.__exit__(None, None, None)

    def states(self):
        """Returns backend -> the last result of the check of its only server: ("UP", "L4OK")."""
        if self._process.poll() is not None:
            raise AssertionError("HAProxy has ended: " + self._log.read_text(encoding="utf-8"))
        try:
            with Client(self._control) as client:
                client.send(b"show stat\n")
                text = client.rest()[0].decode()
        except OSError:
            return None
        names, *lines = [line.split(",") for line in text.removeprefix("# ").splitlines() if line]
        rows = [dict(zip(names, line)) for line in lines]
        return {row["pxname"]: (row["status"].partition(" ")[0], row["check_status"])
                for row in rows if row["svname"] == "us"}


def through(name, port, to, *, words="", bind="127.0.0.1", check=()):
    """Returns a frontend and its backend with one server, the proxy."""
    lines = [f"frontend {name}-in", f"  bind {bind}:{port}", f"  default_backend {name}",
             f"backend {name}", *(f"  {line}" for line in check), f"  server us {to} {words}"]
    return "\n".join(lines) + "\n"


def session(client):
    """Runs a session from the greeting to the end."""
    greeting = client.line()
    assert greeting.startswith(b"220 "), greeting
    assert client.command(b"EHLO a.test").startswith(b"250-")
    assert client.command(b"QUIT").startswith(b"221 ")
    assert client.rest() == (b"", FIN)


class Before(unittest.TestCase):
    """HAProxy is our client."""

    def test_health_checks_pass_and_clients_are_known(self):
        peers.require()
        greeted = ("option tcp-check", "tcp-check expect rstring ^220")
        server = self.enterContext(FakeServer(Smtp()))
        chain, key = pki().pair()
        # With version 2 a check sends LOCAL and is accepted; with version 1 it has HAProxy's own
        # address.
        kinds = {"v1": ("127.0.0.1:0", ["127.0.0.5", "127.0.0.1"]),
                 "v2": ("127.0.0.1:0", ["127.0.0.5", "127.0.0.6"]),
                 "six": ("[::1]:0", ["::1"]),
                 "implicit": ("127.0.0.1:0", ["127.0.0.5"])}
        text = '[proxy]\nworkers = 2\nhostname = "proxy.test"\n[log]\nlevel = "debug"\n'
        for name, (listen, allow) in kinds.items():
            text += SERVICE.format(name=name, listen=listen, server=server.port, ca=pki().ca,
                                   allow=toml(allow))
        text += (f'downstream.tls = "implicit"\n'
                 f'downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n')
        daemon = self.enterContext(Daemon(text, listeners=len(kinds)))
        to = dict(zip(kinds, daemon.ports))
        ports = {name: free_port() for name in kinds}
        checked = "check check-send-proxy"
        haproxy = self.enterContext(HAProxy(
            through("v1", ports["v1"], f"127.0.0.1:{to['v1']}", words=f"send-proxy {checked}",
                    check=greeted)
            + through("v2", ports["v2"], f"127.0.0.1:{to['v2']}", words=f"send-proxy-v2 {checked}",
                      check=greeted)
            + through("six", ports["six"], f"[::1]:{to['six']}", words=f"send-proxy-v2 {checked}",
                      bind="[::1]", check=greeted)
            + through("implicit", ports["implicit"], f"127.0.0.1:{to['implicit']}",
                      words=f"send-proxy-v2 {checked}")))
        wait.until(lambda: all(state == "UP" and said in ("L4OK", "L7OK")
                               for state, said in haproxy.states().values()), haproxy.states)

        for name in ("v1", "v2", "implicit"):
            with self.subTest(name), Client(ports[name], source="127.0.0.5") as client:
                if name == "implicit":
                    client.start_tls(ssl.create_default_context(cafile=pki().ca), "mail.test")
                session(client)
                line = self.line_of(daemon, name, "127.0.0.5:%d" % client.address[1])
                self.assertEqual(line["outcome"], "ok")
        with socket.create_connection(("::1", ports["six"]), wait.DEADLINE) as sock:
            client = Client.__new__(Client)
            client.sock, client._waiting = sock, b""  # pylint: disable=protected-access
            session(client)
            self.line_of(daemon, "six", "[::1]:%d" % sock.getsockname()[1])
        with Client(ports["v2"], source="127.0.0.7") as client:
            self.assertIn(b"your address may not use this service", client.line())

        result = peers.run("/usr/bin/swaks", "--server", "127.0.0.1", "--port", ports["v2"],
                           "--local-interface", "127.0.0.6", "--helo", "legacy.test",
                           "--from", "a@legacy.test", "--to", "box@mail.test", "--body", "hello")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(self.line_of(daemon, "v2", "127.0.0.6:")["outcome"], "ok")

        wait.until(lambda: {state for state, _ in haproxy.states().values()} == {"UP"}, haproxy.states)
        daemon.terminate()
        daemon.expect_exit(0)
        wait.until(lambda: {state for state, _ in haproxy.states().values()} == {"DOWN"},
                   haproxy.states)

    def line_of(self, daemon, service, client):
        """Returns the line of the first session with a client address that begins so, once it is there."""
        return daemon.lines(lambda fields: "outcome" in fields and fields["service"] == service
                            and fields["client"].startswith(client))[0]


class Behind(unittest.TestCase):
    """HAProxy is our server, and passes on the address from our header."""

    def test_it_understands_both_versions(self):
        headers = []

        def script(connection):
            header = connection.line()
            headers.append(header)
            if not header.startswith(b"PROXY "):
                raise Gone
            Smtp()(connection)

        server = self.enterContext(FakeServer(script))
        for version in ("v1", "v2"):
            port = free_port()
            sections = through("mail", f"{port} accept-proxy", f"127.0.0.1:{server.port}",
                               words="send-proxy")
            with self.subTest(version), HAProxy(sections):
                text = configuration(port, upstream={"send_proxy": version})
                with Daemon(text) as daemon, Client(daemon.port, source="127.0.0.5") as client:
                    session(client)
                    self.assertEqual(
                        headers[-1], f"PROXY TCP4 127.0.0.5 127.0.0.1 {client.address[1]} "
                                     f"{daemon.port}\r\n".encode())


if __name__ == "__main__":
    main.main()

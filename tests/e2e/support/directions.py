"""One daemon in all directions: one service for each pair of TLS modes worth a real session."""

import functools
import ssl

from .client import Client
from .daemon import Daemon, toml
from .environment import pki

# Downstream and upstream mode.
UPGRADE = (("none", "starttls"), ("none", "implicit"))
TERMINATE = (("starttls", "none"), ("implicit", "none"))
BRIDGE = (("starttls", "starttls"), ("implicit", "implicit"), ("starttls", "implicit"),
          ("implicit", "starttls"))
PAIRS = UPGRADE + TERMINATE + BRIDGE
IN_SHORT = (UPGRADE[0], TERMINATE[0], BRIDGE[0])
TO_TLS = TERMINATE + BRIDGE


def tls_client():
    """Returns the context of a client that verifies; make-pki's certificate also has 127.0.0.1."""
    return ssl.create_default_context(cafile=pki().ca)


def in_pairs(pairs=PAIRS):
    """Makes `test(self, pair)` one test with a subtest for each pair of modes."""

    def decorate(test):
        @functools.wraps(test)
        def run(self):
            for pair in pairs:
                with self.subTest(downstream=pair[0], upstream=pair[1]):
                    test(self, pair)

        return run

    return decorate


class Directions:
    """The daemon for `protocol`. `servers` maps an upstream mode to "HOST:PORT"."""

    def __init__(self, protocol, servers, pairs=PAIRS):
        self._services = len(pairs)
        chain, key = pki().pair()
        text = ["[proxy]", 'hostname = "proxy.test"', "workers = 2", "[log]", 'level = "debug"']
        for down, up in pairs:
            text += ["[[service]]", f'name = "{down}-{up}"', f'protocol = "{protocol}"',
                     'listen = "127.0.0.1:0"', f'downstream.tls = "{down}"',
                     f"upstream.address = {toml(servers[up])}", f'upstream.tls = "{up}"']
            if up != "none":
                text += ['upstream.server_name = "mail.test"',
                         f"upstream.ca_file = {toml(pki().ca)}"]
            if down != "none":
                text.append("downstream.certificates = "
                            f"[{{ chain = {toml(chain)}, key = {toml(key)} }}]")
        self._daemon = Daemon("\n".join(text), listeners=self._services)

    def __enter__(self):
        self._daemon.__enter__()
        lines = self._daemon.lines(lambda fields: fields.get("msg") == "listening",
                                   self._services)
        self.ports = {tuple(line["service"].split("-")): int(line["address"].rpartition(":")[2])
                      for line in lines}
        return self

    def __exit__(self, *error):
        self._daemon.__exit__(*error)

    def connect(self, pair, kind=Client):
        """Returns a raw client. If the downstream leg is implicit TLS, its handshake is done."""
        client = kind(self.ports[pair])
        if pair[0] == "implicit":
            client.start_tls(tls_client(), "mail.test")
        return client

    def session(self, pair, address):
        """Returns the line at the end of the session with the client `address`
        (sock.getsockname()). Only lines of this service count, since ports are used again."""
        name = f"{address[0]}:{address[1]}"
        return self._daemon.lines(
            lambda fields: "outcome" in fields and fields["service"] == "-".join(pair)
            and fields["client"] == name)[0]

    def assert_legs(self, pair, address):
        """Asserts that the session ended well, and that its legs were as the modes say."""
        line = self.session(pair, address)
        expected = tuple("none" if mode == "none" else "TLSv1.3" for mode in pair)
        seen = line["downstream_tls"], line["upstream_tls"]
        if seen != expected or line["outcome"] != "ok":
            raise AssertionError(f"{pair}: {line}")

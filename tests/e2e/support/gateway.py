"""One daemon with many services, so that a test may walk through protocols and modes."""

import itertools
import socket

from . import wait
from .client import Client
from .daemon import SANDBOX, Daemon, login_lines, toml
from .environment import pki


class Guest(Client):
    """A client with its own address, since ports are used again and the log has both."""

    def __init__(self, port, address):  # pylint: disable=super-init-not-called
        self.sock = socket.create_connection(("127.0.0.1", port), wait.DEADLINE, (address, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waiting = b""


class Gateway:
    """A daemon with a service for each name of `services`: name -> dict of keys below [[service]].

    `downstream.tls`, `upstream.tls` and so on are given with their dots. `login` is a dict and
    `accounts` a list of dicts. The parts that every
    service needs (listener, certificates, CA, the name to verify) are added. `tables` are the other
    tables.
    """

    def __init__(self, services, **tables):
        tables = {"proxy": {"hostname": "proxy.test", "workers": 1, "sandbox": SANDBOX}, "log": {"level": "debug"},
                  **tables}
        lines = []
        for table, keys in tables.items():
            lines += [f"[{table}]", *(f"{key} = {toml(value)}" for key, value in keys.items())]
        chain, key = pki().pair()
        for name, keys in services.items():
            keys = {"name": name, "listen": "127.0.0.1:0", "upstream.server_name": "mail.test",
                    "upstream.ca_file": pki().ca, **keys}
            login = login_lines(keys.pop("login", None), keys.pop("accounts", ()))
            lines += ["[[service]]", *(f"{path} = {toml(value)}" for path, value in keys.items())]
            if keys.get("downstream.tls", "none") != "none":
                lines.append("downstream.certificates = "
                             f"[{{ chain = {toml(chain)}, key = {toml(key)} }}]")
            lines += login
        self.daemon = Daemon("\n".join(lines), listeners=len(services))
        self._count = len(services)
        self._numbers = itertools.count(1)

    def __enter__(self):
        self.daemon.__enter__()
        listening = self.daemon.lines(lambda line: line.get("msg") == "listening", self._count)
        self.ports = {line["service"]: int(line["address"].rpartition(":")[2])
                       for line in listening}
        return self

    def __exit__(self, *exception):
        self.daemon.__exit__(*exception)

    def connect(self, service, kind=Guest):
        """Returns a client with an address of its own."""
        number = next(self._numbers)
        address = f"127.1.{number >> 8}.{number & 255}"
        client = kind(self.ports[service], address)
        client.address = address
        return client

    def session(self, client):
        """Returns the line at the end of this client's session."""
        return self.daemon.lines(lambda line: "outcome" in line and
                                 line["client"].startswith(client.address + ":"))[0]

    def settles(self, descriptors):
        """Waits until no more than so many are open: no session has left one open."""
        wait.until(lambda: self.daemon.descriptors() <= descriptors,
                   lambda: f"{descriptors} descriptors: {self.daemon.descriptor_list()}")

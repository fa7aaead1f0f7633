"""Processes that start beside each other, and clients that go on sending mail meanwhile."""

import pathlib
import socket
import tempfile
import threading
import time
import unittest

from support import wait
from support.client import FIN, Client
from support.daemon import SANDBOX, Daemon, toml
from support.fake_server import FakeServer, taker

CLIENTS = 4
# On loopback a process that ends waits for begun handshakes, at most 50 ms.
LATE = 0.04


class Guest(Client):
    """A client over any address."""

    def __init__(self, address):  # pylint: disable=super-init-not-called
        self._waiting = b""
        self.sock = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        self.sock.settimeout(wait.DEADLINE)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise


def send_mail(address):
    """Sends one mail in a whole session. Raises AssertionError if an answer is missing; the error names the
    last command. Its `late` is true if the client was reset before any answer, and the machine is to blame:
    connect() alone took too long.
    """
    said, begun, connected = b"nothing", time.monotonic(), None
    try:
        with Guest(address) as client:
            said, connected = b"a connection", time.monotonic()
            for command, code in ((None, b"220 "), (b"EHLO a.test", b"250 "), (b"MAIL FROM:<a@b.c>", b"250 "),
                                  (b"RCPT TO:<d@e.f>", b"250 "), (b"DATA", b"354 "),
                                  (b"Subject: x\r\n\r\nx\r\n.", b"250 "), (b"QUIT", b"221 ")):
                reply = client.reply() if command is None else client.command(command)
                said = command or b"the greeting"
                if not reply.startswith(code):
                    raise AssertionError(f"was answered {reply!r}")
            if client.rest() != (b"", FIN):
                raise AssertionError("no clean end")
    except (AssertionError, OSError) as error:
        lost = AssertionError(f"after {said!r}: {error!r}")
        lost.late = (isinstance(error, ConnectionResetError) and said in (b"nothing", b"a connection")
                     and (connected or time.monotonic()) - begun > LATE)
        raise lost from error


class Load:
    """Clients that send one message after the other, until the context is left."""

    def __init__(self, *addresses):
        self._addresses = addresses
        self._stop = threading.Event()
        self.sent = 0
        self.failures = []

    def __enter__(self):
        self._threads = [threading.Thread(target=self._run, args=(address,))
                         for address in self._addresses * CLIENTS]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, count=40):
        """Waits for `count` more messages."""
        wanted = self.sent + count
        wait.until(lambda: self.sent >= wanted or self.failures, f"{wanted} messages")

    def _run(self, address):
        while not self._stop.is_set():
            try:
                send_mail(address)
                self.sent += 1  # a lost update does not matter
            except AssertionError as error:
                if not error.late:
                    self.failures.append(error)


class Beside(unittest.TestCase):
    """Processes that start beside each other, with one configuration file."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="starttls-restart-")))
        self.server = self.enterContext(FakeServer(taker, backlog=1024))
        self.file = self.folder / "proxy.toml"

    def write(self, listen, admin_listen="", **proxy):
        settings = {"name": "one", "protocol": "smtp", "listen": listen,
                    "downstream.allow": ["127.0.0.0/8"], "upstream.tls": "none",
                    "upstream.address": f"127.0.0.1:{self.server.port}"}
        proxy = {"hostname": "proxy.test", "workers": 2, "sandbox": SANDBOX, **proxy}
        self.file.write_text("\n".join(
            [f"[admin]\nlisten = {toml(admin_listen)}",
             "[proxy]", *(f"{key} = {toml(value)}" for key, value in proxy.items()), "[[service]]",
             *(f"{key} = {toml(value)}" for key, value in settings.items())]), encoding="utf-8")

    def daemon(self, listeners, **options):
        return Daemon(arguments=["--config", self.file], listeners=listeners, **options)

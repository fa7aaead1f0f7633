"""Plays systemd: holds sockets, passes them to daemons, and receives their notifications."""

import os
import socket
import sys
import threading

from . import wait

# Only the process that executes the daemon knows a descriptor's number, and LISTEN_PID.
_PASS = """
import os, sys
at = sys.argv.index("--")
high = [os.dup2(int(fd), 100 + index) for index, fd in enumerate(sys.argv[1:at])]
for index, fd in enumerate(high):
    os.dup2(fd, 3 + index, inheritable=True)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(at - 1))
os.execv(sys.argv[at + 1], sys.argv[at + 1:])
"""


def passing(sockets, environment=None, names=True):
    """Returns the keyword arguments of a Daemon that inherits the sockets of (name, socket) pairs."""
    fds = [sock.fileno() for _, sock in sockets]
    variables = {**os.environ, **(environment or {})}
    if names:
        variables["LISTEN_FDNAMES"] = ":".join(name for name, _ in sockets)
    return {"wrapper": [sys.executable, "-S", "-c", _PASS, *map(str, fds), "--"],
            "options": {"pass_fds": fds, "env": variables}}


class Notified:
    """The socket of NOTIFY_SOCKET, and all messages to it: a list of dicts."""

    def __init__(self, address):
        """Makes the socket: `address` is a path, or "@name" for an abstract one."""
        self.address = address
        self._messages = []
        self._news = threading.Condition()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        if not address.startswith("@"):
            os.chmod(address, 0o777)  # as systemd's

    def __enter__(self):
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()

    def messages(self):
        with self._news:
            return list(self._messages)

    def hears(self, matches, count=1, deadline=wait.DEADLINE):
        """Waits until so many messages match, and returns them."""
        with self._news:
            def found():
                return [message for message in self._messages if matches(message)]
            if not self._news.wait_for(lambda: len(found()) >= count, deadline):
                raise AssertionError(f"{len(found())} of {count} messages: {self._messages}")
            return found()

    def _read(self):
        while data := self._sock.recv(4096):
            message = dict(line.split("=", 1) for line in data.decode().splitlines())
            with self._news:
                self._messages.append(message)
                self._news.notify_all()

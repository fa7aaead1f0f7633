"""A small NNTP client (RFC 3977, 4642, 4643): Python has had none since 3.13."""

import contextlib
import socket

from . import wait


class NntpError(Exception):
    """The server refused; the text is its reply."""


class NntpClient(contextlib.AbstractContextManager):
    """One connection to a server on loopback, with TLS from the first byte if there is a `context`."""

    def __init__(self, port, context=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=wait.DEADLINE)
        try:
            self._file = None
            self._secure(context)
            self.welcome = self._reply()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._file is not None:
            self._file.close()
        self.sock.close()

    def command(self, *words):
        """Sends a command and returns its reply, one line. Raises NntpError if its code is 400 or more."""
        self.sock.sendall(" ".join(words).encode() + b"\r\n")
        return self._reply()

    def lines(self, *words):
        """Sends a command and returns the lines of its block, without CRLF."""
        self.command(*words)
        found = []
        while (line := self._line()) != b".":
            found.append(line.removeprefix(b"."))
        return found

    def capabilities(self):
        """Returns the server's list: name -> arguments."""
        words = [line.decode().split() for line in self.lines("CAPABILITIES")]
        return {name: arguments for name, *arguments in words}

    def starttls(self, context):
        self.command("STARTTLS")
        self._secure(context)

    def login(self, user, password):
        reply = self.command("AUTHINFO USER", user)
        if reply.startswith("381"):
            self.command("AUTHINFO PASS", password)

    def groups(self):
        """Returns the names of all groups."""
        return [line.decode().split()[0] for line in self.lines("LIST")]

    def post(self, data):
        """Posts an article with lines that end in CRLF, and returns the server's reply."""
        self.command("POST")
        stuffed = b"".join(b"." * line.startswith(b".") + line
                           for line in data.splitlines(keepends=True))
        self.sock.sendall(stuffed + b".\r\n")
        return self._reply()

    def quit(self):
        reply = self.command("QUIT")
        self.close()
        return reply

    def _secure(self, context):
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="127.0.0.1")
        if self._file is not None:
            self._file.close()
        self._file = self.sock.makefile("rb")

    def _line(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(f"the server ended: {line!r}")
        return line[:-2]

    def _reply(self):
        reply = self._line().decode("utf-8", "surrogateescape")
        if reply[:1] in ("4", "5"):
            raise NntpError(reply)
        return reply

"""Scripted SMTP and LMTP servers that remember every byte they were sent.

A script is a callable that gets a Connection; it runs in a thread of its own, one per connection.
"""

import socket
import ssl
import threading

from . import wait
from .environment import pki


def tls_context(certificate="server", **settings):
    """Returns a server's context with one of make-pki's certificates; settings are its attributes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki().pair(certificate))
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def obsolete_context():
    """Returns a server's context that speaks nothing newer than TLS 1.1."""
    context = tls_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


class Gone(Exception):
    """The peer has ended its direction, or the connection."""


class Connection:
    """One connection to a fake server, as its script sees it."""

    def __init__(self, sock):
        self.sock = sock
        self.clear = bytearray()  # all bytes that came before TLS
        self.secure = bytearray()  # all bytes that came inside TLS
        self.messages = []  # what came between DATA's 354 and the final dot, dots as sent
        self.tls = None  # the SSLSocket, once the handshake is done
        self.tls_error = None  # why the handshake failed
        self.error = None  # the exception that ended the script, except Gone
        self.ended = threading.Event()  # the script is over and the socket closed
        self._waiting = b""

    def send(self, chunk):
        try:
            self.sock.sendall(chunk)
        except OSError as error:
            raise Gone from error

    def receive(self):
        """Returns more bytes as they come; raises Gone at the end."""
        if self._waiting:
            chunk, self._waiting = self._waiting, b""
            return chunk
        chunk = self._read()
        if not chunk:
            raise Gone
        return chunk

    def line(self):
        """Returns the next line with its line feed."""
        while b"\n" not in self._waiting:
            chunk = self._read()
            if not chunk:
                raise Gone
            self._waiting += chunk
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line + b"\n"

    def exactly(self, size):
        """Returns the next `size` bytes."""
        while len(self._waiting) < size:
            chunk = self._read()
            if not chunk:
                raise Gone
            self._waiting += chunk
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        return data

    def data(self):
        """Returns a message without the final dot line, exactly as it was sent."""
        chunk = bytearray(b"\r\n" + self._waiting)
        self._waiting = b""
        searched = 0
        while (end := chunk.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(chunk) - 4)
            more = self._read()
            if not more:
                raise Gone
            chunk += more
        self._waiting = bytes(chunk[end + 5:])
        return bytes(chunk[2:end + 2])

    def start_tls(self, context):
        """Does the server's side of the handshake. Raises Gone if it fails; `tls_error` has the reason."""
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True,
                                            suppress_ragged_eofs=False)
        except (OSError, ssl.SSLError) as error:
            self.tls_error = error
            raise Gone from error
        self.tls = self.sock

    def end_tls(self):
        """Sends close_notify without waiting for the peer's; our direction stays open below."""
        self.sock.setblocking(False)
        try:
            self.sock.unwrap()
        except (ssl.SSLError, OSError, ValueError):  # ValueError if the test ends us meanwhile
            pass

    def wait_for_end(self):
        """Waits until the peer ends its direction or the connection."""
        while self._read():
            pass

    def close(self):
        self.sock.close()

    def _read(self):
        try:
            chunk = self.sock.recv(1 << 18)
        except (OSError, ssl.SSLError):
            return b""
        (self.secure if self.tls else self.clear).extend(chunk)
        return chunk


def taker(connection):
    """Plays a server in the clear that takes mail, as a script."""
    connection.send(b"220 mail.test ESMTP\r\n")
    while True:
        line = connection.line()
        if line.startswith(b"QUIT"):
            connection.send(b"221 bye\r\n")
            raise Gone
        if line.startswith(b"DATA"):
            connection.send(b"354 go on\r\n")
            connection.data()
        connection.send(b"250 ok\r\n")


class FakeServer:
    """Listens on a loopback port, a free one if none is given, and runs `script` for each connection."""

    def __init__(self, script, backlog=256, port=0):
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", port), backlog=backlog)
        self.port = self._listener.getsockname()[1]
        self.connections = []
        self._threads = []

    def __enter__(self):
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, kind, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(wait.DEADLINE)
        errors = [c.error for c in self.connections if c.error]
        if errors and kind is None:
            raise errors[0]

    def connection(self, index=0):
        """Returns the connection of that number, once there is one."""
        wait.until(lambda: len(self.connections) > index, f"connection {index} to the server")
        return self.connections[index]

    def heard(self):
        """Waits until all connections have ended. Returns all their bytes, in the clear or not."""
        for connection in self.connections:
            if not connection.ended.wait(wait.DEADLINE):
                raise AssertionError("a connection to the server did not end")
        return b"".join(bytes(c.clear) + bytes(c.secure) for c in self.connections)

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock)
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        try:
            self._script(connection)
        except Gone:
            pass
        except Exception as error:  # pylint: disable=broad-except
            connection.error = error
        finally:
            connection.close()
            connection.ended.set()


class Smtp:
    """A script: an SMTP server that takes mail only after STARTTLS.

    The replies are attributes, so that a test can make any of them wrong. If one is None, the
    script sends nothing and waits for the peer to go.
    """

    hello = b"EHLO"
    greeting = b"220 mail.test ESMTP fake\r\n"
    clear_capabilities = b"250-mail.test\r\n250-SIZE 1\r\n250 STARTTLS\r\n"
    go_ahead = b"220 2.0.0 Ready to start TLS\r\n"
    capabilities = b"250-mail.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n"
    # Called with the connection instead of going on, after MAIL was answered: the relay is up.
    relay = None

    def __init__(self, **changes):
        self.context = None
        for name, value in changes.items():
            if not hasattr(self, name):
                raise TypeError(f"no such reply: {name}")
            setattr(self, name, value)
        if self.context is None:
            self.context = tls_context()

    def __call__(self, connection):
        self.say(connection, self.greeting)
        self.prelude(connection)
        connection.start_tls(self.context)
        self.secured(connection)

    def prelude(self, connection):
        """Answers from the greeting to the go-ahead, both included."""
        while True:
            command = connection.line().upper()
            if command.startswith(self.hello):
                self.say(connection, self.clear_capabilities)
            elif command.startswith(b"STARTTLS"):
                self.say(connection, self.go_ahead)
                if self.go_ahead.startswith(b"220"):
                    return
            elif command.startswith(b"QUIT"):
                connection.send(b"221 bye\r\n")
                raise Gone
            else:
                connection.send(b"530 5.7.0 Must issue a STARTTLS command first\r\n")

    def secured(self, connection):
        """Takes mail, after the handshake."""
        recipients = 0
        while True:
            line = connection.line()
            command = line.upper().rstrip()
            if command.startswith((self.hello, b"HELO")):
                plain = command.startswith(b"HELO")
                connection.send(b"250 mail.test\r\n" if plain else self.capabilities)
            elif command.startswith(b"DATA"):
                connection.send(b"354 go on\r\n")
                connection.messages.append(connection.data())
                for _ in range(recipients if self.hello == b"LHLO" else 1):
                    connection.send(b"250 2.0.0 kept\r\n")
                recipients = 0
            elif command.startswith((b"MAIL", b"RCPT", b"RSET", b"NOOP")):
                recipients += command.startswith(b"RCPT")
                connection.send(b"250 2.0.0 ok\r\n")
                if self.relay and command.startswith(b"MAIL"):
                    self.relay(connection)
                    return
            elif command.startswith(b"AUTH"):
                connection.send(b"235 2.7.0 welcome\r\n")
            elif command.startswith(b"QUIT"):
                connection.send(b"221 2.0.0 bye\r\n")
                if connection.tls:
                    connection.end_tls()
                return
            else:
                connection.send(b"500 5.5.2 what\r\n")

    @staticmethod
    def say(connection, reply):
        if reply is None:
            connection.wait_for_end()
            raise Gone
        connection.send(reply)


class Lmtp(Smtp):
    """The same for LMTP: LHLO, and one reply per recipient after DATA."""

    hello = b"LHLO"

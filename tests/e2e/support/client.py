"""Plain clients: they send bytes, receive bytes, and report how the connection ended."""

import fcntl
import socket
import struct
import sys
import termios

from .environment import ROOT
from .wait import DEADLINE

sys.path.append(str(ROOT / "bench"))
from harness.ports import claimed_port, free_port  # noqa: E402,F401  for the tests

FIN = "fin"
RESET = "reset"


def unacknowledged(sock):
    """Returns the bytes that the peer's kernel has not taken yet. A FIN counts as one."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


class Client:
    """One connection to the daemon (or to a server, for direct sessions)."""

    def __init__(self, port, deadline=DEADLINE, source=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=deadline,
                                             source_address=source and (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = self.sock.getsockname()  # as in the daemon's log
        self._waiting = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def dribble(self, data, pause=0.05):
        """Sends byte by byte, with pauses, until the peer answers or ends."""
        deadline = self.sock.gettimeout()
        self.sock.settimeout(pause)
        try:
            for byte in data:
                try:
                    self.sock.send(bytes([byte]))
                    self.sock.recv(1, socket.MSG_PEEK)
                    return
                except TimeoutError:
                    pass
                except OSError:
                    return
        finally:
            self.sock.settimeout(deadline)

    def line(self):
        """Returns the next line with its CRLF, or the bytes so far if the connection ends before."""
        while b"\n" not in self._waiting:
            data = self.sock.recv(65536)
            if not data:
                line, self._waiting = self._waiting, b""
                return line
            self._waiting += data
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line + b"\n"

    def reply(self):
        """Returns one SMTP reply of any number of lines."""
        lines = b""
        while True:
            line = self.line()
            lines += line
            if line[3:4] != b"-":
                return lines

    def command(self, line):
        """Sends a command and returns its reply."""
        self.send(line + b"\r\n")
        return self.reply()

    def exactly(self, size):
        """Returns the next `size` bytes."""
        data = bytearray(self._waiting[:size])
        self._waiting = self._waiting[size:]
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise AssertionError(f"ended after {len(data)} of {size} bytes")
            data += more
        return bytes(data)

    def buffered(self):
        """Returns the bytes that were read after the last line asked for, and empties the buffer."""
        data, self._waiting = self._waiting, b""
        return data

    def rest(self):
        """Returns all bytes until the connection ends, and how it ended: FIN or RESET."""
        data = bytearray(self.buffered())
        while True:
            try:
                more = self.sock.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                return bytes(data), RESET
            if not more:
                return bytes(data), FIN
            data += more

    def finish(self):
        """Ends our direction; the other one goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Ends the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def start_tls(self, context, name):
        """Does the client's side of the handshake, for direct sessions."""
        self.sock = context.wrap_socket(self.sock, server_hostname=name)

    def close(self):
        self.sock.close()

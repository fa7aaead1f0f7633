"""Parts of demo.py: the screen, taps that show the bytes of a connection, child processes, a mail client."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading

DEADLINE = 15
COLUMNS = 80
LEFT = 37   # width of the left column, between 2 blanks and " | "
RIGHT = COLUMNS - 2 - LEFT - 3

# Content types of TLS records (RFC 8446 5.1).
RECORDS = {20: "change cipher", 21: "alert", 22: "handshake", 23: "encrypted"}


def has_colour(stream):
    """True if the stream is a terminal and the user has not switched colours off (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Screen:
    """Two columns of 80 in all, with rows in the order of events."""

    COLOURS = {"clear": "33", "encrypted": "32", "handshake": "36", "good": "1;32", "bad": "1;31", "bold": "1"}

    def __init__(self):
        self._lock = threading.Lock()
        self._colour = has_colour(sys.stdout)

    def paint(self, text, kind):
        colour = self.COLOURS.get(kind)
        return f"\033[{colour}m{text}\033[0m" if self._colour and colour and text.strip() else text

    def heads(self, left, right):
        print("  " + self.paint(f"{left:{LEFT}}", "bold") + " | " + self.paint(right, "bold"))
        print("  " + "-" * (LEFT + 1) + "+" + "-" * (RIGHT + 1))

    def left(self, arrow, text, kind):
        for piece in self._folded(arrow, text, LEFT):
            self._row(self.paint(f"{piece:{LEFT}}", kind) + " |")

    def right(self, arrow, text, kind):
        for piece in self._folded(arrow, text, RIGHT):
            self._row(" " * LEFT + " | " + self.paint(piece, kind))

    def paragraph(self, text):
        """Prints a long line in rows, broken at blanks."""
        for row in textwrap.wrap(text, COLUMNS - 2, break_long_words=False, break_on_hyphens=False):
            self._row(row)

    def verdict(self, question, answer, is_good):
        print(f"{question:45}{self.paint(answer, 'good' if is_good else 'bad')}")

    @staticmethod
    def _folded(arrow, text, width):
        room = width - 3
        pieces = [text[i:i + room] for i in range(0, len(text), room)] or [""]
        return [f"{arrow if i == 0 else '  '} {piece}" for i, piece in enumerate(pieces)]

    def _row(self, text):
        with self._lock:
            print("  " + text, flush=True)


class Tap:
    """A relay for one connection. It passes everything on and shows it in one column of the screen."""

    def __init__(self, show, port):
        self._show_row = show
        self._next_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.seen = bytearray()
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self):
        """Waits until both directions have ended. If no connection has come, none will be accepted."""
        if not self._has_begun.is_set():
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)

    def _run(self):
        try:
            client, _ = self._listener.accept()
        except OSError:  # see finish
            return
        self._has_begun.set()
        try:
            server = socket.create_connection(("127.0.0.1", self._next_port))
        except OSError:  # the program has ended, and is reported
            client.close()
            return
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pass, args=(server, client, "<-"), daemon=True)
        back.start()
        self._pass(client, server, "->")
        back.join(DEADLINE)
        client.close()
        server.close()

    def _pass(self, source, sink, arrow):
        waiting = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.seen += data
                waiting = self._show(arrow, waiting + data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _show(self, arrow, data):
        """Shows whole lines and whole records; returns the rest."""
        while data:
            if data[0] in RECORDS:
                size = 5 + int.from_bytes(data[3:5], "big") if len(data) >= 5 else 5
                if len(data) < size:
                    break
                words = f"TLS {RECORDS[data[0]]}, {size} bytes: "
                start = data[5:size][:(RIGHT - 3 - len(words) + 1) // 3].hex(" ")
                self._show_row(arrow, words + start, "encrypted" if data[0] == 23 else "handshake")
            else:
                size = data.find(b"\r\n") + 2
                if size < 2:
                    break
                self._show_row(arrow, data[:size - 2].decode("utf-8", "backslashreplace"), "clear")
            data = data[size:]
        return data


class Program:
    """A child process that prints its port. It ends with the context.

    If the child has ended by itself, the demo prints its output and its exit status, and ends.
    """

    def __init__(self, arguments, stream, pattern):
        self._said = []
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, text=True, errors="replace",
            stdout=subprocess.PIPE if stream == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if stream == "stderr" else None)
        self._stream = getattr(self._process, stream)
        self.port = int(self.line(pattern)[1])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None and kind is not SystemExit:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
                self._has_ended()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def line(self, pattern):
        """Returns the match in the next line of its output that matches."""
        for line in self._stream:
            self._said.append(line)
            if found := re.search(pattern, line):
                return found
        return self._has_ended()

    def _has_ended(self):
        self._said += self._stream.readlines()
        status = self._process.wait(DEADLINE)
        how = f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
        sys.exit(f"{self._process.args[0]} has ended ({how}). It said:\n{''.join(self._said)}")


class Client:
    """A mail client as simple as an old device's. It ends with the context."""

    def __init__(self, port):
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._replies = self._sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._replies.close()
        self._sock.close()

    def start_tls(self, context, name):
        self._replies.close()
        self._sock = context.wrap_socket(self._sock, server_hostname=name)
        self._replies = self._sock.makefile("rb")

    def send(self, data):
        self._sock.sendall(data)

    def line(self):
        return self._replies.readline()

    def read(self, size):
        return self._replies.read(size)

    def reply(self):
        """Returns the last line of an SMTP reply."""
        while True:
            line = self.line()
            if line[3:4] != b"-":
                return line

    def until(self, tag):
        """Returns the line that begins with an IMAP tag."""
        while line := self.line():
            if line.startswith(tag):
                return line
        return b""

    def rest(self):
        """Waits until the other side ends, and ends TLS."""
        with contextlib.suppress(OSError):
            while self._sock.recv(4096):
                pass
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.unwrap()

"""Shows the whole job on one screen. A client that knows no TLS sends mail through the proxy to a server
that accepts mail only after STARTTLS. The bytes between proxy and server are shown too.

    demo.py BUILD_FOLDER

Exit status 0 only if the message arrived byte for byte and nothing of it was readable on the wire.
"""

import contextlib
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

DEADLINE = 15
LEFT = 50  # width of the client's column
MESSAGE = (b"From: scanner@office.test\r\nTo: archive@mail.test\r\nSubject: Scan 4711\r\n\r\n"
           b"Page one of one: \xe2\x82\xac 1.000, strictly confidential.\r\n"
           b".A line that begins with a dot.\r\n")

# Content types of TLS records (RFC 8446 5.1).
RECORDS = {20: "change cipher", 21: "alert", 22: "handshake", 23: "encrypted"}


class Screen:
    """Two columns in the order of events: the client's dialogue, and the bytes to and from the server."""

    def __init__(self):
        self._lock = threading.Lock()

    def client(self, arrow, data):
        for line in data.decode("utf-8", "replace").splitlines():
            self._row(f"{arrow} {line}"[:LEFT])

    def wire(self, arrow, text):
        self._row(" " * LEFT + f" | {arrow} {text}")

    def _row(self, text):
        with self._lock:
            print("  " + text, flush=True)


class Tap:
    """A relay between proxy and server that passes everything on and shows it."""

    def __init__(self, screen, server_port):
        self._screen = screen
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.seen = bytearray()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self):
        """Waits until both directions have ended."""
        self._thread.join(DEADLINE)

    def _run(self):
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._server_port))
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
                start = data[5:size][:6].hex(" ")
                self._screen.wire(arrow, f"[TLS {RECORDS[data[0]]}, {size} bytes: {start} ...]")
            else:
                size = data.find(b"\r\n") + 2
                if size < 2:
                    break
                self._screen.wire(arrow, data[:size - 2].decode("ascii", "backslashreplace"))
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


def send(screen, port):
    """Sends a message as an old device does, by SMTP without TLS. True if the mail was accepted."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        replies = sock.makefile("rb")

        def say(data):
            screen.client("->", data)
            sock.sendall(data)

        def hear(wanted):
            while True:
                line = replies.readline()
                screen.client("<-", line)
                if line[3:4] != b"-":
                    return line.startswith(wanted)

        accepted = hear(b"220")
        for command, wanted in ((b"EHLO scanner.office.test", b"250"),
                                (b"MAIL FROM:<scanner@office.test>", b"250"),
                                (b"RCPT TO:<archive@mail.test>", b"250"), (b"DATA", b"354")):
            if not accepted:
                return False
            say(command + b"\r\n")
            accepted = hear(wanted)
        # A dot at the beginning of a line is doubled (RFC 5321 4.5.2).
        say(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        accepted = hear(b"250")
        say(b"QUIT\r\n")
        hear(b"221")
        while sock.recv(4096):
            pass
        return accepted


def stored_message(folder):
    """Returns the content of the file that the server wrote."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        files = [path for path in folder.iterdir() if path.is_file()]
        if files:
            return files[0].read_bytes()
        time.sleep(0.01)
    return b""


def main():
    build = pathlib.Path(sys.argv[1])
    screen = Screen()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="starttls-")))
        store = folder / "mail"
        store.mkdir()
        subprocess.run([build / "tools/pki/make-pki", folder], check=True,
                       stdout=subprocess.DEVNULL)
        server = stack.enter_context(Program(
            [build / "tools/mail_server/backend", "--protocol", "smtp", "--listen", "127.0.0.1:0",
             "--tls", "starttls", "--chain", folder / "server.pem", "--key", folder / "server.key",
             "--store", store], "stdout", r"listening 127\.0\.0\.1:(\d+)"))
        tap = Tap(screen, server.port)
        proxy = stack.enter_context(Program(
            [build / "proxy/starttls-proxy", "--protocol", "smtp", "--listen", "127.0.0.1:0",
             "--upstream", f"127.0.0.1:{tap.port}", "--server-name", "mail.test",
             "--ca-file", folder / "ca.pem"],
            "stderr", r"msg=\"?listening\"? .*address=127\.0\.0\.1:(\d+)"))

        print(f"A server that accepts mail only after STARTTLS listens on port {server.port}.\n"
              f"starttls-proxy listens on port {proxy.port}.\n")
        print(f"  {'client, in the clear':{LEFT}} | proxy to server, seen on the wire")
        print(f"  {'-' * LEFT}-+-{'-' * 40}")
        accepted = send(screen, proxy.port)
        tap.finish()
        print(f"\nThe session in the proxy's log:\n  {proxy.line(r'.*outcome=.*')[0].strip()}\n")
        arrived = stored_message(store) if accepted else b""

    exact = arrived == MESSAGE
    private = not any(line in tap.seen for line in MESSAGE.split(b"\r\n") if line)
    print(f"Message arrived, {len(MESSAGE)} bytes unchanged:  {'yes' if exact else 'NO'}")
    print(f"Any line of it readable on the wire:   {'no' if private else 'YES'}")
    print("""
For a real server, start the proxy like this and let the old device send to port 2525:
  ./run --protocol smtp --listen 127.0.0.1:2525 --upstream smtp.example.com:587
The server's certificate must be valid for smtp.example.com. ./run --help lists all options.""")
    return 0 if accepted and exact and private else 1


if __name__ == "__main__":
    sys.exit(main())

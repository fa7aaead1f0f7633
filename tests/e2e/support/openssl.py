"""The programs of OpenSSL, s_client and s_server, with typed input."""

import contextlib
import signal
import subprocess
import threading

from . import children, peers, wait


class OpenSsl:
    """`openssl` with these arguments. We type its input, and keep its output.

    A line that begins with a letter may be a command (R, K, k, Q). So type one at a time. `program`
    is the one in the peers' tree if it is None.
    """

    def __init__(self, *arguments, program=None):
        self._process = children.start(
            [program, *arguments] if program else peers.command("/usr/bin/openssl", *arguments),
            death=signal.SIGTERM, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self._said = bytearray()
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Through sudo it is not our direct child; the end of its input ends it there as well.
        with contextlib.suppress(OSError):
            self.type("Q")
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.terminate()
        self._process.wait(wait.DEADLINE)
        self._reader.join(wait.DEADLINE)
        self._process.stdout.close()

    def type(self, line):
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def says(self, words, count=1):
        """Waits until it has printed these words `count` times. Returns all its output."""
        wait.until(lambda: self.said().count(words) >= count or not self._reader.is_alive(),
                   lambda: f"{words!r} is not said:\n{self.said()}")
        if self.said().count(words) < count:
            raise AssertionError(f"{words!r} was not said {count} times:\n{self.said()}")
        return self.said()

    def ends(self):
        """Waits for its end. Returns all its output."""
        self._process.wait(wait.DEADLINE)
        self._reader.join(wait.DEADLINE)
        return self.said()

    def said(self):
        with self._news:
            return self._said.decode("utf-8", "replace")

    def _read(self):
        while data := self._process.stdout.read1(65536):
            with self._news:
                self._said += data

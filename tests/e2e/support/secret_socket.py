"""A unix socket that gives secrets: a source of logins, which can do everything wrong."""

import contextlib
import pathlib
import tempfile
import threading

from .unix_listener import UnixListener


class SecretSocket(UnixListener):
    """Answers each connection with `answer(user)`: bytes, or None to hang up without a word. It may wait.

    `asked` has the users in order. `hold` keeps all answers back until it is set.
    """

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.hold = threading.Event()
        self.hold.set()
        self._folder = tempfile.TemporaryDirectory(prefix="starttls-socket-")
        self.path = pathlib.Path(self._folder.name) / "s"
        self._threads = []

    def __exit__(self, *exception):
        self.hold.set()
        super().__exit__(*exception)
        for thread in self._threads:
            thread.join()
        self._folder.cleanup()

    def take(self, connection):
        self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
        self._threads[-1].start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            line = b""
            while not line.endswith(b"\n"):
                byte = connection.recv(1)
                if not byte:
                    return
                line += byte
            self.asked.append(line[:-1].decode())
            said = self.answer(self.asked[-1])
            self.hold.wait()
            if said is not None:
                connection.sendall(said)

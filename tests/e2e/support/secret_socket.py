"""A unix socket that gives secrets: a source of logins, which can do everything wrong."""

import contextlib
import os
import pathlib
import socket
import tempfile
import threading


class SecretSocket:
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
        self._ended = False

    def __enter__(self):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        os.chmod(self.path, 0o600)
        self._listener.listen(100)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended = True
        self.hold.set()
        with socket.socket(socket.AF_UNIX) as waker, contextlib.suppress(OSError):
            waker.connect(str(self.path))
        self._thread.join()
        self._listener.close()
        self._folder.cleanup()

    def _accept(self):
        threads = []
        while True:
            connection, _ = self._listener.accept()
            if self._ended:
                connection.close()
                break
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

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

"""A unix socket that takes connections on a thread until its end."""

import contextlib
import socket
import threading


class UnixListener:
    """`take(connection)` gets each connection, and closes it. A class that derives from this sets `path`."""

    path = None

    def __enter__(self):
        self._ended = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self.path.chmod(0o600)
        self._listener.listen(100)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended = True
        with socket.socket(socket.AF_UNIX) as waker, contextlib.suppress(OSError):
            waker.connect(str(self.path))
        self._thread.join()
        self._listener.close()

    def _accept(self):
        while True:
            connection, _ = self._listener.accept()
            if self._ended:
                connection.close()
                return
            self.take(connection)

    def take(self, connection):
        raise NotImplementedError

"""Sessions at the point from which the proxy no longer looks at the bytes."""

import random
import zlib

_BLOCK = random.Random(4711).randbytes((8 << 20) + 1)


class Digest:
    """A CRC-32. It notices lost, changed and misplaced bytes, and costs a sixth of a SHA-256."""

    def __init__(self, data=b""):
        self._crc = zlib.crc32(data)

    def update(self, data):
        self._crc = zlib.crc32(data, self._crc)

    @property
    def value(self):
        return f"{self._crc:08x}"


def commit(client):
    """Sends the commands up to MAIL and checks the replies. From here on both directions are opaque."""
    for command in (None, b"EHLO legacy.test", b"MAIL FROM:<a@legacy.test>"):
        reply = client.reply() if command is None else client.command(command)
        if not reply.startswith(b"2"):
            raise AssertionError(f"{command!r} was answered {reply!r}")


def pieces(size, seed=1):
    """Yields `size` bytes in pieces of random sizes, the same for the same seed."""
    sizes = random.Random(seed)
    at = 0
    while size:
        piece = min(size, sizes.choice((1, 100, 4096, 16384, 16385, 65536, 1 << 18, 1 << 19)))
        piece = min(piece, len(_BLOCK) - at)
        yield memoryview(_BLOCK)[at:at + piece]
        at = (at + piece) % len(_BLOCK)
        size -= piece


def send_pieces(sock, size, progress=None):
    """Sends the pieces and returns their digest. `progress[0]` counts the bytes that were sent."""
    digest = Digest()
    for piece in pieces(size):
        sock.sendall(piece)
        digest.update(piece)
        if progress is not None:
            progress[0] += len(piece)
    return digest.value


def receive_digest(sock, size, buffered=b""):
    """Returns the digest of `size` bytes: those already read, then those of the socket."""
    digest = Digest(buffered)
    size -= len(buffered)
    buffer = memoryview(bytearray(1 << 18))
    while size:
        count = sock.recv_into(buffer[:min(size, len(buffer))])
        if not count:
            raise AssertionError(f"{size} bytes are missing")
        digest.update(buffer[:count])
        size -= count
    return digest.value

"""Searches the memory of a process. Only root may, if the process is in its sandbox."""

import pathlib
import re

_PIECE = 16 << 20


def readable(pid):
    """Yields (first address, bytes) of the memory that the process can write to, in pieces that overlap."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            first, last, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if not rights.startswith("rw"):
                continue
            at, end = int(first, 16), int(last, 16)
            while at < end:
                memory.seek(at)
                try:
                    piece = memory.read(min(_PIECE, end - at))
                except OSError:
                    break  # this part was never used, or cannot be read
                if not piece:
                    break
                yield at, piece
                at += max(1, len(piece) - 4096) if at + len(piece) < end else len(piece)


def find(pid, words):
    """Returns the places of the words in the memory: "word at address: the bytes around it"."""
    places = set()
    for address, piece in readable(pid):
        for word in words:
            at = piece.find(word)
            while at >= 0:
                places.add((word, address + at, piece[max(0, at - 60):at + len(word) + 60]))
                at = piece.find(word, at + 1)
    return [f"{word!r} at {address:#x}: {around!r}" for word, address, around in sorted(places)]

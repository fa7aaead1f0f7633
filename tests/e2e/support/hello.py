"""ClientHello messages, taken apart and put together (RFC 8446 4.1.2)."""

import dataclasses
import os
import struct

SERVER_NAME, GROUPS, SIGNATURES, ALPN, EARLY_DATA, VERSIONS = 0, 10, 13, 16, 42, 43
EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO, PRE_SHARED_KEY = 23, 0xff01, 41
TLS_1_2 = 0x303
ECDHE_RSA_AES128_GCM, ECDHE_ECDSA_AES128_GCM = 0xc02f, 0xc02b
X25519, P256, P384, P521, X25519_MLKEM768 = 29, 23, 24, 25, 4588


def vector(data, width=2):
    """Returns the bytes after their length, a number of `width` bytes."""
    return len(data).to_bytes(width, "big") + data


def numbers(*values):
    return vector(b"".join(value.to_bytes(2, "big") for value in values))


def server_name(*names, kind=0):
    return vector(b"".join(bytes((kind,)) + vector(name) for name in names))


def message(*, version=TLS_1_2, suites=(ECDHE_ECDSA_AES128_GCM, ECDHE_RSA_AES128_GCM),
            compression=b"\0", groups=(X25519, P256), extensions=()):
    """Returns a ClientHello for TLS 1.2 and older, as a handshake message."""
    all_extensions = {GROUPS: numbers(*groups), SIGNATURES: numbers(0x403, 0x804, 0x401),
                      RENEGOTIATION_INFO: b"\0", **dict(extensions)}
    body = (version.to_bytes(2, "big") + os.urandom(32) + b"\0" + numbers(*suites)
            + vector(compression, 1)
            + vector(b"".join(kind.to_bytes(2, "big") + vector(value)
                              for kind, value in all_extensions.items())))
    return b"\1" + vector(body, 3)


def records(data, size=16384, kind=22):
    """Returns a handshake message in records of at most `size` bytes each."""
    return [struct.pack(">BH", kind, 0x301) + vector(data[at:at + size])
            for at in range(0, len(data), size)]


@dataclasses.dataclass
class Hello:
    version: int
    session_id: bytes
    suites: list
    compression: bytes
    extensions: dict  # number: bytes, in the order they came

    def numbers(self, extension, width=2):
        """Returns the list of 16-bit numbers that the extension holds."""
        data = self.extensions[extension][width:]
        return list(struct.unpack(f">{len(data) // 2}H", data))

    @property
    def name(self):
        """Returns the SNI, or None if there is none."""
        data = self.extensions.get(SERVER_NAME)
        return None if data is None else data[5:]


def parse(data):
    """Parses a ClientHello that came in one record, including the header."""
    if data[0] != 22 or data[5] != 1:
        raise AssertionError(f"not a ClientHello: {data[:16].hex()}")
    at = 9

    def take(size):
        nonlocal at
        at += size
        return data[at - size:at]

    def take_vector(width):
        return take(int.from_bytes(take(width), "big"))

    version = int.from_bytes(take(2), "big")
    take(32)
    session_id = take_vector(1)
    suites = take_vector(2)
    compression = take_vector(1)
    end = int.from_bytes(take(2), "big") + at
    extensions = {}
    while at < end:
        kind = int.from_bytes(take(2), "big")
        extensions[kind] = take_vector(2)
    return Hello(version, session_id, list(struct.unpack(f">{len(suites) // 2}H", suites)),
                 compression, extensions)

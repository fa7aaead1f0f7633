"""A relay between two programs that reads the clear part of their handshake. It finds version, cipher,
key exchange, and if a session was resumed. A ratio between two subjects that negotiated differently
means nothing."""

import dataclasses
import re
import socket
import threading

SUITES = {0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384",
          0x1303: "TLS_CHACHA20_POLY1305_SHA256",
          0xc02b: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
          0xc02c: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
          0xc02f: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
          0xc030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
          0xcca8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
          0xcca9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"}
GROUPS = {0x0017: "P-256", 0x0018: "P-384", 0x0019: "P-521", 0x001d: "X25519", 0x001e: "X448",
          0x11ec: "X25519MLKEM768", 0x6399: "X25519Kyber768"}
VERSIONS = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}

_SERVER_HELLO = re.compile(rb"\x16\x03[\x01-\x03]..\x02\x00..\x03\x03", re.S)
# RFC 8446 4.1.3: the "random" of a HelloRetryRequest.
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_KEY_SHARE, _VERSIONS, _PSK = 51, 43, 41
_SERVER_KEY_EXCHANGE = 12
_ENOUGH = 8192  # bytes of a server that are kept; its hello must be in them


@dataclasses.dataclass(frozen=True)
class Hello:
    version: str
    cipher: str
    group: str     # "" if no key was exchanged, as in sessions that TLS 1.2 resumes
    resumed: bool
    retried: bool  # after a HelloRetryRequest, which costs one more round trip


def _messages(data):
    """Yields (type, body) of the handshake messages in the clear records."""
    plain = b""
    while len(data) >= 5 and data[0] == 22:
        size = int.from_bytes(data[3:5], "big")
        plain += data[5:5 + size]
        data = data[5 + size:]
    while len(plain) >= 4:
        size = int.from_bytes(plain[1:4], "big")
        if len(plain) < 4 + size:
            return
        yield plain[0], plain[4:4 + size]
        plain = plain[4 + size:]


def _extensions(data):
    found = {}
    while len(data) >= 4:
        kind, size = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        found[kind] = data[4:4 + size]
        data = data[4 + size:]
    return found


def read_hello(data):
    """Returns the server's choices, read from its bytes so far; None if its hello is not among them."""
    retried = False
    for found in _SERVER_HELLO.finditer(data):
        messages = list(_messages(data[found.start():]))
        if not messages:
            return None
        hello = messages[0][1]
        if hello[2:34] == _RETRY:
            retried = True
            continue
        at = 35 + hello[34]
        cipher = int.from_bytes(hello[at:at + 2], "big")
        extensions = _extensions(hello[at + 5:])
        if _VERSIONS in extensions:
            version = int.from_bytes(extensions[_VERSIONS], "big")
            group = int.from_bytes(extensions.get(_KEY_SHARE, b"")[:2], "big")
            resumed = _PSK in extensions
        else:
            version, group = 0x0303, 0
            for kind, body in messages[1:]:
                if kind == _SERVER_KEY_EXCHANGE and body[0] == 3:  # a named curve
                    group = int.from_bytes(body[1:3], "big")
            resumed = group == 0
        return Hello(VERSIONS.get(version, hex(version)), SUITES.get(cipher, hex(cipher)),
                     GROUPS.get(group, hex(group)) if group else "", resumed, retried)
    return None


class Tap:
    """Passes connections on to a port of this machine. `hellos` grows by one for each handshake, and
    `failures` for each connection that could not be passed on."""

    def __init__(self, port):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.hellos = []
        self.failures = []

    def __enter__(self):
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        # To close it is not enough: the thread would go on waiting, and the kernel may restart its call with
        # the same number of a descriptor, which by then is another listener's.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # shut down
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError as error:
                self.failures.append(str(error))
                client.close()
                continue
            for ends in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source, sink, is_server):
        heard = b""
        try:
            while data := source.recv(65536):
                if is_server and len(heard) < _ENOUGH:
                    heard += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one side has left, so the tap leaves too
        if is_server and (hello := read_hello(heard)):
            self.hellos.append(hello)

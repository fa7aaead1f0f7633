"""TLS records made by hand: Python's ssl does the handshake, we go on with its keys (key log)."""

import ctypes
import hashlib
import hmac
import pathlib
import ssl
import struct
import tempfile

import _ssl

from .client import FIN, RESET

ALERT, HANDSHAKE, DATA = 21, 22, 23
WARNING, FATAL = 1, 2
CLOSE_NOTIFY = bytes((WARNING, 0))
KEY_UPDATE = b"\x18\0\0\1"  # then 0, or 1: the peer must change its key too (RFC 8446 4.6.3)
HELLO_REQUEST = bytes(4)
TAG = 16

# Python has no AEAD. Its ssl module uses a libcrypto, which has.
_crypto = ctypes.CDLL(_ssl.__file__)
for _name in ("EVP_CIPHER_CTX_new", "EVP_aes_128_gcm", "EVP_aes_256_gcm", "EVP_chacha20_poly1305"):
    getattr(_crypto, _name).restype = ctypes.c_void_p
_GET_TAG, _SET_TAG = 0x10, 0x11


class _Aead:
    def __init__(self, suite, key):
        name = ("EVP_chacha20_poly1305" if "CHACHA20" in suite else
                "EVP_aes_128_gcm" if len(key) == 16 else "EVP_aes_256_gcm")
        self._cipher = ctypes.c_void_p(getattr(_crypto, name)())
        self._key = key
        self._context = ctypes.c_void_p(_crypto.EVP_CIPHER_CTX_new())

    def __del__(self):
        _crypto.EVP_CIPHER_CTX_free(self._context)

    def _run(self, encrypt, nonce, data, aad, tag):
        out = ctypes.create_string_buffer(len(data) + TAG)
        size = ctypes.c_int()
        context = self._context
        _crypto.EVP_CipherInit_ex(context, self._cipher, None, self._key, nonce, encrypt)
        if tag is not None:
            _crypto.EVP_CIPHER_CTX_ctrl(context, _SET_TAG, TAG, tag)
        _crypto.EVP_CipherUpdate(context, None, ctypes.byref(size), aad, len(aad))
        _crypto.EVP_CipherUpdate(context, out, ctypes.byref(size), data, len(data))
        if _crypto.EVP_CipherFinal_ex(context, None, ctypes.byref(size)) != 1:
            raise AssertionError("a record that does not open")
        return out.raw[:len(data)]

    def seal(self, nonce, data, aad):
        sealed = self._run(1, nonce, data, aad, None)
        tag = ctypes.create_string_buffer(TAG)
        _crypto.EVP_CIPHER_CTX_ctrl(self._context, _GET_TAG, TAG, tag)
        return sealed + tag.raw

    def open(self, nonce, data, aad):
        return self._run(0, nonce, data[:-TAG], aad, data[-TAG:])


def _expand_label(secret, label, size, digest):
    """Computes HKDF-Expand-Label without a context (RFC 8446 7.1)."""
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\0"
    return hmac.new(secret, info + b"\1", digest).digest()[:size]


def _prf(secret, seed, size, digest):
    """Computes the PRF of RFC 5246 5."""
    out, a = b"", seed
    while len(out) < size:
        a = hmac.new(secret, a, digest).digest()
        out += hmac.new(secret, a + seed, digest).digest()
    return out[:size]


class _Direction:
    """Keys and the sequence number of one direction."""

    def __init__(self, suite, version, secret=None, key=None, iv=None):
        self._suite = suite
        self._secret = secret
        self._digest = hashlib.sha384 if suite.endswith("384") else hashlib.sha256
        self._old = version != "TLSv1.3"
        self._set_keys(key, iv)
        self._number = 1 if self._old else 0  # TLS 1.2: Finished was sealed with this key

    def _set_keys(self, key=None, iv=None):
        size = 16 if "AES_128" in self._suite else 32
        self._aead = _Aead(self._suite,
                           key or _expand_label(self._secret, b"key", size, self._digest))
        self._iv = iv or _expand_label(self._secret, b"iv", 12, self._digest)
        self._number = 0

    def update(self):
        """Switches to the next key, after a KeyUpdate."""
        self._secret = _expand_label(self._secret, b"traffic upd", len(self._secret), self._digest)
        self._set_keys()

    def _nonce(self):
        nonce = int.from_bytes(self._iv, "big") ^ self._number
        self._number += 1
        return nonce.to_bytes(12, "big")

    def seal(self, kind, plain, padding=0):
        if self._old:
            aad = struct.pack(">QBHH", self._number, kind, 0x303, len(plain))
            sealed = self._aead.seal(self._nonce(), plain, aad)
            return struct.pack(">BHH", kind, 0x303, len(sealed)) + sealed
        # With kind 0 the peer finds no content type: all is padding.
        plain += bytes((kind,)) + bytes(padding)
        header = struct.pack(">BHH", DATA, 0x303, len(plain) + TAG)
        return header + self._aead.seal(self._nonce(), plain, header)

    def open(self, header, sealed):
        if self._old:
            aad = struct.pack(">QBHH", self._number, header[0], 0x303, len(sealed) - TAG)
            return header[0], self._aead.open(self._nonce(), sealed, aad)
        inner = self._aead.open(self._nonce(), sealed, header).rstrip(b"\0")
        return inner[-1], inner[:-1]


def _messages(chunk):
    while chunk:
        size = 4 + int.from_bytes(chunk[1:4], "big")
        yield chunk[:size]
        chunk = chunk[size:]


class Records:
    """One end of a TLS connection; the test makes the records itself.

    `context` is the test's own: its key log is set here. TLS 1.2 is spoken with ChaCha20 alone.
    """

    def __init__(self, sock, context, name=None):
        self.sock = sock
        self.tickets = []  # NewSessionTicket messages of TLS 1.3, as they came
        server_side = context.protocol == ssl.PROTOCOL_TLS_SERVER
        if server_side:
            context.num_tickets = 0  # they would take sequence numbers
        context.set_ciphers("ECDHE+CHACHA20")
        with tempfile.TemporaryDirectory(prefix="starttls-keys-") as folder:
            log = pathlib.Path(folder) / "log"
            context.keylog_filename = str(log)
            self._handshake(context, server_side, name)
            secrets = dict(self._secrets(log))
        suite, self.version, _ = self._tls.cipher()
        if self.version == "TLSv1.3":
            client, server = (_Direction(suite, self.version, secrets[f"{side}_TRAFFIC_SECRET_0"])
                              for side in ("CLIENT", "SERVER"))
        else:
            block = _prf(secrets["CLIENT_RANDOM"], b"key expansion" + self._randoms[1]
                         + self._randoms[0], 88, hashlib.sha256)
            client = _Direction("CHACHA20", self.version, key=block[:32], iv=block[64:76])
            server = _Direction("CHACHA20", self.version, key=block[32:64], iv=block[76:])
        self.mine, self.peers = (server, client) if server_side else (client, server)

    def _handshake(self, context, server_side, name):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(incoming, outgoing, server_side, name)
        mine = peers = b""
        while True:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            chunk = outgoing.read()
            mine += chunk
            self.sock.sendall(chunk)
            if done:
                break
            # Record by record, so that all bytes after the peer's last record stay in the socket.
            record = self._raw_record()
            if record is None:
                raise AssertionError("the peer left during the handshake")
            peers += record[0] + record[1]
            incoming.write(record[0] + record[1])
        hellos = (peers, mine) if server_side else (mine, peers)
        self._randoms = [hello[11:43] for hello in hellos]  # client's, server's

    def _secrets(self, log):
        for line in log.read_text(encoding="ascii").splitlines():
            words = line.split()
            if len(words) == 3 and words[1] == self._randoms[0].hex():
                yield words[0], bytes.fromhex(words[2])

    def _exactly(self, size):
        chunk = b""
        while len(chunk) < size:
            more = self.sock.recv(size - len(chunk))
            if not more:
                if chunk:
                    raise AssertionError("a record was cut")
                return None
            chunk += more
        return chunk

    def _raw_record(self):
        header = self._exactly(5)
        if header is None:
            return None
        size = int.from_bytes(header[3:], "big")
        return header, self._exactly(size) if size else b""

    def seal(self, kind, plain, padding=0):
        return self.mine.seal(kind, plain, padding)

    def send(self, plain, kind=DATA):
        self.sock.sendall(self.seal(kind, plain))

    def key_update(self, wanted=0):
        """Returns the record that announces our next key, and uses that key from then on."""
        record = self.seal(HANDSHAKE, KEY_UPDATE + bytes((wanted,)))
        self.mine.update()
        return record

    def record(self):
        """Returns (kind, plaintext) of the next record; None at the connection's end. Follows key updates."""
        raw = self._raw_record()
        if raw is None:
            return None
        kind, plain = self.peers.open(*raw)
        if kind == HANDSHAKE and plain.startswith(KEY_UPDATE):
            self.peers.update()
        elif kind == HANDSHAKE and plain.startswith(b"\4"):
            self.tickets += _messages(plain)
        return kind, plain

    def line(self):
        """Returns data up to a line's end, which must be a record's end too."""
        data = b""
        while not data.endswith(b"\n"):
            record = self.record()
            if record is None:
                return data
            if record[0] == ALERT:
                raise AssertionError(f"alert {tuple(record[1])} instead of a line")
            if record[0] == DATA:
                data += record[1]
        return data

    def command(self, line):
        self.send(line + b"\r\n")
        return self.line()

    def rest(self):
        """Returns (data, alerts, how it ended) until the end; see Client.rest."""
        data, alerts = b"", []
        try:
            while record := self.record():
                if record[0] == DATA:
                    data += record[1]
                elif record[0] == ALERT:
                    alerts.append(tuple(record[1]))
        except (ConnectionResetError, BrokenPipeError):
            return data, alerts, RESET
        return data, alerts, FIN

"""The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding."""

import base64
import hashlib
import hmac
import secrets


class Scram:
    """One exchange: first(), final() with the server's challenge, then verify() its last word."""

    def __init__(self, user, password):
        self._bare = f"n={user},r={secrets.token_hex(12)}".encode()
        self._password = password.encode()

    def first(self):
        return b"n,," + self._bare

    def final(self, challenge):
        fields = dict(field.split(b"=", 1) for field in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", self._password, base64.b64decode(fields[b"s"]),
                                     int(fields[b"i"]))
        without_proof = b"c=biws,r=" + fields[b"r"]
        said = b",".join((self._bare, challenge, without_proof))
        key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(key).digest(), said)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        self._expected = b"v=" + base64.b64encode(_hmac(_hmac(salted, b"Server Key"), said))
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, word):
        """Checks the last word: only a server with the password, and with our words, can send it."""
        if word != self._expected:
            raise AssertionError(f"{word!r} instead of {self._expected!r}")
        return b""


def _hmac(key, message):
    return hmac.digest(key, message, "sha256")

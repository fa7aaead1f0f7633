"""Paths of the programs under test. ctest sets the variables; by hand the release build is used."""

import os
import pathlib
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[3]


def _program(variable, default):
    return pathlib.Path(os.environ.get(variable) or ROOT / "build" / "release" / default)


PROXY = _program("STARTTLS_PROXY", "proxy/starttls-proxy")
MAKE_PKI = _program("STARTTLS_MAKE_PKI", "tools/pki/make-pki")
BACKEND = _program("STARTTLS_BACKEND", "tools/mail_server/backend")
TOKEN = _program("STARTTLS_TOKEN", "token/starttls-token")
PEERS = pathlib.Path(os.environ.get("STARTTLS_PEERS") or ROOT / "build" / "peers") / "root"

# A program that runs another one with a libuv that makes an io_uring for every loop.
NEWER_LIBUV = pathlib.Path(os.environ.get("STARTTLS_LIBUV") or ROOT / "build" / "libuv") / "run"

# An `openssl` with X25519MLKEM768.
NEWER_OPENSSL = (pathlib.Path(os.environ.get("STARTTLS_OPENSSL") or ROOT / "build" / "openssl")
                 / "run")

# The record cipher of all daemons: a value of proxy.record_cipher; "" = the default. With it a whole
# test, or the tests of a mutant, run with the other cipher.
RECORD_CIPHER = os.environ.get("STARTTLS_RECORD_CIPHER", "")

# Set in builds with a sanitizer: speed and memory mean nothing there, and sizes shrink.
SANITIZED = bool(os.environ.get("STARTTLS_SANITIZED"))


def unsanitized(_reason):
    """Marks a test that only programs without a sanitizer can have. The other builds do not have it, so it
    does not count as skipped there."""
    return lambda test: None if SANITIZED else test


_pki = None
_making = threading.Lock()


class Pki:
    """The throw-away certificates that make-pki writes."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca = str(self.folder / "ca.pem")

    def pair(self, name="server"):
        """Returns chain and key of a server of make-pki's: "server", "expired", "wrong-name", ..."""
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")


def pki():
    """Returns the certificates, one set per test program."""
    global _pki
    with _making:
        if _pki is None:
            folder = tempfile.TemporaryDirectory(prefix="starttls-pki-")
            subprocess.run([MAKE_PKI, folder.name], check=True, stdout=subprocess.DEVNULL)
            _pki = Pki(folder.name)
            _pki.keep = folder  # removed with the program
        return _pki

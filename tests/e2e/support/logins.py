"""Services that log in, for the tests of logins: their accounts and secrets, and mail through them."""

import contextlib
import os
import pathlib
import tempfile

from . import canary
from .directions import tls_client
from .login_client import KINDS

# The client's name and password at the proxy. The server knows neither.
NAME = "scanner"
PASSWORD = "c4nary-of-the-client"
# The proxy's at the server.
USER = "box"
SECRET = canary.PASSWORD

canary.add(PASSWORD)

ACCOUNTS = [{"name": NAME, "password": PASSWORD}]

START = {"smtp": b"STARTTLS", "lmtp": b"STARTTLS", "imap": b"s STARTTLS", "pop3": b"STLS",
         "sieve": b"STARTTLS", "nntp": b"STARTTLS"}
TOKENS = ("xoauth2", "oauthbearer")

# The replies to a login by the table of failures. The client's name or password is wrong:
WRONG = {"smtp": rb"535 5\.7\.8 ", "lmtp": rb"535 5\.7\.8 ", "imap": rb"l NO \[AUTHENTICATIONFAILED\] ",
         "pop3": rb"-ERR \[AUTH\] ", "sieve": rb"NO ", "nntp": rb"481 "}
# The proxy's secret is refused, or there is none:
TEMPORARY = {"smtp": rb"454 4\.7\.0 ", "lmtp": rb"454 4\.7\.0 ", "imap": rb"l NO \[UNAVAILABLE\] ",
             "pop3": rb"-ERR \[SYS/TEMP\] ", "sieve": rb"NO \(TRYLATER\) ", "nntp": rb"403 "}


@contextlib.contextmanager
def secret_file(text):
    """Makes a file of a secret: yields its path, which may be written again by `write`."""
    with tempfile.TemporaryDirectory(prefix="starttls-secret-") as folder:
        path = pathlib.Path(folder) / "secret"
        write(path, text)
        yield path


def write(path, text):
    """Replaces a file of a secret, as a program that keeps a token fresh does."""
    new = path.with_name("new")
    new.touch(mode=0o600)
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.replace(new, path)


def login(mechanism="auto", path=None, **keys):
    """Returns a service's table: the proxy logs in as USER, with SECRET or with the token in the file."""
    keys = {"when": "client", "mechanism": mechanism, "user": USER, **keys}
    if path is not None:
        return {"file": str(path), "token": True, **keys}
    return {"secret": SECRET, **keys}


def begin(client, tls="none"):
    """Brings a client of the proxy to where it may log in: greeted, secured by the downstream mode, with
    the hello said if the protocol has one. Leaves `greeting` and `listed` in the client."""
    protocol = client.protocol
    if tls == "implicit":
        client.start_tls(tls_client(), "mail.test")
    client.greeting = client.greeted()
    if tls in ("starttls", "opportunistic"):
        if protocol in ("smtp", "lmtp"):
            client.capabilities()
        client.ask(START[protocol])
        client.start_tls(tls_client(), "mail.test")
        if protocol == "sieve":
            client.end_of_list()
    client.listed = client.capabilities()
    return client


def secured(protocol, port):
    """Returns a client of a server itself that may log in, after its STARTTLS."""
    return begin(KINDS[protocol](port), "starttls")

"""Clients that log in by hand: every way of every protocol, one line at a time."""

import re

from . import sasl
from .client import Client

CAPABILITIES = {"smtp": b"EHLO client.test", "lmtp": b"LHLO client.test", "imap": b"c CAPABILITY",
                "pop3": b"CAPA", "sieve": b"CAPABILITY", "nntp": b"CAPABILITIES"}

# A mechanism with "=" after it has its first message on the line of the command.
_SMTP = ("PLAIN", "PLAIN=", "LOGIN", "LOGIN=")
WAYS = {
    "smtp": _SMTP,
    "lmtp": _SMTP,
    "imap": ("atoms", "quoted", "{}", "{+}", *_SMTP),
    "pop3": ("USER", "PLAIN", "PLAIN=", "LOGIN"),
    "sieve": ("PLAIN", "PLAIN=", "PLAIN={+}", "LOGIN", "LOGIN="),
    "nntp": ("USER", "PLAIN", "PLAIN="),
}

# The way that is the protocol's own.
NATIVE = {"imap": "quoted", "pop3": "USER", "nntp": "USER"}

_SUCCESS = {"smtp": rb"235 ", "lmtp": rb"235 ", "imap": rb"l OK", "pop3": rb"\+OK", "sieve": rb"OK",
            "nntp": rb"28[13] "}
_CHALLENGE = {"smtp": rb"334", "lmtp": rb"334", "imap": rb"\+", "pop3": rb"\+(?!OK)", "sieve": rb'["{]',
              "nntp": rb"383"}


def quoted(text):
    """Returns an IMAP or ManageSieve quoted string."""
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", text) + b'"'


class LoginClient(Client):
    """A client of `protocol`, in the clear or after `start_tls`."""

    protocol = ""

    def __init__(self, port, source=None):
        super().__init__(port, source=source)

    def greeted(self):
        """Reads the greeting and returns it."""
        return self.end_of_list() if self.protocol == "sieve" else self.reply()

    def capabilities(self):
        """Asks for the list and returns all its lines."""
        self.send(CAPABILITIES[self.protocol] + b"\r\n")
        return self.end_of_list()

    def ask(self, line):
        """Sends a line and returns its answer: for imap with the untagged lines before it."""
        self.send(line + b"\r\n")
        return self.answer()

    def answer(self):
        """Reads one answer."""
        if self.protocol in ("smtp", "lmtp"):
            return self.reply()
        heard = b""
        while True:
            line = self.line()
            heard += line
            if not line:
                raise AssertionError(f"ended: {heard!r}")
            if self.protocol == "sieve" and (size := re.search(rb"\{(\d+)\}\r\n\Z", line)):
                heard += self.exactly(int(size[1]))
                if re.match(rb"(OK|NO|BYE)\b", line):
                    heard += self.line()
                else:
                    return heard + self.line()
            if self.protocol != "imap" or not line.startswith(b"* ") or line.startswith(b"* BYE"):
                return heard

    def end_of_list(self):
        ends = {"smtp": rb"\d{3} ", "lmtp": rb"\d{3} ", "imap": rb"c (OK|NO|BAD)",
                "pop3": rb"\.\r\n", "sieve": rb"(OK|NO|BYE)\b", "nntp": rb"\.\r\n"}
        heard = b""
        while True:
            line = self.line()
            heard += line
            if not line:
                raise AssertionError(f"the list ends early: {heard!r}")
            if re.match(ends[self.protocol], line):
                return heard

    def is_challenge(self, reply):
        """True if the last line of a reply asks for the next message."""
        return re.match(_CHALLENGE[self.protocol], reply.splitlines()[-1]) is not None

    def succeeded(self, reply):
        """True if the reply to a login is its success."""
        lines = reply.splitlines() or [b""]
        return re.match(_SUCCESS[self.protocol], lines[-1] + b" ") is not None

    def log_in(self, way, user, password, wait=True):
        """Logs in by one of WAYS, and returns the last reply; without `wait` it is left unread."""
        user, password = (text if isinstance(text, bytes) else text.encode()
                          for text in (user, password))
        if way in ("USER", "atoms", "quoted", "{}", "{+}"):
            return self._native(way, user, password, wait)
        mechanism, inline, form = way.partition("=")
        return self.authenticate(mechanism, sasl.answers(mechanism, user, password), inline=bool(inline),
                                 literal=form == "{+}", wait=wait)

    def authenticate(self, mechanism, messages, inline=False, literal=False, wait=True):
        """Does a SASL exchange with these messages, and returns the last reply."""
        messages = [sasl.encoded(message) for message in messages]
        self.send(self.command_of(mechanism, messages.pop(0) if inline else None, literal) + b"\r\n")
        while messages:
            reply = self.answer()
            if not self.is_challenge(reply):
                return reply
            self.send(self.message(messages.pop(0)) + b"\r\n")
        return self.answer() if wait else None

    def command_of(self, mechanism, first=None, literal=False):
        """Returns the command that begins a login."""
        name = mechanism.encode()
        word = {"smtp": b"AUTH %s", "lmtp": b"AUTH %s", "imap": b"l AUTHENTICATE %s",
                "pop3": b"AUTH %s", "sieve": b'AUTHENTICATE "%s"', "nntp": b"AUTHINFO SASL %s"}
        line = word[self.protocol] % name
        if first is not None:
            if self.protocol == "sieve":
                first = b"{%d+}\r\n%s" % (len(first), first) if literal else quoted(first)
            line += b" " + (first or b"=")
        return line

    def message(self, text):
        """Returns a message, already in base64, as the protocol wraps it."""
        return quoted(text) if self.protocol == "sieve" else text

    def _native(self, way, user, password, wait):
        if self.protocol == "imap":
            return self._imap_login(way, user, password)
        first, second = ((b"AUTHINFO USER ", b"AUTHINFO PASS ") if self.protocol == "nntp"
                         else (b"USER ", b"PASS "))
        reply = self.ask(first + user)
        if not reply.startswith((b"+OK", b"381")):
            return reply
        self.send(second + password + b"\r\n")
        return self.answer() if wait else None

    def _imap_login(self, way, user, password):
        if way == "atoms":
            return self.ask(b"l LOGIN %s %s" % (user, password))
        if way == "quoted":
            return self.ask(b"l LOGIN %s %s" % (quoted(user), quoted(password)))
        plus = b"+" if way == "{+}" else b""
        pieces = [b"l LOGIN "]
        for text in (user, password):
            pieces[-1] += b"{%d%s}\r\n" % (len(text), plus)
            pieces.append(text + b" ")
        pieces[-1] = pieces[-1][:-1] + b"\r\n"
        if plus:
            self.send(b"".join(pieces))
            return self.answer()
        for piece in pieces[:-1]:
            self.send(piece)
            reply = self.answer()
            if not self.is_challenge(reply):
                return reply
        self.send(pieces[-1])
        return self.answer()


def kind(protocol):
    """Returns the class of the clients of a protocol, as Client's users want one."""
    return type(f"{protocol.title()}LoginClient", (LoginClient,), {"protocol": protocol})


KINDS = {protocol: kind(protocol) for protocol in WAYS}

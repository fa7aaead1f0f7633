"""Scripted servers that take logins, and that can go wrong at every step of one."""

import base64
import binascii
import dataclasses
import re

from . import sasl
from .fake_server import Gone, tls_context

MECHANISMS = ("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")

# The replies that decide about a login. %s is the tag of IMAP.
OK = {"smtp": b"235 2.7.0 welcome\r\n", "lmtp": b"235 2.7.0 welcome\r\n", "imap": b"%s OK in\r\n",
      "pop3": b"+OK in\r\n", "sieve": b'OK "in"\r\n', "nntp": b"281 welcome\r\n"}
NO = {"smtp": b"535 5.7.8 not you\r\n", "lmtp": b"535 5.7.8 not you\r\n",
      "imap": b"%s NO [AUTHENTICATIONFAILED] not you\r\n", "pop3": b"-ERR [AUTH] not you\r\n",
      "sieve": b'NO "not you"\r\n', "nntp": b"481 not you\r\n"}
_CHALLENGE = {"smtp": b"334 %b\r\n", "lmtp": b"334 %b\r\n", "imap": b"+ %b\r\n", "pop3": b"+ %b\r\n",
              "sieve": b'"%b"\r\n', "nntp": b"383 %b\r\n"}
_CANCELLED = {"smtp": b"501 5.7.0 cancelled\r\n", "lmtp": b"501 5.7.0 cancelled\r\n",
              "imap": b"%s BAD cancelled\r\n", "pop3": b"-ERR cancelled\r\n", "sieve": b'NO "cancelled"\r\n',
              "nntp": b"481 cancelled\r\n"}
_SUCCESS = {"smtp": rb"^235", "lmtp": rb"^235", "imap": rb"^%s OK", "pop3": rb"^\+OK", "sieve": rb"^OK",
            "nntp": rb"^28[13]"}
_GREETING = {"smtp": b"220 mail.test ESMTP\r\n", "lmtp": b"220 mail.test LMTP\r\n",
             "imap": b"* OK mail.test\r\n", "pop3": b"+OK mail.test <1.2@mail.test>\r\n", "sieve": b"",
             "nntp": b"200 mail.test\r\n"}
_GO_AHEAD = {"smtp": b"220 go\r\n", "lmtp": b"220 go\r\n", "imap": b"%s OK go\r\n", "pop3": b"+OK go\r\n",
             "sieve": b"OK\r\n", "nntp": b"382 go\r\n"}


@dataclasses.dataclass
class Attempt:
    """A login as the server heard it. `messages` are without base64; of the protocol's own login they are
    the name and the password."""
    mechanism: str
    line: bytes            # the command
    inline: bool = False   # the first message was on that line
    messages: list = dataclasses.field(default_factory=list)
    end: bytes = None      # the answer to the error in JSON


class LoginServer:
    """A script: a server of one protocol that takes logins after STARTTLS (or, `implicit`, in TLS).

    `decide(attempt, number)` says how a login is answered: "ok", "no", "json" (an error in JSON, then
    "no"), or the bytes of a reply. `said(step)` may return bytes to say instead of the usual at a step,
    None to say nothing more, (bytes,) to say them and leave, or raise Gone; b"" is the usual. The steps: "hello" and "list" (before and
    after TLS), "command" (the challenge), "password" (LOGIN's second), "result". After a login it
    echoes, or goes on with commands if `echo` is False. All attempts are in `attempts`.
    """

    def __init__(self, protocol, *, implicit=False, context=None, **changes):
        self.protocol = protocol
        self.implicit = implicit
        self._context = context or tls_context(num_tickets=0)
        self.reset(**changes)

    def reset(self, *, mechanisms=MECHANISMS, decide=None, said=None, echo=True, listed=None,
              sasl_ir=True, challenge=None, prompts=sasl.PROMPTS, before=b""):
        """Forgets all attempts and behaves as said from now on."""
        self.mechanisms = mechanisms
        self.decide = decide or (lambda attempt, number: "ok")
        self.said = said or (lambda step: b"")
        self.echo = echo
        self.listed = listed        # the lines about logins, instead of the usual
        self.sasl_ir = sasl_ir
        self.challenge = challenge  # an empty challenge, as bytes of the wire
        self.prompts = prompts      # of LOGIN, in base64
        self.before = before        # said before each challenge and each result: untagged lines
        self.attempts = []

    def __call__(self, connection):
        if self.implicit:
            connection.start_tls(self._context)
        self._greet(connection)
        while True:
            line = connection.line()
            if self._command(connection, line):
                return

    def mechanisms_tried(self):
        return [attempt.mechanism for attempt in self.attempts]

    def _greet(self, connection):
        connection.send(self._list(connection) if self.protocol == "sieve" else _GREETING[self.protocol])

    def _command(self, connection, line):
        """Answers a command. True if the session is over."""
        words = line.split()
        tag = words.pop(0) if self.protocol == "imap" and words else b""
        verb = words[0].upper() if words else b""
        if verb in (b"EHLO", b"LHLO", b"CAPA", b"CAPABILITY", b"CAPABILITIES"):
            self._say(connection, "list" if connection.tls else "hello",
                      self._list(connection).replace(b"%s", tag))
        elif verb in (b"STARTTLS", b"STLS") and not connection.tls:
            connection.send(_GO_AHEAD[self.protocol].replace(b"%s", tag))
            connection.start_tls(self._context)
            if self.protocol == "sieve":
                self._say(connection, "list", self._list(connection))
        elif verb in (b"AUTH", b"AUTHENTICATE", b"AUTHINFO", b"LOGIN", b"USER"):
            if self._login(connection, line, words, tag) and self.echo:
                return self._echo(connection)
        elif verb in (b"QUIT", b"LOGOUT"):
            connection.send({"smtp": b"221 bye\r\n", "lmtp": b"221 bye\r\n", "nntp": b"205 bye\r\n",
                             "imap": b"* BYE\r\n%s OK bye\r\n", "pop3": b"+OK bye\r\n",
                             "sieve": b'OK "bye"\r\n'}[self.protocol].replace(b"%s", tag))
            return True
        elif verb == b"DATA":
            connection.send(b"354 go on\r\n")
            connection.messages.append(connection.data())
            connection.send(b"250 2.0.0 kept\r\n")
        else:
            connection.send({"smtp": b"250 2.0.0 ok\r\n", "lmtp": b"250 2.0.0 ok\r\n", "nntp": b"211 ok\r\n",
                             "imap": b"%s OK done\r\n", "pop3": b"+OK done\r\n", "sieve": b'OK "done"\r\n'}
                            [self.protocol].replace(b"%s", tag))
        return False

    def _list(self, connection):
        """Returns the list of capabilities: STARTTLS in the clear, logins in TLS."""
        secure = connection.tls is not None
        names = " ".join(self.mechanisms).encode()
        listed = self.listed if secure else None
        if self.protocol in ("smtp", "lmtp"):
            lines = [b"STARTTLS"] if not secure else listed if listed is not None else (
                [b"AUTH " + names] if names else [])
            lines = [b"mail.test", b"8BITMIME", *lines, b"SIZE 1000"]
            return b"".join(b"250%b%b\r\n" % (b" " if line is lines[-1] else b"-", line) for line in lines)
        if self.protocol == "imap":
            words = [b"STARTTLS", b"LOGINDISABLED"] if not secure else listed if listed is not None else [
                *(b"AUTH=%b" % name.encode() for name in self.mechanisms),
                *([b"SASL-IR"] if self.sasl_ir else [])]
            return b"* CAPABILITY IMAP4rev1 %b\r\n%%s OK done\r\n" % b" ".join([b"ID", *words])
        if self.protocol == "pop3":
            lines = [b"STLS"] if not secure else listed if listed is not None else (
                [b"USER", *([b"SASL " + names] if names else [])])
            return b"+OK list\r\n" + b"".join(line + b"\r\n" for line in [b"UIDL", *lines]) + b".\r\n"
        if self.protocol == "sieve":
            lines = [b'"SASL" ""', b'"STARTTLS"'] if not secure else listed if listed is not None else [
                b'"SASL" "%b"' % names]
            return b'"IMPLEMENTATION" "test"\r\n' + b"".join(line + b"\r\n" for line in lines) + b'OK "ready"\r\n'
        lines = [b"STARTTLS"] if not secure else listed if listed is not None else (
            [b"AUTHINFO USER SASL", b"SASL " + names] if names else [b"AUTHINFO USER"])
        return b"101 list\r\nVERSION 2\r\nREADER\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n"

    def _login(self, connection, line, words, tag):
        """Takes a login. True if it succeeded."""
        if self.protocol == "nntp":
            del words[0]
        if words[0].upper() in (b"LOGIN", b"USER") and self.protocol != "smtp":
            attempt = self._native(connection, line, words)
        else:
            attempt = self._sasl(connection, line, words[-1 if self.protocol == "nntp" and len(words) == 2 else 1:])
        if attempt is None:
            connection.send(_CANCELLED[self.protocol].replace(b"%s", tag))
            return False
        self.attempts.append(attempt)
        decision = self.decide(attempt, len(self.attempts))
        if decision == "json":
            connection.send(self.before + _CHALLENGE[self.protocol] % sasl.error())
            attempt.end = self._message(connection, wire=True)
            decision = "no"
        reply = {"ok": OK, "no": NO}[decision][self.protocol] if isinstance(decision, str) else decision
        self._say(connection, "result", self.before + reply.replace(b"%s", tag))
        return re.search(_SUCCESS[self.protocol], reply, re.M) is not None

    def _sasl(self, connection, line, words):
        mechanism = words[0].strip(b'"').upper().decode()
        attempt = Attempt(mechanism, line, inline=len(words) > 1)
        wanted = 2 if mechanism == "LOGIN" else 1
        if attempt.inline:
            text = words[1]
            if size := re.fullmatch(rb"\{(\d+)\+\}", text):  # sieve
                text = connection.exactly(int(size[1]))
                connection.line()
            attempt.messages.append(_decoded(b"" if text == b"=" else text.strip(b'"')))
        while len(attempt.messages) < wanted:
            prompt = self.prompts[len(attempt.messages)] if wanted == 2 else b""
            usual = self.before + (_CHALLENGE[self.protocol] % prompt if wanted == 2 or self.challenge is None
                                   else self.challenge)
            self._say(connection, "password" if attempt.messages else "command", usual)
            text = self._message(connection)
            if text == b"*":
                return None
            attempt.messages.append(_decoded(text))
        return attempt

    def _native(self, connection, line, words):
        attempt = Attempt("native", line)
        if self.protocol == "imap":
            attempt.messages = self._imap_strings(connection, line)
            return attempt
        text = line.rstrip(b"\r\n")
        attempt.messages.append(text.split(b" ", 2 if self.protocol == "nntp" else 1)[-1])
        self._say(connection, "command", b"381 password\r\n" if self.protocol == "nntp" else b"+OK\r\n")
        attempt.messages.append(connection.line().rstrip(b"\r\n").split(
            b" ", 2 if self.protocol == "nntp" else 1)[-1])
        return attempt

    def _imap_strings(self, connection, line):
        """Returns the two arguments of LOGIN: atoms, quoted strings, literals."""
        rest = line.rstrip(b"\r\n").split(b" ", 2)[2]
        found = []
        while len(found) < 2:
            rest = rest.lstrip(b" ")
            if size := re.fullmatch(rb"\{(\d+)(\+?)\}", rest):
                if not size[2]:
                    connection.send(b"+ go on\r\n")
                found.append(connection.exactly(int(size[1])))
                rest = connection.line().rstrip(b"\r\n")
            elif rest.startswith(b'"'):
                string = re.match(rb'"((?:[^"\\]|\\.)*)"', rest)
                found.append(re.sub(rb"\\(.)", rb"\1", string[1]))
                rest = rest[string.end():]
            else:
                word, _, rest = rest.partition(b" ")
                found.append(word)
        return found

    def _message(self, connection, wire=False):
        """Reads a message of the exchange: its base64."""
        line = connection.line()
        text = line.rstrip(b"\r\n")
        if self.protocol == "sieve":
            if size := re.fullmatch(rb"\{(\d+)\+\}", text):
                text = connection.exactly(int(size[1]))
                connection.line()
            else:
                text = text.strip(b'"')
        return text if wire or text != b"=" else b""

    def _say(self, connection, step, usual):
        said = self.said(step)
        if said is None:
            connection.wait_for_end()
            raise Gone
        if isinstance(said, tuple):
            connection.send(said[0])
            raise Gone
        connection.send(said or usual)

    @staticmethod
    def _echo(connection):
        while True:
            connection.send(connection.receive())


def _decoded(text):
    """Returns a message without base64; one that is none is no message that a test expects."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b"no base64: " + text

"""The lines of each protocol on both sides, and scripted servers that send them."""

import ssl

from . import canary
from .environment import pki
from .fake_server import Gone


def word(line, number):
    """Returns a word of a line, or nothing if there are fewer: the line may be no command."""
    words = line.split()
    return words[number] if number < len(words) else b""


class Dialect:
    """The lines of one protocol on both sides, no more than a session needs."""

    greeting = b""
    hello = []           # the client's first command, if the protocol has one
    starttls = b"STARTTLS"
    go_ahead = b""
    capability = b""     # asks for the list
    commit = b""
    committed = b""      # the server's answer
    pushes = False       # the server sends its list unasked after TLS
    failure = b""        # a pattern: our line if TLS with the server or its certificate fails

    def offer(self, secure):
        """Returns the server's list, as the answer to `capability`."""
        raise NotImplementedError

    def ends(self, line):
        """True if `line` is the last of the answer to `capability`."""
        raise NotImplementedError

    def verb(self, line):
        return word(line, 0).upper()


class Smtp(Dialect):
    failure = rb"421 4\.7\.5 ([ -~]{1,500})\r\n"
    greeting = b"220 mail.test ESMTP\r\n"
    go_ahead = b"220 go\r\n"
    capability = b"EHLO client.test"
    commit = b"MAIL FROM:<a@b.test>"
    committed = b"250 2.1.0 ok\r\n"

    def offer(self, secure):
        return b"250-mail.test\r\n" + (b"" if secure else b"250-STARTTLS\r\n") + b"250 SIZE 100\r\n"

    def ends(self, line):
        return line[3:4] == b" "


class Lmtp(Smtp):
    capability = b"LHLO client.test"


class Imap(Dialect):
    failure = rb"\* BYE \[UNAVAILABLE\] ([ -~]{1,500})\r\n"
    greeting = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] mail.test\r\n"
    starttls = b"s1 STARTTLS"
    go_ahead = b"%s OK go\r\n"
    capability = b"c1 CAPABILITY"
    commit = b"l1 LOGIN user " + canary.PASSWORD.encode()
    committed = b"l1 OK in\r\n"

    def offer(self, secure):
        return (b"* CAPABILITY IMAP4rev1 AUTH=PLAIN" + (b"" if secure else b" STARTTLS")
                + b"\r\n%s OK done\r\n")

    def ends(self, line):
        return not line.startswith(b"*")

    def verb(self, line):
        return word(line, 1).upper()


class Pop3(Dialect):
    failure = rb"-ERR \[SYS/TEMP\] ([ -~]{1,500})\r\n"
    greeting = b"+OK mail.test\r\n"
    starttls = b"STLS"
    go_ahead = b"+OK go\r\n"
    capability = b"CAPA"
    commit = b"USER user"
    committed = b"+OK user\r\n"

    def offer(self, secure):
        return b"+OK list\r\nUSER\r\n" + (b"" if secure else b"STLS\r\n") + b".\r\n"

    def ends(self, line):
        return line == b".\r\n"


class Sieve(Dialect):
    failure = rb'BYE \(TRYLATER\) "([ -~]{1,500})"\r\n'
    go_ahead = b"OK\r\n"
    capability = b"CAPABILITY"
    commit = b'AUTHENTICATE "PLAIN" "%s"' % canary.plain("user")
    committed = b'OK "in"\r\n'
    pushes = True

    @property
    def greeting(self):
        return self.offer(False)

    def offer(self, secure):
        return (b'"IMPLEMENTATION" "test"\r\n"SASL" "PLAIN"\r\n"SIEVE" "fileinto"\r\n'
                + (b"" if secure else b'"STARTTLS"\r\n') + b'OK "ready"\r\n')

    def ends(self, line):
        return line.startswith(b"OK")


class Nntp(Dialect):
    failure = rb"400 ([ -~]{1,500})\r\n"
    greeting = b"200 mail.test\r\n"
    go_ahead = b"382 go\r\n"
    capability = b"CAPABILITIES"
    commit = b"GROUP test.group"
    committed = b"211 1 1 1 test.group\r\n"

    def offer(self, secure):
        return b"101 list\r\nVERSION 2\r\nREADER\r\n" + (b"" if secure else b"STARTTLS\r\n") + b".\r\n"

    def ends(self, line):
        return line == b".\r\n"


PROTOCOLS = {"smtp": Smtp(), "lmtp": Lmtp(), "imap": Imap(), "pop3": Pop3(), "sieve": Sieve(),
             "nntp": Nntp()}


def start_tls(client):
    """Does the client's side of the handshake with the daemon."""
    client.start_tls(ssl.create_default_context(cafile=pki().ca), "mail.test")


def serve(dialect, connection, implicit, context, committed=None):
    """Plays the dialect's server until its peer goes; in the clear if there is no TLS context.
    After the client has committed, `committed` is called with the connection, and the script does
    not go on.

    If the context asks for a client certificate, it is left in `connection.peer_certificate`.
    """
    def start_tls():
        connection.start_tls(context)
        try:
            connection.peer_certificate = connection.tls.getpeercert()
        except OSError as error:  # the peer has left already
            raise Gone from error

    if implicit:
        start_tls()
    connection.send(dialect.greeting)
    while True:
        line = connection.line()
        verb = dialect.verb(line)
        tag = word(line, 0)
        if context and verb == dialect.verb(dialect.starttls):
            connection.send(dialect.go_ahead.replace(b"%s", tag))
            start_tls()
            if dialect.pushes:
                connection.send(dialect.offer(True))
        elif verb in (b"EHLO", b"LHLO", b"CAPA", b"CAPABILITY", b"CAPABILITIES"):
            connection.send(dialect.offer(connection.tls or not context).replace(b"%s", tag))
        elif verb == dialect.verb(dialect.commit):
            connection.send(dialect.committed)
            if committed:
                committed(connection)
                return
        elif verb in (b"QUIT", b"LOGOUT"):
            raise Gone
        else:
            raise AssertionError(f"unexpected command: {line!r}")


def answer(client, dialect):
    """Returns all lines of the server's list, on the client's side."""
    lines = []
    while not lines or not dialect.ends(lines[-1]):
        line = client.line()
        if not line:
            raise AssertionError(f"the list ends early: {lines}")
        lines.append(line)
    return b"".join(lines)


def greeted(client, dialect):
    """Returns the greeting: one line, or the whole list if the protocol begins with its list."""
    return answer(client, dialect) if dialect.pushes else client.line()

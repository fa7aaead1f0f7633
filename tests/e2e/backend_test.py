"""tools/mail_server, the bench's mail server, in all its modes: alone, and as the proxy's server."""

import contextlib
import hashlib
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from support import children, main, wait
from support.client import FIN, Client
from support.daemon import Daemon, toml
from support.environment import BACKEND, pki

MODES = ("none", "opportunistic", "starttls", "implicit")

# Lines of all lengths and bytes. Some begin with dots or look like commands.
MESSAGE = (b"Subject: test\r\n\r\n.\r\n..\r\n.a\r\nSTARTTLS\r\n* OK\r\n)\r\n\0\xff {7+}\r\n"
           + b"".join(bytes([33 + i % 90]) * i + b"\r\n" for i in range(600)) + b".\r\n")
FETCHED = 1_000_000  # bytes of the pattern


def pattern(size):
    """Returns the bench's pattern, computed anew: see tools/mail_server/pattern.cc."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    period = bytearray()
    state = 0x9e3779b97f4a7c15
    while len(period) < 78 * 3361:
        for _ in range(76):
            state ^= (state << 13) & 0xffffffffffffffff
            state ^= state >> 7
            state ^= (state << 17) & 0xffffffffffffffff
            period.append(alphabet[state % 64])
        period += b"\r\n"
    return bytes(period * (size // len(period) + 1))[:size]


def digest(data):
    return hashlib.sha256(data).hexdigest()


PATTERN_DIGEST = digest(pattern(FETCHED))


class Backend:
    """One backend on a free port, with a store of its own."""

    def __init__(self, protocol, mode):
        self._arguments = ["--protocol", protocol, "--tls", mode, "--listen", "127.0.0.1:0"]
        if mode != "none":
            chain, key = pki().pair()
            self._arguments += ["--chain", chain, "--key", key]

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="starttls-store-")
        self.store = pathlib.Path(self._folder.name)
        self._process = children.start([BACKEND, *self._arguments, "--store", self.store],
                                       stdout=subprocess.PIPE)
        self.port = int(self._process.stdout.readline().rpartition(b":")[2])
        return self

    def __exit__(self, kind, *_):
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(wait.DEADLINE)
        self._process.stdout.close()
        self._folder.cleanup()
        if kind is None and status != 0:
            raise AssertionError(f"the backend has ended with {status}")

    def messages(self):
        return sorted(self.store.glob("*.eml"))


def dotted(message):
    """Returns the message as protocols transfer it that end a message with a dot."""
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


class Talk:
    """A client's session: each step sends a line and checks the answer."""

    def __init__(self, test, client):
        self.test = test
        self.client = client

    def expect(self, wanted):
        """Reads the next line, which must begin like that."""
        line = self.client.line()
        self.test.assertTrue(line.startswith(wanted), (wanted, line))
        return line

    def say(self, command, wanted):
        self.client.send(command + b"\r\n")
        return self.expect(wanted)

    def until(self, last):
        """Reads lines up to one that begins like that."""
        lines = []
        while not lines or not lines[-1].startswith(last):
            line = self.client.line()
            self.test.assertTrue(line, lines)
            lines.append(line)
        return b"".join(lines)

    def undotted(self):
        """Reads a message up to the lone dot, with dots undoubled."""
        lines = []
        while (line := self.client.line()) != b".\r\n":
            self.test.assertTrue(line.endswith(b"\n"), "the connection has ended")
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def fetch_pattern(self, command, wanted):
        self.say(command, wanted)
        self.test.assertEqual(digest(self.client.exactly(FETCHED)), PATTERN_DIGEST)

    def same(self, message):
        self.test.assertEqual(digest(message), digest(MESSAGE))

    def over(self):
        self.test.assertEqual(self.client.rest(), (b"", FIN))


def smtp(talk, backend, hello=b"EHLO"):
    talk.expect(b"220 ")
    talk.client.send(hello + b" client.test\r\n")
    talk.until(b"250 ")
    talk.say(b"MAIL FROM:<a@b.test>", b"250 ")
    talk.say(b"RCPT TO:<c@d.test>", b"250 ")
    talk.say(b"DATA", b"354 ")
    talk.client.send(dotted(MESSAGE))
    talk.expect(b"250 ")
    talk.same(backend.messages()[0].read_bytes())  # read from the file: there is no command to fetch it
    talk.fetch_pattern(b"XSEND %d" % FETCHED, b"250 ")
    talk.say(b"QUIT", b"221 ")


def lmtp(talk, backend):
    smtp(talk, backend, b"LHLO")


def imap(talk, backend):
    talk.expect(b"* OK ")
    talk.say(b"a LOGIN user {6}", b"+ ")
    talk.say(b"secret", b"a OK ")
    talk.client.send(b"b SELECT INBOX\r\n")
    talk.until(b"b OK ")
    talk.client.send(b"c APPEND INBOX {%d+}\r\n%s\r\n" % (len(MESSAGE), MESSAGE))
    talk.until(b"c OK ")
    talk.say(b"d APPEND INBOX (\\Seen) {%d}" % len(MESSAGE), b"+ ")
    talk.client.send(MESSAGE + b"\r\n")
    talk.until(b"d OK ")
    for number in (1, 2):
        header = talk.say(b"e FETCH %d BODY[]" % number, b"* %d FETCH " % number)
        talk.same(talk.client.exactly(int(re.search(rb"\{(\d+)\}\r\n$", header)[1])))
        talk.until(b"e OK ")
    talk.say(b"f IDLE", b"+ ")
    talk.say(b"DONE", b"f OK ")
    talk.fetch_pattern(b"g XSEND %d" % FETCHED, b"g OK ")
    talk.test.assertEqual(len(backend.messages()), 2)
    talk.say(b"h LOGOUT", b"* BYE ")
    talk.expect(b"h OK ")


def pop3(talk, backend):
    (backend.store / "000001.eml").write_bytes(MESSAGE)
    talk.expect(b"+OK ")
    talk.say(b"USER user", b"+OK ")
    talk.say(b"PASS secret", b"+OK ")
    talk.say(b"STAT", b"+OK 1 %d\r\n" % len(MESSAGE))
    talk.say(b"RETR 1", b"+OK ")
    talk.same(talk.undotted())
    talk.fetch_pattern(b"XSEND %d" % FETCHED, b"+OK ")
    talk.say(b"DELE 1", b"+OK ")
    talk.say(b"QUIT", b"+OK ")
    talk.test.assertEqual(backend.messages(), [])


def sieve(talk, backend):
    talk.until(b"OK")
    talk.say(b'AUTHENTICATE "PLAIN" "AHVzZXIAc2VjcmV0"', b"OK")
    talk.client.send(b'PUTSCRIPT "main" {%d+}\r\n%s\r\n' % (len(MESSAGE), MESSAGE))
    talk.expect(b"OK")
    talk.say(b'SETACTIVE "main"', b"OK")
    talk.client.send(b"LISTSCRIPTS\r\n")
    talk.test.assertIn(b"main ACTIVE\r\n", talk.until(b"OK"))
    talk.say(b'GETSCRIPT "main"', b"{%d}\r\n" % len(MESSAGE))
    talk.same(talk.client.exactly(len(MESSAGE)))
    talk.expect(b"\r\n")
    talk.expect(b"OK")
    talk.fetch_pattern(b"XSEND %d" % FETCHED, b"OK")
    talk.same((backend.store / "main.sieve").read_bytes())
    talk.say(b"LOGOUT", b"OK")


def nntp(talk, backend):
    talk.expect(b"200 ")
    talk.say(b"MODE READER", b"200 ")
    talk.say(b"AUTHINFO USER user", b"381 ")
    talk.say(b"AUTHINFO PASS secret", b"281 ")
    talk.say(b"POST", b"340 ")
    talk.client.send(dotted(MESSAGE))
    talk.expect(b"240 ")
    talk.say(b"GROUP test.group", b"211 1 1 1 ")
    talk.say(b"ARTICLE 1", b"220 1 ")
    talk.same(talk.undotted())
    talk.fetch_pattern(b"XSEND %d" % FETCHED, b"290 ")
    talk.test.assertEqual(len(backend.messages()), 1)
    talk.say(b"QUIT", b"205 ")


SESSIONS = {"smtp": smtp, "lmtp": lmtp, "imap": imap, "pop3": pop3, "sieve": sieve, "nntp": nntp}

# STARTTLS with a command after it; the backend's answer to that; how its greeting ends.
INJECTIONS = {
    "smtp": (b"STARTTLS\r\nRSET\r\n", b"503 5.5.1 data behind STARTTLS\r\n", b"220 "),
    "lmtp": (b"STARTTLS\r\nRSET\r\n", b"503 5.5.1 data behind STARTTLS\r\n", b"220 "),
    "imap": (b"a STARTTLS\r\nb NOOP\r\n",
             b"a BAD data behind STARTTLS\r\n* BYE data behind STARTTLS\r\n", b"* OK "),
    "pop3": (b"STLS\r\nCAPA\r\n", b"-ERR data behind STLS\r\n", b"+OK "),
    "sieve": (b"STARTTLS\r\nNOOP\r\n", b'NO "data behind STARTTLS"\r\n', b"OK"),
    "nntp": (b"STARTTLS\r\nDATE\r\n", b"502 data behind STARTTLS\r\n", b"200 "),
}


def configuration(backends):
    """Returns one service for each backend, of that protocol and upstream mode."""
    lines = ["[proxy]", 'hostname = "proxy.test"', "workers = 1", "[log]", 'level = "debug"']
    for (protocol, mode), backend in backends.items():
        lines += ["[[service]]", f'name = "{protocol}-{mode}"', f'protocol = "{protocol}"',
                  'listen = "127.0.0.1:0"', f'upstream.address = "127.0.0.1:{backend.port}"',
                  f'upstream.tls = "{mode}"', 'upstream.server_name = "mail.test"',
                  f"upstream.ca_file = {toml(pki().ca)}"]
    return "\n".join(lines)


class BackendTest(unittest.TestCase):
    def test_a_message_is_stored_and_fetched_in_every_mode(self):
        with contextlib.ExitStack() as stack:
            backends = {(protocol, mode): stack.enter_context(Backend(protocol, mode))
                        for protocol in SESSIONS for mode in MODES}
            daemon = stack.enter_context(
                Daemon(configuration(backends), listeners=len(backends)))
            ports = {line["service"]: int(line["address"].rpartition(":")[2])
                     for line in daemon.lines(lambda f: f.get("msg") == "listening", len(backends))}
            for (protocol, mode), backend in backends.items():
                with self.subTest(protocol=protocol, mode=mode):
                    name = f"{protocol}-{mode}"
                    with Client(ports[name]) as client:
                        talk = Talk(self, client)
                        SESSIONS[protocol](talk, backend)
                        talk.over()
                    session = daemon.lines(
                        lambda f, name=name: "outcome" in f and f["service"] == name)[0]
                    self.assertEqual(session["upstream_tls"],
                                     "none" if mode == "none" else "TLSv1.3", session)
                    self.assertEqual(session["outcome"], "ok", session)

    def test_bytes_after_starttls_are_refused(self):
        for protocol, (attack, refusal, greeting) in INJECTIONS.items():
            for mode in ("opportunistic", "starttls"):
                with (self.subTest(protocol=protocol, mode=mode), Backend(protocol, mode) as backend,
                      Client(backend.port) as client):
                    Talk(self, client).until(greeting)
                    client.send(attack)
                    self.assertEqual(client.rest(), (refusal, FIN))

    def test_commands_pipelined_after_clear_bulk_data_are_answered(self):
        # In these modes the input waits while STARTTLS may still come.
        for mode in ("none", "opportunistic"):
            with (self.subTest(mode=mode), Backend("nntp", mode) as backend,
                  Client(backend.port) as client):
                talk = Talk(self, client)
                talk.expect(b"200 ")
                client.send(b"XSEND %d\r\nMODE READER\r\nXSEND 1\r\nQUIT\r\n" % FETCHED)
                talk.expect(b"290 ")
                self.assertEqual(digest(client.exactly(FETCHED)), PATTERN_DIGEST)
                talk.expect(b"200 ")
                talk.expect(b"290 ")
                self.assertEqual(client.exactly(1), pattern(1))
                talk.expect(b"205 ")
                talk.over()

    def test_without_a_store_mail_is_accepted_and_discarded(self):
        process = children.start([BACKEND, "--protocol", "imap", "--listen", "127.0.0.1:0"],
                                 stdout=subprocess.PIPE)
        try:
            port = int(process.stdout.readline().rpartition(b":")[2])
            with Client(port) as client:
                talk = Talk(self, client)
                talk.expect(b"* OK ")
                talk.say(b"a LOGIN u p", b"a OK ")
                data = pattern(FETCHED)
                client.send(b"b APPEND INBOX {%d+}\r\n%s\r\n" % (FETCHED, data))
                talk.expect(b"b OK %d bytes discarded, pattern intact\r\n" % FETCHED)
                client.send(b"c SELECT INBOX\r\n")
                self.assertIn(b"* 0 EXISTS\r\n", talk.until(b"c OK "))
                client.sock.shutdown(socket.SHUT_WR)
                talk.over()
        finally:
            process.terminate()
            process.wait(wait.DEADLINE)
            process.stdout.close()


if __name__ == "__main__":
    main.main()

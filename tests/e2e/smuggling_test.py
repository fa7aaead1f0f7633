"""Bytes that a relay must not change: false ends of data, odd bytes, cut messages, counted replies.

M1 to M8, in each direction of use: upgrade (TLS towards the server), terminate (towards the client)
and bridge (both). The server reports the bytes that came out, by a hash or one by one.
"""

import contextlib
import random
import socket
import ssl
import struct
import threading
import unittest

from cases_downstream_test import Cases, each
from support import main, wait
from support.client import FIN, RESET
from support.dialects import start_tls
from support.fake_server import FakeServer, Gone, Lmtp, Smtp
from support.gateway import Gateway
from support.relay import Digest, pieces, receive_digest, send_pieces

MODES = {"upgrade": ("none", "starttls"), "terminate": ("starttls", "none"),
         "bridge": ("starttls", "starttls")}
BORDER = 16384  # the size of a TLS record, and of the proxy's reads before the relay
MIB = 1 << 20

# The-Login/SMTP-Smuggling-Tools and hannob/smtpsmug try these as ends of data.
LOOKALIKES = (b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r",
              b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n..\r\n",
              b"\r\n. \r\n", b"\r\n\xe2\x80\xa4\r\n")
WORDS = (b"250-STARTTLS\r\n250 XCLIENT\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\n+OK\r\nSTLS\r\n.x\r\n"
         b"STARTTLS\r\nQUIT\r\n101 list\r\n\"STARTTLS\"\r\nOK\r\nMAIL FROM:<a@b> REQUIRETLS\r\n")
MESSAGE = (b"Subject: odd\r\n\r\n" + b"".join(b"a" + ending + b"MAIL FROM:<evil@x>\r\n"
                                              for ending in LOOKALIKES)
           + bytes(range(256)) + b"\r\n" + WORDS)


def borders():
    """Returns segments with borders between CR and LF, before a CR, and after a lone CR."""
    noise = random.Random(11)
    endings = (b"\r|\n", b"|\r\n", b"\r|x", b"\r\n|.", b"\r\n.|\r\n", b"\n|.\n", b"\0|\r", b"\r|\r\n")
    segments = [b""]
    for index in range(24):
        before, after = endings[index % len(endings)].split(b"|")
        fill = BORDER - len(segments[-1]) - len(before)
        segments[-1] += noise.randbytes(fill).replace(b"\n", b"n").replace(b"\r", b"r") + before
        segments.append(after)
    return segments


def ending(message):
    """Returns the message ready for the final dot, which must be the first end of data."""
    assert b"\r\n.\r\n" not in b"\r\n" + message
    return message + b"\r\n"


class ClearSmtp(Smtp):
    """Takes mail without TLS, as the server of a proxy that terminates."""

    def __call__(self, connection):
        self.say(connection, self.greeting)
        self.secured(connection)


class ClearLmtp(ClearSmtp):
    hello = b"LHLO"


SCRIPTS = {("smtp", "starttls"): Smtp, ("smtp", "none"): ClearSmtp,
           ("lmtp", "starttls"): Lmtp, ("lmtp", "none"): ClearLmtp}


class Mail(unittest.TestCase):
    """SMTP and LMTP sessions; every test runs in each direction, in subtests."""

    @classmethod
    def setUpClass(cls):
        cls.servers, cls.scripts, services = {}, {}, {}
        for protocol, up in SCRIPTS:
            cls.servers[protocol, up] = cls.enterClassContext(FakeServer(
                lambda connection, key=(protocol, up): cls.scripts[key](connection)))
        for protocol in ("smtp", "lmtp"):
            for name, (down, up) in MODES.items():
                services[f"{protocol}-{name}"] = {
                    "protocol": protocol, "downstream.tls": down, "upstream.tls": up,
                    "upstream.address": f"127.0.0.1:{cls.servers[protocol, up].port}"}
        cls.gateway = cls.enterClassContext(Gateway(services))

    def directions(self, protocol="smtp", modes=tuple(MODES), **replies):
        """Yields each direction, with a client that has said hello as `self.client`."""
        for name in modes:
            down, up = MODES[name]
            self.scripts[protocol, up] = script = SCRIPTS[protocol, up](**replies)
            server = self.servers[protocol, up]
            count = len(server.connections)
            self.client = self.gateway.connect(f"{protocol}-{name}")
            self.addCleanup(self.client.close)
            self.client.reply()
            if down == "starttls":
                self.assertTrue(self.client.command(b"STARTTLS").startswith(b"220 "))
                start_tls(self.client)
            self.capabilities = self.client.command(script.hello + b" client.test")
            self.connection = server.connection(count)
            yield name

    def commit(self, *more):
        for command in (b"MAIL FROM:<a@b.test>", *more):
            reply = self.client.command(command)
            self.assertRegex(reply, rb"\A[23]")

    def data(self):
        self.commit(b"RCPT TO:<c@d.test>", b"DATA")

    def heard(self):
        """Returns the bytes that the server got after the client's hello, once its connection is over."""
        self.assertTrue(self.connection.ended.wait(wait.DEADLINE))
        chunk = bytes(self.connection.secure or self.connection.clear)
        return chunk.partition(b" client.test\r\n")[2]

    def end(self):
        """Ends the client's direction, with close_notify on a leg with TLS. The server's direction
        must then end too, without any further data."""
        sock = self.client.sock
        if not isinstance(sock, ssl.SSLSocket):
            self.client.finish()
            self.assertEqual(self.client.rest(), (b"", FIN))
            return
        sock.setblocking(False)
        with contextlib.suppress(ssl.SSLError, OSError):
            sock.unwrap()
        sock.setblocking(True)
        socket.socket.shutdown(sock, socket.SHUT_WR)
        # After its own close_notify Python returns no plaintext. A record with an alert has 24
        # bytes, one with a reply is longer.
        chunk = b""
        while more := socket.socket.recv(sock, 65536):
            chunk += more
        self.assertLessEqual(len(chunk), 24, chunk)

    def test_m1_m6_sequences_that_are_not_an_end_of_data(self):
        for name in self.directions():
            with self.subTest(name):
                self.data()
                self.client.send(ending(MESSAGE))
                self.assertEqual(self.client.command(b"."), b"250 2.0.0 kept\r\n")
                self.assertEqual(self.client.command(b"QUIT"), b"221 2.0.0 bye\r\n")
                self.client.close()
                commands = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
                self.assertEqual(self.heard(), commands + MESSAGE + b"\r\n.\r\nQUIT\r\n")
                self.assertEqual(self.connection.messages, [MESSAGE + b"\r\n"])

    def test_m1_each_alone_byte_by_byte(self):
        """Byte by byte, so that no two of them come in one read."""
        for name in self.directions():
            with self.subTest(name):
                self.data()
                chunk = b"".join(b"a" + lookalike + b"b" for lookalike in LOOKALIKES)
                for byte in chunk:
                    self.client.send(bytes([byte]))
                self.client.send(b"\r\n.\r\n")
                self.assertEqual(self.client.reply(), b"250 2.0.0 kept\r\n")
                self.client.command(b"QUIT")
                self.client.close()
                self.heard()
                self.assertEqual(self.connection.messages, [chunk + b"\r\n"])

    def test_m2_a_line_of_10_mib(self):
        line = bytes(random.Random(5).randbytes(10 * MIB)).replace(b"\n", b"\0")
        for name in self.directions():
            with self.subTest(name):
                self.data()
                self.client.send(line + b"\r\n.\r\n")
                self.assertEqual(self.client.reply(), b"250 2.0.0 kept\r\n")
                self.client.close()
                self.heard()
                kept = Digest(self.connection.messages[0]).value
                self.assertEqual(kept, Digest(line + b"\r\n").value)

    def test_m2_cr_and_lf_on_both_sides_of_a_border(self):
        """Records and segments of 16 KiB that end in CR, and begin with LF; in both directions."""
        segments = borders()
        whole = b"".join(segments)

        def relay(connection):
            for segment in segments:
                connection.send(segment)
            digests.append(receive_digest(connection.sock, len(whole)))
            connection.send(b"250 all of it\r\n")
            connection.wait_for_end()

        for name in self.directions(relay=relay):
            with self.subTest(name):
                digests = []
                self.commit()
                self.assertEqual(self.client.exactly(len(whole)), whole)
                for segment in segments:
                    self.client.send(segment)
                self.assertEqual(self.client.line(), b"250 all of it\r\n")
                self.client.close()
                self.assertEqual(digests, [Digest(whole).value])

    def test_m2_m10_both_directions_at_once_in_pieces_of_all_sizes(self):
        size = 4 * MIB + 1
        expected = Digest(b"".join(pieces(size))).value

        def relay(connection):
            taken = Digest()
            for piece in pieces(size):
                connection.send(piece)
                left = len(piece)
                while left:
                    data = connection.sock.recv(left)
                    if not data:
                        raise Gone
                    taken.update(data)
                    left -= len(data)
            digests.append(taken.value)
            connection.wait_for_end()

        # Python's TLS sockets allow one thread at a time, so the server takes turns. The client of an
        # upgrade has none.
        for name in self.directions(modes=("upgrade",), relay=relay):
            with self.subTest(name):
                digests = []
                self.commit()
                sender = threading.Thread(target=send_pieces, args=(self.client.sock, size))
                sender.start()
                self.assertEqual(receive_digest(self.client.sock, size, self.client.buffered()),
                                 expected)
                sender.join()
                self.client.close()
                self.heard()
                self.assertEqual(digests, [expected])

    def test_m3_the_client_ends_inside_its_message(self):
        for part in (b"half a li", b"whole line\r\n", b"almost\r\n.", b"almost\r\n.\r", b""):
            for name in self.directions():
                with self.subTest(name, part=part):
                    self.data()
                    self.client.send(part)
                    self.end()
                    self.client.close()
                    commands = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
                    self.assertEqual(self.heard(), commands + part)
                    self.assertEqual(self.connection.messages, [])

    def test_m3_the_client_is_cut_off_inside_its_message(self):
        for name in self.directions():
            with self.subTest(name):
                self.data()
                self.client.send(b"almost\r\n.")
                wait.until(lambda: (self.connection.secure or self.connection.clear).endswith(b"."),
                           "all of it has arrived")
                self.client.reset()
                self.assertTrue(self.heard().endswith(b"DATA\r\nalmost\r\n."))
                self.assertEqual(self.connection.messages, [])
                self.assertEqual(self.gateway.session(self.client)["outcome"], "truncated")

    def test_m4_the_server_fails_inside_a_transaction(self):
        """The server fails at each of its commands, and between the final dot and the answer to it."""
        def failing(command, reset, words):
            def relay(connection):
                heard = b""
                while not heard.endswith(command):
                    heard = (heard + connection.receive())[-64:]
                    if heard.endswith(b"DATA\r\n") and command != b"DATA\r\n":
                        connection.send(b"354 go on\r\n")
                    elif heard.endswith(b"RCPT TO:<c@d.test>\r\n") and not heard.endswith(command):
                        connection.send(b"250 2.1.5 ok\r\n")
                connection.send(words)
                if reset:
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                               struct.pack("ii", 1, 0))

            return relay

        for command in (b"RCPT TO:<c@d.test>\r\n", b"DATA\r\n", b"\r\n.\r\n"):
            for reset, words in ((False, b""), (True, b""), (False, b"250 2.0.0 ke"),
                                 (False, b"421 4.3.0 dying\r\n")):
                for name in self.directions(relay=failing(command, reset, words)):
                    with self.subTest(name, command=command, reset=reset, words=words):
                        self.commit()
                        for said in (b"RCPT TO:<c@d.test>\r\n", b"DATA\r\n",
                                     b"Subject: x\r\n\r\nbody\r\n.\r\n"):
                            self.client.send(said)
                            if said.endswith(command):
                                break
                            self.client.line()
                        told, end = self.client.rest()
                        end = self.really(end)
                        self.client.close()
                        # Only the server's own bytes, and no cut that looks like a regular end. A
                        # FIN inside a line is a cut if TLS can mark a regular end (close_notify).
                        cut = not words.endswith(b"\r\n") and words and name != "terminate"
                        # A reset may discard bytes that the client has not read yet.
                        self.assertTrue(told == words or cut and words.startswith(told), told)
                        self.assertEqual(end, RESET if cut else FIN)
                        self.assertEqual(self.gateway.session(self.client)["outcome"],
                                         "truncated" if cut else "ok")

    def really(self, end):
        """Returns how the client's connection ended. Python's ssl may take a reset for an end of
        file; after a reset there is no peer any more."""
        try:
            self.client.sock.getpeername()
        except OSError:
            return RESET
        return end

    def test_m5_replies_to_a_pipelined_transaction(self):
        group = (b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<e@f.test>\r\nDATA\r\n"
                 b"Subject: x\r\n\r\n" + WORDS + b".\r\nFOO\r\nRSET\r\nQUIT\r\n")
        for protocol, kept in (("smtp", 1), ("lmtp", 2)):
            expected = (b"250 2.0.0 ok\r\n" * 3 + b"354 go on\r\n" + b"250 2.0.0 kept\r\n" * kept
                        + b"500 5.5.2 what\r\n250 2.0.0 ok\r\n221 2.0.0 bye\r\n")
            for name in self.directions(protocol):
                with self.subTest(name, protocol=protocol):
                    self.client.send(group)
                    self.assertEqual(self.client.exactly(len(expected)), expected)
                    self.end()
                    self.client.close()
                    self.assertEqual(self.heard(), group)

    def test_m7_commands_inside_chunks(self):
        """RFC 3030: the proxy must not count bytes that it does not have to understand."""
        chunks = b"BDAT 6\r\nMAIL\r\nBDAT 10\r\nSTARTTLS\r\nBDAT 0 LAST\r\nQUIT\r\n"
        replies = b"250 6\r\n250 10\r\n250 done\r\n221 bye\r\n"

        def relay(connection):
            heard = b""
            while len(heard) < len(chunks):
                heard += connection.receive()
            connection.send(replies)
            connection.wait_for_end()

        for name in self.directions(relay=relay):
            with self.subTest(name):
                self.commit()
                self.client.send(chunks)
                self.assertEqual(self.client.exactly(len(replies)), replies)
                self.client.close()
                self.assertEqual(self.heard(), b"MAIL FROM:<a@b.test>\r\n" + chunks)

    def test_m7_a_chunk_before_mail_is_not_a_command(self):
        chunk = b"BDAT 10\r\nSTARTTLS\r\nBDAT 0 LAST\r\n"
        for name in self.directions():
            with self.subTest(name):
                self.client.send(chunk + b"QUIT\r\n")
                while not self.client.line().startswith(b"221 "):
                    pass
                self.end()
                self.client.close()
                self.assertEqual(self.heard(), chunk + b"QUIT\r\n")

    def test_m8_extensions_stay(self):
        extensions = (b"250-mail.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-BURL imap\r\n"
                      b"250-CHUNKING\r\n250-BINARYMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n"
                      b"250-AUTH PLAIN\r\n250 8BITMIME\r\n")
        for name in self.directions(capabilities=extensions):
            with self.subTest(name):
                self.assertEqual(self.capabilities, extensions)
                self.commit(b"RCPT TO:<c@d.test> NOTIFY=NEVER")
                self.assertEqual(self.client.command(b"BURL imap://x LAST"), b"500 5.5.2 what\r\n")
                self.client.close()
                self.heard()


class EveryProtocol(Cases):
    """The same bytes through the relay of each protocol, there and back."""

    modes = tuple(MODES.values())

    @each()
    def test_m1_m2_m6_bytes_after_the_commit_are_not_inspected(self, _):
        client = self.greeted()
        if "-none-" not in self.service:
            self.secure(client)
        client.send(self.dialect.capability + b"\r\n")
        self.answer(client)
        client.send(self.dialect.commit + b"\r\n")
        self.assertEqual(client.line(), self.dialect.committed)
        payload = MESSAGE + b"\r\n.\r\n" + b"\r".join(borders()[:3])
        client.send(payload)
        self.assertEqual(client.exactly(len(payload)), payload)
        client.close()
        connection = self.connection(client)
        self.assertTrue(bytes(connection.secure or connection.clear).endswith(payload))


if __name__ == "__main__":
    main.main()

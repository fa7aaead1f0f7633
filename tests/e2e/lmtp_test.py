"""LMTP to a real Dovecot in all directions: one reply per recipient, bytes as in a direct session."""

import re
import smtplib
import ssl
import unittest

from support import dovecot, main, peers, wait
from support.client import FIN, Client, free_port
from support.daemon import Daemon, configuration
from support.directions import TO_TLS, in_pairs, tls_client
from support.dovecot import STRANGE
from support.environment import pki

HEADERS = b"From: a@legacy.test\r\nSubject: octets\r\nMessage-Id: <1@legacy.test>\r\n"
BODY = (b"\xe9\xff\xfe\x80 \xc3\xa9\r\none\ntwo\n\r\n..\r\n.. \r\n..two\r\n. \r\n" + b"x" * 5000
        + b"\r\nSTARTTLS\r\n250-STARTTLS\r\n")

# These differ from one delivery to the next.
_TRACE = re.compile(rb"(?m)^(?:Received|Delivered-To|Return-Path):.*\n(?:[ \t].*\n)*")


def content(stored):
    return _TRACE.sub(b"", stored)


def keywords(reply):
    return [line[4:] for line in reply.splitlines()[1:]]


class LmtpTls(smtplib.SMTP_SSL, smtplib.LMTP):
    """smtplib has no LMTP with TLS from the first byte."""

    ehlo_msg = "lhlo"

    def __init__(self, port):
        smtplib.SMTP_SSL.__init__(self, "127.0.0.1", port, "legacy.test", timeout=wait.DEADLINE,
                                  context=tls_client())

    def connect(self, host="localhost", port=0, source_address=None):
        return smtplib.SMTP_SSL.connect(self, host, port, source_address)


class Lmtp(dovecot.DovecotTest):
    protocol = "lmtp"
    taken = {}  # (server, user) -> number of messages that a test has looked at

    def stored(self, pair, user, count):
        """Returns the messages for `user` since the last call."""
        key = self.server(pair), user
        seen = self.taken.get(key, 0)
        self.taken[key] = seen + count
        return self.server(pair).stored(user, seen + count)[seen:]

    def proxied(self, pair):
        client = self.enterContext(self.directions.connect(pair))
        client.address = client.sock.getsockname()
        self.assertRegex(client.reply(), rb"^220 ")
        if pair[0] == "starttls":
            self.assertEqual(keywords(client.command(b"LHLO legacy.test")), [b"STARTTLS", b"ENHANCEDSTATUSCODES"])
            self.assertRegex(client.command(b"STARTTLS"), rb"^220 ")
            client.start_tls(tls_client(), "mail.test")
        return client

    def direct(self, pair):
        client = self.enterContext(Client(self.server(pair).ports["lmtp"]))
        client.reply()
        if pair[1] != "none":
            client.command(b"LHLO legacy.test")
            self.assertRegex(client.command(b"STARTTLS"), rb"^220 ")
            client.start_tls(ssl.create_default_context(cafile=pki().ca), "mail.test")
        return client

    @in_pairs()
    def test_each_recipient_gets_a_reply_and_the_same_bytes(self, pair):
        stored = {}
        for kind in (self.direct, self.proxied):
            client = kind(pair)
            client.command(b"LHLO legacy.test")
            self.assertRegex(client.command(b"MAIL FROM:<a@legacy.test> BODY=8BITMIME"), rb"^250")
            # Sends all recipients in one segment; one of them does not exist.
            client.send(b"RCPT TO:<box@mail.test>\r\nRCPT TO:<no body@mail.test>\r\n"
                        b"RCPT TO:<other@mail.test>\r\nRCPT TO:<third@mail.test>\r\n")
            self.assertEqual([client.reply()[:1] for _ in range(4)], [b"2", b"5", b"2", b"2"])
            client.command(b"DATA")
            client.send(HEADERS + b"\r\n" + BODY + b".\r\nQUIT\r\n")
            replies, end = client.rest()
            client.close()
            self.assertEqual([line[:4] for line in replies.splitlines()],
                             [b"250 ", b"250 ", b"250 ", b"221 "], replies)
            self.assertEqual(end, FIN)
            for user in ("box", "other", "third"):
                stored.setdefault(user, []).extend(self.stored(pair, user, 1))
        self.directions.assert_legs(pair, client.address)
        for user, (direct, proxied) in stored.items():
            self.assertEqual(content(proxied), content(direct), user)
            self.assertIn(b"\xe9\xff\xfe\x80", proxied)

    @in_pairs()
    def test_only_impossible_capabilities_are_removed_from_the_list(self, pair):
        expected = [line for line in keywords(self.direct(pair).command(b"LHLO legacy.test"))
                    if line.split()[0] not in (b"STARTTLS", b"XCLIENT", b"XFORWARD")]
        client = self.proxied(pair)
        seen = keywords(client.command(b"LHLO legacy.test"))
        self.assertEqual(seen, expected)
        self.assertIn(b"PIPELINING", seen)
        client.command(b"QUIT")
        client.close()
        self.directions.assert_legs(pair, client.address)

    @in_pairs()
    def test_chunks(self, pair):
        client = self.proxied(pair)
        client.command(b"LHLO legacy.test")
        client.command(b"MAIL FROM:<a@legacy.test>")
        client.command(b"RCPT TO:<box@mail.test>")
        client.command(b"RCPT TO:<other@mail.test>")
        head = HEADERS + b"\r\n.\r\nQUIT\r\n"
        client.send(b"BDAT %d\r\n" % len(head) + head)
        self.assertRegex(client.reply(), rb"^250")
        client.send(b"BDAT 6 LAST\r\n.end\r\nQUIT\r\n")
        replies, _ = client.rest()
        client.close()
        self.assertEqual([line[:4] for line in replies.splitlines()],
                         [b"250 ", b"250 ", b"221 "], replies)
        for user in ("box", "other"):
            self.assertTrue(self.stored(pair, user, 1)[0].endswith(b"\n\n.\nQUIT\n.end\n"))

    @in_pairs()
    def test_swaks(self, pair):
        tls = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[pair[0]]
        result = peers.run("/usr/bin/swaks", "--protocol", "LMTP", "--server",
                           f"127.0.0.1:{self.directions.ports[pair]}", *tls, "--helo",
                           "legacy.test", "--from", "a@legacy.test",
                           "--to", "box@mail.test,other@mail.test", "--body", "by swaks")
        self.assertEqual(result.returncode, 0, result.stdout)
        for user in ("box", "other"):
            self.assertIn(b"by swaks", self.stored(pair, user, 1)[0])

    @in_pairs()
    def test_smtplib(self, pair):
        port = self.directions.ports[pair]
        client = (LmtpTls(port) if pair[0] == "implicit" else
                  smtplib.LMTP("127.0.0.1", port, "legacy.test", timeout=wait.DEADLINE))
        with client:
            if pair[0] == "starttls":
                client.starttls(context=tls_client())
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            client.sendmail("a@legacy.test", ["third@mail.test"], HEADERS + b"\r\nsmtplib\r\n")
        self.assertTrue(self.stored(pair, "third", 1)[0].endswith(b"\n\nsmtplib\n"))

    @in_pairs(TO_TLS)
    def test_openssl_and_gnutls_cli(self, pair):
        said = (b"LHLO legacy.test\r\nMAIL FROM:<a@legacy.test>\r\nRCPT TO:<box@mail.test>\r\n"
                b"DATA\r\n" + HEADERS + b"\r\nby hand\r\n.\r\nquit\r\n")
        for program in ("openssl", "gnutls-cli"):
            heard = peers.tls_client(program, self.directions.ports[pair], said,
                                     starttls="lmtp" if pair[0] == "starttls" else None)
            self.assertIn(b"221 2.0.0 ", heard)
            self.assertTrue(self.stored(pair, "box", 1)[0].endswith(b"\n\nby hand\n"))


class Refused(unittest.TestCase):
    def assert_refused(self, config, outcome, words):
        with Daemon(config) as daemon:
            result = peers.run("/usr/bin/swaks", "--protocol", "LMTP", "--server",
                               f"127.0.0.1:{daemon.port}", "--from", "a@legacy.test",
                               "--to", "box@mail.test")
            self.assertNotEqual(result.returncode, 0)
            self.assertRegex(result.stdout, rb"<\*\* +421 " + words)
            with self.assertRaises(smtplib.SMTPConnectError) as refused:
                smtplib.LMTP("127.0.0.1", daemon.port, timeout=wait.DEADLINE)
            self.assertEqual(refused.exception.smtp_code, 421)
            self.assertRegex(refused.exception.smtp_error, words)
            self.assertEqual([line["outcome"] for line in daemon.sessions(2)], [outcome] * 2)

    def test_swaks_and_smtplib_show_the_reason(self):
        with dovecot.Dovecot("required", certificate="expired") as server:
            self.assert_refused(configuration(None, protocol="lmtp",
                                              address=f"{STRANGE}:{server.ports['lmtp']}"),
                                "certificate", rb"4\.7\.5 .*certificate has expired")
        self.assert_refused(configuration(free_port(), protocol="lmtp"), "unreachable",
                            rb"4\.4\.1 ")


if __name__ == "__main__":
    main.main()

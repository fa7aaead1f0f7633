"""Real programs at both ends: a Postfix that takes mail only after STARTTLS, and plain clients."""

import concurrent.futures
import random
import re
import smtplib
import ssl
import unittest

from support import main, peers, wait
from support.client import FIN, Client
from support.daemon import Daemon, configuration
from support.environment import SANITIZED, pki

# These lines differ from one delivery to the next; everything else must not.
_TRACE = re.compile(rb"(?m)^(?:Received|Delivered-To|X-Original-To|Return-Path):.*\n(?:[ \t].*\n)*")

HEADERS = (b"From: a@legacy.test\r\nTo: box@mail.test\r\nSubject: octets\r\n"
           b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-Id: <1@legacy.test>\r\n")


def content(stored):
    """Returns a stored message without the lines that the delivery itself added."""
    head, separator, body = stored.partition(b"\n\n")
    return _TRACE.sub(b"", head + b"\n") + separator + body


def deliver(client, message):
    """Sends one message, with dots stuffed by the caller. Returns the reply to the final dot."""
    for command in (b"EHLO legacy.test", b"MAIL FROM:<a@legacy.test>", b"RCPT TO:<box@mail.test>"):
        reply = client.command(command)
        if not reply.startswith(b"250"):
            raise AssertionError(f"{command!r}: {reply!r}")
    client.command(b"DATA")
    client.send(message)
    return client.command(b".")


class Upgrade(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postfix = cls.enterClassContext(peers.Postfix())

    def setUp(self):
        self.daemon = self.enterContext(Daemon(configuration(self.postfix.port)))
        self.server = f"127.0.0.1:{self.daemon.port}"

    def direct(self):
        """Connects to Postfix directly, with STARTTLS, to compare the proxy with it."""
        client = self.enterContext(Client(self.postfix.port))
        client.reply()
        client.command(b"EHLO legacy.test")
        self.assertTrue(client.command(b"STARTTLS").startswith(b"220 "))
        client.start_tls(ssl.create_default_context(cafile=pki().ca), "mail.test")
        return client

    def proxied(self):
        client = self.enterContext(self.daemon.connect())
        self.assertTrue(client.reply().startswith(b"220 "))
        return client

    def assert_secured(self, sessions=1):
        for session in self.daemon.sessions(sessions):
            self.assertEqual((session["upstream_tls"], session["upstream_verify"]),
                             ("TLSv1.3", "full"))

    def test_postfix_itself_refuses_mail_in_the_clear(self):
        result = peers.run("/usr/bin/swaks", "--server", f"127.0.0.1:{self.postfix.port}",
                           "--from", "a@legacy.test", "--to", "box@mail.test")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(b"530 5.7.0 Must issue a STARTTLS command first", result.stdout)

    def test_swaks(self):
        result = peers.run("/usr/bin/swaks", "--server", self.server, "--helo", "legacy.test",
                           "--from", "a@legacy.test", "--to", "box@mail.test",
                           "--body", "sent by swaks")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertNotIn(b"STARTTLS", result.stdout)
        stored = self.postfix.new_mail()[0]
        self.assertIn(b"sent by swaks", stored)
        self.assertRegex(stored, rb"using TLSv1\.3 with cipher")
        self.assert_secured()

    def test_swaks_pipelined(self):
        result = peers.run("/usr/bin/swaks", "--server", self.server, "--pipeline",
                           "--helo", "legacy.test", "--from", "a@legacy.test",
                           "--to", "box@mail.test,other@mail.test", "--body", "in one go")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.postfix.new_mail(2)
        self.assert_secured()

    def test_curl(self):
        with peers.scratch() as (outside, inside):
            (outside / "mail").write_bytes(HEADERS + b"\r\nsent by curl\r\n..two dots\r\n")
            result = peers.run("/usr/bin/curl", "--silent", "--show-error", "--url",
                               f"smtp://{self.server}/legacy.test", "--mail-from",
                               "a@legacy.test", "--mail-rcpt", "box@mail.test",
                               "--upload-file", inside / "mail")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(self.postfix.new_mail()[0].endswith(b"\n\nsent by curl\n..two dots\n"))
        self.assert_secured()

    def test_smtplib(self):
        with smtplib.SMTP("127.0.0.1", self.daemon.port, "legacy.test", timeout=wait.DEADLINE) as client:
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            self.assertEqual(
                client.sendmail("a@legacy.test", ["box@mail.test"], HEADERS + b"\r\nsmtplib\r\n"),
                {})
        self.assertTrue(self.postfix.new_mail()[0].endswith(b"\n\nsmtplib\n"))
        self.assert_secured()

    def test_a_client_that_knows_only_helo(self):
        client = self.proxied()
        for command in (b"HELO old", b"MAIL FROM:<a@legacy.test>", b"RCPT TO:<box@mail.test>"):
            self.assertTrue(client.command(command).startswith(b"250"))
        client.command(b"DATA")
        client.send(HEADERS + b"\r\nold\r\n")
        self.assertTrue(client.command(b".").startswith(b"250"))
        client.command(b"QUIT")
        client.close()
        self.assertTrue(self.postfix.new_mail()[0].endswith(b"\n\nold\n"))
        self.assert_secured()

    def test_a_client_may_send_everything_at_once_before_the_greeting(self):
        with self.daemon.connect() as client:
            client.send(b"EHLO legacy.test\r\nMAIL FROM:<a@legacy.test>\r\n"
                        b"RCPT TO:<box@mail.test>\r\nDATA\r\n" + HEADERS + b"\r\nblast\r\n"
                        b".\r\nQUIT\r\n")
            replies, end = client.rest()
        self.assertEqual(end, FIN)
        self.assertEqual([line[:3] for line in replies.splitlines() if line[3:4] == b" "],
                         [b"220", b"250", b"250", b"250", b"354", b"250", b"221"])
        self.assertTrue(self.postfix.new_mail()[0].endswith(b"\n\nblast\n"))
        self.assert_secured()

    def test_twenty_megabytes(self):
        lines = random.Random(4711).randbytes(15_000_000).hex().encode()[:20_000_000]
        body = b"\r\n".join(lines[at:at + 998] for at in range(0, len(lines), 998)) + b"\r\n"
        self.assertTrue(deliver(self.proxied(), HEADERS + b"\r\n" + body).startswith(b"250"))
        stored = self.postfix.new_mail()[0]
        self.assertEqual(stored.partition(b"\n\n")[2], body.replace(b"\r\n", b"\n"))

    def test_fifty_sessions_at_once(self):
        sessions = 10 if SANITIZED else 50
        clients = [self.enterContext(self.daemon.connect()) for _ in range(sessions)]
        with concurrent.futures.ThreadPoolExecutor(sessions) as pool:
            def one(number, client):
                client.reply()
                reply = deliver(client, HEADERS + b"\r\nnumber %d\r\n" % number)
                client.command(b"QUIT")
                client.close()
                return reply

            for reply in pool.map(one, range(sessions), clients):
                self.assertTrue(reply.startswith(b"250"), reply)
        bodies = {stored.partition(b"\n\n")[2] for stored in self.postfix.new_mail(sessions)}
        self.assertEqual(bodies, {b"number %d\n" % number for number in range(sessions)})
        self.assert_secured(sessions)

    def test_odd_bytes_arrive_as_in_a_direct_session(self):
        # M1, M2: only the last line ends the data, or Postfix would answer more than once.
        messages = {
            "8-bit": b"\r\n\xe9\xff\xfe\x80 \xc3\xa9\r\n",
            "nul": b"\r\nbefore\0after\r\n\0\r\n",
            "bare lf": b"\r\none\ntwo\n\nthree\r\n",
            "lone cr": b"\r\none\rtwo\r\rthree\r\n",
            "dots": b"\r\n..\r\n.. \r\n..two\r\n. \r\n",
            "long line": b"\r\n" + b"x" * 100_000 + b"\r\n",
            "no line end": b"",
        }
        for name, message in messages.items():
            with self.subTest(name):
                stored = []
                for client in (self.direct(), self.proxied()):
                    self.assertTrue(deliver(client, HEADERS + message).startswith(b"250"))
                    client.command(b"QUIT")
                    stored.append(self.postfix.new_mail()[0])
                self.assertEqual(content(stored[1]), content(stored[0]))


class Refused(unittest.TestCase):
    def test_swaks_shows_the_reason(self):
        with peers.Postfix(certificate="expired") as postfix:
            with Daemon(configuration(postfix.port)) as daemon:
                result = peers.run("/usr/bin/swaks", "--server", f"127.0.0.1:{daemon.port}",
                                   "--from", "a@legacy.test", "--to", "box@mail.test")
                self.assertEqual(daemon.session()["outcome"], "certificate")
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stdout, rb"<\*\* +421 4\.7\.5 .* mail server mail\.test: "
                                        rb"certificate has expired")

    def test_a_postfix_without_starttls(self):
        with peers.Postfix(level="none") as postfix:
            with Daemon(configuration(postfix.port)) as daemon:
                result = peers.run("/usr/bin/swaks", "--server", f"127.0.0.1:{daemon.port}",
                                   "--from", "a@legacy.test", "--to", "box@mail.test")
                self.assertEqual(daemon.session()["outcome"], "tls_not_offered")
            self.assertNotIn("from=<a@legacy.test>", postfix.log())
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stdout, rb"<\*\* +421 4\.7\.0 ")


if __name__ == "__main__":
    main.main()

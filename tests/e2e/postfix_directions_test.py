"""SMTP to a real Postfix in all directions: delivered bytes, lists, BDAT, refusals, real clients."""

import hashlib
import random
import shutil
import smtplib
import ssl
import unittest

from postfix_test import HEADERS, content, deliver
from support import main, peers, wait
from support.client import FIN, Client
from support.directions import (BRIDGE, IN_SHORT, TERMINATE, UPGRADE, Directions, in_pairs,
                                tls_client)
from support.environment import pki

TRUSTING = """\
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_authorized_xforward_hosts = 127.0.0.0/8
"""
SERVER_ONLY = {b"XCLIENT", b"XFORWARD", b"STARTTLS"}


def keywords(reply):
    """Returns the lines of an EHLO reply without codes and without the server's name."""
    return [line[4:] for line in reply.splitlines()[1:]]


def names(lines):
    return {line.split()[0] for line in lines}


class Postfixes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.secured = cls.enterClassContext(peers.Postfix("encrypt", settings=TRUSTING))
        cls.clear = cls.enterClassContext(peers.Postfix("none", settings=TRUSTING))
        cls.directions = cls.enterClassContext(Directions("smtp", {
            "none": f"127.0.0.1:{cls.clear.port}",
            "starttls": f"127.0.0.1:{cls.secured.port}",
            "implicit": f"127.0.0.1:{cls.secured.implicit}",
        }))

    def server(self, pair):
        return self.clear if pair[1] == "none" else self.secured

    def direct(self, pair):
        """Connects to the same server without the proxy. Greeted, and on TLS if the pair has it."""
        server = self.server(pair)
        client = self.enterContext(Client(server.port))
        client.reply()
        if pair[1] != "none":
            client.command(b"EHLO legacy.test")
            self.assertTrue(client.command(b"STARTTLS").startswith(b"220 "))
            client.start_tls(ssl.create_default_context(cafile=pki().ca), "mail.test")
        return client

    def proxied(self, pair):
        """Connects through the proxy. Greeted, and after the client's TLS if the pair has it."""
        client = self.enterContext(self.directions.connect(pair))
        address = client.sock.getsockname()
        client.address = address
        self.assertRegex(client.reply(), rb"^220 ")
        if pair[0] == "starttls":
            self.assertEqual(names(keywords(client.command(b"EHLO legacy.test"))),
                             {b"STARTTLS", b"ENHANCEDSTATUSCODES"})
            self.assertTrue(client.command(b"STARTTLS").startswith(b"220 "))
            client.start_tls(tls_client(), "mail.test")
        return client

    def end(self, pair, client):
        self.assertTrue(client.command(b"QUIT").startswith(b"221 "))
        client.close()
        self.directions.assert_legs(pair, client.address)

    def transaction(self, client, size=b""):
        for command in (b"EHLO legacy.test", b"MAIL FROM:<a@legacy.test>" + size,
                        b"RCPT TO:<box@mail.test>"):
            self.assertRegex(client.command(command), rb"^250")


class EveryByte(Postfixes):
    # M1, M2: only the last line is the end of data.
    MESSAGE = (HEADERS + b"\r\n\xe9\xff\xfe\x80 \xc3\xa9\r\nbefore\0after\r\none\ntwo\n\nthree\r\n"
               b"lone\rcr\r\r\n..\r\n.. \r\n..two\r\n. \r\n" + b"x" * 50_000 + b"\r\n"
               b"STARTTLS\r\n250-STARTTLS\r\n")

    @in_pairs()
    def test_a_message_arrives_as_in_a_direct_session(self, pair):
        stored = []
        for kind in (self.direct, self.proxied):
            client = kind(pair)
            self.assertRegex(deliver(client, self.MESSAGE), rb"^250")
            if kind == self.proxied:
                self.end(pair, client)
            stored += self.server(pair).new_mail()
        self.assertEqual(content(stored[1]), content(stored[0]))
        self.assertIn(b"\xe9\xff\xfe\x80", stored[1])
        # Postfix's own Received line shows if it used TLS itself.
        self.assertEqual(b"using TLSv1.3 with cipher" in stored[1], pair[1] != "none")

    @in_pairs()
    def test_everything_in_one_segment_after_tls(self, pair):
        client = self.proxied(pair)
        client.send(b"EHLO legacy.test\r\nMAIL FROM:<a@legacy.test>\r\nRCPT TO:<box@mail.test>\r\n"
                    b"DATA\r\n" + HEADERS + b"\r\nblast\r\n.\r\nQUIT\r\n")
        replies, end = client.rest()
        client.close()
        self.assertEqual(end, FIN)
        self.assertEqual([line[:3] for line in replies.splitlines() if line[3:4] == b" "],
                         [b"250", b"250", b"250", b"354", b"250", b"221"])
        self.assertTrue(self.server(pair).new_mail()[0].endswith(b"\n\nblast\n"))
        self.directions.assert_legs(pair, client.address)

    @in_pairs()
    def test_bdat_chunks_of_any_bytes_and_a_quit_after_the_last(self, pair):
        # M7. Commands and dots inside a chunk are content; bytes after the last chunk are commands.
        data = random.Random(7).randbytes(200_000).translate(None, b"\r\n")
        body = b"".join(data[at:at + 900] + b"\r\n" for at in range(0, len(data), 900))
        chunks = (HEADERS + b"\r\n", body, b".\r\nQUIT\r\nMAIL\r\n")
        stored = []
        for kind in (self.direct, self.proxied):
            client = kind(pair)
            self.transaction(client, b" BODY=8BITMIME")
            for chunk in chunks:
                client.send(b"BDAT %d\r\n" % len(chunk) + chunk)
                self.assertRegex(client.reply(), rb"^250")
            client.send(b"BDAT 5 LAST\r\nend\r\nQUIT\r\n")
            self.assertRegex(client.reply(), rb"^250")
            self.assertRegex(client.reply(), rb"^221")
            client.close()
            stored += self.server(pair).new_mail()
        self.assertEqual(content(stored[1]), content(stored[0]))
        self.assertEqual(hashlib.sha256(stored[1].partition(b"\n\n")[2]).digest(), hashlib.sha256(
            body.replace(b"\r\n", b"\n") + b".\nQUIT\nMAIL\nend\n").digest())
        self.directions.assert_legs(pair, client.address)


class Lists(Postfixes):
    @in_pairs()
    def test_only_impossible_capabilities_are_removed_from_the_list(self, pair):
        expected = [line for line in keywords(self.direct(pair).command(b"EHLO legacy.test"))
                    if line.split()[0] not in SERVER_ONLY]
        client = self.proxied(pair)
        seen = keywords(client.command(b"EHLO legacy.test"))
        self.assertEqual(seen, expected)
        self.assertLessEqual({b"PIPELINING", b"SIZE", b"8BITMIME", b"DSN", b"CHUNKING",
                              b"ENHANCEDSTATUSCODES", b"SMTPUTF8"}, names(seen))
        self.end(pair, client)

    @in_pairs(IN_SHORT)
    def test_clients_cannot_use_xclient_and_xforward(self, pair):
        # O4. Without the proxy they are offered; otherwise their absence would prove nothing.
        self.assertLessEqual({b"XCLIENT", b"XFORWARD"},
                             names(keywords(self.direct(pair).command(b"EHLO legacy.test"))))
        client = self.proxied(pair)
        client.command(b"EHLO legacy.test")
        for command in (b"XCLIENT ADDR=192.0.2.9 NAME=forged.test", b"xforward ADDR=192.0.2.9"):
            self.assertRegex(client.command(command), rb"^5\d\d ")
        self.transaction(client)
        client.command(b"RSET")
        self.end(pair, client)
        self.assertNotIn("192.0.2.9", self.server(pair).log())

    @in_pairs(TERMINATE[:1] + BRIDGE[:1])
    def test_inside_tls_a_new_ehlo_is_required_and_starttls_is_gone(self, pair):
        client = self.proxied(pair)
        self.assertRegex(client.command(b"MAIL FROM:<a@legacy.test>"), rb"^503 ")
        client.command(b"EHLO legacy.test")
        self.assertRegex(client.command(b"STARTTLS"), rb"^503 ")
        self.end(pair, client)

    def test_before_tls_only_starttls_is_offered(self):
        client = self.enterContext(self.directions.connect(TERMINATE[0]))
        client.reply()
        client.command(b"EHLO legacy.test")
        self.assertRegex(client.command(b"MAIL FROM:<early@legacy.test>"), rb"^530 5\.7\.0 ")
        client.command(b"QUIT")
        self.assertNotIn("early@legacy.test", self.clear.log())


class Programs(Postfixes):
    """Each program in each direction that it has a way for."""

    def stored(self, pair, word):
        self.assertIn(word, self.server(pair).new_mail()[0])

    @in_pairs(UPGRADE[:1] + TERMINATE + BRIDGE[:2])
    def test_swaks(self, pair):
        tls = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[pair[0]]
        with peers.scratch() as (outside, inside):
            shutil.copyfile(pki().ca, outside / "ca.pem")
            verify = ["--tls-verify", "--tls-ca-path", inside / "ca.pem"] if tls else []
            result = peers.run("/usr/bin/swaks", "--server",
                               f"127.0.0.1:{self.directions.ports[pair]}", *tls, *verify,
                               "--helo", "legacy.test", "--from", "a@legacy.test",
                               "--to", "box@mail.test", "--pipeline", "--body", "by swaks")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertEqual(b"TLS started with cipher TLSv1.3" in result.stdout, bool(tls))
        self.stored(pair, b"by swaks")

    @in_pairs(UPGRADE[:1] + TERMINATE + BRIDGE[:2])
    def test_curl(self, pair):
        scheme = "smtps" if pair[0] == "implicit" else "smtp"
        with peers.scratch() as (outside, inside):
            (outside / "mail").write_bytes(HEADERS + b"\r\nby curl\r\n..two dots\r\n")
            shutil.copyfile(pki().ca, outside / "ca.pem")
            tls = [] if pair[0] == "none" else ["--ssl-reqd", "--cacert", inside / "ca.pem"]
            result = peers.run("/usr/bin/curl", "--silent", "--show-error", *tls, "--url",
                               f"{scheme}://127.0.0.1:{self.directions.ports[pair]}/legacy.test",
                               "--mail-from", "a@legacy.test", "--mail-rcpt", "box@mail.test",
                               "--upload-file", inside / "mail")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.stored(pair, b"\n\nby curl\n..two dots\n")

    @in_pairs()
    def test_smtplib(self, pair):
        port = self.directions.ports[pair]
        if pair[0] == "implicit":
            client = smtplib.SMTP_SSL("127.0.0.1", port, "legacy.test", timeout=wait.DEADLINE,
                                      context=tls_client())
        else:
            client = smtplib.SMTP("127.0.0.1", port, "legacy.test", timeout=wait.DEADLINE)
        with client:
            if pair[0] == "starttls":
                client.starttls(context=tls_client())
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            self.assertTrue(client.has_extn("dsn"))
            address = client.sock.getsockname()
            self.assertEqual(client.sendmail("a@legacy.test", ["box@mail.test"],
                                             HEADERS + b"\r\nsmtplib\r\n",
                                             ["BODY=8BITMIME", "RET=HDRS", "ENVID=x1"],
                                             ["NOTIFY=NEVER"]), {})
        self.stored(pair, b"\n\nsmtplib\n")
        self.directions.assert_legs(pair, address)

    @in_pairs(TERMINATE + BRIDGE[:2])
    def test_openssl_and_gnutls_cli(self, pair):
        said = (b"EHLO legacy.test\r\nMAIL FROM:<a@legacy.test>\r\nRCPT TO:<box@mail.test>\r\n"
                b"DATA\r\n" + HEADERS + b"\r\nby hand\r\n.\r\nquit\r\n")
        for program in ("openssl", "gnutls-cli"):
            heard = peers.tls_client(program, self.directions.ports[pair], said,
                                     starttls="smtp" if pair[0] == "starttls" else None)
            self.assertRegex(heard, rb"\n?221 2\.0\.0 Bye")
            self.stored(pair, b"\n\nby hand\n")


if __name__ == "__main__":
    main.main()

"""NNTP to a real INN in all directions: reading, posting, logins, and reasons for refused sessions."""

import unittest

from support import main, peers
from support.client import free_port
from support.daemon import Daemon, configuration
from support.directions import TERMINATE, TO_TLS, UPGRADE, Directions, in_pairs, tls_client
from support.inn import GROUP, PASSWORD, USER, Inn
from support.nntp import NntpClient, NntpError

_numbers = iter(range(1, 1000))

BODY = b"\xe9\xff\xfe\x80 \xc3\xa9\r\n.\r\n..two dots\r\n.\x01\r\nSTARTTLS\r\n" + b"x" * 900 + b"\r\n" + (
    b"a line of eighty bytes or so, that comes again and again, to make it long\r\n" * 3000)


def article():
    """Returns a new article's identifier and its bytes."""
    name = f"<{next(_numbers)}@client.test>"
    return name, (f"From: a@client.test\r\nNewsgroups: {GROUP}\r\nSubject: octets\r\n"
                  f"Message-ID: {name}\r\n\r\n").encode() + BODY


class Nntp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.secured = cls.enterClassContext(Inn())
        cls.clear = cls.enterClassContext(Inn(tls=False))
        cls.directions = cls.enterClassContext(Directions("nntp", {
            "none": f"127.0.0.1:{cls.clear.port}",
            "starttls": f"127.0.0.1:{cls.secured.port}",
            "implicit": f"127.0.0.1:{cls.secured.implicit}",
        }))

    def server(self, pair):
        return self.clear if pair[1] == "none" else self.secured

    def reader(self, pair):
        """Returns a client of the proxy, after its TLS."""
        client = self.enterContext(NntpClient(self.directions.ports[pair],
                                              tls_client() if pair[0] == "implicit" else None))
        if pair[0] == "starttls":
            self.assertIn("STARTTLS", client.capabilities())
            client.starttls(tls_client())
        return client

    def direct(self, pair):
        """Returns a client of the server itself."""
        client = self.enterContext(NntpClient(self.server(pair).port))
        if pair[1] != "none":
            client.starttls(tls_client())
        return client

    @in_pairs()
    def test_reads_and_posts_after_logging_in(self, pair):
        client = self.reader(pair)
        address = client.sock.getsockname()
        self.assertNotIn("STARTTLS", client.capabilities())
        client.login(USER, PASSWORD)
        client.command("DATE")
        self.assertIn(GROUP, client.groups())
        name, data = article()
        self.assertTrue(client.post(data).startswith("240"))
        client.command("GROUP", GROUP)
        proxied = client.lines("ARTICLE", name)
        client.quit()
        self.directions.assert_legs(pair, address)

        direct = self.direct(pair)
        direct.login(USER, PASSWORD)
        direct.command("GROUP", GROUP)
        self.assertEqual(direct.lines("ARTICLE", name), proxied)
        direct.quit()
        self.assertEqual(proxied[proxied.index(b"") + 1:], BODY.split(b"\r\n")[:-1])

    @in_pairs()
    def test_the_list_keeps_all_but_starttls(self, pair):
        client, direct = self.reader(pair), self.direct(pair)
        seen, expected = client.capabilities(), direct.capabilities()
        expected.pop("STARTTLS", None)
        self.assertEqual(seen, expected)
        client.quit()
        direct.quit()

    @in_pairs()
    def test_the_server_refuses_a_wrong_password(self, pair):
        client = self.reader(pair)
        with self.assertRaisesRegex(NntpError, "^481 "):
            client.login(USER, "wrong")
        client.quit()

    @in_pairs(TO_TLS)
    def test_openssl_and_gnutls_cli(self, pair):
        said = (f"CAPABILITIES\r\nAUTHINFO USER {USER}\r\nAUTHINFO PASS {PASSWORD}\r\n"
                f"GROUP {GROUP}\r\nquit\r\n").encode()
        for program in ("openssl", "gnutls-cli"):
            with self.subTest(program):
                heard = peers.tls_client(program, self.directions.ports[pair], said,
                                         starttls="nntp" if pair[0] == "starttls" else None)
                self.assertRegex(heard, rb"281 [^\n]*\n211 [^\n]*\n205 ")

    def test_before_tls_only_starttls_is_offered(self):
        with self.directions.connect(TERMINATE[0]) as client:
            client.line()
            client.send(f"GROUP {GROUP}\r\n".encode())
            self.assertRegex(client.line(), rb"^483 ")
            client.send(b"QUIT\r\n")
            self.assertRegex(client.line(), rb"^205 ")

    @in_pairs(UPGRADE)
    def test_a_clear_client_cannot_start_tls_itself(self, pair):
        client = self.reader(pair)
        with self.assertRaisesRegex(NntpError, "^502"):
            client.command("STARTTLS")
        client.quit()

    def test_the_password_is_in_no_line_of_the_log(self):
        with Daemon(configuration(self.secured.port, protocol="nntp")) as daemon:
            client = self.enterContext(NntpClient(daemon.port))
            client.login(USER, PASSWORD)
            client.quit()
            self.assertEqual(daemon.session()["outcome"], "ok")
            self.assertNotIn(PASSWORD, daemon.text())


class Refused(unittest.TestCase):
    def assert_refused(self, config, outcome, words):
        with Daemon(config) as daemon:
            with self.assertRaisesRegex(NntpError, "^400 .*" + words):
                NntpClient(daemon.port)
            self.assertEqual(daemon.session()["outcome"], outcome)

    def test_a_client_gets_the_reason(self):
        with Inn() as inn:
            self.assert_refused(configuration(inn.port, protocol="nntp",
                                              upstream={"server_name": "other.test"}),
                                "certificate", "name mismatch: wanted other.test, got ")
        self.assert_refused(configuration(free_port(), protocol="nntp"), "unreachable", "")


if __name__ == "__main__":
    main.main()

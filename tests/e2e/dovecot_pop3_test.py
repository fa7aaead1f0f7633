"""POP3 to a real Dovecot, in all directions: logins of every kind, messages byte by byte."""

import base64
import imaplib
import poplib
import shutil

from support import dovecot, main, peers, wait
from support.client import Client
from support.directions import (BRIDGE, TERMINATE, TO_TLS, UPGRADE, Directions, in_pairs,
                                tls_client)
from support.dovecot import OWN, PASSWORD, STRANGE
from support.environment import pki
from support.scram import Scram

HEADERS = b"From: a@legacy.test\r\nTo: box@mail.test\r\nSubject: octets\r\n\r\n"
MESSAGES = (
    HEADERS + b".\r\n..\r\n.two\r\nSTLS\r\n-ERR\r\n+OK\r\n",
    HEADERS + b"\xe9\xff\xfe\x80 \xc3\xa9\r\none\rtwo\r\r\nno line end",
    HEADERS + b"".join(b"%07d \xe9%s\r\n" % (n, b"x" * (n % 900)) for n in range(4000)),
)


class Raw(Client):
    """POP3 by hand."""

    def ask(self, line):
        self.send(line + b"\r\n")
        return self.line()

    def ask_list(self, line):
        """Returns a reply of several lines with its final dot, dots still stuffed."""
        lines = [self.ask(line)]
        if not lines[0].startswith(b"+OK"):
            raise AssertionError(lines)
        while lines[-1] != b".\r\n":
            lines.append(self.line())
            if not lines[-1]:
                raise AssertionError(lines)
        return b"".join(lines)

    def log_in(self):
        self.ask(b"USER box")
        reply = self.ask(b"PASS " + PASSWORD.encode())
        if not reply.startswith(b"+OK"):
            raise AssertionError(reply)


class Pop3(dovecot.DovecotTest):
    protocol = "pop3"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for server in (cls.secured, cls.clear):
            with imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=wait.DEADLINE) as client:
                client.login("box", PASSWORD)
                for message in MESSAGES:
                    client.append("INBOX", None, None, message)

    def raw(self, pair):
        client = self.enterContext(self.directions.connect(pair, Raw))
        self.assertTrue(client.line().startswith(b"+OK "))
        if pair[0] == "starttls":
            self.assertTrue(client.ask(b"STLS").startswith(b"+OK"))
            client.start_tls(tls_client(), "mail.test")
        return client

    def direct(self, pair):
        client = self.enterContext(Raw(self.server(pair).ports["pop3"]))
        client.line()
        if pair[1] != "none":
            client.ask(b"STLS")
            client.start_tls(tls_client(), "mail.test")
        return client

    def poplib(self, pair, directions=None):
        """Returns a poplib client, after the downstream TLS."""
        port = (directions or self.directions).ports[pair]
        if pair[0] == "implicit":
            client = poplib.POP3_SSL("127.0.0.1", port, context=tls_client(), timeout=wait.DEADLINE)
        else:
            client = poplib.POP3("127.0.0.1", port, timeout=wait.DEADLINE)
        self.addCleanup(client.close)
        if pair[0] == "starttls":
            self.assertIn("STLS", client.capa())
            client.stls(tls_client())
        return client

    @in_pairs()
    def test_poplib(self, pair):
        before = len(self.server(pair).logins("pop3"))
        client = self.poplib(pair)
        self.assertTrue(client.getwelcome().startswith(b"+OK "))
        capabilities = client.capa()
        self.assertNotIn("STLS", capabilities)
        self.assertEqual(capabilities["SASL"], ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
        self.assertIn("USER", capabilities)
        client.user("box")
        client.pass_(PASSWORD)
        self.assertEqual(client.stat()[0], len(MESSAGES))
        for number, message in enumerate(MESSAGES, 1):
            lines = client.retr(number)[1]
            if message.endswith(b"\r\n") and b"\r\r" not in message:
                self.assertEqual(b"".join(line + b"\r\n" for line in lines), message)
        address = client.sock.getsockname()
        client.quit()
        self.directions.assert_legs(pair, address)
        self.assert_login(pair, before + 1, "user=<box>", "method=PLAIN,")

    @in_pairs()
    def test_messages_are_fetched_byte_by_byte(self, pair):
        direct, proxied = self.direct(pair), self.raw(pair)
        direct.log_in()
        proxied.log_in()
        for command in (b"LIST", b"UIDL", b"RETR 1", b"RETR 2", b"RETR 3", b"TOP 1 2"):
            self.assertEqual(proxied.ask_list(command), direct.ask_list(command))

    @in_pairs()
    def test_mechanisms(self, pair):
        scram = Scram("box", PASSWORD)
        exchanges = {
            "PLAIN": [lambda _: b"\0box\0" + PASSWORD.encode()],
            "LOGIN": [lambda _: b"box", lambda _: PASSWORD.encode()],
            "SCRAM-SHA-256": [lambda _: scram.first(), scram.final, scram.verify],
        }
        for mechanism, answers in exchanges.items():
            before = len(self.server(pair).logins("pop3"))
            client = self.raw(pair)
            reply = client.ask(b"AUTH " + mechanism.encode())
            for answer in answers:
                self.assertTrue(reply.startswith(b"+ "), reply)
                reply = client.ask(base64.b64encode(answer(base64.b64decode(reply[2:]))))
            self.assertTrue(reply.startswith(b"+OK"), reply)
            self.assert_login(pair, before + 1, f"method={mechanism},")

        client = self.raw(pair)
        reply = client.ask(b"AUTH PLAIN " + base64.b64encode(b"\0box\0" + PASSWORD.encode()))
        self.assertTrue(reply.startswith(b"+OK"), reply)

    @in_pairs()
    def test_apop(self, pair):
        # The stamp is in the greeting, which an upgrade takes from the clear.
        before = len(self.server(pair).logins("pop3"))
        client = self.poplib(pair)
        client.apop("box", PASSWORD)
        self.assert_login(pair, before + 1, "method=APOP,")

    @in_pairs(UPGRADE)
    def test_all_commands_may_come_at_once_before_the_greeting(self, pair):
        client = self.enterContext(self.directions.connect(pair, Raw))
        client.send(b"CAPA\r\nUSER box\r\nPASS c4nary-w0rd\r\nRETR 1\r\nQUIT\r\n")
        replies, _ = client.rest()
        self.assertNotIn(b"STLS", replies.partition(b"\r\n.\r\n")[0])
        self.assertIn(b"\r\n...\r\n", replies)
        self.assertTrue(replies.endswith(b".\r\n+OK Logging out.\r\n"), replies)

    @in_pairs()
    def test_curl(self, pair):
        scheme = "pop3s" if pair[0] == "implicit" else "pop3"
        with peers.scratch() as (outside, inside):
            shutil.copy(pki().ca, outside / "ca.pem")
            result = peers.run(
                "/usr/bin/curl", "--silent", "--show-error", "--user", f"box:{PASSWORD}",
                "--cacert", inside / "ca.pem", *(["--ssl-reqd"] if pair[0] == "starttls" else []),
                f"{scheme}://mail.test:{self.directions.ports[pair]}/3")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, MESSAGES[2])

    @in_pairs(TO_TLS)
    def test_openssl_and_gnutls(self, pair):
        for program in ("openssl", "gnutls-cli"):
            heard = peers.tls_client(program, self.directions.ports[pair],
                                     b"USER box\r\nPASS c4nary-w0rd\r\nSTAT\r\nQUIT\r\n",
                                     starttls="pop3" if pair[0] == "starttls" else None)
            self.assertRegex(heard, rb"\+OK Logged in\.\r\n\+OK 3 \d+\r\n\+OK Logging out\.\r\n")

    @in_pairs((TERMINATE[0], BRIDGE[0]))
    def test_before_tls_no_login_is_offered_and_nothing_reaches_the_server(self, pair):
        client = self.enterContext(self.directions.connect(pair, Raw))
        self.assertTrue(client.line().startswith(b"+OK "))
        offered = client.ask_list(b"CAPA").splitlines()
        self.assertIn(b"STLS", offered)
        self.assertNotIn(b"USER", offered)
        self.assertFalse([line for line in offered if line.startswith(b"SASL")])
        for command in (b"USER early", b"PASS c4nary-w0rd", b"AUTH PLAIN AGVhcmx5AGM0bmFyeS13MHJk"):
            self.assertTrue(client.ask(command).startswith(b"-ERR"))
        client.ask(b"STLS")
        client.start_tls(tls_client(), "mail.test")
        client.log_in()
        client.ask(b"QUIT")
        self.assertNotIn("early", self.server(pair).log())

    def test_stls_of_a_server_on_its_own_address_is_not_passed_on(self):
        port = self.secured.ports["pop3"]
        with Raw(port) as client:
            client.line()
            offered = client.ask_list(b"CAPA").splitlines()
        self.assertIn(b"STLS", offered)
        self.assertIn(b"USER", offered)
        with Directions("pop3", {"none": f"{OWN}:{port}"}, TERMINATE) as directions:
            for pair in TERMINATE:
                with self.subTest(pair):
                    client = self.poplib(pair, directions)
                    self.assertNotIn("STLS", client.capa())
                    client.user("box")
                    client.pass_(PASSWORD)
                    client.quit()

    def test_dovecots_own_refusal_of_clear_logins_passes(self):
        server = f"{STRANGE}:{self.secured.ports['pop3']}"
        with Directions("pop3", {"none": server}, TERMINATE) as directions:
            for pair in TERMINATE:
                with self.subTest(pair):
                    client = self.poplib(pair, directions)
                    # Both wordings, of Dovecot 2.3 and of 2.4.
                    with self.assertRaisesRegex(poplib.error_proto,
                                                "(Plaintext|Cleartext) authentication disallowed"):
                        client.user("box")
                    client.quit()


if __name__ == "__main__":
    main.main()

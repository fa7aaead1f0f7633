"""Submission to a real Dovecot in all directions: logins by every mechanism, and none in the log."""

import base64
import smtplib
import unittest

from support import main, peers, wait
from support.client import free_port
from support.daemon import Daemon, configuration
from support.directions import IN_SHORT, Directions, in_pairs, tls_client
from support.dovecot import PASSWORD, STRANGE, Dovecot
from support.scram import Scram

HEADERS = b"From: a@legacy.test\r\nTo: box@mail.test\r\nSubject: octets\r\n"


class Submission(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.relay = cls.enterClassContext(peers.Postfix("none"))
        cls.secured = cls.enterClassContext(Dovecot("required", relay_port=cls.relay.port))
        cls.clear = cls.enterClassContext(
            Dovecot("no", plaintext=True, relay_port=cls.relay.port))
        cls.directions = cls.enterClassContext(Directions("smtp", {
            "none": f"{STRANGE}:{cls.clear.ports['submission']}",
            "starttls": f"{STRANGE}:{cls.secured.ports['submission']}",
            "implicit": f"{STRANGE}:{cls.secured.implicit['submission']}",
        }))

    def client(self, pair):
        """Returns an smtplib client, after its TLS and EHLO."""
        port = self.directions.ports[pair]
        if pair[0] == "implicit":
            client = smtplib.SMTP_SSL("127.0.0.1", port, "legacy.test", timeout=wait.DEADLINE,
                                      context=tls_client())
        else:
            client = smtplib.SMTP("127.0.0.1", port, "legacy.test", timeout=wait.DEADLINE)
        self.addCleanup(client.close)
        if pair[0] == "starttls":
            client.ehlo()
            self.assertFalse(client.has_extn("auth"))  # no password before TLS
            client.starttls(context=tls_client())
        client.ehlo()
        return client

    def send(self, pair, client, word):
        address = client.sock.getsockname()
        self.assertEqual(client.sendmail("a@legacy.test", ["box@mail.test"],
                                         HEADERS + b"\r\n" + word + b"\r\n"), {})
        client.quit()
        self.assertTrue(self.relay.new_mail()[0].endswith(b"\n\n" + word + b"\n"))
        self.directions.assert_legs(pair, address)

    @in_pairs()
    def test_plain_and_login(self, pair):
        for mechanism in ("plain", "login"):
            client = self.client(pair)
            client.user, client.password = "box", PASSWORD
            answer = client.auth(mechanism, getattr(client, f"auth_{mechanism}"))
            self.assertEqual(answer[0], 235)
            self.send(pair, client, mechanism.encode())

    @in_pairs()
    def test_scram_sha_256(self, pair):
        client = self.client(pair)
        self.assertNotIn("PLUS", client.esmtp_features["auth"])
        scram = Scram("box", PASSWORD)
        first = base64.b64encode(scram.first()).decode()
        code, challenge = client.docmd("AUTH", f"SCRAM-SHA-256 {first}")
        self.assertEqual(code, 334)
        final = base64.b64encode(scram.final(base64.b64decode(challenge))).decode()
        code, word = client.docmd(final)
        self.assertEqual(code, 334)
        scram.verify(base64.b64decode(word))
        self.assertEqual(client.docmd("")[0], 235)
        self.send(pair, client, b"scram")

    @in_pairs(IN_SHORT)
    def test_the_server_refuses_a_wrong_password(self, pair):
        client = self.client(pair)
        with self.assertRaises(smtplib.SMTPAuthenticationError) as refused:
            client.login("box", "wrong")
        self.assertEqual(refused.exception.smtp_code, 535)

    @in_pairs(IN_SHORT)
    def test_swaks_logs_in(self, pair):
        tls = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[pair[0]]
        result = peers.run("/usr/bin/swaks", "--server",
                           f"127.0.0.1:{self.directions.ports[pair]}", *tls, "--auth", "PLAIN",
                           "--auth-user", "box", "--auth-password", PASSWORD, "--helo",
                           "legacy.test", "--from", "a@legacy.test", "--to", "box@mail.test",
                           "--body", "by swaks")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn(b"by swaks", self.relay.new_mail()[0])


class Secrets(unittest.TestCase):
    def test_no_credential_is_in_the_log(self):
        password = "Tr0ub4dor-and-3"
        secrets = [password] + [base64.b64encode(text.encode()).decode().rstrip("=")
                                for text in (password, f"\0box\0{password}")]
        with Dovecot("required") as server:
            config = configuration(None, address=f"{STRANGE}:{server.ports['submission']}")
            with Daemon(config) as daemon:
                for mechanism in ("plain", "login"):
                    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=wait.DEADLINE) as client:
                        client.ehlo()
                        client.user, client.password = "box", password
                        with self.assertRaises(smtplib.SMTPAuthenticationError):
                            client.auth(mechanism, getattr(client, f"auth_{mechanism}"))
                daemon.sessions(2)
                for secret in secrets:
                    self.assertNotIn(secret, daemon.text())


class Refused(unittest.TestCase):
    def assert_refused(self, config, outcome, words):
        with Daemon(config) as daemon:
            with self.assertRaises(smtplib.SMTPConnectError) as refused:
                smtplib.SMTP("127.0.0.1", daemon.port, timeout=wait.DEADLINE)
            self.assertEqual(refused.exception.smtp_code, 421)
            self.assertRegex(refused.exception.smtp_error, words)
            self.assertEqual(daemon.session()["outcome"], outcome)

    def test_smtplib_shows_the_reason(self):
        with Dovecot("required") as server:
            self.assert_refused(configuration(None, address=f"{STRANGE}:{server.ports['submission']}",
                                              upstream={"server_name": "other.test"}),
                                "certificate", rb"^4\.7\.5 .*name mismatch: wanted other\.test, got ")
        self.assert_refused(configuration(free_port()), "unreachable", rb"^4\.4\.1 ")


if __name__ == "__main__":
    main.main()

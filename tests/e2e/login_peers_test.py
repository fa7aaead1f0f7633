"""The real servers that the proxy logs in to, without the proxy: that they take what they should, and
refuse what they should. Otherwise the other tests of logins would prove nothing."""

import base64
import unittest

from support import inn, main, npm_peers, oauth, sasl
from support.dovecot import PASSWORD
from support.environment import pki
from support.fake_server import FakeServer
from support.login_client import WAYS
from support.login_server import LoginServer
from support.logins import secured

class Dovecot(unittest.TestCase):
    ports = {"smtp": "submission", "imap": "imap", "pop3": "pop3", "sieve": "sieve"}

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(oauth.Dovecot())

    def client(self, protocol):
        return self.enterContext(secured(protocol, self.server.ports[self.ports[protocol]]))

    def try_token(self, protocol, mechanism, token):
        port = self.server.ports[self.ports[protocol]]
        client = self.client(protocol)
        reply = client.authenticate(mechanism,
                                    sasl.answers(mechanism, "box", token, "mail.test", port))
        # The server's error in JSON. Dovecot 2.4 refuses a token of another user without it.
        explained = client.is_challenge(reply)
        if explained:
            reply = client.ask(client.message(sasl.END[mechanism]))
        succeeded = client.succeeded(reply)
        self.assertFalse(explained and succeeded, reply)
        return succeeded

    def test_all_mechanisms_are_listed(self):
        for protocol in self.ports:
            listed = self.client(protocol).listed
            for mechanism in oauth.MECHANISMS.upper().split():
                self.assertIn(mechanism.encode(), listed, protocol)

    def test_each_way_of_a_password(self):
        for protocol in self.ports:
            for way in WAYS[protocol]:
                with self.subTest(protocol=protocol, way=way):
                    client = self.client(protocol)
                    reply = client.log_in(way, "box", PASSWORD)
                    self.assertTrue(client.succeeded(reply), reply)

    def test_a_token(self):
        for protocol in self.ports:
            for mechanism in sasl.END:
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    self.assertTrue(self.try_token(protocol, mechanism, oauth.token()))

    def test_a_bad_token(self):
        tokens = {
            "expired": oauth.token(seconds=-5),
            "of somebody's key": oauth.token(key=b"another key"),
            "for another audience": oauth.token(audience="other"),
            "of another scope": oauth.token(scope="calendar"),
            "of another user": oauth.token("other"),
            "none at all": "ya29.none",
        }
        for name, token in tokens.items():
            with self.subTest(name):
                self.assertFalse(self.try_token("imap", "XOAUTH2", token))
        for protocol in self.ports:
            with self.subTest(protocol):
                self.assertFalse(self.try_token(protocol, "OAUTHBEARER", tokens["expired"]))


class OtherServers(unittest.TestCase):
    def test_postfix_with_dovecots_sasl(self):
        with oauth.postfix_with_sasl() as postfix:
            client = self.enterContext(secured("smtp", postfix.port))
            for line in (b"MAIL FROM:<a@b.test>", b"RCPT TO:<box@mail.test>"):
                reply = client.command(line)
            self.assertTrue(reply.startswith(b"554 "), reply)
            for mechanism, secret in (("PLAIN", PASSWORD), ("LOGIN", PASSWORD),
                                      ("XOAUTH2", oauth.token()), ("OAUTHBEARER", oauth.token())):
                with self.subTest(mechanism):
                    client = self.enterContext(secured("smtp", postfix.port))
                    self.assertRegex(client.listed, rb"250.AUTH [A-Z0-9 -]*%s"
                                     % mechanism.encode())
                    reply = client.authenticate(mechanism, sasl.answers(mechanism, "box", secret))
                    self.assertTrue(client.succeeded(reply), reply)
                    client.command(b"MAIL FROM:<a@b.test>")
                    reply = client.command(b"RCPT TO:<box@mail.test>")
                    self.assertTrue(reply.startswith(b"250 "), reply)

    def test_inn(self):
        with inn.Inn() as server:
            client = self.enterContext(secured("nntp", server.port))
            self.assertRegex(client.listed, rb"\nAUTHINFO [A-Z ]*USER")
            self.assertTrue(client.ask(b"GROUP " + inn.GROUP.encode()).startswith(b"480 "))
            self.assertTrue(client.succeeded(client.log_in("USER", inn.USER, inn.PASSWORD)))
            self.assertTrue(client.ask(b"GROUP " + inn.GROUP.encode()).startswith(b"211 "))

    def test_smtp_server_of_npm(self):
        token = oauth.token()
        with npm_peers.SmtpServer(("PLAIN", "LOGIN", "XOAUTH2"), tokens=(token,)) as server:
            for mechanism, secret in (("PLAIN", PASSWORD), ("LOGIN", PASSWORD), ("XOAUTH2", token)):
                with self.subTest(mechanism):
                    client = self.enterContext(secured("smtp", server.port))
                    self.assertIn(mechanism.encode(), client.listed)
                    reply = client.authenticate(mechanism, sasl.answers(mechanism, "box", secret))
                    self.assertTrue(client.succeeded(reply), reply)
            client = self.enterContext(secured("smtp", server.port))
            reply = client.authenticate("XOAUTH2", sasl.answers("XOAUTH2", "box", "bad"))
            self.assertTrue(reply.startswith(b"334 "), reply)
            self.assertTrue(client.command(b"").startswith(b"535 "))
            self.assertEqual([(each["method"], each["accepted"]) for each in server.events("login", 4)],
                             [("PLAIN", True), ("LOGIN", True), ("XOAUTH2", True), ("XOAUTH2", False)])


class Scripted(unittest.TestCase):
    """The scripted server hears a client as it spoke."""

    def test_each_way_of_each_protocol(self):
        for protocol, ways in WAYS.items():
            script = LoginServer(protocol)
            with FakeServer(script) as server:
                for way in ways:
                    with self.subTest(protocol=protocol, way=way):
                        client = self.enterContext(secured(protocol, server.port))
                        reply = client.log_in(way, "a user", "a \\ \"word\"")
                        if way == "atoms":  # that is no user and no password
                            continue
                        self.assertTrue(client.succeeded(reply), reply)
                        client.send(b"\0 echo \xff\r\n")
                        self.assertEqual(client.exactly(10), b"\0 echo \xff\r\n")
                        attempt = script.attempts[-1]
                        self.assertEqual(sasl.parsed(attempt), (b"a user", b"a \\ \"word\""))
                        self.assertEqual(attempt.inline, "=" in way)

    def test_tokens_and_refusals(self):
        for protocol in WAYS:
            script = LoginServer(protocol, echo=False,
                                 decide=lambda _, number: ("json", "no", "ok")[(number - 1) % 3])
            with FakeServer(script) as server:
                for mechanism in sasl.END:
                    with self.subTest(protocol=protocol, mechanism=mechanism):
                        client = self.enterContext(secured(protocol, server.port))
                        messages = sasl.answers(mechanism, "u,=", "token", "mail.test", 25)
                        for outcome in ("json", "no", "ok"):
                            reply = client.authenticate(mechanism, messages)
                            self.assertEqual(client.is_challenge(reply), outcome == "json", reply)
                            if outcome == "json":
                                reply = client.ask(client.message(sasl.END[mechanism]))
                                self.assertEqual(script.attempts[-1].end, sasl.END[mechanism])
                            self.assertEqual(client.succeeded(reply), outcome == "ok", reply)
                            self.assertEqual(script.attempts[-1].messages, messages)


class Clients(unittest.TestCase):
    message = base64.b64encode(b"Subject: octets\r\n\r\n..\r\n8-bit \xc3\xa9\r\n").decode()

    def test_nodemailer(self):
        token = oauth.token()
        with npm_peers.SmtpServer(("PLAIN", "LOGIN", "XOAUTH2"), tokens=(token,)) as server:
            for auth in ({"user": "box", "pass": PASSWORD},
                         {"type": "OAuth2", "user": "box", "accessToken": token}):
                result = npm_peers.run("send", port=server.port, auth=auth, message=self.message,
                                       ca=pki().ca)
                self.assertTrue(result["sent"], result)
            self.assertEqual(server.events("mail", 2)[0]["data"], self.message)
            result = npm_peers.run("send", port=server.port, message=self.message, ca=pki().ca,
                                   auth={"user": "box", "pass": "wrong"})
            self.assertEqual((result["sent"], result["code"]), (False, 535))

    def test_imapflow(self):
        with oauth.Dovecot("yes", plaintext=True) as server:
            auth = {"user": "box", "pass": PASSWORD}
            result = npm_peers.run("fetch-mail", port=server.ports["imap"], auth=auth,
                                   message=self.message)
            self.assertEqual(result, {"data": self.message})
            result = npm_peers.run("fetch-mail", port=server.ports["imap"], message=self.message,
                                   auth={"user": "box", "pass": "wrong"})
            self.assertTrue(result["failed"], result)


if __name__ == "__main__":
    main.main()

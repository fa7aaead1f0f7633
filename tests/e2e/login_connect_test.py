"""The proxy logs in before the client is greeted: for clients that cannot log in at all."""

import threading

from support import main, sasl
from support.client import FIN
from support.daemon import Daemon, configuration
from support.fake_server import FakeServer
from support.login_case import TOKEN, LoginCase, at, leave
from support.login_client import KINDS
from support.login_server import LoginServer
from support.logins import SECRET, TOKENS, USER, login, secret_file, write

MESSAGE = b"Subject: octets\r\n\r\n..dot\r\n8-bit \xe9\xff\r\nAUTH PLAIN\r\nlast\r\n"
SWITCHED_OFF = (b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
                b"Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.\r\n")


class ConnectCase(LoginCase):
    protocols = ("smtp", "lmtp")

    @classmethod
    def services(cls, protocol):
        kinds = {mechanism: {"login": login(mechanism, cls.token if mechanism in TOKENS else None,
                                            when="connect")}
                 for mechanism in ("auto", "plain", "login", *TOKENS)}
        kinds["token"] = {"login": login("auto", cls.token, when="connect")}
        return kinds

    def setUp(self):
        super().setUp()
        for script in self.scripts.values():
            script.reset(echo=False)

    def greeting(self, service):
        """Returns a client and the words that it hears first."""
        client = self.connect(service)
        return client, client.greeted()

    def hello(self, client):
        return client.command((b"LHLO" if client.protocol == "lmtp" else b"EHLO") + b" scanner.test")

    def deliver(self, client):
        """Sends a message as a client that knows no login. Returns the list that it got."""
        replies = [self.hello(client), *map(client.command, (
            b"MAIL FROM:<a@client.test>", b"RCPT TO:<box@mail.test>", b"DATA"))]
        client.send(MESSAGE)
        replies += [client.command(b"."), client.command(b"QUIT")]
        self.assertEqual([reply[:3] for reply in replies], [b"250", b"250", b"250", b"354", b"250", b"221"])
        return replies[0]


class Connect(ConnectCase):
    def test_a_client_without_a_login_sends_mail(self):
        for protocol in self.protocols:
            for mechanism, used in (("auto", "plain"), ("plain", "plain"), ("login", "login"),
                                    ("xoauth2", "xoauth2"), ("oauthbearer", "oauthbearer"),
                                    ("token", "oauthbearer")):
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    self.scripts[protocol].reset(echo=False)
                    client, greeting = self.greeting(f"{protocol}-{mechanism}")
                    self.assertRegex(greeting, rb"\A220 ")
                    self.assertNotIn(b"AUTH", self.deliver(client))
                    [attempt] = self.scripts[protocol].attempts
                    port = self.servers[protocol].port
                    self.assertEqual(attempt.messages, sasl.answers(
                        used.upper(), USER, TOKEN if used in TOKENS else SECRET, "mail.test", port))
                    line = self.session(client)
                    self.assertEqual((line["outcome"], line["login"], line["login_mechanism"]),
                                     ("ok", f"->{USER}", used))
                    connection = self.servers[protocol].connections[-1]
                    self.assertEqual(connection.messages, [MESSAGE])
                    verb = b"LHLO" if protocol == "lmtp" else b"EHLO"
                    self.assertRegex(bytes(connection.secure), rb"(?s)\A%b proxy\.test\r\nAUTH .*\r\n"
                                     rb"%b scanner\.test\r\nMAIL " % (verb, verb))

    def test_a_client_that_logs_in_nevertheless_is_refused(self):
        for protocol in self.protocols:
            for way in ("PLAIN", "PLAIN=", "LOGIN"):
                client, _ = self.greeting(f"{protocol}-plain")
                self.hello(client)
                self.assertRegex(client.log_in(way, USER, "own"), rb"503 5\.5\.1 ")
                self.deliver(client)
            [_, *more] = self.scripts[protocol].attempts
            self.assertEqual(len(more), 2)

    def test_a_client_that_knows_only_helo(self):
        client, _ = self.greeting("smtp-plain")
        self.assertRegex(client.command(b"HELO old"), rb"250 ")
        self.assertRegex(client.command(b"MAIL FROM:<a@client.test>"), rb"250 ")

    def test_the_client_is_greeted_after_the_login(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                asked, allowed = threading.Event(), threading.Event()

                def wait(_, asked=asked, allowed=allowed):
                    asked.set()
                    allowed.wait(30)
                    return b""

                self.scripts[protocol].reset(echo=False, said=at("result", wait))
                client = self.connect(f"{protocol}-plain")
                self.assertTrue(asked.wait(30))
                client.sock.setblocking(False)
                with self.assertRaises(BlockingIOError):
                    client.sock.recv(1)
                client.sock.settimeout(30)
                allowed.set()
                self.assertRegex(client.greeted(), rb"\A220 ")

    def test_lp20_the_list_is_the_one_of_after_the_login(self):
        class Changing(LoginServer):
            def _list(self, connection):
                text = super()._list(connection)
                return text.replace(b"8BITMIME", b"SMTPUTF8") if self.attempts else text

        with FakeServer(Changing("smtp", echo=False)) as server:
            with Daemon(configuration(server.port, login=login(when="connect"))) as daemon:
                with KINDS["smtp"](daemon.port) as client:
                    client.greeted()
                    listed = self.deliver(client)
        self.assertIn(b"SMTPUTF8", listed)
        self.assertNotIn(b"8BITMIME", listed)

    def test_lp21_a_refusal_of_the_mail_is_the_servers(self):
        refusal = b"530 5.7.57 Client not authenticated to send mail.\r\n"

        class Strict(LoginServer):
            def _command(self, connection, line):
                if line.startswith(b"MAIL"):
                    connection.send(refusal)
                    return False
                return super()._command(connection, line)

        with FakeServer(Strict("smtp", echo=False)) as server:
            with Daemon(configuration(server.port, login=login(when="connect"))) as daemon:
                with KINDS["smtp"](daemon.port) as client:
                    client.greeted()
                    self.hello(client)
                    self.assertEqual(client.command(b"MAIL FROM:<a@client.test>"), refusal)


class Failures(ConnectCase):
    def assert_refused(self, service, words, reason, outcome="login"):
        """Asserts that the client hears one line and no more."""
        client, greeting = self.greeting(service)
        self.assertRegex(greeting, rb"\A" + words)
        self.assertEqual(client.rest(), (b"", FIN))
        line = self.session(client)
        self.assertEqual(line["outcome"], outcome)
        self.assertRegex(line["reason"], reason)
        return greeting

    def test_a_refusal(self):
        for protocol in self.protocols:
            for mechanism in ("plain", "login", *TOKENS):
                for refusal in ("no", "json") if mechanism in TOKENS else ("no",):
                    with self.subTest(protocol=protocol, mechanism=mechanism, refusal=refusal):
                        self.scripts[protocol].reset(decide=lambda *_, word=refusal: word)
                        self.assert_refused(f"{protocol}-{mechanism}", rb"421 4\.7\.0 ", reason="535")
                        self.assertEqual(len(self.scripts[protocol].attempts), 1)

    def test_the_switch_of_microsoft_is_explained(self):
        self.scripts["smtp"].reset(decide=lambda *_: SWITCHED_OFF)
        said = self.assert_refused("smtp-xoauth2", rb"421 4\.7\.0 ", reason=r"5\.7\.139.*(?i:smtp auth)")
        self.assertIn(b"5.7.139", said)

    def test_no_mechanism_fits(self):
        for listed in ([], [b"AUTH CRAM-MD5 GSSAPI"]):
            for service in ("auto", "token", "plain"):
                with self.subTest(listed=listed, service=service):
                    self.scripts["smtp"].reset(listed=listed)
                    self.assert_refused(f"smtp-{service}", rb"421 4\.7\.0 ",
                                        reason="CRAM-MD5,? GSSAPI" if listed else "lists no mechanism")
                    self.assertEqual(self.scripts["smtp"].attempts, [])

    def test_no_secret(self):
        write(self.token, "\n")
        self.assert_refused("smtp-xoauth2", rb"421 4\.7\.0 ", reason="the first line .* is empty")
        self.token.unlink()
        self.assert_refused("smtp-xoauth2", rb"421 4\.7\.0 ", reason="the file .* cannot be read")
        self.assertEqual(self.scripts["smtp"].attempts, [])

    def test_lp25_a_server_that_has_too_many(self):
        busy = b"421 4.7.0 Too many login attempts, please try again later.\r\n"
        for step in ("command", "result"):
            self.scripts["smtp"].reset(said=at(step, (busy,)))
            said = self.assert_refused("smtp-login", rb"421 4\.7\.0 ", reason="ended the login: 421")
            self.assertNotIn(SECRET.encode(), said)

    def test_a_server_that_leaves(self):
        for step in ("command", "password", "result"):
            with self.subTest(step=step):
                self.scripts["smtp"].reset(said=at(step, leave))
                client, greeting = self.greeting("smtp-login")
                self.assertRegex(greeting, rb"\A421 4\.7\.0 ")
                self.assertEqual(client.rest()[1], FIN)
                self.assertEqual(self.session(client)["outcome"], "login")

    def test_lp18_a_fresh_token_is_tried_once(self):
        for refusal in ("json", "no"):
            for second in ("ok", refusal):
                with self.subTest(refusal=refusal, second=second):
                    def decide(_, number, words=(refusal, second)):
                        write(self.token, f"new-token-{number}")
                        return words[number - 1]

                    write(self.token, "old-token")
                    self.scripts["smtp"].reset(echo=False, decide=decide)
                    if second == "ok":
                        client, greeting = self.greeting("smtp-xoauth2")
                        self.assertRegex(greeting, rb"\A220 ")
                        self.deliver(client)
                    else:
                        self.assert_refused("smtp-xoauth2", rb"421 4\.7\.0 ", reason="535")
                    self.assertEqual([sasl.parsed(each)[1] for each in self.scripts["smtp"].attempts],
                                     [b"old-token", b"new-token-1"])

    def test_lp18_a_server_that_hangs_up_after_its_refusal_is_asked_once_more(self):
        for second in ("ok", "no"):
            with self.subTest(second):
                script = self.scripts["smtp"]

                def said(step, script=script, second=second):
                    if step != "result" or (second == "ok" and len(script.attempts) == 2):
                        return b""
                    write(self.token, f"new-token-{len(script.attempts)}")
                    return (b"535 5.7.8 not you\r\n",)

                write(self.token, "old-token")
                script.reset(echo=False, said=said)
                if second == "ok":
                    client, greeting = self.greeting("smtp-xoauth2")
                    self.assertRegex(greeting, rb"\A220 ")
                    self.deliver(client)
                else:
                    self.assert_refused("smtp-xoauth2", rb"421 4\.7\.0 ", reason="535")
                self.assertEqual([sasl.parsed(each)[1] for each in script.attempts],
                                 [b"old-token", b"new-token-1"])

    def test_a_server_that_leaves_is_not_followed_by_the_next_address(self):
        bad, good = LoginServer("smtp", said=at("result", leave)), LoginServer("smtp", echo=False)
        with FakeServer(bad) as first, FakeServer(good) as second:
            addresses = [f"127.0.0.1:{server.port}" for server in (first, second)]
            with Daemon(configuration(None, address=addresses, login=login(when="connect"))) as daemon:
                with KINDS["smtp"](daemon.port) as client:
                    self.assertRegex(client.greeted(), rb"\A421 4\.7\.0 ")
                session = daemon.session()
                self.assertEqual(session["outcome"], "login")
                self.assertRegex(session["login"], r"\A->.")
            self.assertEqual(second.connections, [])

    def test_a_failed_login_does_not_try_the_next_address(self):
        bad, good = LoginServer("smtp", decide=lambda *_: "no"), LoginServer("smtp", echo=False)
        with FakeServer(bad) as first, FakeServer(good) as second:
            addresses = [f"127.0.0.1:{server.port}" for server in (first, second)]
            with Daemon(configuration(None, address=addresses, login=login(when="connect"))) as daemon:
                with KINDS["smtp"](daemon.port) as client:
                    self.assertRegex(client.greeted(), rb"\A421 4\.7\.0 ")
                self.assertEqual(daemon.session()["outcome"], "login")
            self.assertEqual(second.connections, [])


class Silence(ConnectCase):
    tables = {"timeouts": {"prelude": "3s"}}

    def test_a_server_that_is_silent(self):
        for step in ("command", "result"):
            with self.subTest(step=step):
                self.scripts["smtp"].reset(said=at(step, None))
                client, greeting = self.greeting("smtp-login")
                self.assertRegex(greeting, rb"\A421 4\.4\.1 ")
                self.assertEqual(self.session(client)["outcome"], "timeout")


class Warm(ConnectCase):
    def test_lp25_warm_connections_are_logged_in(self):
        script = LoginServer("smtp", echo=False)
        with secret_file(TOKEN) as path, FakeServer(script) as server:
            config = configuration(server.port, upstream={"warm": 2}, proxy={"workers": 1},
                                   login=login("xoauth2", path, when="connect"))
            with Daemon(config) as daemon:
                def ready(line):
                    return line.get("msg") == "warm connection ready"

                daemon.lines(ready, 2)
                self.assertEqual([sasl.parsed(each)[1] for each in script.attempts], [TOKEN.encode()] * 2)
                with KINDS["smtp"](daemon.port) as client:
                    self.assertRegex(client.greeted(), rb"\A220 ")
                    self.deliver(client)
                daemon.lines(lambda line: line.get("msg") == "warm connection used")
                daemon.lines(ready, 3)  # the one that takes its place
                line = daemon.session()
                self.assertEqual((line["outcome"], line["login"], line["login_mechanism"]),
                                 ("ok", f"->{USER}", "xoauth2"))
            for connection in server.connections:  # the rest are ended with goodbye
                self.assertTrue(connection.ended.wait(30))
                self.assertIn(b"QUIT\r\n", bytes(connection.secure))

    def test_a_warm_connection_whose_login_fails_is_no_connection(self):
        script = LoginServer("smtp", echo=False, decide=lambda *_: "no")
        with FakeServer(script) as server:
            config = configuration(server.port, upstream={"warm": 1}, login=login(when="connect"))
            with Daemon(config) as daemon, KINDS["smtp"](daemon.port) as client:
                self.assertRegex(client.greeted(), rb"\A421 4\.7\.0 ")
                self.assertEqual([line for line in daemon.lines(lambda line: True)
                                  if line.get("msg") == "warm connection ready"], [])


if __name__ == "__main__":
    main.main()

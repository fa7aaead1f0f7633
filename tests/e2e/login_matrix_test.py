"""Logins to real servers: each protocol, each way in which a client logs in, each mechanism upstream, and
mail byte by byte through each."""

import unittest

from support import inn, main, oauth, peers
from support.dovecot import STRANGE
from support.gateway import Gateway
from support.login_client import KINDS, WAYS
from support.logins import (ACCOUNTS, NAME, PASSWORD, SECRET, TOKENS, begin, login, secret_file,
                            secured)

HEADERS = b"From: a@legacy.test\r\nTo: box@mail.test\r\nSubject: octets\r\n"
MESSAGE = HEADERS + b"\r\n" + (b"\xe9\xff\xfe\x80 \xc3\xa9\r\n..\r\nl OK\r\n235 no\r\nAUTH PLAIN\r\n{5}\r\n"
                             + b"".join(b"%07d \xe9%s\r\n" % (n, b"x" * (n % 90)) for n in range(2000)))
SCRIPT = b'require "fileinto";\r\n# \xc3\xa9 OK "done"\r\n' + b"# a line of a script\r\n" * 2000

DOVECOT_NAMES = {"smtp": "submission", "imap": "imap", "pop3": "pop3", "sieve": "sieve"}
MECHANISMS = ("plain", "login", *TOKENS)
MODES = ("starttls", "implicit", "opportunistic")
# POP3 has a mailbox to itself, with one message.
USERS = dict.fromkeys(DOVECOT_NAMES, "box") | {"pop3": "other"}


def fetched(client, command):
    """Returns a literal that the answer to the command has."""
    client.send(command + b"\r\n")
    line = client.line()
    while not line.endswith(b"}\r\n"):
        if line[:3] in (b"NO ", b"f N", b"f B"):
            raise AssertionError(line)
        line = client.line()
    data = client.exactly(int(line[line.rindex(b"{") + 1:-3]))
    while not client.line().startswith((b"f OK", b"OK")):
        pass
    return data


class Dovecot(unittest.TestCase):
    """One daemon with a service for each protocol and mechanism."""

    @classmethod
    def setUpClass(cls):
        cls.relay = cls.enterClassContext(peers.Postfix("none"))
        cls.server = cls.enterClassContext(oauth.Dovecot(relay_port=cls.relay.port))
        services = {}
        for protocol, name in DOVECOT_NAMES.items():
            user = USERS[protocol]
            token = cls.enterClassContext(secret_file(oauth.token(user, size=4500)))
            common = {"protocol": protocol, "accounts": ACCOUNTS,
                      "upstream.address": f"{STRANGE}:{cls.server.ports[name]}"}
            for mechanism in ("auto", *MECHANISMS):
                path = token if mechanism in TOKENS else None
                services[f"{protocol}-{mechanism}"] = {
                    **common, "login": login(mechanism, path, user=user)}
            for mode in MODES:
                services[f"{protocol}-{mode}"] = {
                    **common, "downstream.tls": mode, "login": login("auto", token, user=user)}
            for mechanism in ("auto", "plain", "login"):
                services[f"{protocol}-passed-{mechanism}"] = {
                    **common, "accounts": [], "login": {"when": "client", "mechanism": mechanism}}
        cls.gateway = cls.enterClassContext(Gateway(services))

    def client(self, service, tls="none"):
        """Returns a client that may log in."""
        kind = KINDS[service.partition("-")[0]]
        return begin(self.enterContext(self.gateway.connect(service, kind)), tls)

    def log_in(self, service, way, name=NAME, password=PASSWORD, tls="none"):
        client = self.client(service, tls)
        reply = client.log_in(way, name, password)
        self.assertTrue(client.succeeded(reply), reply)
        return client

    def assert_logged(self, client, mechanism, name=NAME):
        """Asserts how the proxy reports the session."""
        client.close()
        line = self.gateway.session(client)
        self.assertEqual(line["login"], f"{name}->{USERS[client.protocol]}")
        self.assertEqual(line["login_mechanism"], mechanism)
        self.assertEqual(line["outcome"], "ok", line)

    def each(self, protocol, exchange):
        """Runs `exchange(client, number)` after each way in, with each mechanism upstream."""
        number = 0
        for mechanism in MECHANISMS:
            before = len(self.server.logins(DOVECOT_NAMES[protocol]))
            for count, way in enumerate(WAYS[protocol], 1):
                with self.subTest(way=way, mechanism=mechanism):
                    number += 1
                    client = self.log_in(f"{protocol}-{mechanism}", way)
                    exchange(client, number)
                    self.assert_logged(client, mechanism)
                    self.server.await_logins(DOVECOT_NAMES[protocol], before, count,
                                             f"user=<{USERS[protocol]}>", f"method={mechanism.upper()},")

    def test_smtp(self):
        def send(client, number):
            body = b"number %d\r\n" % number + MESSAGE[len(HEADERS) + 2:]
            for command in (b"MAIL FROM:<a@legacy.test>", b"RCPT TO:<box@mail.test>"):
                self.assertRegex(client.command(command), rb"250 ")
            client.command(b"DATA")
            client.send(HEADERS + b"\r\n" + body)
            self.assertRegex(client.command(b"."), rb"250 ")
            self.assertRegex(client.command(b"QUIT"), rb"221 ")
            stored = self.relay.new_mail()[0].partition(b"\n\n")[2]
            self.assertEqual(stored, body.replace(b"\r\n..", b"\r\n.").replace(b"\r\n", b"\n"))

        self.each("smtp", send)

    def test_imap(self):
        def append_and_fetch(client, number):
            message = HEADERS + b"Message-Id: <%d@client.test>\r\n" % number + MESSAGE[len(HEADERS):]
            client.send(b"a APPEND INBOX {%d+}\r\n%s\r\n" % (len(message), message))
            line = client.line()
            while not line.startswith(b"a "):
                line = client.line()
            uid = line.split()[4].rstrip(b"]")
            client.ask(b"s SELECT INBOX")
            self.assertEqual(fetched(client, b"f UID FETCH %s BODY.PEEK[]" % uid), message)
            client.ask(b"o LOGOUT")

        self.each("imap", append_and_fetch)

    def test_pop3(self):
        with secured("imap", self.server.ports["imap"]) as direct:
            direct.log_in("quoted", USERS["pop3"], SECRET)
            direct.ask(b"l APPEND INBOX {%d+}\r\n%s" % (len(MESSAGE), MESSAGE))

        def retrieve(client, _):
            self.assertRegex(client.ask(b"STAT"), rb"\+OK 1 ")
            self.assertRegex(client.ask(b"RETR 1"), rb"\+OK")
            data = client.end_of_list()
            self.assertEqual(data, MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            client.ask(b"QUIT")

        self.each("pop3", retrieve)

    def test_sieve(self):
        def store(client, number):
            script = b"# number %d\r\n" % number + SCRIPT
            self.assertRegex(client.ask(b'PUTSCRIPT "new" {%d+}\r\n' % len(script) + script), rb"OK")
            self.assertEqual(fetched(client, b'GETSCRIPT "new"'), script)
            client.ask(b"LOGOUT")

        self.each("sieve", store)

    def test_auto_takes_plain_for_a_password_and_oauthbearer_for_a_token(self):
        for protocol in DOVECOT_NAMES:
            for service, tls, mechanism in ((f"{protocol}-auto", "none", "plain"),
                                            *((f"{protocol}-{mode}", mode, "oauthbearer") for mode in MODES)):
                with self.subTest(service):
                    client = self.log_in(service, "LOGIN", tls=tls)
                    self.assert_logged(client, mechanism)

    def test_the_clients_own_password_is_passed_on_by_another_mechanism(self):
        for protocol in DOVECOT_NAMES:
            for mechanism, used in (("auto", "plain"), ("plain", "plain"), ("login", "login")):
                for way in WAYS[protocol]:
                    with self.subTest(protocol=protocol, mechanism=mechanism, way=way):
                        client = self.log_in(f"{protocol}-passed-{mechanism}", way, USERS[protocol], SECRET)
                        self.assert_logged(client, used, USERS[protocol])

    def test_a_refusal_of_the_clients_own_password_is_the_servers(self):
        for protocol in DOVECOT_NAMES:
            with self.subTest(protocol):
                with secured(protocol, self.server.ports[DOVECOT_NAMES[protocol]]) as direct:
                    expected = direct.log_in("PLAIN", "box", "wrong")
                client = self.client(f"{protocol}-passed-login")
                for way in WAYS[protocol][-2:]:
                    self.assertEqual(client.log_in(way, "box", "wrong"), expected)
                self.assertTrue(client.succeeded(client.log_in("PLAIN", USERS[protocol], SECRET)))
                self.assert_logged(client, "login", USERS[protocol])


class OtherServers(unittest.TestCase):
    def test_postfix_with_dovecots_sasl(self):
        with oauth.postfix_with_sasl() as postfix, secret_file(oauth.token(size=4500)) as token:
            services = {mechanism: {
                "protocol": "smtp", "upstream.address": f"127.0.0.1:{postfix.port}", "accounts": ACCOUNTS,
                "login": login(mechanism, token if mechanism in TOKENS else None)}
                for mechanism in MECHANISMS}
            with Gateway(services) as gateway:
                for mechanism in MECHANISMS:
                    for way in WAYS["smtp"]:
                        with self.subTest(mechanism=mechanism, way=way):
                            client = self.enterContext(gateway.connect(mechanism, KINDS["smtp"]))
                            begin(client)
                            self.assertRegex(client.log_in(way, NAME, PASSWORD), rb"235 ")
                            client.command(b"MAIL FROM:<a@legacy.test>")
                            self.assertRegex(client.command(b"RCPT TO:<box@mail.test>"), rb"250 ")
                            client.command(b"DATA")
                            client.send(MESSAGE)
                            self.assertRegex(client.command(b"."), rb"250 ")
                            self.assertTrue(postfix.new_mail()[0].endswith(
                                MESSAGE.partition(b"\r\n\r\n")[2].replace(b"\r\n..", b"\r\n.")
                                .replace(b"\r\n", b"\n")))

    def test_inn_gets_its_own_login(self):
        article = (f"From: a@client.test\r\nNewsgroups: {inn.GROUP}\r\nSubject: octets\r\n"
                   "Message-ID: <%s@client.test>\r\n\r\n").encode() + MESSAGE.partition(b"\r\n\r\n")[2]
        with inn.Inn() as server:
            common = {"protocol": "nntp", "upstream.address": f"127.0.0.1:{server.port}"}
            services = {
                "own": {**common, "accounts": ACCOUNTS,
                        "login": login(user=inn.USER, secret=inn.PASSWORD)},
                "passed": {**common, "login": {"when": "client"}},
            }
            with Gateway(services) as gateway:
                for service, name, password in (("own", NAME, PASSWORD), ("passed", inn.USER, inn.PASSWORD)):
                    for way in WAYS["nntp"]:
                        with self.subTest(service=service, way=way):
                            client = self.enterContext(gateway.connect(service, KINDS["nntp"]))
                            begin(client)
                            self.assertRegex(client.log_in(way, name, password), rb"28[13] ")
                            name_of_article = f"{service}-{way.strip('=')}-{len(way)}".encode()
                            self.assertRegex(client.ask(b"POST"), rb"340 ")
                            self.assertRegex(client.ask(article % name_of_article + b"."), rb"240 ")
                            client.ask(b"GROUP " + inn.GROUP.encode())
                            client.send(b"ARTICLE <%s@client.test>\r\n" % name_of_article)
                            self.assertRegex(client.line(), rb"220 ")
                            self.assertTrue(client.end_of_list().endswith(
                                MESSAGE.partition(b"\r\n\r\n")[2] + b".\r\n"))
                            client.close()
                            line = gateway.session(client)
                            self.assertEqual((line["login"], line["login_mechanism"]),
                                             (f"{name}->{inn.USER}", "native"))


if __name__ == "__main__":
    main.main()

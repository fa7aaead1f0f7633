"""The whole chain, with real programs: a client without OAuth, the proxy, starttls-token, a provider of
another make (oauth2-mock-server), and a Dovecot that verifies the provider's tokens by its public key."""

import imaplib
import os
import poplib
import re
import shlex
import smtplib
import subprocess
import unittest
import urllib.error
import urllib.request

from support import canary, launcher, mail_programs, main, npm_peers, oauth, peers, wait
from support.daemon import Daemon
from support.dovecot import STRANGE
from support.environment import TOKEN
from support.gateway import Gateway
from support.login_client import KINDS
from support.logins import ACCOUNTS, NAME, PASSWORD, SECRET, begin, secured
from support.mail_programs import Refused
from support.recipes import configuration, recipe, replaced
from support.token import ACCOUNT, Program, TokenSocket
from support.token_endpoint import Endpoint, answer

MESSAGE = (b"Date: Sun, 29 Nov 2026 12:00:00 +0000\r\nFrom: a@client.test\r\nTo: box@mail.test\r\n"
           b"Subject: bytes\r\nMessage-Id: <1@client.test>\r\n\r\n.dot\r\n8-bit \xc3\xa9\r\nlast\r\n")
STORED = MESSAGE.replace(b"\r\n", b"\n")
SERVICES = {"smtp": "submission", "imap": "imap", "pop3": "pop3"}


class Chain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.provider = cls.enterClassContext(
            npm_peers.Provider(sub=ACCOUNT, aud=oauth.AUDIENCE, scope=oauth.SCOPE))
        cls.relay = cls.enterClassContext(peers.Postfix("none"))
        cls.server = cls.enterClassContext(
            oauth.Dovecot(provider=cls.provider, relay_port=cls.relay.port))
        with secured("imap", cls.server.ports["imap"]) as direct:
            direct.log_in("quoted", "scan", SECRET)
            direct.ask(b"l APPEND INBOX {%d+}\r\n%s" % (len(MESSAGE), MESSAGE))

    def setUp(self):
        self.provider.change(lifetime=3600)
        self.asked_before = len(self.provider.requests())
        self.program = Program(self, **self.account())

    def account(self):
        return {"token_url": f"{self.provider.url}/token", "grant": "client_credentials",
                "client_secret": "hush", "scope": "mail"}

    def asked(self):
        """Returns the requests of this test at the provider."""
        return self.provider.requests()[self.asked_before:]

    def source(self):
        """Returns the keys of a login that runs starttls-token."""
        return {"command": self.program.command("access", "{user}")}

    def service(self, protocol, mechanism="auto", when="client"):
        """Returns the keys of a service. Its time limit is one for a loaded machine."""
        return {"protocol": protocol, "upstream.address": f"{STRANGE}:{self.server.ports[SERVICES[protocol]]}",
                "login": {"when": when, "mechanism": mechanism, "user": ACCOUNT, "token": True,
                          "timeout": "50s", **self.source()},
                "accounts": ACCOUNTS if when == "client" else ()}

    def gateway(self, services=None):
        """Returns a gateway with these services. Usual: one for each protocol."""
        services = services or {protocol: self.service(protocol) for protocol in SERVICES}
        gateway = self.enterContext(Gateway(services))
        self.addCleanup(self.hide_token)
        return gateway

    def hide_token(self):
        """From now on no log may have the stored token."""
        if (self.program.store / f"{ACCOUNT}.json").exists():
            canary.add(self.program.stored()["access_token"].rpartition(".")[2])

    def assert_delivered(self):
        self.assertTrue((mail := self.relay.new_mail())[0].endswith(b"\n" + STORED), mail)
        self.assertEqual(len(mail), 1)

    def read_imap(self, port):
        """Returns the message that imaplib reads."""
        with imaplib.IMAP4("127.0.0.1", port, timeout=wait.DEADLINE) as client:
            client.login(NAME, PASSWORD)
            client.select()
            return client.fetch("1", "(BODY.PEEK[])")[1][0][1]

    def read_pop3(self, port):
        """Returns the message that poplib reads."""
        client = poplib.POP3("127.0.0.1", port, timeout=wait.DEADLINE)
        try:
            client.user(NAME)
            client.pass_(PASSWORD)
            return b"\r\n".join([*client.retr(1)[1], b""])
        finally:
            client.quit()

    def send(self, port):
        """Sends the message with smtplib, by name and password."""
        with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=wait.DEADLINE) as client:
            client.login(NAME, PASSWORD)
            client.sendmail("a@client.test", ["box@mail.test"], MESSAGE)

    def assert_all_protocols(self, gateway):
        self.send(gateway.ports["smtp"])
        self.assert_delivered()
        self.assertEqual(self.read_imap(gateway.ports["imap"]), MESSAGE)
        self.assertEqual(self.read_pop3(gateway.ports["pop3"]), MESSAGE)


class Command(Chain):
    def test_swaks_without_a_login(self):
        gateway = self.gateway({mechanism: self.service("smtp", mechanism, "connect")
                                for mechanism in ("xoauth2", "oauthbearer")})
        for mechanism in ("xoauth2", "oauthbearer"):
            with self.subTest(mechanism):
                before = len(self.server.logins("submission"))
                said = mail_programs.swaks_send(gateway.ports[mechanism], MESSAGE)
                self.assertNotIn("AUTH", said)
                self.assert_delivered()
                self.server.await_logins("submission", before, 1, f"method={mechanism.upper()},")
        self.assertEqual([form["grant_type"] for form in self.asked()], ["client_credentials"])

    def test_clients_with_passwords(self):
        gateway = self.gateway()
        self.assert_all_protocols(gateway)
        mail_programs.curl_send(gateway.ports["smtp"], NAME, PASSWORD, MESSAGE)
        self.assert_delivered()
        for protocol in ("imap", "pop3"):
            self.assertEqual(
                mail_programs.curl_fetch(protocol, gateway.ports[protocol], NAME, PASSWORD), MESSAGE)
            with self.assertRaises(Refused):
                mail_programs.curl_fetch(protocol, gateway.ports[protocol], NAME, "wrong")
        self.assertEqual(len(self.asked()), 1)

    def test_a_token_that_is_nearly_at_its_end_serves_one_login(self):
        self.provider.change(lifetime=60)
        gateway = self.gateway()
        for count in range(1, 4):
            self.assertEqual(self.read_imap(gateway.ports["imap"]), MESSAGE)
            self.assertEqual(len(self.asked()), count)

    def test_a_token_that_ends_during_the_run_is_replaced(self):
        """It is kept until five minutes before its end, which is in a moment."""
        self.provider.change(lifetime=303)
        gateway = self.gateway()
        logins = 0

        def read_until_renewed():
            nonlocal logins
            self.assertEqual(self.read_imap(gateway.ports["imap"]), MESSAGE)
            logins += 1
            return len(self.asked()) >= 3

        wait.until(read_until_renewed, "a third token")
        self.assertGreaterEqual(logins, len(self.asked()))
        self.provider.change(lifetime=3600)

    def test_fifty_sessions_at_once_have_one_run_and_one_request(self):
        go = self.program.folder / "go"
        os.mkfifo(go)
        runs = self.program.folder / "runs"
        wrapper = launcher.write_program(self.program.folder, f'''
import os, sys
with open({str(runs)!r}, "a") as runs: runs.write("run\\n")
open({str(go)!r}).read()
os.execv({str(TOKEN)!r}, [{str(TOKEN)!r}, *sys.argv[1:]])
''')
        service = self.service("imap")
        service["login"]["command"][0] = wrapper
        gateway = self.gateway({"imap": service})
        clients = [begin(self.enterContext(gateway.connect("imap", KINDS["imap"]))) for _ in range(50)]
        for client in clients:
            client.log_in("PLAIN", NAME, PASSWORD, wait=False)
        with open(go, "w", encoding="ascii"):
            pass
        for client in clients:
            self.assertTrue(client.succeeded(reply := client.answer()), reply)
        self.assertEqual(runs.read_text(encoding="ascii"), "run\n")
        self.assertEqual(len(self.asked()), 1)


class Socket(Chain):
    def source(self):
        return {"socket": str(self.socket.path)}

    def setUp(self):
        super().setUp()
        self.socket = self.enterContext(TokenSocket(self.program))

    def test_swaks_without_a_login(self):
        gateway = self.gateway({"smtp": self.service("smtp", when="connect")})
        for _ in range(2):
            mail_programs.swaks_send(gateway.ports["smtp"], MESSAGE)
            self.assert_delivered()
        self.assertEqual((self.socket.runs, len(self.asked())), (1, 1))

    def test_clients_with_passwords(self):
        self.assert_all_protocols(self.gateway())
        self.assertEqual(len(self.asked()), 1)


class Outage(Chain):
    """The provider is down for a while. A client that keeps its mail delivers it afterwards."""

    def setUp(self):
        super().setUp()
        self.endpoint = self.enterContext(Endpoint())
        self.endpoint.issue = lambda form: answer(503, "<html>", "text/html")
        self.program.write(**{**self.account(), "token_url": f"{self.endpoint.url}/token"})

    def repair(self):
        token = oauth.token(ACCOUNT)
        self.endpoint.issue = lambda form: answer(body={"access_token": token, "expires_in": 3600})

    def assert_kept_then_delivered(self, send, code):
        """`send` delivers the message, or raises the server's temporary refusal."""
        with self.assertRaises(smtplib.SMTPResponseException) as caught:
            send()
        self.assertEqual(caught.exception.smtp_code, code)
        self.assertTrue(caught.exception.smtp_error.startswith(b"4.7.0 "), caught.exception)
        self.endpoint.received(1)
        self.repair()

        def queue():
            try:
                send()
            except smtplib.SMTPResponseException as refusal:
                self.assertEqual(refusal.smtp_code, code)
                return False
            return True

        wait.until(queue, "the queue is empty")
        self.assert_delivered()

    def test_a_client_that_logs_in(self):
        gateway = self.gateway({"smtp": self.service("smtp")})
        self.assert_kept_then_delivered(lambda: self.send(gateway.ports["smtp"]), 454)
        [line] = gateway.daemon.lines(lambda line: line.get("msg") == "a program gave no secret")[:1]
        self.assertIn("HTTP status 503", line["reason"])

    def test_a_client_that_cannot_log_in(self):
        gateway = self.gateway({"smtp": self.service("smtp", when="connect")})

        def send():
            with smtplib.SMTP("127.0.0.1", gateway.ports["smtp"], "client.test",
                              timeout=wait.DEADLINE) as client:
                client.sendmail("a@client.test", ["box@mail.test"], MESSAGE)

        self.assert_kept_then_delivered(send, 421)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):  # pylint: disable=arguments-differ
        return None


class Recipes(Chain):
    """The recipes as they are written, with our servers in place of the provider's."""

    def setUp(self):
        super().setUp()
        self.socket = self.enterContext(TokenSocket(self.program))

    def put(self, name, content):
        """Writes a file of the recipe, that only its owner can read."""
        path = self.program.folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch(0o600)
        path.write_text(content, encoding="utf-8")

    def configure_token(self, text, **urls):
        """Writes tokens.toml, with these addresses of the provider."""
        text += "".join(f'{key} = "{self.provider.url}/{path}"\n' for key, path in urls.items())
        self.program.config.write_text(text, encoding="utf-8")

    def options(self, page, heading):
        """Returns the options of the command that authorizes the account."""
        words = self.command(page, heading, "starttls-token")
        self.assertEqual(words[1:3], ["authorize", ACCOUNT])
        return words[3:]

    def command(self, page, heading, program):
        """Returns the words of the first command that runs this program."""
        lines = recipe(page, heading, "sh", f"{program} ").replace("\\\n", " ").splitlines()
        return next(shlex.split(line) for line in lines if line.startswith(f"{program} "))

    def daemon(self, page, heading):
        """Runs the proxy of a recipe. Returns its port."""
        text = recipe(page, heading)
        protocol = re.search(r'^protocol *= "(.*)"', text, re.M)[1]
        ports = self.server.implicit if 'upstream.tls     = "implicit"' in text else self.server.ports
        text = configuration(text, f"{STRANGE}:{ports[SERVICES[protocol]]}", self.program.folder)
        text = replaced(text, "socket", str(self.socket.path))
        self.put("archive.password", PASSWORD)
        daemon = self.enterContext(Daemon(text))
        self.addCleanup(self.hide_token)
        return daemon.port

    def assert_recipes_work(self, page, sending, reading):
        """Sends by one recipe, and reads by another."""
        mail_programs.swaks_send(self.daemon(page, sending), MESSAGE)
        self.assert_delivered()
        with imaplib.IMAP4("127.0.0.1", self.daemon(page, reading), timeout=wait.DEADLINE) as client:
            client.login("archive", PASSWORD)
            client.select()
            self.assertEqual(client.fetch("1", "(BODY.PEEK[])")[1][0][1], MESSAGE)

    def test_microsoft_365_by_client_credentials(self):
        page, heading = "microsoft-365.md", "By client credentials"
        self.configure_token(recipe(page, heading, "text", "[[account]]"), token_url="token")
        (self.program.folder / "keys").mkdir()
        subprocess.run(self.command(page, heading, "openssl"), check=True, capture_output=True,
                       cwd=self.program.folder)
        self.assert_recipes_work(page, heading, "Clients that can log in")
        [form] = self.asked()
        self.assertEqual(form["scope"], "https://outlook.office365.com/.default")
        self.assertEqual(form["client_assertion"].count("."), 2)

    def test_microsoft_365_by_device_code(self):
        page, heading = "microsoft-365.md", "By device code"
        self.configure_token(f'[[account]]\nname = "{ACCOUNT}"\nprovider = "office365"\n'
                             'tenant = "example.com"\n', token_url="token", device_url="device")
        with self.program.authorize(*self.options(page, heading)) as authorization:
            with urllib.request.urlopen(authorization.address(2), timeout=wait.DEADLINE) as response:
                self.assertEqual(response.read(), b"confirmed")
            status, said = authorization.end()
        self.assertEqual(status, 0, said)
        self.assert_recipes_work(page, "By client credentials", "Clients that can log in")
        self.assertEqual({form["grant_type"] for form in self.asked()},
                         {"urn:ietf:params:oauth:grant-type:device_code"})

    def test_google_by_oauth(self):
        page, heading = "google.md", "By OAuth"
        self.configure_token(recipe(page, heading, "text", "[[account]]"), token_url="token", authorize_url="authorize")
        self.put("google.secret", "hush")
        with self.program.authorize(*self.options(page, heading), stdin=subprocess.PIPE) as authorization:
            try:  # the browser: it cannot show its last page
                urllib.request.build_opener(NoRedirect).open(authorization.address(), timeout=wait.DEADLINE)
                self.fail("no redirect")
            except urllib.error.HTTPError as redirect:
                authorization.type(redirect.headers["Location"])
                redirect.close()
            status, said = authorization.end()
        self.assertEqual(status, 0, said)
        self.assert_recipes_work(page, heading, "Reading mail")
        self.assertEqual([form["grant_type"] for form in self.asked()], ["authorization_code"])
        self.assertEqual(self.asked()[0]["client_secret"], "hush")


if __name__ == "__main__":
    main.main()

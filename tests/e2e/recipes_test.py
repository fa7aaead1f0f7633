"""docs/recipes: each configuration without OAuth works as it is written, with a scripted server in place of
the provider's. token_chain_test.py has those with OAuth."""

import imaplib
import os
import pathlib
import re
import smtplib
import ssl
import tempfile
import tomllib
import unittest

from support import main, recipes, sasl, wait
from support.daemon import Daemon, toml
from support.environment import pki
from support.fake_server import FakeServer, tls_context
from support.login_server import LoginServer
from support.logins import PASSWORD, SECRET

MESSAGE = "From: scan@example.com\r\nTo: box@example.net\r\nSubject: scan\r\n\r\npage 1\r\n"


def without_oauth():
    """Returns (page, heading, text) of each recipe that needs no token."""
    found = [(path.name, heading, text) for path in sorted(recipes.FOLDER.glob("*.md"))
             for heading, text in recipes.blocks(path.name) if "[[service]]" in text]
    return [each for each in found if not tomllib.loads(each[2])["service"][0].get("login", {}).get("token")]


class Recipes(unittest.TestCase):
    def start(self, text, context=None):
        """Runs a recipe. Returns (script, server, port, service)."""
        service = tomllib.loads(text)["service"][0]
        script = LoginServer(service["protocol"], implicit=service["upstream"].get("tls") == "implicit",
                             context=context, echo=False)
        server = self.enterContext(FakeServer(script))
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-recipe-")))
        for name, content in ((service.get("login", {}).get("file"), SECRET),
                              *((re.sub(r"\$\{file:(.*)\}", r"\1", account["password"]), PASSWORD)
                                for account in service.get("account", []))):
            if name:
                path = folder / os.path.basename(name)
                path.touch(0o600)
                path.write_text(content + "\n", encoding="utf-8")
        config = recipes.configuration(text, f"127.0.0.1:{server.port}", folder)
        if "upstream.certificate" in config:
            chain, key = pki().pair("client")
            config = re.sub(r"^(upstream.certificate *= ).*$",
                            lambda found: f"{found[1]}{{ chain = {toml(chain)}, key = {toml(key)} }}", config,
                            flags=re.M)
        return script, server, self.enterContext(Daemon(config)).port, service

    def send(self, port, account=None):
        with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=wait.DEADLINE) as client:
            if account is not None:
                client.login(account["name"], PASSWORD)
            client.sendmail("scan@example.com", ["box@example.net"], MESSAGE)

    def read(self, port, account):
        with imaplib.IMAP4("127.0.0.1", port, timeout=wait.DEADLINE) as client:
            client.login(account["name"], PASSWORD)

    def test_there_are_some_of_each_kind(self):
        services = [tomllib.loads(text)["service"][0] for _, _, text in without_oauth()]
        for count, kind in ((2, lambda each: "login" not in each), (5, lambda each: "login" in each),
                            (2, lambda each: "account" in each), (1, lambda each: each["protocol"] == "imap")):
            self.assertGreaterEqual(len([each for each in services if kind(each)]), count)

    def test_each_with_a_password_or_without_a_login(self):
        for page, heading, text in without_oauth():
            with self.subTest(page=page, heading=heading):
                script, server, port, service = self.start(text)
                clients = service.get("account") or [None]
                for account in clients:
                    (self.read if service["protocol"] == "imap" else self.send)(port, account)
                if service["protocol"] == "smtp":
                    mails = [mail for connection in server.connections for mail in connection.messages]
                    self.assertEqual(len(mails), len(clients))
                    self.assertTrue(all(b"page 1" in mail for mail in mails))
                login = service.get("login")
                self.assertEqual([attempt.messages for attempt in script.attempts],
                                 [sasl.answers("PLAIN", login["user"], SECRET)] * len(clients) if login else [])

    def test_the_connector_shows_its_certificate(self):
        context = tls_context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki().ca)
        text = recipes.recipe("microsoft-365.md", "By connector")
        _, server, port, _ = self.start(text, context)
        self.send(port)
        self.assertEqual([len(connection.messages) for connection in server.connections], [1])


if __name__ == "__main__":
    main.main()

"""No secret of a login is in the log, in answers of the admin endpoint, or in memory after the session."""

import os
import subprocess
import unittest

from support import admin, canary, main, memory, sasl, wait
from support.login_case import TOKEN, LoginCase, at
from support.login_client import WAYS
from support.logins import NAME, SECRET, login

# The client's password, of which the configuration has a hash only; and one that is passed on.
WORD = "c4nary-hashed/w0rd"
OWN = "c4nary-passed/on"
TOKENS = ("xoauth2", "oauthbearer")

canary.add(WORD)
canary.add(OWN)


def crypt(word):
    """Returns the hash of a password, as crypt(3) has it."""
    return subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=word, capture_output=True,
                          text=True, check=True).stdout.strip()


def words(secret):
    """Returns all forms of a secret as they may be in memory."""
    return [form.encode() for form in canary.forms(secret)]


class SecretCase(LoginCase):
    @classmethod
    def services(cls, protocol):
        account = [{"name": NAME, "password": crypt(WORD)}]
        kinds = {"passed": {"login": {"when": "client"}}}
        for mechanism in TOKENS:
            kinds[mechanism] = {"login": login(mechanism, cls.token), "accounts": account}
        if protocol in ("smtp", "lmtp"):
            kinds["connect"] = {"login": login("xoauth2", cls.token, when="connect")}
        return kinds

    def sessions(self):
        """Yields a client after each kind of login, and after logins that failed."""
        for protocol in self.protocols:
            for way in WAYS[protocol]:
                for service, word in (*((each, WORD) for each in TOKENS), ("passed", OWN)):
                    if way == "atoms":
                        continue
                    client, reply = self.log_in(f"{protocol}-{service}", way, NAME, word)
                    self.assertTrue(client.succeeded(reply), reply)
                    yield client
            self.scripts[protocol].reset(decide=lambda *_: "json")
            client, _ = self.log_in(f"{protocol}-xoauth2", "PLAIN", NAME, WORD)
            yield client
            self.scripts[protocol].reset(decide=lambda *_: "no")
            for service, name, word in (("passed", NAME, OWN), ("xoauth2", "nobody", OWN),
                                        ("oauthbearer", NAME, OWN)):
                client, _ = self.log_in(f"{protocol}-{service}", "PLAIN", name, word)
                yield client
            self.scripts[protocol].reset(said=at("result", b"what? " + TOKEN.encode() + b"\r\n"))
            client, _ = self.log_in(f"{protocol}-xoauth2", "PLAIN", NAME, WORD)
            yield client
            self.scripts[protocol].reset()
        for service in ("smtp-connect", "lmtp-connect"):
            client = self.connect(service)
            client.greeted()
            yield client


class Output(SecretCase):
    def test_the_log_and_the_admin_endpoint(self):
        for client in self.sessions():
            for path in ("/sessions", "/metrics"):
                self.assertEqual(canary.found(admin.get(self.admin, path).text), [])
            self.session(client)
        self.assertIn("level=debug", self.daemon.text())
        self.assertEqual(canary.found(self.daemon.text()), [])

    def test_a_login_under_way(self):
        for protocol in self.protocols:
            self.scripts[protocol].reset(said=at("result", None))
            client = self.client(f"{protocol}-passed")
            client.log_in("PLAIN", NAME, OWN, wait=False)
            wait.until(lambda script=self.scripts[protocol]: script.attempts, "the server has the login")
            sessions = admin.get(self.admin, "/sessions").text
            self.assertIn(f'"{protocol}-passed"', sessions)
            self.assertEqual(canary.found(sessions), [])
            client.close()

    def test_canaries_are_found(self):
        for word in (WORD, OWN, TOKEN, SECRET):
            for text in (word, sasl.encoded(word).decode(), sasl.encoded(sasl.plain(NAME, word)).decode(),
                         sasl.encoded(sasl.xoauth2(NAME, word)).decode(),
                         sasl.encoded(sasl.oauthbearer(NAME, word, "mail.test", 25)).decode()):
                self.assertTrue(canary.found(f"msg={text} x"), text)


@unittest.skipUnless(os.geteuid() == 0, "only root reads the memory of a process in its sandbox")
class Memory(SecretCase):
    @classmethod
    def services(cls, protocol):
        planted = [{"name": NAME, "password": SECRET}]
        kinds = super().services(protocol)
        return kinds if protocol != "smtp" else {
            **kinds, "planted": {"login": login("xoauth2", cls.token), "accounts": planted}}

    def test_no_secret_of_a_client_is_left_in_memory(self):
        pid = self.daemon.process.pid
        # The configuration has one password: the search finds it, and so would find another one.
        self.assertTrue(memory.find(pid, [SECRET.encode()]))
        secrets = [*words(WORD), *words(OWN), *words(TOKEN)]
        for client in self.sessions():
            client.send(b"more\r\n")
            self.session(client)
        self.assertEqual(memory.find(pid, secrets), [])

    def test_no_secret_is_in_memory_while_a_session_is_relayed(self):
        pid = self.daemon.process.pid
        for protocol in self.protocols:
            for service, word in (("xoauth2", WORD), ("oauthbearer", WORD), ("passed", OWN)):
                for way in WAYS[protocol]:
                    if way == "atoms":
                        continue
                    with self.subTest(protocol=protocol, service=service, way=way):
                        client, reply = self.log_in(f"{protocol}-{service}", way, NAME, word)
                        self.assertTrue(client.succeeded(reply), reply)
                        self.assert_relayed(client)
                        self.assertEqual(memory.find(pid, [*words(word), *words(TOKEN)]), [])
                        client.close()


if __name__ == "__main__":
    main.main()

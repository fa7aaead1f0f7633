"""One daemon with services that log in to scripted servers, one for each protocol and kind of secret."""

import unittest

from .fake_server import FakeServer, Gone
from .gateway import Gateway
from .login_client import KINDS, WAYS
from .login_server import LoginServer
from .logins import (ACCOUNTS, NAME, PASSWORD, TOKENS, begin, login, secret_file, write)
from . import admin, canary

PROTOCOLS = tuple(WAYS)
TOKEN = canary.TOKEN

# The last step of a login that takes tokens, in LoginServer's words, and the one before it.
STEPS = ("command", "result")


def leave(_):
    """A server's `said`: it hangs up."""
    raise Gone


def at(step, what):
    """Returns a `said` for LoginServer: at that step `what` is said, None for silence; if it is callable
    it is called. Other steps are as usual."""
    def said(now):
        if now != step:
            return b""
        return what(now) if callable(what) else what

    return said


class LoginCase(unittest.TestCase):
    """The base of tests with scripted servers. The services of each protocol:

    "password", "plain", "login": the secret is a password. "token", "xoauth2", "oauthbearer": it is the
    token in the file `self.token`. "passed": it is the client's own. For smtp and lmtp also
    "connect" and "connect-xoauth2": the proxy logs in before the client is greeted.
    """

    protocols = PROTOCOLS
    tables = {}

    @classmethod
    def setUpClass(cls):
        cls.token = cls.enterClassContext(secret_file(TOKEN))
        cls.scripts = {protocol: LoginServer(protocol) for protocol in cls.protocols}
        cls.servers = {protocol: cls.enterClassContext(FakeServer(script))
                       for protocol, script in cls.scripts.items()}
        services = {}
        for protocol in cls.protocols:
            for kind, keys in cls.services(protocol).items():
                services[f"{protocol}-{kind}"] = {
                    "protocol": protocol, "upstream.address": f"127.0.0.1:{cls.servers[protocol].port}",
                    **keys}
        cls.gateway = cls.enterClassContext(
            Gateway(services, admin={"listen": "127.0.0.1:0"}, **cls.tables))
        cls.daemon = cls.gateway.daemon
        cls.admin = admin.address(cls.daemon)

    @classmethod
    def services(cls, protocol):
        """Returns the kinds of services: name -> keys."""
        kinds = {"password": {"login": login(), "accounts": ACCOUNTS},
                 "token": {"login": login("auto", cls.token), "accounts": ACCOUNTS},
                 "passed": {"login": {"when": "client"}}}
        for mechanism in ("plain", "login", *TOKENS):
            path = cls.token if mechanism in TOKENS else None
            kinds[mechanism] = {"login": login(mechanism, path), "accounts": ACCOUNTS}
        if protocol in ("smtp", "lmtp"):
            kinds["connect"] = {"login": login(when="connect")}
            kinds["connect-xoauth2"] = {"login": login("xoauth2", cls.token, when="connect")}
        return kinds

    def setUp(self):
        write(self.token, TOKEN)
        for script in self.scripts.values():
            script.reset()

    def connect(self, service):
        """Returns a client that has heard nothing yet."""
        return self.enterContext(self.gateway.connect(service, KINDS[service.partition("-")[0]]))

    def client(self, service, tls="none"):
        """Returns a client that may log in."""
        return begin(self.connect(service), tls)

    def log_in(self, service, way="PLAIN", name=NAME, password=PASSWORD):
        """Returns a client and the reply to its login."""
        client = self.client(service)
        return client, client.log_in(way, name, password)

    def assert_relayed(self, client):
        """Asserts that both directions are opaque now: the server echoes."""
        data = b"STARTTLS\r\nl LOGOUT\r\n* BYE\r\n\0\xff {5}\r\n"
        client.send(data)
        self.assertEqual(client.exactly(len(data)), data)

    def session(self, client):
        """Ends the client, if it has not ended, and returns the session's line."""
        client.close()
        return self.gateway.session(client)

"""The secret comes from a unix socket: kept, asked for once at a time, and refused if it is no secret."""

import base64
import contextlib
import json
import signal
import time

from support import canary, main, wait
from support.admin import address, configured, metrics
from support.daemon import Daemon, configuration
from support.fake_server import FakeServer
from support.login_client import KINDS
from support.login_server import LoginServer
from support.logins import USER, begin
from support.secret_socket import SecretSocket

import unittest

TOKEN = canary.TOKEN
TEMPORARY = rb"\A421 4\.7\.0 "
TOO_LATE = rb"\A421 4\.4\.1 "
SERVICE = {"service": "office"}


def jwt(**claims):
    parts = ({"alg": "none"}, claims)
    return b".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts),
                      b"c2lnbmF0dXJl"])


class SourceCase(unittest.TestCase):
    """One smtp service that logs in before the client is greeted, with a token from a socket."""

    lifetime = {}

    def setUp(self):
        self.source = self.enterContext(SecretSocket(lambda user: TOKEN.encode() + b"\n"))
        self.script = LoginServer("smtp", echo=False)
        self.server = self.enterContext(FakeServer(self.script))

    def login(self, path=None, **keys):
        return {"when": "connect", "user": USER, "socket": str(path or self.source.path), "token": True,
                **keys}

    def configuration(self, path=None, **keys):
        return configured(configuration(self.server.port, login=self.login(path, **keys)))

    def start(self, path=None, **keys):
        daemon = self.enterContext(Daemon(self.configuration(path, **keys)))
        self.admin = address(daemon)
        return daemon

    def greeted(self, daemon):
        """Returns the first words that a client hears."""
        with KINDS["smtp"](daemon.port) as client:
            return client.greeted()

    def tokens(self):
        """Returns the tokens that the server has heard, in order."""
        return [attempt.messages[-1].partition(b"auth=Bearer ")[2].rstrip(b"\x01")
                for attempt in self.script.attempts]


class Kept(SourceCase):
    def test_a_secret_is_asked_for_once_and_kept(self):
        daemon = self.start()
        for _ in range(5):
            self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertEqual(self.source.asked, [USER])
        self.assertEqual(self.tokens(), [TOKEN.encode()] * 5)

    def test_fifty_clients_at_once_make_one_request(self):
        daemon = self.start()
        self.source.hold.clear()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(KINDS["smtp"](daemon.port)) for _ in range(50)]
            wait.until(lambda: self.source.asked, "the source is asked")
            # The server has secured each connection, so each client's login has begun.
            wait.until(lambda: sum(connection.tls is not None for connection in self.server.connections)
                       == 50, "fifty connections to the server")
            self.source.hold.set()
            for client in clients:
                self.assertRegex(client.greeted(), rb"\A220 ")
        self.assertEqual(self.source.asked, [USER])
        self.assertEqual(len(self.script.attempts), 50)

    def test_a_token_that_ends_soon_is_not_kept(self):
        soon = int(time.time()) + 60
        daemon = self.start()
        for answer in (b'{"access_token": "%b", "expires_in": 299}', b'{"accessToken": "%%b", "expires_on": %d}'
                       % soon, b'{"access_token": "%%b", "expires_on": "%d"}' % soon):
            self.source.answer = lambda user, answer=answer: answer % TOKEN.encode() + b"\r\n"
            del self.source.asked[:]
            for _ in range(2):
                self.assertRegex(self.greeted(daemon), rb"\A220 ")
            self.assertEqual(len(self.source.asked), 2)
        self.source.answer = lambda user: jwt(exp=soon)
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertEqual(len(self.source.asked), 4)
        self.assertEqual(metrics(self.admin)("starttls_secret_expiry_timestamp_seconds", account=USER, **SERVICE),
                         soon)

    def test_a_token_with_an_hour_left_is_kept(self):
        end = int(time.time()) + 3600
        for answer in (b'{"access_token": "%b", "expires_in": 3600, "x": {"y": [1, null]}}' % TOKEN.encode(),
                       jwt(exp=end)):
            daemon = self.start()
            del self.source.asked[:]
            self.source.answer = lambda user, answer=answer: answer + b"\n"
            for _ in range(3):
                self.assertRegex(self.greeted(daemon), rb"\A220 ")
            self.assertEqual(len(self.source.asked), 1)
            shown = metrics(self.admin)("starttls_secret_expiry_timestamp_seconds", account=USER, **SERVICE)
            self.assertAlmostEqual(shown, end, delta=120)

    def test_a_lifetime_ends(self):
        daemon = self.start(lifetime="1ms")
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertEqual(len(self.source.asked), 2)


class Failing(SourceCase):
    def assert_failed(self, daemon, reason, words, greeting=TEMPORARY):
        before = metrics(self.admin)("starttls_secret_failures_total", reason=reason, **SERVICE)
        self.assertRegex(self.greeted(daemon), greeting)
        self.assertEqual(metrics(self.admin)("starttls_secret_failures_total", reason=reason, **SERVICE),
                         before + 1)
        line = daemon.sessions()[-1]
        self.assertEqual(line["outcome"], "login")
        self.assertRegex(line["reason"], words)
        self.assertEqual(self.script.attempts, [])

    def test_what_is_no_secret_goes_to_no_server(self):
        for answer, reason, words in (
                (b"", "empty", "empty"), (b"\n", "empty", "empty"), (b"\xef\xbb\xbf\r\n", "empty", "empty"),
                (None, "empty", "empty"),
                (b"a\0b\n", "malformed", "bytes that no secret"),
                (b"a\x01b\n", "malformed", "bytes that no secret"),
                (b"a\rb\n", "malformed", "bytes that no secret"),
                (b"x" * 20480, "malformed", "too long"), (b"x" * 20480 + b"\n", "malformed", "too long"),
                (b"x" * 9001 + b"\n", "malformed", "too long"),
                (b'{"access_token": "a\\nb"}\n', "malformed", "bytes that no secret"),
                (b'{"access_token": "a\n', "malformed", "JSON"),
                (b'{"error": "x"}\n', "malformed", "an error: x"), (b"{\n", "malformed", "JSON")):
            with self.subTest(answer=answer and answer[:40]):
                self.source.answer = lambda user, answer=answer: answer
                with Daemon(self.configuration()) as daemon:
                    self.admin = address(daemon)
                    self.assert_failed(daemon, reason, words)

    def test_a_failure_is_remembered_for_a_moment(self):
        self.source.answer = lambda user: b"\n"
        daemon = self.start()
        begun = time.monotonic()
        for _ in range(5):
            self.assertRegex(self.greeted(daemon), TEMPORARY)
        if time.monotonic() - begun < 5:
            self.assertEqual(len(self.source.asked), 1)
        self.source.answer = lambda user: TOKEN.encode()
        wait.until(lambda: self.greeted(daemon).startswith(b"220 "), "the failure is forgotten")

    def test_a_socket_without_a_server(self):
        daemon = self.start(path=self.source.path.with_name("none"))
        self.assertIn("logins fail until the socket of their secret is there",
                      "\n".join(line.get("warning", "") for line in daemon.warnings(1)))
        self.assert_failed(daemon, "unreachable", "does not answer")

    def test_a_source_that_is_silent(self):
        self.source.hold.clear()
        daemon = self.start(timeout="300ms")
        self.assert_failed(daemon, "timeout", "did not come in time", TOO_LATE)

    def test_a_client_that_leaves_meanwhile(self):
        self.source.hold.clear()
        daemon = self.start()
        with KINDS["smtp"](daemon.port):
            wait.until(lambda: self.source.asked, "the source is asked")
        daemon.sessions()
        self.source.hold.set()
        self.assertRegex(self.greeted(daemon), rb"\A220 ")

    def test_a_silent_source_of_one_service_stops_no_other(self):
        self.source.hold.clear()
        other = self.enterContext(SecretSocket(lambda user: TOKEN.encode()))
        config = self.configuration()
        second = config[config.index("[[service]]"):].replace('"office"', '"second"').replace(
            str(self.source.path), str(other.path))
        with Daemon(config + "\n" + second, listeners=2) as daemon:
            ports = {line["service"]: int(line["address"].rpartition(":")[2])
                     for line in daemon.lines(lambda line: line.get("msg") == "listening", 2)}
            with KINDS["smtp"](ports["office"]):
                wait.until(lambda: self.source.asked, "the silent source is asked")
                for _ in range(3):
                    with KINDS["smtp"](ports["second"]) as client:
                        self.assertRegex(client.greeted(), rb"\A220 ")


class Refused(SourceCase):
    def test_a_refused_token_is_fetched_afresh_once(self):
        daemon = self.start()
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        fresh = TOKEN.encode()[::-1]
        self.source.answer = lambda user: fresh + b"\n"
        self.script.reset(echo=False, decide=lambda attempt, _:
                          "ok" if fresh in attempt.messages[-1] else "json")
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertEqual(self.tokens(), [TOKEN.encode(), fresh])
        self.assertEqual(len(self.source.asked), 2)
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertEqual(len(self.source.asked), 2)

    def test_a_source_without_another_token_is_asked_once_more_and_no_more(self):
        daemon = self.start()
        self.script.reset(echo=False, decide=lambda *_: "json")
        for _ in range(3):
            self.assertRegex(self.greeted(daemon), TEMPORARY)
        self.assertEqual(len(self.script.attempts), 3)
        self.assertLessEqual(len(self.source.asked), 4)
        self.assertRegex(daemon.sessions()[-1]["reason"], "535|no other")


class Reloaded(SourceCase):
    def test_a_changed_source_takes_effect_with_an_empty_cache(self):
        other = self.enterContext(SecretSocket(lambda user: TOKEN.encode()[::-1]))
        daemon = self.start()
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        daemon.configuration_file.write_text(self.configuration(other.path), encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.lines(lambda line: line.get("msg") == "reloaded")
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertEqual(self.tokens(), [TOKEN.encode(), TOKEN.encode()[::-1]])
        self.assertEqual((len(self.source.asked), len(other.asked)), (1, 1))

    def test_an_unchanged_source_keeps_its_secret(self):
        daemon = self.start()
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.lines(lambda line: line.get("msg") == "reloaded")
        self.assertRegex(self.greeted(daemon), rb"\A220 ")
        self.assertEqual(len(self.source.asked), 1)


class Accounts(SourceCase):
    def test_each_client_gets_the_token_of_its_own_account(self):
        names = ("anna", "bert@example.com")
        self.source.answer = lambda user: f"{TOKEN}-{user}".encode()
        login = {"socket": str(self.source.path), "token": True}
        config = configuration(self.server.port, login=login, accounts=[{"name": "*", "password": "c4nary-x"}])
        canary.add("c4nary-x")
        with Daemon(configured(config)) as daemon:
            for name in names:
                with KINDS["smtp"](daemon.port) as client:
                    reply = begin(client).log_in("PLAIN", name, "wrong")
                    self.assertRegex(reply, rb"535 ")
            self.assertEqual(self.source.asked, [])
            for name in names * 2:
                with KINDS["smtp"](daemon.port) as client:
                    reply = begin(client).log_in("PLAIN", name, "c4nary-x")
                    self.assertTrue(client.succeeded(reply), reply)
            page = metrics(address(daemon))
        self.assertEqual(self.source.asked, list(names))
        self.assertEqual(self.tokens(), [f"{TOKEN}-{name}".encode() for name in names * 2])
        self.assertEqual(page.nonzero("starttls_secret_expiry_timestamp_seconds"), {})

    def test_a_row_without_a_user_is_the_account_of_its_name(self):
        """Its own source has the service's token, and the end of that is shown."""
        end = int(time.time()) + 3600
        self.source.answer = lambda user: b'{"access_token": "%b", "expires_on": %d}\n' % (TOKEN.encode(), end)
        row = {"name": "anna", "password": "c4nary-x", "socket": f"unix:{self.source.path}"}
        canary.add("c4nary-x")
        config = configuration(self.server.port, login={"token": True}, accounts=[row])
        with Daemon(configured(config)) as daemon, KINDS["smtp"](daemon.port) as client:
            reply = begin(client).log_in("PLAIN", "anna", "c4nary-x")
            self.assertTrue(client.succeeded(reply), reply)
            shown = metrics(address(daemon))("starttls_secret_expiry_timestamp_seconds", account="anna",
                                             **SERVICE)
        self.assertEqual(shown, end)
        self.assertEqual(self.source.asked, ["anna"])
        self.assertEqual(self.tokens(), [TOKEN.encode()])


if __name__ == "__main__":
    main.main()

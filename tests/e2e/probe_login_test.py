"""starttls-proxy probe --login: what it finds out about a login, and that it never shows the secret."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from support import canary, launcher, main, oauth, sasl, wait
from support.client import free_port
from support.daemon import configuration, run_to_end
from support.environment import PROXY, pki
from support.fake_server import FakeServer
from support.login_case import PROTOCOLS, TOKEN, at, leave
from support.login_server import LoginServer
from support.logins import ACCOUNTS, NAME, SECRET, USER, login, secret_file
from support.secret_socket import SecretSocket

OK, UNREACHABLE, PROTOCOL, REFUSED, CONFIG, USAGE = 0, 69, 76, 77, 78, 64
USED = {"PLAIN": "plain", "LOGIN": "login", "XOAUTH2": "xoauth2", "OAUTHBEARER": "oauthbearer"}
TOKENS = ("XOAUTH2", "OAUTHBEARER")
SWITCHED_OFF = ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
                "Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.")


class LoginProbe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.password_file = cls.enterClassContext(secret_file(SECRET))
        cls.token_file = cls.enterClassContext(secret_file(TOKEN))

    def server(self, protocol="smtp", **behaviour):
        script = LoginServer(protocol)
        script.reset(**behaviour)
        server = self.enterContext(FakeServer(script))
        return script, server.port

    def run_probe(self, *arguments, **options):
        """Runs it with output for people and for programs. Returns (status, text, facts, errors)."""
        results = [run_to_end("probe", *arguments, *more, **options) for more in ((), ("--json",))]
        for result in results:
            self.assertEqual(canary.found(result.stdout + result.stderr), [])
        text, programs = results
        self.assertEqual(text.returncode, programs.returncode, text.stderr + programs.stderr)
        facts = json.loads(programs.stdout) if programs.stdout else None
        return text.returncode, text.stdout, facts, text.stderr

    def flags(self, port, protocol, *, user=USER, file=None, token=False, verified=True):
        policy = ["--ca-file", pki().ca] if verified else ["--verify", "none"]
        return ["--protocol", protocol, "--upstream", f"127.0.0.1:{port}", "--server-name", "mail.test",
                "--hostname", "proxy.test", *policy, "--login", user, "--login-file",
                file or (self.token_file if token else self.password_file),
                *(["--login-token"] if token else [])]

    def probe(self, port, protocol="smtp", **options):
        return self.run_probe(*self.flags(port, protocol, **options))

    def probe_file(self, config, *arguments):
        with tempfile.TemporaryDirectory(prefix="starttls-conf-") as folder:
            path = pathlib.Path(folder) / "proxy.toml"
            path.write_text(config, encoding="utf-8")
            return self.run_probe("--config", path, *arguments)

    def check(self, found, status, outcome, reason=".*", advice=".*"):
        """Asserts the end of a login that was tried or could have been. Returns (text, facts)."""
        code, text, facts, errors = found
        self.assertEqual((code, errors), (status, ""), text)
        self.assertEqual(facts["login"]["outcome"], outcome)
        self.assertRegex(facts["reason"] or "", reason)
        self.assertRegex("\n".join(facts["advice"]), advice)
        for line in (facts["reason"] or "", *facts["advice"]):
            self.assertIn(line, text)
        return text, facts["login"]


class Succeeds(LoginProbe):
    def test_each_protocol_and_mechanism(self):
        for protocol in PROTOCOLS:
            for mechanism, used in USED.items():
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    token = mechanism in TOKENS
                    script, port = self.server(protocol, mechanisms=(mechanism,), echo=False,
                                               listed=[b"SASL " + mechanism.encode()]
                                               if protocol in ("pop3", "nntp") else None)
                    text, facts = self.check(self.probe(port, protocol, token=token), OK, "succeeded")
                    self.assertEqual(facts["mechanisms"], [mechanism])
                    self.assertEqual((facts["mechanism"], facts["user"]), (used, USER))
                    self.assertIn(f"the server accepts the login as {USER}\n", text)
                    self.assertIn(f"\nmechanisms     {mechanism}", text)
                    self.assertIn(f"\nlogin by       {used}\n", text)
                    for attempt in script.attempts:
                        self.assertEqual(attempt.messages, sasl.answers(
                            mechanism, USER, TOKEN if token else SECRET, "mail.test", port))
                    self.assertEqual(len(script.attempts), 2)  # one for each run of the program

    def test_the_protocols_own_login(self):
        for protocol, listed in (("imap", []), ("pop3", [b"USER"]), ("nntp", [b"AUTHINFO USER"])):
            with self.subTest(protocol):
                script, port = self.server(protocol, listed=listed, echo=False)
                text, facts = self.check(self.probe(port, protocol), OK, "succeeded")
                self.assertEqual((facts["mechanism"], facts["native"]), ("native", True))
                self.assertIn("only the protocol's own login", text)
                self.assertEqual(script.mechanisms_tried(), ["native"] * 2)

    def test_one_hello_is_enough(self):
        # Dovecot's submission server and OpenSMTPD answer one hello only.
        script, port = self.server(echo=False)
        heard = []
        script.said = lambda step: heard.append(step) or b""
        self.check(self.probe(port), OK, "succeeded")
        self.assertEqual(heard.count("list"), 2)  # one for each run

    def test_goodbye_comes_after_the_login(self):
        script, port = self.server(echo=False)
        with FakeServer(script) as server:
            self.check(self.probe(server.port), OK, "succeeded")
            for connection in server.connections:
                self.assertTrue(connection.ended.wait(wait.DEADLINE))
                self.assertTrue(connection.secure.endswith(b"\r\nQUIT\r\n"))
        self.assertGreater(port, 0)

    def test_a_secret_from_standard_input(self):
        script, port = self.server(echo=False)
        result = subprocess.run([PROXY, "probe", *map(str, self.flags(port, "smtp", file="-"))],
                                input=SECRET + "\r\n", capture_output=True, text=True,
                                timeout=wait.DEADLINE, check=False)
        self.assertEqual(result.returncode, OK, result.stdout + result.stderr)
        [attempt] = script.attempts
        self.assertEqual(attempt.messages, sasl.answers("PLAIN", USER, SECRET, "mail.test", port))


class File(LoginProbe):
    """Services of a configuration file."""

    def test_an_account_by_each_of_its_names(self):
        script, port = self.server(echo=False)
        config = configuration(port, login=login(), accounts=ACCOUNTS)
        for arguments in (["--login", NAME], ["--login", USER], ["--login"],
                          ["--service", "office", "--login", NAME]):
            with self.subTest(arguments=arguments):
                script.reset(echo=False)
                _, facts = self.check(self.probe_file(config, *arguments), OK, "succeeded")
                self.assertEqual(facts["user"], USER)
                self.assertEqual(script.attempts[0].messages,
                                 sasl.answers("PLAIN", USER, SECRET, "mail.test", port))

    def test_a_login_before_the_greeting_with_a_token(self):
        script, port = self.server(echo=False)
        config = configuration(port, login=login("xoauth2", self.token_file, when="connect"))
        _, facts = self.check(self.probe_file(config, "--login"), OK, "succeeded")
        self.assertEqual(facts["mechanism"], "xoauth2")
        self.assertFalse(facts["token"]["readable"])
        self.assertEqual(script.mechanisms_tried(), ["XOAUTH2"] * 2)

    def asked(self, config, script, port, *asked):
        """Probes with the login of a configuration. Its source answers with the secret or fails."""
        _, facts = self.check(self.probe_file(config, "--login"), *asked)
        if asked[0] == OK:
            self.assertEqual(script.attempts[0].messages,
                             sasl.answers("PLAIN", USER, SECRET, "mail.test", port))
        return facts

    def test_a_secret_from_a_socket(self):
        script, port = self.server(echo=False)
        with SecretSocket(lambda user: SECRET.encode() + b"\n") as source:
            config = configuration(port, login={"when": "connect", "user": USER, "socket": str(source.path)})
            self.asked(config, script, port, OK, "succeeded")
            self.assertEqual(source.asked, [USER] * 2)
        self.asked(config, script, port, REFUSED, "no_secret", "socket")

    def test_a_secret_from_a_program(self):
        script, port = self.server(echo=False)
        with tempfile.TemporaryDirectory(prefix="starttls-program-") as folder:
            command = [launcher.write_program(folder, f"import sys\nprint({SECRET!r})\n"), "{user}"]
            config = configuration(port, login={"when": "connect", "user": USER, "command": command})
            self.asked(config, script, port, OK, "succeeded")
            launcher.write_program(folder, 'import sys\nsys.exit("invalid_grant: " + sys.argv[1])\n')
            facts = self.asked(config, script, port, REFUSED, "no_secret", "program of the secret failed",
                               "starttls-token authorize")
            self.assertEqual(facts["user"], USER)

    def test_without_a_login_the_server_is_probed(self):
        script, port = self.server()
        config = configuration(port, login=login(), accounts=ACCOUNTS)
        status, text, facts, errors = self.probe_file(config)
        self.assertEqual((status, errors, facts["login"]), (OK, "", None), text)
        self.assertEqual(script.attempts, [])

    def test_names_that_are_not_there(self):
        config = configuration(free_port(), login=login(), accounts=ACCOUNTS)
        for arguments, words in ((["--login", "nobody"], "no account 'nobody'; there are: box, scanner"),
                                 (["--service", "other"], "no 'other'; there are: office")):
            status, text, _, errors = self.probe_file(config, *arguments)
            self.assertEqual((status, text), (CONFIG, ""))
            self.assertIn(words, errors)

    def test_a_missing_file_of_a_secret(self):
        _, port = self.server()
        missing = str(self.token_file) + ".missing"
        config = configuration(port, login=login("auto", missing, when="connect"))
        self.check(self.probe_file(config, "--login"), REFUSED, "no_secret",
                   "the file of the secret cannot be read", "as one line")

    def test_an_error_of_the_token_endpoint_in_the_file(self):
        script, port = self.server()
        with secret_file('{"error":"invalid_grant","error_description":"AADSTS700082"}\n') as path:
            config = configuration(port, login=login("auto", path, when="connect"))
            self.check(self.probe_file(config, "--login"), REFUSED, "no_secret",
                       "an error: invalid_grant", "starttls-token authorize")
        self.assertEqual(script.attempts, [])


class Refused(LoginProbe):
    def test_a_wrong_password(self):
        for protocol in PROTOCOLS:
            with self.subTest(protocol):
                script, port = self.server(protocol, decide=lambda *_: "no")
                _, facts = self.check(self.probe(port, protocol), REFUSED, "refused",
                                      "server refused the login: ", "app password")
                self.assertEqual(len(script.attempts), 2)  # it is tried once
                self.assertIn("not you", facts["text"])

    def test_smtp_auth_is_switched_off(self):
        _, port = self.server(mechanisms=("LOGIN", "XOAUTH2"),
                              decide=lambda *_: SWITCHED_OFF.encode() + b"\r\n")
        for token in (False, True):
            text, facts = self.check(self.probe(port, token=token), REFUSED, "refused",
                                     r"535 5\.7\.139", "Set-TransportConfig")
            self.assertIn(f"\nanswer         {SWITCHED_OFF}\n", text)
            self.assertEqual(facts["code"], "535")

    def test_an_error_in_json_is_answered(self):
        for protocol in PROTOCOLS:
            for mechanism in TOKENS:
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    script, port = self.server(protocol, mechanisms=(mechanism,),
                                               decide=lambda *_: "json")
                    _, facts = self.check(self.probe(port, protocol, token=True), REFUSED, "refused")
                    self.assertRegex(facts["status"], r"\A\d{3}\Z")
                    self.assertNotEqual(script.attempts[0].end, None)

    def test_what_a_token_says_about_itself(self):
        _, port = self.server(mechanisms=TOKENS, decide=lambda *_: "json")
        with secret_file(oauth.token(seconds=-60, audience="another")) as path:
            text, facts = self.check(self.probe(port, token=True, file=path), REFUSED, "refused", ".",
                                     "the token expired on ")
        token = facts["token"]
        self.assertTrue(token["readable"])
        self.assertEqual((token["audience"], token["scope"]), (["another"], ["mail"]))
        self.assertLessEqual(token["expires_in_seconds"], -60)
        self.assertGreaterEqual(token["age_seconds"], 10)
        self.assertRegex(text, r"\n  audience     another\n")
        with secret_file(oauth.token(audience="another")) as path:
            self.check(self.probe(port, token=True, file=path), REFUSED, "refused", ".",
                       "it has the audience another")

    def test_no_mechanism_fits(self):
        for protocol in PROTOCOLS:
            for token, listed, advice in ((True, "PLAIN", "takes no tokens"),
                                          (False, "XOAUTH2", "only OAuth tokens"),
                                          (False, "CRAM-MD5", "inside TLS")):
                with self.subTest(protocol=protocol, listed=listed):
                    lines = {"imap": [b"LOGINDISABLED AUTH=" + listed.encode()],
                             "pop3": [b"SASL " + listed.encode()],
                             "nntp": [b"SASL " + listed.encode()]}.get(protocol)
                    script, port = self.server(protocol, mechanisms=(listed,), listed=lines)
                    self.check(self.probe(port, protocol, token=token), PROTOCOL, "not_offered",
                               f"login_not_offered: the server lists {listed}", advice)
                    self.assertEqual(script.attempts, [])
        _, port = self.server(mechanisms=())
        self.check(self.probe(port), PROTOCOL, "not_offered", "lists no mechanism", "another port")

    def test_the_server_hangs_up_or_breaks_the_protocol(self):
        for protocol in PROTOCOLS:
            _, port = self.server(protocol, said=at("result", leave))
            self.check(self.probe(port, protocol), UNREACHABLE, "unanswered", "closed")
            _, port = self.server(protocol, said=at("result", b"\x00what\r\n"))
            self.check(self.probe(port, protocol), PROTOCOL, "unanswered")

    def test_a_server_that_is_silent_at_the_login(self):
        _, port = self.server(said=at("result", None))
        flags = [*self.flags(port, "smtp"), "--prelude-timeout", "5s"]
        self.check(self.run_probe(*flags), UNREACHABLE, "unanswered", "did not answer in time")

    def test_a_server_that_repeats_the_secret(self):
        # `run_probe` looks for the canaries.
        for token, secret in ((False, SECRET), (True, TOKEN)):
            _, port = self.server(decide=lambda *_, secret=secret: b"535 5.7.8 no " + secret.encode() +
                                  b" " + sasl.encoded(sasl.plain(USER, secret)) + b"\r\n")
            self.check(self.probe(port, token=token), REFUSED, "refused")


class NotTried(LoginProbe):
    def test_no_server(self):
        text, _ = self.check(self.probe(free_port()), UNREACHABLE, "not_tried")
        self.assertIn("\nlogin          not tried\n", text)

    def test_an_unverified_server_hears_no_secret(self):
        script, port = self.server()
        flags = self.flags(port, "smtp")
        flags[flags.index("--server-name") + 1] = "other.test"
        self.check(self.run_probe(*flags), REFUSED, "not_tried", "name mismatch")
        self.assertEqual(script.attempts, [])

    def test_settings_that_verify_nothing_are_an_error(self):
        script, port = self.server()
        for more in (["--verify", "none"], ["--upstream-tls", "none"],
                     ["--upstream-tls", "opportunistic"]):
            flags = self.flags(port, "smtp")
            if more[0] == "--verify":
                flags = self.flags(port, "smtp", verified=False)
                more = []
            status, text, _, errors = self.run_probe(*flags, *more)
            self.assertEqual((status, text), (CONFIG, ""), errors)
            self.assertIn("only a verified server may hear a secret", errors)
        self.assertEqual(script.attempts, [])

    def test_a_file_that_others_can_read(self):
        script, port = self.server()
        with secret_file(SECRET) as path:
            os.chmod(path, 0o644)
            self.check(self.probe(port, file=path), REFUSED, "no_secret", "cannot be read")
        self.assertEqual(script.attempts, [])

    def test_a_secret_that_cannot_be_sent(self):
        script, port = self.server(mechanisms=TOKENS)
        for text in (b"", b"a\x00b", b"x" * 9001):
            with secret_file(text) as path:
                self.check(self.probe(port, token=True, file=path), REFUSED, "no_secret")
        self.assertEqual(script.attempts, [])


class Dovecot(LoginProbe):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dovecot = cls.enterClassContext(oauth.Dovecot())

    def test_passwords_and_tokens(self):
        from support.dovecot import PASSWORD  # pylint: disable=import-outside-toplevel
        for protocol, name in (("smtp", "submission"), ("imap", "imap"), ("pop3", "pop3"),
                               ("sieve", "sieve")):
            port = self.dovecot.ports[name]
            for secret, token, status, outcome, advice in (
                    (PASSWORD, False, OK, "succeeded", ".*"),
                    ("wrong", False, REFUSED, "refused", "app password"),
                    (oauth.token(), True, OK, "succeeded", ".*"),
                    (oauth.token(seconds=-5), True, REFUSED, "refused", "the token expired"),
                    (oauth.token(audience="other"), True, REFUSED, "refused", "audience other")):
                with self.subTest(protocol=protocol, outcome=outcome, advice=advice):
                    with secret_file(secret) as path:
                        self.check(self.probe(port, protocol, token=token, file=path), status, outcome,
                                   ".*", advice)


if __name__ == "__main__":
    main.main()

"""The login: what --check and the start say about it. No secret appears in any of it."""

import json
import pathlib
import tempfile
import unittest

from support import main
from support.daemon import run_to_end

SECRET = "hunter2"
SERVICE = """\
[[service]]
name = "office"
protocol = "smtp"
listen = "{listen}"
downstream.allow = {allow}
upstream = {{ address = "mail.test:587", tls = "{tls}", verify = "{verify}" }}
"""
CONNECT = """\
[service.login]
when = "connect"
user = "scan@mail.test"
secret = "${file:secret}"
"""
ACCOUNTS = """\
[service.login]
user = "all@mail.test"
secret = "${file:secret}"
[[service.account]]
name = "scanner"
password = "${file:secret}"
[[service.account]]
name = "*"
"""


class LoginConfiguration(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "secret").write_text(SECRET + "\n", encoding="utf-8")

    def check(self, login, *options, listen="192.0.2.1:2525", allow='["192.0.2.0/24"]', tls="starttls",
              verify="full"):
        path = self.folder / "proxy.toml"
        path.write_text(SERVICE.format(listen=listen, allow=allow, tls=tls, verify=verify) + login,
                        encoding="utf-8")
        result = run_to_end("--config", path, "--check", *options)
        self.assertNotIn(SECRET, result.stdout + result.stderr)
        return result

    def test_it_prints_which_client_uses_which_account(self):
        result = self.check(ACCOUNTS)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("scanner, with its password, is all@mail.test at the server, with the password in "
                      "the configuration\n", result.stdout)
        self.assertIn("any other name is all@mail.test at the server, with the client's own password\n",
                      result.stdout)
        facts = json.loads(self.check(ACCOUNTS, "--json").stdout)
        self.assertEqual(facts["services"][0]["login"]["secret"], "hidden")
        self.assertEqual([row["password"] for row in facts["services"][0]["account"]], ["hidden", None])

    def test_a_secret_of_the_proxy_is_not_for_everyone(self):
        everyone = '["0.0.0.0/0", "::/0"]'
        self.assertEqual(self.check(CONNECT).returncode, 0)
        result = self.check(CONNECT, allow=everyone)
        self.assertEqual(result.returncode, 78, result.stdout)
        self.assertRegex(result.stderr, r":5:20: service\.downstream\.allow: 0\.0\.0\.0/0 is too wide: ")
        self.assertEqual(self.check(ACCOUNTS, allow=everyone).returncode, 0)
        opened = self.check(ACCOUNTS + 'password = ""\n', allow=everyone)
        self.assertEqual(opened.returncode, 78, opened.stdout)

    def test_on_this_machine_every_user_may_use_it_with_a_warning(self):
        result = self.check(CONNECT, listen="127.0.0.1:2525", allow="[]")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("every user of this machine can use the proxy's secret", result.stdout)

    def test_a_secret_is_only_for_a_verified_server(self):
        for login in (CONNECT, ACCOUNTS):
            for leg in ({"tls": "none"}, {"tls": "opportunistic"}, {"verify": "none"}):
                with self.subTest(login=login, leg=leg):
                    result = self.check(login, **leg)
                    self.assertEqual(result.returncode, 78, result.stdout)
                    self.assertIn("which only a verified server may see", result.stderr)
        passed_on = self.check("[service.login]\n", verify="none")
        self.assertEqual(passed_on.returncode, 0, passed_on.stderr)

    def test_an_empty_file_does_not_mean_any_password(self):
        (self.folder / "empty").write_text("\n", encoding="utf-8")
        result = self.check(ACCOUNTS.replace('password = "${file:secret}"', 'password = "${file:empty}"'))
        self.assertEqual(result.returncode, 78, result.stdout)
        self.assertIn("service.account.password: '${file:empty}': is empty", result.stderr)

    def test_a_file_of_a_secret_may_come_later_but_not_be_open_to_others(self):
        login = CONNECT.replace('secret = "${file:secret}"', 'file = "token"\ntoken = true')
        missing = self.check(login)
        self.assertEqual(missing.returncode, 0, missing.stderr)
        warning = f"logins fail until the file of their secret is there: {self.folder}/token"
        self.assertRegex(missing.stdout, f"\n  WARNING +{warning}\n")
        warnings = json.loads(self.check(login, "--json").stdout)["warnings"]
        self.assertIn({"service": "office", "message": warning}, warnings)
        token = self.folder / "token"
        token.write_text(SECRET, encoding="utf-8")
        token.chmod(0o644)
        opened = self.check(login)
        self.assertEqual(opened.returncode, 78, opened.stdout)
        self.assertRegex(opened.stderr, r":10:8: service\.login\.file: .*/token: this secret is open to group")
        token.chmod(0o600)
        usable = self.check(login)
        self.assertEqual(usable.returncode, 0, usable.stderr)
        self.assertNotIn("logins fail", usable.stdout)


if __name__ == "__main__":
    main.main()

"""convert: a stunnel.conf becomes a file that the daemon accepts, and mail crosses it as before."""

import pathlib
import tempfile
import unittest

from support import main
from support.client import Client
from support.daemon import Daemon, run_to_end
from support.environment import pki
from support.fake_server import FakeServer, Smtp


class Convert(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def convert(self, text):
        path = self.folder / "stunnel.conf"
        path.write_text(text, encoding="utf-8")
        return run_to_end("convert", path)

    def test_both_directions_pass_the_check(self):
        chain, key = pki().pair()
        result = self.convert(f"""\
; two of each
setuid = stunnel4
[submission]
client = yes
protocol = smtp
accept = 127.0.0.1:2525
connect = mail.test:587
verifyChain = yes
CAfile = {pki().ca}
checkHost = mail.test

[imaps]
accept = 993
connect = 143
cert = {chain}
key = {key}
verifyChain = yes
CAfile = {pki().ca}
""")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"stunnel\.conf: line 2: setuid: ")
        self.assertRegex(result.stderr, r"\nstarttls-proxy: .*stunnel\.conf: 2 of 2 services converted, "
                                        r"0 left out, 1 note\n\Z")
        self.assertEqual(len(result.stderr.splitlines()), 2)
        self.assertRegex(result.stdout, r"\A# Converted from .*/stunnel\.conf on \d{4}-\d\d-\d\d\.\n")
        self.assertRegex(result.stdout, r"\n# line 2: setuid: ")
        path = self.folder / "proxy.toml"
        path.write_text(result.stdout, encoding="utf-8")
        checked = run_to_end("--config", path, "--check")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertRegex(checked.stdout, r"(?s)service submission.*service imaps")

    def test_a_converted_configuration_passes_mail(self):
        with FakeServer(Smtp()) as server:
            result = self.convert(f"""\
debug = 7
[submission]
client = yes
protocol = smtp
accept = 127.0.0.1:0
connect = 127.0.0.1:{server.port}
verifyChain = yes
CAfile = {pki().ca}
checkHost = mail.test
""")
            self.assertEqual((result.returncode, result.stderr),
                             (0, f"starttls-proxy: {self.folder}/stunnel.conf: 1 of 1 service "
                                 "converted, 0 left out, 0 notes\n"))
            with Daemon(result.stdout) as daemon, Client(daemon.port) as client:
                self.assertTrue(client.reply().startswith(b"220"))
                client.command(b"QUIT")
                client.rest()
                self.assertEqual(daemon.session()["upstream_verify"], "full")

    def test_a_login_is_converted_without_its_password(self):
        result = self.convert("""\
[office]
client = yes
protocol = smtp
accept = 127.0.0.1:2525
connect = mail.test:587
verifyChain = yes
checkHost = mail.test
protocolUsername = scan@mail.test
protocolPassword = hunter2
""")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn("hunter2", result.stdout + result.stderr)
        self.assertRegex(result.stderr, r"line 9: \[office\] protocolPassword: is not copied: write the "
                                        r"password into the file office\.password ")
        path = self.folder / "proxy.toml"
        path.write_text(result.stdout, encoding="utf-8")
        checked = run_to_end("--config", path, "--check")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn(f"each client is scan@mail.test at the server, with the password in "
                      f"{self.folder}/office.password\n", checked.stdout)
        self.assertIn("every user of this machine can use the proxy's secret", checked.stdout)
        self.assertIn("logins fail until the file of their secret is there", checked.stdout)
        password = self.folder / "office.password"
        password.write_text("hunter2\n", encoding="utf-8")
        password.chmod(0o600)
        self.assertNotIn("logins fail", run_to_end("--config", path, "--check").stdout)

    def test_several_files_and_their_includes_become_one(self):
        service = "[mail]\nclient = yes\naccept = 127.0.0.1:{}\nconnect = mail.test:993\nverifyChain = yes\n" \
                  "checkHost = mail.test\n"
        (self.folder / "conf.d").mkdir()
        for path, text in (("a.conf", service.format(1143)), ("b.conf", "include = conf.d\n"),
                           ("conf.d/c.conf", service.format(1144) + "curves = P-256\n")):
            (self.folder / path).write_text(text, encoding="utf-8")
        result = run_to_end("convert", self.folder / "a.conf", self.folder / "b.conf")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"{self.folder}/b.conf: {self.folder}/conf.d/c.conf: line 7: [mail] curves: ", result.stderr)
        self.assertIn("starttls-proxy: 2 files: 2 of 2 services converted, 0 left out, 1 note\n", result.stderr)
        path = self.folder / "proxy.toml"
        path.write_text(result.stdout, encoding="utf-8")
        checked = run_to_end("--config", path, "--check")
        self.assertRegex(checked.stdout, r"(?s)service mail.*service mail-2.*ok: 2 services")

    def test_strict_fails_if_a_service_is_left_out(self):
        mail = "[mail]\nclient = yes\nprotocol = smtp\naccept = 127.0.0.1:2525\nconnect = mail.test:587\n"
        both, whole = self.folder / "both.conf", self.folder / "whole.conf"
        whole.write_text(mail, encoding="utf-8")
        both.write_text(mail + "[https]\naccept = 443\nconnect = 80\ncert = a.pem\n", encoding="utf-8")
        lenient, strict = run_to_end("convert", both), run_to_end("convert", "--strict", both)
        self.assertEqual((lenient.returncode, strict.returncode), (0, 78))
        self.assertEqual((strict.stdout, strict.stderr), (lenient.stdout, lenient.stderr))
        self.assertIn("1 of 2 services converted, 1 left out", strict.stderr)
        self.assertEqual(run_to_end("convert", "--strict", whole).returncode, 0)

    def test_nothing_to_convert_is_an_error(self):
        result = self.convert("[https]\naccept = 443\nconnect = 80\ncert = a.pem\n")
        self.assertEqual((result.returncode, result.stdout), (78, ""))
        self.assertIn("no service could be converted", result.stderr)
        missing = run_to_end("convert", self.folder / "missing")
        self.assertEqual(missing.returncode, 78)
        self.assertIn("No such file", missing.stderr)
        self.assertEqual(run_to_end("convert").returncode, 64)


if __name__ == "__main__":
    main.main()

"""Logins with secrets that programs print: from the client's login through the launcher to the server."""

import os
import pathlib
import signal
import tempfile
import unittest

from support import admin, launcher, main, wait
from support.fake_server import FakeServer
from support.gateway import Gateway
from support.login_client import KINDS
from support.login_server import LoginServer
from support.logins import begin

PASSWORD = "c1ient"

# The program: its argument says what it does.
PROGRAM = r'''
import os, subprocess, sys, time
FOLDER = %r
what = sys.argv[1]
with open(f"{FOLDER}/runs", "a") as runs: runs.write(what + "\n")
def put(text): os.write(1, text if isinstance(text, bytes) else text.encode())
if what == "plain": put("s3cret\n")
elif what == "no-end": put("s3cret")
elif what == "nothing": pass
elif what == "empty-line": put("\ns3cret\n")
elif what == "bom": put(b"\xef\xbb\xbfs3cret\r\n")
elif what == "two-lines": put("s3cret\nother\n")
elif what == "20-kib": put("a" * 20480 + "\n")
elif what == "20-kib-later": put("s3cret\n" + "a" * 20480 + "\n")
elif what == "json": put('{"access_token": "s3cret", "expires_in": 3600}\n')
elif what == "garbage": put(bytes(range(256)))
elif what == "nul": put(b"s3\0cret\n")
elif what == "control": put(b"s3\1cret\n")
elif what == "words":
    put("s3cret\n"); sys.exit("first\nno such account")
elif what == "leaks":
    put("s3cret\n"); sys.exit("the token is s3cret")
elif what == "terminal":
    try: open("/dev/tty")
    except OSError as error: sys.exit(f"no terminal: {error.strerror}")
elif what == "child":
    child = subprocess.Popen(["/bin/sleep", "1000"]); put("s3cret\n")
elif what == "sleep": time.sleep(1000)
elif what == "slow":
    open(f"{FOLDER}/go").read(); put("s3cret\n")
'''


class CommandCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="launcher-")))
        self.program = launcher.write_program(self.folder, PROGRAM % str(self.folder))
        self.script = LoginServer("smtp")
        self.server = self.enterContext(FakeServer(self.script))

    def gateway(self, timeout="20s", token=False):
        """Returns a gateway. The name of a client says what the program does."""
        return Gateway({"smtp-any": {
            "protocol": "smtp", "upstream.address": f"127.0.0.1:{self.server.port}",
            "login": {"timeout": timeout, "command": [self.program, "{user}"], "token": token},
            "accounts": [{"name": "*", "password": PASSWORD}]}}, admin={"listen": "127.0.0.1:0"})

    def running(self, **options):
        return self.enterContext(self.gateway(**options))

    def client(self, gateway):
        return begin(self.enterContext(gateway.connect("smtp-any", KINDS["smtp"])))

    def log_in(self, gateway, user):
        """Logs in as a client. Returns the reply, and what the server heard last."""
        client = self.client(gateway)
        reply = client.log_in("PLAIN", user, PASSWORD)
        client.close()
        return reply, self.script.attempts[-1].messages if self.script.attempts else None

    def runs(self):
        return (self.folder / "runs").read_text(encoding="ascii").split()


class Secrets(CommandCase):
    def test_the_first_line_is_the_secret(self):
        gateway = self.running()
        for user, secret in (("plain", b"s3cret"), ("no-end", b"s3cret"), ("bom", b"s3cret"),
                             ("two-lines", b"s3cret"), ("20-kib-later", b"s3cret"),
                             ("control", b"s3\1cret"), ("child", b"s3cret")):
            with self.subTest(user):
                reply, heard = self.log_in(gateway, user)
                self.assertTrue(reply.startswith(b"235"), reply)
                self.assertEqual(heard, [b"\0%s\0%s" % (user.encode(), secret)])

    def test_anything_else_is_a_temporary_failure_with_its_reason(self):
        patient, hasty = self.running(), self.running(timeout="2s")
        for user, words in (
                ("nothing", "empty"), ("empty-line", "empty"), ("20-kib", "too long"),
                ("garbage", "no secret may have"), ("nul", "no secret may have"),
                ("words", "exit status 1: no such account"),
                ("leaks", "exit status 1 (the last line of its standard error is not shown"),
                ("terminal", "exit status 1: no terminal: "),
                ("sleep", "did not end in time"),
                ("-c", "no program for this account")):
            gateway = hasty if user == "sleep" else patient
            with self.subTest(user):
                reply, _ = self.log_in(gateway, user)
                self.assertRegex(reply, rb"^454 4\.7\.0 ")
                self.assertEqual(self.script.attempts, [])
                wait.until(lambda words=words, log=gateway.daemon.text: words in log(),
                           f"the log has {words}")
        for gateway in (patient, hasty):
            self.assertNotIn("s3cret", gateway.daemon.text())

    def test_a_token_in_json(self):
        gateway = self.running(token=True)
        reply, heard = self.log_in(gateway, "json")
        self.assertTrue(reply.startswith(b"235"), reply)
        self.assertIn(b"Bearer s3cret\1", heard[0])
        reply, _ = self.log_in(gateway, "control")
        self.assertRegex(reply, rb"^454 4\.7\.0 ")

    def test_fifty_clients_at_once_have_one_run(self):
        gateway = self.running()
        os.mkfifo(self.folder / "go")
        clients = [self.client(gateway) for _ in range(50)]
        for client in clients:
            client.log_in("PLAIN", "slow", PASSWORD, wait=False)
        with open(self.folder / "go", "w", encoding="ascii"):
            pass
        for client in clients:
            self.assertTrue(client.answer().startswith(b"235"))
        self.assertEqual(self.runs(), ["slow"])


class Changes(CommandCase):
    def test_a_changed_command_takes_effect_at_a_reload(self):
        gateway = self.running()
        self.assertEqual(self.log_in(gateway, "plain")[1], [b"\0plain\0s3cret"])
        self.log_in(gateway, "plain")
        self.assertEqual(self.runs(), ["plain"])  # it is kept
        file = gateway.daemon.configuration_file
        text = file.read_text(encoding="utf-8")
        changed = text.replace(f'["{self.program}", "{{user}}"]', '["/bin/echo", "n3w"]')
        self.assertNotEqual(changed, text)
        file.write_text(changed, encoding="utf-8")
        gateway.daemon.process.send_signal(signal.SIGHUP)
        gateway.daemon.lines(lambda f: f.get("msg") == "reloaded")
        self.assertEqual(self.log_in(gateway, "plain")[1], [b"\0plain\0n3w"])

    def test_without_the_launcher_logins_fail_temporarily_and_the_proxy_ends(self):
        gateway = self.gateway()
        gateway.__enter__()
        daemon = gateway.daemon
        client = begin(gateway.connect("smtp-any", KINDS["smtp"]))
        os.kill(launcher.of(daemon), signal.SIGKILL)
        daemon.lines(lambda f: f.get("msg") == "draining")
        response = admin.get(admin.address(daemon), "/readyz")
        self.assertEqual(response.status, 503)
        self.assertIn("the launcher has ended", response.text)
        self.assertRegex(client.log_in("PLAIN", "plain", PASSWORD), rb"^454 4\.7\.0 ")
        client.close()
        daemon.expect_exit(70)
        self.assertEqual(self.script.attempts, [])


if __name__ == "__main__":
    main.main()

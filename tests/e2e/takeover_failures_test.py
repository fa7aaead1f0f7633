"""Failures when one process starts or reloads beside another, which must keep its sockets.

Not under a sanitizer: its runtime must be loaded first. It also cannot look into a process that has
changed its user."""

import contextlib
import os
import pathlib
import pwd
import signal
import tempfile
import unittest
from unittest import mock

from support import admin, intruder, main
from support.beside import Beside, send_mail
from support.client import free_port
from support.daemon import try_to_start
from support.environment import pki

LOGIN = f"""
[[service]]
name = "two"
protocol = "smtp"
listen = "127.0.0.1:0"
upstream = {{ address = "mail.test:587", ca_file = "{pki().ca}" }}
[service.login]
when = "connect"
user = "office@mail.test"
secret = "s3cret"
"""


class OtherUser(Beside):
    @unittest.skipUnless(os.geteuid() == 0, "root alone becomes somebody else")
    def test_s11_the_same_program_of_another_user_keeps_its_socket(self):
        """File permissions would allow the takeover: both users may write to the folder, and connect."""
        path = f"{self.folder}/proxy.sock"
        self.write(f"unix:{path}", sandbox=False)
        self.folder.chmod(0o777)

        def somebody(uid):  # a user that may read programs and files in others' folders
            return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]

        with self.daemon(1, wrapper=somebody(20896)):
            os.chmod(path, 0o777)
            inode = os.stat(path).st_ino
            ended = try_to_start("--config", self.file, wrapper=somebody(20897))
            self.assertEqual(os.stat(path).st_ino, inode)
            self.assertEqual(ended, (69, f"starttls-proxy: cannot listen on unix:{path}: bind: "
                                         "Address already in use"))
            send_mail(path)


class LateFailures(Beside):
    """S3: a failure after all is bound leaves a running process its sockets."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.library = intruder.library()

    def setUp(self):
        super().setUp()
        self.path = f"{self.folder}/proxy.sock"
        self.admin = f"unix:{self.folder}/admin.sock"

    @contextlib.contextmanager
    def first(self, *listen):
        """Starts a process at both paths. Afterwards the paths must still be its own."""
        self.write([f"unix:{self.path}", *listen], self.admin)
        with self.daemon(1 + len(listen)) as daemon:
            inodes = [os.stat(path).st_ino for path in (self.path, f"{self.folder}/admin.sock")]

            def check():
                send_mail(self.path)
                self.assertEqual(admin.get(self.admin, "/readyz").status, 200)
                self.assertEqual([os.stat(path).st_ino for path in (
                    self.path, f"{self.folder}/admin.sock")], inodes)
                self.assertEqual([name for name in os.listdir(self.folder) if ".new" in name], [])

            check()
            yield check

    def start_fails(self, status, words, **environment):
        """Asserts that a second start fails."""
        with mock.patch.dict(os.environ, {"LD_PRELOAD": str(self.library), **environment}):
            self.assert_ended(try_to_start("--config", self.file), status, words)

    def assert_ended(self, ended, status, words):
        self.assertEqual(ended[0], status, ended[1])
        self.assertIn(words, ended[1])

    def test_s3_a_sandbox_that_cannot_be_entered(self):
        with self.first() as check:
            self.write(f"unix:{self.path}", self.admin, sandbox=True)
            self.start_fails(71, "landlock_restrict_self", INTRUDER_REFUSES="sandbox")
            check()

    def test_s3_another_process_listens_first(self):
        port = free_port()
        words = f"cannot listen on 127.0.0.1:{port}: listen: Address already in use"
        with self.first() as check:
            for listen, endpoint in (([f"127.0.0.1:{port}"], self.admin),
                                     ([], f"127.0.0.1:{port}")):
                self.write([f"unix:{self.path}", *listen], endpoint)
                self.start_fails(69, words, INTRUDER_PORT=str(port))
                check()

    def test_s3_a_path_that_cannot_be_bound(self):
        with self.first() as check:
            self.start_fails(69, f"cannot listen on unix:{self.path}: rename", INTRUDER_REFUSES="rename")
            check()

    def test_s3_a_start_with_too_few_threads(self):
        """Two workers, and four threads for the login."""
        with self.first() as check:
            self.write([f"unix:{self.path}"], self.admin)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(LOGIN)
            for threads in range(6):
                self.start_fails(71, "cannot start a thread: Resource temporarily unavailable",
                                 INTRUDER_THREADS=str(threads))
                check()

    def test_s3_a_reload_with_too_few_threads(self):
        with self.first() as check, tempfile.TemporaryDirectory() as other:
            self.file = pathlib.Path(other) / "proxy.toml"
            self.write("127.0.0.1:0", sandbox=False)
            with (mock.patch.dict(os.environ, {"LD_PRELOAD": str(self.library), "INTRUDER_THREADS": "2"}),
                  self.daemon(1) as daemon):
                self.write(["127.0.0.1:0", f"unix:{self.path}"], sandbox=False)
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(LOGIN)
                daemon.process.send_signal(signal.SIGHUP)
                line = daemon.lines(lambda f: "reloaded" in f.get("msg", ""))[-1]
                self.assertEqual((line["msg"], line.get("reason")), (
                    "not reloaded, the old configuration stays",
                    "cannot start a thread: Resource temporarily unavailable"))
                check()
                send_mail(("127.0.0.1", daemon.port))

    @unittest.skipUnless(os.geteuid() == 0, "root alone becomes somebody else")
    def test_s3_a_user_that_may_not_change_the_folder(self):
        """Root binds in its own folder. The user that it becomes cannot take over the path there."""
        self.folder.chmod(0o755)
        self.write(f"unix:{self.path}", user="nobody")
        with self.daemon(1):
            inode = os.stat(self.path).st_ino
            self.assert_ended(try_to_start("--config", self.file), 69, (
                f"cannot take over unix:{self.path}: cannot write to its folder: Permission denied: "
                "stop the other process first"))
            send_mail(self.path)
            self.assertEqual(os.stat(self.path).st_ino, inode)
            self.assertEqual(sorted(os.listdir(self.folder)), ["proxy.sock", "proxy.toml"])
            # In a folder of its own the user can do it, inside the sandbox.
            os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)
            with self.daemon(1):
                send_mail(self.path)
                self.assertNotEqual(os.stat(self.path).st_ino, inode)

    def test_s3_a_reload_that_fails_late(self):
        """Without a sandbox: in it, nothing is known about other processes."""
        with self.first() as check, tempfile.TemporaryDirectory() as other:
            port = free_port()
            self.file = pathlib.Path(other) / "proxy.toml"
            self.write("127.0.0.1:0", sandbox=False)
            with (mock.patch.dict(os.environ, {"LD_PRELOAD": str(self.library),
                                               "INTRUDER_PORT": str(port)}),
                  self.daemon(1) as daemon):

                def reload(count, listen, endpoint, more=""):
                    self.write(["127.0.0.1:0", *listen], endpoint, sandbox=False)
                    with self.file.open("a", encoding="utf-8") as file:
                        file.write(more)
                    daemon.process.send_signal(signal.SIGHUP)
                    return daemon.lines(lambda f: "reloaded" in f.get("msg", ""), count)[-1]

                paths = [f"unix:{self.path}"], self.admin
                log = f'\n[log]\nfile = "{other}/missing/log"\n'
                words = f"cannot listen on 127.0.0.1:{port}: listen"
                for count, (found, expected) in enumerate((
                        (([f"unix:{self.path}", f"127.0.0.1:{port}"], self.admin), words),
                        (([f"unix:{self.path}"], f"127.0.0.1:{port}"), words),
                        ((*paths, log), "missing/log")), 1):
                    line = reload(count, *found)
                    self.assertIn(expected, line.get("reason", ""), line)
                    check()
                send_mail(("127.0.0.1", daemon.port))
                # A reload that does not fail takes both.
                self.assertEqual(reload(4, *paths)["opened"], "1")
                inode = os.stat(self.path).st_ino
                with self.assertRaises(AssertionError):
                    check()
                send_mail(self.path)
                self.assertEqual(os.stat(self.path).st_ino, inode)


if __name__ == "__main__":
    main.main()

"""The launcher: what its programs see, what of their output counts, its rights, and its end.

An intruder in the daemon asks for the programs. So it is seen as well that an intruder gets nothing
else.
"""

import json
import os
import pathlib
import pwd
import signal
import socket
import tempfile
import unittest
from unittest import mock

from support import admin, intruder, launcher, main, wait
from support.client import Client
from support.daemon import Daemon, configuration, try_to_start
from support.environment import unsanitized
from support.fake_server import FakeServer, Smtp, tls_context
from support.launcher import BEGINNING, FAILURE, OUTPUT, TIMEOUT, ask
from support.rights import status_of

USER = "nobody"

# The program: its argument says what it does, and it may use FOLDER.
PROGRAM = r'''
import json, os, signal, subprocess, sys, time
FOLDER = %r
what = sys.argv[1]
def put(text): os.write(1, text if isinstance(text, bytes) else text.encode())
def note(name, value):
    with open(f"{FOLDER}/{name}.new", "w") as file: json.dump(value, file)
    os.rename(f"{FOLDER}/{name}.new", f"{FOLDER}/{name}")
if what == "plain": put("s3cret\n")
elif what == "nothing": pass
elif what == "bom": put(b"\xef\xbb\xbfs3cret\r\n")
elif what == "two-lines": put("s3cret\nother\n")
elif what == "20-kib": put("a" * 20480 + "\n")
elif what == "json": put('{"access_token": "s3cret", "expires_in": 3600}\n')
elif what == "garbage": put(bytes(range(256)))
elif what == "control": put(b"a\nb\0c\1d\n")
elif what == "words":
    put("s3cret\n"); sys.exit("first\nno such account")
elif what == "signal": os.kill(os.getpid(), signal.SIGSEGV)
elif what == "terminal":
    try: open("/dev/tty")
    except OSError as error: sys.exit(f"no terminal: {error.strerror}")
elif what == "leaks":
    put("s3cret\n"); sys.exit("the token is s3cret")
elif what == "child":
    child = subprocess.Popen(["/bin/sleep", "1000"])
    note("child", child.pid); put("s3cret\n")
elif what == "daemon":
    child = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
    note("daemon", child.pid); put("s3cret\n")
elif what == "sleep":
    child = subprocess.Popen(["/bin/sleep", "1000"])
    note("sleep", [os.getpid(), child.pid]); sys.stderr.write("still waiting\n"); sys.stderr.flush()
    time.sleep(1000)
elif what == "look":
    status = {key: value.strip() for key, _, value in (
        line.partition(":") for line in open("/proc/self/status"))}
    mask = os.umask(0)
    note("look", {
        "descriptors": {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                        if os.path.exists(f"/proc/self/fd/{fd}") or int(fd) < 3},
        "environment": dict(os.environ), "cwd": os.getcwd(), "umask": mask, "arguments": sys.argv[1:],
        "leads": os.getpid() == os.getpgid(0) == os.getsid(0), "ids": os.getresuid() + os.getresgid(),
        "groups": os.getgroups(), "status": status})
    put("s3cret\n")
elif what == "stay":
    note("stay", os.getpid()); time.sleep(1000)
'''


class LauncherCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="launcher-")))
        self.program = launcher.write_program(self.folder, PROGRAM % str(self.folder))
        self.server = self.enterContext(FakeServer(Smtp(context=tls_context())))

    def configuration(self, command=None, timeout="20s", accounts=(), **options):
        """Returns a configuration in which any user has a program: the user says what it does."""
        login = {"timeout": timeout, "command": command or [self.program, "{user}"]}
        text = configuration(self.server.port, login=login, accounts=[
            {"name": "*", "password": "word"}, *accounts], **options)
        return admin.configured(text)

    def start(self, text=None, intruder_in_it=True, **environment):
        """Returns a daemon, which the test ends."""
        if intruder_in_it:
            environment = {"LD_PRELOAD": str(intruder.library()), "INTRUDER": "launcher", **environment}
        with mock.patch.dict(os.environ, environment):
            daemon = Daemon(text or self.configuration())
            daemon.__enter__()
        return daemon

    def running(self, *arguments, **options):
        """Returns a daemon that is ended after the test."""
        daemon = self.start(*arguments, **options)
        self.addCleanup(daemon.__exit__, None, None, None)
        return daemon

    def note(self, name):
        """Waits for a note of the program, and returns it."""
        path = self.folder / name
        wait.until(path.exists, f"the program has written {name}")
        return json.loads(path.read_text(encoding="utf-8"))

    def reload(self, daemon, text, expected="reloaded", count=1):
        daemon.configuration_file.write_text(text, encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        return daemon.lines(lambda f: f.get("msg", "").startswith(expected), count)[-1]


class Output(LauncherCase):
    def test_what_a_program_prints_is_its_answer_if_it_succeeds(self):
        daemon = self.running()
        for user, expected in (
                ("plain", (OUTPUT, "s3cret\n")),
                ("nothing", (FAILURE, "exit status 0, but the first line of its output is empty")),
                ("bom", (OUTPUT, "\xef\xbb\xbfs3cret\r\n")),
                ("two-lines", (OUTPUT, "s3cret\nother\n")),
                ("20-kib", (BEGINNING, "a" * 16384)),
                ("json", (OUTPUT, '{"access_token": "s3cret", "expires_in": 3600}\n')),
                ("garbage", (OUTPUT, bytes(range(256)).decode("latin-1"))),
                ("control", (OUTPUT, "a\nb\0c\1d\n")),
                ("words", (FAILURE, "exit status 1: no such account")),
                ("signal", (FAILURE, f"ended by signal {signal.SIGSEGV.value}")),
                ("terminal", (FAILURE, "exit status 1: no terminal: No such device or address")),
                ("leaks", (FAILURE, "exit status 1 (the last line of its standard error is not shown: "
                                    "it may contain a secret)"))):
            with self.subTest(user):
                self.assertEqual(ask(daemon, "office", "", user), expected)

    def test_a_program_that_cannot_be_executed(self):
        daemon = self.running()
        pathlib.Path(self.program).unlink()
        self.assertEqual(ask(daemon, "office", "", "plain"), (
            FAILURE, f"exit status 127: cannot execute {self.program}: No such file or directory"))

    def test_a_child_that_keeps_the_output_open_holds_up_nothing(self):
        daemon = self.running()
        self.assertEqual(ask(daemon, "office", "", "child"), (OUTPUT, "s3cret\n"))
        launcher.await_end(self.note("child"))
        # It has left the group.
        self.assertEqual(ask(daemon, "office", "", "daemon"), (OUTPUT, "s3cret\n"))
        os.kill(self.note("daemon"), signal.SIGKILL)

    def test_a_program_that_does_not_end_is_killed_with_its_group(self):
        expected = TIMEOUT, "did not end in time: still waiting"
        for timeout in ("1s", "5s", "20s"):  # a busy machine may kill the program before its words
            daemon = self.running(self.configuration(timeout=timeout))
            answer = ask(daemon, "office", "", "sleep")
            if answer == expected:
                break
        self.assertEqual(answer, expected)
        for pid in self.note("sleep"):
            launcher.await_end(pid)

    def test_many_programs_at_once(self):
        daemon = self.running()
        packets = [launcher.request("office", "", "plain") for _ in range(50)]
        for packet in packets:
            launcher.send(daemon, packet)
        for packet in packets:
            self.assertEqual(launcher.answer_to(daemon, packet), (OUTPUT, "s3cret\n"))


class Surroundings(LauncherCase):
    def look(self, daemon):
        self.assertEqual(ask(daemon, "office", "", "look"), (OUTPUT, "s3cret\n"))
        return self.note("look")

    def test_what_a_program_sees(self):
        seen = self.look(self.running(PATH="/usr/bin:/bin", LANG="C.UTF-8", PASSWORD="c4nary"))
        descriptors = seen["descriptors"]
        self.assertEqual(set(descriptors), {"0", "1", "2"}, descriptors)
        self.assertEqual(descriptors["0"], "/dev/null")
        for output in "12":
            self.assertTrue(descriptors[output].startswith("pipe:"), descriptors)
        self.assertEqual(seen["environment"], {
            "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": pwd.getpwuid(os.getuid()).pw_dir})
        self.assertEqual((seen["cwd"], seen["umask"], seen["leads"], seen["arguments"]),
                         ("/", 0o077, True, ["look"]))
        status = seen["status"]
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        if os.geteuid() == 0:
            self.assertEqual(int(status["CapBnd"], 16), 0)
        self.assertEqual(status["NoNewPrivs"], "1")
        for name in ("SigBlk", "SigIgn"):
            # Python itself ignores SIGPIPE and SIGXFSZ.
            ours = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
            self.assertEqual(int(status[name], 16) & ~ours, 0, name)

    @unittest.skipUnless(os.geteuid() == 0, "only root can change the user")
    def test_a_program_runs_as_the_proxys_user(self):
        user = pwd.getpwnam(USER)
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        daemon = self.running(self.configuration(proxy={"user": USER}))
        seen = self.look(daemon)
        self.assertEqual(seen["ids"], [user.pw_uid] * 3 + [user.pw_gid] * 3)
        self.assertEqual(seen["groups"], [user.pw_gid])
        self.assertEqual(seen["environment"]["HOME"], user.pw_dir)

    def test_the_launcher_has_given_up_its_rights(self):
        daemon = self.running()
        pid = launcher.of(daemon)
        status = status_of(pid)
        self.assertEqual((status["NoNewPrivs"], status["Threads"]), ("1", "1"))
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
        self.assertRegex(limits, r"Max core file size +0 +0 ")
        self.assertEqual(os.stat(f"/proc/{pid}/mem").st_uid, 0)  # not dumpable
        if os.geteuid() != 0:
            return
        folder = pathlib.Path(f"/proc/{pid}/fd")
        descriptors = sorted(os.readlink(each).partition(":[")[0] for each in folder.iterdir())
        self.assertEqual(descriptors, ["/dev/null"] * 3 + ["anon_inode", "socket"])


class Requests(LauncherCase):
    """An intruder gets the secrets of accounts, and nothing else."""

    def test_only_accounts_of_the_configuration_have_programs(self):
        fixed = {"name": "fax", "password": "word", "user": "plain",
                 "command": [self.program, "plain"]}
        daemon = self.running(self.configuration(accounts=[fixed]))
        self.assertEqual(ask(daemon, "office", "fax", "plain"), (OUTPUT, "s3cret\n"))
        for service, account, user in (
                ("office", "fax", "other"), ("office", "fax", ""), ("office", "fax", "fax"),
                ("office", "*", "plain"), ("office", "nobody", "plain"), ("other", "", "plain"),
                ("", "", ""), ("office", "", ""), ("office", "", "fax"), ("office", "", "-c"),
                ("office", "", "a\nb"), ("office", "", "\x01"), ("office", self.program, "plain")):
            with self.subTest(service=service, account=account, user=user):
                self.assertEqual(ask(daemon, service, account, user), (
                    FAILURE, "the launcher's configuration has no program for this account"))

    def test_malformed_requests_end_the_launcher(self):
        whole = launcher.request("office", "", "plain")
        for packet in (b"\3", whole[:-1], whole + b"x", bytes([9]) + whole[1:], b"\0" * 2000,
                       launcher.request("office", "", "plain", kind=launcher.RELOAD)):
            with self.subTest(packet=packet[:40]):
                daemon = self.start()
                launcher.send(daemon, packet)
                daemon.lines(lambda f: f.get("msg", "").startswith("the launcher has ended"))
                daemon.expect_exit(70)

    @unsanitized("a sanitizer executes a program of its own")
    @unittest.skipUnless(os.geteuid() == 0, "tests have a sandbox as root only")
    def test_the_proxy_itself_still_executes_nothing(self):
        daemon = self.start(INTRUDER="exec")
        with Client(daemon.port):
            daemon.expect_exit(-signal.SIGSYS)
        self.assertIn("attempt=before", daemon.text())


class Life(LauncherCase):
    def test_without_a_command_there_is_no_launcher(self):
        daemon = self.running(configuration(self.server.port), intruder_in_it=False)
        self.assertEqual(launcher.children_of(daemon.process.pid), [])

    def test_it_outlives_the_signals_of_a_terminal_and_ends_with_the_proxy(self):
        daemon = self.start()
        pid = launcher.of(daemon)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
            os.kill(pid, number)
        self.assertEqual(ask(daemon, "office", "", "plain"), (OUTPUT, "s3cret\n"))
        daemon.terminate()
        daemon.expect_exit(0)
        launcher.await_end(pid)

    def test_a_proxy_that_is_killed_takes_everything_with_it(self):
        daemon = self.start()
        pid = launcher.of(daemon)
        launcher.send(daemon, launcher.request("office", "", "stay"))
        program = self.note("stay")
        daemon.process.kill()
        daemon.expect_exit(-signal.SIGKILL)
        for each in (pid, program):
            launcher.await_end(each)

    def test_its_death_is_reported_and_ends_the_proxy(self):
        daemon = self.start()
        where = admin.address(daemon)
        self.assertEqual(admin.get(where, "/readyz").status, 200)
        with socket.create_connection(("127.0.0.1", daemon.port)) as client:
            # This session keeps the proxy from its end.
            client.sendall(launcher.request("office", "", "plain"))
            client.recv(100)
            os.kill(launcher.of(daemon), signal.SIGKILL)
            daemon.lines(lambda f: f.get("msg") == "draining")
            response = admin.get(where, "/readyz")
        self.assertEqual(response.status, 503)
        self.assertIn("the launcher has ended", response.text)
        daemon.expect_exit(70)
        self.assertEqual(daemon.text().count("the launcher has ended"), 1)

    def test_a_reload_brings_other_commands(self):
        daemon = self.running()
        self.assertEqual(ask(daemon, "office", "", "plain"), (OUTPUT, "s3cret\n"))
        self.reload(daemon, self.configuration(command=["/bin/echo", "now", "{user}"]))
        self.assertEqual(ask(daemon, "office", "", "plain"), (OUTPUT, "now plain\n"))
        # A file that is wrong changes nothing.
        self.reload(daemon, self.configuration(command=["echo"]), "not reloaded")
        self.assertEqual(ask(daemon, "office", "", "plain"), (OUTPUT, "now plain\n"))
        # Without any command there is nothing to run.
        self.reload(daemon, configuration(self.server.port), count=2)
        self.assertEqual(ask(daemon, "office", "", "plain")[0], FAILURE)
        self.reload(daemon, self.configuration(), count=3)
        self.assertEqual(ask(daemon, "office", "", "plain"), (OUTPUT, "s3cret\n"))

    def test_the_first_command_ever_needs_a_restart(self):
        daemon = self.running(configuration(self.server.port), intruder_in_it=False)
        line = self.reload(daemon, self.configuration(), "not reloaded")
        self.assertEqual(line["reason"], "service.login.command: no service had a command at the start: "
                                         "restart the proxy to use one")

    @unittest.skipUnless(os.geteuid() == 0, "only root can change the user")
    def test_a_launcher_that_cannot_give_up_its_rights_prevents_the_start(self):
        user = pwd.getpwnam(USER)
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        file = self.folder / "proxy.toml"
        file.write_text(self.configuration(proxy={"user": USER}), encoding="utf-8")
        with mock.patch.dict(os.environ, {"LD_PRELOAD": str(intruder.library()),
                                          "INTRUDER_USER": "stays"}):
            status, last = try_to_start("--config", file)
        self.assertEqual(status, 71)
        self.assertIn("cannot start the launcher", last)


if __name__ == "__main__":
    main.main()

"""The rights that a running daemon has given up, the work that it still does, and its user."""

import ctypes
import errno
import itertools
import functools
import os
import pathlib
import pwd
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
from unittest import mock

from support import admin, children, intruder, logins, main, rights, sasl, wait
from support.client import Client, claimed_port, free_port
from support.daemon import Daemon, configuration, parse_line, run_to_end, toml, try_to_start
from support.environment import NEWER_LIBUV, PROXY, SANITIZED, pki, unsanitized
from support.fake_server import FakeServer, Smtp, tls_context
from support.login_client import KINDS
from support.login_server import LoginServer
from support.relay import commit
from support.rights import rings_of, statuses

USER = "nobody"
NET_ADMIN, NET_BIND_SERVICE = 1 << 12, 1 << 10
IO_URING_SETUP = 425  # on every architecture
ATTEMPTS = 15  # the number of the intruder's attempts


def kernel_has_rings():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(IO_URING_SETUP, 1, None)
    return ctypes.get_errno() == errno.EFAULT


def trusting_client(port):
    client = Client(port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki().ca)
    client.start_tls(context, "mail.test")
    return client


class Sandbox(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(FakeServer(Smtp(context=tls_context())))
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="starttls-sandbox-")))
        self.conf = self.folder / "conf"
        self.conf.mkdir()
        self.file = self.conf / "proxy.toml"

    def write(self, listen="127.0.0.1:0", proxy=None, **options):
        """Writes a service with TLS on both legs, and with a server name that must be resolved."""
        chain, key = self.pair()
        text = configuration(self.server.port, address=f"localhost:{self.server.port}",
                             downstream={"tls": "implicit", "allow": ["127.0.0.0/8", "::1"]},
                             proxy={"sandbox": True, **(proxy or {})}, **options)
        text = text.replace(toml("127.0.0.1:0"), toml(listen))
        text += f'\ndownstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n'
        self.file.write_text(text, encoding="utf-8")

    def pair(self):
        return [str(pathlib.Path(path).resolve()) for path in pki().pair()]

    def start(self, listeners=1, **options):
        return self.enterContext(Daemon(arguments=["--config", self.file], listeners=listeners,
                                        **options))

    def session(self, port):
        with trusting_client(port) as client:
            commit(client)
            self.assertTrue(client.command(b"QUIT").startswith(b"221"))
            client.rest()

    def hang_up(self, daemon, reloads):
        daemon.process.send_signal(signal.SIGHUP)
        return daemon.lines(lambda f: f.get("msg") == "reloaded", reloads)[-1]

    def assert_confined(self, daemon, capabilities):
        wait.until(lambda: len(statuses(daemon.process.pid)) > 2, "the workers run")
        rights.assert_confined(self, daemon.process.pid, capabilities)


class Serving(Sandbox):
    """A daemon can do all of its work in the sandbox."""

    def test_a_session_with_tls_on_both_legs_and_a_name_to_resolve(self):
        self.write()
        daemon = self.start()
        self.session(daemon.port)
        session = daemon.session()
        self.assertEqual((session["upstream_tls"], session["downstream_tls"], session["outcome"]),
                         ("TLSv1.3", "TLSv1.3", "ok"))
        self.assert_confined(daemon, 0)
        self.assertNotIn("sandbox", daemon.text())

    def test_certificates_behind_symlinks_are_swapped(self):
        """Symlinks as Kubernetes has them, and as certbot has them: its links lead to another folder."""
        for layout in ("..data", "../archive"):
            with self.subTest(layout):
                mount = self.folder / layout.strip("./") / "live"
                mount.mkdir(parents=True)
                for number in (0, 1):
                    version = (mount / layout).parent / f"version{number}"
                    version.mkdir(parents=True)
                    for path, name in zip(pki().pair(), ("tls.crt", "tls.key")):
                        shutil.copy(path, version / name)
                (mount / layout).symlink_to("version0")
                for name in ("tls.crt", "tls.key"):
                    (mount / name).symlink_to(f"{layout}/{name}")
                with mock.patch.object(self, "pair", lambda at=mount: [
                        str(at / "tls.crt"), str(at / "tls.key")]):
                    self.write()
                with Daemon(arguments=["--config", self.file]) as daemon:
                    (mount / layout).with_name("next").symlink_to("version1")
                    os.replace((mount / layout).with_name("next"), mount / layout)
                    daemon.lines(lambda f: f.get("msg") == "reloaded")
                    self.session(daemon.port)

    def test_the_secret_of_a_login_is_read_anew_after_it_was_replaced(self):
        """A program that keeps a token fresh renames a new file over the old one."""
        script = LoginServer("smtp", echo=False)
        with logins.secret_file("token-0") as path, FakeServer(script) as server:
            config = configuration(server.port, proxy={"sandbox": True},
                                   login=logins.login("xoauth2", path, when="connect"))
            with Daemon(config) as daemon:
                def greeted():
                    with KINDS["smtp"](daemon.port) as client:
                        return client.greeted()

                for number in range(3):
                    logins.write(path, f"token-{number}")
                    self.assertRegex(greeted(), rb"\A220 ")
                path.unlink()
                self.assertRegex(greeted(), rb"\A421 4\.7\.0 ")
                logins.write(path, "token-3")
                self.assertRegex(greeted(), rb"\A220 ")
                self.assertEqual([sasl.parsed(each)[1] for each in script.attempts],
                                 [b"token-%d" % number for number in range(4)])
                self.assert_confined(daemon, 0)

    def test_a_reload_may_add_listeners(self):
        self.write()
        daemon = self.start()
        for number, listen in enumerate((["127.0.0.1:0", "127.0.0.2:0"],
                                         ["127.0.0.1:0", "[::1]:0"]), 1):
            text = self.file.read_text(encoding="utf-8")
            self.file.write_text(text.replace(text[text.index("listen = "):].split("\n")[0],
                                              f"listen = {toml(listen)}"), encoding="utf-8")
            self.assertEqual(self.hang_up(daemon, number)["opened"], "1")

    def test_other_folders_need_a_restart(self):
        self.write()
        daemon = self.start()
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        shutil.copy(pki().ca, elsewhere)
        self.write(upstream={"ca_file": str(elsewhere / "ca.pem")})
        daemon.process.send_signal(signal.SIGHUP)
        reason = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"))[0]["reason"]
        self.assertRegex(reason, r"elsewhere/ca.pem.*Permission denied.*sandbox.*restart")
        self.session(daemon.port)

    def test_unix_sockets_in_folders_that_were_used_at_start(self):
        listen = [f"unix:{self.folder}/one.sock"]
        self.write()
        text = self.file.read_text(encoding="utf-8").replace(toml("127.0.0.1:0"),
                                                             toml(["127.0.0.1:0", *listen]))
        self.file.write_text(text, encoding="utf-8")
        process = children.start([PROXY, "--config", self.file], stderr=subprocess.PIPE, text=True)
        try:
            seen = []
            while not any("msg=ready" in line for line in seen):
                seen.append(process.stderr.readline())
                self.assertTrue(seen[-1], "".join(seen))
            self.file.write_text(text.replace("one.sock", "two.sock"), encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            while not any("msg=reloaded" in line for line in seen):
                seen.append(process.stderr.readline())
                self.assertTrue(seen[-1] and "not reloaded" not in seen[-1], "".join(seen))
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{self.folder}/two.sock")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(wait.DEADLINE)
            process.stderr.close()

    def test_the_log_is_opened_again(self):
        log = self.folder / "logs" / "proxy.log"
        log.parent.mkdir()
        self.write(log={"file": str(log)})
        process = children.start([PROXY, "--config", self.file])
        try:
            wait.until(lambda: log.exists() and "msg=ready" in log.read_text(encoding="ascii"),
                       "it is ready")
            os.rename(log, log.with_suffix(".1"))
            process.send_signal(signal.SIGUSR1)
            wait.until(log.exists, "there is a new log")
        finally:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(wait.DEADLINE), 0)
        self.assertIn("msg=stopped", log.read_text(encoding="ascii"))

    def test_without_a_sandbox_no_rights_are_given_up(self):
        self.write(proxy={"sandbox": False})
        daemon = self.start()
        for status in statuses(daemon.process.pid):
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("0", "0"))
        # Except for core files: no password is left on a disk.
        limits = pathlib.Path(f"/proc/{daemon.process.pid}/limits").read_text(encoding="ascii")
        self.assertRegex(limits, r"Max core file size +0 +0 ")


class Intruder(Sandbox):
    """An attacker runs code on a worker's thread."""

    @classmethod
    def setUpClass(cls):
        cls.library = intruder.library()

    def intrude(self, what, sandbox=True, log=None, **environment):
        """Starts a daemon with the intruder in it. If the intruder executes something, the test
        itself checks how the daemon ends."""
        other = self.folder / "other"
        other.mkdir(exist_ok=True)
        (other / "there").touch()
        self.write(proxy={"sandbox": sandbox}, log=log)
        if what == "look":  # on either kind of thread
            text = self.file.read_text(encoding="utf-8")
            self.file.write_text(admin.configured(text), encoding="utf-8")
        with mock.patch.dict(os.environ, {
                "LD_PRELOAD": str(self.library), "INTRUDER": what, "INTRUDER_FOLDER": str(other),
                "INTRUDER_CONFIG": str(self.file), **environment}):
            daemon = Daemon(arguments=["--config", self.file])
            daemon.__enter__()
        if what not in ("exec", "throw"):
            self.addCleanup(daemon.__exit__, None, None, None)
        return daemon

    def attempts(self, daemon, count, port=None):
        """Returns the intruder's results on the thread that accepts at the port, by default a worker's."""
        with Client(port or daemon.port):
            lines = daemon.lines(lambda f: f.get("msg") == "intruder", count)
        return {line["attempt"]: line["result"] for line in lines}

    def test_finds_other_files_calls_and_processes_closed(self):
        found = self.attempts(self.intrude("look"), ATTEMPTS)
        self.assertEqual(found, {
            "list": "EACCES", "homes": "EACCES",  # S8
            "shadow": "EACCES", "passwd": "EACCES", "read": "EACCES", "write": "EACCES",
            "create": "EACCES", "rename": "EACCES", "remove": "EACCES", "configuration": "EACCES", "packets": "ENOSYS",
            "dumpable": "ENOSYS", "signal": "ENOSYS", "ring": "ENOSYS", "fork": "ENOSYS"})

    def test_finds_them_closed_on_the_control_thread_too(self):
        """The control thread reads /etc as far as file permissions allow: only root can read root's files."""
        daemon = self.intrude("look")
        found = self.attempts(daemon, ATTEMPTS, int(admin.address(daemon).rpartition(":")[2]))
        self.assertEqual(found.pop("shadow"), "success" if os.geteuid() == 0 else "EACCES")
        self.assertEqual(found, {
            "list": "EACCES", "homes": "EACCES",  # S8
            "passwd": "success", "read": "EACCES", "write": "EACCES", "create": "EACCES",
            "rename": "EACCES", "remove": "EACCES", "configuration": "EACCES", "packets": "ENOSYS",
            "dumpable": "ENOSYS", "signal": "ENOSYS", "ring": "ENOSYS", "fork": "ENOSYS"})

    def test_finds_them_open_without_a_sandbox(self):
        """Without a sandbox the attempts can succeed."""
        if os.geteuid() != 0:
            self.skipTest("root alone may all of it")
        found = self.attempts(self.intrude("look", sandbox=False), ATTEMPTS)
        found.pop("ring")  # it depends on the kernel's settings
        self.assertEqual(set(found.values()), {"success"}, found)

    def test_cannot_execute_programs(self):
        daemon = self.intrude("exec")
        with Client(daemon.port):
            daemon.expect_exit(-signal.SIGSYS)
        self.assertIn("attempt=before", daemon.text())
        self.assertNotIn("attempt=exec", daemon.text())

    def test_an_exception_on_a_worker_ends_the_process_with_a_line(self):
        for log in ("text", "json"):
            with self.subTest(log=log):
                daemon = self.intrude("throw", log={"format": log})
                with Client(daemon.port):
                    daemon.expect_exit(70)
                last = parse_line(daemon.text().splitlines()[-1])
                self.assertEqual((last["level"], last["msg"], last["reason"]),
                                 ("error", "ended by an unexpected exception", "std::bad_alloc"))

    def test_another_listener_stops_a_reload_and_a_start(self):
        port = free_port()
        reason = f"cannot listen on 127.0.0.1:{port}: listen: Address already in use"
        daemon = self.intrude("", INTRUDER_PORT=str(port))
        text = self.file.read_text(encoding="utf-8")
        both = toml(["127.0.0.1:0", f"127.0.0.1:{port}"])
        for count, changed in enumerate((text.replace(toml("127.0.0.1:0"), both),
                                         f'[admin]\nlisten = "127.0.0.1:{port}"\n{text}'), 1):
            self.file.write_text(changed, encoding="utf-8")
            daemon.process.send_signal(signal.SIGHUP)
            lines = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"), count)
            self.assertEqual(lines[-1]["reason"], reason)
            with mock.patch.dict(os.environ, {"LD_PRELOAD": str(self.library),
                                              "INTRUDER_PORT": str(port)}):
                result = run_to_end("--config", self.file)
            self.assertEqual(result.returncode, 69)
            self.assertIn(reason, result.stderr)
        self.session(daemon.port)
        self.assertNotIn("msg=reloaded", daemon.text())

    def test_a_kernel_without_a_sandbox_is_warned_about_in_one_line(self):
        daemon = self.intrude("", INTRUDER_KERNEL="old")
        self.session(daemon.port)
        warnings = daemon.warnings(1)
        self.assertEqual([(line["msg"], line["lacking"]) for line in warnings],
                         [("the sandbox is incomplete: this kernel lacks a part of it",
                           "Landlock (Function not implemented), seccomp filters")])
        self.assertEqual({status["NoNewPrivs"] for status in statuses(daemon.process.pid)}, {"1"})


class ConfinedProbe(unittest.TestCase):
    """S9: an attacker that takes over `probe` finds little."""

    def probe_that_is_watched(self, look, *more):
        """Probes a server that calls `look` with the probe's process before it sends anything."""
        started = threading.Event()
        looked = []

        def script(connection):
            started.wait(wait.DEADLINE)
            look(process)
            looked.append(connection)
            Smtp(context=tls_context())(connection)

        with FakeServer(script) as server:
            process = children.start(
                [PROXY, "probe", "--protocol", "smtp", "--upstream", f"localhost:{server.port}",
                 "--server-name", "mail.test", "--ca-file", pki().ca, *more],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            started.set()
            said, complaints = process.communicate(timeout=wait.DEADLINE)
        self.assertEqual((process.returncode, complaints), (0, ""), said)
        self.assertEqual(len(looked), 1)

    def test_s9_sandboxed_before_the_server_speaks(self):
        self.probe_that_is_watched(
            lambda process: rights.assert_confined(self, process.pid, 0))

    def test_s9_no_core_file_without_a_sandbox(self):
        def look(process):
            with open(f"/proc/{process.pid}/limits", encoding="ascii") as limits:
                self.assertRegex(limits.read(), r"Max core file size +0 +0 ")

        self.probe_that_is_watched(look, "--sandbox", "false")


@unittest.skipIf(SANITIZED, "a sanitizer's runtime belongs to the system's C library")
class NewerLibuv(Sandbox):
    """P1: libuv from 1.50 on makes an io_uring for every loop, if the kernel allows it."""

    def start(self, **options):
        return super().start(wrapper=[NEWER_LIBUV], **options)

    def test_p1_its_version(self):
        version = run_to_end("--version", wrapper=[NEWER_LIBUV]).stdout
        major, minor = re.search(r"libuv (\d+)\.(\d+)\.", version).groups()
        self.assertGreaterEqual((int(major), int(minor)), (1, 50))

    def test_p1_sessions_and_reloads_in_the_sandbox(self):
        self.write()
        daemon = self.start()
        for count in (1, 2):
            self.session(daemon.port)
            self.hang_up(daemon, count)
        self.assert_confined(daemon, 0)
        self.assertNotIn("level=warn msg=\"the sandbox", daemon.text())

    def test_p1_after_root_has_become_a_user(self):
        if os.geteuid() != 0:
            self.skipTest("root alone becomes somebody else")
        self.write(proxy={"user": USER})
        daemon = self.start()
        self.session(daemon.port)
        self.assert_confined(daemon, 0)

    def test_p1_without_the_sandbox_the_ring_is_used(self):
        """Without this test the other tests could not fail."""
        self.write(proxy={"sandbox": False})
        daemon = self.start()
        self.session(daemon.port)
        self.assertEqual(bool(rings_of(daemon.process.pid)), kernel_has_rings())


class OutOfMemory(Sandbox):
    """Exit status 70 and one line, at any time."""

    def limited(self, size, *arguments):
        result = run_to_end(*arguments, wrapper=["prlimit", f"--as={size}"])
        self.assertEqual(result.returncode, 70, result.stderr)
        return result.stderr.splitlines()

    def test_before_there_is_a_log(self):
        self.file.write_text(f"a = [{'1, ' * 300_000}]", encoding="utf-8")
        self.assertEqual(self.limited(30_000_000, "--config", self.file, "--check"),
                         ["starttls-proxy: ended by an unexpected exception: std::bad_alloc"])

    def test_at_start(self):
        self.write(proxy={"workers": 1000})
        last = parse_line(self.limited(200_000_000, "--config", self.file)[-1])
        self.assertEqual((last["level"], last["msg"], last["reason"]),
                         ("error", "ended by an unexpected exception", "std::bad_alloc"))

    def test_while_serving(self):
        self.write()
        with mock.patch.dict(os.environ, {"MALLOC_ARENA_MAX": "1"}):
            daemon = Daemon(arguments=["--config", self.file])
            daemon.__enter__()
        resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (4096, 4096))
        clients = []
        try:
            while daemon.process.poll() is None and len(clients) < 5000:
                clients.append(socket.create_connection(("127.0.0.1", daemon.port), wait.DEADLINE))
        except OSError:
            pass  # the daemon has ended
        finally:
            try:
                daemon.expect_exit(70)
            finally:
                for client in clients:
                    client.close()
        self.assertIn("ended by an unexpected exception", daemon.text())


class User(Sandbox):
    """The configuration key proxy.user."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("root alone becomes somebody else")
        super().setUp()
        entry = pwd.getpwnam(USER)
        self.uid, self.gid = entry.pw_uid, entry.pw_gid
        self.folder.chmod(0o755)
        self.keys = self.folder / "keys"
        self.keys.mkdir()
        for path in pki().pair():
            shutil.copy(path, self.keys)
            os.chown(self.keys / pathlib.Path(path).name, self.uid, self.gid)
        shutil.copy(pki().ca, self.keys)
        os.chmod(self.keys / "ca.pem", 0o644)

    def pair(self):
        return [str(self.keys / name) for name in ("server.pem", "server.key")]

    def write_for_user(self, listen="127.0.0.1:0", **proxy):
        self.write(listen, proxy={"user": USER, **proxy},
                   upstream={"ca_file": str(self.keys / "ca.pem")})

    def low_port(self):
        port = claimed_port(range(1023, 600, -1))
        if port is None:
            self.skipTest("no port below 1024 is free")
        return port

    def assert_became(self, daemon, capabilities):
        self.assert_confined(daemon, capabilities)
        for status in statuses(daemon.process.pid):
            self.assertEqual(status["Uid"].split(), [str(self.uid)] * 4)
            self.assertEqual(status["Gid"].split(), [str(self.gid)] * 4)
            self.assertNotIn("0", status["Groups"].split())
            self.assertEqual(int(status["CapEff"], 16), capabilities)

    def test_root_becomes_a_user_without_rights(self):
        self.write_for_user()
        # Root is in a few groups, as it is on a real system.
        daemon = self.start(options={"extra_groups": [0, 42]})
        self.session(daemon.port)
        self.assert_became(daemon, 0)
        groups = sorted(os.getgrouplist(USER, self.gid))
        for status in statuses(daemon.process.pid):
            self.assertEqual(sorted(map(int, status["Groups"].split())), groups)
        self.assertEqual(daemon.warnings(), [])
        self.hang_up(daemon, 1)  # the user may read all files that a reload needs

    def test_ports_below_1024_stay_possible_if_there_is_one(self):
        low = self.low_port()
        self.write_for_user(f"127.0.0.1:{low}")
        daemon = self.start()
        self.session(low)
        self.assert_became(daemon, NET_BIND_SERVICE)
        self.write_for_user(f"127.0.0.1:{self.low_port()}")
        self.assertEqual(self.hang_up(daemon, 1)["opened"], "1")

    def test_addresses_of_clients_stay_possible_if_they_are_used(self):
        self.write(proxy={"user": USER}, upstream={"source": "client",
                                                   "ca_file": str(self.keys / "ca.pem")})
        self.assert_became(self.start(), NET_ADMIN)

    def test_p3_root_that_stays_root_is_warned(self):
        words = ("started by root, the process stays root: set proxy.user, or start it as a user "
                 "without rights")
        for proxy, warned in (({}, 1), ({"sandbox": False}, 1), ({"user": USER}, 0)):
            # A root that has given up its rights reads only its own key, and so does a user.
            own = self.pair if "user" in proxy else functools.partial(Sandbox.pair, self)
            with self.subTest(proxy), mock.patch.object(self, "pair", own):
                self.write(proxy=proxy, upstream={"ca_file": str(self.keys / "ca.pem")})
                daemon = self.start()
                self.hang_up(daemon, 1)
                told = daemon.lines(lambda f: f.get("warning") == words, 0)
                self.assertEqual([line["level"] for line in told], ["warn"] * warned)
                check = run_to_end("--config", self.file, "--check")
                self.assertEqual(check.stdout.count(words), warned)

    def test_p3_a_user_is_not_warned(self):
        self.write_for_user(user="")
        for path in (self.folder, self.conf):
            path.chmod(0o755)
        wrapper = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups",
                   "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        daemon = self.start(wrapper=wrapper)
        self.assertEqual(daemon.text().count("stays root"), 0)

    def test_without_a_sandbox_too(self):
        self.write_for_user(sandbox=False)
        daemon = self.start()
        self.session(daemon.port)
        for status in statuses(daemon.process.pid):
            self.assertEqual((status["Uid"].split()[0], int(status["CapPrm"], 16)),
                             (str(self.uid), 0))

    def test_files_that_the_user_cannot_read_again_are_reported_at_start(self):
        self.write_for_user()
        os.chown(self.keys / "server.key", 0, 0)
        daemon = self.start()
        self.session(daemon.port)  # root has read the key
        self.assertEqual([line["file"] for line in daemon.warnings(1)], [str(self.keys / "server.key")])

    def test_a_secret_of_its_group_is_accepted_at_start_and_at_reload(self):
        """A file of root's that one group may read, as a mounted secret; or as Debian's ssl-cert (T7)."""
        self.write_for_user()
        os.chown(self.keys / "server.key", 0, self.gid)
        for mode in (0o440, 0o640):
            with self.subTest(oct(mode)):
                os.chmod(self.keys / "server.key", mode)
                daemon = self.start()
                self.session(daemon.port)
                self.hang_up(daemon, 1)
                self.assertEqual(daemon.warnings(), [])

    def test_a_group_that_only_the_starting_root_has_does_not_count(self):
        self.write_for_user()
        other = self.gid - 1
        os.chown(self.keys / "server.key", 0, other)
        for mode, arguments in itertools.product((0o440, 0o640), (["--check"], [])):
            with self.subTest(mode=oct(mode), arguments=arguments):
                os.chmod(self.keys / "server.key", mode)
                result = run_to_end("--config", self.file, *arguments, extra_groups=[other])
                self.assertEqual(result.returncode, 78)
                self.assertIn("open to group or others", result.stderr)

    def test_a_reload_may_take_a_port_of_the_start_on_all_addresses(self):
        port = free_port()
        self.write_for_user(f"127.0.0.1:{port}")
        daemon = self.start()
        self.write_for_user(f"0.0.0.0:{port}")
        self.assertEqual(self.hang_up(daemon, 1)["opened"], "1")
        self.session(port)

    def test_the_user_owns_unix_sockets(self):
        """Bound by root at the start; by the user when a reload brings them back; by a second root."""
        run, others = self.folder / "run", self.folder / "others"
        for folder, group in ((run, self.gid), (others, 8)):
            folder.mkdir()
            os.chown(folder, self.uid, group)
        others.chmod(0o2750)  # files in it get the folder's group
        paths = [run / "mail.sock", others / "admin.sock"]
        tcp = f"127.0.0.1:{free_port()}"

        def write(*listen, admin):
            self.write_for_user([tcp, *listen])
            text = self.file.read_text(encoding="utf-8")
            self.file.write_text(f'[admin]\nlisten = "{admin}"\n{text}', encoding="utf-8")

        def look():
            for path, group in zip(paths, (self.gid, 8)):
                status = path.stat()
                self.assertEqual((status.st_uid, status.st_gid), (self.uid, group), path)
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))

        def listens(path):
            with socket.socket(socket.AF_UNIX) as client:
                return client.connect_ex(str(path)) == 0

        def write_all():
            write(f"unix:{paths[0]}", admin=f"unix:{paths[1]}")

        write_all()
        daemon = self.start(2)
        look()
        write(admin="")
        self.assertEqual(self.hang_up(daemon, 1)["closed"], "1")
        # The workers close their sockets after the reload. Until then, a process listens there.
        wait.until(lambda: not any(listens(path) for path in paths), "the sockets are closed")
        write_all()
        self.assertEqual(self.hang_up(daemon, 2)["opened"], "1")
        look()
        inodes = [path.stat().st_ino for path in paths]
        self.start(2)
        look()
        self.assertFalse(set(inodes) & {path.stat().st_ino for path in paths})

    def test_a_socket_that_root_has_left_is_reported(self):
        run = self.folder / "run"
        run.mkdir()
        os.chown(run, self.uid, self.gid)
        path = run / "mail.sock"
        self.write_for_user(f"unix:{run}/other.sock")
        daemon = self.start()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
            path.chmod(0o755)
        self.write_for_user(f"unix:{path}")
        daemon.process.send_signal(signal.SIGHUP)
        reason = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"))[0]["reason"]
        self.assertRegex(reason, f"cannot listen on unix:{path}: .*of another user")
        self.assertNotIn("(the sandbox", reason)

    def test_the_user_owns_the_log(self):
        logs = self.folder / "logs"
        logs.mkdir()
        log = logs / "proxy.log"
        self.write(proxy={"user": USER}, log={"file": str(log)})
        result = run_to_end("--config", self.file)
        self.assertEqual(result.returncode, 78)
        self.assertIn(f"{log}: Permission denied (as the user {USER})", result.stderr)
        os.chown(logs, self.uid, self.gid)
        process = children.start([PROXY, "--config", self.file])
        try:
            wait.until(lambda: log.exists() and "msg=ready" in log.read_text(encoding="ascii"),
                       "it is ready")
            self.assertEqual(log.stat().st_uid, self.uid)
        finally:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(wait.DEADLINE), 0)

    def with_intruder(self, **environment):
        """Starts with the intruder in it, which ends the daemon. Returns (exit status, the last line)."""
        with mock.patch.dict(os.environ, {"LD_PRELOAD": str(intruder.library()), **environment}):
            return try_to_start("--config", self.file)

    @unsanitized("a sanitizer cannot look into a process that has changed its user")
    def test_s11_the_process_does_not_serve_if_it_can_become_root_again(self):
        self.write_for_user()
        self.assertEqual(self.with_intruder(INTRUDER_USER="stays"), (
            71, f"starttls-proxy: cannot become the user {USER}: it could become root again"))

    @unsanitized("a sanitizer cannot look into a process that has changed its user")
    def test_s11_root_gives_away_only_the_socket_it_has_made(self):
        """A user that may write to the socket's folder may put another file in its place meanwhile."""
        run, secret = self.folder / "run", self.folder / "secret"
        run.mkdir()
        os.chown(run, self.uid, self.gid)
        path = run / "mail.sock"
        self.write_for_user(f"unix:{path}")

        def socket_of(uid):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(secret))
            os.chown(secret, uid, 0)

        def second_name():
            socket_of(0)
            os.link(secret, self.folder / "other-name")

        for kind, make in (("a file", lambda: secret.write_text("root's", encoding="ascii")),
                           ("a link", lambda: secret.symlink_to("/etc/passwd")),
                           ("somebody's socket", lambda: socket_of(self.uid - 1)),
                           ("a socket with two names", second_name)):
            with self.subTest(kind):
                make()
                there = os.open(secret, os.O_PATH | os.O_NOFOLLOW)
                self.addCleanup(os.close, there)
                owner = os.fstat(there).st_uid
                ended = self.with_intruder(INTRUDER_SWAP=str(secret))
                self.assertEqual(os.fstat(there).st_uid, owner)
                self.assertEqual(ended, (69, f"starttls-proxy: cannot listen on unix:{path}: chown: "
                                             "File exists"))
                path.unlink(missing_ok=True)

    def test_users_that_cannot_be_used(self):
        for user, words in (("no-such-user", "there is no such user"), ("root", "is root")):
            with self.subTest(user):
                self.write(proxy={"user": user})
                result = run_to_end("--config", self.file)
                self.assertEqual(result.returncode, 78)
                self.assertIn(words, result.stderr)

    def test_only_root_becomes_another_user(self):
        self.write(proxy={"user": "mail"})
        result = subprocess.run(
            ["setpriv", f"--reuid={self.uid}", "--clear-groups", "--inh-caps=+dac_read_search",
             "--ambient-caps=+dac_read_search", PROXY, "--config", self.file],
            capture_output=True, text=True, timeout=wait.DEADLINE, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 71, result.stderr)
        self.assertIn("only root can become 'mail'", result.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root can take a right away from root")
    def test_root_without_the_right_to_change_its_user(self):
        self.write(proxy={"user": "mail"})
        for right in ("setuid", "setgid"):
            with self.subTest(right):
                result = subprocess.run(
                    ["setpriv", f"--bounding-set=-{right}", PROXY, "--config", self.file],
                    capture_output=True, text=True, timeout=wait.DEADLINE, check=False,
                    stdin=subprocess.DEVNULL)
                self.assertEqual(result.returncode, 71, result.stderr)
                self.assertIn("cannot become the user mail", result.stderr)


if __name__ == "__main__":
    main.main()

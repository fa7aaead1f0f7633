"""conf/systemd: the daemon does not need what the unit forbids. Sessions run under strace, and each
system call is looked up in the unit's filter. The unit's commands for a reload are run, too."""

import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import unittest

from support import main, wait
from support.daemon import Daemon, configuration
from support.environment import PROXY, ROOT, SANITIZED, pki
from support.fake_server import FakeServer, Smtp

UNIT = ROOT / "conf" / "systemd" / "starttls-proxy.service"
CONFIGURATION = "/etc/starttls-proxy/starttls-proxy.toml"


def expand(names):
    """Returns the names of system calls and @sets as a set of names."""
    found = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        text = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True,
                              capture_output=True, text=True).stdout
        found |= expand(line.strip() for line in text.splitlines()[1:]
                        if line.startswith("    ") and not line.strip().startswith("#"))
    return found


def allowed(unit=UNIT):
    """Returns the calls of the unit's SystemCallFilter: its first line allows, the others remove."""
    calls = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(encoding="utf-8"), re.M):
        if words.startswith("~"):
            calls -= expand(words[1:].split())
        else:
            calls |= expand([*words.split(), "@default"])
    return calls


@unittest.skipIf(SANITIZED, "a sanitizer makes calls of its own")
class Unit(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not here")
    def test_every_system_call_is_allowed(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        trace = folder / "trace"
        traced = folder / "starttls-proxy"
        traced.write_text(f'#!/bin/sh\nexec strace -D -f -qq -o "{trace}" "{PROXY}" "$@"\n',
                          encoding="utf-8")
        traced.chmod(0o755)
        chain, key = pki().pair()
        with FakeServer(Smtp()) as server:
            text = configuration(
                None, address=[f"unix:{folder}/nobody", f"localhost:{server.port}"],
                downstream={"tls": "opportunistic"}, upstream={"warm": 1})
            text += f'\ndownstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]'
            with Daemon(text, program=traced) as daemon:
                for _ in range(2):
                    with daemon.connect() as client:
                        client.reply()
                        client.command(b"EHLO a.test")
                        client.command(b"QUIT")
                        client.rest()
                daemon.process.send_signal(signal.SIGHUP)
                daemon.lines(lambda line: line.get("msg") == "reloaded")
        # strace ends last, and the test has not waited for it.
        wait.until(lambda: " exit_group(0)" in trace.read_text(encoding="utf-8"), "the end is traced")
        calls = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read_text(encoding="utf-8"), re.M))
        self.assertTrue(calls & {"epoll_wait", "epoll_pwait"}, calls)
        # systemd does the exec. Raising a limit that is at its top already may fail. libuv from
        # 1.50 on makes io_urings here, if the sandbox is off, and goes on without them in the unit.
        rings = {"io_uring_setup", "io_uring_enter"}
        self.assertEqual(allowed() & rings, set())
        self.assertEqual(calls - allowed() - rings - {"execve", "prlimit64"}, set())


class Reload(unittest.TestCase):
    def reload(self, daemon):
        """Runs the commands as systemd does, until one fails. Returns the last one's result."""
        commands = re.findall(r"^ExecReload=(.*)$", UNIT.read_text(encoding="utf-8"), re.M)
        self.assertEqual(len(commands), 2)
        for command in commands:
            words = shlex.split(command.replace("/usr/sbin/starttls-proxy", str(PROXY)).replace(
                CONFIGURATION, str(daemon.configuration_file)))
            # No program can be found by its name alone.
            result = subprocess.run(words, capture_output=True, text=True,
                                    env={"PATH": "/nonexistent", "MAINPID": str(daemon.process.pid)})
            if result.returncode != 0:
                break
        self.assertEqual(result.stdout, "")
        return result

    def test_it_fails_for_a_wrong_file_and_sends_no_signal(self):
        text = configuration(1)
        with Daemon(text) as daemon:
            file = daemon.configuration_file
            file.write_text(text.replace("protocol =", "protocoll ="), encoding="utf-8")
            result = self.reload(daemon)
            self.assertEqual(result.returncode, 78, result.stderr)
            self.assertIn("did you mean 'service.protocol'", result.stderr)
            file.write_text(text, encoding="utf-8")
            result = self.reload(daemon)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            daemon.lines(lambda line: line.get("msg") == "reloaded")
            self.assertNotIn("not reloaded", daemon.text())


if __name__ == "__main__":
    main.main()

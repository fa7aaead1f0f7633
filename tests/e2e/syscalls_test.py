"""Costs of bulk data that no clock shows: system calls per megabyte, bytes copied in user space.

Both are counted from outside, by strace and by a preloaded library: the daemon has no code for it.
The limits have a margin. A proxy that writes record by record, or copies the payload once more,
exceeds them by far.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest
from unittest import mock

from support import children, main, wait
from support.daemon import SANDBOX, Daemon
from support.environment import BACKEND, PROXY, pki

LOAD = PROXY.parents[1] / "bench" / "load" / "load"
INTERPOSER = pathlib.Path(__file__).parent / "support" / "count_copies.cc"
MB = 1_000_000
SIZE = 200 * MB

# Limit per megabyte, for calls that grow with the bytes. Reads of 256 KiB make four of each.
MAX_SYSTEM_CALLS = 24
# If nothing is encrypted, two calls of splice move up to a MiB.
MAX_CALLS_IN_THE_CLEAR = 12
MIN_SPLICES = 1
# On a busy machine less waits for each call, so there are more of them. The best attempt counts.
ATTEMPTS = 3
# Bytes copied by memcpy and memmove per byte relayed. If our code copies nothing, two parts remain.
# They are the record that a read has cut, and the tail that the kernel does not take.
MAX_COPIED = 0.3
# The library's record layer copies each byte into its buffer and out of it.
LIBRARY_COPIES = 0.9

DIRECTIONS = {"upgrade": ("none", "starttls"), "terminate": ("starttls", "none")}
CLEAR = {"clear": ("none", "none")}


class Relay:
    """Backend and daemon; `load` runs the load generator through both."""

    def __init__(self, test, direction, codec="auto", environment=None):
        self._down, up = {**DIRECTIONS, **CLEAR}[direction]
        chain, key = pki().pair()
        backend = children.start(
            [BACKEND, "--protocol", "smtp", "--listen", "127.0.0.1:0", "--tls", up, "--chain",
             chain, "--key", key], stdout=subprocess.PIPE)
        test.addCleanup(backend.stdout.close)
        test.addCleanup(backend.wait)
        test.addCleanup(backend.terminate)
        port = int(backend.stdout.readline().rpartition(b":")[2])
        tls = ["--server-name", "mail.test", "--ca-file", pki().ca] if up != "none" else []
        if self._down != "none":
            tls = ["--chain", chain, "--key", key]
        daemon = Daemon(arguments=[
            "--protocol", "smtp", "--listen", "127.0.0.1:0", "--workers", "1", "--record-codec",
            codec, "--downstream-tls", self._down, "--upstream", f"127.0.0.1:{port}",
            "--upstream-tls", up, "--sandbox", str(SANDBOX).lower(), *tls])
        with mock.patch.dict(os.environ, environment or {}):
            self.daemon = test.enterContext(daemon)

    def load(self, command):
        done = subprocess.run(
            [LOAD, command, "--bytes", str(SIZE), "--connect", f"127.0.0.1:{self.daemon.port}",
             "--protocol", "smtp", "--tls", self._down, "--server-name", "mail.test", "--ca-file",
             pki().ca], check=False, capture_output=True, text=True, timeout=4 * wait.DEADLINE)
        result = json.loads(done.stdout.splitlines()[-1])
        if done.returncode != 0 or result["bytes"] < SIZE:
            raise AssertionError(done.stdout + done.stderr)


@contextlib.contextmanager
def traced(pid, folder):
    """Counts the system calls of a process. Yields a dict that is filled at the end."""
    path = pathlib.Path(folder) / "strace"
    strace = children.start(["strace", "-f", "-c", "-o", path, "-p", pid], stderr=subprocess.PIPE,
                            text=True)
    counts = {}
    try:
        said = strace.stderr.readline()
        if "attached" not in said:
            raise unittest.SkipTest(f"strace may not: {said.strip()}")
        # One line names one thread, or all of them, so check that each thread has a tracer.
        wait.until(lambda: all(
            "TracerPid:\t0\n" not in (task / "status").read_text(encoding="ascii")
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir()), "attached to every thread")
        yield counts
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=wait.DEADLINE)
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        # % time, seconds, usecs/call, calls, errors (may be missing), system call
        if len(words) in (5, 6) and words[3].isdigit() and words[-1] != "total":
            counts[words[-1]] = int(words[3])


class SystemCalls(unittest.TestCase):
    def test_a_megabyte_takes_few_of_them(self):
        if shutil.which("strace") is None:
            self.skipTest("strace is not installed")
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-strace-"))
        for direction in (*DIRECTIONS, *CLEAR):
            relay = Relay(self, direction)
            for command in ("send", "fetch"):
                with self.subTest(direction=direction, command=command):
                    limit = MAX_CALLS_IN_THE_CLEAR if direction in CLEAR else MAX_SYSTEM_CALLS
                    for _ in range(ATTEMPTS):
                        each, total = self.calls(relay, command, folder)
                        self.assertGreater(total, 2, "nothing was counted")
                        table = ", ".join(f"{name} {count:.1f}" for name, count in each.items()
                                          if count >= 0.05)
                        print(f"{direction}, {command}: {total:.1f} calls/MB: {table}")
                        if total < limit:
                            break
                    self.assertLess(total, limit)
                    splices = each.get("splice", 0)
                    if direction in CLEAR:
                        self.assertGreater(splices, MIN_SPLICES)
                    else:
                        self.assertEqual(splices, 0)

    @staticmethod
    def calls(relay, command, folder):
        """Returns the system calls of a run per megabyte: each by its name, and all."""
        with traced(relay.daemon.process.pid, folder) as counts:
            relay.load(command)
        each = {name: count * MB / SIZE
                for name, count in sorted(counts.items(), key=lambda item: -item[1])}
        return each, sum(each.values())


class Copies(unittest.TestCase):
    def setUp(self):
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        if compiler is None:
            self.skipTest("no compiler")
        folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="starttls-copies-")))
        library = folder / "count_copies.so"
        subprocess.run([compiler, "-std=c++20", "-O2", "-fno-builtin", "-shared", "-fPIC", "-o",
                        library, INTERPOSER], check=True)
        self._counts = folder / "counts"
        self._counts.touch()
        self._environment = {"LD_PRELOAD": str(library), "COUNT_COPIES": str(self._counts)}

    def copied(self):
        """Returns the bytes copied so far, and the number of calls."""
        return struct.unpack("QQ", self._counts.read_bytes())

    def copied_per_byte(self, direction, codec):
        """Returns {command: bytes copied per byte relayed}."""
        relay = Relay(self, direction, codec, self._environment)
        found = {}
        for command in ("send", "fetch"):
            before = self.copied()
            relay.load(command)
            data, calls = (after - b for after, b in zip(self.copied(), before))
            found[command] = data / SIZE
            print(f"{direction}, {command}, record_codec={codec}: {found[command]:.3f} bytes "
                  f"copied per byte, {calls * MB / SIZE:.1f} copies/MB of 1 KiB or more")
        return found

    def test_payload_is_not_copied(self):
        for direction in (*DIRECTIONS, *CLEAR):
            for command, copied in self.copied_per_byte(direction, "auto").items():
                with self.subTest(direction=direction, command=command):
                    self.assertLess(copied, MAX_COPIED)

    def test_the_counter_sees_real_copies(self):
        for command, copied in self.copied_per_byte("upgrade", "ssl").items():
            with self.subTest(command=command):
                self.assertGreater(copied, LIBRARY_COPIES)


if __name__ == "__main__":
    main.main()

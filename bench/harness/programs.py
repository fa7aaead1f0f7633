"""Child processes: those that are measured, and those that measure."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import time

DEADLINE = 20
DESCRIPTORS = 131072  # for 50 000 sessions, with two each
TICKS = os.sysconf("SC_CLK_TCK")
_numbers = itertools.count(1)


class BenchError(Exception):
    """A program did not run, or not all data arrived."""


def descriptor_limit():
    """Raises the limit of descriptors and returns it. Children inherit it; root can raise it further."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, DESCRIPTORS),) * 2)
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _settle(cpus):
    """Sets CPUs and descriptors; runs in the child."""
    os.sched_setaffinity(0, cpus)
    descriptor_limit()


def _process_clock(pid):
    """Returns the clock of clock_getcpuclockid(3). It counts nanoseconds; /proc has ticks of 10 ms."""
    return (~pid << 3) | 2


def _stat(path):
    """Returns the fields after the name: [0] is the state."""
    return pathlib.Path(path).read_text(encoding="utf-8").rpartition(")")[2].split()


class Program:
    """A child process bound to CPUs, with its output in a file. It always ends with the context."""

    def __init__(self, name, argv, cpus, folder):
        self.name = name
        self.output = folder / f"{name.replace(' ', '-')}-{next(_numbers)}.log"
        with open(self.output, "wb") as output:
            self._process = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, preexec_fn=lambda: _settle(cpus))
        self.pid = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends it and returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def text(self):
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern, deadline=DEADLINE):
        """Waits for a match in its output, and returns the first one."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            ended = self._process.poll() is not None
            if found := re.search(pattern, self.text()):
                return found
            if ended:
                break
            time.sleep(0.003)
        raise BenchError(f"{self.name} did not say {pattern!r}:\n{self.text()[-2000:]}")

    def wait_for_port(self, port):
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.01)
        raise BenchError(f"{self.name} does not listen:\n{self.text()[-2000:]}")

    def result(self, deadline):
        """Returns the last line of a load generator. BenchError unless all data arrived."""
        try:
            status = self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.name} has not ended within {deadline:.0f} s") from None
        try:
            result = json.loads(self.text().strip().split("\n")[-1])
        except ValueError:
            raise BenchError(f"{self.name}: {self.text()}") from None
        if status != 0 or result["errors"] != 0:
            raise BenchError(f"{self.name} has failed: {self.text()[-2000:]}")
        return result

    def _family(self):
        """Returns the ids of the process and of its living descendants."""
        found, waiting = [], [self.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, task.read_text(encoding="ascii").split())
        return found

    def cpu_seconds(self):
        """Returns user and system time of all threads and children, also of those that have ended."""
        seconds = 0.0
        for pid in self._family():
            seconds += time.clock_gettime(_process_clock(pid))
            # The time of its ended children, in ticks. That is coarse, but there are hardly any.
            seconds += sum(map(int, _stat(f"/proc/{pid}/stat")[13:15])) / TICKS
        return seconds

    def thread_cpu_seconds(self):
        """Returns the same for each living thread of the first process."""
        return {task.name: int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
                for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir()}

    def pss(self):
        """Returns bytes of memory; shared memory is divided among the processes that share it."""
        return self._rollup("Pss")

    def rss(self):
        """Returns bytes of memory, shared memory included."""
        return self._rollup("Rss")

    def _rollup(self, key):
        total = 0
        for pid in self._family():
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            total += 1024 * int(re.search(rf"^{key}: +(\d+) kB", rollup, re.M)[1])
        return total

    def descriptors(self):
        """Returns the number of descriptors that the first process has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def running(self):
        return self._process.poll() is None

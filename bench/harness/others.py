"""How much of the CPUs the programs used that are no part of the measurement."""

import dataclasses
import os
import pathlib
import time

TICKS = os.sysconf("SC_CLK_TCK")
# Below this share the figures of a run do not show it.
HARMLESS = 0.05


@dataclasses.dataclass
class Count:
    """CPU time in seconds. The kernel counts it in ticks."""

    all: float   # of all programs
    ours: float  # of this process and its descendants


class Others:
    """Counts from its creation on."""

    def __init__(self):
        self._began, self._before = time.monotonic(), _count()

    def count(self):
        now = _count()
        return Count(now.all - self._before.all, now.ours - self._before.ours)

    def share(self):
        """Returns the part of all CPU time that other programs have had, from 0 to 1."""
        passed = (time.monotonic() - self._began) * os.cpu_count()
        count = self.count()
        return min(max((count.all - count.ours) / passed, 0.0), 1.0)


def note(share):
    """Returns a sentence about a share that disturbs the figures; "" if it is harmless."""
    if share is None or share < HARMLESS:
        return ""
    return f"disturbed: other programs had {100 * share:.0f} % of the CPUs meanwhile"


def _count():
    return Count(_all_seconds(), _our_seconds())


def _all_seconds():
    """Returns the time that programs have had on all CPUs, in user space and in the kernel."""
    first = pathlib.Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    user, nice, system = map(int, first.split()[1:4])
    return (user + nice + system) / TICKS


def _our_seconds():
    """Returns the time that this process and all its descendants have had, with those that have ended."""
    total, waiting = 0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            total += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, task.read_text(encoding="ascii").split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return total / TICKS

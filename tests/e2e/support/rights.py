"""The rights that a process still has, as /proc shows them."""

import contextlib
import os
import pathlib


def status_of(task):
    """Returns /proc/TASK/status as a dict."""
    lines = pathlib.Path(f"/proc/{task}/status").read_text(encoding="ascii").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def statuses(pid):
    """Returns the status of every thread of a process."""
    return [status_of(f"{pid}/task/{task}") for task in os.listdir(f"/proc/{pid}/task")]


def rings_of(pid):
    """Returns the io_urings of a process: descriptors of it."""
    found = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if "io_uring" in os.readlink(entry):
                found.append(entry.name)
    return found


def assert_confined(test, pid, capabilities):
    """Asserts that every thread of the process is in the sandbox, those that resolve names too."""
    filters = int(status_of("self")["Seccomp_filters"])  # of a container, if there is one
    for status in statuses(pid):
        with test.subTest(thread=status["Name"], pid=status["Pid"]):
            test.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            test.assertEqual(status["Seccomp_filters"], str(filters + 2))
            for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
                test.assertEqual(int(status[name], 16) & ~capabilities, 0, name)
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    test.assertRegex(limits, r"Max core file size +0 +0 ")
    if os.geteuid() == 0:
        test.assertEqual(rings_of(pid), [])
    # Not dumpable, so the kernel takes the process's folder away from its user.
    test.assertEqual(os.stat(f"/proc/{pid}/mem").st_uid, 0)

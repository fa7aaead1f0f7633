"""Another load on the CPUs: one program per CPU that never waits."""

import contextlib
import os
import signal
import subprocess
import sys

LOOP = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


@contextlib.contextmanager
def busy(cpus):
    """Runs one such program on each CPU, at the usual priority, while the context lasts."""
    children = [subprocess.Popen([sys.executable, "-c", LOOP, str(cpu)], stdin=subprocess.DEVNULL,
                                 preexec_fn=_end_with_parent) for cpu in sorted(cpus)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


def _end_with_parent():
    """Lets the kernel kill this process when its parent ends, so that nothing keeps a CPU busy."""
    import ctypes  # pylint: disable=import-outside-toplevel
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)

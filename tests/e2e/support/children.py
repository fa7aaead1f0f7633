"""Child processes that do not outlive their test, even one that ctest kills."""

import ctypes
import resource
import signal
import subprocess

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def start(argv, *, max_files=None, death=signal.SIGKILL, **options):
    """Starts subprocess.Popen; the kernel sends the child `death` when we die."""

    def prepare():
        _libc.prctl(_PR_SET_PDEATHSIG, death)
        if max_files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))

    return subprocess.Popen(list(map(str, argv)), preexec_fn=prepare,
                            **{"stdin": subprocess.DEVNULL, **options})

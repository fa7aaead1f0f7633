"""Stops single threads of a process, as a debugger does: the others go on."""

import contextlib
import ctypes
import os
import pathlib

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_ANY_THREAD = 0x40000000  # __WALL
_libc = ctypes.CDLL(None, use_errno=True)


def _ptrace(request, thread):
    if _libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x})")


@contextlib.contextmanager
def frozen_workers(pid, count=None):
    """Stops the threads of all workers meanwhile, or of the first `count`."""
    threads = sorted(int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                     if (task / "comm").read_text().startswith("worker "))[:count]
    for thread in threads:
        _ptrace(_SEIZE, thread)
        _ptrace(_INTERRUPT, thread)
        os.waitpid(thread, _ANY_THREAD)
    try:
        yield
    finally:
        for thread in threads:
            _ptrace(_DETACH, thread)

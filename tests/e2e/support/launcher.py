"""The launcher of a daemon: its process, the programs that it runs, and requests of an intruder in the
daemon (see intruder.cc)."""

import itertools
import os
import pathlib
import shutil
import struct
import sys

from . import wait
from .client import Client

RUN, RELOAD = 1, 2
READY, OUTPUT, BEGINNING, FAILURE, BUSY, TIMEOUT, RELOADED = range(1, 8)

_ids = itertools.count(1 << 40)  # not those of the proxy itself


def children_of(pid):
    """Returns the processes whose parent this is."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def of(daemon):
    """Returns the process of the daemon's launcher."""
    [pid] = children_of(daemon.process.pid)
    return pid


def is_alive(pid):
    """True if the process runs. A zombie does not."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(") ")[2].split()[0] not in ("Z", "X")


def interpreter():
    """Returns a Python that other users may execute, too."""
    return os.path.realpath(shutil.which("python3", path="/usr/bin:/bin") or sys.executable)


def write_program(folder, body):
    """Writes a program in Python, with `body`. Returns its path."""
    path = pathlib.Path(folder) / "program"
    new = path.with_name("new-program")
    new.write_text(f"#!{interpreter()} -I\n{body}", encoding="utf-8")
    new.chmod(0o755)
    os.replace(new, path)
    return str(path)


def request(service, account, user, number=None, kind=RUN):
    """Returns the packet of a request, as the proxy sends it."""
    names = [name.encode() for name in (service, account, user)]
    return struct.pack("=BQHHH", kind, next(_ids) if number is None else number,
                       *map(len, names)) + b"".join(names)


def parse(packet):
    """Returns the number of the request, the kind, and the text of an answer."""
    kind, number, size = struct.unpack("=BQI", packet[:13])
    if len(packet) != 13 + size:
        raise AssertionError(packet)
    return number, kind, packet[13:].decode("latin-1")


def send(daemon, packet):
    """Has the intruder send a packet."""
    with Client(daemon.port) as client:
        client.send(packet)
        client.close()


def answer_to(daemon, packet):
    """Waits for the answer to a request. Returns its kind and its text."""
    number = struct.unpack("=BQ", packet[:9])[1]

    def matches(fields):
        return (fields.get("msg") == "answer"
                and parse(bytes.fromhex(fields["packet"]))[0] == number)

    return parse(bytes.fromhex(daemon.lines(matches)[0]["packet"]))[1:]


def ask(daemon, service, account, user):
    """Has the intruder ask for a program. Returns the kind and the text of the answer."""
    packet = request(service, account, user)
    send(daemon, packet)
    return answer_to(daemon, packet)


def await_end(pid):
    wait.until(lambda: not is_alive(pid), f"process {pid} ends")

"""Networks that exist for one test only: namespaces, the wires between them, the traffic on them.

The kernel frees all of it when the test's process ends, however it ends.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import struct
import subprocess
import threading
import unittest

from . import children, peers
from .environment import PEERS

_CLONE_NEWNET = 0x40000000
_ETH_P_ALL = 3
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def require():
    """Skips the test if no network namespace can be made."""
    peers.require()
    if os.geteuid() != 0:
        raise unittest.SkipTest("network namespaces want root")
    try:
        Namespace("probe").close()
    except OSError as error:
        raise unittest.SkipTest(f"no network namespaces: {error}") from None


class Namespace:
    """A network of its own, with loopback up.

    Inside of `with namespace.entered():` the calling thread is in the namespace. Sockets that it
    makes and programs that it starts then belong there for good.
    """

    def __init__(self, name):
        self.name = name
        with open("/proc/thread-self/ns/net", "rb") as home:
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
            try:
                self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                # To move an interface here, `ip` needs the id of a process that is here.
                self._holder = children.start(["/bin/sleep", "infinity"], death=signal.SIGKILL)
            finally:
                _check(_libc.setns(home.fileno(), _CLONE_NEWNET), "setns")
        self.pid = self._holder.pid

    def close(self):
        self._holder.kill()
        self._holder.wait()
        os.close(self._fd)

    @contextlib.contextmanager
    def entered(self):
        with open("/proc/thread-self/ns/net", "rb") as before:
            _check(_libc.setns(self._fd, _CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _check(_libc.setns(before.fileno(), _CLONE_NEWNET), "setns")

    def run(self, *argv, **options):
        """Runs a program of the peers' tree to its end. Raises AssertionError if it fails."""
        with self.entered():
            result = peers.run(*argv, **options)
        if result.returncode != 0:
            raise AssertionError(f"{argv}: {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def ip(self, words):
        """Runs `ip` with these words. Since iproute2 6.15 it finds a process's network by /proc."""
        return self.run("/usr/sbin/ip", *words.split(), proc=True)

    def rules(self, text):
        """Loads a file of nftables, given as its text."""
        self.run("/usr/sbin/nft", "-f", "-", input=text.encode())

    def sysctl(self, name, value):
        with self.entered():
            pathlib.Path("/proc/sys", *name.split("/")).write_text(f"{value}\n", encoding="ascii")

    def connect(self, address, port, timeout=30, source=None):
        """Returns a TCP connection from here."""
        with self.entered():
            return socket.create_connection((address, port), timeout, source)

    def wire(self, other, mine, theirs):
        """Connects a cable to `other`. Interfaces are named after the far end; addresses have a prefix."""
        self.ip(f"link add {other.name} type veth peer name {self.name} netns {other.pid}")
        for namespace, peer, addresses in ((self, other, mine), (other, self, theirs)):
            for address in addresses:
                # No other host is on this wire, so no wait for duplicate addresses is needed.
                words = f"addr add {address} dev {peer.name}"
                namespace.ip(words + " nodad" if ":" in address else words)
            namespace.ip(f"link set {peer.name} up")


class Capture:
    """Captures the traffic on one interface of a namespace, as tcpdump would."""

    def __init__(self, namespace, interface):
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            self._socket.bind((interface, 0))
        self._socket.settimeout(0.1)
        self._begun = {}  # the first byte's sequence number
        self._segments = {}
        self._running = True
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop()

    def _stop(self):
        if self._running:
            self._running = False
            self._thread.join()
            self._socket.close()

    def streams(self):
        """Ends the capture. Returns (source, source port, destination, port) -> bytes in that
        direction.

        Only connections that have begun during the capture are in it.
        """
        self._stop()
        streams = {}
        for key, begin in self._begun.items():
            data = bytearray()
            segments = ((at - begin & 0xffffffff, payload)
                        for at, payload in self._segments.get(key, {}).items())
            for at, payload in sorted(segments, key=lambda item: item[0]):
                if at > len(data):
                    raise AssertionError(f"a segment of {key} was not captured")
                data[at:at + len(payload)] = payload
            streams[key] = bytes(data)
        return streams

    def begun(self):
        """Returns the connections of which a SYN was seen until now, as in `streams`."""
        return self._begun.keys()

    def talk(self):
        """Ends the capture. Returns the connections with a SYN or a byte, as in `streams`."""
        self._stop()
        return self._begun.keys() | self._segments.keys()

    def _read(self):
        while True:
            try:
                frame = self._socket.recv(1 << 17)
            except TimeoutError:
                if not self._running:
                    return
                continue
            self._segment(frame)

    def _segment(self, frame):
        kind, = struct.unpack_from("!H", frame, 12)
        if kind == 0x0800 and frame[14 + 9] == socket.IPPROTO_TCP:
            size, = struct.unpack_from("!H", frame, 14 + 2)
            tcp, end = 14 + (frame[14] & 15) * 4, 14 + size
            source, target = (socket.inet_ntop(socket.AF_INET, frame[at:at + 4]) for at in (26, 30))
        elif kind == 0x86dd and frame[14 + 6] == socket.IPPROTO_TCP:
            size, = struct.unpack_from("!H", frame, 14 + 4)
            tcp, end = 14 + 40, 14 + 40 + size
            source, target = (socket.inet_ntop(socket.AF_INET6, frame[at:at + 16])
                              for at in (22, 38))
        else:
            return
        source_port, target_port, sequence = struct.unpack_from("!HHI", frame, tcp)
        key = (source, source_port, target, target_port)
        payload = frame[tcp + (frame[tcp + 12] >> 4) * 4:end]
        if frame[tcp + 13] & 2:  # SYN
            self._begun[key] = sequence + 1
        elif payload:
            segments = self._segments.setdefault(key, {})
            if len(payload) > len(segments.get(sequence, b"")):
                segments[sequence] = payload


def without_tls(data):
    """Returns the clear bytes before the first TLS record of a direction, and those after the last."""
    at = 0
    while at < len(data) and not (data[at] == 0x16 and data[at + 1:at + 2] == b"\3"):
        at = data.find(b"\n", at) + 1 or len(data)
    clear = data[:at]
    while at + 5 <= len(data):
        kind, major, size = data[at], data[at + 1], int.from_bytes(data[at + 3:at + 5])
        if not 20 <= kind <= 23 or major != 3:
            break
        at += 5 + size
    return clear, data[at:]

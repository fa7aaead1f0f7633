"""A scripted name server, an /etc of its own for a daemon that uses it, and silent addresses."""

import contextlib
import ipaddress
import os
import pathlib
import random
import select
import socket
import struct
import tempfile
import threading
import unittest

A, CNAME, AAAA = 1, 5, 28
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME = 0, 2, 3
PORT = 53


def require():
    """Skips the test if a daemon cannot be given an /etc of its own."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("a mount namespace wants root")


def encode(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(name, kind, data, ttl):
    return encode(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


class Query:
    """One question, as a script sees it."""

    def __init__(self, message):
        self.message = message
        self.id, = struct.unpack_from("!H", message)
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
            at += 1 + message[at]
        self.name = ".".join(labels).lower()
        self.kind, = struct.unpack_from("!H", message, at + 1)
        self.question = message[12:at + 5]

    def reply(self, records=(), code=NO_ERROR, truncated=False, number=None):
        flags = 0x8180 | code | (0x0200 if truncated else 0)
        number = self.id if number is None else number
        return (struct.pack("!HHHHHH", number, flags, 1, len(records), 0, 0) + self.question
                + b"".join(records))


class Zone:
    """The answers of a well-behaved server: names to addresses. May be changed at any time."""

    def __init__(self, names, ttl=60):
        self.names = dict(names)
        self.ttl = ttl

    def records(self, query):
        addresses = map(ipaddress.ip_address, self.names[query.name])
        return [record(query.name, A if each.version == 4 else AAAA, each.packed, self.ttl)
                for each in addresses if query.kind == (A if each.version == 4 else AAAA)]

    def __call__(self, query, send):
        if query.name in self.names:
            send(query.reply(self.records(query)))
        else:
            send(query.reply(code=NO_SUCH_NAME))


def silent(query, send):
    """Sends nothing."""


class NameServer:
    """Answers on port 53 of a loopback address of its own, by UDP and TCP.

    `script(query, send)` runs for each question. Every question is kept in `queries`.
    """

    def __init__(self, script):
        self.script = script
        self.queries = []
        self.by_tcp = 0

    def __enter__(self):
        while True:
            self.address = f"127.{random.randint(64, 126)}.{random.randint(1, 254)}.53"
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._tcp = socket.socket()
            try:
                self._udp.bind((self.address, PORT))
                self._tcp.bind((self.address, PORT))
                break
            except OSError:  # taken by another test
                self._udp.close()
                self._tcp.close()
        self._tcp.listen()
        self._threads = [threading.Thread(target=each, daemon=True)
                         for each in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        # close() alone wakes no thread.
        for each in (self._udp, self._tcp):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        for thread in self._threads:
            thread.join()

    def asked(self, name):
        """Returns the kinds and ids of the questions about a name, each once, without repetitions."""
        return {(query.kind, query.id) for query in list(self.queries) if query.name == name}

    def _serve_udp(self):
        while True:
            try:
                message, peer = self._udp.recvfrom(4096)
            except OSError:
                return
            if not message:
                return
            query = Query(message)
            query.peer = peer
            self.queries.append(query)
            self.script(query, lambda reply, to=peer: self._udp.sendto(reply, to))

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        """Answers all questions of a connection. To close it with one unread would reset it, and the answers
        before it would be lost."""
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(10)
            try:
                while len(size := stream.read(2)) == 2:
                    query = Query(stream.read(struct.unpack("!H", size)[0]))
                    self.by_tcp += 1
                    self.script(query, lambda reply: connection.sendall(
                        struct.pack("!H", len(reply)) + reply))
            except OSError:  # the client has reset it, or says nothing more
                pass


class Etc:
    """An /etc for one daemon: `wrapper` starts it there. Files may be replaced while it runs.

    If `run` lists folders, the daemon also has a /run with only these; its path here is `run`.
    """

    def __init__(self, resolv_conf, hosts="127.0.0.1 localhost\n", hostname=None, run=None):
        self._hosts = hosts
        self._resolv_conf = resolv_conf
        self._hostname = hostname
        self._run_folders = run

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="starttls-etc-")
        self.path = pathlib.Path(self._folder.name)
        os.chmod(self.path, 0o755)
        for name in ("passwd", "group"):
            (self.path / name).write_bytes((pathlib.Path("/etc") / name).read_bytes())
        (self.path / "nsswitch.conf").write_text("hosts: files dns\n", encoding="ascii")
        (self.path / "hosts").write_text(self._hosts, encoding="ascii")
        (self.path / "shadow").touch(0o600)
        if self._resolv_conf is not None:
            (self.path / "resolv.conf").write_text(self._resolv_conf, encoding="ascii")
        if self._run_folders is not None:
            self._run = tempfile.TemporaryDirectory(prefix="starttls-run-")
            self.run = pathlib.Path(self._run.name)
            os.chmod(self.run, 0o755)
            for name in self._run_folders:
                (self.run / name).mkdir(parents=True)
        return self

    def __exit__(self, *_):
        self._folder.cleanup()
        if self._run_folders is not None:
            self._run.cleanup()

    @property
    def wrapper(self):
        named = []
        if self._hostname is not None:
            named = ["python3", "-c", "import os, socket, sys\n"
                     "socket.sethostname(os.fsencode(sys.argv[1]))\n"
                     "os.execvp(sys.argv[2], sys.argv[2:])", self._hostname]
        mounts = f"mount --bind {self.path} /etc"
        if self._run_folders is not None:
            mounts += f" && mount --bind {self.run} /run"
        return ["unshare", "--mount", "--uts", "--propagation", "private",
                "sh", "-c", f"{mounts} && exec \"$@\"", "sh", *named]

    def replace(self, name, text):
        """Replaces the file by rename, as DHCP clients and editors do."""
        fresh = self.path / (name + ".new")
        fresh.write_text(text, encoding="ascii")
        os.replace(fresh, self.path / name)

    def link(self, name, target):
        """Makes the file a link to `target`, as network managers do."""
        fresh = self.path / (name + ".new")
        fresh.symlink_to(target)
        os.replace(fresh, self.path / name)


@contextlib.contextmanager
def silent_addresses(count):
    """Yields (addresses, port): the kernel drops every SYN to that port, since the queues are full."""
    with contextlib.ExitStack() as stack:
        addresses, port = [f"127.7.7.{number}" for number in range(1, count + 1)], 0
        for address in addresses:
            listener = stack.enter_context(socket.socket())
            listener.bind((address, port))
            listener.listen(0)
            port = listener.getsockname()[1]

        def filler(address):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((address, port))
            return sock

        fillers = {filler(address): address for address in addresses}
        # Until no connection is accepted any more.
        while connected := select.select([], list(fillers), [], 2)[1]:
            for sock in connected:
                address = fillers.pop(sock)
                fillers[filler(address)] = address
        yield addresses, port

"""Measures how the trouble of one service affects the clients of another. The name server is silent or
slow, the addresses of the server do not answer, or a storm of clients leave after their first message."""

import collections
import contextlib
import dataclasses
import itertools
import os
import selectors
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import threading
import time

from support.name_server import Etc, NameServer, Zone, silent, silent_addresses

from .measure import say
from .programs import BenchError, Program

TROUBLED = "mail.troubled.test"
GOOD = "mail.good.test"
CLIENTS = 200  # this many wait at the troubled service, and as many come each second to the good one
FLOOD_RATE = 6000  # connections a second
SLOW = 2  # seconds until a slow name server answers
KEPT = 16e6  # bytes of buffers that a daemon may keep for its next clients
MARGIN_MS, FLOOD_MARGIN_MS = 5, 50


@dataclasses.dataclass
class Row:
    """One kind of trouble: the measured values, and the limit."""
    name: str
    alone: float
    beside: float
    limit: float
    unit: str
    note: str = ""

    @property
    def held(self):
        return self.beside <= self.limit


def slow(query, send):
    """Answers each question late, with a short lifetime, so that it must soon be asked again."""
    zone = Zone({TROUBLED: ["127.0.0.1"]}, ttl=1)

    def late():
        with contextlib.suppress(OSError):
            zone(query, send)

    timer = threading.Timer(SLOW, late)
    timer.daemon = True
    timer.start()


class Waiting:
    """Clients that wait for a greeting. They come back if they are refused, and some time after they were
    greeted. Each tick brings at most one of either, so that they cause no burst of their own."""

    TICK = 0.01  # seconds
    STAY = 5  # ticks from one greeted client that leaves to the next

    def __init__(self, port, count, again=True):
        self._port, self._count, self._again = port, count, again
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            greeted = collections.deque()
            away = self._count

            def leave(sock):
                selector.unregister(sock)
                sock.close()

            for tick in itertools.count():
                if self._stop.wait(self.TICK):
                    return
                if away > 0:
                    away -= 1
                    sock = stack.enter_context(socket.create_connection(("127.0.0.1", self._port)))
                    selector.register(sock, selectors.EVENT_READ)
                for key, _ in selector.select(0):
                    words = b""
                    with contextlib.suppress(OSError):
                        words = key.fileobj.recv(4096)
                    if words.startswith(b"220"):
                        greeted.append(key.fileobj)
                    elif not words:
                        leave(key.fileobj)
                        away += self._again
                if greeted and tick % self.STAY == 0:
                    leave(greeted.popleft())
                    away += self._again


def flood(port, seconds, rate):
    """Opens connections that send a ClientHello and reset. Returns how many there were per second."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="mail.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    reset = struct.pack("ii", 1, 0)
    begin, sent = time.monotonic(), 0
    while (now := time.monotonic() - begin) < seconds:
        if sent > now * rate:
            time.sleep(0.001)
            continue
        sent += 1
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            with contextlib.suppress(OSError):
                with contextlib.suppress(BlockingIOError):
                    sock.connect(("127.0.0.1", port))
                sock.send(hello)
    return sent / (time.monotonic() - begin)


FLOOD = """
import sys
sys.path[:] = sys.argv[4:]
sys.dont_write_bytecode = True
from harness.trouble import flood
print(flood(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
"""


class Troubles:
    def __init__(self, field, rounds, seconds):
        self._field = field
        self._rounds = rounds
        self._seconds = seconds

    # --- Names -----------------------------------------------------------------------------------

    def _names(self, stack, name_server, port, settings=""):
        """Starts a daemon with a troubled service and a good one. Returns (program, their ports, seconds
        until it was ready)."""
        field = self._field
        backend = field.backend("starttls")
        etc = stack.enter_context(Etc(f"nameserver {name_server.address}\n",
                                      hosts=f"127.0.0.1 localhost {GOOD}\n"))
        path = field.folder / "trouble.toml"
        services = ((TROUBLED, port or backend), (GOOD, backend))
        path.write_text(f'[proxy]\nworkers = 1\nhostname = "proxy.test"\n{settings}\n' + "".join(f"""
[[service]]
name = "{name}"
protocol = "smtp"
listen = "127.0.0.1:0"
upstream.address = "{name}:{upstream}"
upstream.server_name = "mail.test"
upstream.ca_file = "{field.ca}"
""" for name, upstream in services), encoding="utf-8")
        begin = time.monotonic()
        program = stack.enter_context(Program("trouble", [
            *etc.wrapper, field.program("proxy/starttls-proxy"), "--config", path],
            field.proxy_cpus, field.folder))
        program.wait_for("msg=ready")
        ready = time.monotonic() - begin
        ports = [int(program.wait_for(rf"msg=listening service={name} .*address=127\.0\.0\.1:(\d+)")[1])
                 for name, _ in services]
        return program, ports, ready

    def _greeting(self, port):
        """Returns the 99th percentile of the time to the greeting, in ms, at the good service."""
        with self._field.load_at(port, "none", "sessions", "--concurrency", 20, "--rate", CLIENTS,
                                 "--seconds", self._seconds, "--count", 4_000_000_000) as load:
            return load.result(self._seconds + 60)["ready_us"]["p99"] / 1e3

    def names(self, row, what, script, silent_upstream=False):
        alone, beside = [], []
        for _ in range(self._rounds):
            for troubled, results in ((False, alone), (True, beside)):
                with contextlib.ExitStack() as stack:
                    addresses, port = (stack.enter_context(silent_addresses(16))
                                       if silent_upstream else (None, None))
                    server = stack.enter_context(NameServer(
                        Zone({TROUBLED: addresses}) if silent_upstream else script))
                    _, ports, _ = self._names(stack, server, port)
                    if troubled:
                        stack.enter_context(Waiting(ports[0], CLIENTS))
                        time.sleep(CLIENTS * Waiting.TICK + SLOW)  # until all of them wait
                    results.append(self._greeting(ports[1]))
        first = statistics.median(alone)
        return Row(f"{row}: {what}, {CLIENTS} clients wait for it", first,
                   statistics.median(beside), first + MARGIN_MS, "ms, p99 to the greeting")

    def end(self):
        """Measures R2: TERM while a lookup hangs."""
        times = {}
        for waiting in (0, CLIENTS):
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(NameServer(silent))
                program, ports, _ = self._names(stack, server, None, 'drain_timeout = "1s"')
                stack.enter_context(Waiting(ports[0], waiting, again=False))
                time.sleep(waiting * Waiting.TICK + 1)
                begin = time.monotonic()
                status = program.stop()
                times[waiting] = time.monotonic() - begin
                if status != 0:
                    raise BenchError(f"ended with {status}: {program.text()[-2000:]}")
        return Row("R2: TERM while lookups hang, drain_timeout 1 s", times[0], times[CLIENTS], 1.5,
                   "s until the end")

    def start(self):
        """Measures R3: no name server answers when the daemon starts."""
        times = []
        for script in (Zone({}), silent):
            results = []
            for _ in range(self._rounds):
                with contextlib.ExitStack() as stack:
                    server = stack.enter_context(NameServer(script))
                    results.append(self._names(stack, server, None)[2])
            times.append(statistics.median(results))
        return Row("R3: start without an answer", times[0], times[1], times[0] + 0.1,
                   "s until ready")

    # --- A storm ---------------------------------------------------------------------------------

    def storm(self):
        field = self._field
        subprocess.run([field.program("tools/pki/make-pki"), "--rsa-4096", field.folder], check=True,
                       stdout=subprocess.DEVNULL)
        path = field.folder / "storm.toml"
        sandbox = "true" if os.geteuid() == 0 else "false"
        path.write_text(f'[proxy]\nworkers = 1\nhostname = "proxy.test"\nsandbox = {sandbox}\n'
                        + "".join(f"""
[[service]]
name = "{name}"
protocol = "smtp"
listen = "127.0.0.1:0"
downstream.tls = "implicit"
downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]
upstream.address = "127.0.0.1:{field.backend('none')}"
upstream.tls = "none"
""" for name, chain, key in (
            ("flooded", field.folder / "server-rsa-4096.pem", field.folder / "server-rsa-4096.key"),
            ("other", field.chain, field.key))), encoding="utf-8")
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(Program("storm", [
                field.program("proxy/starttls-proxy"), "--config", path], field.proxy_cpus,
                field.folder))
            log.wait_for("msg=ready")
            flooded, other = (int(log.wait_for(
                rf"msg=listening service={name} .*address=127\.0\.0\.1:(\d+)")[1])
                for name in ("flooded", "other"))
            seconds = self._seconds * 2
            alone = self._ready(other, seconds)
            self._flooded(flooded, 2)  # so that everything that is allocated once exists
            time.sleep(2)
            descriptors, memory = log.descriptors(), log.pss()
            with self._flood(flooded, seconds) as storm:
                beside = self._ready(other, seconds)
                rate = float(storm.wait_for(r"^([\d.]+)\n$", seconds)[1])
            time.sleep(2)
            after, grown = log.descriptors(), log.pss()
        note = (f"{rate:.0f} connections a second; descriptors {descriptors} before, {after} after, "
                f"memory {memory / 1e6:.1f} and {grown / 1e6:.1f} MB")
        if after > descriptors + 8 or grown > memory + KEPT:
            raise BenchError(f"R4: not given back: {note}")
        return Row(f"R4: {FLOOD_RATE} hellos and resets a second, RSA 4096", alone, beside,
                   alone + FLOOD_MARGIN_MS, "ms, p99 until ready", note)

    def _ready(self, port, seconds):
        """Returns the 99th percentile of the time until a client with TLS is ready, in ms. Clients come 50
        per second; none may be refused."""
        with self._field.load_at(port, "implicit", "sessions", "--concurrency", 50, "--rate", 50,
                                 "--seconds", seconds, "--count", 4_000_000_000) as load:
            return load.result(seconds + 60)["ready_us"]["p99"] / 1e3

    def _flood(self, port, seconds):
        return Program("flood", [sys.executable, "-c", FLOOD, port, seconds, FLOOD_RATE, *sys.path],
                       self._field.other_cpus, self._field.folder)

    def _flooded(self, port, seconds):
        with self._flood(port, seconds) as storm:
            storm.wait_for(r"^([\d.]+)\n$", seconds + 20)


def run(field, rounds, seconds):
    """Measures all troubles and returns their rows."""
    troubles = Troubles(field, rounds, seconds)
    rows = []
    for work in (lambda: troubles.names("R1", "a silent name server", silent),
                 lambda: troubles.names("R1", "a slow name server", slow),
                 lambda: troubles.names("R5", "a name with 16 silent addresses", None, True),
                 troubles.end, troubles.start, troubles.storm):
        rows.append(work())
        say(f"  {rows[-1].name}")
    return rows


def table(rows):
    lines = ["| trouble | alone | beside it | at most | |", "|---|--:|--:|--:|---|"]
    for row in rows:
        digits = 2 if row.unit.startswith("s") else 1
        lines.append(f"| {row.name} | {row.alone:.{digits}f} | {row.beside:.{digits}f} | "
                     f"{row.limit:.{digits}f} | {row.unit}{': ' if row.note else ''}{row.note}"
                     f"{'' if row.held else ' **missed**'} |")
    return "\n".join(lines)

"""Starts starttls-proxy, reads its log, stops it, and reports anything that it did not clean up."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

from . import canary, children, wait
from .client import Client
from .environment import PROXY, RECORD_CIPHER, pki

# Only root may inspect a process that is in its sandbox, as Daemon.descriptors and strace do.
SANDBOX = os.geteuid() == 0

_FIELD = re.compile(r'([A-Za-z_]+)=("(?:[^"\\]|\\.)*"|\S*)')
# A text log leaves these out of a session's line if they are empty.
MAY_BE_EMPTY = ("server", "downstream_cipher", "downstream_group", "sni", "client_certificate",
                "upstream_cipher", "upstream_group", "upstream_verify", "login", "login_mechanism",
                "last_reply", "reason", "note")
_SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:")


def parse_line(line):
    """Returns a line of the log as a dict. A text log gives strings; escapes stay as they are.

    A session's line has all its fields, "" for those that the text log has left out.
    """
    if line.startswith("{"):
        return json.loads(line)
    fields = {key: value[1:-1] if value.startswith('"') else value
              for key, value in _FIELD.findall(line)}
    return {**dict.fromkeys(MAY_BE_EMPTY, ""), **fields} if "outcome" in fields else fields


def toml(value):
    """Returns a Python value as TOML: strings, numbers, booleans, lists of them."""
    return json.dumps(value, ensure_ascii=False)


def login_lines(login=None, accounts=()):
    """Returns the lines about the login of the service before them: of its table, and of its accounts."""
    tables = [("[service.login]", login)] if login is not None else []
    tables += [("[[service.account]]", account) for account in accounts]
    return [line for name, keys in tables
            for line in (name, *(f"{key} = {toml(value)}" for key, value in keys.items()))]


def configuration(upstream_port, *, protocol="smtp", upstream=None, downstream=None, timeouts=None,
                  proxy=None, log=None, address=None, login=None, accounts=()):
    """Returns a configuration of one service on a port that the kernel chooses.

    The service upgrades to mail.test at `upstream_port` (or `address`), verified against the test
    CA. The dicts add keys to their tables, or replace ours. With `login` it has such a table, and the
    accounts.
    """
    tables = {
        "proxy": {"workers": 2, "hostname": "proxy.test", "drain_timeout": "20s",
                  "sandbox": SANDBOX, **(proxy or {})},
        "log": {"level": "debug", **(log or {})},
        "timeouts": timeouts or {},
        "[service]": {
            "name": "office",
            "protocol": protocol,
            "listen": "127.0.0.1:0",
            **{f"downstream.{key}": value for key, value in (downstream or {}).items()},
            **{f"upstream.{key}": value for key, value in {
                "address": address or f"127.0.0.1:{upstream_port}",
                "server_name": "mail.test",
                "ca_file": pki().ca,
                **(upstream or {}),
            }.items()},
        },
    }
    return "\n".join([
        *(line for name, keys in tables.items()
          for line in (f"[{name}]", *(f"{key} = {toml(value)}" for key, value in keys.items()))),
        *login_lines(login, accounts)])


def with_cipher(config):
    """Returns the configuration with the record cipher that this run is for."""
    if not RECORD_CIPHER or "record_cipher" in config:
        return config
    changed, count = re.subn(r"^\[proxy\]$", f'[proxy]\nrecord_cipher = "{RECORD_CIPHER}"', config,
                             count=1, flags=re.M)
    return changed if count else f'[proxy]\nrecord_cipher = "{RECORD_CIPHER}"\n{config}'


class Daemon:
    """A running daemon. Leaving the context drains it and expects exit status 0.

    `wrapper` begins the command line: a program that starts the daemon as another user. `program` is
    the daemon's path there. `options` are those of subprocess.Popen.
    """

    def __init__(self, config=None, *, arguments=(), listeners=1, max_files=None, wrapper=(),
                 program=PROXY, options=None):
        self._options = options or {}
        self._program = program
        self._wrapper = list(wrapper)
        self._config = config
        self._arguments = list(arguments)
        self._listeners = listeners
        self._max_files = max_files
        self._lines = []
        self._parsed = []  # the lines that a test has asked for so far
        self._news = threading.Condition()
        self._reading = threading.Lock()

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="starttls-conf-")
        arguments = self._arguments
        if self._config is not None:
            path = self.configuration_file = pathlib.Path(self._folder.name) / "proxy.toml"
            path.write_text(with_cipher(self._config), encoding="utf-8")
            arguments = ["--config", path, *arguments]
        self.process = children.start([*self._wrapper, self._program, *arguments], max_files=self._max_files,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      **self._options)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.lines(lambda fields: fields.get("msg") == "ready")
            lines = self.lines(lambda fields: fields.get("msg") == "listening", self._listeners)
        except BaseException:
            self._kill()
            raise
        self.ports = [0 if fields["address"].startswith("unix:")
                      else int(fields["address"].rpartition(":")[2]) for fields in lines]
        self.port = self.ports[0]
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self._kill()
            print(f"--- log of the daemon ---\n{self.text()[-6000:]}\n---")
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.expect_exit(0)

    def connect(self):
        return Client(self.port)

    def lines(self, matches, count=1, deadline=wait.DEADLINE):
        """Waits until `count` parsed lines match, and returns them."""
        with self._news:
            found = []
            seen = 0

            def enough():
                nonlocal seen
                for line in self._lines[len(self._parsed):]:
                    self._parsed.append(parse_line(line))
                found.extend(filter(matches, self._parsed[seen:]))
                seen = len(self._parsed)
                return len(found) >= count

            # The process may be gone: then no more lines will come. Or it may write other lines
            # without end.
            end = time.monotonic() + 4 * deadline
            while not enough():
                if (not self._reader.is_alive() or not self._news.wait(deadline)
                        or time.monotonic() > end):
                    if enough():
                        break
                    raise AssertionError(f"{len(found)} of {count} log lines; the log:\n"
                                         + "\n".join(self._lines[-60:]))
            return found

    def warnings(self, count=0):
        """Waits for `count` warnings, without the one about tests that root runs. Returns them all."""
        def matches(fields):
            return (fields.get("level") == "warn"
                    and not fields.get("warning", "").startswith("started by root"))

        return self.lines(matches, count)

    def sessions(self, count=1, deadline=wait.DEADLINE):
        """Waits for `count` lines at the end of sessions, and returns them."""
        return self.lines(lambda fields: "outcome" in fields, count, deadline)

    def session(self):
        """Returns the line at the end of the only session."""
        found = self.sessions()
        if len(found) != 1:
            raise AssertionError(f"{len(found)} sessions instead of one")
        return found[0]

    def text(self):
        with self._news:
            return "\n".join(self._lines)

    def unread(self):
        """Returns a context in which the daemon's standard error is not read."""
        return self._reading

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def descriptor_list(self):
        folder = pathlib.Path(f"/proc/{self.process.pid}/fd")
        found = []
        for entry in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(f"{entry.name}={os.readlink(entry)}")
        return sorted(found)

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS: the daemon is gone")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def expect_exit(self, status, deadline=wait.DEADLINE):
        """Waits for the end. The status must be this one, and no sanitizer may have reported an error."""
        try:
            code = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self._kill()
            raise AssertionError(f"the daemon did not end\n{self.text()[-6000:]}") from None
        self._finish()
        if code != status or _SANITIZER.search(self.text()):
            raise AssertionError(f"exit status {code}\n{self.text()[-6000:]}")
        canary.check(self.text())

    def _kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._finish()

    def _finish(self):
        self._reader.join()
        self.process.stderr.close()
        self._folder.cleanup()

    def _read(self):
        for line in self.process.stderr:
            with self._reading, self._news:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


def try_to_start(*arguments, wrapper=()):
    """Starts the daemon, which is expected not to start; if it does, ends it at once. Returns (exit
    status, last line of its output)."""
    said = [""]
    with children.start([*wrapper, PROXY, *arguments], stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE, text=True) as process:
        killer = threading.Timer(wait.DEADLINE, process.kill)
        killer.start()
        for line in process.stderr:
            said.append(line.rstrip("\n"))
            if "msg=ready" in line:
                process.terminate()
        status = process.wait()
        killer.cancel()
    return status, said[-1]


def run_to_end(*arguments, timeout=wait.DEADLINE, wrapper=(), **options):
    """Runs the daemon to its end, with arguments that let it end by itself."""
    return subprocess.run([*wrapper, PROXY, *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout, check=False, stdin=subprocess.DEVNULL, **options)

"""starttls-token with a store and a configuration of its own."""

import json
import os
import pathlib
import pty
import select
import shutil
import subprocess
import tempfile
import threading
import time

from . import children, wait
from .environment import TOKEN
from .unix_listener import UnixListener

ACCOUNT = "scan@example.com"


class Program:
    """A folder with tokens.toml and a store, and the program to run with them."""

    def __init__(self, test, top="", **account):
        self.folder = pathlib.Path(test.enterContext(
            tempfile.TemporaryDirectory(prefix="starttls-token-")))
        self.config = self.folder / "tokens.toml"
        self.store = self.folder / "tokens"
        self.write(top, **account)

    def write(self, top="", **account):
        values = {"name": ACCOUNT, "client_id": "the-client", **account}
        self.config.write_text("\n".join(
            [top, "[[account]]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]),
            encoding="utf-8")
        self.config.chmod(0o600)

    def put(self, token_url, refresh_token="refresh-0", **more):
        """Stores an account as authorize does. Its access token has ended."""
        self.store.mkdir(mode=0o700, exist_ok=True)
        entry = {"version": 1, "account": ACCOUNT, "provider": "", "grant": "authorization_code",
                 "token_url": token_url, "client_id": "the-client", "scope": "mail",
                 "refresh_token": refresh_token, "access_token": "access-0", "obtained": 1,
                 "expires": 2, **more}
        file = self.store / f"{ACCOUNT}.json"
        file.write_text(json.dumps(entry), encoding="utf-8")
        file.chmod(0o600)

    def stored(self):
        return json.loads((self.store / f"{ACCOUNT}.json").read_text(encoding="utf-8"))

    def argv(self, *arguments, program=TOKEN):
        return [program, *arguments, "--config", self.config, "--store", self.store]

    def command(self, *arguments):
        """Returns the words for a `command` of the proxy. The program is a copy, because the proxy refuses
        one that others can change. A user's group can change the files of a build (umask 002)."""
        copy = self.folder / "starttls-token"
        if not copy.exists():
            shutil.copy(TOKEN, copy)
            copy.chmod(0o755)
        return list(map(str, self.argv(*arguments, program=copy)))

    def run(self, *arguments, before=(), **options):
        """Runs the program to its end. Returns it with its output as text."""
        return subprocess.run(list(map(str, [*before, *self.argv(*arguments)])), capture_output=True,
                              text=True, check=False, timeout=2 * wait.DEADLINE,
                              **{"stdin": subprocess.DEVNULL, **options})

    def start(self, *arguments, **options):
        return children.start(self.argv(*arguments), **{
            "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})

    def authorize(self, *arguments, **options):
        return Authorization(self, arguments, options)


class TokenSocket(UnixListener):
    """A unix socket that answers each connection by one `access --from-stdin`, as systemd does with
    Accept=yes. `path` is its address, and `runs` counts the programs."""

    def __init__(self, program):
        self._program = program
        self.path = program.folder / "socket"
        self.runs = 0

    def take(self, connection):
        self.runs += 1  # before the program can answer
        with connection:
            process = self._program.start("access", "--from-stdin", stdin=connection, stdout=connection)
        threading.Thread(target=process.communicate).start()


class Authorization:
    """`authorize` while it waits for a person. `said` is its standard output until now."""

    def __init__(self, program, arguments, options):
        self._process = program.start("authorize", ACCOUNT, *arguments, **options)
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                stream.close()

    def address(self, count=1):
        """Returns the address that was said as number `count`."""
        while True:
            found = [line.strip() for line in self.said.splitlines(keepends=True)
                     if line.strip().startswith("http") and line.startswith("  ") and line.endswith("\n")]
            if len(found) >= count:
                return found[count - 1]
            self._more()

    def code(self):
        """Returns the code that a person must enter."""
        while "this code:\n\n" not in self.said or "\n\n" not in self.said.split("this code:\n\n")[1]:
            self._more()
        return self.said.split("this code:\n\n")[1].split()[0]

    def says(self, words):
        while words not in self.said:
            self._more()

    def type(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self):
        """Waits for the end. Returns exit status and standard error."""
        out, err = self._process.communicate(timeout=wait.DEADLINE)
        self.said += out
        return self._process.returncode, err

    def _more(self):
        ready, _, _ = select.select([self._process.stdout], [], [], wait.DEADLINE)
        piece = os.read(self._process.stdout.fileno(), 65536).decode() if ready else ""
        if not piece:
            raise AssertionError(f"nothing more was said: {self.said!r} {self._process.poll()}")
        self.said += piece


def on_terminal(argv, until, environment=None, count=1):
    """Runs a command on a terminal until it has printed the text `count` times. Returns its output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update({"TERM": "xterm", **(environment or {})})
        os.execv(str(argv[0]), list(map(str, argv)))
    printed = b""
    end = time.monotonic() + wait.DEADLINE
    try:
        while printed.decode(errors="replace").count(until) < count:
            if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"not printed: {until!r} in {printed!r}")
            try:
                printed += os.read(terminal, 65536)
            except OSError as error:  # the program has ended
                raise AssertionError(f"not printed: {until!r} in {printed!r}") from error
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    return printed.decode()

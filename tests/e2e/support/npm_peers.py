"""Programs of another make, from npm: smtp-server, nodemailer, imapflow, oauth2-mock-server (tests/peers/npm)."""

import json
import os
import pathlib
import shutil
import subprocess
import threading
import unittest
import urllib.request

from . import canary, children, wait
from .environment import ROOT, pki

FOLDER = pathlib.Path(os.environ.get("STARTTLS_NPM_PEERS") or ROOT / "build" / "npm-peers")
PROGRAMS = ROOT / "tests" / "peers" / "npm"


def require():
    """Skips the test if the packages were not unpacked."""
    if not (FOLDER / "stamp").exists() or not shutil.which("node"):
        raise unittest.SkipTest(f"no npm peers in {FOLDER}: run tests/peers/npm/fetch")


def _environment():
    return {"PATH": os.environ["PATH"], "NODE_PATH": str(FOLDER / "node_modules")}


def run(program, **settings):
    """Runs a client to its end, and returns its result."""
    done = subprocess.run(["node", PROGRAMS / f"{program}.js", json.dumps(settings)],
                          env=_environment(), capture_output=True, timeout=wait.DEADLINE, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise AssertionError(f"{program}: {done.returncode}\n{done.stderr.decode()}")
    return json.loads(done.stdout)


class SmtpServer:
    """npm's smtp-server with STARTTLS: it takes mail after a login by one of `methods`, of `user` with
    `password`, or of any user with one of `tokens`."""

    def __init__(self, methods, user="box", password=canary.PASSWORD, tokens=()):
        require()
        chain, key = pki().pair()
        self._settings = {"methods": list(methods), "user": user, "password": password,
                          "tokens": list(tokens), "key": key, "certificate": chain}
        self._events = []
        self._news = threading.Condition()

    def __enter__(self):
        self._process = children.start(["node", PROGRAMS / "server.js", json.dumps(self._settings)],
                                       env=_environment(), stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = self.events("port")[0]["port"]
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(wait.DEADLINE)
        self._reader.join()
        self._process.stdout.close()

    def events(self, kind, count=1):
        """Waits until there are `count` events of a kind: "login", "mail". Returns them all."""
        def found():
            return [event for event in self._events if event["event"] == kind]

        with self._news:
            self._news.wait_for(lambda: len(found()) >= count or not self._reader.is_alive(),
                                wait.DEADLINE)
            if len(found()) < count:
                raise AssertionError(f"not {count} events {kind!r}: {self._events}")
            return found()

    def _read(self):
        for line in self._process.stdout:
            with self._news:
                self._events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


class Provider:
    """npm's oauth2-mock-server, with a device authorization besides. It signs each token with a key of its
    own, adds these claims, and says that the token is good for `lifetime` seconds.

    `url` is its address. `kid` and `key` are the name of its key and the public key (PEM).
    """

    def __init__(self, lifetime=3600, **claims):
        require()
        self._settings = {"claims": claims, "lifetime": lifetime}

    def __enter__(self):
        self._process = children.start(["node", PROGRAMS / "provider.js", json.dumps(self._settings)],
                                       env=_environment(), stdout=subprocess.PIPE)
        line = self._process.stdout.readline()
        if not line:
            self.__exit__()
            raise AssertionError("the provider has ended")
        self.__dict__.update(json.loads(line))
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(wait.DEADLINE)
        self._process.stdout.close()

    def change(self, **settings):
        """Replaces settings: `lifetime`, `claims`."""
        request = urllib.request.Request(f"{self.url}/settings", json.dumps(settings).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=wait.DEADLINE):
            pass

    def requests(self):
        """Returns the forms of all requests for a token, in order."""
        with urllib.request.urlopen(f"{self.url}/requests", timeout=wait.DEADLINE) as response:
            return json.load(response)

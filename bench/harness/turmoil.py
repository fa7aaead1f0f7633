"""The events beside a soak: a name server dies and comes back, certificates are renewed, and the
configuration is loaded anew."""

import collections
import contextlib
import os
import re
import shutil
import signal
import threading
import time

from support import admin
from support.name_server import Etc, NameServer, Zone, silent

from .ports import free_port
from .programs import BenchError
from .trouble import Waiting

DEAD = "mail.dead.test"  # no name server ever answers for it
FLAKY = "mail.flaky.test"  # the name server answers for it, except while it is dead
TTL = 5  # seconds
CLIENTS = 4  # the number of clients that wait at the dead name's service
PAIRS = ("server", "ends-soon")  # both are good for mail.test, by the same CA
STEP = 60  # seconds between the reloads
DEADLINE = 20


class Turmoil:
    """The events of one soak. Its name server and /etc end with `stack`. `counts` has their numbers."""

    def __init__(self, field, stack):
        self._field = field
        self._alive = True
        self._zone = Zone({FLAKY: ["127.0.0.1"]}, TTL)
        server = stack.enter_context(NameServer(self._answer))
        self._etc = stack.enter_context(Etc(f"nameserver {server.address}\n"))
        self._admin = f"127.0.0.1:{free_port()}"
        self._ports = {name: free_port() for name in (DEAD, FLAKY)}
        folder = field.folder / "renewed"
        folder.mkdir()
        self.pair = (folder / "chain.pem", folder / "key.pem")
        self.counts = {"reloads": 0, "outages": 0}
        self._renew()

    def configuration(self):
        """Returns two more services, one with a name that no name server answers for, and admin."""
        return f'\n[admin]\nlisten = "{self._admin}"\n' + "".join(f"""
[[service]]
name = "{name}"
protocol = "smtp"
listen = "127.0.0.1:{port}"
upstream.address = "{name}:{self._field.backend('starttls')}"
upstream.server_name = "mail.test"
upstream.ca_file = "{self._field.ca}"
""" for name, port in self._ports.items())

    @property
    def wrapper(self):
        """Returns the command that starts the proxy in its own /etc."""
        return self._etc.wrapper

    def load(self, seconds):
        """Starts sessions with the flaky name. All of them must be greeted."""
        return self._field.load_at(self._ports[FLAKY], "none", "sessions", "--concurrency", 4,
                                   "--rate", 20, "--seconds", seconds, "--count", 4_000_000_000)

    @contextlib.contextmanager
    def beside(self, proxy, path, seconds):
        """Causes events while the context lasts. BenchError if a reload failed."""
        self._before = self._failures()
        stop, failures = threading.Event(), []

        def work():
            try:
                while not stop.wait(min(STEP, seconds / 4)):
                    self._alive = not self._alive
                    self.counts["outages"] += not self._alive
                    self._renew()
                    self._reload(proxy, path)
            except BenchError as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        with Waiting(self._ports[DEAD], CLIENTS):
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()
        if failures:
            raise failures[0]

    def outcomes(self):
        """Returns the sessions since `beside` that were not ok: {(service, outcome): count}. Those of the
        dead name do not count."""
        return self._failures() - self._before

    def _failures(self):
        found = collections.Counter()
        for (name, labels), count in admin.metrics(self._admin).samples.items():
            labels = dict(labels)
            if (name == "starttls_sessions_total" and count and labels["outcome"] != "ok"
                    and labels["service"] != DEAD):
                found[labels["service"], labels["outcome"]] = int(count)
        return found

    def _answer(self, query, send):
        if query.name == DEAD or not self._alive:
            silent(query, send)
        else:
            self._zone(query, send)

    def _renew(self):
        """Replaces the files by rename, as certbot and similar programs do."""
        name = PAIRS[self.counts["reloads"] % len(PAIRS)]
        for source, target in zip((f"{name}.pem", f"{name}.key"), self.pair):
            fresh = target.with_suffix(".new")
            shutil.copy(self._field.folder / source, fresh)
            os.replace(fresh, target)

    def _reload(self, proxy, path):
        """Reloads the configuration, with a setting that changes each time."""
        text = path.read_text(encoding="utf-8")
        seconds = 60 + self.counts["reloads"] % 2
        path.write_text(re.sub(r"^drain_timeout = .*$", f'drain_timeout = "{seconds}s"', text,
                               flags=re.M), encoding="utf-8")
        before = self._last_reload()
        os.kill(proxy.pid, signal.SIGHUP)
        end = time.monotonic() + DEADLINE
        while (last := self._last_reload()) == before:
            if time.monotonic() > end:
                raise BenchError(f"turmoil: no reload: {proxy.text()[-2000:]}")
            time.sleep(0.05)
        if not last[1]:
            raise BenchError(f"turmoil: the reload failed: {proxy.text()[-2000:]}")
        self.counts["reloads"] += 1

    def _last_reload(self):
        page = admin.metrics(self._admin)
        return (page("starttls_config_last_reload_timestamp_seconds"),
                page("starttls_config_last_reload_successful"))

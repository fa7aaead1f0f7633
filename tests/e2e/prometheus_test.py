"""Prometheus reads the metrics under load; the rules and the dashboard that we ship work in it."""

import json
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time
import unittest
import urllib.parse
import urllib.request

from support import admin, canary, children, main, peers, wait
from support.client import Client, free_port
from support.daemon import Daemon, configuration
from support.environment import ROOT, pki
from support.fake_server import FakeServer, Smtp
from support.login_server import LoginServer
from support.logins import USER
from support.secret_socket import SecretSocket

ALERTS = ROOT / "conf" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "conf" / "grafana" / "starttls-proxy.json"
RULE_TESTS = pathlib.Path(__file__).parent / "alerts_test.yml"
# A rate needs two scrapes in its range, and on a busy machine one may fail.
WINDOW = "5s"
VARIABLES = {"$__rate_interval": WINDOW, "$instance": ".*", "$service": ".*", "$job": "starttls-proxy"}

CONFIG = """\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: starttls-proxy
    static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """A Prometheus that scrapes `target`, with our alerts."""

    def __init__(self, target):
        self._target = target

    def __enter__(self):
        self._scratch = peers.scratch()
        outside, inside = self._scratch.__enter__()  # pylint: disable=unnecessary-dunder-call
        shutil.copy(ALERTS, outside / "alerts.yml")
        (outside / "prometheus.yml").write_text(CONFIG.format(target=self._target), encoding="utf-8")
        self.port = free_port()
        self._log = open(outside / "log", "wb")  # pylint: disable=consider-using-with
        # Through sudo a KILL would only reach sudo.
        self._process = children.start(
            peers.command("/usr/bin/prometheus", f"--config.file={inside}/prometheus.yml",
                          f"--storage.tsdb.path={inside}/data",
                          f"--web.listen-address=127.0.0.1:{self.port}"),
            death=signal.SIGTERM, stdout=self._log, stderr=subprocess.STDOUT)
        try:
            wait.until(self._ready, lambda: (outside / "log").read_text(encoding="utf-8")[-3000:])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *kind):
        if self._process.poll() is None:
            subprocess.run(peers.as_root("/bin/kill", "-TERM", self._process.pid), check=False)
        try:
            self._process.wait(wait.DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        subprocess.run(peers.as_root("/bin/rm", "-rf", pathlib.Path(self._log.name).parent / "data"),
                       check=False)
        self._scratch.__exit__(None, None, None)

    def _ready(self):
        if self._process.poll() is not None:
            raise AssertionError("Prometheus has ended")
        try:
            self._get("/-/ready")
        except OSError:
            return False
        return True

    def _get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}",
                                    timeout=wait.DEADLINE) as response:
            return response.read()

    def query(self, expression):
        """Returns the samples of an expression: [({label: value}, number)]."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        result = json.loads(self._get(path))["data"]
        if result["resultType"] == "scalar":
            return [({}, float(result["result"][1]))]
        return [(each["metric"], float(each["value"][1])) for each in result["result"]]

    def value(self, expression):
        """Returns the value of the one sample, or None if there is none."""
        found = self.query(expression)
        if len(found) > 1:
            raise AssertionError(f"{expression}: {found}")
        return found[0][1] if found else None

    def rules(self):
        groups = json.loads(self._get("/api/v1/rules"))["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


class Load:
    """Clients with TLS that send one message after the other, until they are stopped."""

    def __init__(self, port):
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        self.sent = [0, 0]
        self.errors = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(pki().ca)
        number = self._threads.index(threading.current_thread())
        session = None
        try:
            while not self._over.wait(0.02):
                with Client(self._port) as client:
                    client.sock = context.wrap_socket(client.sock, server_hostname="mail.test",
                                                      session=session)
                    client.reply()
                    for line in (b"EHLO client.test", b"MAIL FROM:<a@client.test>",
                                 b"RCPT TO:<b@mail.test>", b"DATA", b"x" * 2000 + b"\r\n.",
                                 b"QUIT"):
                        client.command(line)
                    session = client.sock.session
                    client.rest()
                self.sent[number] += 1
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(error)


def dashboard_queries():
    """Yields (panel, query with its variables filled in) of the dashboard."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            yield panel["title"], query


def service_with_token(port, socket):
    """Returns a service that logs in to its server with a token from a socket."""
    return f"""
        [[service]]
        name = "scanner"
        protocol = "smtp"
        listen = "127.0.0.1:0"
        upstream = {{ address = "127.0.0.1:{port}", server_name = "mail.test", ca_file = "{pki().ca}" }}
        login = {{ when = "connect", user = "{USER}", socket = "{socket}", token = true }}
        """


class Scraped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require()

    def scanner(self):
        """Returns a service that logs in with a token which ends in an hour."""
        server = self.enterContext(FakeServer(LoginServer("smtp")))
        answer = json.dumps({"access_token": canary.TOKEN, "expires_in": 3600}).encode()
        source = self.enterContext(SecretSocket(lambda user: answer))
        return service_with_token(server.port, source.path)

    def test_what_prometheus_sees_under_load(self):
        server = self.enterContext(FakeServer(Smtp()))
        chain, key = pki().pair()
        text = configuration(server.port, upstream={"warm": 1}, log={"level": "info"}) + (
            f'\ndownstream.tls = "implicit"\n'
            f'downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n') + self.scanner()
        daemon = self.enterContext(Daemon(admin.configured(text), listeners=2))
        with Client(daemon.ports[1]) as client:  # the scanner
            client.reply()
            client.command(b"QUIT")
        prometheus = self.enterContext(Prometheus(admin.address(daemon)))
        with Load(daemon.port) as load:
            def flows():
                return load.errors or prometheus.value(
                    f'sum(rate(starttls_bytes_total{{direction="to_server"}}[{WINDOW}]))')
            wait.until(flows, "bytes a second")
            self.assertEqual(load.errors, [])
            with self.subTest("queries"):
                wait.until(lambda: prometheus.value("up") == 1, "the proxy is up")
                # A missing value and NaN are not below it either.
                wait.until(lambda: (prometheus.value(
                    "histogram_quantile(0.95, sum by (le) (rate("
                    f"starttls_prelude_duration_seconds_bucket[{WINDOW}])))") or 30) < 30, "preludes")
            self.dashboard(prometheus)
            wait.until(lambda: load.errors or sum(load.sent) > 10, "more than ten messages")
        self.assertEqual(load.errors, [])
        total = sum(load.sent)
        wait.until(lambda: prometheus.value(
            'sum(starttls_sessions_total{service="office", outcome="ok"})') == total,
                   f"{total} sessions")
        wait.until(lambda: prometheus.value("sum(starttls_sessions_open)") == 0, "no session is open")
        self.rules(prometheus)

    def dashboard(self, prometheus):
        """Asserts that every query has an answer with a number in it."""
        queries = list(dashboard_queries())
        self.assertGreater(len(queries), 20)
        for title, query in queries:
            with self.subTest(panel=title, query=query):
                self.assertNotIn("$", query)

                def answered(query=query):
                    found = prometheus.query(query)
                    return found and all(value == value for _, value in found)  # no NaN
                wait.until(answered, lambda query=query: prometheus.query(query))

    def rules(self, prometheus):
        """Asserts that Prometheus has evaluated all rules, and that none fires for a healthy proxy."""
        names = re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
        found = wait.until(
            lambda: (rules := prometheus.rules()) and all(
                rule["health"] != "unknown" for rule in rules.values()) and rules, "all rules")
        self.assertEqual(set(found), set(names))
        for name, rule in found.items():
            self.assertEqual((name, rule["health"], rule.get("lastError")), (name, "ok", None))
        expected = ["StarttlsCertificateExpiresSoon"] if self.short_lived() else []
        # A failed scrape under load makes a rule wait, to see if another one fails.
        wait.until(lambda: [name for name, rule in prometheus.rules().items()
                            if rule["state"] != "inactive"] == expected, prometheus.rules)

    @staticmethod
    def short_lived():
        """True if the test's certificates end within the fortnight that the rule warns of."""
        text = ssl._ssl._test_decode_cert(pki().pair()[0])  # pylint: disable=protected-access
        return ssl.cert_time_to_seconds(text["notAfter"]) - time.time() < 14 * 86400


class Promtool(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        peers.require()

    def promtool(self, *arguments, **options):
        result = peers.run("/usr/bin/promtool", *arguments, **options)
        self.assertEqual(result.returncode, 0, (result.stdout + result.stderr).decode())
        return result

    def test_promtool_finds_no_fault_in_the_page(self):
        server = self.enterContext(FakeServer(Smtp()))
        with Daemon(admin.configured(configuration(server.port))) as daemon:
            with daemon.connect() as client:
                client.reply()
                client.command(b"QUIT")
            daemon.sessions()
            page = admin.get(admin.address(daemon), "/metrics").body
        result = self.promtool("check", "metrics", input=page)
        self.assertEqual((result.stdout, result.stderr), (b"", b""))

    def test_the_alerts_fire_when_they_should(self):
        with peers.scratch() as (outside, inside):
            for file in (ALERTS, RULE_TESTS):
                shutil.copy(file, outside / file.name)
            self.promtool("check", "rules", inside / ALERTS.name)
            self.promtool("test", "rules", inside / RULE_TESTS.name)

    def test_every_metric_in_rules_and_dashboard_exists(self):
        """A rule on a metric with another name would never fire."""
        server = self.enterContext(FakeServer(Smtp()))
        chain, key = pki().pair()
        text = configuration(server.port) + (
            f'\ndownstream.tls = "starttls"\n'
            f'downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n')
        text += service_with_token(server.port, "/run/no-such-socket")
        with Daemon(admin.configured(text), listeners=2) as daemon:
            with daemon.connect() as client:
                client.reply()  # the server has shown its certificate
                client.command(b"QUIT")
            known = {name for name, _ in admin.metrics(admin.address(daemon)).samples}
        texts = [ALERTS.read_text(encoding="utf-8"), DASHBOARD.read_text(encoding="utf-8")]
        used = set(re.findall(r"\b(?:starttls|process)_[a-z_]+\b", " ".join(texts)))
        self.assertGreater(len(used), 15)
        self.assertEqual(used - known, set())


if __name__ == "__main__":
    main.main()

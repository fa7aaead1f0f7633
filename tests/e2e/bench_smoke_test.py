"""The bench works: bench/run with every scenario in small, without the rivals, and the load
generator with every protocol. It does not measure speed."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import unittest
import xml.etree.ElementTree

from support import children, main, wait
from support.environment import BACKEND, PROXY, ROOT, pki

RUN = ROOT / "bench" / "run"
LOAD = PROXY.parents[1] / "bench" / "load" / "load"
OWN = "starttls-proxy,starttls-proxy without login,plain relay,splice relay,direct"
PROTOCOLS = ("smtp", "lmtp", "imap", "pop3", "sieve", "nntp")


def run(*arguments):
    """Runs bench/run to its end and returns what it printed."""
    done = subprocess.run([RUN, *arguments], check=False, capture_output=True, text=True,
                          timeout=10 * wait.DEADLINE)
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def measure(folder, *arguments):
    """Measures our own programs in a quick run, and returns the results."""
    run("--quick", "--build", PROXY.parents[1], "--subjects", OWN, "--output", folder, *arguments)
    return json.loads((pathlib.Path(folder) / "results.json").read_text(encoding="utf-8"))


def backend(test, protocol, tls):
    """Returns the port of a backend that ends with the test."""
    chain, key = pki().pair()
    process = children.start([BACKEND, "--protocol", protocol, "--listen", "127.0.0.1:0", "--tls",
                              tls, "--chain", chain, "--key", key, "--record", "1400"],
                             stdout=subprocess.PIPE)
    test.addCleanup(process.stdout.close)
    test.addCleanup(process.wait)
    test.addCleanup(process.terminate)
    return int(process.stdout.readline().rpartition(b":")[2])


def load(port, protocol, tls, *arguments):
    """Returns a load generator's exit status and its last line."""
    done = subprocess.run(
        [LOAD, *arguments, "--connect", f"127.0.0.1:{port}", "--protocol", protocol, "--tls", tls,
         "--ca-file", pki().ca, "--server-name", "mail.test", "--record", "1400"],
        check=False, capture_output=True, text=True, timeout=2 * wait.DEADLINE)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


class Load(unittest.TestCase):
    def test_every_protocol_in_every_mode(self):
        for protocol in PROTOCOLS:
            for tls, version in (("none", ""), ("starttls", "1.3"), ("implicit", "1.2")):
                port = backend(self, protocol, tls)
                newest = ["--tls-version", version] if version else []
                for arguments in (("messages", "--bytes", "4096", "--count", "20"),
                                  ("fetch", "--bytes", "1000000"),
                                  ("commands", "--count", "20", "--sessions", "2"),
                                  ("sessions", "--count", "20", "--rate", "1000")):
                    with self.subTest(f"{protocol} {tls} {arguments[0]}"):
                        status, result = load(port, protocol, tls, *arguments, *newest)
                        self.assertEqual((status, result["errors"]), (0, 0), result)
                        self.assertGreaterEqual(result["done"], 1)
                        self.assertEqual(result["version"], f"TLSv{version}" if version else "")

    def test_sessions_are_resumed_only_if_wanted(self):
        port = backend(self, "smtp", "implicit")
        for arguments, resumed in ((("--resume",), 19), ((), 0)):
            _, result = load(port, "smtp", "implicit", "sessions", "--count", "20",
                             "--concurrency", "1", *arguments)
            self.assertEqual((result["done"], result["resumed"]), (20, resumed))

    def test_one_wrong_byte_is_noticed(self):
        upstream = backend(self, "smtp", "none")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def spoil():
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", upstream)) as server:
                def pass_on(source, sink, spoiled):
                    seen = 0
                    with contextlib.suppress(OSError):  # load leaves when it has seen it
                        while data := bytearray(source.recv(65536)):
                            if seen <= spoiled < seen + len(data):
                                data[spoiled - seen] ^= 1
                            seen += len(data)
                            sink.sendall(data)
                        sink.shutdown(socket.SHUT_WR)

                up = threading.Thread(target=pass_on, args=(client, server, -1))
                up.start()
                pass_on(server, client, 500_000)
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                up.join(wait.DEADLINE)

        relay = threading.Thread(target=spoil)
        relay.start()
        status, result = load(listener.getsockname()[1], "smtp", "none", "fetch", "--bytes",
                              "1000000")
        relay.join(wait.DEADLINE)
        self.assertEqual((status, result["errors"]), (1, 1))
        self.assertIn("not what was sent", result["first_error"])


class BenchSmoke(unittest.TestCase):
    def test_every_scenario_gives_figures_charts_and_verdicts(self):
        head, _, table = run("--list").partition("\n\n")
        self.assertIn("upgrade: clients without TLS", head)
        names = [line.split()[0] for line in table.splitlines()[1:]]
        with tempfile.TemporaryDirectory(prefix="starttls-smoke-") as folder:
            results = measure(folder)
            report_text = (pathlib.Path(folder) / "report.md").read_text(encoding="utf-8")
            self.assertEqual(sorted(results["scenarios"]), sorted(names))
            # A scenario that the proxy or this machine cannot run is reported, and not measured.
            optional = {"greeting-warm-upgrade", "workers-upgrade", "workers-terminate"}
            for name in set(names) - optional:
                result = results["scenarios"][name]
                self.assertIsNotNone(result, name)
                self.assertTrue(result["figures"]["starttls-proxy"], name)
                chart = pathlib.Path(folder) / "charts" / f"{name}.svg"
                self.assertTrue(xml.etree.ElementTree.parse(chart).getroot().tag.endswith("svg"))
                self.assertIn(f"--only {name}", report_text)
            self.assertIn("| verdict |", report_text)
            self.assertRegex(results["versions"]["starttls-proxy"], "BoringSSL|AWS-LC")
            for direction in ("upgrade", "terminate"):
                said = results["negotiated"][direction]["starttls-proxy"]
                self.assertRegex(said, r"^TLSv1.3 TLS_AES_128_GCM_SHA256 X25519\w*, 4 of 5 resumed$")
                self.assertIn(said, report_text)

    def test_earlier_results_stay_and_tls_1_2_is_possible(self):
        with tempfile.TemporaryDirectory(prefix="starttls-smoke-") as folder:
            measure(folder, "--tls", "1.2", "--only", "commands-terminate")
            results = measure(folder, "--tls", "1.2", "--only", "messages")
            self.assertEqual(sorted(results["scenarios"]), [
                "commands-terminate", "messages-terminate", "messages-upgrade"])
            self.assertIsNone(results["scenarios"]["messages-upgrade"])
            self.assertIn("TLSv1.2 ", results["negotiated"]["terminate"]["starttls-proxy"])
            # Other conditions make another run: the earlier results are not kept.
            results = measure(folder, "--only", "commands-terminate")
            self.assertEqual(list(results["scenarios"]), ["commands-terminate"])

    def test_soak_runs_every_protocol(self):
        with tempfile.TemporaryDirectory(prefix="starttls-smoke-") as folder:
            said = run("--soak", "3", "--build", PROXY.parents[1], "--output", folder)
            self.assertIn("no error", said)
            result = json.loads((pathlib.Path(folder) / "soak.json").read_text(encoding="utf-8"))
            self.assertEqual(len(result["results"]), len(PROTOCOLS) * 2 * 3)
            for name, each in result["results"].items():
                self.assertGreater(each["done"], 0, name)
            xml.etree.ElementTree.parse(pathlib.Path(folder) / "soak.svg")

    @unittest.skipUnless(os.geteuid() == 0, "a daemon with an /etc of its own wants root")
    def test_soak_with_trouble(self):
        with tempfile.TemporaryDirectory(prefix="starttls-smoke-") as folder:
            said = run("--soak", "20", "--trouble", "--build", PROXY.parents[1], "--output", folder)
            self.assertIn("no error", said)
            result = json.loads((pathlib.Path(folder) / "soak.json").read_text(encoding="utf-8"))
            self.assertGreaterEqual(result["turmoil"]["reloads"], 2)
            self.assertGreaterEqual(result["turmoil"]["outages"], 1)
            self.assertGreater(result["results"]["smtp, flaky name"]["done"], 0)

    @unittest.skipUnless(os.geteuid() == 0, "a daemon with an /etc of its own wants root")
    def test_a_short_trouble_run(self):
        said = run("--trouble", "--quick", "--build", PROXY.parents[1])
        for row in ("R1: a silent", "R1: a slow", "R2", "R3", "R4", "R5"):
            self.assertIn(f"| {row}", said)

    def test_an_unknown_scenario_is_refused(self):
        done = subprocess.run([RUN, "--only", "nothing"], check=False, capture_output=True,
                              text=True, timeout=wait.DEADLINE)
        self.assertEqual(done.returncode, 2)
        self.assertIn("bulk-send-upgrade", done.stderr)


if __name__ == "__main__":
    main.main()

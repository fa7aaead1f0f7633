"""The bench works: bench/run with every scenario in small, without the rivals, and the load generator
with every protocol. Says nothing about speed."""

import contextlib
import json
import pathlib
import socket
import subprocess
import tempfile
import threading
import unittest
import xml.etree.ElementTree

from support import children, main
from support.environment import BACKEND, PROXY, ROOT, pki

RUN = ROOT / "bench" / "run"
LOAD = PROXY.parents[1] / "bench" / "load" / "load"
OWN = "starttls-proxy,plain relay,direct"
PROTOCOLS = ("smtp", "lmtp", "imap", "pop3", "sieve", "nntp")


def run(*arguments):
    """bench/run to its end; what it printed."""
    done = subprocess.run([RUN, *arguments], check=False, capture_output=True, text=True,
                          timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def measure(folder, *arguments):
    """A quick run of our own programs; its results."""
    run("--quick", "--build", PROXY.parents[1], "--subjects", OWN, "--output", folder, *arguments)
    return json.loads((pathlib.Path(folder) / "results.json").read_text(encoding="utf-8"))


def backend(test, protocol, tls):
    """The port of a backend that ends with the test."""
    chain, key = pki().pair()
    process = children.start([BACKEND, "--protocol", protocol, "--listen", "127.0.0.1:0", "--tls",
                              tls, "--chain", chain, "--key", key, "--record", "1400"],
                             stdout=subprocess.PIPE)
    test.addCleanup(process.stdout.close)
    test.addCleanup(process.wait)
    test.addCleanup(process.terminate)
    return int(process.stdout.readline().rpartition(b":")[2])


def load(port, protocol, tls, *arguments):
    """A load generator's exit status and its last word."""
    done = subprocess.run(
        [LOAD, *arguments, "--connect", f"127.0.0.1:{port}", "--protocol", protocol, "--tls", tls,
         "--ca-file", pki().ca, "--server-name", "mail.test", "--record", "1400"],
        check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


class Load(unittest.TestCase):
    def test_every_protocol_in_every_mode(self):
        for protocol in PROTOCOLS:
            for tls, version in (("none", ""), ("starttls", "1.3"), ("implicit", "1.2")):
                port = backend(self, protocol, tls)
                newest = ["--tls-version", version] if version else []
                for arguments in (("messages", "--octets", "4096", "--count", "20"),
                                  ("fetch", "--octets", "1000000"),
                                  ("commands", "--count", "20", "--sessions", "2"),
                                  ("sessions", "--count", "20", "--rate", "1000")):
                    with self.subTest(f"{protocol} {tls} {arguments[0]}"):
                        status, result = load(port, protocol, tls, *arguments, *newest)
                        self.assertEqual((status, result["errors"]), (0, 0), result)
                        self.assertGreaterEqual(result["done"], 1)
                        self.assertEqual(result["version"], f"TLSv{version}" if version else "")

    def test_sessions_are_resumed_only_where_it_is_wanted(self):
        port = backend(self, "smtp", "implicit")
        for arguments, resumed in ((("--resume",), 19), ((), 0)):
            _, result = load(port, "smtp", "implicit", "sessions", "--count", "20",
                             "--concurrency", "1", *arguments)
            self.assertEqual((result["done"], result["resumed"]), (20, resumed))

    def test_one_wrong_octet_is_seen(self):
        upstream = backend(self, "smtp", "none")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def spoil():
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", upstream)) as server:
                def pass_on(source, sink, spoiled):
                    seen = 0
                    with contextlib.suppress(OSError):  # load leaves when it has seen it
                        while octets := bytearray(source.recv(65536)):
                            if seen <= spoiled < seen + len(octets):
                                octets[spoiled - seen] ^= 1
                            seen += len(octets)
                            sink.sendall(octets)
                        sink.shutdown(socket.SHUT_WR)

                up = threading.Thread(target=pass_on, args=(client, server, -1))
                up.start()
                pass_on(server, client, 500_000)
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                up.join(10)

        relay = threading.Thread(target=spoil)
        relay.start()
        status, result = load(listener.getsockname()[1], "smtp", "none", "fetch", "--octets",
                              "1000000")
        relay.join(20)
        self.assertEqual((status, result["errors"]), (1, 1))
        self.assertIn("not what was sent", result["first_error"])


class BenchSmoke(unittest.TestCase):
    def test_every_scenario_gives_figures_charts_and_verdicts(self):
        names = [line.split()[0] for line in run("--list").splitlines()]
        with tempfile.TemporaryDirectory(prefix="starttls-smoke-") as folder:
            results = measure(folder)
            report = (pathlib.Path(folder) / "report.md").read_text(encoding="utf-8")
            self.assertEqual(sorted(results["scenarios"]), sorted(names))
            # What the proxy, or this machine, cannot do, is said and not measured.
            optional = {"greeting-warm-upgrade", "workers-upgrade", "workers-terminate"}
            for name in set(names) - optional:
                result = results["scenarios"][name]
                self.assertIsNotNone(result, name)
                self.assertTrue(result["figures"]["starttls-proxy"], name)
                chart = pathlib.Path(folder) / "charts" / f"{name}.svg"
                self.assertTrue(xml.etree.ElementTree.parse(chart).getroot().tag.endswith("svg"))
                self.assertIn(f"--only {name}", report)
            self.assertIn("| verdict |", report)
            self.assertIn("BoringSSL", results["versions"]["starttls-proxy"])

    def test_an_unknown_scenario_is_refused(self):
        done = subprocess.run([RUN, "--only", "nothing"], check=False, capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("bulk-send-upgrade", done.stderr)


if __name__ == "__main__":
    main.main()

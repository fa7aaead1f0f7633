"""Certificates, right and wrong in every way, on both legs of every protocol.

Cases X1 to X7, X9, X10 and X15 to X20.
"""

import base64
import datetime
import hashlib
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import textwrap
import unittest
import warnings

from support import main, wait
from support.client import FIN, Client
from support.daemon import Daemon, configuration, run_to_end, toml
from support.dialects import PROTOCOLS, greeted, serve
from support.environment import MAKE_PKI, Pki, pki
from support.fake_server import FakeServer

MODES = ("starttls", "implicit")
ALL = list(itertools.product(PROTOCOLS, MODES))
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

# The lines that an impatient client sends before it is greeted.
CANARY = b"canary-4711"
BLAST = CANARY + b" NOOP\r\n"


def server_context(certificate="server", ciphers="DEFAULT:@SECLEVEL=0", version=None,
                   client_ca=False):
    """Returns the context of a server with no standards of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    if version:
        context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*pki().pair(certificate))
    if client_ca:
        context.load_verify_locations(pki().ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(certificate=None, version=None):
    context = ssl.create_default_context(cafile=pki().ca)
    if version:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(*pki().pair(certificate))
    return context


def pin_of(certificate):
    """Returns the pin as another tool would print it: by hand from the DER (RFC 5280 4.1)."""
    def element(der, at):
        size, start = der[at + 1], at + 2
        if size & 0x80:
            start += size & 0x7f
            size = int.from_bytes(der[at + 2:start], "big")
        return start, start + size

    chain = pathlib.Path(pki().pair(certificate)[0]).read_text(encoding="ascii")
    leaf = chain[:chain.index("-----END CERTIFICATE-----") + 25]
    der = ssl.PEM_cert_to_DER_cert(leaf)
    at, _ = element(der, 0)  # into Certificate
    at, _ = element(der, at)  # into TBSCertificate
    # version, serialNumber, signature, issuer, validity, subject; then subjectPublicKeyInfo
    for _ in range(6):
        _, at = element(der, at)
    key = der[at:element(der, at)[1]]
    return "sha256:" + base64.b64encode(hashlib.sha256(key).digest()).decode()


class Script:
    """A scripted server of one protocol; `context` may change between connections."""

    def __init__(self, protocol, implicit, context=None):
        self.dialect = PROTOCOLS[protocol]
        self.implicit = implicit
        self.context = context

    def __call__(self, connection):
        serve(self.dialect, connection, self.implicit, self.context)


class Certificates(unittest.TestCase):
    """Base: a test gathers services, starts them in one daemon, and checks the log at the end."""

    def setUp(self):
        self.services = []
        # service and client's address: (subtest, outcome, reason, words of the evidence)
        self.expected = {}
        self.clients = 0  # more than `expected` if a client's port comes again

    def service(self, name, protocol, port, **keys):
        """Adds a service; "__" in keys is a dot."""
        lines = ["[[service]]", f'name = "{name}"', f'protocol = "{protocol}"',
                 'listen = "127.0.0.1:0"', f'upstream.address = "127.0.0.1:{port}"']
        keys = {"upstream__ca_file": pki().ca, "upstream__server_name": "mail.test", **keys}
        for key, value in keys.items():
            if isinstance(value, Pair):
                value = value.toml
            else:
                value = toml(value)
            lines.append(f"{key.replace('__', '.')} = {value}")
        self.services.append("\n".join(lines))

    def start(self):
        text = ['[proxy]\nhostname = "proxy.test"\nworkers = 2\n[log]\nformat = "json"']
        daemon = self.enterContext(Daemon("\n".join(text + self.services),
                                          listeners=len(self.services)))
        self.ports = {line["service"]: int(line["address"].rpartition(":")[2]) for line in
                      daemon.lines(lambda f: f.get("msg") == "listening", len(self.services))}
        return daemon

    def server(self, protocol, mode, context=None):
        script = Script(protocol, mode == "implicit", context)
        return self.enterContext(FakeServer(script)), script

    def expect(self, name, client, label, outcome, reason="", evidence=()):
        host, port = client.sock.getsockname()[:2]
        self.expected[name, f"{host}:{port}"] = label, outcome, reason, evidence
        self.clients += 1

    def check_log(self, daemon):
        sessions = {(line["service"], line["client"]): line
                    for line in daemon.sessions(self.clients)}
        lines = daemon.lines(lambda fields: fields.get("evidence") is not None, 0)
        events = {line["session"]: line for line in lines}
        for key, (label, outcome, reason, evidence) in self.expected.items():
            with self.subTest(log=label):
                session = sessions[key]
                self.assertEqual(session["outcome"], outcome)
                if reason:
                    self.assertRegex(session["reason"], reason)
                    event = events[session["session"]]
                    self.assertRegex(event["reason"], reason)
                    for words in evidence:
                        self.assertIn(words, event["evidence"])

    def refused(self, name, dialect, label, outcome, reason, evidence=(), may_greet=False):
        """Checks a session that ends with one line of the protocol; the server receives nothing."""
        with Client(self.ports[name]) as client:
            self.expect(name, client, label, outcome, reason, evidence)
            if not may_greet:
                client.send(BLAST)
            told, end = client.rest()
        if may_greet and told.startswith(dialect.greeting[:4]):
            told = told.partition(b"\r\n")[2]
        match = re.fullmatch(dialect.failure, told)
        self.assertTrue(match, told)
        self.assertRegex(match[1].decode(), reason)
        self.assertEqual(end, FIN)

    def accepted(self, name, dialect, label):
        with Client(self.ports[name]) as client:
            self.expect(name, client, label, "ok")
            greeting = greeted(client, dialect)
            self.assertFalse(re.match(dialect.failure, greeting), greeting)
            self.assertIn(b"IMPLEMENTATION" if dialect.pushes else b"mail.test", greeting)

    def check_silence(self, server):
        self.assertNotIn(CANARY, server.heard())
        for connection in server.connections:
            self.assertEqual(bytes(connection.secure), b"")


class Pair:
    """Chain and key as a TOML table, or as a list of one."""

    def __init__(self, name, listed=False):
        chain, key = pki().pair(name)
        self.toml = f"{{ chain = {toml(chain)}, key = {toml(key)} }}"
        if listed:
            self.toml = f"[{self.toml}]"


# certificate, the wanted name, the reason in words, further fields of the log
CA = 'issuer="CN=starttls-proxy test CA"'
REFUSED = (
    ("self-signed", "mail.test", "self-signed certificate", ('issuer="CN=mail.test"',)),
    ("unknown-ca", "mail.test", "unknown CA", ('issuer="CN=another test root"',)),
    ("wrong-name", "mail.test", r"name mismatch: wanted mail\.test, got wrong\.test",
     ('subject="CN=wrong.test"', CA, 'names="wrong.test"')),
    ("expired", "mail.test", "certificate has expired", (CA,)),
    ("not-yet-valid", "mail.test", "certificate is not yet valid", (CA,)),
    ("leaf-only", "mail.test", "unknown CA", (CA,)),
    ("leaf-issuer", "mail.test", "unknown CA", ('issuer="CN=mail.test"',)),
    ("path-length", "mail.test", "certificate is not acceptable: path length",
     ('issuer="CN=too deep"',)),
    ("name-constraints", "mail.test", "certificate is not acceptable: permitted subtree",
     ('issuer="CN=good.test only"',)),
    ("too-deep", "mail.test", "certificate chain is too long", ('issuer="CN=CA 12"',)),
    ("client-usage", "mail.test", "certificate is not acceptable: .*purpose", (CA,)),
    ("rsa-1024", "mail.test", "certificate key is too weak: RSA with 1024 bits", (CA,)),
    ("sha-1", "mail.test", "certificate is signed with SHA-1", (CA,)),
    ("cn-only", "mail.test", r"name mismatch: wanted mail\.test, got no name",
     ('subject="CN=mail.test"', 'names="no name"')),
    ("nul-name", "mail.test", "name mismatch: wanted mail.test, got mail", (CA,)),
    ("wildcard", "example.test", r"name mismatch: wanted example\.test, got \*\.example\.test",
     ('names="*.example.test"',)),
    ("wildcard", "a.b.example.test", r"name mismatch: .* got \*\.example\.test", (CA,)),
    ("partial-wildcard", "mail.example.test", r"name mismatch: .* got m\*\.example\.test", (CA,)),
    ("server", "127.0.0.2", r"name mismatch: wanted 127\.0\.0\.2, got localhost, mail\.test", (CA,)),
    ("wildcard", "127.0.0.1", r"name mismatch: wanted 127\.0\.0\.1", (CA,)),
    ("address-as-name", "127.0.0.1", r"name mismatch: wanted 127\.0\.0\.1", (CA,)),
)
ACCEPTED = (
    ("server", "mail.test"), ("server-rsa", "mail.test"), ("server", "MAIL.Test"),
    ("server", "mail.test."), ("server", "127.0.0.1"), ("wildcard", "mail.example.test"),
    ("deep", "mail.test"),
)


class Servers(Certificates):
    def test_every_kind_with_every_protocol(self):
        names = sorted({name for _, name, *_ in REFUSED + ACCEPTED})
        contexts = {row[0]: server_context(row[0]) for row in REFUSED + ACCEPTED}
        servers = {pair: self.server(*pair) for pair in ALL}
        for (protocol, mode), name in itertools.product(ALL, names):
            self.service(f"{protocol}-{mode}-{names.index(name)}", protocol,
                         servers[protocol, mode][0].port, upstream__tls=mode,
                         upstream__server_name=name)
        daemon = self.start()
        for protocol, mode in ALL:
            server, script = servers[protocol, mode]
            for certificate, name, reason, evidence in REFUSED:
                label = f"{protocol} {mode} {certificate} for {name}"
                with self.subTest(label):
                    script.context = contexts[certificate]
                    self.refused(f"{protocol}-{mode}-{names.index(name)}", script.dialect, label,
                                 "certificate", reason,
                                 ("subject=", "issuer=", "names=", *evidence))
            self.assertEqual(len(server.connections), len(REFUSED))
            self.check_silence(server)
            for connection in server.connections:
                self.assertIsNone(connection.tls)  # got our alert instead of our Finished
            for certificate, name in ACCEPTED:
                label = f"{protocol} {mode} {certificate} for {name}"
                with self.subTest(label):
                    script.context = contexts[certificate]
                    self.accepted(f"{protocol}-{mode}-{names.index(name)}", script.dialect, label)
        self.check_log(daemon)

    def test_s11_a_chain_has_a_limit(self):
        server, script = self.server("smtp", "implicit")
        self.service("one", "smtp", server.port, upstream__tls="implicit")
        daemon = self.start()
        script.context = server_context("deep")
        self.accepted("one", script.dialect, "nine CAs")
        script.context = server_context("too-deep")
        self.refused("one", script.dialect, "twelve CAs", "certificate",
                     "certificate chain is too long")
        self.check_log(daemon)

    def test_servers_with_old_tls_or_bad_cipher_suites_are_refused(self):
        rsa = "server-rsa"
        alert = r"the server refused the handshake: handshake failure \(alert 40\)"
        tls1_2 = ssl.TLSVersion.TLSv1_2
        old = "the server only speaks TLS 1.1 or older"
        rows = (
            (server_context(version=ssl.TLSVersion.TLSv1), old),
            (server_context(version=ssl.TLSVersion.TLSv1_1), old),
            (server_context(ciphers="ECDHE-ECDSA-AES128-SHA", version=tls1_2), alert),
            (server_context(rsa, "AES128-GCM-SHA256", tls1_2), alert),
            (server_context(rsa, "AES128-SHA", tls1_2), alert),
            (server_context(rsa, "DHE-RSA-AES128-GCM-SHA256", tls1_2), alert),
            (server_context(rsa, "NULL:@SECLEVEL=0", tls1_2), alert),
            (server_context(rsa, "aNULL:@SECLEVEL=0", tls1_2), alert),
        )
        servers = {pair: self.server(*pair) for pair in ALL}
        for protocol, mode in ALL:
            # The same holds if nothing is verified.
            self.service(f"{protocol}-{mode}", protocol, servers[protocol, mode][0].port,
                         upstream__tls=mode, upstream__verify="none")
        daemon = self.start()
        for protocol, mode in ALL:
            server, script = servers[protocol, mode]
            for number, (context, reason) in enumerate(rows):
                label = f"{protocol} {mode} old server {number}"
                with self.subTest(label):
                    script.context = context
                    self.refused(f"{protocol}-{mode}", script.dialect, label, "handshake", reason)
            self.check_silence(server)
        self.check_log(daemon)

    def test_pins(self):
        right, wrong = pin_of("server"), pin_of("server-rsa")
        own = pin_of("self-signed")
        servers = {pair: self.server(*pair) for pair in ALL}
        # name: keys, certificate, accepted, words of the reason
        rows = {
            "right": ("full", [right], "server", ""),
            "second": ("full", [wrong, right], "server", ""),
            "wrong": ("full", [wrong], "server", re.escape(f"wanted {wrong}, got {right}")),
            "alone": ("none", [own], "self-signed", ""),
            "alone-wrong": ("none", [wrong], "self-signed", re.escape(f"wanted {wrong}, got {own}")),
            "not-alone": ("full", [own], "self-signed", "self-signed certificate"),
        }
        for (protocol, mode), (name, row) in itertools.product(ALL, rows.items()):
            self.service(f"{protocol}-{mode}-{name}", protocol, servers[protocol, mode][0].port,
                         upstream__tls=mode, upstream__verify=row[0], upstream__pins=row[1])
        daemon = self.start()
        contexts = {name: server_context(name) for name in ("server", "self-signed")}
        for protocol, mode in ALL:
            server, script = servers[protocol, mode]
            good = 0
            for name, (_, _, certificate, reason) in rows.items():
                label = f"{protocol} {mode} pin {name}"
                with self.subTest(label):
                    script.context = contexts[certificate]
                    if reason:
                        self.refused(f"{protocol}-{mode}-{name}", script.dialect, label,
                                     "certificate", reason, ("subject=", "issuer=", "names="))
                    else:
                        self.accepted(f"{protocol}-{mode}-{name}", script.dialect, label)
                        good += 1
            self.assertNotIn(CANARY, server.heard())
            self.assertEqual(good, 3)
        self.check_log(daemon)
        verified = {line["service"].rpartition("-")[2]: line["upstream_verify"]
                    for line in daemon.sessions() if line["outcome"] == "ok"}
        self.assertEqual(verified, {"right": "full", "second": "full", "alone": "pin"})

    def test_an_unverified_server_is_warned_about_at_start_and_on_each_line(self):
        server, _ = self.server("smtp", "starttls", server_context("self-signed"))
        self.service("loose", "smtp", server.port, upstream__verify="none")
        daemon = self.start()
        self.accepted("loose", PROTOCOLS["smtp"], "unverified")
        self.check_log(daemon)
        self.assertIn("certificate is not checked", daemon.text())
        session = daemon.session()
        self.assertEqual((session["level"], session["upstream_verify"]), ("warn", "none"))


class OwnCertificates(unittest.TestCase):
    """Findings about our certificates at start, at reload and by --check."""

    def arguments(self, name, leg="downstream"):
        chain, key = pki().pair(name)
        more = (["--downstream-tls", "implicit", "--chain", chain, "--key", key]
                if leg == "downstream" else ["--upstream-chain", chain, "--upstream-key", key])
        return ["--protocol", "smtp", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1",
                "--ca-file", pki().ca, *more]

    def check(self, name, leg="downstream"):
        return run_to_end("--check", *self.arguments(name, leg))

    def start(self, name, leg="downstream"):
        return self.enterContext(Daemon(arguments=["--log-format", "json",
                                                   *self.arguments(name, leg)]))

    def told(self, daemon, count=1):
        return daemon.lines(lambda f: f.get("msg") == "own certificate", count)

    def test_t4_check_prints_names_issuer_and_days_left(self):
        for leg, name, names in (("downstream", "server", "localhost, mail.test, 127.0.0.1, ::1"),
                                 ("upstream", "client", "no name")):
            with self.subTest(leg):
                result = self.check(name, leg)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertRegex(result.stdout, rf"(?m)^    names +{re.escape(names)}$")
                self.assertRegex(result.stdout, r"(?m)^    issuer +CN=starttls-proxy test CA$")
                self.assertRegex(result.stdout,
                                 r"(?m)^    expires +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC, (30|29) days left$")
                self.assertNotRegex(result.stdout, r"(?m)^    WARNING")  # about a certificate

    def test_t4_check_refuses_certificates_that_peers_refuse(self):
        for leg, flag, name, words in (
                ("downstream", "--chain", "expired", "expired on 20"),
                ("downstream", "--chain", "not-yet-valid", "is not valid before 20"),
                ("upstream", "--upstream-chain", "client-expired", "expired on 20")):
            with self.subTest(leg, name=name):
                result = self.check(name, leg)
                self.assertEqual(result.returncode, 78)
                self.assertRegex(result.stderr,
                                 rf"\Astarttls-proxy: {flag}: {re.escape(pki().pair(name)[0])}: "
                                 rf"the certificate {words}[\d :-]+ UTC\n"
                                 r"starttls-proxy: 1 error(, \d+ warnings?)?\n\Z")
                self.assertNotIn("\nok: ", result.stdout)
                self.assertIn("service smtp (smtp)\n", result.stdout)

    def test_t4_check_prints_certificates_for_programs(self):
        for leg, name, ok, days in (("downstream", "server", True, (29, 30)),
                                    ("upstream", "client-expired", False, range(-1000, 0))):
            with self.subTest(name):
                result = run_to_end("--check", "--json", *self.arguments(name, leg))
                self.assertEqual((result.returncode, result.stderr), (0 if ok else 78, ""))
                report = json.loads(result.stdout)
                self.assertEqual(report["ok"], ok)
                self.assertEqual([error["key"] for error in report["errors"]],
                                 [] if ok else ["--upstream-chain"])
                [certificate] = report["certificates"]
                self.assertEqual(
                    [certificate[key] for key in ("service", "leg", "file", "issuer")],
                    ["smtp", leg, pki().pair(name)[0], "CN=starttls-proxy test CA"])
                self.assertEqual(certificate["names"], [
                    "localhost", "mail.test", "127.0.0.1", "::1"] if ok else [])
                self.assertIn(certificate["days_left"], days)
                begin, end = (datetime.datetime.strptime(certificate[key], "%Y-%m-%dT%H:%M:%SZ")
                              for key in ("not_before", "not_after"))
                if ok:  # the other one's issuer, which counts too, was made after it
                    self.assertLess(begin, end)

    def test_t4_check_warns_about_certificates_that_peers_will_refuse(self):
        for name, words in (("ends-soon", r"it expires on 20[\d :-]+ UTC: renew it"),
                            ("rsa-1024", "it has an RSA key of 1024 bits: peers refuse less than 2048")):
            with self.subTest(name):
                result = self.check(name)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertRegex(result.stdout, rf"(?m)^    WARNING +{words}$")

    def test_t4_start_and_reload_log_a_line(self):
        for leg, name, level, words in (
                ("downstream", "expired", "error", "expired on 20"),
                ("downstream", "not-yet-valid", "error", "is not valid before 20"),
                ("upstream", "client-expired", "error", "expired on 20"),
                ("downstream", "ends-soon", "warn", "expires on 20"),
                ("downstream", "rsa-1024", "warn", "has an RSA key of 1024 bits")):
            with self.subTest(leg, name=name):
                daemon = self.start(name, leg)  # it serves anyway
                daemon.process.send_signal(signal.SIGHUP)
                for line in self.told(daemon, 2):
                    self.assertEqual((line["level"], line["service"], line["leg"]),
                                     (level, "smtp", leg))
                    self.assertIn(f"the certificate in {pki().pair(name)[0]} {words}",
                                  line["reason"])
        daemon = self.start("server")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.lines(lambda f: f.get("msg") == "reloaded")
        self.assertNotIn("own certificate", daemon.text())

    def test_t4_expiry_logs_a_line(self):
        for seconds in (8, 30, 60):  # on a busy machine a certificate may have ended before the start
            folder = self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-brief-"))
            subprocess.run([MAKE_PKI, folder, str(seconds)], check=True, stdout=subprocess.DEVNULL)
            chain, key = Pki(folder).pair("brief")
            daemon = self.enterContext(Daemon(arguments=[
                "--log-format", "json", *self.arguments("client", "upstream"),
                "--downstream-tls", "implicit", "--chain", chain, "--key", key]))
            if self.told(daemon, 1)[0]["level"] == "warn":
                break
        soon, ended = self.told(daemon, 2)
        self.assertEqual((soon["level"], ended["level"]), ("warn", "error"))
        end = re.search(r" expired on (20\S+ \S+) UTC", ended["reason"])[1]
        moment = datetime.datetime.fromisoformat(ended["time"].replace("Z", "+00:00"))
        late = moment - datetime.datetime.fromisoformat(end + "+00:00")
        # The last second is still valid; the line must come right after it.
        self.assertGreaterEqual(late.total_seconds(), 1)
        self.assertLess(late.total_seconds(), 50)  # a check once per minute could be later


class PemFiles(unittest.TestCase):
    """No block of a PEM file is skipped silently."""

    def test_t3_a_block_without_certificate_or_key_is_an_error(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        server = pathlib.Path(pki().pair()[0]).read_text(encoding="ascii")
        leaf, _, intermediate = server.partition("-----END CERTIFICATE-----\n")
        leaf += "-----END CERTIFICATE-----\n"
        first = leaf.count("\n") + 1
        start = "a block must begin at the start of a line"
        cases = {
            "indented": (textwrap.indent(intermediate, "  "), first, start),
            "joined": ("\b" + intermediate, first - 1, start),
            "quoted": (f'ca = "{intermediate}"', first, start),
            "PKCS7": (intermediate.replace("CERTIFICATE", "PKCS7"), first,
                      "PKCS7: neither a certificate nor a key"),
            "cut": (intermediate[:200], first, "the block that begins here has no end"),
        }
        good = {"old label": intermediate.replace("CERTIFICATE", "X509 CERTIFICATE"),
                "trusted": intermediate.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
                "BOM": "\ufeff" + intermediate, "comment": "# ours\n\n" + intermediate}
        chain, key = folder / "chain.pem", pki().pair()[1]
        roles = {"--chain": ("--downstream-tls", "implicit", "--chain", chain, "--key", key),
                 "--ca-file": ("--ca-file", chain),
                 "--client-ca": ("--downstream-tls", "implicit", "--chain", pki().pair()[0], "--key",
                                 key, "--client-ca", chain)}
        for flag, arguments in roles.items():
            check = lambda: run_to_end(
                "--check", "--protocol", "smtp", "--listen", "127.0.0.1:0", "--upstream",
                "127.0.0.1:1", *([] if "--ca-file" in arguments else ["--ca-file", pki().ca]),
                *arguments)  # pylint: disable=cell-var-from-loop
            for name, (second, line, words) in cases.items():
                with self.subTest(flag, name=name):
                    text = leaf + second
                    chain.write_text(text.replace("\n\b", ""), encoding="utf-8")
                    result = check()
                    self.assertEqual(result.returncode, 78)
                    self.assertEqual(result.stderr, f"starttls-proxy: {flag}: {chain}: "
                                                    f"line {line}: {words}\n"
                                                    "starttls-proxy: 1 error\n")
            for name, second in good.items():
                with self.subTest(flag, name=name):
                    chain.write_text(leaf + second, encoding="utf-8")
                    self.assertEqual((check().returncode, check().stderr), (0, ""))


class TrustStores(unittest.TestCase):
    """The places in which the system's trust store is searched."""

    def greeting(self, **options):
        """Returns the first line that a client of a verified server gets."""
        server = self.enterContext(FakeServer(Script("smtp", True, server_context("server"))))
        text = configuration(server.port, upstream={"tls": "implicit", "ca_file": ""})
        with Daemon(text, **options) as daemon, daemon.connect() as client:
            return client.line()

    @staticmethod
    def environment(file=None):
        others = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
        return {"env": others | ({"SSL_CERT_FILE": file} if file else {})}

    def check(self, file):
        return run_to_end("--check", "--protocol", "smtp", "--listen", "127.0.0.1:1", "--upstream",
                          "127.0.0.1:2", **self.environment(file))

    def test_t12_stores_of_distributions(self):
        if os.geteuid() != 0:
            self.skipTest("folders of its own want root")
        script = ("mount -t tmpfs none /etc && mount -t tmpfs none /var/lib && "
                  'mkdir -p "$(dirname "$0")" && cp "$1" "$0" && shift && exec "$@"')
        for path in ("/etc/ssl/certs/ca-certificates.crt",
                     "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
                     "/etc/pki/tls/certs/ca-bundle.crt", "/var/lib/ca-certificates/ca-bundle.pem",
                     "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"):
            with self.subTest(path):
                wrapper = ["unshare", "--mount", "sh", "-c", script, path, pki().ca]
                greeting = self.greeting(wrapper=wrapper, options=self.environment())
                self.assertRegex(greeting, rb"\A220 ")

    def test_t12_the_environment_may_name_a_store(self):
        self.assertRegex(self.greeting(options=self.environment(pki().ca)), rb"\A220 ")
        other = self.environment(pki().pair("self-signed")[0])
        self.assertRegex(self.greeting(options=other), rb"\A421 4\.7\.5 .*unknown CA")

    def test_t12_a_file_that_cannot_be_read_is_not_replaced_by_another(self):
        self.assertEqual(self.check(pki().ca).returncode, 0)
        result = self.check("/nowhere/ca.pem")
        self.assertEqual(result.returncode, 78)
        self.assertIn("/nowhere/ca.pem: No such file or directory (named by SSL_CERT_FILE)",
                      result.stderr)


class OurCertificate(Certificates):
    """Servers that demand a certificate from us."""

    def test_the_right_one_is_accepted_and_without_one_the_client_gets_the_reason(self):
        servers = {pair: self.server(*pair) for pair in ALL}
        ours = {"none": {}, "right": {"upstream__certificate": Pair("client")},
                "unknown": {"upstream__certificate": Pair("client-unknown-ca")}}
        for (protocol, mode), (name, keys) in itertools.product(ALL, ours.items()):
            self.service(f"{protocol}-{mode}-{name}", protocol, servers[protocol, mode][0].port,
                         upstream__tls=mode, **keys)
        daemon = self.start()
        # In TLS 1.3 a client has finished its handshake before the server checks its certificate.
        outcomes = {"TLSv1.2": "handshake", "TLSv1.3": "tls"}
        missing = {"TLSv1.2": r"handshake failure \(alert 40\)",
                   "TLSv1.3": r"certificate required \(alert 116\)"}
        for version, wire in VERSIONS.items():
            reasons = {"none": missing[version], "unknown": r"unknown CA \(alert 48\)"}
            context = server_context(version=wire, client_ca=True)
            for (protocol, mode), name in itertools.product(ALL, ours):
                label = f"{protocol} {mode} {version} our certificate: {name}"
                server, script = servers[protocol, mode]
                with self.subTest(label):
                    script.context = context
                    if name == "right":
                        self.accepted(f"{protocol}-{mode}-{name}", script.dialect, label)
                        connection = server.connections[-1]
                        self.assertTrue(connection.ended.wait(wait.DEADLINE))
                        self.assertEqual(connection.peer_certificate["subject"],
                                         ((("commonName", "device"),),))
                    else:
                        # With TLS 1.3 we may have greeted before we learn of it.
                        self.refused(f"{protocol}-{mode}-{name}", script.dialect, label,
                                     outcomes[version], reasons[name],
                                     may_greet=version == "TLSv1.3")
        self.check_log(daemon)


class Clients(Certificates):
    """Clients that must show a certificate, and old clients."""

    def secure(self, client, dialect, mode, context):
        if mode == "starttls":
            greeted(client, dialect)
            client.send(dialect.starttls + b"\r\n")
            tag = dialect.starttls.split()[0]
            word = dialect.go_ahead.replace(b"%s", tag).split()[0]
            line = client.line()
            self.assertTrue(line.startswith(word), line)
        client.start_tls(context, "mail.test")

    def terminate(self, name, protocol, mode, port, **keys):
        self.service(name, protocol, port, downstream__tls=mode, upstream__tls="none",
                     downstream__certificates=Pair("server", listed=True), **keys)

    def test_a_client_must_show_the_right_certificate(self):
        servers = {protocol: self.server(protocol, "none") for protocol in PROTOCOLS}
        for protocol, mode in ALL:
            self.terminate(f"{protocol}-{mode}", protocol, mode, servers[protocol][0].port,
                           downstream__client_ca=pki().ca)
        daemon = self.start()
        wrong = {None: "a client certificate is required",
                 "client-unknown-ca": "client certificate refused: unknown CA",
                 "client-self-signed": "client certificate refused: self-signed certificate",
                 "client-expired": "client certificate refused: certificate has expired",
                 "server": "client certificate refused: certificate is not acceptable"}
        for version, wire in VERSIONS.items():
            contexts = {name: client_context(name, wire) for name in (*wrong, "client")}
            for protocol, mode in ALL:
                for certificate, reason in wrong.items():
                    label = f"{protocol} {mode} {version} client with {certificate}"
                    with self.subTest(label):
                        self.refused_client(servers[protocol], mode, f"{protocol}-{mode}", label,
                                            contexts[certificate], reason)
                label = f"{protocol} {mode} {version} right client"
                with self.subTest(label):
                    dialect = PROTOCOLS[protocol]
                    with Client(self.ports[f"{protocol}-{mode}"]) as client:
                        self.expect(f"{protocol}-{mode}", client, label, "ok")
                        self.secure(client, dialect, mode, contexts["client"])
                        if mode == "implicit" or dialect.pushes:
                            self.assertTrue(greeted(client, dialect))
                        client.send(dialect.capability + b"\r\n")
                        self.assertFalse(re.match(dialect.failure, client.line()))
        self.check_log(daemon)

    def refused_client(self, server, mode, name, label, context, reason):
        server, script = server
        before = len(server.connections)
        with Client(self.ports[name]) as client:
            evidence = () if "required" in reason else ("subject=", "issuer=")
            self.expect(name, client, label, "certificate", reason, evidence)
            self.secure(client, script.dialect, mode, context)
            told, end = client.rest()  # inside TLS
        match = re.fullmatch(script.dialect.failure, told)
        self.assertTrue(match, told)
        self.assertRegex(match[1].decode(), reason)
        self.assertEqual(end, FIN)
        if mode == "implicit":
            self.assertEqual(len(server.connections), before)  # no connection to it was made
        else:
            connection = server.connection(before)
            self.assertTrue(connection.ended.wait(wait.DEADLINE))
            self.assertEqual(bytes(connection.clear), b"")

    def test_a_client_with_tls_1_0_is_refused_unless_its_service_allows_it(self):
        servers = {protocol: self.server(protocol, "none") for protocol in PROTOCOLS}
        for protocol, mode in ALL:
            port = servers[protocol][0].port
            self.terminate(f"{protocol}-{mode}-strict", protocol, mode, port)
            self.terminate(f"{protocol}-{mode}-old", protocol, mode, port,
                           downstream__min_tls="1.0")
        daemon = self.start()
        told = daemon.lines(lambda f: "TLS 1.0 is insecure" in str(f), len(ALL))
        self.assertTrue(all(line["level"] == "warn" for line in told))
        self.assertEqual({line["service"] for line in told},
                         {name for name in self.ports if name.endswith("-old")})
        old = client_context(version=ssl.TLSVersion.TLSv1)
        for protocol, mode in ALL:
            dialect = PROTOCOLS[protocol]
            with self.subTest(protocol=protocol, mode=mode):
                with Client(self.ports[f"{protocol}-{mode}-strict"]) as client:
                    self.expect(f"{protocol}-{mode}-strict", client, f"{protocol} {mode} strict",
                                "handshake", "the client only speaks TLS 1.1 or older")
                    with self.assertRaisesRegex(ssl.SSLError, "(?i)alert protocol version"):
                        self.secure(client, dialect, mode, old)
                with Client(self.ports[f"{protocol}-{mode}-old"]) as client:
                    self.expect(f"{protocol}-{mode}-old", client, f"{protocol} {mode} old",
                                "ok")
                    self.secure(client, dialect, mode, old)
                    self.assertEqual(client.sock.version(), "TLSv1")
                    if mode == "implicit" or dialect.pushes:
                        self.assertTrue(greeted(client, dialect))
                    client.send(dialect.capability + b"\r\n")
                    self.assertTrue(client.line())
        self.check_log(daemon)

    def test_a_downgrade_is_noticed(self):
        server, _ = self.server("smtp", "none")
        self.terminate("modern", "smtp", "implicit", server.port)
        daemon = self.start()
        with socket.create_connection(("127.0.0.1", self.ports["modern"]), wait.DEADLINE) as sock:
            sock.sendall(hello_of_tls_1_2())
            record = exactly(sock, 5)
            self.assertEqual(record[0], 22)
            body = exactly(sock, int.from_bytes(record[3:], "big"))
            # RFC 8446 4.1.3: the server's random shows that it could have used a newer version.
            self.assertEqual(body[0], 2)
            self.assertEqual(body[6 + 24:6 + 32], b"DOWNGRD\x01")
        with socket.create_connection(("127.0.0.1", self.ports["modern"]), wait.DEADLINE) as sock:
            sock.sendall(hello_of_tls_1_2(b"\x56\x00"))  # TLS_FALLBACK_SCSV: a second try (RFC 7507)
            self.assertEqual(exactly(sock, 7)[5:], b"\x02\x56")  # fatal, inappropriate_fallback
        daemon.sessions(2)


def exactly(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise AssertionError(f"ended after {data!r}")
        data += more
    return data


def hello_of_tls_1_2(more_suites=b""):
    """Returns a ClientHello in one record, of a client that knows nothing newer than TLS 1.2."""
    def sized(data, width=2):
        return len(data).to_bytes(width, "big") + data

    def extension(number, data):
        return number.to_bytes(2, "big") + sized(data)

    extensions = (extension(10, sized(b"\x00\x1d\x00\x17"))  # X25519, P-256
                  + extension(11, sized(b"\x00", 1))  # uncompressed
                  + extension(13, sized(b"\x04\x03\x08\x04")))  # ECDSA P-256 and RSA-PSS, SHA-256
    body = (b"\x03\x03" + bytes(32) + sized(b"", 1) + sized(b"\xc0\x2b" + more_suites)
            + sized(b"\x00", 1) + sized(extensions))
    return b"\x16\x03\x01" + sized(b"\x01" + sized(body, 3))


if __name__ == "__main__":
    # This file tests old TLS.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=r"ssl\.TLSVersion")
    main.main()

"""Reload: by HUP, and by itself when files change. Running sessions keep their old configuration."""

import hashlib
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from support import main, wait
from support.client import Client
from support.daemon import Daemon, configuration, toml
from support.environment import MAKE_PKI, SANITIZED, pki
from support.fake_server import FakeServer, Gone, Smtp, tls_context


def greeter(connection):
    """Plays a server in the clear: greets, answers EHLO, and echoes lines after MAIL."""
    connection.send(b"220 mail.test ESMTP\r\n")
    relaying = False
    while True:
        line = connection.line()
        if relaying:
            connection.send(line)
        elif line.startswith(b"EHLO"):
            connection.send(b"250 mail.test\r\n")
        elif line.startswith(b"MAIL"):
            connection.send(b"250 ok\r\n")
            relaying = True
        elif line.startswith(b"QUIT"):
            connection.send(b"221 bye\r\n")
            raise Gone
        else:
            connection.send(b"500 what\r\n")


def trusting(*authorities):
    """Returns a client's context: any of these authorities may have signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for authority in authorities:
        context.load_verify_locations(authority)
    return context


def fingerprint(chain):
    """Returns the fingerprint of the leaf in a PEM file."""
    text = pathlib.Path(chain).read_text(encoding="ascii")
    end = "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[:text.index(end)] + end + "\n")).digest()


class Certificates:
    """Several sets of certificates with the same names, made once."""

    def __init__(self, folder, count):
        self.sets = [pathlib.Path(folder) / f"set{number}" for number in range(count)]
        for each in self.sets:
            subprocess.run([MAKE_PKI, each], check=True, stdout=subprocess.DEVNULL)

    def context(self):
        return trusting(*(each / "ca.pem" for each in self.sets))

    def pair(self, number):
        each = self.sets[number % len(self.sets)]
        return each / "server.pem", each / "server.key"


class Reload(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.server = self.enterContext(FakeServer(greeter))
        self.file = self.folder / "proxy.toml"

    def service(self, name, port=0, **keys):
        """Returns the lines of a service, in the clear on both sides unless `keys` differ ("__": a dot)."""
        settings = {"name": name, "protocol": "smtp", "listen": f"127.0.0.1:{port}",
                    "upstream__address": f"127.0.0.1:{self.server.port}", "upstream__tls": "none",
                    **keys}
        return ["[[service]]", *(f"{key.replace('__', '.')} = {toml(value)}"
                                 for key, value in settings.items())]

    def terminating(self, chain, key):
        return self.service("secure", downstream__tls="implicit") + [
            f'downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]']

    def write(self, *services, extra=()):
        text = ["[proxy]", 'hostname = "proxy.test"', "workers = 2", *extra, "[log]",
                'level = "debug"']
        self.file.write_text("\n".join(text + sum(services, [])), encoding="utf-8")

    def start(self, listeners=1):
        return self.enterContext(Daemon(arguments=["--config", self.file], listeners=listeners))

    def hang_up(self, daemon, reloads=1):
        daemon.process.send_signal(signal.SIGHUP)
        return daemon.lines(lambda f: f.get("msg") == "reloaded", reloads)[-1]

    def relayed(self, client):
        """Brings a session to its relay."""
        self.assertEqual(client.line(), b"220 mail.test ESMTP\r\n")
        client.command(b"EHLO client.test")
        self.assertEqual(client.command(b"MAIL FROM:<a@b.test>"), b"250 ok\r\n")
        return client

    def ping(self, client, words=b"ping\r\n"):
        client.send(words)
        self.assertEqual(client.line(), words)

    def shown(self, port, context):
        """Returns the fingerprint of the certificate that a new client gets."""
        with Client(port) as client:
            client.start_tls(context, "mail.test")
            self.relayed(client)
            return hashlib.sha256(client.sock.getpeercert(binary_form=True)).digest()

    def becomes(self, port, context, certificate):
        """Waits until new clients get this certificate. Each worker switches in its own time."""
        wait.until(lambda: self.shown(port, context) == certificate, "another certificate is shown")

    def test_services_come_and_go_and_the_rest_stays(self):
        self.write(self.service("one"), self.service("two"))
        daemon = self.start(2)
        one, two = daemon.ports
        kept = [self.relayed(self.enterContext(Client(port))) for port in (one, two)]

        self.write(self.service("one"), self.service("three"))
        reloaded = self.hang_up(daemon)
        self.assertEqual((reloaded["opened"], reloaded["closed"]), ("1", "1"))
        self.assertEqual([reloaded[key] for key in ("services", "added", "removed", "changed",
                                                    "kept", "certificates")],
                         ["2", "1", "1", "0", "1", "0"])
        self.assertEqual((reloaded["added_services"], reloaded["removed_services"]),
                         ("three", "two"))
        self.assertNotIn("changed_services", reloaded)
        three = int(daemon.lines(lambda f: f.get("msg") == "listening", 3)[2]["address"]
                    .rpartition(":")[2])
        for client in kept:  # also the client of the service that is gone
            self.ping(client)
        for port in (one, three):
            self.relayed(self.enterContext(Client(port)))

        def closed():
            try:
                with Client(two):
                    return False
            except ConnectionRefusedError:
                return True

        wait.until(closed, "the service that is gone does not listen")

    def test_a_setting_changes_for_new_sessions_only(self):
        self.write(self.service("one"))
        daemon = self.start()
        old = self.relayed(self.enterContext(daemon.connect()))
        self.write(self.service("one", downstream__allow=["192.0.2.1"]))
        reloaded = self.hang_up(daemon)
        self.assertEqual((reloaded["opened"], reloaded["changed"], reloaded["changed_services"]),
                         ("0", "1", "one"))
        self.ping(old)

        def refused():
            with daemon.connect() as client:
                return client.line().startswith(b"421 4.3.2 ")

        wait.until(refused, "a new client is not allowed")

    def test_a_wrong_configuration_changes_nothing(self):
        self.write(self.service("one"))
        daemon = self.start()
        self.write(self.service("one", upsteam__tls="none"), self.service("one"))
        daemon.process.send_signal(signal.SIGHUP)
        reasons = [line["reason"] for line in daemon.lines(
            lambda f: f.get("msg", "").startswith("not reloaded"), 2)]
        self.assertIn("did you mean", reasons[0])
        self.assertIn("'one' is already the name of the service at", reasons[1])
        self.relayed(self.enterContext(daemon.connect()))
        self.write(self.service("one"))
        self.hang_up(daemon)

    def test_an_address_in_use_changes_nothing(self):
        self.write(self.service("one"))
        daemon = self.start()
        taken = self.enterContext(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        self.write(self.service("one", downstream__allow=["192.0.2.1"]),
                   self.service("two", taken))
        daemon.process.send_signal(signal.SIGHUP)
        reason = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"))[0]["reason"]
        self.assertIn(f"cannot listen on 127.0.0.1:{taken}", reason)
        self.relayed(self.enterContext(daemon.connect()))

    def test_certificate_and_key_are_picked_up_once_they_match(self):
        certificates = Certificates(self.folder, 2)
        chain, key = self.folder / "tls.pem", self.folder / "tls.key"
        for source, copy in zip(certificates.pair(0), (chain, key)):
            shutil.copy(source, copy)
        self.write(self.terminating(chain, key))
        daemon = self.start()
        context = certificates.context()
        old, new = (fingerprint(certificates.pair(number)[0]) for number in (0, 1))
        self.assertEqual(self.shown(daemon.port, context), old)

        shutil.copy(certificates.pair(1)[0], chain)  # half of the pair
        [waiting] = daemon.lines(lambda f: f.get("msg") == "a certificate waits for its key")
        self.assertEqual(waiting["level"], "info")
        self.assertIn("the key does not belong to the first certificate", waiting["reason"])
        self.assertEqual(self.shown(daemon.port, context), old)
        shutil.copy(certificates.pair(1)[1], key)
        [reloaded] = daemon.lines(lambda f: f.get("msg") == "reloaded")
        self.assertEqual((reloaded["kept"], reloaded["certificates"]), ("1", "1"))
        [replaced] = daemon.lines(lambda f: f.get("msg") == "certificate replaced")
        self.assertEqual((replaced["file"], replaced["names"]),
                         (str(chain), "localhost, mail.test, 127.0.0.1, ::1"))
        self.assertRegex(replaced["not_after"], r"\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
        self.becomes(daemon.port, context, new)
        # The wrong pair was reported once, however often the daemon looked at it. It was no error,
        # since the key came within a minute.
        self.assertEqual(daemon.text().count("waits for its key"), 1)
        self.assertNotIn("not reloaded", daemon.text())

    def test_a_wrong_pair_is_an_error_at_once_if_a_person_asks_for_a_reload(self):
        certificates = Certificates(self.folder, 2)
        self.write(self.terminating(*certificates.pair(0)))
        daemon = self.start()
        self.write(self.terminating(certificates.pair(0)[0], certificates.pair(1)[1]))
        daemon.process.send_signal(signal.SIGHUP)
        [line] = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"))
        self.assertIn("the key does not belong to the first certificate", line["reason"])
        self.write(self.terminating(*certificates.pair(1)))
        self.hang_up(daemon)
        [added] = daemon.lines(lambda f: f.get("msg") == "certificate added")
        self.assertEqual(added["file"], str(certificates.pair(1)[0]))

    def test_a_renewed_certificate_does_not_wait_for_the_configuration(self):
        """Only HUP reads the configuration. Before that a change in it does not count, and an error in
        it stops no renewal."""
        certificates = Certificates(self.folder, 2)
        chain, key = self.folder / "tls.pem", self.folder / "tls.key"

        def renew(number):
            for source, copy in zip(certificates.pair(number), (chain, key)):
                shutil.copy(source, self.folder / "new")
                os.replace(self.folder / "new", copy)

        renew(0)
        kept = self.terminating(chain, key)
        self.write(kept)
        daemon = self.start()
        context = certificates.context()
        for renewals, changed in enumerate(([self.service("new")], [["nonsense = 1"]]), 1):
            self.write(kept, *changed)
            renew(renewals)
            daemon.lines(lambda f: f.get("msg") == "certificate replaced", renewals)
            self.becomes(daemon.port, context, fingerprint(certificates.pair(renewals)[0]))
        self.assertNotIn("not reloaded", daemon.text())
        self.assertNotIn("service=new", daemon.text())
        daemon.process.send_signal(signal.SIGHUP)
        daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"))

    def test_a_secret_that_kubernetes_swaps(self):
        certificates = Certificates(self.folder, 2)
        mount = self.folder / "mount"
        mount.mkdir()
        for number in (0, 1):
            version = mount / f"..version{number}"
            version.mkdir()
            for source, name in zip(certificates.pair(number), ("tls.crt", "tls.key")):
                shutil.copy(source, version / name)
        (mount / "..data").symlink_to("..version0")
        for name in ("tls.crt", "tls.key"):
            (mount / name).symlink_to(f"..data/{name}")
        self.write(self.terminating(mount / "tls.crt", mount / "tls.key"))
        daemon = self.start()
        context = certificates.context()
        self.assertEqual(self.shown(daemon.port, context), fingerprint(certificates.pair(0)[0]))

        (mount / "..data_tmp").symlink_to("..version1")
        os.replace(mount / "..data_tmp", mount / "..data")
        daemon.lines(lambda f: f.get("msg") == "reloaded")
        self.becomes(daemon.port, context, fingerprint(certificates.pair(1)[0]))

    def test_fifty_swaps_under_load(self):
        """Certificate and configuration change fifty times during 200 running sessions."""
        swaps, sessions = (5, 40) if SANITIZED else (50, 200)
        certificates = Certificates(self.folder, 2)
        context = certificates.context()
        self.write(self.terminating(*certificates.pair(0)))
        daemon = self.start()

        def connect():
            client = self.enterContext(Client(daemon.port))
            client.start_tls(context, "mail.test")
            return self.relayed(client)

        clients = [connect() for _ in range(sessions)]
        stop = threading.Event()
        failures = []
        rounds = [0]

        def talk(mine):
            try:
                while not stop.is_set():
                    for client in mine:
                        self.ping(client, b"still here\r\n")
                    rounds[0] += 1
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=talk, args=(clients[each::4],)) for each in range(4)]
        for thread in threads:
            thread.start()
        try:
            for swap in range(1, swaps + 1):
                pair = certificates.pair(swap)
                self.write(self.terminating(*pair), extra=[f"max_sessions = {1000 + swap}"])
                self.hang_up(daemon, swap)
                self.becomes(daemon.port, context, fingerprint(pair[0]))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(rounds[0], 4)
        for client in clients:
            self.ping(client)

    def test_trusted_authorities_are_picked_up(self):
        """A changed CA file decides about the next session, resumed or not."""
        authorities = self.folder / "ca.pem"
        shutil.copy(pki().ca, authorities)

        def secure(connection):
            connection.start_tls(tls_context())
            greeter(connection)

        with FakeServer(secure) as server:
            self.server = server
            self.write(self.service("one", upstream__tls="implicit",
                                    upstream__server_name="mail.test",
                                    upstream__ca_file=str(authorities)))
            daemon = self.start()
            for _ in range(2):
                with daemon.connect() as client:
                    self.relayed(client)
            other = Certificates(self.folder, 1)
            shutil.copy(other.sets[0] / "ca.pem", authorities)
            daemon.lines(lambda f: f.get("msg") == "reloaded")

            def refused():
                with daemon.connect() as client:
                    return client.line().startswith(b"421 4.7.5 ")

            wait.until(refused, "the server's CA is trusted no more")


class SystemName(unittest.TestCase):
    def test_r3_it_is_queried_again(self):
        """The name is asked for in the background: sessions do not wait for it."""
        if os.geteuid() != 0:
            self.skipTest("a name of its own wants root")
        wrapper = ["unshare", "--uts", "sh", "-c", 'hostname one.example && exec "$0" "$@"']
        with FakeServer(Smtp()) as server, \
                Daemon(configuration(server.port, proxy={"hostname": ""}), wrapper=wrapper) as daemon:
            def says(name):
                with daemon.connect() as client:
                    client.reply()
                    client.command(b"QUIT")
                return server.connections[-1].clear.startswith(b"EHLO " + name + b"\r\n")

            wait.until(lambda: says(b"one.example"), "the name at the start")
            subprocess.run(["nsenter", "--uts", f"--target={daemon.process.pid}", "hostname",
                            "two.example"], check=True)
            daemon.process.send_signal(signal.SIGHUP)
            wait.until(lambda: says(b"two.example"), "the name after a reload")


if __name__ == "__main__":
    main.main()

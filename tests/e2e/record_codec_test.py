"""The record layer, our own and the library's: much data through TLS on both sides, byte-exact."""

import os
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from support import children, main, peers
from support.client import Client
from support.daemon import Daemon, configuration, run_to_end
from support.environment import SANITIZED, pki
from support.fake_server import FakeServer, Smtp, tls_context
from support.relay import Digest, commit, pieces, receive_digest, send_pieces

MIB = 1 << 20
SIZE = (4 if SANITIZED else 64) * MIB
SUITE_SIZE = (2 if SANITIZED else 16) * MIB
MASK = pathlib.Path(__file__).parent / "support" / "without_vaes.cc"
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


def exchange(digests):
    """Returns a relay for Smtp: takes data, answers with its digest and a line feed, and with the data."""

    def run(connection):
        digests.append(receive_digest(connection.sock, run.size))
        connection.send(digests[-1].encode() + b"\r\n")
        send_pieces(connection.sock, run.size)
        connection.wait_for_end()

    run.size = SIZE
    return run


def implicit(smtp):
    """Returns the same server with TLS from the first byte."""

    def run(connection):
        connection.start_tls(smtp.context)
        smtp.say(connection, smtp.greeting)
        smtp.secured(connection)

    return run


def bridge(server, codec):
    """Returns a configuration with TLS on both sides."""
    chain, key = pki().pair()
    return configuration(
        server.port, proxy={"record_codec": codec}, upstream={"tls": "implicit"},
        downstream={"tls": "implicit"}) + (
            f'\ndownstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n')


def both_ways(client, size):
    """Sends data and reads the answer of `exchange`. Returns three digests, which must be equal."""
    sent = send_pieces(client.sock, size)
    heard = client.line().strip().decode()
    return sent, heard, receive_digest(client.sock, size, client.buffered())


class RecordCodec(unittest.TestCase):
    def test_much_data_both_ways(self):
        for codec in ("auto", "ssl"):
            for version, number in VERSIONS.items():
                with self.subTest(codec=codec, version=version):
                    self.much_data(codec, version, number)

    def much_data(self, codec, version, number):
        server_side = tls_context(minimum_version=number, maximum_version=number)
        client_side = ssl.create_default_context(cafile=pki().ca)
        client_side.minimum_version = client_side.maximum_version = number
        script = implicit(Smtp(context=server_side, relay=exchange([])))
        with FakeServer(script) as server, Daemon(bridge(server, codec)) as daemon:
            with Client(daemon.port) as client:
                client.start_tls(client_side, "mail.test")
                commit(client)
                start, cpu = time.monotonic(), daemon.cpu_seconds()
                sent, heard, received = both_ways(client, SIZE)
                print(f"{codec}, {version}: {SIZE // MIB} MiB each way, "
                      f"{time.monotonic() - start:.1f} s, {daemon.cpu_seconds() - cpu:.2f} CPU-s")
                self.assertEqual(heard, sent)
                self.assertEqual(received, sent)
            session = daemon.session()
            self.assertEqual(session["downstream_tls"], version)
            self.assertEqual(session["upstream_tls"], version)
            self.assertGreater(int(session["bytes_to_server"]), SIZE)

    def test_every_suite_with_another_program_as_client(self):
        for suite in SUITES:
            with self.subTest(suite):
                relay = exchange([])
                relay.size = SUITE_SIZE
                script = implicit(Smtp(relay=relay))
                with FakeServer(script) as server, Daemon(bridge(server, "auto")) as daemon:
                    self.through_s_client(daemon, suite)
                    self.assertEqual(daemon.session()["downstream_cipher"], suite)

    def through_s_client(self, daemon, suite):
        peers.require()
        outside, inside = self.enterContext(peers.scratch())
        shutil.copy(pki().ca, outside / "ca.pem")
        process = children.start(
            peers.command("/usr/bin/openssl", "s_client", "-connect", f"127.0.0.1:{daemon.port}",
                          "-quiet", "-ciphersuites", suite, "-CAfile", inside / "ca.pem",
                          "-verify_return_error"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            def command(line):
                if line:
                    process.stdin.write(line + b"\r\n")
                    process.stdin.flush()
                reply = process.stdout.readline()
                while reply[3:4] == b"-":
                    reply = process.stdout.readline()
                self.assertTrue(reply.startswith(b"2"), reply)

            for line in (None, b"EHLO legacy.test", b"MAIL FROM:<a@legacy.test>"):
                command(line)
            sent = Digest()

            def send():
                for piece in pieces(SUITE_SIZE):
                    process.stdin.write(piece)
                    sent.update(piece)
                process.stdin.flush()

            sender = threading.Thread(target=send)
            sender.start()
            heard = process.stdout.readline().strip().decode()
            sender.join()
            received = Digest(process.stdout.read(SUITE_SIZE))
            self.assertEqual(heard, sent.value)
            self.assertEqual(received.value, sent.value)
        finally:
            process.stdin.close()
            process.terminate()
            process.wait()
            process.stdout.close()


def record_cipher(**options):
    """Returns the library of the record cipher that the daemon chooses by itself."""
    return re.search("^record cipher: (.*)$", run_to_end("--version", **options).stdout, re.M)[1]


class WithoutVaes(unittest.TestCase):
    """A CPU without vector AES, simulated: the feature is masked out of libipsec-mb's answer."""

    def test_the_tls_library_serves(self):
        fast = record_cipher()
        if not fast.startswith("libipsec-mb"):
            print(f"nothing to mask: {fast} is the record cipher of this build and CPU already")
            return
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-mask-"))
        mask = pathlib.Path(folder) / "without_vaes.so"
        subprocess.run([os.environ.get("CXX", "g++"), "-std=c++20", "-shared", "-fPIC", "-o", mask,
                        MASK], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(mask)}
        version = run_to_end("--version").stdout
        self.assertEqual(record_cipher(env=environment), version.splitlines()[2])
        digests = []
        script = implicit(Smtp(relay=exchange(digests)))
        with FakeServer(script) as server:
            with Daemon(bridge(server, "auto"), options={"env": environment}) as daemon:
                ready, = daemon.lines(lambda line: line.get("msg") == "ready")
                self.assertNotIn("libipsec-mb", ready["record_cipher"])
                with Client(daemon.port) as client:
                    client.start_tls(ssl.create_default_context(cafile=pki().ca), "mail.test")
                    commit(client)
                    sent, heard, received = both_ways(client, SIZE)
                self.assertEqual([heard, received], [sent, sent])


if __name__ == "__main__":
    main.main()

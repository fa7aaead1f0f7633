"""OpenSSL's own programs at both ends, with the commands that they offer (cases L1 to L3)."""

import base64
import contextlib
import shutil
import unittest

from support import main, peers, wait
from support.client import FIN, Client, free_port
from support.daemon import Daemon, toml
from support.environment import pki
from support.fake_server import FakeServer
from support.openssl import OpenSsl

CANARY = "canary-4711"
MODES = ("implicit", "starttls")


def allow_early_data(session, data):
    """Returns the s_client session, as if its server had allowed early data, which ours never does."""
    lines = session.splitlines()
    der = base64.b64decode("".join(lines[1:-1]))

    def element(at):
        """Returns (tag, start of the content, end of the content)."""
        tag, size, begin = der[at], der[at + 1], at + 2
        if size & 0x80:
            begin += size & 0x7f
            size = int.from_bytes(der[at + 2:begin], "big")
        return tag, begin, begin + size

    _, begin, end = element(0)
    at = begin
    while at < end and element(at)[0] < 0xaf:  # [15] is max_early_data
        at = element(at)[2]
    value = data.to_bytes(data.bit_length() // 8 + 1, "big")
    field = bytes((0xaf, len(value) + 2, 2, len(value))) + value
    body = der[begin:at] + field + der[at:end]
    der = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    return "\n".join([lines[0], base64.encodebytes(der).decode().strip(), lines[-1], ""])


def serve(connection):
    """Plays a server in the clear: echoes lines after MAIL."""
    connection.send(b"220 mail.test ESMTP\r\n")
    relaying = False
    while line := connection.line():
        if relaying:
            connection.send(line)
        else:
            connection.send(b"250 ok\r\n")
            relaying = line.startswith(b"MAIL")


class Peers(unittest.TestCase):
    def setUp(self):
        peers.require()
        self.outside, self.inside = self.enterContext(peers.scratch())
        shutil.copy(pki().ca, self.outside / "ca.pem")
        for path in pki().pair():
            shutil.copy(path, self.outside)
        (self.outside / "server.key").chmod(0o644)

    def start(self, port, upstream, *modes):
        """Returns the ports of a daemon with one service per mode."""
        chain, key = pki().pair()
        lines = ["[proxy]", 'hostname = "proxy.test"', "workers = 1"]
        for mode in modes:
            lines += ["[[service]]", f'name = "{mode}"', 'protocol = "smtp"',
                      'listen = "127.0.0.1:0"', f'upstream.address = "127.0.0.1:{port}"',
                      f'upstream.tls = "{upstream}"', f'downstream.tls = "{mode}"']
            if upstream != "none":
                lines += ['upstream.server_name = "mail.test"',
                          f"upstream.ca_file = {toml(pki().ca)}"]
            if mode != "none":
                lines.append("downstream.certificates = "
                             f"[{{ chain = {toml(chain)}, key = {toml(key)} }}]")
        self.daemon = self.enterContext(Daemon("\n".join(lines), listeners=len(modes)))
        found = self.daemon.lines(lambda f: f.get("msg") == "listening", len(modes))
        return {line["service"]: int(line["address"].rpartition(":")[2]) for line in found}


class Clients(Peers):
    def setUp(self):
        super().setUp()
        self.server = self.enterContext(FakeServer(serve))
        self.ports = self.start(self.server.port, "none", *MODES)

    def client(self, mode, *arguments):
        starttls = ["-starttls", "smtp"] if mode == "starttls" else []
        return OpenSsl("s_client", "-connect", f"127.0.0.1:{self.ports[mode]}", *starttls,
                       "-servername", "mail.test", "-verify_hostname", "mail.test",
                       "-verify_return_error", "-CAfile", self.inside / "ca.pem", "-crlf",
                       "-no_ign_eof", *arguments)

    def commit(self, client, mode):
        if mode == "implicit":
            client.says("220 mail.test ESMTP")
        else:
            client.says("Verify return code: 0 (ok)")
        before = client.said().count("250 ok")
        client.type("EHLO client.test")
        client.says("250 ok", before + 1)
        client.type("MAIL FROM:<a@client.test>")
        client.says("250 ok", before + 2)

    def test_renegotiation(self):
        for number, mode in enumerate(MODES):
            with self.subTest(mode), self.client(mode, "-tls1_2") as client:
                self.commit(client, mode)
                client.type("R")
                self.assertRegex(client.ends(), "(?i)alert no renegotiation")
                session = self.daemon.sessions(number + 1)[-1]
                self.assertRegex(session["reason"], "no renegotiation")

    def test_the_log_has_the_name_that_they_ask_for(self):
        number = 0
        for mode in MODES:
            for version in ("-tls1_2", "-tls1_3"):
                with self.subTest(mode, version=version), self.client(mode, version) as client:
                    self.commit(client, mode)
                    client.type("Q")
                    client.ends()
                    number += 1
                    session = self.daemon.sessions(number)[-1]
                    self.assertEqual((session["outcome"], session["sni"]), ("ok", "mail.test"))

    def test_key_updates(self):
        for mode in MODES:
            with self.subTest(mode), self.client(mode, "-tls1_3") as client:
                self.commit(client, mode)
                for number in range(10):
                    client.type("kK"[number % 2])
                    client.says("KEYUPDATE", number + 1)
                    client.type(f"ping {number}.")
                    client.says(f"ping {number}.")
                # Then without data between them, until the daemon's limit.
                with contextlib.suppress(BrokenPipeError):
                    for number in range(100):
                        client.type("K")
                        wait.until(lambda: client.said().count("KEYUPDATE") > 10 + number
                                   or "alert" in client.said(), "an answer to K")
                self.assertRegex(client.ends(), "(?i)alert unexpected message")

    def test_early_data(self):
        (self.outside / "early").write_bytes(f"EHLO {CANARY}\r\n".encode())
        for number, mode in enumerate(MODES):
            with self.subTest(mode):
                kept = self.outside / f"session-{mode}"
                with self.client(mode, "-tls1_3", "-sess_out", self.inside / kept.name) as client:
                    self.commit(client, mode)
                    text = wait.until(
                        lambda: kept.exists() and kept.read_text(encoding="ascii")
                        .endswith("-----END SSL SESSION PARAMETERS-----\n") and kept.read_text(),
                        "a session is kept")
                (self.outside / "doctored").write_text(allow_early_data(text, 16384),
                                                       encoding="ascii")
                with self.client(mode, "-tls1_3", "-sess_in", self.inside / "doctored",
                                 "-early_data", self.inside / "early") as client:
                    self.commit(client, mode)
                    said = client.said()
                    self.assertIn("Early data was rejected", said)
                    self.assertIn("Reused, TLSv1.3", said)
                    client.type("ping")
                    client.says("ping")
                self.daemon.sessions(2 * number + 2)
        self.assertNotIn(CANARY.encode(), self.server.heard())


class Servers(Peers):
    """s_server, with typed input; the client is in the clear."""

    def server(self, *arguments):
        port = free_port()
        server = self.enterContext(OpenSsl(
            "s_server", "-accept", f"127.0.0.1:{port}", "-cert", self.inside / "server.pem", "-key",
            self.inside / "server.key", "-cert_chain", self.inside / "server.pem", "-crlf",
            *arguments))
        server.says("ACCEPT")
        return server, self.start(port, "implicit", "none")["none"]

    def commit(self, server, client, number=1):
        """Starts the session; `number` counts the connections of this server."""
        server.says("CIPHER is", number)
        for command, reply in (("", "220 mail.test"), ("EHLO client.test", "250 mail.test"),
                               ("MAIL FROM:<a@client.test>", "250 ok")):
            if command:
                client.send(command.encode() + b"\r\n")
                server.says(command, number)
            server.type(reply)
            self.assertEqual(client.line(), reply.encode() + b"\r\n")

    def test_renegotiation(self):
        server, port = self.server("-tls1_2")
        with Client(port) as client:
            self.commit(server, client)
            server.type("r")
            self.assertEqual(client.rest(), (b"", FIN))
        self.assertRegex(server.says("alert no renegotiation"), "(?i)alert no renegotiation")
        self.assertRegex(self.daemon.session()["reason"], "no renegotiation")

    def test_key_updates(self):
        server, port = self.server("-tls1_3", "-msg")
        with Client(port) as client:
            self.commit(server, client)
            for number in range(10):
                server.type("kK"[number % 2])
                server.says(">>> TLS 1.3, Handshake [length 0005], KeyUpdate", number + 1)
                server.type(f"250 ping {number}.")
                self.assertEqual(client.line(), f"250 ping {number}.\r\n".encode())
                client.send(f"pong {number}.\r\n".encode())
                server.says(f"pong {number}.")

    def test_early_data_is_never_sent(self):
        server, port = self.server("-tls1_3", "-early_data", "-max_early_data", "16384")
        for number in (1, 2):
            with Client(port) as client:
                client.send(f"EHLO {CANARY}\r\n".encode())  # this is the earliest moment for it
                server.says("No early data received", number)
                server.says("CIPHER is", number)
                server.type("220 mail.test")
                self.assertEqual(client.line(), b"220 mail.test\r\n")
                server.says(CANARY, number)
                client.finish()
                client.rest()
        sessions = self.daemon.sessions(2)
        self.assertEqual([session["upstream_resumed"] for session in sessions], ["false", "true"])
        self.assertNotIn("\nEarly data received", server.said())


if __name__ == "__main__":
    main.main()

"""A storm of new clients with TLS, on one worker: all are served, and who is there already is not
made to wait for the handshakes of all of them."""

import pathlib
import select
import signal
import ssl
import unittest

from backend_test import Backend
from support import main, wait
from support.client import Client
from support.daemon import Daemon, configuration, toml
from support.environment import SANITIZED, pki

CLIENTS = 150 if SANITIZED else 500
ROUNDS = 4  # a busy machine may let us look too late


class Storm(unittest.TestCase):
    def setUp(self):
        self.context = ssl.create_default_context(cafile=pki().ca)
        backend = self.enterContext(Backend("smtp", "none"))
        chain, key = pki().pair()
        text = configuration(backend.port, upstream={"tls": "none"},
                             downstream={"tls": "implicit"}, proxy={"workers": 1},
                             timeouts={"handshake": "2m", "prelude": "2m"})
        # Tables stand in the way of lists of tables: the pair is a line of its own.
        text += f"\ndownstream.certificates = [{{ chain = {toml(chain)}, key = {toml(key)} }}]"
        self.daemon = self.enterContext(Daemon(text))

    def test_a_running_session_has_its_turn(self):
        running = self.enterContext(Client(self.daemon.port))
        running.start_tls(self.context, "mail.test")
        self.assertRegex(running.line(), rb"^220 ")
        running.command(b"EHLO client.test")
        self.assertRegex(running.command(b"MAIL FROM:<a@b.test>"), rb"^250 ")
        answered = []
        for number in range(ROUNDS):
            answered.append(self.storm(running, 1 + number * CLIENTS))
            if answered[-1] < CLIENTS:
                break
        print(f"answered before the running session was: {answered} of {CLIENTS}")
        self.assertLess(min(answered), CLIENTS, "the running session had to wait for all answered")

    def storm(self, running, before):
        """All clients say hello in one turn; how many are answered before the running session is."""
        clients = [self.enterContext(Client(self.daemon.port)) for _ in range(CLIENTS)]
        self.daemon.lines(lambda line: line.get("to") == "downstream_handshake", before + CLIENTS)
        process = self.daemon.process.pid
        self.daemon.process.send_signal(signal.SIGSTOP)
        state = pathlib.Path(f"/proc/{process}/stat")
        wait.until(lambda: state.read_text().rpartition(") ")[2][0] == "T", "it stands still")
        poll = select.poll()
        for client in clients:
            client.sock.setblocking(False)
            client.sock = self.context.wrap_socket(client.sock, server_hostname="mail.test",
                                                   do_handshake_on_connect=False)
            self.assertRaises(ssl.SSLWantReadError, client.sock.do_handshake)
            poll.register(client.sock, select.POLLIN)
        running.send(b"NOOP\r\n")
        self.daemon.process.send_signal(signal.SIGCONT)
        self.assertRegex(running.reply(), rb"^250 ")
        answered = len(poll.poll(0))
        for client in clients:
            client.sock.settimeout(wait.DEADLINE)
            client.sock.do_handshake()
        for client in clients:
            self.assertRegex(client.line(), rb"^220 ")
            client.close()
        return answered


if __name__ == "__main__":
    main.main()

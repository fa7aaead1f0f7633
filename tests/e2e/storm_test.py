"""A storm of new clients with TLS, on one worker: all are served. A session that is there already
does not wait for the handshakes of all of them. Nothing is computed for clients that are gone."""

import os
import pathlib
import select
import signal
import socket
import ssl
import struct
import time
import unittest

from backend_test import Backend
from support import main, wait
from support.client import Client
from support.daemon import Daemon, configuration, toml
from support.environment import SANITIZED, pki

CLIENTS = 150 if SANITIZED else 500
ROUNDS = 10  # on a busy machine the backend, which answers the running session, may get no time
_ARRIVED = 52  # offset of the milliseconds since the last data came, in struct tcp_info
COARSE = 10  # milliseconds: the kernel counts several at once


def arrival(sock):
    """Returns the kernel's time of the last data: it does not depend on when we look."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return time.monotonic() * 1000 - struct.unpack_from("I", info, _ARRIVED)[0]


class Storm(unittest.TestCase):
    def setUp(self):
        self.context = ssl.create_default_context(cafile=pki().ca)
        backend = self.enterContext(Backend("smtp", "none"))
        chain, key = pki().pair()
        text = configuration(backend.port, upstream={"tls": "none"},
                             downstream={"tls": "implicit"}, proxy={"workers": 1},
                             timeouts={"handshake": "2m", "prelude": "2m"})
        # Tables make lists of tables impossible here, so the pair is a line of its own.
        text += f"\ndownstream.certificates = [{{ chain = {toml(chain)}, key = {toml(key)} }}]"
        self.daemon = self.enterContext(Daemon(text))

    def test_a_running_session_gets_its_turn(self):
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
        """Sends all clients' hellos in one turn. Returns how many are answered before the running session."""
        clients = [self.enterContext(Client(self.daemon.port)) for _ in range(CLIENTS)]
        self.daemon.lines(lambda line: line.get("to") == "downstream_handshake", before + CLIENTS)
        process = self.daemon.process.pid
        self.daemon.process.send_signal(signal.SIGSTOP)
        state = pathlib.Path(f"/proc/{process}/stat")
        wait.until(lambda: state.read_text().rpartition(") ")[2][0] == "T", "it has stopped")
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
        wait.until(lambda: len(poll.poll(0)) == CLIENTS, "all are answered")
        when = arrival(running.sock)
        answered = CLIENTS - sum(arrival(client.sock) > when + COARSE for client in clients)
        for client in clients:
            client.sock.settimeout(wait.DEADLINE)
            client.sock.do_handshake()
        for client in clients:
            self.assertRegex(client.line(), rb"^220 ")
            client.close()
        return answered


class HelloAndReset(unittest.TestCase):
    """R4: clients that send a hello and reset, at one of two services."""

    CLIENTS = 100 if SANITIZED else 300

    def setUp(self):
        self.context = ssl.create_default_context(cafile=pki().ca)
        backend = self.enterContext(Backend("smtp", "none"))
        chain, key = pki().pair("server-rsa")
        pair = f"[{{ chain = {toml(chain)}, key = {toml(key)} }}]"
        text = configuration(backend.port, upstream={"tls": "none"},
                             downstream={"tls": "implicit"}, proxy={"workers": 1},
                             timeouts={"handshake": "2m", "prelude": "2m"})
        text += f"""
downstream.certificates = {pair}
[[service]]
name = "other"
protocol = "smtp"
listen = "127.0.0.1:0"
downstream.tls = "implicit"
downstream.certificates = {pair}
upstream.address = "127.0.0.1:{backend.port}"
upstream.tls = "none"
"""
        self.daemon = self.enterContext(Daemon(text, listeners=2))
        self.begun = 0

    def accepted(self, *counts):
        """Connects these numbers of clients to the services; once all are accepted, stops the daemon."""
        clients = [Client(port) for port, count in zip(self.daemon.ports, counts)
                   for _ in range(count)]
        self.begun += len(clients)
        self.daemon.lines(lambda line: line.get("to") == "downstream_handshake", self.begun)
        self.daemon.process.send_signal(signal.SIGSTOP)
        state = pathlib.Path(f"/proc/{self.daemon.process.pid}/stat")
        wait.until(lambda: state.read_text().rpartition(") ")[2][0] == "T", "it has stopped")
        return clients

    def go_on(self):
        self.daemon.process.send_signal(signal.SIGCONT)

    def say_hello(self, client):
        client.sock.setblocking(False)
        client.sock = self.context.wrap_socket(client.sock, server_hostname="mail.test",
                                               do_handshake_on_connect=False)
        self.assertRaises(ssl.SSLWantReadError, client.sock.do_handshake)

    def finish(self, client):
        client.sock.settimeout(wait.DEADLINE)
        client.sock.do_handshake()
        self.assertRegex(client.line(), rb"^220 ")
        client.close()

    def spent(self, then):
        """Returns the daemon's CPU seconds for the hellos of clients on which `then` was called."""
        before = self.daemon.cpu_seconds()
        clients = self.accepted(self.CLIENTS)
        for client in clients:
            self.say_hello(client)
        then(clients)
        self.daemon.sessions(self.begun)
        return self.daemon.cpu_seconds() - before

    def test_r4_no_handshake_is_computed_for_clients_that_have_gone(self):
        def live(clients):
            self.go_on()
            for client in clients:
                self.finish(client)

        def leave(clients):
            for client in clients:
                client.close()
            self.go_on()

        def talk_and_leave(clients):
            for client in clients:
                client.sock.setblocking(True)
                # More than one read takes, so that bytes wait in the kernel before the end.
                os.write(client.sock.fileno(), bytes(24 * 1024))
            leave(clients)

        def end_own_direction(clients):
            for client in clients:
                client.finish()
            self.go_on()

        full = self.spent(live)
        for how in (leave, talk_and_leave, end_own_direction):
            nothing = self.spent(how)
            print(f"CPU for {self.CLIENTS} handshakes {full:.2f} s, "
                  f"for as many dead clients ({how.__name__}) {nothing:.2f} s")
            self.assertLess(nothing, full / 2)
        ended = [line for line in self.daemon.sessions(self.begun) if line["outcome"] != "ok"]
        self.assertEqual([(line["outcome"], line["reason"]) for line in ended],
                         [("handshake", "connection closed during the TLS handshake")]
                         * self.CLIENTS * 3)

    def test_r4_the_other_service_waits_for_one_handshake(self):
        """The clients are alive and many, and still the services are served in turns."""
        rounds = []
        for _ in range(ROUNDS):
            *flood, other = self.accepted(self.CLIENTS, 1)
            poll = select.poll()
            for client in (*flood, other):
                self.say_hello(client)
                if client is not other:
                    poll.register(client.sock, select.POLLIN)
            self.go_on()
            other.sock.settimeout(wait.DEADLINE)
            other.sock.do_handshake()
            rounds.append(len(poll.poll(0)))
            for client in flood:
                self.finish(client)
            other.close()
            if rounds[-1] < self.CLIENTS / 4:
                break
        print(f"answered before the other service's client was: {rounds} of {self.CLIENTS}")
        self.assertLess(min(rounds), self.CLIENTS / 4)


if __name__ == "__main__":
    main.main()

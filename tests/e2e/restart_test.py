"""Restarts under a steady load: no session is lost. A supervisor holds the sockets, or a second
process starts beside the first."""

import contextlib
import os
import pathlib
import signal
import socket
import unittest

from support import admin, main, wait
from support.beside import Beside, Guest, Load, send_mail
from support.client import FIN, free_port
from support.daemon import run_to_end
from support.environment import SANITIZED
from support.freeze import frozen_workers
from support.supervisor import passing

RESTARTS = 2 if SANITIZED else 5


def listening(port):
    """Returns how many sockets listen on an IPv4 port."""
    rows = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


class Restart(Beside):
    def assert_nothing_was_lost(self, load):
        self.assertEqual(load.failures, [], f"of {load.sent}")
        self.assertGreater(load.sent, 0)

    def side_by_side(self, *addresses):
        """Starts a new process, then sends TERM to the old one, again and again."""
        with contextlib.ExitStack() as stack:
            old = stack.enter_context(self.daemon(len(addresses)))
            self.assertNotIn("another process", old.text())
            with Load(*addresses) as load:
                for _ in range(RESTARTS):
                    load.goes_on()
                    new = stack.enter_context(self.daemon(len(addresses)))
                    new.lines(lambda f: "another process listen" in f.get("msg", ""), len(addresses))
                    load.goes_on()
                    old.terminate()
                    old.expect_exit(0)
                    old = new
                load.goes_on()
        self.assert_nothing_was_lost(load)

    def test_a_supervisor_holds_the_sockets(self):
        held = [socket.create_server(("127.0.0.1", 0), backlog=1024), socket.socket(socket.AF_UNIX)]
        for sock in held:
            self.enterContext(sock)
        held[1].bind(f"{self.folder}/held.sock")
        held[1].listen(1024)
        self.write("systemd:mail")
        with Load(*(sock.getsockname() for sock in held)) as load:
            for _ in range(RESTARTS):
                with self.daemon(2, **passing([("mail", sock) for sock in held])):
                    load.goes_on()
            # A client that connects now waits for the next daemon.
            with self.daemon(2, **passing([("mail", sock) for sock in held])):
                load.goes_on()
                load.stop()
        self.assert_nothing_was_lost(load)

    def test_a_second_process_on_loopback(self):
        """Without a sandbox: some kernels want rights for the filter that keeps new handshakes out."""
        port = free_port()
        self.write(f"127.0.0.1:{port}", sandbox=False)
        self.side_by_side(("127.0.0.1", port))

    def test_a_second_process_on_all_addresses(self):
        """On all addresses, handshakes may take a while."""
        port = free_port()
        self.write(f"0.0.0.0:{port}", sandbox=False)
        self.side_by_side(("127.0.0.1", port))

    def test_a_second_process_on_a_unix_socket(self):
        path = f"{self.folder}/proxy.sock"
        self.write(f"unix:{path}")
        self.side_by_side(path)
        self.assertEqual([name for name in os.listdir(self.folder) if name != "proxy.toml"],
                         ["proxy.sock"])

    @unittest.skipUnless(os.geteuid() == 0, "root alone becomes somebody else")
    def test_a_second_root_that_becomes_the_same_user(self):
        """Ports of the start, bound by root, and one that came with a reload, bound by the user."""
        if SANITIZED:
            return  # a sanitizer's leak search may not look into a process that has changed its user
        self.folder.chmod(0o755)
        one, two, three = free_port(), free_port(), free_port()
        endpoint = f"127.0.0.1:{three}"
        self.write(f"127.0.0.1:{one}", endpoint, user="nobody")
        with self.daemon(1) as old:
            self.write([f"127.0.0.1:{one}", f"127.0.0.1:{two}"], endpoint, user="nobody")
            old.process.send_signal(signal.SIGHUP)
            old.lines(lambda f: f.get("msg") == "reloaded")
            with Load(("127.0.0.1", one), ("127.0.0.1", two)) as load, self.daemon(2) as new:
                new.lines(lambda f: "another process listen" in f.get("msg", ""), 3)
                load.goes_on()
                load.stop()
                old.terminate()
                old.expect_exit(0)
                for port in (one, two):
                    send_mail(("127.0.0.1", port))
        self.assert_nothing_was_lost(load)

    def hand_over_the_endpoint(self, endpoint, listen, begin):
        """Starts a second process while the first serves a session. The second has the endpoint
        alone for as long as the session lasts. `begin` is the first step: "drain" of the old one,
        or "start"."""
        self.write(listen, endpoint)
        address = listen.removeprefix("unix:")
        if address == listen:
            address = ("127.0.0.1", int(listen.rpartition(":")[2]))
        shared = not endpoint.startswith("unix:")
        with self.daemon(1) as old, Guest(address) as client:
            client.reply()
            self.assertEqual(admin.get(endpoint, "/readyz").status, 200)

            def drain():
                old.terminate()
                old.lines(lambda f: f.get("msg") == "draining")

            if begin == "drain":
                drain()
                self.assertEqual(admin.get(endpoint, "/readyz").status, 503)
            with self.daemon(1) as new:
                # A process that drains has given up its services' sockets.
                taken = [listen, endpoint][begin == "drain":]
                told = new.lines(lambda f: "another process listen" in f.get("msg", ""), len(taken))
                self.assertEqual([line["address"] for line in told], taken)
                if begin == "start":
                    for _ in range(10):
                        self.assertEqual(admin.get(endpoint, "/readyz").status, 200)
                    drain()
                if shared:
                    old.lines(lambda f: f.get("msg", "").startswith("admin closed: another"))
                for _ in range(20):
                    self.assertEqual(admin.get(endpoint, "/readyz").status, 200)
                self.assertEqual(admin.sessions(endpoint)["open"], 0)
                self.assertTrue(client.command(b"QUIT").startswith(b"221 "))
                client.rest()
                client.close()
                old.expect_exit(0)
                self.assertEqual(admin.get(endpoint, "/readyz").status, 200)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith(".new")], [])

    def test_the_admin_endpoint_on_a_port(self):
        """The old process still answers that it drains, until the new one can answer."""
        for host, begin in (("127.0.0.1", "start"), ("[::1]", "drain"), ("127.0.0.1", "drain")):
            with self.subTest(host=host, begin=begin):
                self.hand_over_the_endpoint(f"{host}:{free_port()}", f"127.0.0.1:{free_port()}", begin)

    def test_the_admin_endpoint_on_a_unix_socket(self):
        """It is in the folder of another unix socket, which is taken over too."""
        self.hand_over_the_endpoint(f"unix:{self.folder}/admin.sock", f"unix:{self.folder}/mail.sock",
                                    "start")

    def test_a_unix_socket_with_an_owner_that_does_not_accept(self):
        """The path is in use, and the start does not wait for a place in the owner's queue."""
        path = f"{self.folder}/proxy.sock"
        with contextlib.ExitStack() as stack:
            owner, *queue = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(8))
            owner.bind(path)
            owner.listen(0)
            for each in queue:
                each.setblocking(False)
            with self.assertRaises(BlockingIOError):
                for each in queue:
                    each.connect(path)
            self.write(f"unix:{path}")
            result = run_to_end("--config", self.file)
        self.assertEqual(result.returncode, 69)
        self.assertIn("Address already in use", result.stderr)

    def queued(self, daemon, addresses, number, line):
        """Connects clients after a signal was sent to the workers and before they handle it."""
        with frozen_workers(daemon.process.pid):
            daemon.process.send_signal(number)
            daemon.lines(lambda f: f.get("msg") == line)
            clients = [self.enterContext(Guest(address)) for _ in range(10)
                       for address in addresses]
        for client in clients:
            self.assertTrue(client.reply().startswith(b"220 "))
            self.assertTrue(client.command(b"QUIT").startswith(b"221 "))
            self.assertEqual(client.rest(), (b"", FIN))
            client.close()

    def test_queued_connections_are_served(self):
        one, two, path = free_port(), free_port(), f"{self.folder}/proxy.sock"
        self.write([f"127.0.0.1:{one}", f"0.0.0.0:{two}", f"unix:{path}"])
        with self.daemon(3) as daemon:
            self.queued(daemon, [("127.0.0.1", one), ("127.0.0.1", two), path], signal.SIGTERM,
                        "draining")
            daemon.expect_exit(0)

    def test_long_sessions_end_by_themselves(self):
        port = free_port()
        self.write(f"127.0.0.1:{port}")
        with self.daemon(1) as old, Guest(("127.0.0.1", port)) as client:
            client.reply()
            # Each has a socket for each of its two workers.
            wait.until(lambda: listening(port) == 2, "the old process listens")
            with self.daemon(1):
                wait.until(lambda: listening(port) == 4, "both processes listen")
                old.terminate()
                # A client that connects while the old process closes its sockets may be reset.
                wait.until(lambda: listening(port) == 2, "the old process has let go")
                for _ in range(3):
                    send_mail(("127.0.0.1", port))
                    self.assertEqual(client.command(b"NOOP"), b"250 ok\r\n")
                self.assertIsNone(old.process.poll())
                self.assertTrue(client.command(b"QUIT").startswith(b"221 "))
                client.rest()
                client.close()
                old.expect_exit(0)

    def test_a_reload_is_done_when_the_new_ports_are_bound(self):
        """A bound port is not enough: of two processes that have bound one, the first to listen gets it."""
        one, two = free_port(), free_port()
        self.write(f"127.0.0.1:{one}")
        other = self.enterContext(socket.socket())
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", two))
        with self.daemon(1) as daemon:
            self.write([f"127.0.0.1:{one}", f"127.0.0.1:{two}"])
            with frozen_workers(daemon.process.pid):
                daemon.process.send_signal(signal.SIGHUP)
                daemon.lines(lambda f: f.get("msg") == "reloaded")
                with self.assertRaisesRegex(OSError, "Address already in use"):
                    other.listen()
            send_mail(("127.0.0.1", two))

    def test_a_removed_service_serves_connected_clients(self):
        one, two = free_port(), free_port()
        self.write([f"127.0.0.1:{one}", f"127.0.0.1:{two}"])
        with self.daemon(2) as daemon:
            self.write(f"127.0.0.1:{one}")
            self.queued(daemon, [("127.0.0.1", two)], signal.SIGHUP, "reloaded")
            with self.assertRaises(ConnectionRefusedError):
                wait.until(lambda: Guest(("127.0.0.1", two)).close(), "it listens no more")

    def test_another_program_keeps_its_socket(self):
        path = f"{self.folder}/other.sock"
        other = self.enterContext(socket.socket(socket.AF_UNIX))
        other.bind(path)
        other.listen()
        inode = os.stat(path).st_ino
        self.write(f"unix:{path}")
        result = run_to_end("--config", self.file)
        self.assertEqual(result.returncode, 69)
        self.assertIn("Address already in use", result.stderr)
        self.assertEqual(os.stat(path).st_ino, inode)

    def test_s12_a_start_that_fails_takes_nothing(self):
        """The failed start takes neither a path nor connections from the process that serves."""
        port, path = free_port(), f"{self.folder}/proxy.sock"
        self.write([f"127.0.0.1:{port}", f"unix:{path}"])
        with self.daemon(2), Load(("127.0.0.1", port), path) as load:
            inode = os.stat(path).st_ino
            taken = self.enterContext(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            for listen, endpoint in (([f"127.0.0.1:{taken}"], ""), ([], f"127.0.0.1:{taken}")) * 2:
                self.write([f"127.0.0.1:{port}", f"unix:{path}", *listen], endpoint)
                load.goes_on(5)
                result = run_to_end("--config", self.file)
                self.assertEqual((result.returncode, result.stderr.splitlines()[-1]), (
                    69, f"starttls-proxy: cannot listen on 127.0.0.1:{taken}: "
                        "bind: Address already in use"))
                # The serving process has all that it had: the path leads to its socket, and both
                # answer.
                self.assertEqual(os.stat(path).st_ino, inode)
                self.assertEqual(sorted(os.listdir(self.folder)), ["proxy.sock", "proxy.toml"])
                for address in (("127.0.0.1", port), path):
                    send_mail(address)
            load.goes_on(5)
        self.assertEqual(sorted(os.listdir(self.folder)), ["proxy.sock", "proxy.toml"])
        self.assert_nothing_was_lost(load)


if __name__ == "__main__":
    main.main()

"""Under a supervisor with systemd's protocols: sockets are inherited, and it is notified of changes."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import ssl
import tempfile
import time
import unittest

from support import admin, main, wait
from support.client import FIN, Client
from support.daemon import SANDBOX, Daemon, run_to_end, toml
from support.environment import pki
from support.fake_server import FakeServer, taker
from support.freeze import frozen_workers
from support.supervisor import Notified, passing


def listening(address, family=socket.AF_INET):
    sock = socket.socket(family)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen()
    return sock


class Supervised(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="starttls-systemd-")))
        self.server = self.enterContext(FakeServer(taker))
        self.file = self.folder / "proxy.toml"

    def service(self, name, listen, **keys):
        settings = {"name": name, "protocol": "smtp", "listen": listen,
                    "upstream__address": f"127.0.0.1:{self.server.port}", "upstream__tls": "none",
                    **keys}
        return ["[[service]]", *(f"{key.replace('__', '.')} = {toml(value)}"
                                 for key, value in settings.items())]

    def write(self, *services, **proxy):
        proxy = {"hostname": "proxy.test", "workers": 2, "sandbox": SANDBOX, **proxy}
        lines = ["[proxy]", *(f"{key} = {toml(value)}" for key, value in proxy.items()),
                 "[log]", 'level = "debug"', *sum(services, [])]
        self.file.write_text("\n".join(lines), encoding="utf-8")

    def start(self, sockets, listeners=None, **options):
        return self.enterContext(Daemon(
            arguments=["--config", self.file], listeners=listeners or len(sockets),
            **passing(sockets, **options)))

    def tcp(self, host="127.0.0.1", family=socket.AF_INET):
        return self.enterContext(listening((host, 0), family))

    def unix(self, name):
        return self.enterContext(listening(name, socket.AF_UNIX))

    def session(self, sock):
        """Runs a whole session over the address that `sock` listens on."""
        client = Client.__new__(Client)
        client.sock = socket.socket(sock.family)
        client._waiting = b""  # pylint: disable=protected-access
        with client:
            client.sock.settimeout(wait.DEADLINE)
            client.sock.connect(sock.getsockname())
            self.assertEqual(client.reply(), b"220 mail.test ESMTP\r\n")
            client.command(b"EHLO a.test")
            self.assertEqual(client.command(b"QUIT"), b"221 bye\r\n")
            self.assertEqual(client.rest(), (b"", FIN))

    def refused(self, sockets, status=78, **options):
        """Returns the error of a start that fails."""
        keywords = passing(sockets, **options)
        result = run_to_end("--config", self.file, wrapper=keywords["wrapper"],
                            **keywords["options"])
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr


class Sockets(Supervised):
    def test_tcp_and_unix_sockets_several_under_one_name(self):
        sockets = [("mail", self.tcp()), ("mail", self.unix(f"{self.folder}/a.sock")),
                   ("v6", self.tcp("::1", socket.AF_INET6)),
                   ("mail", self.unix(f"\0starttls-{os.getpid()}"))]
        self.write(self.service("one", ["systemd:mail", "127.0.0.1:0"]),
                   self.service("two", "systemd:v6"))
        daemon = self.start(sockets, 5)
        for _, sock in sockets * 3:
            self.session(sock)
        addresses = {line["address"]
                     for line in daemon.lines(lambda f: f.get("msg") == "listening", 5)}
        self.assertIn(f"127.0.0.1:{sockets[0][1].getsockname()[1]}", addresses)
        self.assertIn(f"unix:{self.folder}/a.sock", addresses)
        self.assertIn(f"unix:@starttls-{os.getpid()}", addresses)
        self.assertEqual(daemon.warnings(), [])

    def test_every_worker_serves(self):
        sock = self.tcp()
        self.write(self.service("one", "systemd:mail"))
        daemon = self.start([("mail", sock)])

        def both():
            self.session(sock)
            return len({line["session"].split(".")[1] for line in daemon.sessions()}) == 2

        wait.until(both, "sessions of two workers")

    def test_clients_of_both_families_are_known_by_their_own_address(self):
        sock = socket.socket(socket.AF_INET6)
        self.enterContext(sock)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        sock.listen()
        self.write(self.service("one", "systemd:mail", downstream__allow=["127.0.0.0/8"]))
        daemon = self.start([("mail", sock)])
        with Client(sock.getsockname()[1]) as client:
            self.assertTrue(client.reply().startswith(b"220 "))
        self.assertTrue(daemon.session()["client"].startswith("127.0.0.1:"))

    def test_without_names_they_are_unknown(self):
        sock = self.tcp()
        self.write(self.service("one", "systemd:unknown"))
        self.start([("", sock)], names=False)
        self.session(sock)

    def test_a_name_that_no_service_uses_is_warned_about(self):
        self.write(self.service("one", "systemd:mail"))
        daemon = self.start([("mail", self.tcp()), ("extra", self.tcp())], 1)
        [warning] = daemon.warnings(1)
        self.assertEqual(warning["name"], "extra")
        self.assertIn("used by no service", warning["msg"])

    def test_names_that_were_not_passed(self):
        self.write(self.service("one", ["systemd:mail", "systemd:imap"]),
                   self.service("two", "systemd:pop"))
        self.assertEqual(self.refused([("mail", self.tcp()), ("sieve", self.tcp())]),
                         "starttls-proxy: service one: no inherited socket has the name 'imap': "
                         "the supervisor has passed 'mail', 'sieve'\n"
                         "starttls-proxy: service two: no inherited socket has the name 'pop': "
                         "the supervisor has passed 'mail', 'sieve'\n")
        self.assertIn("no inherited socket has the name 'mail': the supervisor has passed none",
                      run_to_end("--config", self.file).stderr)

    def test_a_descriptor_that_is_not_a_listening_stream_socket(self):
        datagrams = self.enterContext(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        idle = self.enterContext(socket.socket())
        idle.bind(("127.0.0.1", 0))
        file = self.enterContext(open(self.folder / "file", "wb"))
        names = ("datagrams", "idle", "file")
        self.write(*(self.service(name, f"systemd:{name}") for name in names))
        text = self.refused(list(zip(names, (datagrams, idle, file))))
        for words in ("service datagrams: systemd:datagrams: descriptor 3 is neither a TCP nor",
                      "service idle: systemd:idle: descriptor 4 does not listen",
                      "service file: systemd:file: descriptor 5 is not a socket"):
            self.assertIn(words, text)

    def test_an_open_relay_is_seen_at_start(self):
        sock = self.tcp("0.0.0.0")
        self.write(self.service("one", "systemd:mail"))
        self.assertIn(f"service one: any client that reaches 0.0.0.0:{sock.getsockname()[1]} "
                      "(systemd:mail) could use this service", self.refused([("mail", sock)]))
        self.write(self.service("one", "systemd:mail", downstream__allow=["127.0.0.1"]))
        self.start([("mail", sock)])
        self.session(sock)

    def test_s1_and_s2_are_seen_at_start_under_tls_too(self):
        sock = self.tcp("0.0.0.0")
        chain, key = pki().pair()
        pair = f'{{ chain = "{chain}", key = "{key}" }}'
        where = f"any client that reaches 0.0.0.0:{sock.getsockname()[1]} (systemd:mail) could "

        def write(*more, protocol="smtp"):
            self.write([*self.service("one", "systemd:mail", protocol=protocol,
                                      upstream__tls="implicit", upstream__server_name="mail.test",
                                      downstream__tls="implicit"),
                        f"downstream.certificates = [{pair}]", *more])

        write()
        self.assertIn(where + "send mail", self.refused([("mail", sock)]))
        own = f"upstream.certificate = {pair}"
        write(own, protocol="imap")
        self.assertIn(where + "use our certificate", self.refused([("mail", sock)]))
        write(f"downstream.client_ca = {toml(pki().ca)}", own)
        self.start([("mail", sock)])

    def test_a_check_needs_no_sockets_and_reports_what_it_cannot_know(self):
        self.write(self.service("one", "systemd:mail"))
        result = run_to_end("--config", self.file, "--check")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, "listens on +systemd:mail .*checked at the start")

    def test_addresses_that_are_in_use(self):
        sock = self.tcp()
        port = sock.getsockname()[1]
        self.write(self.service("one", "systemd:mail", upstream__address=f"127.0.0.1:{port}"),
                   self.service("two", f"127.0.0.1:{port}"))
        text = self.refused([("mail", sock)])
        self.assertIn(f"127.0.0.1:{port} (systemd:mail) is where this service itself", text)
        self.assertIn(f"127.0.0.1:{port} (systemd:mail) is also an address of service two", text)
        for host in ("127.0.0.1", "0.0.0.0"):
            self.write(["[admin]", f'listen = "{host}:{port}"'], self.service("one", "systemd:mail"))
            self.assertIn(f"127.0.0.1:{port} (systemd:mail) conflicts with admin.listen",
                          self.refused([("mail", sock)]))

    def test_a_reload_keeps_them_also_while_no_service_does(self):
        one, two = self.tcp(), self.tcp()
        self.write(self.service("one", "systemd:one"), self.service("two", "systemd:two"))
        daemon = self.start([("one", one), ("two", two)])

        def hang_up(reloads):
            daemon.process.send_signal(signal.SIGHUP)
            line = daemon.lines(lambda f: f.get("msg") == "reloaded", reloads)[-1]
            return int(line["opened"]), int(line["closed"])

        self.write(self.service("one", "systemd:one"))
        self.assertEqual(hang_up(1), (0, 1))
        self.session(one)
        self.assertEqual(daemon.warnings(1)[0]["name"], "two")
        waiting = self.enterContext(Client(two.getsockname()[1]))  # the supervisor's: not refused
        self.write(self.service("one", "systemd:one"), self.service("two", "systemd:two"))
        self.assertEqual(hang_up(2), (1, 0))
        self.assertEqual(waiting.reply(), b"220 mail.test ESMTP\r\n")
        self.session(two)

        self.write(self.service("one", ["systemd:one", "systemd:three"]))
        daemon.process.send_signal(signal.SIGHUP)
        reason = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"))[0]["reason"]
        self.assertIn("has the name 'three': the supervisor has passed 'one', 'two'", reason)
        self.session(two)

    def test_a_socket_that_was_shut_down_costs_no_time(self):
        """Any process that shares the socket may do that. It may also listen again."""
        tcp, unix, other = self.tcp(), self.unix(f"{self.folder}/a.sock"), self.tcp()
        self.write(self.service("one", "systemd:mail"), self.service("two", "systemd:other"))
        daemon = self.start([("mail", tcp), ("mail", unix), ("other", other)])
        for sock in (tcp, unix, other):
            self.session(sock)
        for sock in (tcp, unix):
            sock.shutdown(socket.SHUT_RDWR)
        before = daemon.cpu_seconds()
        time.sleep(0.5)
        self.assertLess(daemon.cpu_seconds() - before, 0.2)
        self.session(other)
        tcp.listen()
        self.session(tcp)

    def test_the_configuration_cannot_read_the_variables(self):
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            self.write(self.service("one${" + name + "}", "systemd:mail"))
            self.assertIn(f"the environment has no variable '{name}'",
                          self.refused([("mail", self.tcp())]))

    def test_wrong_variables(self):
        self.write(self.service("one", "systemd:mail"))
        for count, names in (("2147483647", None), ("99999999999999999999", None), ("-1", None),
                             ("1", "mail:more"), ("2", "mail"), ("x", "mail")):
            with self.subTest(count=count, names=names):
                sock = self.tcp()
                keywords = passing([("mail", sock)])
                script = keywords["wrapper"][3].replace(
                    "LISTEN_FDS=str(at - 1)", f"LISTEN_FDS={count!r}")
                variables = {**keywords["options"]["env"], "LISTEN_FDNAMES": names or "mail"}
                result = run_to_end(
                    "--config", self.file, env=variables, pass_fds=keywords["options"]["pass_fds"],
                    wrapper=[*keywords["wrapper"][:3], script, *keywords["wrapper"][4:]])
                self.assertEqual(result.returncode, 78)
                self.assertRegex(result.stderr, "^starttls-proxy: the environment variable LISTEN_FD.*"
                                                "is not a valid value\n$")
        result = run_to_end("--config", self.file, env={
            **os.environ, "LISTEN_PID": "x", "LISTEN_FDS": "1"})
        self.assertEqual((result.returncode, result.stderr), (
            78, "starttls-proxy: the environment variable LISTEN_PID is 'x', which is not a valid value\n"))


class Notify(Supervised):
    def setUp(self):
        super().setUp()
        self.folder.chmod(0o755)
        self.notified = self.enterContext(Notified(f"{self.folder}/notify"))

    def supervise(self, *services, environment=None, **proxy):
        self.write(*(services or [self.service("one", "127.0.0.1:0")]), **proxy)
        return self.enterContext(Daemon(arguments=["--config", self.file], options={"env": {
            **os.environ, "NOTIFY_SOCKET": self.notified.address, **(environment or {})}}))

    def test_ready_reloading_stopping(self):
        daemon = self.supervise(drain_timeout="7s")
        self.notified.hears(lambda m: m == {"READY": "1", "STATUS": "0 sessions, 1 service"})
        with daemon.connect() as client:  # it serves when it has reported READY
            self.assertTrue(client.reply().startswith(b"220 "))
            self.write(self.service("one", "127.0.0.1:0"), self.service("two", "127.0.0.1:0"),
                       drain_timeout="7s")
            daemon.process.send_signal(signal.SIGHUP)
            [reloading] = self.notified.hears(lambda m: "RELOADING" in m)
            self.assertAlmostEqual(int(reloading["MONOTONIC_USEC"]) / 1e6, time.monotonic(), delta=30)
            self.notified.hears(lambda m: "READY" in m and "1 session, 2 services" in m["STATUS"])

            self.file.write_text("nonsense", encoding="utf-8")
            daemon.process.send_signal(signal.SIGHUP)
            self.notified.hears(lambda m: "READY" in m and
                                m["STATUS"].endswith("the last reload failed, see the log"))
            daemon.terminate()
            self.notified.hears(lambda m: m == {
                "STOPPING": "1", "EXTEND_TIMEOUT_USEC": "12000000",
                "STATUS": "stopping: 1 session may finish"})
            client.command(b"QUIT")
        daemon.expect_exit(0)
        self.assertEqual([[key for key in ("READY", "RELOADING", "STOPPING") if key in message][0]
                          for message in self.notified.messages() if len(message) > 1],
                         ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"])

    def test_the_number_of_sessions_is_reported_when_it_changes(self):
        daemon = self.supervise()
        self.notified.hears(lambda m: "READY" in m)  # the message has the number as well
        with daemon.connect() as client:
            client.reply()
            self.notified.hears(lambda m: m == {"STATUS": "1 session, 1 service"})

    def test_an_abstract_socket(self):
        self.notified = self.enterContext(Notified(f"@starttls-notify-{os.getpid()}"))
        self.supervise()
        self.notified.hears(lambda m: "READY" in m)

    @unittest.skipUnless(os.geteuid() == 0, "root alone becomes somebody else")
    def test_as_another_user_in_the_sandbox(self):
        daemon = self.supervise(user="nobody", environment={"WATCHDOG_USEC": "200000"})
        self.notified.hears(lambda m: "READY" in m)
        self.notified.hears(lambda m: m == {"WATCHDOG": "1"}, 3)
        daemon.terminate()
        self.notified.hears(lambda m: "STOPPING" in m)

    def test_it_is_not_alive_while_a_worker_hangs(self):
        daemon = self.supervise(environment={"WATCHDOG_USEC": "300000"})
        alive = {"WATCHDOG": "1"}.__eq__
        self.notified.hears(alive, 2)
        with frozen_workers(daemon.process.pid, 1):
            seen = [0, 0.0]

            # Waits for the end of the running round. A healthy process notifies every 150 ms.
            def silent():
                if len(self.notified.messages()) != seen[0]:
                    seen[:] = [len(self.notified.messages()), time.monotonic()]
                return time.monotonic() - seen[1] > 1

            wait.until(silent, self.notified.messages)
        self.notified.hears(alive, seen[0] + 2)

    def test_it_is_alive_while_some_workers_have_drained(self):
        daemon = self.supervise(environment={"WATCHDOG_USEC": "200000"})
        with daemon.connect() as client:
            client.reply()
            daemon.terminate()
            self.notified.hears(lambda m: "STOPPING" in m)
            self.notified.hears({"WATCHDOG": "1"}.__eq__, len(self.notified.messages()) + 4)
            client.command(b"QUIT")
        daemon.expect_exit(0)

    def test_a_supervisor_that_does_not_read_stops_no_session(self):
        deaf = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        deaf.bind(f"{self.folder}/deaf")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as crowd:
            crowd.connect(f"{self.folder}/deaf")
            crowd.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while True:
                    crowd.send(b"STATUS=nobody reads this")
        self.notified.address = f"{self.folder}/deaf"
        self.write(self.service("one", "127.0.0.1:0"))
        text = admin.configured(self.file.read_text(encoding="utf-8"))
        self.file.write_text(text, encoding="utf-8")
        daemon = self.enterContext(Daemon(arguments=["--config", self.file], options={"env": {
            **os.environ, "NOTIFY_SOCKET": self.notified.address, "WATCHDOG_USEC": "20000"}}))
        where = admin.address(daemon)
        admin.get(where, "/readyz")  # READY itself may wait
        begun = time.monotonic()
        for _ in range(40):
            self.assertEqual(admin.get(where, "/readyz").status, 200)
        # A loop that waited for the supervisor would wait for a second in each turn.
        self.assertLess(time.monotonic() - begun, 30)

    def test_a_watchdog_for_another_process_is_ignored(self):
        daemon = self.supervise(environment={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
        daemon.terminate()
        self.notified.hears(lambda m: "STOPPING" in m)
        self.assertNotIn({"WATCHDOG": "1"}, self.notified.messages())

    def test_a_missing_supervisor_is_warned_about(self):
        for address, reason in ((f"{self.folder}/nobody", "No such file or directory"),
                                ("vsock:2:1", "neither a path nor"), ("/" + "x" * 200, "too long")):
            self.notified.address = address
            [warning] = self.supervise().warnings(1)
            self.assertIn("gets no messages", warning["msg"])
            self.assertIn(reason, warning["reason"])


@unittest.skipUnless(os.geteuid() == 0, "root alone mounts secrets for others")
class Credentials(Supervised):
    """Files of root's that a group may read, as systemd and Kubernetes mount them."""

    def test_they_are_read_at_start_and_at_a_reload(self):
        entry = pwd.getpwnam("nobody")
        credentials = self.folder / "credentials"
        credentials.mkdir()
        for path in pki().pair():
            copy = credentials / pathlib.Path(path).name
            shutil.copy(path, copy)
            os.chown(copy, 0, entry.pw_gid)
            copy.chmod(0o440)
        (credentials / "name").write_text("office\n", encoding="utf-8")
        self.write(self.service("${file:credentials/name}", "127.0.0.1:0",
                                downstream__tls="implicit"))
        with open(self.file, "a", encoding="utf-8") as file:
            file.write('\ndownstream.certificates = [{ chain = "${CREDENTIALS_DIRECTORY}/server.pem", '
                       'key = "${CREDENTIALS_DIRECTORY}/server.key" }]\n')
        self.folder.chmod(0o755)
        variables = {**os.environ, "CREDENTIALS_DIRECTORY": str(credentials)}
        somebody = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        with Daemon(arguments=["--config", self.file], options={"env": variables},
                    wrapper=somebody) as daemon:
            self.assertEqual(daemon.lines(lambda f: f.get("msg") == "listening")[0]["service"],
                             "office")
            with daemon.connect() as client:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(pki().ca)
                client.start_tls(context, "mail.test")
                self.assertTrue(client.reply().startswith(b"220 "))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.lines(lambda f: f.get("msg") == "reloaded")
        (credentials / "server.key").chmod(0o444)
        result = run_to_end("--config", self.file, env=variables, wrapper=somebody)
        self.assertEqual(result.returncode, 78)
        self.assertIn("'${CREDENTIALS_DIRECTORY}/server.key': this secret is open to group or others "
                      "(mode 0444)", result.stderr)


if __name__ == "__main__":
    main.main()

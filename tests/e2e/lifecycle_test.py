"""Start, stop, exit status, and the lines that the log must and must not have."""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from support import children, main, wait
from support.client import FIN, Client
from support.daemon import Daemon, configuration, parse_line, run_to_end
from support.environment import PROXY, pki
from support.fake_server import FakeServer, Smtp, tls_context
from support.relay import commit

SOON = 15  # seconds: less than the 20 that daemons wait for sessions here


class CommandLine(unittest.TestCase):
    def test_no_arguments_are_a_usage_error(self):
        result = run_to_end()
        self.assertEqual(result.returncode, 64)
        self.assertIn("--config", result.stderr + result.stdout)

    def test_an_unknown_flag_is_a_usage_error(self):
        result = run_to_end("--nonsense")
        self.assertEqual(result.returncode, 64)
        self.assertIn("--nonsense", result.stderr)

    def test_a_file_and_a_service_at_once_are_a_usage_error(self):
        self.assertEqual(run_to_end("--config", "x", "--protocol", "smtp").returncode, 64)

    def test_a_configuration_that_cannot_be_read_or_is_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "proxy.toml"
            for text in (None, "nonsense", configuration(25, upstream={"ca_file": "/nowhere"})):
                if text is not None:
                    path.write_text(text, encoding="utf-8")
                for arguments in ((), ("--check",)):
                    result = run_to_end("--config", path, *arguments)
                    self.assertEqual((result.returncode, result.stdout), (78, ""))
                    self.assertIn(str(path), result.stderr)

    def test_an_address_that_cannot_be_bound(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            result = run_to_end("--protocol", "smtp", "--listen", where, "--upstream", "a.test:25")
        self.assertEqual(result.returncode, 69)
        self.assertIn(f"cannot listen on {where}", result.stderr)

    def test_all_addresses_that_cannot_be_bound_are_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
            both = [f"127.0.0.1:{each.getsockname()[1]}" for each in (taken, other)]
            result = run_to_end("--protocol", "smtp", "--listen", both[0], "--listen", "127.0.0.1:0",
                                "--listen", both[1], "--upstream", "a.test:25")
        self.assertEqual(result.returncode, 69)
        self.assertRegex(result.stderr, f"cannot listen on {both[0]}: [^;]*; cannot listen on {both[1]}: ")

    def test_version_names_the_libraries(self):
        result = run_to_end("--version")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r"(?s)starttls-proxy.*libuv.*(BoringSSL|AWS-LC)")

    def test_help(self):
        result = run_to_end("--help")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(run_to_end("help").stdout, result.stdout)
        self.assertEqual(run_to_end("-V").stdout, run_to_end("--version").stdout)
        self.assertIn("--upstream", result.stdout)

    def test_check_prints_the_policy_and_listens_nowhere(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "proxy.toml"
            path.write_text(configuration(25), encoding="utf-8")
            result = run_to_end("--config", path, "--check")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"(?s)office.*starttls")
        warned = result.stdout.count("  WARNING  ")
        self.assertEqual(result.stdout.splitlines()[-1], "ok: 1 service" + (
            f", {warned} warning{'' if warned == 1 else 's'}" if warned else ""))

    def test_check_prints_the_same_for_programs(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "proxy.toml"
            path.write_text(configuration(25), encoding="utf-8")
            result = run_to_end("--config", path, "--check", "--json")
            text = run_to_end("--config", path, "--check").stdout
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        report = json.loads(result.stdout)
        self.assertEqual((report["ok"], report["errors"], report["certificates"]), (True, [], []))
        [service] = report["services"]
        self.assertEqual((service["name"], service["upstream"]["tls"]), ("office", "starttls"))
        self.assertEqual(service["upstream"]["verified_names"], ["mail.test"])
        self.assertEqual(len(report["warnings"]), text.count("  WARNING  "))
        for warning in report["warnings"]:
            self.assertIn(warning["message"], text)

    def test_a_reader_that_has_seen_enough_is_no_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run([PROXY, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True,
                                timeout=wait.DEADLINE, check=False)
        os.close(writer)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_lost_output_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder, open("/dev/full", "wb") as full:
            path = pathlib.Path(folder) / "proxy.toml"
            path.write_text(configuration(25), encoding="utf-8")
            stunnel = pathlib.Path(folder) / "stunnel.conf"
            stunnel.write_text("[smtp]\nclient = yes\naccept = 127.0.0.1:2525\n"
                               "connect = mail.test:465\n", encoding="utf-8")
            for arguments in (["--help"], ["--version"], ["--config", path, "--check"],
                              ["--config", path, "--check", "--json"],
                              ["convert", stunnel]):
                with self.subTest(arguments):
                    result = subprocess.run([PROXY, *arguments], stdout=full, text=True,
                                            stderr=subprocess.PIPE, timeout=wait.DEADLINE, check=False)
                    self.assertEqual(result.returncode, 74, result.stderr)
                    self.assertIn("the output cannot be written: No space left on device", result.stderr)
                    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", PROXY, *arguments], text=True,
                                            stderr=subprocess.PIPE, timeout=wait.DEADLINE, check=False)
                    self.assertEqual(closed.returncode, 74, closed.stderr)
                    shown = subprocess.run([PROXY, *arguments], capture_output=True, timeout=wait.DEADLINE,
                                           check=False)
                    self.assertEqual(shown.returncode, 0, shown.stderr)



class WhatIsWrong(unittest.TestCase):
    """The daemon reports all faults at once, each with its place and its key."""

    SERVICE = ["[[service]]", 'name = "one"', 'protocol = "smtp"', 'listen = "127.0.0.1:0"']

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / "proxy.toml"
        for name in ("server", "server-rsa"):
            for path in pki().pair(name):
                shutil.copy(path, self.folder)
        shutil.copy(pki().ca, self.folder)
        (self.folder / "junk").write_text("nothing\n", encoding="ascii")
        (self.folder / "junk").chmod(0o600)
        shutil.copy(self.folder / "server.key", self.folder / "open.key")
        (self.folder / "open.key").chmod(0o644)

    def told(self, lines):
        """Returns the findings about a file, without its name; --check and a start report the same."""
        self.file.write_text("\n".join(lines) + "\n", encoding="ascii")
        found = []
        for arguments in (["--check"], []):
            result = run_to_end("--config", self.file, *arguments)
            self.assertEqual((result.returncode, result.stdout), (78, ""), result.stderr)
            found.append([line.removeprefix(f"starttls-proxy: {self.file}:")
                          for line in result.stderr.splitlines()])
        count = len(found[1])
        self.assertEqual(found[0], found[1] + [
            f"starttls-proxy: {count} error{'' if count == 1 else 's'}"])
        self.assertEqual(self.told_as_json(), found[1])
        return found[1]

    def told_as_json(self):
        """Returns the errors of `--check --json` as a start prints them."""
        result = run_to_end("--config", self.file, "--check", "--json")
        self.assertEqual((result.returncode, result.stderr), (78, ""))
        report = json.loads(result.stdout)
        self.assertEqual((report["ok"], report["services"]), (False, []))
        lines = []
        for error in report["errors"]:
            self.assertEqual(error["file"], str(self.file))
            key = f"{error['key']}: " if error["key"] else ""
            lines.append(f"{error['line']}:{error['column']}: {key}{error['message']}")
        return lines

    def at(self, name):
        return self.folder / name

    def test_certificates_and_keys_are_reported_with_the_rest(self):
        rows = ['  { chain = "server.pem", key = "server-rsa.key" },',
                '  { chain = "junk", key = "open.key" },',
                '  { chain = "server-rsa.pem", key = "server-rsa.key" }]']
        lines = self.SERVICE + ['upstream.address = "a.test:25"', "downstream.certificates = ["] + \
            rows + ['downstream.tls = "implicit"', 'downstream.client_ca = "junk"',
                    'downstream.ticket_keys = "junk"', 'upstream.ca_file = "junk"',
                    'upstream.certificate = { chain = "server.pem", key = "open.key" }']
        others = self.SERVICE[:1] + ['name = "two"'] + self.SERVICE[2:] + [
            'upstream = { address = "a.test:25", ca_file = "server.key" }']
        down, up = "service.downstream", "service.upstream"
        of_files = [
            f"7:33: {down}.certificates.key: {self.at('server-rsa.key')}: the key does not belong "
            f"to the first certificate of {self.at('server.pem')}",
            f"8:13: {down}.certificates.chain: {self.at('junk')}: holds no certificate",
            f"8:27: {down}.certificates.key: {self.at('open.key')}: this secret is open to group "
            "or others (mode 0644): set 0600, or 0640 with owner root and a group of this process",
            f"11:24: {down}.client_ca: {self.at('junk')}: holds no certificate",
            f"12:26: {down}.ticket_keys: {self.at('junk')}: line 1 is not base64 of 48 bytes",
            f"13:20: {up}.ca_file: {self.at('junk')}: holds no certificate",
            f"14:54: {up}.certificate.key: {self.at('open.key')}: this secret is open to group "
            "or others (mode 0644): set 0600, or 0640 with owner root and a group of this process",
            f"19:47: {up}.ca_file: {self.at('server.key')}: holds no certificate"]
        self.assertEqual(self.told(lines + others), of_files)

        # After, between and before these are findings of other kinds.
        unknown = "unknown key"
        found = self.told(lines + ["nonsense = 1"] + others + [
            "[proxy]", 'user = "no-such-user"', "[log]", 'file = "nowhere/x.log"', 'level = "x"'])
        self.assertEqual(found[:7], of_files[:7])
        self.assertTrue(found[7].startswith(f"15:1: {unknown} 'service.nonsense'"), found[7])
        self.assertEqual(found[8:], [
            of_files[7].replace("19:", "20:"),
            "22:8: proxy.user: 'no-such-user': there is no such user",
            f"24:8: log.file: {self.at('nowhere/x.log')}: No such file or directory",
            "25:9: log.level: must be one of error, warn, info, debug, not 'x'"])
        # If the CA file is missing, the system's trust store is not used instead.
        self.assertEqual(
            self.told(self.SERVICE + ['upstream.address = "a.test:25"',
                                      'upstream.ca_file = "none"']),
            [f"6:20: {up}.ca_file: '{self.at('none')}': No such file or directory"])

    def test_a_command_line_names_its_flags(self):
        result = run_to_end(
            "--protocol", "smtp", "--listen", "127.0.0.1:0", "--upstream", "a.test:25", "--check",
            "--downstream-tls", "implicit", "--key", self.at("server-rsa.key"), "--ca-file",
            self.at("junk"), "--chain", self.at("server.pem"), "--log-file", self.folder,
            "--user", "no-such-user")
        self.assertEqual(result.returncode, 78)
        self.assertEqual(sorted(result.stderr.splitlines()), [f"starttls-proxy: {text}" for text in (
            f"--ca-file: {self.at('junk')}: holds no certificate",
            f"--key: {self.at('server-rsa.key')}: the key does not belong to the first certificate "
            f"of {self.at('server.pem')}",
            f"--log-file: {self.folder}: Is a directory",
            "--user: 'no-such-user': there is no such user", "4 errors")])

    def test_values_from_a_file_or_the_environment_are_not_shown(self):
        self.at("secret").write_text("c4Nary", encoding="ascii")
        self.at("x").mkdir(mode=0o700)
        rest = ['upstream = { address = "a.test:25", ca_file = "ca.pem" }',
                'downstream.tls = "implicit"',
                'downstream.certificates = [{ chain = "server.pem", key = "server.key" }]']
        found = self.told(["[proxy]", 'user = "${file:secret}"', "[log]",
                           'file = "none/${file:secret}"', *self.SERVICE, *rest,
                           'downstream.ticket_keys = "${file:secret}"'])
        self.assertEqual(found, [
            "2:8: proxy.user: '${file:secret}': there is no such user",
            "4:8: log.file: 'none/${file:secret}': No such file or directory",
            "12:26: service.downstream.ticket_keys: '${file:secret}': No such file or directory"])

    def test_a_log_that_cannot_be_written(self):
        service = self.SERVICE + ['upstream = { address = "a.test:25", ca_file = "ca.pem" }']
        logs = self.at("logs")
        logs.mkdir()
        logs.joinpath("full").symlink_to("/dev/full")
        for file, why in (("none/x.log", "No such file or directory"), ("logs", "Is a directory"),
                          ("junk/x.log", "Not a directory"), ("logs/", "Is a directory")):
            with self.subTest(file):
                shown = os.path.normpath(self.at(file)) + ("/" if file.endswith("/") else "")
                self.assertEqual(self.told(["[log]", f'file = "{file}"', *service]),
                                 [f"2:8: log.file: {shown}: {why}"])
        # A check does not create a log file that could be created.
        for file in ("logs/x.log", "logs/full", "/dev/stderr"):
            with self.subTest(file):
                self.file.write_text("\n".join(["[log]", f'file = "{file}"', *service]),
                                     encoding="ascii")
                result = run_to_end("--config", self.file, "--check")
                self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual([path.name for path in logs.iterdir()], ["full"])

    def test_a_log_that_only_fails_when_it_is_opened(self):
        """The log is a pipe without a reader."""
        self.at("secret").write_text("c4Nary", encoding="ascii")
        os.mkfifo(self.at("c4Nary"))
        self.file.write_text("\n".join(["[log]", 'file = "${file:secret}"', *self.SERVICE,
                                        'upstream = { address = "a:25", ca_file = "ca.pem" }']),
                             encoding="ascii")
        result = run_to_end("--config", self.file)
        self.assertEqual(result.returncode, 78)
        self.assertEqual(result.stderr, f"starttls-proxy: {self.file}:2:8: log.file: "
                                        "'${file:secret}': No such device or address\n")

    def test_a_reload_reports_the_places_and_no_secret(self):
        service = self.SERVICE + ['upstream = { address = "a.test:25", ca_file = "ca.pem" }']
        self.at("secret").write_text("c4Nary", encoding="ascii")
        os.mkfifo(self.at("c4Nary"))
        self.file.write_text("\n".join(service), encoding="ascii")
        with Daemon(arguments=["--config", self.file]) as daemon:
            for count, (lines, reason) in enumerate((
                    (["[log]", 'file = "none/x.log"', *service],
                     f"2:8: log.file: {self.at('none/x.log')}: No such file or directory"),
                    # That pipe has no reader, and it is not in the sandbox either.
                    (["[log]", 'file = "${file:secret}"', *service],
                     "2:8: log.file: '${file:secret}': "),
                    (service + ['downstream.client_ca = "x${file:secret}"'],
                     "6:24: service.downstream.client_ca: 'x${file:secret}': No such file or "
                     "directory"),
                    (service[:-1] + ['upstream = { address = "a.test:25", ca_file = "junk" }'],
                     f"5:47: service.upstream.ca_file: {self.at('junk')}: holds no certificate")),
                    1):
                self.file.write_text("\n".join(lines), encoding="ascii")
                daemon.process.send_signal(signal.SIGHUP)
                found = daemon.lines(lambda f: f.get("msg", "").startswith("not reloaded"), count)
                self.assertTrue(found[-1]["reason"].startswith(f"{self.file}:{reason}"), found[-1])
            self.assertNotIn("c4Nary", daemon.text())


class ClosedDescriptors(unittest.TestCase):
    """Starts with closed standard descriptors, as programs other than people's shells do."""

    def test_no_socket_takes_their_place(self):
        with FakeServer(Smtp()) as server, tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "proxy.toml"
            log = pathlib.Path(folder) / "log"
            path.write_text(configuration(server.port, log={"file": str(log)}), encoding="utf-8")
            process = children.start(
                ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', PROXY, "--config", path])
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            wait.until(lambda: log.exists() and "msg=ready" in log.read_text(encoding="utf-8"), "ready")
            self.assertEqual([os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)],
                             ["/dev/null"] * 3)
            [port] = re.findall(r"msg=listening .*address=127\.0\.0\.1:(\d+)",
                                log.read_text(encoding="utf-8"))
            with Client(int(port)) as client:
                commit(client)
                client.command(b"QUIT")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(wait.DEADLINE), 0)


class Stopping(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(FakeServer(Smtp()))

    def refuses_connections(self, port):
        try:
            with Client(port, deadline=1) as client:
                return client.line().startswith(b"421 4.3.2 ")
        except ConnectionError:
            return True
        except TimeoutError:  # it may be served later
            return False

    def test_a_running_session_finishes_and_no_new_one_begins(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number), Daemon(configuration(self.server.port)) as daemon:
                with daemon.connect() as client:
                    commit(client)
                    daemon.process.send_signal(number)
                    wait.until(lambda port=daemon.port: self.refuses_connections(port),
                               "new connections are refused")
                    self.assertIsNone(daemon.process.poll())
                    self.assertTrue(client.command(b"RCPT TO:<b@mail.test>").startswith(b"250"))
                    self.assertTrue(client.command(b"QUIT").startswith(b"221"))
                    self.assertEqual(client.rest(), (b"", FIN))
                daemon.expect_exit(0)

    def test_a_second_signal_ends_the_process_at_once(self):
        with Daemon(configuration(self.server.port)) as daemon, daemon.connect() as client:
            commit(client)
            daemon.terminate()
            daemon.lines(lambda fields: fields.get("msg") == "draining")
            daemon.terminate()
            daemon.expect_exit(0, deadline=SOON)
            # A worker may write a line after it. The sessions have no line of their own.
            self.assertIn("stopped at once", [parse_line(line).get("msg")
                                              for line in daemon.text().splitlines()])
            self.assertNotIn("outcome=", daemon.text())

    def test_a_session_that_does_not_finish_is_ended_after_the_drain_timeout(self):
        text = configuration(self.server.port, proxy={"drain_timeout": "500ms"})
        with Daemon(text) as daemon, daemon.connect() as client:
            commit(client)
            daemon.terminate()
            self.assertEqual(client.rest()[0], b"")
            daemon.expect_exit(0)
            self.assertEqual(daemon.session()["outcome"], "draining")

    def test_a_client_that_is_connecting_is_waited_for(self):
        """An idle daemon may still get sessions until its last listener has ended."""
        with tempfile.TemporaryDirectory() as folder:
            first = configuration(self.server.port, proxy={"workers": 1, "sandbox": False})
            service = first.partition("[[service]]")[2]
            text = first.replace('"127.0.0.1:0"', f'"unix:{folder}/a.sock"') + "\n[[service]]" \
                + service.replace('"office"', '"second"')
            with Daemon(text, listeners=2) as daemon:
                start = time.monotonic()
                daemon.terminate()
                daemon.expect_exit(0, deadline=SOON)
                took = time.monotonic() - start
                if "may be reset" not in daemon.text():  # unless the kernel refuses to wait
                    self.assertGreater(took, 0.045)

    def test_a_kernel_that_refuses_the_filter_is_logged_once(self):
        text = configuration(self.server.port)
        service = text.partition("[[service]]")[2]
        text += "\n[[service]]" + service.replace('"office"', '"second"')
        with Daemon(text, listeners=2) as daemon:
            daemon.terminate()
            daemon.expect_exit(0)
            # The kernel refuses it to some users and in some containers only.
            found = [line for line in daemon.text().splitlines() if "may be reset" in line]
            self.assertLessEqual(len(found), 1)
            for line in found:
                self.assertEqual(parse_line(line)["level"], "debug")

    def test_an_idle_daemon_stops_at_once(self):
        with Daemon(configuration(self.server.port)) as daemon:
            daemon.terminate()
            daemon.expect_exit(0, deadline=SOON)


if __name__ == "__main__":
    main.main()

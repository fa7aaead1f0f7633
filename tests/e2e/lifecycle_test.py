"""Start, stop, exit status, and what the log may and may not say."""

import base64
import pathlib
import signal
import socket
import tempfile
import time
import unittest

from support import main, wait
from support.client import FIN, Client
from support.daemon import Daemon, configuration, parse_line, run_to_end
from support.fake_server import FakeServer, Smtp, tls_context
from support.relay import commit


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

    def test_an_address_that_cannot_be_had(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            result = run_to_end("--protocol", "smtp", "--listen", where, "--upstream", "a.test:25")
        self.assertEqual(result.returncode, 69)
        self.assertIn(f"cannot listen on {where}", result.stderr)

    def test_version_names_the_libraries(self):
        result = run_to_end("--version")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r"(?s)starttls-proxy.*libuv.*BoringSSL")

    def test_help(self):
        result = run_to_end("--help")
        self.assertEqual(result.returncode, 0)
        self.assertIn("--upstream", result.stdout)

    def test_check_prints_the_policy_and_listens_nowhere(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "proxy.toml"
            path.write_text(configuration(25), encoding="utf-8")
            result = run_to_end("--config", path, "--check")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"(?s)office.*starttls")


class Stopping(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(FakeServer(Smtp()))

    def refuses_connections(self, port):
        try:
            with Client(port, deadline=1) as client:
                return client.line().startswith(b"421 4.3.2 ")
        except OSError:
            return True

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

    def test_a_second_signal_ends_it_at_once(self):
        with Daemon(configuration(self.server.port)) as daemon, daemon.connect() as client:
            commit(client)
            daemon.terminate()
            wait.until(lambda: self.refuses_connections(daemon.port), "draining")
            daemon.terminate()
            daemon.expect_exit(0, deadline=5)
            # Its sessions have no line of their own.
            self.assertEqual(parse_line(daemon.text().splitlines()[-1])["msg"], "stopped at once")

    def test_a_session_that_does_not_finish_is_ended_after_the_drain_timeout(self):
        text = configuration(self.server.port, proxy={"drain_timeout": "500ms"})
        with Daemon(text) as daemon, daemon.connect() as client:
            commit(client)
            daemon.terminate()
            self.assertEqual(client.rest()[0], b"")
            daemon.expect_exit(0)
            self.assertEqual(daemon.session()["outcome"], "draining")

    def test_who_is_coming_in_is_waited_for_whatever_else_has_ended(self):
        """An idle daemon has sessions still to come until its last listener has ended."""
        with tempfile.TemporaryDirectory() as folder:
            first = configuration(self.server.port, proxy={"workers": 1, "sandbox": False})
            service = first.partition("[[service]]")[2]
            text = first.replace('"127.0.0.1:0"', f'"unix:{folder}/a.sock"') + "\n[[service]]" \
                + service.replace('"office"', '"second"')
            with Daemon(text, listeners=2) as daemon:
                start = time.monotonic()
                daemon.terminate()
                daemon.expect_exit(0, deadline=5)
                took = time.monotonic() - start
                if "may be reset" not in daemon.text():  # where the kernel refuses to wait
                    self.assertGreater(took, 0.045)

    def test_an_idle_daemon_stops_at_once(self):
        with Daemon(configuration(self.server.port)) as daemon:
            daemon.terminate()
            daemon.expect_exit(0, deadline=5)


if __name__ == "__main__":
    main.main()

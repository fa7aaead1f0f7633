"""Start, stop, exit status, and what the log may and may not say."""

import base64
import pathlib
import signal
import tempfile
import unittest

from support import main, wait
from support.client import FIN, Client
from support.daemon import Daemon, configuration, run_to_end
from support.fake_server import FakeServer, Smtp, tls_context
from support.relay import commit

SESSION_KEYS = set("""
    session service client server downstream_tls downstream_cipher downstream_resumed upstream_tls
    upstream_cipher upstream_resumed upstream_verify bytes_to_server bytes_to_client connect_ms
    prelude_ms total_ms outcome reason""".split())


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

    def test_a_session_that_does_not_finish_is_ended_after_the_drain_timeout(self):
        text = configuration(self.server.port, proxy={"drain_timeout": "500ms"})
        with Daemon(text) as daemon, daemon.connect() as client:
            commit(client)
            daemon.terminate()
            self.assertEqual(client.rest()[0], b"")
            daemon.expect_exit(0)
            self.assertEqual(daemon.session()["outcome"], "draining")

    def test_an_idle_daemon_stops_at_once(self):
        with Daemon(configuration(self.server.port)) as daemon:
            daemon.terminate()
            daemon.expect_exit(0, deadline=5)


class Logging(unittest.TestCase):
    SECRET = "canary-s3cret"

    def test_credentials_and_mail_are_never_logged(self):
        encoded = base64.b64encode(b"\0user\0" + self.SECRET.encode())
        said = [
            # Well-formed, before and after the relay starts.
            b"EHLO a.test\r\nAUTH PLAIN " + encoded + b"\r\nMAIL FROM:<" + self.SECRET.encode()
            + b"@a.test>\r\nDATA\r\n" + self.SECRET.encode() + b"\r\n.\r\nQUIT\r\n",
            b"EHLO a.test\r\nAUTH LOGIN\r\n" + encoded + b"\r\n" + encoded + b"\r\nQUIT\r\n",
            # Malformed: an offending line is no reason to print it.
            b"AUTH PLAIN " + encoded + b"\0\r\n",
            b"AUTH\r PLAIN " + encoded + b"\r\n",
            b"PASS " + self.SECRET.encode() + b"\r\nQUIT\r\n",
            self.SECRET.encode() * 1000,
        ]
        for script in (Smtp(), Smtp(context=tls_context("expired"))):
            with FakeServer(script) as server, Daemon(configuration(server.port)) as daemon:
                for octets in said:
                    with daemon.connect() as client:
                        client.send(octets)
                        client.finish()
                        client.rest()
                daemon.sessions(len(said))
                log = daemon.text()
            self.assertIn("level=debug", log)
            self.assertNotIn(self.SECRET, log)
            self.assertNotIn(encoded.decode()[:12], log)

    def test_the_session_line_as_json(self):
        with FakeServer(Smtp()) as server:
            with Daemon(configuration(server.port, log={"format": "json"})) as daemon:
                with daemon.connect() as client:
                    client.reply()
                    client.command(b"QUIT")
                    client.rest()
                line = daemon.session()
        self.assertEqual(SESSION_KEYS - set(line), set())
        self.assertEqual(line["service"], "office")
        self.assertEqual(line["upstream_tls"], "TLSv1.3")
        self.assertIs(line["upstream_resumed"], False)
        self.assertIsInstance(line["bytes_to_server"], int)

    def test_the_session_line_as_text_has_the_same_keys(self):
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.reply()
                client.command(b"QUIT")
                client.rest()
            self.assertEqual(SESSION_KEYS - set(daemon.session()), set())

    def test_what_a_server_says_cannot_forge_a_log_line(self):
        script = Smtp(greeting=b'554 no" outcome=ok reason="\x1b[2J\xff\r\n')
        with FakeServer(script) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.rest()
            self.assertEqual(daemon.session()["outcome"], "greeting_refused")
            self.assertNotIn("\x1b", daemon.text())


if __name__ == "__main__":
    main.main()

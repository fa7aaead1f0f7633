"""The lines of the log, the words it must never have, and a log reader that blocks no session."""

import base64
import contextlib
import os
import pathlib
import re
import resource
import signal
import ssl
import subprocess
import tempfile
import threading
import unittest

from matrix_test import serve
from support import admin, canary, children, main, wait
from support.client import Client, free_port
from support.daemon import MAY_BE_EMPTY, Daemon, configuration, parse_line, toml
from support.dialects import PROTOCOLS, greeted
from support.environment import PROXY, pki
from support.fake_server import FakeServer, Gone, Lmtp, Smtp, tls_context
from support.gateway import Gateway

SESSION_KEYS = set("""
    session service client server downstream_tls downstream_cipher downstream_group
    downstream_resumed sni client_certificate upstream_tls upstream_cipher upstream_group
    upstream_resumed upstream_verify bytes_to_server bytes_to_client connect_ms prelude_ms total_ms
    login login_mechanism last_reply outcome reason note""".split())

WORD = canary.PASSWORD.encode()
PLAIN = canary.plain("user")

# Lines of legacy clients with a password in them, and the mistakes that they make.
LOGINS = {
    "smtp": (b"AUTH PLAIN " + PLAIN, b"AUTH LOGIN\r\n" + base64.b64encode(WORD),
             b"AUTH LOGIN " + base64.b64encode(WORD)),
    "lmtp": (b"AUTH PLAIN " + PLAIN,),
    "imap": (b"l1 LOGIN user " + WORD, b'l2 LOGIN "user" "' + WORD + b'"',
             b"l3 LOGIN user {%d+}\r\n" % len(WORD) + WORD, b"l4 AUTHENTICATE PLAIN " + PLAIN,
             b"LOGIN user " + WORD),
    "pop3": (b"USER user\r\nPASS " + WORD, b"AUTH PLAIN " + PLAIN, b"APOP user " + WORD),
    "sieve": (b'AUTHENTICATE "PLAIN" "' + PLAIN + b'"',
              b'AUTHENTICATE "PLAIN" {%d+}\r\n' % len(PLAIN) + PLAIN),
    "nntp": (b"AUTHINFO USER user\r\nAUTHINFO PASS " + WORD, b"AUTHINFO SASL PLAIN " + PLAIN),
}
ANYWHERE = (WORD, PLAIN, b"PASS " + WORD, b"HELP " + WORD)


def damaged(line):
    """Yields the line, damaged in every way."""
    yield line + b"\0\r\n"
    yield line.replace(b" ", b"\r ", 1) + b"\r\n"
    yield line.replace(b"\r\n", b"\n") + b"\n"
    yield line + b"x" * 9000 + b"\r\n"
    yield line  # the connection ends after it


def patient(dialect):
    """Returns the dialect's server, which ignores commands that it does not know."""
    script = serve(dialect, False)

    def leave_quietly(connection):
        try:
            script(connection)
        except AssertionError as error:
            raise Gone from error

    return leave_quietly


def echo_server(connection):
    """Greets, then answers with the client's own words, against the protocol."""
    connection.send(b"220 mail.test ESMTP\r\n")
    while True:
        line = connection.line().rstrip(b"\r\n")
        if line.upper().startswith((b"EHLO", b"HELO")):
            connection.send(b"250 mail.test\r\n")
        else:
            connection.send(b"500 what do you mean by " + line + b"\0\r\n")


def certificates():
    chain, key = pki().pair()
    return f"\ndownstream.certificates = [{{ chain = {toml(chain)}, key = {toml(key)} }}]\n"


@contextlib.contextmanager
def logging_to_a_file():
    """Starts a daemon and waits until it is ready. Yields the process, its log, its port."""
    with tempfile.TemporaryDirectory() as folder, FakeServer(Smtp()) as server:
        log = pathlib.Path(folder) / "proxy.log"
        log.touch()
        with Started(configuration(server.port, log={"file": str(log), "level": "info"})) as started:
            wait.until(lambda: b"msg=ready" in log.read_bytes(), "not ready")
            yield started.process, log, started.port_from(log.read_bytes().splitlines())


def greeting_and_quit(port):
    with Client(port) as client:
        client.reply()
        return client.command(b"QUIT")


class Started:
    """A daemon without a reader of its output."""

    def __init__(self, text):
        self._text = text

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="starttls-log-")
        path = pathlib.Path(self._folder.name) / "proxy.toml"
        path.write_text(self._text, encoding="utf-8")
        self.process = children.start([PROXY, "--config", path], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(wait.DEADLINE)
        self.process.stderr.close()
        self._folder.cleanup()

    @staticmethod
    def port_from(lines):
        """Returns the port of the only listener, once the daemon is ready."""
        for line in map(parse_line, (line.decode() for line in lines)):
            if line["msg"] == "listening":
                port = int(line["address"].rpartition(":")[2])
            if line["msg"] == "ready":
                return port
        raise AssertionError("not ready")


class Journal(unittest.TestCase):
    """The log in systemd's journal: a file takes its place, and the variable names it."""

    def run_once(self, **log):
        """Returns the lines that a daemon writes to the journal from start to end."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        config = folder / "proxy.toml"
        with FakeServer(Smtp()) as server, open(folder / "journal", "wb") as journal:
            config.write_text(configuration(server.port, log={"level": "debug", **log}),
                              encoding="utf-8")
            status = os.fstat(journal.fileno())
            process = children.start(
                [PROXY, "--config", config], stdout=subprocess.DEVNULL, stderr=journal,
                env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)

            def lines():
                return (folder / "journal").read_text(encoding="utf-8").splitlines()

            wait.until(lambda: any("ready" in line for line in lines()), "ready")
            config.write_text("wrong", encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            wait.until(lambda: any("not reloaded" in line for line in lines()), "refused")
            process.terminate()
            self.assertEqual(process.wait(wait.DEADLINE), 0)
        return lines()

    def test_text_has_priorities_and_no_time(self):
        priorities = {"error": 3, "warn": 4, "info": 6, "debug": 7}
        seen = set()
        for line in self.run_once():
            level = parse_line(line)["level"]
            self.assertTrue(line.startswith(f"<{priorities[level]}>level={level} msg="), line)
            seen.add(level)
        self.assertLessEqual({"error", "info"}, seen)

    def test_json_stays_as_it_is(self):
        for line in self.run_once(format="json"):
            self.assertIn("time", parse_line(line))

    def test_a_file_of_its_own_gets_times(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "log"
            config = pathlib.Path(folder) / "proxy.toml"
            config.write_text(configuration(1, log={"file": str(file)}), encoding="utf-8")
            status = os.fstat(2)
            process = children.start(
                [PROXY, "--config", config],
                env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            wait.until(lambda: file.exists() and "msg=ready" in file.read_text(encoding="utf-8"),
                       "ready")
            process.terminate()
            self.assertEqual(process.wait(wait.DEADLINE), 0)
            for line in file.read_text(encoding="utf-8").splitlines():
                self.assertRegex(line, r"^\d{4}-\d\d-\d\dT[\d:.]+Z level=")

    def test_a_mistake_at_the_start_is_an_error(self):
        with tempfile.TemporaryFile("w+") as journal:
            status = os.fstat(journal.fileno())
            result = subprocess.run(
                [PROXY, "--config", "/nonexistent"], stderr=journal,
                env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
            journal.seek(0)
            lines = journal.read().splitlines()
        self.assertEqual(result.returncode, 78)
        self.assertTrue(lines)
        for line in lines:
            self.assertTrue(line.startswith("<3>starttls-proxy: "), line)


class Listening(unittest.TestCase):
    def test_the_line_names_the_server_and_the_modes(self):
        text = configuration(1, upstream={"tls": "implicit"}, downstream={"tls": "opportunistic"},
                             address=["mail.test:465", "[::1]:466"]) + certificates()
        with Daemon(text) as daemon:
            [line] = daemon.lines(lambda fields: fields.get("msg") == "listening")
        self.assertEqual({key: line[key] for key in ("downstream_mode", "server", "upstream_mode")},
                         {"downstream_mode": "opportunistic", "server": "mail.test:465, [::1]:466",
                          "upstream_mode": "implicit"})
        self.assertEqual(line["address"], f"127.0.0.1:{daemon.port}")


class Secrets(unittest.TestCase):
    """Each daemon's log is searched when it has stopped: see support.canary."""

    def exchange(self, gateway, name, data, prepare=None):
        with gateway.connect(name) as client:
            if prepare is not None:
                prepare(client)
            client.send(data)
            client.finish()
            client.rest()
            gateway.session(client)

    def test_the_search_finds_every_form(self):
        for text in (f"a {canary.PASSWORD} b", f"x{PLAIN.decode()}", WORD.hex(),
                     base64.b64encode(b"user " + WORD + b" more").decode(),
                     base64.b64encode(b"a" + WORD).decode(), base64.b64encode(WORD).decode()):
            with self.subTest(text=text), self.assertRaises(AssertionError):
                canary.check("an innocent line\n" + text)
        canary.check("level=info c4nary passw0rd YzRuYXJ5")

    def test_of_clients_in_every_mode_well_formed_or_not(self):
        for protocol, dialect in PROTOCOLS.items():
            with FakeServer(patient(dialect)) as server:
                services = {mode: {"protocol": protocol, "downstream.tls": mode,
                                   "upstream.address": f"127.0.0.1:{server.port}"}
                            for mode in ("none", "starttls", "opportunistic", "implicit")}
                with Gateway(services) as gateway:
                    for line in LOGINS[protocol] + ANYWHERE:
                        for mode in services:
                            for data in (line + b"\r\n", *damaged(line)):
                                self.exchange(gateway, mode, data)

    def test_of_clear_commands_after_starttls(self):
        for protocol, dialect in PROTOCOLS.items():
            with FakeServer(patient(dialect)) as server:
                services = {mode: {"protocol": protocol, "downstream.tls": mode,
                                   "upstream.address": f"127.0.0.1:{server.port}"}
                            for mode in ("starttls", "opportunistic")}
                with Gateway(services) as gateway:
                    for mode in services:
                        for line in LOGINS[protocol] + ANYWHERE:
                            self.exchange(gateway, mode,
                                          dialect.starttls + b"\r\n" + line + b"\r\n",
                                          lambda client: greeted(client, dialect))
                    attacks = gateway.daemon.lines(lambda line: line.get("error") == "attack")
                    self.assertTrue(attacks, "nothing was refused as an attack")

    def test_that_a_server_repeats(self):
        with FakeServer(echo_server) as server, Daemon(
                configuration(server.port, upstream={"tls": "none"},
                              downstream={"tls": "opportunistic"}) + certificates()) as daemon:
            for line in ANYWHERE:
                with daemon.connect() as client:
                    client.reply()
                    client.send(b"EHLO a.test\r\n" + line + b"\r\nNOOP\r\n")
                    client.finish()
                    client.rest()
            outcomes = [line["outcome"] for line in daemon.sessions(len(ANYWHERE))]
            self.assertEqual(set(outcomes), {"protocol"})

    def test_after_a_failed_handshake(self):
        with FakeServer(Smtp(context=tls_context("expired"))) as server, \
                Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.send(b"EHLO a.test\r\nAUTH PLAIN " + PLAIN + b"\r\n")
                client.finish()
                client.rest()
            self.assertEqual(daemon.session()["outcome"], "certificate")


class SessionLine(unittest.TestCase):
    def test_as_json(self):
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
        self.assertEqual(line["last_reply"], "220")
        for key in ("downstream_cipher", "downstream_group", "sni", "client_certificate", "reason",
                    "note"):
            self.assertEqual(line[key], "", key)

    def test_as_text_has_the_same_keys_but_for_empty_ones(self):
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.reply()
                client.command(b"QUIT")
                client.rest()
            self.assertEqual(SESSION_KEYS - set(daemon.session()), set())
            line = next(line for line in daemon.text().splitlines() if " outcome=" in line)
        self.assertNotIn('=""', line)
        keys = set(re.findall(r" ([a-z_]+)=", line)) - {"level", "msg"}
        self.assertEqual(keys, SESSION_KEYS - {"downstream_cipher", "downstream_group", "sni",
                                               "client_certificate", "login", "login_mechanism",
                                               "reason", "note"})
        self.assertLessEqual(set(MAY_BE_EMPTY), SESSION_KEYS)

    def test_a_servers_text_cannot_forge_a_line(self):
        script = Smtp(greeting=b'554 no" outcome=ok reason="\x1b[2J\xff\r\n')
        with FakeServer(script) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.rest()
            self.assertEqual(daemon.session()["outcome"], "greeting_refused")
            self.assertNotIn("\x1b", daemon.text())


class Refusing(Smtp):
    """A server that accepts no password, and says what it has heard."""

    def secured(self, connection):
        while True:
            line = connection.line()
            if line.startswith(b"EHLO"):
                connection.send(b"250-mail.test\r\n250 AUTH PLAIN\r\n")
            elif line.startswith(b"AUTH"):
                connection.send(b"535 5.7.8 wrong: " + line)
            else:
                connection.send(b"221 bye\r\n")
                connection.end_tls()
                return


class LastReply(unittest.TestCase):
    def ended(self, script, *said, protocol="smtp", modes=("none", "starttls")):
        """Sends each command after the reply to the one before. Returns the line of the session."""
        with FakeServer(script) as server, Daemon(configuration(
                server.port, protocol=protocol, upstream={"tls": modes[1]},
                downstream={"tls": modes[0]})) as daemon:
            with daemon.connect() as client:
                client.reply()
                for command in said:
                    client.command(command)
                client.finish()
                client.rest()
            line = daemon.session()
            self.assertNotIn("wrong:", daemon.text())
        return line

    def test_of_a_wrong_password(self):
        said = b"EHLO a.test", b"AUTH PLAIN " + PLAIN
        for more in ((), (b"QUIT",)):
            with self.subTest(more=more):
                line = self.ended(Refusing(), *said, *more)
                self.assertEqual((line["outcome"], line["last_reply"]), ("ok", "535"))

    def test_of_a_server_that_refuses_us(self):
        for script, outcome, code in ((Smtp(greeting=b"554 no\r\n"), "greeting_refused", "554"),
                                      (Smtp(go_ahead=b"454 not now\r\n"), "tls_refused", "454"),
                                      (Smtp(clear_capabilities=b"250 mail.test\r\n"),
                                       "tls_not_offered", "250")):
            with self.subTest(outcome):
                line = self.ended(script)
                self.assertEqual((line["outcome"], line["last_reply"]), (outcome, code))

    def test_of_a_relay_from_the_first_byte(self):
        line = self.ended(lambda connection: Smtp().secured(self.greet(connection)),
                          b"EHLO a.test", b"MAIL FROM:<a@b.test>", b"WHAT", b"QUIT",
                          modes=("none", "none"))
        self.assertEqual((line["outcome"], line["last_reply"]), ("ok", "500"))

    def test_of_lmtp(self):
        line = self.ended(Lmtp(), b"LHLO a.test", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@mail.test>",
                          b"DATA", b".", b"QUIT", protocol="lmtp")
        self.assertEqual((line["outcome"], line["last_reply"]), ("ok", "250"))

    def test_there_is_none(self):
        with Daemon(configuration(free_port())) as daemon:
            with daemon.connect() as client:
                client.rest()
            self.assertEqual(daemon.session()["outcome"], "unreachable")
            self.assertNotIn("last_reply", daemon.text())

    def test_of_no_other_protocol(self):
        for name in PROTOCOLS.keys() - {"smtp", "lmtp"}:
            with self.subTest(name), FakeServer(patient(PROTOCOLS[name])) as server:
                with Gateway({"none": {"protocol": name,
                                       "upstream.address": f"127.0.0.1:{server.port}"}}) as gateway:
                    with gateway.connect("none") as client:
                        greeted(client, PROTOCOLS[name])
                        client.finish()
                        client.rest()
                        self.assertEqual(gateway.session(client)["last_reply"], "")

    @staticmethod
    def greet(connection):
        connection.send(b"220 mail.test\r\n")
        return connection


class Names(unittest.TestCase):
    """The name that a client asks for, and the one that its certificate proves."""

    def ended(self, mode, version, certificate):
        with FakeServer(Smtp()) as server, Daemon(
                configuration(server.port, downstream={"tls": mode, "client_ca": pki().ca})
                + certificates()) as daemon:
            context = ssl.create_default_context(cafile=pki().ca)
            context.minimum_version = context.maximum_version = version
            if certificate:
                context.load_cert_chain(*pki().pair(certificate))
            with daemon.connect() as client:
                if mode == "starttls":
                    client.reply()
                    client.command(b"EHLO a.test")
                    client.command(b"STARTTLS")
                client.sock = context.wrap_socket(client.sock, server_hostname="mail.test")
                client.send(b"EHLO a.test\r\nQUIT\r\n")
                client.rest()
            return daemon.session()

    def test_in_every_mode_and_version(self):
        for mode in ("implicit", "starttls"):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(mode=mode, version=version):
                    line = self.ended(mode, version, "client")
                    self.assertEqual((line["outcome"], line["sni"], line["client_certificate"]),
                                     ("ok", "mail.test", "CN=device"))

    def test_a_certificate_that_is_refused_is_not_named(self):
        for certificate in (None, "client-unknown-ca"):
            with self.subTest(certificate):
                line = self.ended("implicit", ssl.TLSVersion.TLSv1_3, certificate)
                self.assertEqual((line["outcome"], line["sni"], line["client_certificate"]),
                                 ("certificate", "mail.test", ""))


class Repetition(unittest.TestCase):
    def test_the_same_fault_is_counted_and_each_session_has_its_line(self):
        clients = 60
        with Daemon(configuration(free_port(), log={"level": "info"})) as daemon:
            for _ in range(clients):
                with daemon.connect() as client:
                    client.rest()
            self.assertEqual({line["outcome"] for line in daemon.sessions(clients)}, {"unreachable"})
            daemon.terminate()
            daemon.expect_exit(0)
            told = daemon.lines(lambda line: line.get("msg") == "session failed")
            self.assertEqual(len(told), 20)
            repeated = daemon.lines(lambda line: line.get("msg") == "repeated")
            self.assertEqual(len(repeated), 1)
            self.assertEqual({key: repeated[0][key] for key in ("of", "service", "leg", "error", "times")},
                             {"of": "session failed", "service": "office", "leg": "upstream",
                              "error": "unreachable", "times": "40"})


class Reader(unittest.TestCase):
    def test_s10_no_session_waits_for_a_stopped_reader(self):
        """Sends more lines than a pipe and the queue before it hold. Sessions go on; the log and
        the metrics report the loss."""
        with Daemon(admin.configured(configuration(free_port()))) as daemon:
            where = admin.address(daemon)
            self.assertEqual(admin.metrics(where)("starttls_log_lines_lost_total"), 0)
            with daemon.unread():
                for _ in range(1500):
                    with daemon.connect() as client:
                        self.assertTrue(client.line().startswith(b"421 4.4.1 "))
            lost = daemon.lines(lambda line: line.get("msg") == "log lines are lost")
            self.assertGreater(int(lost[0]["lines"]), 100)
            wait.until(lambda: admin.metrics(where)("starttls_log_lines_lost_total") == sum(
                int(line["lines"]) for line in daemon.lines(
                    lambda line: line.get("msg") == "log lines are lost")), "both say the same")
            self.assertLess(len(daemon.sessions(1)), 1500)
            for line in daemon.text().splitlines():
                self.assertRegex(line, r"\A20\d\d-\S+Z level=\w+ msg=")

    def test_a_reader_that_has_gone(self):
        with FakeServer(Smtp()) as server, Started(configuration(server.port)) as started:
            port = started.port_from(iter(started.process.stderr.readline, b""))
            started.process.stderr.close()
            for _ in range(3):
                self.assertEqual(greeting_and_quit(port), b"221 2.0.0 bye\r\n")

    def test_a_file_that_may_not_grow(self):
        """As with a full disk: sessions go on, and the lines follow when there is room again."""
        with logging_to_a_file() as (process, log, port):
            full = log.stat().st_size + 20
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, hard))
            for _ in range(3):
                self.assertEqual(greeting_and_quit(port), b"221 2.0.0 bye\r\n")
            wait.until(lambda: log.stat().st_size == full, "the file is full")
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            wait.until(lambda: len(re.findall(rb" outcome=ok\s", log.read_bytes())) == 3, log.read_text)


class Rotation(unittest.TestCase):
    def test_no_line_is_lost_while_the_file_is_renamed(self):
        done = [0, 0]
        over = threading.Event()
        with logging_to_a_file() as (process, log, port):
            def work(number):
                while done[number] < 60 or not over.is_set():
                    greeting_and_quit(port)
                    done[number] += 1

            workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
            for worker in workers:
                worker.start()
            files = [log]
            try:
                for number in range(1, 11):
                    files.append(log.with_name(f"proxy.log.{number}"))
                    log.rename(files[-1])
                    process.send_signal(signal.SIGUSR1)
                    wait.until(log.exists, "the log was not opened again")
                    # Each file gets lines, since sessions go on between the renames.
                    wait.until(lambda: "outcome=ok" in log.read_text(), "no session ends any more")
            finally:
                over.set()
                for worker in workers:
                    worker.join()
            wait.until(lambda: sum(file.read_text().count("outcome=ok") for file in files) == sum(done),
                       "lines are lost")


if __name__ == "__main__":
    main.main()

"""The admin endpoint: its pages, clients that cannot disturb it, counters that match the events."""

import contextlib
import functools
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from support import admin, main, wait
from support.client import Client, free_port
from support.daemon import Daemon, configuration
from support.environment import PROXY, pki
from support.fake_server import FakeServer, Gone, Smtp, tls_context
from support.freeze import frozen_workers

MESSAGE = b"Subject: hello\r\n\r\n" + b"x" * 5000 + b"\r\n"


def downstream(mode="starttls", certificate="server"):
    chain, key = pki().pair(certificate)
    return (f'\ndownstream.tls = "{mode}"\n'
            f'downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n')


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki().ca)
    return context


def send_mail(client):
    """Sends a whole session except its end. Returns (bytes sent, bytes received with the greeting)."""
    heard = client.reply()
    sent = 0
    for line in (b"EHLO client.test", b"MAIL FROM:<a@client.test>", b"RCPT TO:<b@mail.test>", b"DATA",
                 MESSAGE + b".", b"QUIT"):
        sent += len(line) + 2
        heard += client.command(line)
    return sent, len(heard)


class Pages(unittest.TestCase):
    def setUp(self):
        self.script = Smtp()
        self.server = self.enterContext(FakeServer(self.script))
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="starttls-admin-")))

    def daemon(self, listen="127.0.0.1:0", extra="", **options):
        text = admin.configured(configuration(self.server.port, **options) + extra, listen)
        daemon = self.enterContext(Daemon(text))
        return daemon, admin.address(daemon)

    def with_more_services(self, count):
        """Starts a daemon with so many services besides the first one. Returns its admin address."""
        return self.daemon(extra="".join(f"""
            [[service]]
            name = "more-{number}"
            protocol = "smtp"
            listen = "unix:{self.folder}/{number}"
            upstream = {{ address = "127.0.0.1:{self.server.port}", tls = "none" }}
            """ for number in range(count)))[1]

    def test_all_pages_over_every_kind_of_socket(self):
        for listen in ("127.0.0.1:0", "[::1]:0", f"unix:{self.folder}/admin.sock"):
            with self.subTest(listen=listen):
                _, address = self.daemon(listen)
                for path in ("/", "/metrics", "/healthz", "/readyz", "/sessions", "/status"):
                    ask = admin.health if path == "/healthz" else functools.partial(admin.get, path=path)
                    response = ask(address)
                    self.assertEqual(response.status, 200, response.text)
                    self.assertEqual(int(response.fields["content-length"]), len(response.body))
                    self.assertEqual(response.fields["connection"], "close")
                    head = ask(address, method="HEAD")
                    self.assertEqual((head.status, head.body), (200, b""))
                    self.assertEqual(head.fields["content-type"], response.fields["content-type"])
                page = admin.get(address, "/")
                for path in ("/metrics", "/healthz", "/readyz", "/sessions", "/status"):
                    self.assertIn(f'<a href="{path}">', page.text)
                self.assertEqual(page.fields["content-type"], "text/html; charset=utf-8")
                self.assertEqual(admin.health(address).text, "healthy\n")
                self.assertEqual(admin.get(address, "/readyz").text, "ready\n")

    def test_the_option_of_the_command_line(self):
        port = free_port()
        arguments = ["--protocol", "smtp", "--listen", "127.0.0.1:0", "--upstream",
                     f"127.0.0.1:{self.server.port}", "--server-name", "mail.test",
                     "--ca-file", pki().ca, "--admin", f"127.0.0.1:{port}", "--sandbox", "false"]
        with Daemon(arguments=arguments):
            self.assertEqual(admin.get(f"127.0.0.1:{port}", "/readyz").status, 200)

    def test_it_is_off_by_default(self):
        with Daemon(configuration(self.server.port)) as daemon:
            self.assertNotIn("admin", daemon.text())

    def test_an_address_that_others_reach_is_warned_about(self):
        daemon, address = self.daemon("0.0.0.0:0")
        [line] = daemon.warnings(1)
        self.assertIn("admin.listen", line["warning"])
        self.assertEqual(admin.health(address).status, 200)

    def test_s4_a_web_page_with_a_rebound_name_reads_nothing(self):
        pages = ("/", "/metrics", "/healthz", "/readyz", "/sessions", "/status", "/nowhere")
        for listen in ("127.0.0.1:0", "127.0.0.9:0", "[::1]:0"):
            _, address = self.daemon(listen)
            for path in pages:
                with self.subTest(listen=listen, path=path):
                    response = admin.get(address, path, host="rebound.example:9465")
                    self.assertEqual((response.status, response.text), (
                        421, "421 Misdirected Request: ask for an IP address or for localhost\n"))
            for host in (address, "localhost", "127.0.0.1:9465", "[::1]:9465"):
                self.assertEqual(admin.get(address, "/sessions", host=host).status, 200, host)
            self.assertEqual(admin.ask(address, b"GET /sessions HTTP/1.0\r\n\r\n").status, 200)

    def test_s4_other_listeners_answer_prometheus_and_kubelets_by_name(self):
        for listen in ("0.0.0.0:0", f"unix:{self.folder}/admin.sock"):
            with self.subTest(listen=listen):
                _, address = self.daemon(listen)
                self.assertEqual(admin.get(address, "/metrics", host="pod.example").status, 200)

    def test_malformed_requests_are_refused(self):
        _, address = self.daemon()
        host = b"Host: localhost\r\n"
        for request, status in (
                (b"GET /nowhere HTTP/1.1\r\n" + host + b"\r\n", 404),
                (b"GET // HTTP/1.1\r\n" + host + b"\r\n", 404),
                (b"POST /metrics HTTP/1.1\r\n" + host + b"\r\n", 405),
                (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
                (b"GET /metrics HTTP/2.0\r\n" + host + b"\r\n", 505),
                (b"\x16\x03\x01\x02\x00\x01", 400),
                (b"EHLO client.test\r\n\r\n", 400),
                (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n", 414),
                (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000, 431)):
            with self.subTest(request=request[:20]):
                self.assertEqual(admin.ask(address, request).status, status)

    def test_bytes_after_the_request_do_not_prevent_the_answer(self):
        """Closing with unread input sends RST, which discards the rest of the answer on its way."""
        # Enough services for a page that is read in several pieces.
        address = self.with_more_services(20)
        request = b"GET /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n"
        # A window so small that most of the answer still waits when the request has been read.
        with socket.socket() as sock:
            sock.settimeout(wait.DEADLINE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            host, _, port = address.rpartition(":")
            sock.connect((host, int(port)))
            sock.sendall(request + b"x" * 300_000)
            response = admin.Response(admin.receive(sock))
        self.assertEqual(int(response.fields["content-length"]), len(response.body))
        # A peer that has sent its request and closed its direction still gets the answer.
        with admin.connect(address) as sock:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(admin.Response(admin.receive(sock)).status, 200)

    def test_a_slow_client_is_cut_off_and_delays_no_other(self):
        _, address = self.daemon()
        with contextlib.ExitStack() as stack:
            slow = stack.enter_context(admin.connect(address))
            slow.sendall(b"GET /metr")
            started = time.monotonic()
            # More connections than it has places for, and none of them sends anything.
            crowd = [stack.enter_context(admin.connect(address)) for _ in range(60)]
            self.assertEqual(admin.health(address).status, 200)
            with contextlib.suppress(ConnectionResetError):  # it made room, with or without an answer
                self.assertEqual(slow.recv(1), b"")
            late = stack.enter_context(admin.connect(address))
            late.sendall(b"GET /metr")
            self.assertEqual(late.recv(1), b"")  # its time is over
            self.assertGreater(time.monotonic() - started, 4.5)
            crowd[-1].settimeout(wait.DEADLINE)
            self.assertEqual(crowd[-1].recv(1), b"")
        self.assertEqual(admin.health(address).status, 200)

    def test_many_clients_are_answered_at_once(self):
        _, address = self.daemon()
        paths = ("/", "/metrics", "/healthz", "/readyz", "/sessions", "/status")
        found, errors = [], []

        def asker():
            try:
                found.extend(admin.get(address, path).status for path in paths for _ in range(5))
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)

        threads = [threading.Thread(target=asker) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((errors, set(found), len(found)), ([], {200}, 8 * 30))

    def test_sessions_are_listed_with_their_phase(self):
        daemon, address = self.daemon()
        with daemon.connect() as client:
            client.reply()
            client.command(b"EHLO client.test")
            page = admin.get(address, "/sessions").json
            self.assertEqual((page["open"], page["listed"], page["complete"]), (1, 1, True))
            [session] = page["sessions"]
            self.assertEqual(session["service"], "office")
            self.assertEqual(session["client"], f"127.0.0.1:{client.address[1]}")
            self.assertEqual(session["server"], f"127.0.0.1:{self.server.port}")
            self.assertEqual((session["downstream_tls"], session["upstream_tls"]),
                             ("none", "TLSv1.3"))
            self.assertEqual((session["downstream_group"], session["upstream_group"]), ("", "X25519"))
            self.assertEqual(session["phase"], "dialogue")
            self.assertEqual(session["bytes_to_server"], len(b"EHLO client.test\r\n"))
            client.command(b"MAIL FROM:<a@client.test>")
            [session] = admin.get(address, "/sessions").json["sessions"]
            self.assertEqual(session["phase"], "relay")
            self.assertEqual(admin.metrics(address)("starttls_sessions_open"), 1)
        daemon.sessions()
        wait.until(lambda: admin.get(address, "/sessions").json["open"] == 0, "no session left")

    def test_healthz_fails_if_a_loop_does_not_turn(self):
        daemon, address = self.daemon()
        with frozen_workers(daemon.process.pid):
            started = time.monotonic()
            response = admin.get(address, "/healthz")
            self.assertEqual(response.status, 503)
            self.assertIn("worker 0 has not answered", response.text)
            self.assertIn("worker 1 has not answered", response.text)
            self.assertGreater(time.monotonic() - started, 1.5)
            self.assertEqual(admin.metrics(address)("starttls_sessions_open"), 0)
            page = admin.get(address, "/sessions")
            self.assertEqual((page.status, page.json["complete"]), (200, False))
        self.assertEqual(admin.health(address).status, 200)
        self.assertTrue(admin.sessions(address)["complete"])

    def test_readyz_fails_if_a_certificate_is_not_valid(self):
        _, address = self.daemon(extra=downstream(certificate="expired"))
        response = admin.get(address, "/readyz")
        self.assertEqual(response.status, 503)
        self.assertIn("service office: the certificate in ", response.text)
        self.assertIn("expired.pem expired on 20", response.text)
        self.assertEqual(admin.health(address).status, 200)
        name = pki().pair("expired")[0]
        expiry = admin.metrics(address)("starttls_certificate_expiry_timestamp_seconds",
                                        leg="downstream", name=name)
        self.assertAlmostEqual(expiry, time.time() - 86400, delta=3600)

    def test_t1_a_certificate_without_a_known_end(self):
        _, address = self.daemon(extra=downstream(certificate="year-9999"))
        response = admin.get(address, "/readyz")
        self.assertEqual((response.status, response.text), (200, "ready\n"))
        expiry = admin.metrics(address)("starttls_certificate_expiry_timestamp_seconds",
                                        service="office", leg="downstream",
                                        name=pki().pair("year-9999")[0])
        self.assertEqual(expiry, 253_402_300_799)

    def test_our_client_certificate_is_watched_too(self):
        chain, key = pki().pair("client-expired")
        _, address = self.daemon(
            extra=f'\nupstream.certificate = {{ chain = "{chain}", key = "{key}" }}\n')
        self.assertIn("client-expired.pem expired", admin.get(address, "/readyz").text)
        self.assertLess(admin.metrics(address)("starttls_certificate_expiry_timestamp_seconds",
                                               leg="upstream", name=chain), time.time())

    def test_the_status_has_sessions_certificates_and_failures(self):
        daemon, address = self.daemon(extra=downstream())
        status = admin.get(address, "/status").json
        self.assertEqual((status["format"], status["state"], status["complete"]), (1, "ready", True))
        self.assertEqual(status["failures"], [])
        [service] = status["services"]
        server = f"127.0.0.1:{self.server.port}"
        self.assertEqual(
            [service[key] for key in ("name", "protocol", "state", "servers", "downstream_tls", "upstream_tls",
                                      "verify", "sessions")],
            ["office", "smtp", "serving", [server], "starttls", "starttls", "full", {"open": 0, "ended": {}}])
        with daemon.connect() as client:
            client.reply()
            self.assertEqual(admin.get(address, "/status").json["sessions"]["open"], 1)
            client.command(b"QUIT")
        daemon.sessions()
        self.script.greeting = b"554 not today\r\n"
        for ended in (2, 3):
            with daemon.connect() as client:
                client.rest()
            line = daemon.sessions(ended)[-1]
        status = admin.get(address, "/status").json
        self.assertEqual(status["sessions"], {"open": 0, "ended": {"ok": 1, "greeting_refused": 2}})
        [failure] = status["failures"]
        self.assertEqual(
            [failure[key] for key in ("service", "outcome", "reason", "session", "times")],
            ["office", "greeting_refused", "server says: 554 not today", line["session"], 2])
        owners = {each["owner"]: each for each in status["certificates"]}
        self.assertEqual(set(owners), {"proxy", "server"})
        self.assertEqual((owners["server"]["name"], owners["server"]["service"]), (server, "office"))
        self.assertEqual(owners["proxy"]["name"], pki().pair()[0])
        self.assertEqual(owners["server"]["days_left"], owners["proxy"]["days_left"])

    def test_no_words_of_a_server_are_markup_in_the_page(self):
        daemon, address = self.daemon()
        self.script.greeting = b"554 <script>alert('x')</script>\r\n"
        with daemon.connect() as client:
            client.rest()
        daemon.sessions()
        page = admin.get(address, "/")
        self.assertNotIn("<script", page.text)
        self.assertIn("server says: 554 &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;", page.text)
        nonce = re.search(r'<style nonce="([0-9a-f]{32})">', page.text)[1]
        self.assertEqual(
            page.fields["content-security-policy"],
            f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'")
        self.assertNotIn(nonce, admin.get(address, "/").text)

    def test_the_page_of_many_services_is_bounded(self):
        address = self.with_more_services(200)
        page = admin.get(address, "/").text
        self.assertIn("of 201 services", page)
        self.assertIn("101 more are not shown", page)
        self.assertLess(len(page), 100_000)
        status = admin.get(address, "/status").json
        self.assertEqual((len(status["services"]), status["complete"]), (201, True))

    def test_it_answers_while_sessions_drain(self):
        daemon, address = self.daemon()
        with daemon.connect() as client:
            client.reply()
            daemon.terminate()
            daemon.lines(lambda fields: fields.get("msg") == "draining")
            response = admin.get(address, "/readyz")
            self.assertEqual((response.status, response.text), (503, "not ready: draining\n"))
            # The worker without a session has ended already, and that is no fault.
            self.assertEqual(admin.health(address).status, 200)
            self.assertEqual(admin.metrics(address)("starttls_sessions_open"), 1)
            self.assertEqual(admin.sessions(address)["open"], 1)
            self.assertEqual(admin.metrics(address)("starttls_draining"), 1)
            status = admin.get(address, "/status").json
            self.assertEqual((status["state"], status["services"][0]["state"]), ("draining",) * 2)
            self.assertIn("Not ready: draining", admin.get(address, "/").text)
            client.command(b"QUIT")
        daemon.expect_exit(0)


class Moves(unittest.TestCase):
    """The effects of a reload on the endpoint."""

    def setUp(self):
        self.server = self.enterContext(FakeServer(Smtp()))
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="starttls-admin-")))
        self.file = self.folder / "proxy.toml"

    def write(self, listen, extra=""):
        self.file.write_text(admin.configured(configuration(self.server.port) + extra, listen),
                             encoding="utf-8")

    def reload(self, daemon, count=1):
        daemon.process.send_signal(signal.SIGHUP)
        daemon.lines(lambda fields: fields.get("msg") in
                     ("reloaded", "not reloaded, the old configuration stays"), count)

    def test_it_stays_moves_and_goes(self):
        first, second = (f"127.0.0.1:{free_port()}" for _ in range(2))
        # In its sandbox it can make sockets only in folders in which it had one before.
        self.write(f"unix:{self.folder}/first.sock")
        with Daemon(arguments=["--config", self.file]) as daemon:
            self.assertEqual(admin.health(f"unix:{self.folder}/first.sock").status, 200)
            self.write(first)
            self.reload(daemon)
            waiting = self.enterContext(admin.connect(first))
            self.reload(daemon, 2)
            self.assertEqual(admin.get(first, "/readyz").status, 200)
            self.write(second)
            self.reload(daemon, 3)
            # A client that was connected is served. It asks at once, since it has only five seconds.
            waiting.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            self.assertEqual(admin.Response(admin.receive(waiting)).status, 200)
            self.assertEqual(admin.get(second, "/readyz").status, 200)
            with self.assertRaises(OSError):
                admin.get(first, "/readyz")
            self.write(f"unix:{self.folder}/admin.sock")
            self.reload(daemon, 4)
            self.assertEqual(admin.health(f"unix:{self.folder}/admin.sock").status, 200)
            # The same port, on more addresses; then back.
            everywhere = first.replace("127.0.0.1", "0.0.0.0")
            for count, address in enumerate((first, everywhere, first), 5):
                self.write(address)
                self.reload(daemon, count)
                self.assertEqual(admin.get(first, "/readyz").status, 200)
                self.assertEqual(admin.metrics(first)("starttls_config_last_reload_successful"), 1)
            self.assertNotIn("another process", daemon.text())
            self.write(f"unix:{self.folder}/admin.sock")
            self.reload(daemon, 8)
            self.assertEqual(admin.health(f"unix:{self.folder}/admin.sock").status, 200)
            self.write("")
            self.reload(daemon, 9)
            with self.assertRaises(OSError):
                admin.get(f"unix:{self.folder}/admin.sock", "/healthz")

    def test_a_server_that_is_gone_is_not_in_the_metrics(self):
        address = f"127.0.0.1:{free_port()}"
        other = self.enterContext(FakeServer(Smtp()))
        name = "starttls_server_certificate_expiry_timestamp_seconds"
        self.write(address)
        with Daemon(arguments=["--config", self.file]) as daemon:
            with daemon.connect() as client:
                send_mail(client)
            daemon.sessions()
            self.assertEqual(set(admin.metrics(address).nonzero(name)), {(f"127.0.0.1:{self.server.port}",)})
            self.reload(daemon)
            self.assertEqual(len(admin.metrics(address).nonzero(name)), 1)
            text = self.file.read_text(encoding="utf-8")
            self.file.write_text(text.replace(f":{self.server.port}", f":{other.port}"), encoding="utf-8")
            self.reload(daemon, 2)
            self.assertEqual(admin.metrics(address).nonzero(name), {})
            with daemon.connect() as client:
                send_mail(client)
            daemon.sessions(2)
            self.assertEqual(set(admin.metrics(address).nonzero(name)), {(f"127.0.0.1:{other.port}",)})

    def test_an_address_in_use_is_an_error(self):
        taken = self.enterContext(FakeServer(Smtp()))
        free = f"127.0.0.1:{free_port()}"
        self.write(free)
        with Daemon(arguments=["--config", self.file]) as daemon:
            other = f"127.0.0.1:{taken.port}"
            self.write(other)
            self.reload(daemon)
            [line] = daemon.lines(lambda fields: "not reloaded" in fields.get("msg", ""))
            self.assertIn(f"cannot listen on {other}: bind: Address already in use", line["reason"])
            found = admin.metrics(free)
            self.assertEqual(found("starttls_config_last_reload_successful"), 0)
            started = found("starttls_config_last_reload_timestamp_seconds")
            self.write(free)
            self.reload(daemon, 2)
            found = admin.metrics(free)
            self.assertEqual(found("starttls_config_last_reload_successful"), 1)
            self.assertGreater(found("starttls_config_last_reload_timestamp_seconds"), started)
            # At start it is an error. (Another proxy's endpoint is shared: restart_test.)
            self.write(other)
            result = subprocess.run([PROXY, "--config", self.file],
                                    capture_output=True, text=True, timeout=wait.DEADLINE,
                                    check=False)
            self.assertEqual(result.returncode, 69)
            self.assertIn(f"cannot listen on {other}", result.stderr)

    def test_a_service_keeps_its_counters(self):
        address = f"127.0.0.1:{free_port()}"
        self.write(address)
        with Daemon(arguments=["--config", self.file]) as daemon:
            with daemon.connect() as client:
                send_mail(client)
            daemon.sessions()
            before = admin.metrics(address)
            self.assertEqual(before("starttls_sessions_total", outcome="ok"), 1)
            self.write(address, '\nupstream.greeting_text = false\n')
            self.reload(daemon)
            self.assertEqual(admin.metrics(address)("starttls_sessions_total", outcome="ok"), 1)
            # A wrong configuration changes only one number.
            self.write(address, '\nnonsense = 1\n')
            self.reload(daemon, 2)
            after = admin.metrics(address)
            self.assertEqual(after("starttls_config_last_reload_successful"), 0)
            self.assertEqual(after("starttls_sessions_total", outcome="ok"), 1)
            self.assertEqual(admin.get(address, "/readyz").status, 200)


class Counters(unittest.TestCase):
    """One daemon and one kind of session: the counters have moved, and by the right amount."""

    def daemon(self, server, extra="", **options):
        port = server.port if server is not None else free_port()
        daemon = self.enterContext(Daemon(admin.configured(configuration(port, **options) + extra)))
        return daemon, admin.address(daemon)

    def ended(self, daemon, address, count=1):
        """Waits for `count` ended sessions. Returns the metrics and the last session's line."""
        line = daemon.sessions(count)[-1]
        return admin.metrics(address), line

    def test_a_message(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon, address = self.daemon(server)
        with daemon.connect() as client:
            sent, heard = send_mail(client)
        found, line = self.ended(daemon, address)
        self.assertEqual(found.nonzero("starttls_sessions_total"), {("ok",): 1})
        self.assertEqual(found.nonzero("starttls_bytes_total"),
                         {("to_server",): sent, ("to_client",): heard})
        self.assertEqual((int(line["bytes_to_server"]), int(line["bytes_to_client"])), (sent, heard))
        self.assertEqual(found.nonzero("starttls_handshakes_total"),
                         {("X25519", "upstream", "false", "TLSv1.3"): 1})
        for name, labels in (("starttls_handshake_duration_seconds_count", {"leg": "upstream"}),
                             ("starttls_session_duration_seconds_count", {}),
                             ("starttls_prelude_duration_seconds_count", {})):
            self.assertEqual(found(name, **labels), 1, name)
        self.assertAlmostEqual(found("starttls_session_duration_seconds_sum"),
                               int(line["total_ms"]) / 1000, delta=0.002)
        for name in ("starttls_sessions_open", "starttls_connect_failures_total",
                     "starttls_handshake_failures_total", "starttls_plaintext_fallbacks_total",
                     "starttls_attacks_total", "starttls_truncations_total"):
            self.assertEqual(found.nonzero(name), {}, name)

    def test_the_end_of_the_servers_certificate(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon, address = self.daemon(server)
        name = "starttls_server_certificate_expiry_timestamp_seconds"
        self.assertEqual(admin.metrics(address).nonzero(name), {})  # not known yet
        for count in (1, 2):
            with daemon.connect() as client:
                send_mail(client)
            found, line = self.ended(daemon, address, count)
            # A resumed session shows no certificate, and the last one stays known.
            self.assertEqual(line["upstream_resumed"], "true" if count == 2 else "false")
            end = ssl.cert_time_to_seconds(ssl._ssl._test_decode_cert(  # pylint: disable=protected-access
                pki().pair()[0])["notAfter"])
            self.assertEqual(found.nonzero(name), {(f"127.0.0.1:{server.port}",): end})

    def test_a_server_certificate_that_is_refused_is_not_noted(self):
        server = self.enterContext(FakeServer(Smtp(context=tls_context("expired"))))
        daemon, address = self.daemon(server)
        with daemon.connect() as client:
            client.rest()
        found, _ = self.ended(daemon, address)
        self.assertEqual(found.nonzero("starttls_server_certificate_expiry_timestamp_seconds"), {})

    def test_both_legs_resumed(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon, address = self.daemon(server, extra=downstream("implicit"))
        context = client_context()
        session = None
        for _ in range(2):
            with Client(daemon.port) as client:
                client.sock = context.wrap_socket(client.sock, server_hostname="mail.test",
                                                  session=session)
                send_mail(client)
                session = client.sock.session
                client.rest()
        found, _ = self.ended(daemon, address, 2)
        self.assertEqual(found.nonzero("starttls_handshakes_total"), {
            ("X25519", leg, resumed, "TLSv1.3"): 1
            for leg in ("downstream", "upstream") for resumed in ("false", "true")})
        self.assertEqual(found.nonzero("starttls_sessions_total"), {("ok",): 2})

    def test_a_bare_relay(self):
        def echo(connection):
            connection.send(b"220 mail.test\r\n")
            while True:
                connection.send(connection.receive())

        server = self.enterContext(FakeServer(echo))
        daemon, address = self.daemon(server, upstream={"tls": "none", "server_name": "",
                                                        "ca_file": ""})
        with daemon.connect() as client:
            client.line()
            client.send(b"z" * 1_000_000)
            client.exactly(1_000_000)
        found, _ = self.ended(daemon, address)
        self.assertEqual(found.nonzero("starttls_bytes_total"),
                         {("to_server",): 1_000_000, ("to_client",): 1_000_015})
        self.assertEqual(found("starttls_prelude_duration_seconds_count"), 1)

    def test_a_server_that_refuses_connections(self):
        daemon, address = self.daemon(None)
        with daemon.connect() as client:
            told, _ = client.rest()
        found, line = self.ended(daemon, address)
        self.assertTrue(told.startswith(b"421 4.4.1"), told)
        self.assertEqual(line["outcome"], "unreachable")
        self.assertEqual(found.nonzero("starttls_sessions_total"), {("unreachable",): 1})
        self.assertEqual(found.nonzero("starttls_connect_failures_total"), {("unreachable",): 1})
        self.assertEqual(found.nonzero("starttls_bytes_total"), {("to_client",): len(told)})
        self.assertEqual(found("starttls_prelude_duration_seconds_count"), 0)

    def test_a_client_that_is_not_allowed(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon, address = self.daemon(server, downstream={"allow": ["192.0.2.0/24"]})
        with daemon.connect() as client:
            client.rest()
        found, _ = self.ended(daemon, address)
        self.assertEqual(found.nonzero("starttls_sessions_total"), {("not_allowed",): 1})

    def test_an_injected_command(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon, address = self.daemon(server, extra=downstream())
        with daemon.connect() as client:
            client.reply()
            client.send(b"STARTTLS\r\nMAIL FROM:<a@b>\r\n")
            client.rest()
        found, _ = self.ended(daemon, address)
        self.assertEqual(found.nonzero("starttls_attacks_total"), {("injection", "downstream"): 1})
        self.assertEqual(found.nonzero("starttls_sessions_total"), {("attack",): 1})
        self.assertEqual(found.nonzero("starttls_handshake_failures_total"), {})

    def test_an_injected_reply_and_an_unsolicited_one(self):
        script = Smtp(go_ahead=b"220 ready\r\n250 injected\r\n")
        server = self.enterContext(FakeServer(script))
        daemon, address = self.daemon(server)
        with daemon.connect() as client:
            client.rest()
        found, _ = self.ended(daemon, address)
        self.assertEqual(found.nonzero("starttls_attacks_total"), {("injection", "upstream"): 1})
        script.go_ahead = Smtp.go_ahead
        script.greeting = b"220 mail.test\r\n250 early\r\n"
        with daemon.connect() as client:
            client.rest()
        found, line = self.ended(daemon, address, 2)
        self.assertEqual(line["outcome"], "attack")
        self.assertEqual(found.nonzero("starttls_attacks_total"),
                         {("injection", "upstream"): 1, ("unsolicited", "upstream"): 1})

    def test_a_certificate_that_has_expired(self):
        server = self.enterContext(FakeServer(Smtp(context=tls_context("expired"))))
        daemon, address = self.daemon(server)
        with daemon.connect() as client:
            client.rest()
        found, _ = self.ended(daemon, address)
        self.assertEqual(found.nonzero("starttls_handshake_failures_total"),
                         {("upstream", "certificate"): 1})
        self.assertEqual(found.nonzero("starttls_sessions_total"), {("certificate",): 1})
        self.assertEqual(found.nonzero("starttls_handshakes_total"), {})

    def test_handshakes_that_clients_break_off_or_forget(self):
        server = self.enterContext(FakeServer(Smtp()))
        daemon, address = self.daemon(server, extra=downstream("implicit"),
                                      timeouts={"handshake": "10s"})
        with daemon.connect() as client:
            client.send(b"EHLO no TLS\r\n")
            client.rest()
        with daemon.connect() as client:
            client.rest()
        found, _ = self.ended(daemon, address, 2)
        self.assertEqual(found.nonzero("starttls_handshake_failures_total"),
                         {("downstream", "handshake"): 1, ("downstream", "timeout"): 1})
        # The words of failure were not sent: the client could not have read them without TLS.
        self.assertEqual(found.nonzero("starttls_bytes_total"), {})
        self.assertEqual(found.nonzero("starttls_connect_failures_total"), {})

    def test_legs_that_stay_in_the_clear(self):
        def clear(connection):
            connection.send(b"220 mail.test\r\n")
            while True:
                line = connection.line()
                connection.send(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 ok\r\n")
                if line.startswith(b"QUIT"):
                    raise Gone

        server = self.enterContext(FakeServer(clear))
        daemon, address = self.daemon(server, upstream={"tls": "opportunistic"},
                                      extra=downstream("opportunistic"))
        with daemon.connect() as client:
            client.reply()
            client.command(b"EHLO client.test")
            self.assertEqual(admin.metrics(address).nonzero("starttls_plaintext_fallbacks_total"),
                             {("upstream",): 1})
            client.command(b"MAIL FROM:<a@client.test>")
            client.command(b"QUIT")
        found, _ = self.ended(daemon, address)
        self.assertEqual(found.nonzero("starttls_plaintext_fallbacks_total"),
                         {("upstream",): 1, ("downstream",): 1})

    def test_a_cut_inside_a_line(self):
        def cut(connection):
            connection.send(b"250 half a li")
            connection.sock.shutdown(socket.SHUT_RDWR)  # FIN without close_notify

        server = self.enterContext(FakeServer(Smtp(relay=cut)))
        daemon, address = self.daemon(server)
        with daemon.connect() as client:
            client.reply()
            client.command(b"EHLO client.test")
            client.send(b"MAIL FROM:<a@client.test>\r\n")
            client.rest()
        found, line = self.ended(daemon, address)
        self.assertEqual(line["outcome"], "truncated")
        self.assertEqual(found.nonzero("starttls_sessions_total"), {("truncated",): 1})
        self.assertEqual(found.nonzero("starttls_truncations_total"), {("upstream",): 1})

    def test_buffered_bytes_and_warm_connections(self):
        reads = threading.Event()

        def lazy(connection):
            reads.wait(wait.DEADLINE)
            connection.wait_for_end()

        server = self.enterContext(FakeServer(Smtp(relay=lazy)))
        daemon, address = self.daemon(server, upstream={"warm": 1})
        wait.until(lambda: admin.metrics(address)("starttls_warm_connections") == 2,
                   "a warm connection of each worker")
        with daemon.connect() as client:
            client.reply()
            client.command(b"EHLO client.test")
            client.command(b"MAIL FROM:<a@client.test>")
            client.sock.setblocking(False)

            def waits():
                with contextlib.suppress(BlockingIOError):
                    for _ in range(1000):
                        client.sock.send(b"y" * 65536)
                return admin.metrics(address)("starttls_buffer_bytes") > 0

            wait.until(waits, "bytes that the server does not take wait in a buffer")
            reads.set()
            wait.until(lambda: admin.metrics(address)("starttls_buffer_bytes") == 0, "empty buffers")
        wait.until(lambda: admin.metrics(address)("starttls_warm_connections") == 2, "a new one")

    def test_process_metrics(self):
        server = self.enterContext(FakeServer(Smtp()))
        before = time.time()
        daemon, address = self.daemon(server)
        found = admin.metrics(address)
        self.assertAlmostEqual(found("process_start_time_seconds"), before, delta=60)
        self.assertGreater(found("process_resident_memory_bytes"), 1_000_000)
        self.assertGreater(found("process_virtual_memory_bytes"),
                           found("process_resident_memory_bytes"))
        # The connection of this request is one of them.
        self.assertAlmostEqual(found("process_open_fds"), daemon.descriptors() + 1, delta=2)
        self.assertGreater(found("process_max_fds"), found("process_open_fds"))
        self.assertGreaterEqual(found("process_cpu_seconds_total"), 0)


if __name__ == "__main__":
    main.main()

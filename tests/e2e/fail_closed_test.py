"""Servers with any fault: the client gets one line, and nothing of the client's crosses."""

import re
import socket
import unittest

from support import main, wait
from support.client import FIN, free_port
from support.daemon import Daemon, configuration
from support.fake_server import FakeServer, Gone, Smtp, obsolete_context, tls_context

# The lines that an impatient client sends before it is greeted. None may reach the server.
CANARY = b"canary-4711"
BLAST = b"EHLO " + CANARY + b"\r\nMAIL FROM:<" + CANARY + b"@legacy.test>\r\nRCPT TO:<a@mail.test>\r\n"


class FailClosed(unittest.TestCase):
    def fails(self, script, status, outcome, reason="", **settings):
        """Runs a session with a server that runs `script`, and checks all promises about a failure."""
        with FakeServer(script) as server:
            session = self.fails_at(server.port, status, outcome, reason, **settings)
            server.connection()  # it was reached
            self.assertNotIn(CANARY, server.heard())
        return session

    def fails_at(self, port, status, outcome, reason="", blast=BLAST, **settings):
        with Daemon(configuration(port, **settings)) as daemon:
            with daemon.connect() as client:
                client.send(blast)
                told, end = client.rest()
            session = daemon.session()
        # Exactly one line of printable ASCII, of a length that SMTP allows; then FIN, not RST.
        self.assertRegex(told, rb"\A421 " + re.escape(status.encode()) + rb" [ -~]{1,500}\r\n\Z")
        self.assertEqual(end, FIN)
        self.assertRegex(session["outcome"], rf"\A(?:{outcome})\Z")
        self.assertRegex(session["reason"], f"(?i){reason}")
        return session


class Named(unittest.TestCase):
    """The client's text names the server that has failed. The log's reason does not repeat it."""

    def told(self, port, **settings):
        with Daemon(configuration(port, **settings)) as daemon:
            with daemon.connect() as client:
                told, end = client.rest()
            self.assertEqual(end, FIN)
            self.assertNotIn("mail server", daemon.session()["reason"])
        return told.decode()

    def test_by_the_name_of_the_configuration(self):
        with FakeServer(Smtp(context=tls_context("expired"))) as server:
            self.assertRegex(self.told(server.port),
                             r"\A421 4\.7\.5 proxy\.test mail server mail\.test: certificate has expired")
        self.assertEqual(self.told(free_port(), protocol="imap"),
                         "* BYE [UNAVAILABLE] proxy.test mail server mail.test: connection refused\r\n")

    def test_by_its_address_if_it_has_no_name(self):
        plain = {"tls": "none", "server_name": ""}
        port = free_port()
        self.assertEqual(self.told(port, upstream=plain),
                         f"421 4.4.1 proxy.test mail server 127.0.0.1:{port}: connection refused\r\n")
        self.assertRegex(self.told(0, upstream=plain, address="no-such-host.invalid:25"),
                         r"\A421 4\.4\.1 proxy\.test mail server no-such-host\.invalid: ")
        self.assertRegex(self.told(0, upstream=plain, address="unix:/nonexistent/mail"),
                         r"\A421 4\.4\.1 proxy\.test mail server /nonexistent/mail: ")


class Unreachable(FailClosed):
    def test_connection_refused(self):
        self.fails_at(free_port(), "4.4.1", "unreachable", "refused")

    def test_unresolvable_name(self):
        # RFC 6761: no resolver may answer this name; some do not refuse it either, and let us wait.
        self.fails_at(0, "4.4.1", "unreachable|timeout", address="no-such-host.invalid:25")

    def test_every_address_is_tried_and_the_last_failure_is_reported(self):
        with FakeServer(Smtp(context=tls_context("expired"))) as server:
            self.fails_at(0, "4.7.5", "certificate", "expired",
                          address=[f"127.0.0.1:{free_port()}", f"127.0.0.1:{server.port}"])

    def test_the_next_address_serves_if_the_first_fails(self):
        with FakeServer(Smtp(context=tls_context("expired"))) as bad, FakeServer(Smtp()) as good:
            addresses = [f"127.0.0.1:{port}" for port in (free_port(), bad.port, good.port)]
            with Daemon(configuration(0, address=addresses)) as daemon:
                with daemon.connect() as client:
                    self.assertTrue(client.reply().startswith(b"220 "))
                    self.assertTrue(client.command(b"QUIT").startswith(b"221 "))
                session = daemon.session()
            self.assertTrue(session["server"].endswith(f":{good.port}"), session)


class TimeOuts(FailClosed):
    def test_connect(self):
        # If its queue is full, the kernel answers no SYN, as for a server that is not there.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            fillers = []
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            try:
                self.fails_at(port, "4.4.1", "timeout", "connection timed out",
                              timeouts={"connect": "500ms"})
            finally:
                for filler in fillers:
                    filler.close()

    def test_silence_instead_of_a_greeting(self):
        self.fails(Smtp(greeting=None), "4.4.1", "timeout", timeouts={"prelude": "500ms"})

    def test_silence_after_ehlo(self):
        self.fails(Smtp(clear_capabilities=None), "4.4.1", "timeout",
                   timeouts={"prelude": "500ms"})

    def test_silence_after_starttls(self):
        self.fails(Smtp(go_ahead=None), "4.4.1", "timeout", timeouts={"prelude": "500ms"})

    def test_a_greeting_byte_by_byte_does_not_extend_the_prelude(self):
        def drip(connection):
            while True:
                connection.send(b"2")
                connection.sock.settimeout(0.1)
                try:
                    if not connection.sock.recv(1):
                        raise Gone
                except TimeoutError:
                    pass
                except OSError:
                    raise Gone from None

        self.fails(drip, "4.4.1", "timeout", timeouts={"prelude": "1s"})

    def test_silence_in_the_handshake(self):
        class Silent(Smtp):
            def __call__(self, connection):
                self.say(connection, self.greeting)
                self.prelude(connection)
                connection.wait_for_end()

        self.fails(Silent(), "4.4.1", "timeout", "the TLS handshake with the server timed out",
                   timeouts={"handshake": "500ms"})

    def test_a_client_that_says_nothing(self):
        with FakeServer(Smtp()) as server:
            with Daemon(configuration(server.port, timeouts={"command": "500ms"})) as daemon:
                with daemon.connect() as client:
                    self.assertTrue(client.reply().startswith(b"220 "))
                    told, end = client.rest()
                session = daemon.session()
            server.heard()
        self.assertEqual((told, end, session["outcome"]),
                         (b"421 4.4.1 proxy.test the client sent no command in time\r\n", FIN, "timeout"))

    def test_an_idle_relay_is_closed_without_a_message(self):
        with FakeServer(Smtp()) as server:
            with Daemon(configuration(server.port, timeouts={"idle": "500ms"})) as daemon:
                with daemon.connect() as client:
                    client.reply()
                    client.command(b"EHLO legacy.test")
                    client.command(b"MAIL FROM:<a@legacy.test>")
                    told, end = client.rest()
                session = daemon.session()
            server.heard()
        self.assertEqual((told, end, session["outcome"]), (b"", FIN, "timeout"))


class Greeting(FailClosed):
    def test_a_refusal_is_passed_on_as_a_temporary_one(self):
        for greeting in (b"554 No SMTP service here\r\n", b"421 Too busy\r\n"):
            with self.subTest(greeting=greeting):
                self.fails(Smtp(greeting=greeting), "4.3.2", "greeting_refused")

    def test_the_servers_words_are_passed_on(self):
        with FakeServer(Smtp(greeting=b"554 come \x1b[31mback\xff tomorrow\r\n")) as server:
            with Daemon(configuration(server.port)) as daemon:
                with daemon.connect() as client:
                    told, _ = client.rest()
        self.assertRegex(told, rb"\A421 4\.3\.2 .*come .*back tomorrow")
        self.assertNotIn(b"\x1b", told)

    def test_only_220_is_a_welcome(self):
        for code in (b"221", b"354", b"250"):
            with self.subTest(code=code):
                self.fails(Smtp(greeting=code + b" hello\r\n"), "4.7.0", "protocol",
                           "server greeted with neither 220 nor a refusal")
        for code in (b"500", b"501", b"530"):
            with self.subTest(code=code):
                self.fails(Smtp(greeting=code + b" hello\r\n"), "4.3.2", "greeting_refused",
                           f"server says: {code.decode()} hello")


class StarttlsMissing(FailClosed):
    def test_not_offered(self):
        self.fails(Smtp(clear_capabilities=b"250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n"), "4.7.0",
                   "tls_not_offered")

    def test_ehlo_refused(self):
        for code in (b"500", b"501", b"502", b"504", b"550", b"530", b"221", b"354", b"421", b"220"):
            with self.subTest(code=code):
                self.fails(Smtp(clear_capabilities=code + b" no\r\n"), "4.7.0",
                           "tls_not_offered", "server refused EHLO")

    def test_a_keyword_that_only_looks_like_it(self):
        for line in (b"X-STARTTLS", b"STARTTLSX"):
            with self.subTest(line=line):
                self.fails(Smtp(clear_capabilities=b"250-mail.test\r\n250 " + line + b"\r\n"),
                           "4.7.0", "tls_not_offered")

    def test_offered_and_refused(self):
        for code in (b"502", b"454", b"354", b"221", b"421", b"500", b"501", b"530", b"250", b"200"):
            with self.subTest(code=code):
                self.fails(Smtp(go_ahead=code + b" do something else\r\n"), "4.7.0",
                           "tls_refused")


class Attacks(FailClosed):
    def test_a_whole_reply_after_the_go_ahead(self):
        self.fails(Smtp(go_ahead=b"220 go\r\n250-example.org\r\n250 AUTH LOGIN\r\n"), "4.7.0",
                   "attack")

    def test_a_part_of_a_line_after_the_go_ahead(self):
        for extra in (b"2", b"\xfe\xffgarbage", b"\r\n", b"\x16\x03\x01"):
            with self.subTest(extra=extra):
                self.fails(Smtp(go_ahead=b"220 go\r\n" + extra), "4.7.0", "attack")

    def test_a_refusal_followed_by_a_whole_session(self):
        self.fails(Smtp(go_ahead=b"454 currently unavailable\r\n235 Authenticated\r\n"
                                 b"250 2.1.0 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 Accepted\r\n"),
                   "4.7.0", "tls_refused", "server refused STARTTLS")

    def test_replies_to_commands_that_were_never_sent(self):
        self.fails(Smtp(greeting=b"220 hi\r\n220 ok\r\n220 ok\r\n"), "4.7.0", "attack")

    def test_plaintext_instead_of_a_server_hello(self):
        class Plain(Smtp):
            def __call__(self, connection):
                self.say(connection, self.greeting)
                self.prelude(connection)
                connection.receive()
                connection.send(b"250 welcome\r\n")
                connection.wait_for_end()

        self.fails(Plain(), "4.7.5", "handshake")

    def test_plaintext_before_the_handshake_of_an_implicit_leg(self):
        def talk(connection):
            connection.send(b"220 mail.test ESMTP\r\n")
            connection.wait_for_end()

        self.fails(talk, "4.7.5", "handshake", upstream={"tls": "implicit"})


class Certificates(FailClosed):
    def refuses(self, certificate, reason):
        for tls in ("starttls", "implicit"):
            with self.subTest(tls=tls):
                script = Smtp(context=tls_context(certificate))
                if tls == "implicit":
                    starttls = script

                    def script(connection):
                        connection.start_tls(starttls.context)
                        connection.wait_for_end()

                self.fails(script, "4.7.5", "certificate", reason, upstream={"tls": tls})

    def test_expired(self):
        self.refuses("expired", "certificate has expired")

    def test_not_yet_valid(self):
        self.refuses("not-yet-valid", "not yet valid")

    def test_wrong_name(self):
        self.refuses("wrong-name", "name mismatch: wanted mail.test, got ")

    def test_self_signed(self):
        self.refuses("self-signed", "self-signed certificate")

    def test_unknown_authority(self):
        self.refuses("unknown-ca", "unknown CA")

    def test_a_server_with_at_most_tls_1_1(self):
        self.fails(Smtp(context=obsolete_context()), "4.7.5", "handshake")

    def test_the_client_gets_the_reason(self):
        with FakeServer(Smtp(context=tls_context("expired"))) as server:
            with Daemon(configuration(server.port)) as daemon:
                with daemon.connect() as client:
                    self.assertIn(b"certificate has expired", client.rest()[0])

    def test_without_verification_any_server_is_accepted_and_the_log_says_so(self):
        with FakeServer(Smtp(context=tls_context("self-signed"))) as server:
            with Daemon(configuration(server.port, upstream={"verify": "none"})) as daemon:
                with daemon.connect() as client:
                    self.assertTrue(client.reply().startswith(b"220 "))
                    client.command(b"QUIT")
                self.assertEqual(daemon.session()["upstream_verify"], "none")


class ServerDisappears(FailClosed):
    """P17: the server ends the connection in every state of the prelude."""

    def leaves_after(self, steps, reset=False):
        class Leaving(Smtp):
            def __call__(self, connection):
                for reply in (self.greeting, self.clear_capabilities, self.go_ahead)[:steps]:
                    connection.send(reply)
                    connection.receive()
                if reset:
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                               b"\1\0\0\0\0\0\0\0")

        return Leaving()

    def test_a_server_may_disappear_in_every_state(self):
        # After the go-ahead the handshake fails instead.
        outcomes = ("closed", "closed", "closed", "handshake")
        for steps, outcome in enumerate(outcomes):
            status = "4.7.5" if outcome == "handshake" else "4.4.1"
            for reset in (False, True):
                # A reset may arrive before the proxy knows that it is connected.
                early = "|unreachable" if reset and steps == 0 else ""
                with self.subTest(steps=steps, reset=reset):
                    self.fails(self.leaves_after(steps, reset), status, outcome + early)


if __name__ == "__main__":
    main.main()

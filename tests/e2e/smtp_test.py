"""Sessions that succeed, against scripted servers that remember every byte."""

import ssl
import unittest

from support import main
from support.client import FIN, Client
from support.daemon import Daemon, configuration
from support.environment import pki
from support.fake_server import FakeServer, Lmtp, Smtp, tls_context

ODD_MESSAGE = (b"Subject: octets\r\n\r\n8-bit \xff\xfe\x80, NUL \0, bare\nLF, lone\rCR\r\n"
               b"..\r\n. dot\r\n\n.\n\r\n\r.\r\r\n.\r\r\nend\r\n")


class Upgrade(unittest.TestCase):
    def test_nothing_of_the_client_crosses_in_the_clear(self):
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                self.assertTrue(client.reply().startswith(b"220 "))
                client.command(b"EHLO legacy.test")
                client.command(b"MAIL FROM:<a@legacy.test>")
                client.command(b"RCPT TO:<b@mail.test>")
                client.command(b"DATA")
                client.send(ODD_MESSAGE)
                self.assertTrue(client.command(b".").startswith(b"250 "))
                self.assertTrue(client.command(b"QUIT").startswith(b"221 "))
                self.assertEqual(client.rest(), (b"", FIN))
            session = daemon.session()
            connection = server.connection()
            server.heard()
        self.assertEqual(bytes(connection.clear), b"EHLO proxy.test\r\nSTARTTLS\r\n")
        self.assertTrue(connection.secure.startswith(b"EHLO legacy.test\r\nMAIL FROM:"))
        self.assertEqual(connection.messages, [ODD_MESSAGE])
        self.assertEqual(session["service"], "office")
        self.assertEqual(session["upstream_tls"], "TLSv1.3")
        self.assertEqual(session["upstream_verify"], "full")
        self.assertEqual(session["downstream_tls"], "none")
        self.assertEqual(int(session["bytes_to_server"]), len(connection.secure))

    def test_starttls_is_not_offered_to_a_clear_client_and_the_proxy_refuses_it(self):
        offered = b"250-mail.test\r\n250-SIZE 1\r\n250-STARTTLS\r\n250 PIPELINING\r\n"
        with FakeServer(Smtp(capabilities=offered)) as server:
            with Daemon(configuration(server.port)) as daemon, daemon.connect() as client:
                client.reply()
                self.assertEqual(client.command(b"EHLO legacy.test"),
                                 b"250-mail.test\r\n250-SIZE 1\r\n250 PIPELINING\r\n")
                self.assertTrue(client.command(b"STARTTLS").startswith(b"502 "))
                self.assertTrue(client.command(b"NOOP").startswith(b"250 "))
                client.command(b"QUIT")
                client.rest()
            server.heard()
            self.assertNotIn(b"STARTTLS", server.connection().secure)

    def test_commands_before_a_broken_one_in_the_same_segment_do_not_reach_the_server(self):
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.reply()
                client.send(b"EHLO legacy.test\r\nNO\0OP\r\n")
                self.assertTrue(client.line().startswith(b"500 5.5.2 "))
                client.rest()
            self.assertEqual(daemon.session()["outcome"], "client_protocol")
            self.assertNotIn(b"legacy.test", server.heard())

    def test_a_client_that_knows_only_helo(self):
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.reply()
                self.assertEqual(client.command(b"HELO old"), b"250 mail.test\r\n")
                client.command(b"QUIT")
            server.heard()
        self.assertTrue(server.connection().secure.startswith(b"HELO old\r\n"))

    def test_a_bare_line_feed_ends_a_command_of_a_clear_client(self):
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.reply()
                client.send(b"HELO old\n")
                self.assertEqual(client.reply(), b"250 mail.test\r\n")
                client.command(b"QUIT")
            server.heard()
        self.assertTrue(server.connection().secure.startswith(b"HELO old\n"))

    def test_a_client_may_send_everything_at_once_before_the_greeting(self):
        everything = (b"EHLO legacy.test\r\nMAIL FROM:<a@legacy.test>\r\nRCPT TO:<b@mail.test>\r\n"
                      b"DATA\r\n" + ODD_MESSAGE + b".\r\nQUIT\r\n")
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.send(everything)
                replies, end = client.rest()
            server.heard()
        self.assertEqual(end, FIN)
        codes = [line[:3] for line in replies.split(b"\r\n") if line[3:4] == b" "]
        self.assertEqual(codes, [b"220", b"250", b"250", b"250", b"354", b"250", b"221"])
        self.assertEqual(server.connection().secure, everything)

    def test_byte_by_byte_from_both_sides(self):
        class Slow(Smtp):
            def say(self, connection, reply):
                for byte in reply:
                    connection.send(bytes([byte]))

        with FakeServer(Slow()) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.reply()
                for byte in b"EHLO legacy.test\r\nMAIL FROM:<a@legacy.test>\r\nQUIT\r\n":
                    client.send(bytes([byte]))
                replies, _ = client.rest()
            server.heard()
        self.assertEqual(replies, b"250-mail.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
                                  b"250 SIZE 100000000\r\n250 2.0.0 ok\r\n221 2.0.0 bye\r\n")

    def test_what_the_server_said_in_the_clear_is_forgotten(self):
        script = Smtp(clear_capabilities=b"250-mail.test\r\n250-AUTH CRAM-MD5\r\n250 StartTLS\r\n")
        with FakeServer(script) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                client.reply()
                self.assertNotIn(b"CRAM", client.command(b"EHLO legacy.test"))
                client.command(b"QUIT")

    def test_a_greeting_reaches_the_client_as_one_printable_line(self):
        script = Smtp(greeting=b"220-mail.test \x1b[31mhi\xe9\r\n220 there\r\n")
        with FakeServer(script) as server, Daemon(configuration(server.port)) as daemon:
            with daemon.connect() as client:
                self.assertRegex(client.line(), rb"\A220 [ -~]*\r\n\Z")
                self.assertTrue(client.command(b"QUIT").startswith(b"221"))

    def test_fifty_sessions_at_once(self):
        with FakeServer(Smtp()) as server, Daemon(configuration(server.port)) as daemon:
            clients = [daemon.connect() for _ in range(50)]
            for client in clients:
                client.reply()
            for number, client in enumerate(clients):
                client.send(b"EHLO c%d\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<b@mail.test>\r\nDATA\r\n"
                            b"%d\r\n.\r\nQUIT\r\n" % (number, number))
            for client in clients:
                self.assertIn(b"\r\n221 ", client.rest()[0])
                client.close()
            self.assertEqual(len(daemon.sessions(50)), 50)
            server.heard()
        self.assertEqual(sorted(int(c.messages[0]) for c in server.connections), list(range(50)))

    def test_servers_with_tls_1_2_are_accepted(self):
        context = tls_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with FakeServer(Smtp(context=context)) as server:
            with Daemon(configuration(server.port)) as daemon:
                with daemon.connect() as client:
                    client.reply()
                    client.command(b"QUIT")
                self.assertEqual(daemon.session()["upstream_tls"], "TLSv1.2")


class OtherModes(unittest.TestCase):
    def test_lmtp_answers_once_per_recipient(self):
        with FakeServer(Lmtp()) as server:
            with Daemon(configuration(server.port, protocol="lmtp")) as daemon:
                with daemon.connect() as client:
                    client.reply()
                    client.command(b"LHLO legacy.test")
                    client.command(b"MAIL FROM:<a@legacy.test>")
                    client.command(b"RCPT TO:<b@mail.test>")
                    client.command(b"RCPT TO:<c@mail.test>")
                    client.command(b"DATA")
                    client.send(ODD_MESSAGE)
                    self.assertTrue(client.command(b".").startswith(b"250 "))
                    self.assertTrue(client.reply().startswith(b"250 "))
                    client.command(b"QUIT")
            server.heard()
        self.assertEqual(bytes(server.connection().clear), b"LHLO proxy.test\r\nSTARTTLS\r\n")
        self.assertEqual(server.connection().messages, [ODD_MESSAGE])

    def test_implicit_tls_relays_the_greeting_unchanged(self):
        class Implicit(Smtp):
            def __call__(self, connection):
                connection.start_tls(self.context)
                self.say(connection, self.greeting)
                self.secured(connection)

        greeting = b"220-mail.test \xe9\r\n220 second line\r\n"
        with FakeServer(Implicit(greeting=greeting)) as server:
            with Daemon(configuration(server.port, upstream={"tls": "implicit"})) as daemon:
                with daemon.connect() as client:
                    self.assertEqual(client.reply(), greeting)
                    client.command(b"EHLO legacy.test")
                    client.command(b"QUIT")
            server.heard()
        self.assertEqual(bytes(server.connection().clear), b"")

    def test_opportunistic_falls_back_if_starttls_is_not_offered(self):
        class Clear(Smtp):
            clear_capabilities = b"250 mail.test\r\n"

            def __call__(self, connection):
                self.say(connection, self.greeting)
                self.secured(connection)

            capabilities = b"250 mail.test\r\n"

        with FakeServer(Clear()) as server:
            with Daemon(configuration(server.port, upstream={"tls": "opportunistic"})) as daemon:
                with daemon.connect() as client:
                    client.reply()
                    client.command(b"EHLO legacy.test")
                    self.assertTrue(client.command(b"QUIT").startswith(b"221"))
                self.assertEqual(daemon.session()["upstream_tls"], "none")

    def test_opportunistic_never_falls_back_once_the_handshake_has_begun(self):
        with FakeServer(Smtp(context=tls_context("expired"))) as server:
            with Daemon(configuration(server.port, upstream={"tls": "opportunistic"})) as daemon:
                with daemon.connect() as client:
                    client.send(b"EHLO canary\r\n")
                    self.assertRegex(client.rest()[0], rb"\A421 4\.7\.5 ")
                daemon.session()
            self.assertNotIn(b"canary", server.heard())

    def test_none_to_none_is_a_plain_relay_from_the_first_byte(self):
        def echo(connection):
            while True:
                connection.send(connection.receive())

        with FakeServer(echo) as server:
            with Daemon(configuration(server.port, upstream={"tls": "none"})) as daemon:
                with daemon.connect() as client:
                    data = b"STARTTLS\r\n\0\xff no protocol at all"
                    client.send(data)
                    self.assertEqual(client.exactly(len(data)), data)

    def test_one_service_without_a_file(self):
        with FakeServer(Smtp()) as server:
            arguments = ["--protocol", "smtp", "--listen", "127.0.0.1:0", "--upstream",
                         f"127.0.0.1:{server.port}", "--ca-file", pki().ca, "--server-name",
                         "mail.test"]
            with Daemon(arguments=arguments) as daemon, Client(daemon.port) as client:
                self.assertTrue(client.reply().startswith(b"220 "))
                self.assertTrue(client.command(b"QUIT").startswith(b"221 "))


if __name__ == "__main__":
    main.main()

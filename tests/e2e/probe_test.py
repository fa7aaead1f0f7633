"""starttls-proxy probe: its findings about servers, good, faulty and hostile, and its exit status."""

import concurrent.futures
import json
import re
import socket
import ssl
import unittest

from support import main, peers, wait
from support.client import free_port
from support.daemon import Daemon, configuration, run_to_end
from support.dialects import PROTOCOLS, word
from support.environment import pki
from support.fake_server import FakeServer, Smtp, obsolete_context, tls_context

ACCEPTED, UNREACHABLE, PROTOCOL, TLS = 0, 69, 76, 77
USAGE, CONFIG = 64, 78
WORDS = {ACCEPTED: ("accepted", None), UNREACHABLE: ("unreachable", None),
         PROTOCOL: ("refused", "protocol"), TLS: ("refused", "tls")}  # verdict, kind
REFUSALS = {"smtp": b"502 no\r\n", "lmtp": b"502 no\r\n", "imap": b"%s BAD no\r\n",
            "pop3": b"-ERR no\r\n", "sieve": b'NO "no"\r\n', "nntp": b"502 no\r\n"}
LOOK_AT_ITS_LOG = "^the server's operator should look at its log$"
CONTROL = re.compile(r"[^\n -~]")


def serve(protocol, *, implicit=False, offers=True, context=None):
    """Returns a script: the protocol's server, which answers until the client says goodbye."""
    dialect = PROTOCOLS[protocol]

    def script(connection):
        if implicit:
            connection.start_tls(context or tls_context())
        connection.send(dialect.offer(not offers or implicit) if dialect.pushes
                        else dialect.greeting)
        while line := connection.line():
            verb = dialect.verb(line)
            tag = word(line, 0)
            if verb in (b"QUIT", b"LOGOUT"):
                connection.goodbye = verb
                return
            if verb != dialect.verb(dialect.starttls):
                secure = connection.tls or not offers
                connection.send(dialect.offer(secure).replace(b"%s", tag))
            elif not offers:
                connection.send(REFUSALS[protocol].replace(b"%s", tag))
            else:
                connection.send(dialect.go_ahead.replace(b"%s", tag))
                connection.start_tls(context or tls_context())
                if dialect.pushes:
                    connection.send(dialect.offer(True))

    return script


def probe(port, *more, protocol="smtp", tls="starttls", verified=True, server_name="mail.test"):
    """Runs the probe; with `verified`, the test CA must have issued the certificate."""
    policy = ["--ca-file", pki().ca] if verified else []
    return run_to_end("probe", "--protocol", protocol, "--upstream", f"127.0.0.1:{port}",
                      "--upstream-tls", tls, "--server-name", server_name,
                      "--hostname", "proxy.test", *policy, *more)


class Probe(unittest.TestCase):
    def check(self, script, status, *more, **options):
        """Probes with output for people and for programs; both must agree. Returns (text, facts)."""
        with FakeServer(script) as server:
            return self.check_port(server.port, status, *more, **options)

    def check_port(self, port, status, *more, **options):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for_people, for_programs = (
                each.result() for each in [pool.submit(probe, port, *more, **options),
                                           pool.submit(probe, port, "--json", *more, **options)])
        text = for_people.stdout
        self.assertEqual(for_people.returncode, status, text + for_people.stderr)
        self.assertEqual(for_programs.returncode, status, for_programs.stdout)
        self.assertEqual(for_people.stderr + for_programs.stderr, "")
        self.assertIsNone(CONTROL.search(text), text)
        self.assertIsNone(CONTROL.search(for_programs.stdout))
        facts = json.loads(for_programs.stdout)
        self.assertEqual((facts["verdict"], facts["kind"]), WORDS[status])
        self.assertEqual(facts["accepted"], status == ACCEPTED)
        self.assertRegex(text, rf"\nverdict +{facts['verdict']}[:,] ")
        for words in [facts["reason"] or "", facts["tls_version"] or "",
                      facts["tls_cipher"] or "", *facts["advice"], *facts["greeting"],
                      *facts["capabilities"], *facts["capabilities_before_tls"]]:
            self.assertIn(words, text)
        for certificate in facts["chain"]:
            for key in ("subject", "issuer", "key", "pin"):
                self.assertIn(certificate[key], text)
            self.assertIn(", ".join(certificate["names"]) or "no name", text)
            for key in ("not_before", "not_after"):
                self.assertRegex(certificate[key], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
                self.assertIn(certificate[key].replace("T", " ").replace("Z", " UTC"), text)
        return text, facts

    def refused(self, script, status, reason, advice, *more, **options):
        """Asserts that the server is refused for this reason, and that this advice is given."""
        text, facts = self.check(script, status, *more, **options)
        self.assertRegex(facts["reason"], reason)
        self.assertIsNotNone(facts["peer"])  # it was reached
        self.assertRegex("\n".join(facts["advice"]), advice)
        return facts


class Accepted(Probe):
    def lists(self, protocol, secure):
        return PROTOCOLS[protocol].offer(secure).replace(b"%s", b"probe").decode().splitlines()

    def check_certificate(self, facts):
        leaf, issuer = facts["chain"]
        self.assertIn("mail.test", leaf["subject"])
        self.assertIn("starttls-proxy test CA", leaf["issuer"])
        self.assertIn("starttls-proxy test CA", issuer["subject"])
        self.assertIn("localhost", leaf["names"])
        self.assertEqual(leaf["key"], "ECDSA 256")
        self.assertRegex(leaf["pin"], r"\Asha256:[A-Za-z0-9+/]{43}=\Z")
        self.assertGreater(leaf["valid_for_seconds"], 29 * 86400)
        self.assertEqual(facts["tls_version"], "TLSv1.3")
        self.assertRegex(facts["tls_cipher"], r"\ATLS_")

    def check_mode(self, protocol, tls):
        secured = tls != "none" and tls != "clear"
        offers = tls != "clear"
        mode = "opportunistic" if tls == "clear" else tls
        with FakeServer(serve(protocol, implicit=tls == "implicit", offers=offers)) as server:
            text, facts = self.check_port(server.port, ACCEPTED, protocol=protocol, tls=mode)
            for connection in server.connections:
                self.assertTrue(connection.ended.wait(wait.DEADLINE))
                self.assertEqual(connection.goodbye,
                                 b"LOGOUT" if protocol in ("imap", "sieve") else b"QUIT")
                if secured:
                    # One EHLO may be sent in the clear; the goodbye and all else is inside TLS.
                    self.assertNotIn(connection.goodbye, connection.clear)
        greeting = PROTOCOLS[protocol].greeting.decode().splitlines()[-1]
        self.assertEqual(facts["greeting"], [greeting])
        self.assertEqual(facts["capabilities"], self.lists(protocol, secured or tls == "clear"))
        upgrades = mode in ("starttls", "opportunistic")
        self.assertEqual(facts["capabilities_before_tls"],
                         self.lists(protocol, not offers) if upgrades else [])
        if secured:
            self.check_certificate(facts)
            self.assertIn("accepted: encrypted, and verified as mail.test", text)
        else:
            self.assertEqual(facts["chain"], [])
            self.assertIsNone(facts["tls_version"])
            self.assertIn("accepted, in the clear: every machine on the way can read", text)
            self.assertEqual(facts["fallback"] is not None, tls == "clear")

    def test_every_protocol_in_every_mode(self):
        for protocol in PROTOCOLS:
            for tls in ("starttls", "implicit", "opportunistic", "clear", "none"):
                with self.subTest(protocol=protocol, tls=tls):
                    self.check_mode(protocol, tls)

    def test_the_pin_can_be_pasted(self):
        with FakeServer(serve("smtp", context=tls_context("self-signed"))) as server:
            _, facts = self.check_port(server.port, TLS)
            pin = facts["chain"][0]["pin"]
            text, _ = self.check_port(server.port, ACCEPTED, "--verify", "none", "--pin", pin,
                                      verified=False)
            self.assertIn("accepted: encrypted, and the server's key is pinned", text)

    def test_a_verdict_without_verification_says_so(self):
        text, facts = self.check(serve("imap", context=tls_context("unknown-ca")), ACCEPTED,
                                 "--verify", "none", protocol="imap", verified=False)
        self.assertIn("accepted: encrypted, but not verified", text)
        self.assertEqual(facts["verify"], "none")

    def test_a_greeting_of_many_lines_is_accepted(self):
        _, facts = self.check(Smtp(greeting=b"220-mail.test\r\n220-nice\r\n220 go\r\n"), ACCEPTED)
        self.assertEqual(facts["greeting"], ["220-mail.test", "220-nice", "220 go"])
        self.assertEqual(facts["capabilities_before_tls"],
                         ["250-mail.test", "250-SIZE 1", "250 STARTTLS"])


class Faults(Probe):
    def test_starttls_not_offered(self):
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                # Three protocols have a list that shows it; the others are asked, and refuse.
                error, reason = ("tls_not_offered", "server does not offer STARTTLS") if (
                    protocol in ("smtp", "lmtp", "sieve")) else (
                    "tls_refused", f"server refused {'STLS' if protocol == 'pop3' else 'STARTTLS'}")
                facts = self.refused(serve(protocol, offers=False), PROTOCOL, f"^{reason}$",
                                     "offers no STARTTLS here", protocol=protocol)
                self.assertEqual(facts["error"], error)
                self.assertIn("--upstream-tls implicit", facts["advice"][1])
                self.assertIn("--upstream-tls opportunistic", facts["advice"][2])

    def test_starttls_refused(self):
        facts = self.refused(Smtp(go_ahead=b"454 4.7.0 no TLS now\r\n"), PROTOCOL,
                             "refused STARTTLS", "operator should look at its log")
        self.assertEqual(facts["evidence"], "454 4.7.0 no TLS now")

    def test_expired(self):
        facts = self.refused(serve("smtp", context=tls_context("expired")), TLS, "has expired",
                             "renew its certificate, which expired on 2")
        self.assertLess(facts["chain"][0]["valid_for_seconds"], 0)
        self.assertEqual(facts["faults"], ["expired"])
        self.assertNotIn('="', facts["evidence"] or "")

    def test_all_faults_at_once(self):
        expired = serve("smtp", context=tls_context("expired"))
        facts = self.refused(expired, TLS, "has expired", "(?s)renew its certificate.*--server-name",
                             server_name="other.test")
        self.assertEqual(facts["faults"], ["expired", "wrong_name"])
        text, facts = self.check(serve("smtp", context=tls_context("expired")), TLS,
                                 server_name="other.test", verified=False)
        self.assertEqual(facts["faults"], ["unknown_ca", "expired", "wrong_name"])
        self.assertRegex(text, r"\n +also: the certificate expired on 2"
                               r".*\n +also: the certificate does not name other\.test\n")

    def test_faults_that_are_not_checked(self):
        text, facts = self.check(serve("smtp", context=tls_context("expired")), ACCEPTED,
                                 "--verify", "none", verified=False)
        self.assertEqual((facts["faults"], facts["advice"]), (["expired"], []))
        self.assertIn("not checked: the certificate expired on 2", text)

    def test_not_yet_valid(self):
        self.refused(serve("smtp", context=tls_context("not-yet-valid")), TLS, "not yet valid",
                     "clocks of both machines: the certificate is valid from 2")

    def test_wrong_name(self):
        self.refused(serve("smtp", context=tls_context("wrong-name")), TLS,
                     "name mismatch: wanted mail.test, got wrong.test",
                     r"--server-name .*wrong\.test")

    def test_unknown_ca_and_self_signed(self):
        for certificate, reason in (("unknown-ca", "unknown CA"), ("self-signed", "self-signed")):
            with self.subTest(certificate=certificate):
                facts = self.refused(serve("smtp", context=tls_context(certificate)), TLS, reason,
                                     "--ca-file ca.pem")
                self.assertIn("--verify none --pin " + facts["chain"][0]["pin"],
                              facts["advice"][-1])
                self.assertEqual(facts["faults"][0], certificate.replace("-ca", "_ca")
                                 .replace("self-", "self_"))

    def test_only_old_tls(self):
        self.refused(serve("smtp", context=obsolete_context()), TLS, "only speaks TLS 1.1 or older",
                     "too old to be safe")

    def test_older_than_the_configured_minimum(self):
        context = tls_context(maximum_version=ssl.TLSVersion.TLSv1_2)
        self.refused(serve("smtp", context=context), TLS, "only speaks TLS 1.2 or older",
                     "--min-tls 1.2", "--min-tls", "1.3")

    def test_pin_mismatch(self):
        facts = self.refused(serve("smtp"), TLS, "pin mismatch", "not the one that was pinned",
                             "--verify", "none", "--pin", "sha256:" + "A" * 43 + "=",
                             verified=False)
        self.assertIn(facts["chain"][0]["pin"], facts["advice"][0])

    def test_unreachable(self):
        text, facts = self.check_port(free_port(), UNREACHABLE)
        self.assertRegex(text, r"\nverdict +unreachable: ")
        self.assertRegex(facts["advice"][0], "--upstream,.*firewall")
        self.assertEqual((facts["peer"], facts["state"]), (None, "connecting"))

    def test_no_such_name(self):
        done = run_to_end("probe", "--protocol", "smtp", "--upstream", "nowhere.invalid:25",
                          "--connect-timeout", "5s", "--prelude-timeout", "5s")
        self.assertEqual(done.returncode, UNREACHABLE, done.stdout)

    def test_implicit_tls_with_a_server_that_begins_in_the_clear(self):
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                self.refused(serve(protocol), TLS, "not TLS", "--upstream-tls starttls",
                             protocol=protocol, tls="implicit")

    def test_starttls_with_a_server_that_begins_with_tls(self):
        facts = self.refused(serve("smtp", implicit=True), UNREACHABLE, "did not answer in time",
                             "--upstream-tls implicit", "--prelude-timeout", "3s")
        self.assertEqual(facts["state"], "greeting")

    def test_a_client_certificate_is_required(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                context = tls_context(minimum_version=version, maximum_version=version,
                                      verify_mode=ssl.CERT_REQUIRED)
                context.load_verify_locations(pki().ca)
                for tls in ("starttls", "implicit"):
                    facts = self.refused(
                        serve("smtp", implicit=tls == "implicit", context=context), TLS, "alert",
                        "wants a client certificate: set --upstream-chain ", tls=tls)
                    self.assertEqual(len(facts["chain"]), 2)

    def test_a_server_that_stops_answering(self):
        for reply, state, advice in (
                ("greeting", "greeting", "if this port speaks TLS from the first byte"),
                ("clear_capabilities", "ehlo", LOOK_AT_ITS_LOG),
                ("go_ahead", "starttls", LOOK_AT_ITS_LOG)):
            with self.subTest(reply=reply):
                facts = self.refused(Smtp(**{reply: None}), UNREACHABLE, "did not answer in time",
                                     advice, "--prelude-timeout", "10s")
                self.assertEqual((facts["error"], facts["state"]), ("timeout", state))

    def test_silence_in_the_handshake(self):
        def script(connection):
            serve_clear = Smtp()
            serve_clear.say(connection, serve_clear.greeting)
            serve_clear.prelude(connection)
            connection.wait_for_end()

        facts = self.refused(script, UNREACHABLE, "handshake with the server timed out",
                             LOOK_AT_ITS_LOG, "--handshake-timeout", "300ms")
        self.assertEqual(facts["state"], "TLS handshake")

    def test_silence_after_tls(self):
        class Silent(Smtp):
            def secured(self, connection):
                connection.wait_for_end()

        facts = self.refused(Silent(), UNREACHABLE, "did not answer in time", LOOK_AT_ITS_LOG,
                             "--prelude-timeout", "10s")
        self.assertEqual(facts["state"], "capabilities")
        self.assertEqual(facts["tls_version"], "TLSv1.3")

    def test_the_server_refuses_the_proxy(self):
        facts = self.refused(Smtp(greeting=b"554 5.7.1 go away\r\n"), PROTOCOL, "go away",
                             "its words say why")
        self.assertEqual(facts["greeting"], ["554 5.7.1 go away"])

    def test_another_protocol(self):
        facts = self.refused(serve("imap"), PROTOCOL, "^server sent an invalid reply$",
                             "^this looks like IMAP: set --protocol imap$", protocol="pop3")
        self.assertEqual((facts["error"], facts["state"]), ("protocol", "greeting"))

    def test_another_service(self):
        for banner, name in ((b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
                             (b"HTTP/1.0 408 Request Time-out\r\n\r\n", "HTTP")):
            with self.subTest(name=name):
                def script(connection, banner=banner):
                    connection.send(banner)
                    connection.wait_for_end()

                self.refused(script, PROTOCOL, "^server sent an invalid reply$",
                             f"^this looks like {name}, which is not a mail protocol: check the "
                             "address of --upstream$")


class Hostile(Probe):
    def test_escapes_stay_escapes(self):
        nasty = b"\x1b[2J\x1b]0;x\x07\x9b\xff\t\"\\"
        text, facts = self.check(Smtp(greeting=b"220 " + nasty + b"\r\n",
                                      capabilities=b"250-" + nasty + b"\r\n250 ok\r\n"), ACCEPTED)
        shown = r"\x1b[2J\x1b]0;x\x07\x9b\xff\t" + '"' + r"\\"
        self.assertEqual(facts["greeting"], ["220 " + shown])
        self.assertEqual(facts["capabilities"], ["250-" + shown, "250 ok"])
        self.assertIn(shown, text)
        facts = self.refused(Smtp(greeting=b"554 " + nasty + b"\r\n"), PROTOCOL, "^server says: 554 ",
                             "its words say why")
        self.assertEqual(facts["reason"], 'server says: 554 [2J]0;x"\\')

    def endless(self, data):
        def script(connection):
            connection.start_tls(tls_context())
            connection.send(b"220 mail.test\r\n")
            connection.line()
            while True:
                connection.send(data)

        return script

    def test_endless_replies_end(self):
        for data in (b"x" * 4096, b"250-x\r\n" * 500):
            with self.subTest(data=data[:10]):
                self.refused(self.endless(data), PROTOCOL, "^server sent a reply that is too long$",
                             "speaks this protocol: --protocol smtp", tls="implicit")

    def test_an_endless_greeting_ends(self):
        def script(connection):
            while True:
                connection.send(b"220-x\r\n" * 500)

        self.refused(script, PROTOCOL, "^server sent a reply that is too long$",
                     "speaks this protocol: --protocol smtp")

    def test_a_long_reply_is_cut_for_people(self):
        long_list = b"250-" + b"y" * 5000 + b"\r\n" + b"250-z\r\n" * 5000 + b"250 end\r\n"
        text, facts = self.check(Smtp(capabilities=long_list), ACCEPTED)
        self.assertLess(len(text), 20000)
        self.assertEqual(len(facts["capabilities"]), 201)
        self.assertTrue(facts["capabilities"][0].endswith("yyy..."))

    def test_bytes_after_the_go_ahead_are_an_attack(self):
        for protocol, dialect in PROTOCOLS.items():
            with self.subTest(protocol=protocol):
                def script(connection, dialect=dialect):
                    connection.send(dialect.greeting)
                    while line := connection.line():
                        tag = word(line, 0)
                        if dialect.verb(line) == dialect.verb(dialect.starttls):
                            go_ahead = dialect.go_ahead.replace(b"%s", tag)
                            connection.send(go_ahead + b"\x1b[31m injected\r\n")
                            connection.wait_for_end()
                            return
                        connection.send(dialect.offer(False).replace(b"%s", tag))

                facts = self.refused(script, PROTOCOL, "^unencrypted bytes after STARTTLS$",
                                     "attacker", protocol=protocol)
                self.assertEqual(facts["error"], "attack")
                self.assertIsNone(facts["tls_version"])

    def test_a_server_that_resets(self):
        def script(connection):
            connection.send(b"220 hi\r\n")
            connection.line()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        facts = self.refused(script, UNREACHABLE, "^the server closed the connection$",
                             LOOK_AT_ITS_LOG)
        self.assertEqual(facts["error"], "closed")


class Agreement(Probe):
    """If probe accepts a server, a daemon of the same settings serves with it, and only then."""

    def test_with_the_daemon(self):
        old = tls_context(maximum_version=ssl.TLSVersion.TLSv1_2)
        cases = {
            "good": (Smtp(), {}),
            "good, TLS 1.2": (Smtp(context=old), {}),
            "too old": (Smtp(context=old), {"min_tls": "1.3"}),
            "not offered": (Smtp(clear_capabilities=b"250 mail.test\r\n"), {}),
            "opportunistic": (Smtp(clear_capabilities=b"250 mail.test\r\n"),
                              {"tls": "opportunistic"}),
            "opportunistic, refused": (Smtp(go_ahead=b"454 no\r\n"), {"tls": "opportunistic"}),
            "opportunistic, expired": (Smtp(context=tls_context("expired")),
                                       {"tls": "opportunistic"}),
            "self-signed": (Smtp(context=tls_context("self-signed")), {}),
            "unverified": (Smtp(context=tls_context("self-signed")), {"verify": "none"}),
            "other name": (Smtp(context=tls_context("wrong-name")), {"server_name": "wrong.test"}),
            "attack": (Smtp(go_ahead=b"220 go\r\n2"), {}),
            "unwelcome": (Smtp(greeting=b"421 busy\r\n"), {}),
        }
        flags = {"tls": "--upstream-tls", "server_name": "--server-name", "verify": "--verify",
                 "min_tls": "--min-tls"}
        accepted = set()
        for case, (script, upstream) in cases.items():
            with self.subTest(case=case), FakeServer(script) as server:
                settings = {"server_name": "mail.test", **upstream}
                more = [word for key, value in settings.items() for word in (flags[key], value)]
                probed = run_to_end("probe", "--protocol", "smtp", "--upstream",
                                    f"127.0.0.1:{server.port}", "--ca-file", pki().ca, *more)
                with Daemon(configuration(server.port, upstream=upstream)) as daemon:
                    with daemon.connect() as client:
                        greeted = client.reply().startswith(b"220 ")
                        if greeted:
                            client.command(b"QUIT")
                self.assertEqual(probed.returncode == ACCEPTED, greeted, probed.stdout)
                if greeted:
                    accepted.add(case)
        self.assertEqual(accepted, {"good", "good, TLS 1.2", "opportunistic", "unverified",
                                    "opportunistic, refused", "other name"})


class CommandLine(unittest.TestCase):
    def ends(self, status, words, *arguments):
        done = run_to_end("probe", *arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(words, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_usage_errors(self):
        server = ("--protocol", "smtp", "--upstream", "127.0.0.1:25")
        self.ends(USAGE, "options are missing: --protocol, --upstream")
        self.ends(USAGE, "options are missing: --upstream", "--protocol", "smtp")
        self.ends(USAGE, "--config", *server, "--config", "a.toml")
        self.ends(USAGE, "--check", *server, "--check")
        self.ends(USAGE, "one server at a time", *server, "--upstream", "127.0.0.1:26")
        self.ends(USAGE, "unknown option", *server, "--pins", "x")
        self.ends(USAGE, "unexpected argument", *server, "now")

    def test_wrong_settings(self):
        server = ("--protocol", "smtp", "--upstream", "127.0.0.1:25")
        self.ends(CONFIG, "--pin", *server, "--pin", "sha256:short")
        self.ends(CONFIG, "--ca-file", *server, "--ca-file", "/nonexistent/ca.pem")
        self.ends(CONFIG, "--protocol", "--protocol", "smpt", "--upstream", "127.0.0.1:25")


class RealServers(Probe):
    def test_postfix(self):
        with peers.Postfix() as postfix:
            text, facts = self.check_port(postfix.port, ACCEPTED)
            self.assertRegex(facts["greeting"][0], r"\A220 mail\.test ESMTP Postfix")
            self.assertIn("250-STARTTLS", facts["capabilities_before_tls"])
            self.assertNotIn("250-STARTTLS", facts["capabilities"])
            self.assertIn("250-PIPELINING", facts["capabilities"])
            self.assertIn("verified as mail.test", text)
            # Both probes, from the first EHLO to the goodbye.
            wait.until(lambda: postfix.log().count("ehlo=2 starttls=1 quit=1 commands=4") == 2,
                       lambda: f"two whole sessions\n{postfix.log()}")
            self.check_port(postfix.port, TLS, verified=False)


if __name__ == "__main__":
    main.main()

"""Servers that log in in odd ways, or fail at a step of it: the exchange byte by byte, and its end."""

import unittest

from support import admin, main, sasl
from support.client import FIN, free_port
from support.daemon import Daemon, configuration
from support.fake_server import FakeServer, tls_context
from support.login_case import STEPS, TOKEN, LoginCase, at, leave
from support.login_client import KINDS
from support.login_server import OK
from support.logins import (ACCOUNTS, NAME, PASSWORD, SECRET, TEMPORARY, TOKENS, USER, login,
                            write)

# How our words begin if a session ends.
ENDED = {"smtp": rb"421 4\.\d\.\d ", "lmtp": rb"421 4\.\d\.\d ", "imap": rb"\* BYE \[UNAVAILABLE\] ",
         "pop3": rb"-ERR \[SYS/TEMP\] ", "sieve": rb"BYE \(TRYLATER\) ", "nntp": rb"400 "}
LONG = "t0ken-of-the-tests." * 470  # 8930 bytes


class Exchanges(LoginCase):
    def attempt(self, protocol):
        [attempt] = self.scripts[protocol].attempts
        return attempt

    def succeed(self, service, **changes):
        """Logs in to a server with these changes. Returns what the server heard."""
        protocol = service.partition("-")[0]
        self.scripts[protocol].reset(**changes)
        client, reply = self.log_in(service)
        self.assertTrue(client.succeeded(reply), reply)
        self.assert_relayed(client)
        self.assertEqual(self.session(client)["outcome"], "ok")
        return self.attempt(protocol)

    def test_lp5_each_mechanism_has_its_own_text(self):
        for protocol in self.protocols:
            port = self.servers[protocol].port
            for mechanism in ("plain", "login", *TOKENS):
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    attempt = self.succeed(f"{protocol}-{mechanism}")
                    name = mechanism.upper()
                    self.assertEqual(attempt.mechanism, name)
                    self.assertEqual(attempt.messages, sasl.answers(
                        name, USER, TOKEN if mechanism in TOKENS else SECRET, "mail.test", port))

    def test_lp1_a_long_message_is_a_step_of_its_own(self):
        """A whole SMTP line of 512 bytes, its CRLF included, and an IMAP line of 8 KiB are not long."""
        frame = len(sasl.xoauth2(USER, ""))
        for size in (100, 300, 340, 345, 346, 347, 350, 400, 4500):
            write(self.token, "t" * size)
            text = 4 * -(-(frame + size) // 3)
            for protocol in self.protocols:
                with self.subTest(protocol=protocol, size=size):
                    attempt = self.succeed(f"{protocol}-xoauth2")
                    one_line = {"smtp": len(b"AUTH XOAUTH2 ") + text + 2 <= 512, "imap": True}
                    self.assertEqual(attempt.inline, one_line.get(
                        "smtp" if protocol == "lmtp" else protocol, False))
        for size, inline in ((6000, True), (6200, False)):
            write(self.token, "t" * size)
            self.assertEqual(self.succeed("imap-xoauth2").inline, inline)
            self.assertFalse(self.succeed("imap-xoauth2", sasl_ir=False).inline)

    def test_lp2_pop3_and_others_take_two_steps_always(self):
        for protocol in ("pop3", "sieve", "nntp"):
            for mechanism in ("plain", "login", *TOKENS):
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    self.assertFalse(self.succeed(f"{protocol}-{mechanism}").inline)
        for protocol in ("smtp", "lmtp", "imap"):
            self.assertFalse(self.succeed(f"{protocol}-login").inline)

    def test_a_token_of_nine_thousand_bytes(self):
        write(self.token, LONG)
        for protocol in self.protocols:
            for mechanism in TOKENS:
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    attempt = self.succeed(f"{protocol}-{mechanism}")
                    self.assertEqual(sasl.parsed(attempt), (USER.encode(), LONG.encode()))

    def test_lp3_lp4_the_error_in_json_is_answered_by_the_right_word(self):
        for protocol in self.protocols:
            for mechanism in TOKENS:
                with self.subTest(protocol=protocol, mechanism=mechanism):
                    script = self.scripts[protocol]
                    script.reset(decide=lambda *_: "json")
                    client, reply = self.log_in(f"{protocol}-{mechanism}")
                    self.assertRegex(reply, TEMPORARY[protocol])
                    attempt = self.attempt(protocol)  # the file still has the same token
                    end = sasl.END[mechanism.upper()]
                    self.assertEqual(attempt.end, b"=" if protocol == "nntp" and not end else end)
                    line = self.session(client)
                    self.assertEqual(line["outcome"], "login")
                    self.assertNotIn("scope", line["reason"])

    def test_lp6_a_challenge_without_text_or_without_a_blank(self):
        bare = {"smtp": b"334\r\n", "lmtp": b"334\r\n", "imap": b"+\r\n", "pop3": b"+\r\n",
                "sieve": b'""\r\n', "nntp": b"383\r\n"}
        other = {"smtp": b"334 XOAUTH2 go\r\n", "lmtp": b"334 \r\n", "imap": b"+ go ahead\r\n",
                 "pop3": b"+ go\r\n", "sieve": b"{0}\r\n\r\n", "nntp": b"383 =\r\n"}
        for protocol in self.protocols:
            for challenge in (bare, other):
                with self.subTest(protocol=protocol, challenge=challenge[protocol]):
                    attempt = self.succeed(f"{protocol}-oauthbearer", sasl_ir=False,
                                           challenge=challenge[protocol])
                    self.assertEqual(sasl.parsed(attempt)[1], TOKEN.encode())

    def test_lp7_untagged_lines_within_a_login(self):
        lines = b"* OK still here\r\n* CAPABILITY IMAP4rev1\r\n* 1 EXISTS\r\n"
        for mechanism in ("plain", "login", *TOKENS):
            for sasl_ir in (False, True):
                with self.subTest(mechanism=mechanism, sasl_ir=sasl_ir):
                    self.succeed(f"imap-{mechanism}", before=lines, sasl_ir=sasl_ir)

    def test_lp8_lp9_lists_are_read_by_whole_words(self):
        only = {
            "smtp": ([b"AUTH=XOAUTH2"], [b"AUTH LOGIN", b"AUTH=XOAUTH2"], [b"AUTH CRAM-MD5 XOAUTH2"],
                     [b"auth  xoauth2  PLAINX"]),
            "imap": ([b"AUTH=XOAUTH2"], [b"auth=xoauth2", b"SASL-IR"], [b"AUTH=XOAUTH2X", b"AUTH=XOAUTH2"]),
            "pop3": ([b"SASL XOAUTH2"], [b"SASL CRAM-MD5 XOAUTH2"], [b"sasl xoauth2 "]),
            "sieve": ([b'"SASL" "XOAUTH2"'], [b'"SASL" "SCRAM-SHA-1 XOAUTH2"']),
            "nntp": ([b"AUTHINFO SASL", b"SASL XOAUTH2"], [b"AUTHINFO USER SASL", b"SASL NTLM XOAUTH2"]),
        }
        for protocol, lists in only.items():
            for listed in lists:
                with self.subTest(protocol=protocol, listed=listed):
                    self.assertEqual(self.succeed(f"{protocol}-token", listed=listed).mechanism, "XOAUTH2")
        for protocol, listed in (("smtp", [b"AUTH XOAUTH2X OAUTH"]), ("imap", [b"AUTH=XOAUTH2X"]),
                                 ("pop3", [b"SASL XOAUTH"]), ("sieve", [b'"SASL" "XXOAUTH2"']),
                                 ("nntp", [b"AUTHINFO SASL", b"SASL XOAUTH2X"])):
            with self.subTest(protocol=protocol, listed=listed):
                self.scripts[protocol].reset(listed=listed)
                client, reply = self.log_in(f"{protocol}-token")
                self.assertRegex(reply, TEMPORARY[protocol])
                self.assertEqual(self.scripts[protocol].attempts, [])
                self.assertEqual(self.session(client)["outcome"], "login")

    def test_lp10_prompts_of_every_make(self):
        for prompts in ((b"VXNlciBOYW1lAA==", b"UGFzc3dvcmQA"),  # with a NUL
                        (b"", b""), (b"dXNlcm5hbWU6", b"cGFzc3dvcmQ6"), (b"UGFzc3dvcmQ6", b"VXNlcm5hbWU6")):
            for protocol in self.protocols:
                with self.subTest(protocol=protocol, prompts=prompts):
                    attempt = self.succeed(f"{protocol}-login", prompts=prompts)
                    self.assertEqual(attempt.messages, [USER.encode(), SECRET.encode()])

    def test_a_server_without_sasl_gets_its_protocols_own_login(self):
        lists = {"imap": [], "pop3": [b"USER"], "nntp": [b"AUTHINFO USER"]}
        for protocol, listed in lists.items():
            for service in ("password", "passed"):
                with self.subTest(protocol=protocol, service=service):
                    self.scripts[protocol].reset(listed=listed)
                    client, reply = self.log_in(f"{protocol}-{service}")
                    self.assertTrue(client.succeeded(reply), reply)
                    attempt = self.attempt(protocol)
                    self.assertEqual(attempt.mechanism, "native")
                    self.assertEqual(attempt.messages, [USER.encode(), SECRET.encode()]
                                     if service == "password" else [NAME.encode(), PASSWORD.encode()])
                    self.assert_relayed(client)
                    self.assertEqual(self.session(client)["login_mechanism"], "native")

    def test_success_of_several_lines_and_with_a_list(self):
        replies = {
            "smtp": b"235-2.7.0 welcome\r\n235 2.7.0 to us\r\n", "lmtp": b"235-a\r\n235 b\r\n",
            "imap": b"* CAPABILITY IMAP4rev1 UIDPLUS\r\n%s OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n",
            "sieve": b'OK (SASL "cnNwYXV0aD0=") "in"\r\n', "pop3": b"+OK\r\n", "nntp": b"283 x\r\n",
        }
        for protocol, success in replies.items():
            with self.subTest(protocol):
                self.scripts[protocol].reset(decide=lambda *_, bytes=success: bytes)
                client, reply = self.log_in(f"{protocol}-plain")
                self.assertTrue(client.succeeded(reply), reply)
                if protocol == "imap":
                    self.assertEqual(reply, success.replace(b"%s", b"l"))
                self.assert_relayed(client)

    def test_a_list_of_sieve_with_the_success_passes(self):
        """Without what a client that has logged in must not see, and without the mechanism's last message."""
        lists = ((b'"SIEVE" "fileinto"\r\n"SASL" ""\r\n', b'"SIEVE" "fileinto"\r\n"SASL" ""\r\n'),
                 (b'"XFOO"\r\n"STARTTLS"\r\n"UNAUTHENTICATE"\r\n', b'"XFOO"\r\n'),
                 (b'{5}\r\nOWNER {3}\r\nann\r\n', b'{5}\r\nOWNER {3}\r\nann\r\n'))
        for service in ("plain", "login", *TOKENS):
            for listed, seen in lists:
                with self.subTest(service=service, listed=listed):
                    success = listed + b'OK (SASL "cnNwYXV0aD0=") "in"\r\n'
                    self.scripts["sieve"].reset(decide=lambda *_, bytes=success: bytes)
                    client = self.client(f"sieve-{service}")
                    client.log_in("PLAIN=", NAME, PASSWORD, wait=False)
                    self.assertEqual(client.end_of_list(), seen + b'OK "Logged in"\r\n')
                    self.assert_relayed(client)
                    self.assertEqual(self.session(client)["outcome"], "ok")

    def test_a_refusal_of_several_lines(self):
        refusals = {
            "smtp": b"535-5.7.8 Username and Password not accepted. For more\r\n535 5.7.8 see there\r\n",
            "imap": b"* BAD x\r\n%s NO [ALERT] Application-specific password required\r\n",
        }
        for protocol, refusal in refusals.items():
            self.scripts[protocol].reset(decide=lambda *_, bytes=refusal: bytes)
            client, reply = self.log_in(f"{protocol}-plain")
            self.assertRegex(reply, TEMPORARY[protocol])
            self.assertEqual(self.session(client)["outcome"], "login")

    def test_the_switch_of_microsoft_is_explained(self):
        refusal = (b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
                   b"Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.\r\n")
        for mechanism in ("plain", "xoauth2"):
            self.scripts["smtp"].reset(decide=lambda *_: refusal)
            client, reply = self.log_in(f"smtp-{mechanism}")
            self.assertRegex(reply, TEMPORARY["smtp"])
            self.assertIn(b"5.7.139", reply)
            line = self.session(client)
            self.assertEqual(line["outcome"], "login")
            self.assertRegex(line["reason"], r"5\.7\.139.*(?i:smtp auth).*(?i:tenant).*(?i:mailbox)")


class Retries(LoginCase):
    def test_lp18_a_refused_token_is_asked_for_once_more(self):
        for protocol in self.protocols:
            for refusal in ("json", "no"):
                with self.subTest(protocol=protocol, refusal=refusal):
                    write(self.token, "old-token")
                    script = self.scripts[protocol]

                    def decide(attempt, number, refusal=refusal):
                        write(self.token, f"new-token-{number}")
                        return refusal if number == 1 else "ok"

                    script.reset(decide=decide)
                    client, reply = self.log_in(f"{protocol}-xoauth2")
                    self.assertTrue(client.succeeded(reply), reply)
                    self.assertEqual([sasl.parsed(attempt)[1] for attempt in script.attempts],
                                     [b"old-token", b"new-token-1"])
                    self.assert_relayed(client)
                    self.assertEqual(self.session(client)["outcome"], "ok")

    def test_lp18_never_a_loop(self):
        for protocol in self.protocols:
            with self.subTest(protocol):
                def decide(attempt, number):
                    write(self.token, f"new-token-{number}")
                    return "json"

                write(self.token, "old-token")
                self.scripts[protocol].reset(decide=decide)
                client, reply = self.log_in(f"{protocol}-xoauth2")
                self.assertRegex(reply, TEMPORARY[protocol])
                self.assertEqual(len(self.scripts[protocol].attempts), 2)

    def test_the_same_secret_is_not_tried_again(self):
        for protocol in self.protocols:
            for service in ("xoauth2", "plain"):
                with self.subTest(protocol=protocol, service=service):
                    self.scripts[protocol].reset(decide=lambda *_: "no")
                    _, reply = self.log_in(f"{protocol}-{service}")
                    self.assertRegex(reply, TEMPORARY[protocol])
                    self.assertEqual(len(self.scripts[protocol].attempts), 1)

    def test_a_server_that_hangs_up_after_its_refusal_is_asked_anew(self):
        """The second login comes on a fresh connection, with the client's hello said again."""
        for protocol in self.protocols:
            with self.subTest(protocol):
                write(self.token, "old-token")
                script = self.scripts[protocol]

                def decide(attempt, number):
                    if number == 1:
                        write(self.token, "new-token")
                        leave(None)
                    return "ok"

                script.reset(decide=decide)
                client, reply = self.log_in(f"{protocol}-xoauth2")
                if not client.succeeded(reply):  # the word is temporary; the client tries again
                    self.assertRegex(reply, TEMPORARY[protocol])
                    reply = client.log_in("PLAIN", NAME, PASSWORD)
                self.assertTrue(client.succeeded(reply), reply)
                self.assertEqual(sasl.parsed(script.attempts[-1])[1], b"new-token")
                self.assert_relayed(client)


    def test_a_server_that_refuses_and_hangs_up_hears_the_fresh_secret(self):
        for protocol, words in (("smtp", b"535 5.7.8 no\r\n"), ("lmtp", b"535 5.7.8 no\r\n"),
                                ("pop3", b"-ERR no\r\n"), ("sieve", b'NO "no"\r\n'),
                                ("nntp", b"481 no\r\n")):  # without IMAP's, which has a tag
            with self.subTest(protocol):
                write(self.token, "old-token")
                script = self.scripts[protocol]

                def said(step, script=script, words=words):
                    if step != "result" or len(script.attempts) > 1:
                        return b""
                    write(self.token, "new-token")
                    return (words,)

                script.reset(said=said)
                client, reply = self.log_in(f"{protocol}-xoauth2")
                self.assertTrue(client.succeeded(reply), reply)
                self.assertEqual([sasl.parsed(each)[1] for each in script.attempts],
                                 [b"old-token", b"new-token"])
                self.assert_relayed(client)


class Preauthenticated(unittest.TestCase):
    def test_a_server_that_asks_for_no_login(self):
        """Inside TLS PREAUTH may come from the server itself. The client would get its mailbox all the same."""
        def script(connection):
            connection.start_tls(tls_context())
            connection.send(b"* PREAUTH [CAPABILITY IMAP4rev1] mail.test\r\n")
            connection.wait_for_end()

        with FakeServer(script) as server:
            address = f"127.0.0.1:{free_port()}"
            config = configuration(server.port, protocol="imap", upstream={"tls": "implicit"},
                                   login=login(), accounts=ACCOUNTS)
            config += f'\n[admin]\nlisten = "{address}"\n'
            with Daemon(config) as daemon, KINDS["imap"](daemon.port) as client:
                self.assertRegex(client.greeted(), ENDED["imap"])
                self.assertEqual(client.rest(), (b"", FIN))
                self.assertEqual(daemon.session()["outcome"], "attack")
                [event] = daemon.lines(lambda line: line.get("msg") == "session failed")
                self.assertEqual((event["leg"], event["peer"]), ("upstream", f"127.0.0.1:{server.port}"))
                self.assertEqual(admin.metrics(address).nonzero("starttls_attacks_total"), {("preauth", "upstream"): 1})
            self.assertEqual(bytes(server.connections[0].secure), b"")


class HangingUp(LoginCase):
    def test_a_server_that_leaves_at_a_step(self):
        for protocol in self.protocols:
            for step in ("command", "password", "result"):
                with self.subTest(protocol=protocol, step=step):
                    self.scripts[protocol].reset(said=at(step, leave))
                    client, reply = self.log_in(f"{protocol}-login")
                    self.assertRegex(reply, TEMPORARY[protocol])
                    self.scripts[protocol].reset()
                    reply = client.log_in("PLAIN", NAME, PASSWORD)
                    self.assertTrue(client.succeeded(reply), reply)
                    self.assert_relayed(client)

    def test_a_server_that_leaves_always(self):
        """A client may try again on one fresh connection."""
        for protocol in self.protocols:
            with self.subTest(protocol):
                self.scripts[protocol].reset(said=at("command", leave),)
                client, reply = self.log_in(f"{protocol}-login")
                self.assertRegex(reply, TEMPORARY[protocol])
                self.assertRegex(client.log_in("PLAIN", NAME, PASSWORD), TEMPORARY[protocol])
                rest, how = client.rest()
                self.assertEqual(how, FIN)
                self.assertRegex(rest, rb"\A(%b[^\n]*\n)?\Z" % ENDED[protocol])
                self.assertEqual(self.session(client)["outcome"], "login")

    def test_a_server_that_leaves_within_a_line(self):
        for protocol in self.protocols:
            for piece in (OK[protocol][:-2], OK[protocol][:-1]):
                with self.subTest(protocol=protocol, piece=piece):
                    self.scripts[protocol].reset(said=at("result", (piece,)))
                    _, reply = self.log_in(f"{protocol}-plain")
                    self.assertRegex(reply, TEMPORARY[protocol])

    def test_words_that_end_the_servers_side(self):
        goodbye = {"smtp": b"421 4.3.2 closing\r\n", "lmtp": b"421 4.3.2 closing\r\n",
                   "imap": b"* BYE closing\r\n", "pop3": b"-ERR [SYS/TEMP] closing\r\n",
                   "sieve": b'BYE (TRYLATER) "closing"\r\n', "nntp": b"400 closing\r\n"}
        for protocol in self.protocols:
            for step in ("command", "result"):
                with self.subTest(protocol=protocol, step=step):
                    self.scripts[protocol].reset(said=at(step, (goodbye[protocol],)))
                    _, reply = self.log_in(f"{protocol}-login")
                    self.assertRegex(reply, TEMPORARY[protocol])

    def test_nonsense(self):
        for protocol in self.protocols:
            for step in ("command", "result"):
                for nonsense in (b"\0\0\r\n", b"what?\r\n", b"x" * 9000 + b"\r\n", b"\r\n"):
                    with self.subTest(protocol=protocol, step=step, nonsense=nonsense[:8]):
                        self.scripts[protocol].reset(said=at(step, nonsense))
                        client, reply = self.log_in(f"{protocol}-login")
                        self.assertRegex(reply, ENDED[protocol])
                        # To IMAP the words are an answer to a command with another tag.
                        unasked = protocol == "imap" and nonsense == b"what?\r\n"
                        self.assertEqual(self.session(client)["outcome"],
                                         "attack" if unasked else "protocol")


class Silence(LoginCase):
    tables = {"timeouts": {"prelude": "5s"}}

    def test_a_server_that_falls_silent_at_a_step(self):
        """The time begins with the client's login."""
        for step in STEPS:
            clients = {}
            for protocol in self.protocols:
                self.scripts[protocol].reset(said=at(step, None))
                clients[protocol] = self.client(f"{protocol}-login")
            for client in clients.values():
                client.log_in("PLAIN", NAME, PASSWORD, wait=False)
            for protocol, client in clients.items():
                with self.subTest(protocol=protocol, step=step):
                    self.assertRegex(client.answer(), TEMPORARY[protocol])
                    self.assertEqual(self.session(client)["outcome"], "login")


if __name__ == "__main__":
    main.main()

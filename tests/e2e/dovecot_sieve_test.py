"""ManageSieve to a real Dovecot, in all directions: lists, logins, scripts byte by byte."""

import base64

from support import dovecot, main, peers
from support.client import Client
from support.directions import (BRIDGE, IN_SHORT, PAIRS, TERMINATE, UPGRADE, Directions, in_pairs,
                                tls_client)
from support.dovecot import OWN, PASSWORD, STRANGE
from support.scram import Scram

# ManageSieve has no port of implicit TLS. A Dovecot that is made to offer one forgets every
# fiftieth client after the greeting, without a proxy too.
PAIRS = tuple(pair for pair in PAIRS if pair[1] != "implicit")
TO_TLS = tuple(pair for pair in PAIRS if pair[0] != "none")

PLAIN = base64.b64encode(b"\0box\0" + PASSWORD.encode())
SCRIPT = (b'require "fileinto";\r\n# \xc3\xa9 {5}\r\n# OK "done"\r\n# one\n# two\r\n'
          b'if header :is "subject" "\xc3\xbc" { fileinto "x"; }\r\n')
LARGE = SCRIPT + b"".join(b"# %05d%s\r\n" % (n, b"x" * (n % 90)) for n in range(15_000))


class Raw(Client):
    """ManageSieve by hand (RFC 5804)."""

    def answer(self):
        """Reads up to and including OK, NO or BYE; literals are part of it."""
        data = b""
        ended = False
        while not ended:
            line = self.line()
            if not line:
                raise AssertionError(f"ended: {data!r}")
            data += line
            ended = line[:3].strip() in (b"OK", b"NO", b"BYE")
            while line.endswith(b"}\r\n"):
                data += self.exactly(int(line[line.rindex(b"{") + 1:-3]))
                line = self.line()
                data += line
        return data

    def ask(self, line):
        self.send(line + b"\r\n")
        return self.answer()

    def log_in(self):
        reply = self.ask(b'AUTHENTICATE "PLAIN" "%s"' % PLAIN)
        if not reply.startswith(b"OK"):
            raise AssertionError(reply)

    def get(self, name):
        """Returns a script as it is stored."""
        size, _, rest = self.ask(b'GETSCRIPT "%s"' % name).partition(b"{")[2].partition(b"}\r\n")
        return rest[:int(size)]


def capabilities(answer):
    """Returns name -> value of a capability list."""
    pairs = [line.split(b" ", 1) for line in answer.splitlines() if line.startswith(b'"')]
    return {pair[0].strip(b'"').decode(): pair[1].strip(b'"').decode() if pair[1:] else None
            for pair in pairs}


class Sieve(dovecot.DovecotTest):
    protocol = "sieve"

    def raw(self, pair, directions=None):
        """Returns a client after its TLS, and the last capabilities that it received."""
        client = self.enterContext((directions or self.directions).connect(pair, Raw))
        told = client.answer()
        if pair[0] == "starttls":
            self.assertTrue(client.ask(b"STARTTLS").startswith(b"OK"))
            client.start_tls(tls_client(), "mail.test")
            told = client.answer()
        return client, capabilities(told)

    def direct(self, pair):
        client = self.enterContext(Raw(self.server(pair).ports["sieve"]))
        told = client.answer()
        if pair[1] != "none":
            client.ask(b"STARTTLS")
            client.start_tls(tls_client(), "mail.test")
            told = client.answer()
        return client, capabilities(told)

    @in_pairs(PAIRS)
    def test_capabilities_are_the_servers_after_tls(self, pair):
        client, told = self.raw(pair)
        self.assertNotIn("STARTTLS", told)
        self.assertEqual(told["SASL"], "PLAIN LOGIN SCRAM-SHA-256")
        self.assertEqual(told, self.direct(pair)[1])
        self.assertEqual(told, capabilities(client.ask(b"CAPABILITY")))

    @in_pairs(PAIRS)
    def test_a_session(self, pair):
        before = len(self.server(pair).logins("sieve"))
        client, _ = self.raw(pair)
        client.log_in()
        self.assert_login(pair, before + 1, "user=<box>", "method=PLAIN,")
        for script in (SCRIPT, LARGE):
            self.assertTrue(client.ask(b'CHECKSCRIPT {%d+}\r\n' % len(script) + script)
                            .startswith(b"OK"))
            self.assertTrue(client.ask(b'PUTSCRIPT "new" {%d+}\r\n' % len(script) + script)
                            .startswith(b"OK"))
            self.assertEqual(client.get(b"new"), script)
            direct, _ = self.direct(pair)
            direct.log_in()
            self.assertEqual(direct.get(b"new"), script)
        self.assertEqual(client.ask(b"LISTSCRIPTS").splitlines()[0], b'"new"')
        self.assertTrue(client.ask(b'SETACTIVE "new"').startswith(b"OK"))
        self.assertEqual(client.ask(b"LISTSCRIPTS").splitlines()[0], b'"new" ACTIVE')
        wrong = b'PUTSCRIPT "wrong" {8+}\r\nfrobnic;'
        self.assertEqual(client.ask(wrong), direct.ask(wrong))
        self.assertTrue(client.ask(b'SETACTIVE ""').startswith(b"OK"))
        self.assertTrue(client.ask(b'DELETESCRIPT "new"').startswith(b"OK"))
        address = client.sock.getsockname()
        self.assertTrue(client.ask(b"LOGOUT").startswith(b"OK"))
        client.close()
        self.directions.assert_legs(pair, address)

    @in_pairs(PAIRS)
    def test_mechanisms(self, pair):
        scram = Scram("box", PASSWORD)
        exchanges = {
            "PLAIN": [lambda _: b"\0box\0" + PASSWORD.encode()],
            "LOGIN": [lambda _: b"box", lambda _: PASSWORD.encode()],
            "SCRAM-SHA-256": [lambda _: scram.first(), scram.final, scram.verify],
        }
        for mechanism, answers in exchanges.items():
            before = len(self.server(pair).logins("sieve"))
            client, _ = self.raw(pair)
            client.send(b'AUTHENTICATE "%s"\r\n' % mechanism.encode())
            for answer in answers:
                client.send(b'"%s"\r\n' % base64.b64encode(answer(self.challenge(client))))
            reply = client.answer()
            self.assertTrue(reply.startswith(b"OK"), reply)
            self.assert_login(pair, before + 1, f"method={mechanism},")

    @staticmethod
    def challenge(client):
        line = client.line()
        if line.startswith(b"{"):  # Dovecot may choose a literal as the form of the string
            line = client.line()
        return base64.b64decode(line.strip().strip(b'"'))

    @in_pairs(IN_SHORT)
    def test_the_server_refuses_a_wrong_password(self, pair):
        client, _ = self.raw(pair)
        wrong = base64.b64encode(b"\0box\0wrong")
        self.assertTrue(client.ask(b'AUTHENTICATE "PLAIN" "%s"' % wrong).startswith(b"NO"))
        client.log_in()

    @in_pairs(UPGRADE[:1])
    def test_all_commands_may_come_at_once_before_the_greeting(self, pair):
        client = self.enterContext(self.directions.connect(pair, Raw))
        client.send(b'CAPABILITY\r\nAUTHENTICATE "PLAIN" {%d+}\r\n%s\r\nNOOP\r\nLOGOUT\r\n'
                    % (len(PLAIN), PLAIN))
        greeting = client.answer()
        self.assertNotIn(b"STARTTLS", greeting)
        self.assertEqual(capabilities(client.answer()), capabilities(greeting))
        replies, _ = client.rest()
        self.assertEqual([line[:2] for line in replies.splitlines()], [b"OK"] * 3, replies)

    @in_pairs(TO_TLS)
    def test_openssl_and_gnutls(self, pair):
        for program in ("openssl", "gnutls-cli"):
            heard = peers.tls_client(
                program, self.directions.ports[pair],
                b'AUTHENTICATE "PLAIN" "%s"\r\nHAVESPACE "x" 10\r\nLOGOUT\r\n' % PLAIN,
                starttls="sieve" if pair[0] == "starttls" else None)
            self.assertIn(b'"SASL" "PLAIN LOGIN SCRAM-SHA-256"', heard)
            self.assertRegex(heard, rb'OK "Logged in\."\r\nOK.*\r\nOK "Logout completed\."')

    @in_pairs((TERMINATE[0], BRIDGE[0]))
    def test_before_tls_no_login_is_offered_and_nothing_reaches_the_server(self, pair):
        client = self.enterContext(self.directions.connect(pair, Raw))
        told = capabilities(client.answer())
        self.assertIn("STARTTLS", told)
        self.assertEqual(told["SASL"], "")
        self.assertTrue(client.ask(b'AUTHENTICATE "PLAIN" "AGVhcmx5AHNlY3JldA=="')
                        .startswith(b"NO (ENCRYPT-NEEDED)"))
        client.ask(b"STARTTLS")
        client.start_tls(tls_client(), "mail.test")
        client.answer()
        client.log_in()
        client.ask(b"LOGOUT")
        self.assertNotIn("early", self.server(pair).log())

    def test_starttls_of_a_server_in_the_clear_is_not_passed_on(self):
        # Dovecot offers login in the clear to a neighbour, and none to a stranger: that passes.
        for address, mechanisms in ((OWN, "PLAIN LOGIN SCRAM-SHA-256"), (STRANGE, "")):
            server = f"{address}:{self.secured.ports['sieve']}"
            with Directions("sieve", {"none": server}, TERMINATE) as directions:
                for pair in TERMINATE:
                    with self.subTest(address=address, pair=pair):
                        client, told = self.raw(pair, directions)
                        self.assertNotIn("STARTTLS", told)
                        self.assertEqual(told["SASL"], mechanisms)
                        client.close()


if __name__ == "__main__":
    main.main()

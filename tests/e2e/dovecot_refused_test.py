"""A Dovecot that cannot be trusted, or is not there, and the errors that real clients show."""

import imaplib
import poplib
import unittest

from support import dovecot, main, peers, wait
from support.client import FIN, free_port
from support.daemon import Daemon, configuration

# The code of a server's failure in each protocol, our name and the server's, before the reason.
NAMES = r"proxy\.test mail server mail\.test: "
CODES = {"imap": r"\* BYE \[UNAVAILABLE\] " + NAMES, "pop3": r"-ERR \[SYS/TEMP\] " + NAMES,
         "sieve": r'BYE \(TRYLATER\) "' + NAMES}


class Refused(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.expired = cls.enterClassContext(dovecot.Dovecot(certificate="expired"))
        cls.clear = cls.enterClassContext(dovecot.Dovecot("no", plaintext=True))

    def shown(self, protocol, port):
        """Yields the name of each client of that protocol, and the error that it shows."""
        if protocol == "imap":
            with self.assertRaises(imaplib.IMAP4.error) as caught:
                imaplib.IMAP4("127.0.0.1", port, timeout=wait.DEADLINE)
            yield "imaplib", str(caught.exception)
        if protocol == "pop3":
            with self.assertRaises(poplib.error_proto) as caught:
                poplib.POP3("127.0.0.1", port, timeout=wait.DEADLINE)
            yield "poplib", str(caught.exception)
        if protocol != "sieve":
            result = peers.run("/usr/bin/curl", "--silent", "--verbose", "--user", "box:c4nary-w0rd",
                               f"{protocol}://127.0.0.1:{port}/")
            self.assertNotEqual(result.returncode, 0)
            yield "curl", result.stderr.decode()

    def check(self, protocol, address, tls, outcome, reason):
        with self.subTest(protocol=protocol, tls=tls):
            daemon = self.enterContext(Daemon(configuration(
                0, protocol=protocol, address=f"127.0.0.1:{address}", upstream={"tls": tls})))
            with daemon.connect() as client:
                client.send(b"a LOGIN early c4nary-w0rd\r\n")
                said, end = client.rest()
            self.assertRegex(said.decode(), f"^{CODES[protocol]}{reason}.*\r\n$")
            self.assertEqual(end, FIN)
            sessions = 1
            for name, text in self.shown(protocol, daemon.port):
                with self.subTest(client=name):
                    self.assertRegex(text, CODES[protocol] + reason)
                sessions += 1
            for session in daemon.sessions(sessions):
                self.assertEqual(session["outcome"], outcome)

    def test_an_expired_certificate(self):
        for protocol in CODES:
            for tls, ports in (("starttls", self.expired.ports),
                               ("implicit", self.expired.implicit)):
                self.check(protocol, ports[protocol], tls, "certificate", "certificate has expired")
        self.assertNotIn("early", self.expired.log())

    def test_a_server_without_starttls(self):
        for protocol in CODES:
            # Sieve's list shows it at once; IMAP and POP3 ask, and get an error.
            outcome, reason = (
                ("tls_not_offered", "server does not offer STARTTLS") if protocol == "sieve" else
                ("tls_refused", "server refused (STARTTLS|STLS)"))
            self.check(protocol, self.clear.ports[protocol], "starttls", outcome, reason)
        self.assertNotIn("early", self.clear.log())

    def test_an_unreachable_server(self):
        for protocol in CODES:
            self.check(protocol, free_port(), "starttls", "unreachable", "connection refused")


if __name__ == "__main__":
    main.main()

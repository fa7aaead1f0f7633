"""Real mail programs log in by name and password; the server gets a token, which none of them knows."""

import base64
import imaplib
import poplib
import smtplib
import unittest

from support import inn, mail_programs, main, npm_peers, oauth, peers, wait
from support.daemon import Daemon, configuration
from support.dovecot import STRANGE
from support.gateway import Gateway
from support.logins import ACCOUNTS, NAME, PASSWORD, SECRET, login, secret_file, secured
from support.mail_programs import Refused
from support.nntp import NntpClient, NntpError

MESSAGE = (b"From: a@client.test\r\nTo: box@mail.test\r\nSubject: octets\r\nMessage-Id: <1@client.test>\r\n"
           b"\r\n.dot\r\n8-bit \xc3\xa9\r\nlast\r\n")
STORED = MESSAGE.replace(b"\r\n", b"\n")
BODY = STORED.partition(b"\n\n")[2]
SCRIPT = b"# by a program\r\nkeep;\r\n"
SERVICES = {"smtp": "submission", "imap": "imap", "pop3": "pop3", "sieve": "sieve"}


class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.relay = cls.enterClassContext(peers.Postfix("none"))
        cls.server = cls.enterClassContext(oauth.Dovecot(relay_port=cls.relay.port))
        token = cls.enterClassContext(secret_file(oauth.token()))
        services = {protocol: {"protocol": protocol, "login": login("auto", token), "accounts": ACCOUNTS,
                               "upstream.address": f"{STRANGE}:{cls.server.ports[name]}"}
                    for protocol, name in SERVICES.items()}
        services["sieve-starttls"] = {**services["sieve"], "downstream.tls": "starttls"}
        services["connect"] = {**services["smtp"], "accounts": [],
                               "login": login("xoauth2", token, when="connect")}
        cls.gateway = cls.enterClassContext(Gateway(services))
        cls.ports = cls.gateway.ports
        with secured("imap", cls.server.ports["imap"]) as direct:
            direct.log_in("quoted", "box", SECRET)
            direct.ask(b"l APPEND INBOX {%d+}\r\n%s" % (len(MESSAGE), MESSAGE))

    def assert_sent(self, body=BODY):
        self.assertTrue(self.relay.new_mail()[0].endswith(b"\n\n" + body))

    def refused(self, program, *arguments, **options):
        with self.assertRaises(Refused) as caught:
            program(*arguments, **options)
        return str(caught.exception)

    def test_swaks(self):
        for mechanism in ("PLAIN", "LOGIN"):
            mail_programs.swaks(self.ports["smtp"], NAME, PASSWORD, mechanism)
            self.assertIn(b"by swaks", self.relay.new_mail()[0])
            self.assertRegex(self.refused(mail_programs.swaks, self.ports["smtp"], NAME, "wrong", mechanism),
                             r"535 5\.7\.8 ")

    def test_swaks_without_a_login(self):
        self.assertRegex(self.refused(mail_programs.swaks, self.ports["smtp"]), r"530 5\.7\.0 ")
        said = mail_programs.swaks(self.ports["connect"])
        self.assertNotIn("AUTH", said)
        self.assertIn(b"by swaks", self.relay.new_mail()[0])

    def test_curl(self):
        for mechanism in ("PLAIN", "LOGIN"):
            mail_programs.curl_send(self.ports["smtp"], NAME, PASSWORD, MESSAGE, mechanism)
            self.assert_sent()
            for protocol in ("imap", "pop3"):
                self.assertEqual(mail_programs.curl_fetch(protocol, self.ports[protocol], NAME, PASSWORD,
                                                          mechanism), MESSAGE)
        for protocol in ("imap", "pop3"):  # by the best way that curl finds
            self.assertEqual(
                mail_programs.curl_fetch(protocol, self.ports[protocol], NAME, PASSWORD), MESSAGE)
            self.refused(mail_programs.curl_fetch, protocol, self.ports[protocol], NAME, "wrong")

    def test_msmtp(self):
        for mechanism in ("plain", "login"):
            mail_programs.msmtp(self.ports["smtp"], NAME, PASSWORD, MESSAGE, mechanism)
            self.assert_sent()
        self.assertRegex(self.refused(mail_programs.msmtp, self.ports["smtp"], NAME, "wrong", MESSAGE),
                         r"535 5\.7\.8 ")

    def test_mpop(self):
        for mechanism in ("user", "plain", "login"):
            self.assertEqual(mail_programs.mpop(self.ports["pop3"], NAME, PASSWORD, mechanism), [STORED])
            self.refused(mail_programs.mpop, self.ports["pop3"], NAME, "wrong", mechanism)

    def test_fetchmail(self):
        for protocol in ("imap", "pop3"):
            self.assertEqual(
                mail_programs.fetchmail(protocol, self.ports[protocol], NAME, PASSWORD), STORED)
            self.refused(mail_programs.fetchmail, protocol, self.ports[protocol], NAME, "wrong")

    def test_mbsync(self):
        [found] = mail_programs.mbsync(self.ports["imap"], NAME, PASSWORD)
        head, _, body = found.partition(b"\n\n")  # its own line is in the head
        self.assertEqual(body, BODY)
        self.assertIn(b"Message-Id: <1@client.test>", head)
        self.refused(mail_programs.mbsync, self.ports["imap"], NAME, "wrong")

    def test_mutt(self):
        for mechanism in ("plain", "login"):
            mail_programs.mutt_send(self.ports["smtp"], NAME, PASSWORD, BODY, mechanism)
            self.assert_sent()
        for mechanism in ("plain", "login"):
            self.assertIn(b"\n\n" + BODY,
                          mail_programs.mutt_fetch(self.ports["imap"], NAME, PASSWORD, mechanism))

    def test_sieve_connect(self):
        for service in ("sieve", "sieve-starttls"):
            for mechanism in ("PLAIN", "LOGIN"):
                with self.subTest(service=service, mechanism=mechanism):
                    mail_programs.sieve_connect(self.ports[service], NAME, PASSWORD, SCRIPT, mechanism)
        self.refused(mail_programs.sieve_connect, self.ports["sieve"], NAME, "wrong", SCRIPT)

    def test_smtplib(self):
        for mechanism in ("plain", "login"):
            with smtplib.SMTP("127.0.0.1", self.ports["smtp"], "client.test",
                              timeout=wait.DEADLINE) as client:
                client.ehlo()
                self.assertEqual(client.esmtp_features["auth"].split(), ["PLAIN", "LOGIN"])
                client.user, client.password = NAME, "wrong"
                with self.assertRaises(smtplib.SMTPAuthenticationError) as caught:
                    client.auth(mechanism, getattr(client, f"auth_{mechanism}"))
                self.assertEqual(caught.exception.smtp_code, 535)
                client.password = PASSWORD
                code, _ = client.auth(mechanism, getattr(client, f"auth_{mechanism}"),
                                      initial_response_ok=mechanism == "plain")
                self.assertEqual(code, 235)
                client.sendmail("a@client.test", ["box@mail.test"], MESSAGE)
            self.assert_sent()

    def test_imaplib(self):
        for log_in in (lambda client, word: client.login(NAME, word),
                       lambda client, word: client.authenticate(
                           "PLAIN", lambda _: f"\0{NAME}\0{word}".encode())):
            with imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=wait.DEADLINE) as client:
                self.assertIn("AUTH=PLAIN", client.capabilities)
                with self.assertRaisesRegex(imaplib.IMAP4.error, r"\[AUTHENTICATIONFAILED\]"):
                    log_in(client, "wrong")
                self.assertEqual(log_in(client, PASSWORD)[0], "OK")
                client.select()
                self.assertEqual(client.fetch("1", "(BODY.PEEK[])")[1][0][1], MESSAGE)

    def test_poplib(self):
        client = poplib.POP3("127.0.0.1", self.ports["pop3"], timeout=wait.DEADLINE)
        self.addCleanup(client.close)
        capabilities = client.capa()
        self.assertEqual(capabilities["SASL"], ["PLAIN", "LOGIN"])
        self.assertIn("USER", capabilities)
        client.user(NAME)
        with self.assertRaisesRegex(poplib.error_proto, r"-ERR \[AUTH\]"):
            client.pass_("wrong")
        client.user(NAME)
        client.pass_(PASSWORD)
        self.assertEqual(b"".join(line + b"\r\n" for line in client.retr(1)[1]), MESSAGE)
        client.quit()

    def test_nodemailer(self):
        for method in ("PLAIN", "LOGIN"):
            auth = {"user": NAME, "pass": PASSWORD}
            result = npm_peers.run("send", port=self.ports["smtp"], auth=auth, method=method,
                                   message=base64.b64encode(MESSAGE).decode())
            self.assertTrue(result["sent"], result)
            self.assert_sent()
        result = npm_peers.run("send", port=self.ports["smtp"], auth={"user": NAME, "pass": "wrong"},
                               message=base64.b64encode(MESSAGE).decode())
        self.assertEqual((result["sent"], result["code"]), (False, 535))

    def test_imapflow(self):
        message = base64.b64encode(MESSAGE).decode()
        result = npm_peers.run("fetch-mail", port=self.ports["imap"], message=message, mailbox="By imapflow",
                               auth={"user": NAME, "pass": PASSWORD})
        self.assertEqual(result, {"data": message})
        result = npm_peers.run("fetch-mail", port=self.ports["imap"], message=message, mailbox="By imapflow",
                               auth={"user": NAME, "pass": "wrong"})
        self.assertTrue(result["failed"], result)


class Others(unittest.TestCase):
    def test_a_news_reader(self):
        with inn.Inn() as server:
            config = configuration(server.port, protocol="nntp", accounts=ACCOUNTS,
                                   login=login(user=inn.USER, secret=inn.PASSWORD))
            with Daemon(config) as daemon:
                client = self.enterContext(NntpClient(daemon.port))
                self.assertEqual(client.capabilities()["AUTHINFO"], ["USER", "SASL"])
                self.assertEqual(client.capabilities()["SASL"], ["PLAIN"])
                with self.assertRaisesRegex(NntpError, "^480 "):
                    client.command("GROUP", inn.GROUP)
                with self.assertRaisesRegex(NntpError, "^481 "):
                    client.login(NAME, "wrong")
                client.login(NAME, PASSWORD)
                self.assertIn(inn.GROUP, client.groups())
                client.quit()

    def test_smtp_server_of_npm(self):
        token = oauth.token("anybody")
        with (secret_file(token) as path,
              npm_peers.SmtpServer(("PLAIN", "LOGIN", "XOAUTH2"), tokens=(token,)) as server):
            for mechanism in ("plain", "login", "xoauth2"):
                table = login(mechanism, path if mechanism == "xoauth2" else None)
                for when, accounts in (("client", ACCOUNTS), ("connect", [])):
                    with self.subTest(mechanism=mechanism, when=when):
                        config = configuration(server.port, login={**table, "when": when},
                                               accounts=accounts)
                        with Daemon(config) as daemon:
                            with smtplib.SMTP("127.0.0.1", daemon.port, timeout=wait.DEADLINE) as client:
                                if when == "client":
                                    client.login(NAME, PASSWORD)
                                else:
                                    client.ehlo()
                                    self.assertFalse(client.has_extn("auth"))
                                client.sendmail("a@client.test", ["box@mail.test"], MESSAGE)
                            self.assertEqual(daemon.session()["login_mechanism"], mechanism)
            logins, mails = server.events("login", 6), server.events("mail", 6)
            self.assertEqual([each["method"] for each in logins],
                             ["PLAIN"] * 2 + ["LOGIN"] * 2 + ["XOAUTH2"] * 2)
            self.assertTrue(all(each["accepted"] and each["secure"] for each in logins), logins)
            self.assertEqual({base64.b64decode(each["data"]) for each in mails}, {MESSAGE})

    def test_a_token_that_npms_server_refuses(self):
        with (secret_file(oauth.token(seconds=-5)) as path,
              npm_peers.SmtpServer(("XOAUTH2",)) as server):
            config = configuration(server.port, login=login("xoauth2", path), accounts=ACCOUNTS)
            with Daemon(config) as daemon:
                with smtplib.SMTP("127.0.0.1", daemon.port, timeout=wait.DEADLINE) as client:
                    with self.assertRaises(smtplib.SMTPAuthenticationError) as caught:
                        client.login(NAME, PASSWORD)
                    self.assertEqual(caught.exception.smtp_code, 454)
                self.assertEqual(daemon.session()["outcome"], "login")


if __name__ == "__main__":
    main.main()

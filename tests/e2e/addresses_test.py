"""Addresses in a configuration: those that can work do, and --check refuses the others."""

import socket
import unittest

from support import main
from support.client import Client
from support.daemon import Daemon, configuration, run_to_end
from support.fake_server import FakeServer, Smtp
from support.namespaces import Namespace, require


class Checked(unittest.TestCase):
    def check(self, listen="127.0.0.1:0", upstream="127.0.0.1:25", more=()):
        return run_to_end("--check", "--protocol", "smtp", "--listen", listen, "--upstream", upstream,
                          "--server-name", "mail.test", *more)

    def test_t6_an_impossible_address_is_refused(self):
        cases = {"[::ffff:127.0.0.1]:25": "this is an IPv4 address: write 127.0.0.1:25",
                 "[::ffff:192.0.2.1]:587": "this is an IPv4 address: write 192.0.2.1:587",
                 "224.0.0.1:25": "TCP cannot use a multicast address",
                 "[ff02::1]:25": "TCP cannot use a multicast address",
                 "255.255.255.255:25": "TCP cannot use the broadcast address",
                 "[fe80::1]:25": "a link-local address needs its interface: "
                                 "write [fe80::1%eth0]:PORT"}
        for address, words in cases.items():
            for flag in ("--listen", "--upstream", "--admin"):
                with self.subTest(address, flag=flag):
                    more = ("--admin", address) if flag == "--admin" else ()
                    result = self.check(**({} if more else {flag[2:]: address}), more=more)
                    self.assertEqual(result.returncode, 78)
                    self.assertEqual(result.stderr,
                                     f"starttls-proxy: {flag}: '{address}': {words}\n"
                                     "starttls-proxy: 1 error\n")

    def test_likely_mistakes_are_warned_about(self):
        mistakes = (
            ("[::1]:465: port 465 is for TLS from the first byte; did you mean upstream.tls = implicit?",
             ["--upstream", "[::1]:465"]),
            ("[::1]:587: port 587 is for STARTTLS; did you mean upstream.tls = starttls?",
             ["--upstream", "[::1]:587", "--upstream-tls", "implicit"]))
        common = ["--protocol", "smtp", "--verify", "none", "--connect-timeout", "100ms"]
        for words, arguments in mistakes:
            with self.subTest(words):
                checked = run_to_end("--check", "--listen", "127.0.0.1:0", *common, *arguments)
                self.assertEqual(checked.returncode, 0)
                self.assertIn(f"  WARNING           {words}\n", checked.stdout)
                with Daemon(arguments=["--listen", "127.0.0.1:0", *common, *arguments]) as daemon:
                    self.assertIn(words, daemon.text())
                probed = run_to_end("probe", *common, *arguments)
                as_flag = words.replace("upstream.tls = ", "--upstream-tls ")
                self.assertTrue(probed.stderr.startswith(f"starttls-proxy: {as_flag}\n"),
                                probed.stderr)
        words = "no client in downstream.allow can reach 127.0.0.1:0"
        checked = self.check(more=("--allow", "192.168.1.0/24"))
        self.assertIn(f"  WARNING           {words}\n", checked.stdout)

    def test_t9_a_missing_interface_is_an_error(self):
        address = "[fe80::1%nowhere0]:2525"  # a port that needs no right
        self.assertEqual(self.check(listen=address, more=("--allow", "::/0")).returncode, 0)
        result = run_to_end("--protocol", "smtp", "--listen", address, "--allow", "::/0",
                            "--upstream", "127.0.0.1:25", "--verify", "none")
        self.assertEqual(result.returncode, 69)
        self.assertIn(f"cannot listen on {address}: bind: No such device", result.stderr)

    def test_an_address_without_its_other_half(self):
        cases = {("--listen", "2525"): "the address is missing: write 127.0.0.1:2525",
                 ("--upstream", "587"): "the host is missing: write HOST:587",
                 ("--upstream", "smtps://mail.test:465"): "write HOST:PORT, without a scheme or a path"}
        for (flag, address), words in cases.items():
            with self.subTest(address):
                result = self.check(**{flag[2:]: address})
                self.assertEqual(result.returncode, 78)
                self.assertEqual(result.stderr, f"starttls-proxy: {flag}: '{address}': {words}\n"
                                 "starttls-proxy: 1 error\n")


class Refused(unittest.TestCase):
    """An address that the kernel refuses. The error says what to do."""

    def refused(self, address, wrapper=()):
        result = run_to_end("--protocol", "smtp", "--listen", address, "--allow", "127.0.0.1",
                            "--upstream", "127.0.0.1:26", "--verify", "none", wrapper=wrapper)
        self.assertEqual(result.returncode, 69, result.stderr)
        return result.stderr

    def test_an_address_of_another_machine(self):
        self.assertIn("cannot listen on 203.0.113.77:2525: bind: Cannot assign requested address "
                      "(this machine does not have that address)", self.refused("203.0.113.77:2525"))

    def test_a_port_that_needs_a_right(self):
        require()
        home = Namespace("home")  # its ports below 1024 need a right, whatever the machine allows
        self.addCleanup(home.close)
        self.enterContext(home.entered())
        # This right is kept: programs and certificates may be in a folder closed to others.
        rights = "-all,+dac_read_search"
        user = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", f"--bounding-set={rights}",
                f"--inh-caps={rights}", f"--ambient-caps={rights}"]
        self.assertIn("cannot listen on 127.0.0.1:25: bind: Permission denied (ports below 1024 need "
                      "root, CAP_NET_BIND_SERVICE or the systemd unit)",
                      self.refused("127.0.0.1:25", user))


class LinkLocal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        require()
        cls.home = Namespace("home")
        cls.addClassCleanup(cls.home.close)
        other = Namespace("other")
        cls.addClassCleanup(other.close)
        cls.home.ip("link set lo up")
        cls.home.wire(other, ["fe80::5/64"], ["fe80::6/64"])
        cls.enterClassContext(cls.home.entered())

    def relay(self, interface):
        """Relays through two daemons: one listens on the interface's own address, one connects to it."""
        server = self.enterContext(FakeServer(Smtp()))
        allowed = {"allow": ["fe80::/10"]}
        text = configuration(server.port, downstream=allowed)
        text = text.replace('"127.0.0.1:0"', f'"[fe80::5%{interface}]:0"')
        near = self.enterContext(Daemon(text))
        line, = near.lines(lambda fields: fields.get("msg") == "listening")
        far = self.enterContext(Daemon(configuration(
            0, address=f"[fe80::5%{interface}]:{line['address'].rpartition(':')[2]}",
            upstream={"tls": "none"})))
        return near, far, line

    def test_t9_listening_and_connecting(self):
        number = socket.if_nametoindex("other")
        for interface in ("other", number):
            with self.subTest(interface):
                near, far, line = self.relay(interface)
                self.assertRegex(line["address"], r"\A\[fe80::5%other\]:\d+\Z")
                with Client(far.port) as client:
                    client.reply()
                    self.assertRegex(client.command(b"QUIT"), rb"\A221 ")
                session = far.session()
                self.assertEqual(session["server"], line["address"])
                self.assertEqual(session["outcome"], "ok")
                self.assertRegex(near.session()["client"], r"\A\[fe80::5%other\]:\d+\Z")


if __name__ == "__main__":
    main.main()

"""Clients that do not know of the proxy. A host or a router redirects them, or a router hands them
over with their address kept. Between network namespaces, with the rules of conf/.

    client 10.1.0.2, fd01::2  --  gateway 10.x.0.1, fd0x::1  --  server 10.2.0.2, fd02::2
"""

import contextlib
import os
import pathlib
import random
import re
import shlex
import signal
import socket
import struct
import subprocess
import tempfile
import textwrap
import unittest
import unittest.mock

from support import children, main, peers, wait
from support.client import FIN, Client
from support.daemon import Daemon, run_to_end, toml
from support.dovecot import PASSWORD, Dovecot
from support.environment import BACKEND, PROXY, ROOT, SANITIZED, pki
from support.namespaces import Capture, Namespace, require, without_tls

CONF = ROOT / "conf"
USER = 4711  # the proxy's: a user without any rights except those given to it

MAIL = ("10.2.0.2", "fd02::2")  # Postfix and Dovecot
STORE = "10.2.0.3"  # the bench's backend
DOWN = "10.2.0.4"  # a machine on which nothing listens
OTHER = "10.2.0.6"  # Postfix, at an address with a row that wants another name
UNKNOWN = "10.3.0.9"  # Postfix, at an address that no row has

CLIENT = ("10.1.0.2", "fd01::2")
ROUTER = ("10.1.0.1", "fd01::1")
CONVEYED = "10.1.0.55"  # no host has it: a balancer sends it
PORTS = {25: 10025, 587: 10587, 110: 10110, 143: 10143, 4190: 14190, 119: 10119}
SECRET = "a-word-that-must-not-be-read"


def network_of(test):
    """Makes three machines in a row, which end with the test class."""
    machines = [Namespace(name) for name in ("client", "gateway", "server")]
    for machine in machines:
        test.addClassCleanup(machine.close)
        machine.ip("link set lo up")
    client, gateway, server = machines
    gateway.wire(client, ["10.1.0.1/24", "fd01::1/64"], ["10.1.0.2/24", "fd01::2/64"])
    gateway.wire(server, ["10.2.0.1/24", "fd02::1/64"],
                 ["10.2.0.2/24", f"{STORE}/24", f"{DOWN}/24", f"{OTHER}/24", f"{UNKNOWN}/32",
                  "fd02::2/64"])
    gateway.ip("route add 10.3.0.0/24 via 10.2.0.2")
    for machine, number in ((client, 1), (server, 2)):
        machine.ip(f"route add default via 10.{number}.0.1")
        machine.ip(f"-6 route add default via fd0{number}::1")
    gateway.sysctl("net/ipv4/ip_forward", 1)
    gateway.sysctl("net/ipv6/conf/all/forwarding", 1)
    return client, gateway, server


def rules(name, **definitions):
    """Returns a file of conf/nftables with other values after its `define`s."""
    text = (CONF / "nftables" / f"{name}.nft").read_text(encoding="utf-8")
    for key, value in definitions.items():
        text, count = re.subn(rf"(?m)^define {key} = .*$", f"define {key} = {value}", text)
        assert count == 1, key
    return text


def rows(text):
    """Returns the rows of these tests, for every service of a configuration."""
    own = f"""upstream.address = "original-destination"
upstream.ca_file = {toml(pki().ca)}
destination = [
  {{ networks = ["10.2.0.0/24", "fd02::/64"], server_name = "mail.test" }},
  {{ networks = "{OTHER}", server_name = "other.test" }},
]"""
    text = re.sub(r"(?m)^\[\[service\.destination\]\].*\n(?:\w.*\n)*", "", text)
    return text.replace('upstream.address = "original-destination"', own)


def example(listen=None, more=""):
    """Returns conf/examples/transparent.toml for these networks; `more` goes to every service."""
    text = (CONF / "examples" / "transparent.toml").read_text(encoding="utf-8")
    if listen:
        text = re.sub(r'listen( *)= \["127\.0\.0\.1:(\d+)", "\[::1\]:\d+"\]',
                      lambda match: f"listen = {toml([address + match[2] for address in listen])}",
                      text)
    text = rows(text).replace("destination = [", more + "\ndestination = [")
    return f'[proxy]\nhostname = "proxy.test"\nworkers = 2\n[log]\nlevel = "debug"\n{text}'


def as_user(*capabilities):
    """Returns the command line that starts a program as USER with these rights only.

    dac_read_search is one of them: programs and certificates may be in a folder closed to others.
    """
    rights = ",".join(f"+{name}" for name in ("dac_read_search", *capabilities))
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
            "--pdeathsig=KILL", f"--bounding-set=-all,{rights}", f"--inh-caps=-all,{rights}",
            f"--ambient-caps=-all,{rights}"]


def run_script(path):
    """Runs a script of conf/ with the peers' `ip`, in the network of the calling thread."""
    with tempfile.TemporaryDirectory(prefix="starttls-bin-") as folder:
        words = peers.command("/usr/sbin/ip", proc=True)
        wrapper = pathlib.Path(folder) / "ip"
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)
        subprocess.run([path], check=True,
                       env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})


class Dialled(Client):
    """A client in a namespace."""

    def __init__(self, sock):  # pylint: disable=super-init-not-called
        self.sock = sock
        self._waiting = b""


class Store:
    """The bench's backend at STORE: it can easily serve 200 sessions."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="starttls-store-")
        chain, key = pki().pair()
        self._process = children.start(
            [BACKEND, "--protocol", "smtp", "--tls", "starttls", "--listen", f"{STORE}:25",
             "--chain", chain, "--key", key, "--store", self._folder.name],
            stdout=subprocess.PIPE)
        self._process.stdout.readline()
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(wait.DEADLINE)
        self._process.stdout.close()
        self._folder.cleanup()

    def messages(self):
        return [path.read_bytes() for path in pathlib.Path(self._folder.name).glob("*.eml")]


class Machines(unittest.TestCase):
    """Networks, servers and a way to reach them, one set per class."""

    @classmethod
    def setUpClass(cls):
        require()
        cls.client, cls.gateway, cls.server = network_of(cls)

    def dial(self, address, port=25):
        return self.enterContext(Dialled(self.client.connect(address, port)))

    def assert_told(self, client, words):
        """Asserts that the client gets one line with these words, and then the end."""
        said, end = client.rest()
        self.assertEqual((said.count(b"\n"), end), (1, FIN), said)
        self.assertRegex(said, words)


class Intercepted:
    """Tests for every way of interception. Subclasses define the way, and the address of the client
    that servers see."""

    seen_as = ()
    own = ()  # addresses at which the client reaches the proxy itself

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.server.entered():
            cls.postfix = cls.enterClassContext(peers.Postfix(
                settings="inet_interfaces = all\ninet_protocols = all\n",
                listen=[f"{address}:25" for address in (MAIL[0], f"[{MAIL[1]}]", OTHER, UNKNOWN)]))
            cls.dovecot = cls.enterClassContext(Dovecot(
                settings="listen = *, ::\n", relay_port=cls.postfix.port,
                fixed={"imap": 143, "pop3": 110, "sieve": 4190, "submission": 587}))
            cls.store = cls.enterClassContext(Store())
        machine, daemon = cls.intercept()
        with machine.entered():
            cls.daemon = cls.enterClassContext(daemon)

    @classmethod
    def intercept(cls):
        """Loads the rules. Returns the machine that the proxy runs on, and the proxy."""
        raise NotImplementedError

    def run_client(self, *argv, **options):
        with self.client.entered():
            result = peers.run(*argv, **options)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def sessions_so_far(self):
        """Returns the sessions of which there is anything in the log."""
        return {line["session"] for line in self.daemon.lines(lambda line: "session" in line, 0)}

    def session_to(self, address, port, earlier):
        """Returns the line at the end of the session to that address that is none of the earlier ones."""
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        [line] = self.daemon.lines(lambda line: "outcome" in line and line["server"] == where
                                   and line["session"] not in earlier)
        return line

    def settled_log(self):
        """Waits until Postfix's log has all that it has accepted until now, and returns the log.
        Another process writes the file. Connections are logged in the order of their greetings."""
        mark = f"connect from unknown[{MAIL[0]}]"
        before = self.postfix.log().count(mark)
        with Dialled(self.server.connect(MAIL[0], 25)) as client:
            self.assertTrue(client.line().startswith(b"220 "))
        wait.until(lambda: self.postfix.log().count(mark) > before, mark)
        return self.postfix.log()

    def assert_only_tls(self, capture):
        """Asserts that everything on the wire is TLS, except for the words that start it."""
        streams = capture.streams()
        self.assertGreaterEqual(len(streams), 2)
        for way, data in streams.items():
            self.assertNotIn(SECRET.encode(), data)
            clear, behind = without_tls(data)
            self.assertEqual(behind, b"", way)
            self.assertLess(len(clear), len(data), way)
            if way[3] in PORTS:
                self.assertRegex(
                    clear, rb"^(EHLO proxy\.test\r\nSTARTTLS|\w+ STARTTLS|STLS|STARTTLS)\r\n$")

    def test_swaks_to_postfix(self):
        for address, seen in zip(MAIL, self.seen_as):
            earlier = self.sessions_so_far()
            with self.subTest(address), Capture(self.server, "gateway") as capture:
                self.run_client("/usr/bin/swaks", "--server", address, "--port", "25", "--helo",
                                "legacy.test", "--from", "a@legacy.test", "--to", "box@mail.test",
                                "--body", SECRET)
                self.assertIn(SECRET.encode(), self.postfix.new_mail()[0])
                session = self.session_to(address, 25, earlier)
                self.assert_only_tls(capture)
                self.assertEqual((session["upstream_tls"], session["upstream_verify"],
                                  session["outcome"]), ("TLSv1.3", "full", "ok"))
                self.assertIn(f"connect from unknown[{seen}]", self.settled_log())

    def test_curl_to_dovecot(self):
        for number, (address, seen) in enumerate(zip(MAIL, self.seen_as), 1):
            host = f"[{address}]" if ":" in address else address
            for scheme in ("imap", "pop3"):
                earlier = self.sessions_so_far()
                with self.subTest(address, scheme=scheme), \
                        Capture(self.server, "gateway") as capture:
                    self.run_client("/usr/bin/curl", "--silent", "--show-error", "--max-time", "30",
                                    "--user", f"box:{PASSWORD}", f"{scheme}://{host}/")
                    login = self.dovecot.logins(scheme, number)[-1]
                    self.session_to(address, {"imap": 143, "pop3": 110}[scheme], earlier)
                    self.assert_only_tls(capture)
                    self.assertIn(f"rip={seen},", login)
                    self.assertIn("TLSv1.3", login)

    def test_the_other_ports(self):
        for port, greeting in ((587, b"220 "), (4190, b'"IMPLEMENTATION"')):
            earlier = self.sessions_so_far()
            with self.subTest(port):
                client = self.dial(MAIL[0], port)
                self.assertTrue(client.line().startswith(greeting))
                client.send(b"QUIT\r\n" if port == 587 else b"LOGOUT\r\n")
                client.rest()
                client.close()  # otherwise its FIN is waited for
                self.assertEqual(self.session_to(MAIL[0], port, earlier)["upstream_tls"], "TLSv1.3")

    def test_twenty_megabytes(self):
        size = 2_000_000 if SANITIZED else 20_000_000
        text = random.Random(4711).randbytes(size // 2).hex().encode()
        body = b"\r\n".join(text[at:at + 998] for at in range(0, len(text), 998)) + b"\r\n"
        client = self.dial(MAIL[0])
        client.reply()
        for command in (b"EHLO legacy.test", b"MAIL FROM:<a@legacy.test>",
                        b"RCPT TO:<box@mail.test>"):
            self.assertTrue(client.command(command).startswith(b"250"))
        client.command(b"DATA")
        client.send(b"Subject: large\r\n\r\n" + body)
        self.assertTrue(client.command(b".").startswith(b"250"))
        stored = self.postfix.new_mail()[0]
        self.assertEqual(stored.partition(b"\n\n")[2], body.replace(b"\r\n", b"\n"))

    def test_half_closed(self):
        client = self.dial(STORE)
        client.send(b"EHLO legacy.test\r\nMAIL FROM:<a@legacy.test>\r\nRCPT TO:<box@mail.test>\r\n"
                    b"DATA\r\nSubject: half\r\n\r\nhalf closed\r\n.\r\nQUIT\r\n")
        client.finish()
        replies, end = client.rest()
        self.assertEqual(end, FIN)
        self.assertEqual([line[:3] for line in replies.splitlines() if line[3:4] == b" "],
                         [b"220", b"250", b"250", b"250", b"354", b"250", b"221"])
        self.assertTrue(any(b"half closed" in message for message in self.store.messages()))

    def test_two_hundred_at_once(self):
        clients = [self.dial(STORE) for _ in range(20 if SANITIZED else 200)]
        for command, code in ((None, b"220"), (b"EHLO legacy.test", b"250"),
                              (b"MAIL FROM:<a@legacy.test>", b"250"),
                              (b"RCPT TO:<box@mail.test>", b"250"), (b"DATA", b"354"),
                              (b"Subject: many\r\n\r\nnumber %d\r\n.", b"250"), (b"QUIT", b"221")):
            for number, client in enumerate(clients):
                if command:
                    client.send((command % number if b"%d" in command else command) + b"\r\n")
            for client in clients:
                self.assertEqual(client.reply()[:3], code)
        numbers = {int(match[1]) for message in self.store.messages()
                   if (match := re.search(rb"\r\nnumber (\d+)\r\n", message))}
        self.assertEqual(numbers, set(range(len(clients))))

    def test_the_most_specific_row_names_the_server(self):
        self.assert_told(self.dial(OTHER),
                         rb"^421 4\.7\.5 .* mail server other\.test: name mismatch: wanted other\.test, got ")

    def test_a_destination_without_a_row(self):
        with Capture(self.server, "gateway") as capture:
            self.assert_told(self.dial(UNKNOWN), rb"^421 4\.3\.2 proxy\.test no server_name is set for "
                                                 rb"the server at 10\.3\.0\.9:25\r\n")
            self.assertEqual(capture.streams(), {})  # not even a SYN

    def test_a_server_that_is_down(self):
        self.assert_told(self.dial(DOWN), rb"^421 4\.4\.1 .* mail server mail\.test: connection refused\r\n")

    def test_the_proxy_itself_is_refused_as_destination(self):
        for address in self.own:
            for port, words in ((10025, rb"^421 4\.3\.2 "), (10143, rb"^\* BYE \[UNAVAILABLE\] "),
                                (10110, rb"^-ERR \[SYS/TEMP\] "),
                                (14190, rb'^BYE \(TRYLATER\) "'), (10119, rb"^400 ")):
                with self.subTest(address=address, port=port):
                    self.assert_told(self.dial(address, port),
                                     words + rb".*this address is the proxy's own")


class OnTheClientsHost(Intercepted, Machines):
    """REDIRECT of the host's outgoing traffic, by a proxy without any privilege."""

    seen_as = CLIENT
    own = ("127.0.0.1", "::1")

    @classmethod
    def intercept(cls):
        cls.client.rules(rules("sidecar", proxy_user=USER))
        return cls.client, Daemon(example(), listeners=12, wrapper=as_user())


class RedirectedByARouter(Intercepted, Machines):
    """REDIRECT of a router's traffic, by a proxy without any privilege."""

    seen_as = ("10.2.0.1", "fd02::1")
    own = ROUTER

    @classmethod
    def intercept(cls):
        cls.gateway.rules(rules("gateway-redirect", clients='{ "client" }'))
        text = example(("0.0.0.0:", "[::]:"), f"downstream.allow = {toml(CLIENT)}")
        return cls.gateway, Daemon(text, listeners=12, wrapper=as_user())

    def test_it_warns_that_tproxy_would_not_reach_it(self):
        line, *_ = self.daemon.lines(lambda line: "TPROXY" in line.get("msg", ""))
        self.assertEqual(line["msg"],
                         "only REDIRECT reaches this listener: TPROXY needs CAP_NET_ADMIN")

    def test_a_client_that_is_not_allowed_is_refused(self):
        self.client.ip("addr add 10.1.0.77/24 dev gateway")
        sock = self.client.connect(MAIL[0], 25, source=("10.1.0.77", 0))
        self.assert_told(self.enterContext(Dialled(sock)), rb"^421 4\.3\.2 .*your address may not ")

    def test_mail_for_the_router_itself_is_left_alone(self):
        with self.assertRaises(ConnectionRefusedError):
            self.client.connect(ROUTER[0], 25)


class HandedOverByARouter(Intercepted, Machines):
    """TPROXY, with the client's address towards the server, by a proxy with only CAP_NET_ADMIN."""

    seen_as = CLIENT
    own = ROUTER

    @classmethod
    def intercept(cls):
        cls.gateway.rules(rules("gateway-tproxy", clients='{ "client" }'))
        with cls.gateway.entered():
            run_script(CONF / "nftables" / "gateway-routes")
            run_script(CONF / "nftables" / "gateway-routes")  # a second run does no harm
        own = f"downstream.allow = {toml(CLIENT)}\nupstream.source = \"client\""
        text = example(("0.0.0.0:", "[::]:"), own) + f"""
[[service]]
name = "fixed"
protocol = "smtp"
listen = ["0.0.0.0:2525", "[::]:2525"]
upstream.address = "{MAIL[0]}:25"
upstream.server_name = "mail.test"
upstream.ca_file = {toml(pki().ca)}
{own}

[[service]]
name = "balanced"
protocol = "smtp"
listen = "0.0.0.0:2526"
downstream.proxy_protocol = "{CLIENT[0]}"
downstream.allow = "{CONVEYED}"
upstream.address = "{MAIL[0]}:25"
upstream.server_name = "mail.test"
upstream.ca_file = {toml(pki().ca)}
upstream.source = "client"
"""
        return cls.gateway, Daemon(text, listeners=15, wrapper=as_user("net_admin"))

    def test_a_server_of_our_own_choice_sees_the_client_too(self):
        mark = f"connect from unknown[{CLIENT[0]}]"
        before = self.settled_log().count(mark)
        client = self.dial(ROUTER[0], 2525)
        self.assertTrue(client.line().startswith(b"220 "))
        self.assertEqual(self.settled_log().count(mark), before + 1)

    def test_a_server_sees_the_client_that_a_balancer_names(self):
        client = self.dial(ROUTER[0], 2526)
        client.send(f"PROXY TCP4 {CONVEYED} {ROUTER[0]} 40001 25\r\n".encode())
        self.assertTrue(client.line().startswith(b"220 "))
        self.assertIn(f"connect from unknown[{CONVEYED}]", self.settled_log())

    def test_a_client_of_the_other_family_gets_a_reason(self):
        self.assert_told(self.dial(ROUTER[1], 2525),
                         rb"^421 4\.4\.1 .*not of the client's address family")


class Loops(Machines):
    """Rules that forget to exempt the proxy's own connections."""

    def test_a_connection_that_comes_back_is_refused(self):
        text = rules("sidecar", proxy_user=USER).replace("meta skuid $proxy_user accept", "")
        self.client.rules(text)
        with self.client.entered():
            # If the guard fails, only this test must fail, and not the machine.
            bounded = example().replace("[proxy]\n", "[proxy]\nmax_sessions = 100\n")
            daemon = self.enterContext(Daemon(bounded, listeners=12, wrapper=as_user()))
        for address in MAIL:
            with self.subTest(address):
                self.assert_told(self.dial(address), rb"^421 4\.3\.2 .*comes from the proxy itself")
        # Both clients' loops have ended with all their sessions, and there were few.
        begun = len(daemon.sessions(2))
        self.assertLess(begun, 20)
        wait.until(lambda: sum(1 for name in daemon.descriptor_list() if "socket:" in name) <= 30,
                   daemon.descriptor_list)


class ProxyDown(Machines):
    """Without the proxy the shipped rules let nothing through to a mail port of a server. Traffic
    that is not redirected would be in the clear."""

    BEACON = 2000  # no mail port; when its packet has crossed, earlier ones have crossed, or never will

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.server.entered():
            cls.listeners = [socket.create_server(("::", port), family=socket.AF_INET6, backlog=20,
                                                  dualstack_ipv6=True)
                             for port in (*PORTS, cls.BEACON)]
        for listener in cls.listeners:
            listener.settimeout(wait.DEADLINE)
            cls.addClassCleanup(listener.close)

    def mail_heard(self, capture):
        """Returns the connections to mail ports of which the server's wire has seen anything."""
        sock = self.client.connect(MAIL[0], self.BEACON)
        port = sock.getsockname()[1]
        sock.close()
        wait.until(lambda: any(key[1] == port for key in list(capture.begun())), "the beacon")
        return sorted(key for key in capture.talk() if key[3] in PORTS)

    def try_all(self, tried):
        """Opens a connection to each mail port without waiting for the result. They end with the
        stack `tried`: later the kernel would try again, and perhaps reach the new proxy."""
        with self.client.entered():
            for address in MAIL:
                for port in PORTS:
                    family = socket.AF_INET6 if ":" in address else socket.AF_INET
                    sock = tried.enter_context(socket.socket(family))
                    sock.setblocking(False)
                    sock.connect_ex((address, port))

    @staticmethod
    def forget(sock):
        """Makes the socket's end leave nothing, or the kernel would send it again in the next test."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def send_untracked(self):
        """Sends a segment without any flag, which connection tracking ignores."""
        header = struct.pack("!HHIIBBHHH", 40001, 25, 1, 1, 5 << 4, 0, 1024, 0, 0)
        with self.client.entered(), \
                socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw, \
                contextlib.suppress(PermissionError):  # the kernel does not let it out
            raw.sendto(header + SECRET.encode(), (MAIL[0], 0))

    def check(self, machine, listen, load, rights=()):
        """Checks the rules that `load` loads; `machine` is the host of the rules and of the proxy."""
        self.addCleanup(machine.rules, "flush ruleset\n")
        mail = self.listeners[0]
        # Connections from before the rules must be stopped, too.
        with self.client.connect(MAIL[0], 25) as early, mail.accept()[0]:
            self.forget(early)
            load()
            with Capture(self.server, "gateway") as capture, contextlib.ExitStack() as tried:
                early.sendall(SECRET.encode())
                self.try_all(tried)
                self.send_untracked()
                self.assertEqual(self.mail_heard(capture), [])

        allow = f"downstream.allow = {toml(CLIENT)}" if "0.0.0.0:" in listen else ""
        with machine.entered():
            daemon = Daemon(f"""[[service]]
name = "plain"
protocol = "smtp"
listen = {toml([address + "10025" for address in listen])}
upstream.address = "original-destination"
upstream.tls = "none"
{allow}
""", listeners=len(listen), wrapper=as_user(*rights))
            daemon.__enter__()  # it is left by a crash
        try:
            client = self.dial(MAIL[0])
            self.forget(client.sock)
            with mail.accept()[0] as served:
                served.sendall(b"220 mail.test\r\n")
                self.assertEqual(client.line(), b"220 mail.test\r\n")
        finally:
            daemon.process.kill()
            daemon.expect_exit(-signal.SIGKILL)
        with Capture(self.server, "gateway") as capture, contextlib.ExitStack() as tried:
            client.send(SECRET.encode())
            self.try_all(tried)
            self.send_untracked()
            self.assertEqual(self.mail_heard(capture), [])

    def test_on_the_clients_host(self):
        self.check(self.client, ("127.0.0.1:", "[::1]:"),
                   lambda: self.client.rules(rules("sidecar", proxy_user=USER)))

    def test_in_its_pod(self):
        """The same with other ports. The manifest has one port, so the others must not be checked."""
        text = pods_rules().replace("20025", str(USER)).replace("587 : 10587", "25 : 10025")
        text = text.replace("{ 587 }", "{ 25 }")
        with unittest.mock.patch.dict(PORTS, {25: 10025}, clear=True):
            self.check(self.client, ("127.0.0.1:", "[::1]:"), lambda: self.client.rules(text))

    def test_redirected_by_a_router(self):
        self.check(self.gateway, ("0.0.0.0:", "[::]:"),
                   lambda: self.gateway.rules(rules("gateway-redirect", clients='{ "client" }')))

    def test_handed_over_by_a_router(self):
        def load():
            self.gateway.rules(rules("gateway-tproxy", clients='{ "client" }'))
            with self.gateway.entered():
                run_script(CONF / "nftables" / "gateway-routes")

        self.check(self.gateway, ("0.0.0.0:", "[::]:"), load, ("net_admin",))


def pods_rules():
    """Returns the rules that the pod of conf/kubernetes loads."""
    text = (CONF / "kubernetes" / "transparent-sidecar.yaml").read_text(encoding="utf-8")
    return textwrap.dedent(re.search(r"(?s)<<'RULES'\n(.*?)\n *RULES\n", text)[1]) + "\n"


class Shipped(unittest.TestCase):
    def test_the_pods_configuration_and_rules_are_right(self):
        require()
        machine = Namespace("pod")
        self.addCleanup(machine.close)
        text = (CONF / "kubernetes" / "transparent-sidecar.yaml").read_text(encoding="utf-8")
        machine.rules(pods_rules())
        self.assertIn("skuid 20025", machine.run("/usr/sbin/nft", "list", "ruleset").decode())
        settings = textwrap.dedent(re.search(r"(?s)proxy\.toml: \|\n(.*?)\n  #", text)[1])
        with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
            file.write(settings)
            file.flush()
            result = run_to_end("--config", file.name, "--check")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("the name smtp.example.com\n", result.stdout)


class Privileges(unittest.TestCase):
    def test_a_clients_address_needs_a_capability(self):
        require()
        machine = Namespace("alone")
        self.addCleanup(machine.close)
        machine.ip("link set lo up")
        with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
            file.write(example(("0.0.0.0:", "[::]:"), f"downstream.allow = {toml(CLIENT)}\n"
                               'upstream.source = "client"'))
            file.flush()
            with machine.entered():
                result = subprocess.run([*as_user(), PROXY, "--config", file.name], check=False,
                                        capture_output=True, text=True, timeout=wait.DEADLINE)
        self.assertEqual(result.returncode, 69, result.stderr)
        self.assertEqual(result.stderr.splitlines()[-1],
                         "starttls-proxy: service smtp: cannot connect from the client's address: "
                         "Operation not permitted: this needs CAP_NET_ADMIN "
                         '(upstream.source = "client")')


if __name__ == "__main__":
    main.main()

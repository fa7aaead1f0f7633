"""Names: one cache, one query, and a name server in trouble affects only its own service."""

import os
import select
import signal
import socket
import struct
import threading
import time
import unittest

from support import main, name_server, wait
from support.client import Client
from support.daemon import Daemon, configuration, toml
from support.environment import pki
from support.fake_server import FakeServer, Smtp, tls_context
from support.name_server import (A, AAAA, CNAME, Etc, NameServer, Zone, record, silent,
                                 silent_addresses)

DEAD = "mail.dead.test"
GOOD = "mail.good.test"
UNREACHABLE = b"421 4.4.1"


def two_services(port, first, second, **options):
    """Returns the configuration of "office", with a server of the name `first`, and of "other"."""
    upstream = options.pop("upstream", {})
    text = configuration(port, address=f"{first}:{port}", upstream=upstream, **options)
    return text + f"""
[[service]]
name = "other"
protocol = "smtp"
listen = "127.0.0.1:0"
upstream.address = {toml(f"{second}:{port}")}
upstream.server_name = "mail.test"
upstream.ca_file = {toml(pki().ca)}
"""


class Names(unittest.TestCase):
    def setUp(self):
        name_server.require()
        self.server = self.enterContext(FakeServer(Smtp(context=tls_context())))

    def etc(self, server, **options):
        return self.enterContext(Etc(f"nameserver {server.address}\n", **options))

    def start(self, etc, name, second=None, **options):
        if second is None:
            text = configuration(self.server.port, address=f"{name}:{self.server.port}", **options)
        else:
            text = two_services(self.server.port, name, second, **options)
        return self.enterContext(Daemon(text, wrapper=etc.wrapper, listeners=2 if second else 1))

    def greeted(self, port, greeting=b"220 "):
        with Client(port) as client:
            self.assertEqual(client.line()[:len(greeting)], greeting)


class Outage(Names):
    """R1 to R3: a silent name server affects only the services that need it."""

    def waiting_clients(self, port, count):
        return [self.enterContext(Client(port)) for _ in range(count)]

    def assert_still_waiting(self, clients):
        heard, _, _ = select.select([client.sock for client in clients], [], [], 0)
        self.assertEqual(heard, [])

    def test_r1_the_other_service_is_greeted_at_once(self):
        for workers, warm, waiting in ((2, 0, 24), (1, 0, 2), (1, 1, 0), (2, 3, 24)):
            with self.subTest(workers=workers, warm=warm, waiting=waiting):
                server = self.enterContext(NameServer(silent))
                etc = self.etc(server, hosts=f"127.0.0.1 localhost {GOOD}\n")
                started = time.monotonic()
                daemon = self.start(etc, DEAD, GOOD, proxy={"workers": workers},
                                    upstream={"warm": warm})
                clients = self.waiting_clients(daemon.ports[0], waiting)
                wait.until(lambda at=server: len(at.asked(DEAD)) >= 2, "the name is asked for")
                for _ in range(10):
                    self.greeted(daemon.ports[1])
                    if time.monotonic() - started > 8:  # the query ends after ten seconds
                        break
                self.assert_still_waiting(clients)
                # One query is running for all of them: an A and an AAAA question.
                self.assertEqual({kind for kind, _ in server.asked(DEAD)}, {A, AAAA})
                self.assertEqual(len(server.asked(DEAD)), 2)
                daemon.process.send_signal(signal.SIGTERM)
                for client in clients:
                    client.sock.close()

    def test_r1_waiting_clients_get_a_reason(self):
        server = self.enterContext(NameServer(silent))
        daemon = self.start(self.etc(server), DEAD, timeouts={"prelude": "2s"})
        self.greeted(daemon.port, UNREACHABLE)

    def test_r1_a_query_without_an_answer_ends(self):
        """The query ends after ten seconds, even if clients would wait longer."""
        server = self.enterContext(NameServer(silent))
        daemon = self.start(self.etc(server), DEAD, timeouts={"prelude": "60s"})
        self.greeted(daemon.port, UNREACHABLE)
        self.assertIn(DEAD, daemon.lines(lambda f: f.get("msg") == "session failed")[0]["evidence"])

    def test_r2_term_while_a_lookup_hangs(self):
        times = []
        server = self.enterContext(NameServer(lambda query, send: times.append(time.monotonic())))
        daemon = self.start(self.etc(server), DEAD, proxy={"drain_timeout": "1s"},
                            timeouts={"prelude": "300s"})
        clients = self.waiting_clients(daemon.port, 3)
        wait.until(lambda: times, "the name is asked for")
        daemon.terminate()
        for client in clients:
            self.assertEqual(client.line()[:9], b"421 4.3.2")
            client.sock.close()
        daemon.expect_exit(0)
        # The lookup would end ten seconds after the first question.
        self.assertLess(time.monotonic() - times[0], 9)

    def test_r3_ready_while_no_name_server_knows_the_own_name(self):
        answering = threading.Event()
        zone = Zone({"shorty.example.test": ["192.0.2.1"]})

        def script(query, send):
            if answering.is_set():
                zone(query, send)

        server = self.enterContext(NameServer(script))
        etc = self.enterContext(Etc(f"nameserver {server.address}\nsearch example.test\n",
                                    hostname="shorty"))
        daemon = self.start(etc, "127.0.0.1", proxy={"hostname": ""})
        # It is ready, and no question has been answered.
        [ready] = daemon.lines(lambda f: f.get("msg") == "ready")
        self.assertRegex(ready["hostname"], r"^\[.*\]$")
        self.greeted(daemon.port)
        self.assertRegex(self.heard_hello(), rb"^EHLO \[.*\]\r\n$")
        answering.set()
        [known] = daemon.lines(lambda f: f.get("msg") == "hostname known")
        self.assertEqual(known["hostname"], "shorty.example.test")
        self.greeted(daemon.port)
        self.assertEqual(self.heard_hello(), b"EHLO shorty.example.test\r\n")

    def heard_hello(self):
        connection = self.server.connections[-1]
        return bytes(connection.clear).partition(b"\n")[0] + b"\n"

    def test_r3_a_name_from_the_hosts_file(self):
        server = self.enterContext(NameServer(silent))
        etc = self.etc(server, hostname="shorty",
                       hosts="127.0.0.1 localhost\n127.0.1.1 shorty.files.test shorty\n")
        daemon = self.start(etc, "127.0.0.1", proxy={"hostname": ""})
        [known] = daemon.lines(lambda f: f.get("msg") == "hostname known")
        self.assertEqual(known["hostname"], "shorty.files.test")

    def test_r3_a_reload_asks_again(self):
        zone = Zone({"shorty.example.test": ["192.0.2.1"]})
        server = self.enterContext(NameServer(zone))
        etc = self.enterContext(Etc(f"nameserver {server.address}\nsearch other.test\n",
                                    hostname="shorty"))
        daemon = self.start(etc, "127.0.0.1", proxy={"hostname": ""})
        wait.until(lambda: server.asked("shorty.other.test"), "the name is asked for")
        etc.replace("resolv.conf", f"nameserver {server.address}\nsearch example.test\n")
        daemon.process.send_signal(signal.SIGHUP)
        [known] = daemon.lines(lambda f: f.get("msg") == "hostname known")
        self.assertEqual(known["hostname"], "shorty.example.test")

    def test_t11_a_hostname_with_odd_bytes_is_not_sent(self):
        for name in ("evil\r\nMAIL.example.test", "a b.example.test", "-.é.test", "192.0.2.1",
                     "a..test"):
            with self.subTest(name):
                server = self.enterContext(NameServer(silent))
                daemon = self.start(self.etc(server, hostname=name), "127.0.0.1",
                                    proxy={"hostname": ""})
                self.greeted(daemon.port)
                self.assertRegex(self.heard_hello(), rb"^EHLO \[[0-9.]+\]\r\n$")


class Answers(Names):
    """The answers that the cache keeps, for how long, and the answers that replace them."""

    def test_an_answer_is_kept_for_its_time(self):
        zone = Zone({GOOD: ["127.0.0.1"]}, ttl=600)
        server = self.enterContext(NameServer(zone))
        daemon = self.start(self.etc(server), GOOD)
        for _ in range(20):
            self.greeted(daemon.port)
        self.assertEqual(len(server.asked(GOOD)), 2)

    def test_a_new_answer_takes_effect_without_a_reload(self):
        zone = Zone({GOOD: ["127.0.0.1"]}, ttl=0)
        server = self.enterContext(NameServer(zone))
        daemon = self.start(self.etc(server), GOOD)
        self.greeted(daemon.port)
        zone.names[GOOD] = ["127.0.0.9"]  # the server does not listen there

        def refused():
            with Client(daemon.port) as client:
                return client.line().startswith(UNREACHABLE)

        wait.until(refused, "the old address is forgotten")

    def test_the_last_good_answer_serves_while_the_name_server_is_down(self):
        for trouble in (silent, lambda query, send: send(
                query.reply(code=name_server.SERVER_FAILURE))):
            server = self.enterContext(NameServer(Zone({GOOD: ["127.0.0.1"]}, ttl=0)))
            daemon = self.start(self.etc(server), GOOD)
            self.greeted(daemon.port)
            server.script = trouble
            before = len(server.asked(GOOD))

            def asked_anew(at=server, port=daemon.port, count=before):
                self.greeted(port)
                return len(at.asked(GOOD)) > count

            wait.until(asked_anew, "the name server is asked in vain")
            for _ in range(10):
                self.greeted(daemon.port)

    def test_r1_the_last_good_answer_serves_while_one_family_fails(self):
        """The name server fails for one family, and later says that it has no address of the other."""
        for failing in (A, AAAA):
            with self.subTest(failing=failing):
                server = self.enterContext(NameServer(Zone({GOOD: ["127.0.0.1"]}, ttl=0)))
                daemon = self.start(self.etc(server), GOOD)
                self.greeted(daemon.port)
                heard = set()

                def trouble(query, send, failing=failing, heard=heard):
                    if query.kind == failing:
                        send(query.reply(code=name_server.SERVER_FAILURE))
                    elif query.id in heard:  # asked again after 1.5 s; the other query has failed
                        send(query.reply())
                    heard.add(query.id)

                def failures(server=server, failing=failing):
                    return len([kind for kind, _ in server.asked(GOOD) if kind == failing])

                server.script = trouble
                before = failures()

                def failed(port=daemon.port, before=before, failures=failures):
                    self.greeted(port)
                    return failures() >= before + 3  # two are of one query, so it has ended

                wait.until(failed, "the name server is asked in vain")
                self.greeted(daemon.port)

    def test_a_deleted_name_is_not_served_from_the_cache(self):
        zone = Zone({GOOD: ["127.0.0.1"]}, ttl=0)
        server = self.enterContext(NameServer(zone))
        daemon = self.start(self.etc(server), GOOD)
        self.greeted(daemon.port)
        del zone.names[GOOD]

        def refused():
            with Client(daemon.port) as client:
                return client.line().startswith(UNREACHABLE)

        wait.until(refused, "the old address is forgotten")

    def test_a_failed_query_is_repeated(self):
        server = self.enterContext(NameServer(Zone({})))
        daemon = self.start(self.etc(server), GOOD)

        def twice():
            """Runs two sessions in the two seconds of a kept failure; a busy machine may take longer."""
            before, begun = len(server.asked(GOOD)), time.monotonic()
            self.greeted(daemon.port, UNREACHABLE)
            self.greeted(daemon.port, UNREACHABLE)
            if time.monotonic() - begun > 1.8:
                return False
            # An A and an AAAA question, and both again: only then the name is known not to exist.
            self.assertLessEqual(len(server.asked(GOOD)) - before, 4)
            return True

        wait.until(twice, "two sessions in a short time")
        server.script = Zone({GOOD: ["127.0.0.1"]})

        def greeted():
            with Client(daemon.port) as client:
                return client.line().startswith(b"220")

        wait.until(greeted, "it is asked about again")

    def test_many_addresses(self):
        """R5: of a name with many addresses, sixteen are tried, three at a time."""
        for count in (1, 16, 64):
            with self.subTest(count):
                addresses = [f"127.9.{count}.{number}" for number in range(count)]
                server = self.enterContext(NameServer(Zone({GOOD: addresses})))
                daemon = self.start(self.etc(server), GOOD)
                self.greeted(daemon.port, UNREACHABLE)
                tried = daemon.lines(lambda f: f.get("msg") == "session failed")[0]["evidence"]
                self.assertEqual(tried.count("127.9."), min(count, 16))

    def test_both_families(self):
        server = self.enterContext(NameServer(Zone({GOOD: ["::1", "127.0.0.1"]})))
        daemon = self.start(self.etc(server), GOOD)
        self.greeted(daemon.port)  # the server listens on 127.0.0.1 alone

    def test_a_server_that_answers_for_one_family_only(self):
        zone = Zone({GOOD: ["127.0.0.1"]})
        server = self.enterContext(NameServer(
            lambda query, send: zone(query, send) if query.kind == A else None))
        daemon = self.start(self.etc(server), GOOD)
        self.greeted(daemon.port)

    def test_a_chain_of_aliases(self):
        names = [GOOD, *(f"alias{number}.test" for number in range(8))]

        def script(query, send):
            records = [record(name, CNAME, name_server.encode(target), 60)
                       for name, target in zip(names, names[1:])]
            if query.kind == A:
                records.append(record(names[-1], A, socket.inet_aton("127.0.0.1"), 60))
            send(query.reply(records))

        server = self.enterContext(NameServer(script))
        daemon = self.start(self.etc(server), GOOD)
        self.greeted(daemon.port)

    def test_r1_an_alias_that_points_elsewhere_takes_effect(self):
        """The alias has a short life, and the address that it leads to a long one."""
        target = ["blue.test"]
        hosts = {"blue.test": "127.0.0.1", "green.test": "127.0.0.9"}  # no server listens on green

        def script(query, send):
            host = target[0]
            records = [record(GOOD, CNAME, name_server.encode(host), 0)]
            if query.kind == A:
                records.append(record(host, A, socket.inet_aton(hosts[host]), 300))
            send(query.reply(records))

        server = self.enterContext(NameServer(script))
        daemon = self.start(self.etc(server), GOOD)
        self.greeted(daemon.port)
        target[0] = "green.test"

        def refused():
            with Client(daemon.port) as client:
                return client.line().startswith(UNREACHABLE)

        wait.until(refused, "the alias is asked about again")

    def test_a_cycle_of_aliases(self):
        def script(query, send):
            send(query.reply([record(GOOD, CNAME, name_server.encode("b.test"), 60),
                              record("b.test", CNAME, name_server.encode(GOOD), 60)]))

        server = self.enterContext(NameServer(script))
        daemon = self.start(self.etc(server), GOOD)
        self.greeted(daemon.port, UNREACHABLE)

    def test_a_truncated_answer_is_fetched_over_tcp(self):
        zone = Zone({GOOD: ["127.0.0.1"]})

        def script(query, send):
            if hasattr(query, "peer"):
                send(query.reply(truncated=True))
            else:
                zone(query, send)

        server = self.enterContext(NameServer(script))
        daemon = self.start(self.etc(server), GOOD)
        self.greeted(daemon.port)
        self.assertGreater(server.by_tcp, 0)

    def test_forged_answers_do_not_count(self):
        """Answers with another id, from another port, to another question, and cut in the middle."""
        other = self.enterContext(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

        def forged(query):
            return [record(query.name, A, socket.inet_aton("127.6.6.6"), 600)]

        def script(query, send):
            send(query.reply(forged(query), number=query.id ^ 1))
            other.sendto(query.reply(forged(query)), query.peer)
            changed = name_server.Query(query.message)
            changed.question = name_server.encode("evil.test") + query.question[-4:]
            send(changed.reply([record("evil.test", A, socket.inet_aton("127.6.6.6"), 600)]))
            Zone({GOOD: ["127.0.0.1"]})(query, send)

        server = self.enterContext(NameServer(script))
        other.bind((server.address, 0))
        daemon = self.start(self.etc(server), GOOD)
        for _ in range(5):
            self.greeted(daemon.port)

    def test_a_malformed_answer_does_not_count(self):
        def script(query, send):
            send(query.reply([b"\xc0\xff" + os.urandom(30)]))
            send(query.message[:7])
            send(struct.pack("!H", query.id) + os.urandom(600))

        server = self.enterContext(NameServer(script))
        daemon = self.start(self.etc(server), GOOD, timeouts={"prelude": "5s"})
        self.greeted(daemon.port, UNREACHABLE)

    def test_no_name_server_at_all(self):
        for text in ("", "# nothing\n", "nameserver\nsearch\n", None):
            with self.subTest(text):
                etc = self.enterContext(Etc(text, hosts=f"127.0.0.1 {GOOD}\n"))
                daemon = self.start(etc, DEAD, GOOD)
                self.greeted(daemon.ports[0], UNREACHABLE)
                self.greeted(daemon.ports[1])

    def test_search_domains(self):
        server = self.enterContext(NameServer(Zone({"mail.second.test": ["127.0.0.1"]})))
        etc = self.enterContext(Etc(
            f"nameserver {server.address}\nsearch first.test second.test\n"))
        daemon = self.start(etc, "mail")
        self.greeted(daemon.port)
        self.assertTrue(server.asked("mail.first.test"))


class Budget(Names):
    """R5: connection attempts to silent addresses take a bounded number of descriptors."""

    def test_r5_three_attempts_at_once(self):
        addresses, port = self.enterContext(silent_addresses(16))
        server = self.enterContext(NameServer(Zone({DEAD: addresses})))
        etc = self.etc(server)
        text = configuration(port, address=f"{DEAD}:{port}",
                             timeouts={"connect": "1s", "prelude": "20s"})
        daemon = self.enterContext(Daemon(text, wrapper=etc.wrapper))
        before = daemon.descriptors()
        count = 8
        clients = [self.enterContext(Client(daemon.port)) for _ in range(count)]
        seen = []

        def ended():
            seen.append(daemon.descriptors())
            return daemon.text().count("outcome=") == count

        wait.until(ended, "all sessions end")
        most = max(seen)
        for client in clients:
            self.assertEqual(client.line()[:9], UNREACHABLE)
        self.assertLessEqual(most - before, count * 4 + 2)  # 2: the name server's sockets
        self.assertGreater(most - before, count * 2)  # attempts did run beside each other

    def test_r5_max_sessions_counts_what_may_be_open(self):
        server = self.enterContext(NameServer(silent))
        etc = self.etc(server)
        text = configuration(1, address=f"{DEAD}:25")
        daemon = self.enterContext(Daemon(text, wrapper=etc.wrapper, max_files=1024))
        [ready] = daemon.lines(lambda f: f.get("msg") == "ready")
        # The client, three attempts, and a connection that was given up and still says goodbye.
        self.assertLessEqual(int(ready["max_sessions"]) * 5, 1024 - 100)

    def test_r5_a_connection_that_was_given_up_is_closed_once_it_has_ended(self):
        """The server of the first address lacks STARTTLS and leaves; the second one is silent."""
        def script(connection):
            connection.send(b"220 mail.test\r\n")
            while not connection.line().startswith(b"QUIT"):
                connection.send(b"250 mail.test\r\n")

        addresses, port = self.enterContext(silent_addresses(1))
        server = self.enterContext(FakeServer(script))
        text = configuration(server.port, upstream={
            "address": [f"127.0.0.1:{server.port}", f"{addresses[0]}:{port}"]},
            timeouts={"connect": "5m", "prelude": "5m"})
        daemon = self.enterContext(Daemon(text))

        def sockets():
            return sum("=socket:" in entry for entry in daemon.descriptor_list())

        before = sockets()
        client = self.enterContext(Client(daemon.port))
        self.assertTrue(server.connection().ended.wait(wait.DEADLINE))
        # The client's and one attempt.
        wait.until(lambda: sockets() == before + 2, daemon.descriptor_list)
        self.assertEqual(select.select([client.sock], [], [], 0)[0], [])


class Files(Names):
    """P4: the resolver's files are replaced while the daemon runs in its sandbox."""

    def test_p4_resolv_conf_is_replaced(self):
        for user in ("", "nobody"):
            for change in ("rename", "rewrite"):
                with self.subTest(user=user, change=change):
                    first = self.enterContext(NameServer(Zone({})))
                    second = self.enterContext(NameServer(Zone({GOOD: ["127.0.0.1"]})))
                    etc = self.etc(first)
                    daemon = self.start(etc, GOOD, proxy={"user": user, "sandbox": True})
                    self.greeted(daemon.port, UNREACHABLE)
                    text = f"nameserver {second.address}\n"
                    if change == "rename":
                        etc.replace("resolv.conf", text)
                    else:
                        (etc.path / "resolv.conf").write_text(text, encoding="ascii")

                    def greeted(port=daemon.port):
                        with Client(port) as client:
                            return client.line().startswith(b"220")

                    wait.until(greeted, "the new name server is asked")

    def assert_greeted_later(self, daemon):
        def greeted():
            with Client(daemon.port) as client:
                return client.line().startswith(b"220")

        wait.until(greeted, "the new name server is asked")

    def test_p4_resolv_conf_becomes_a_link(self):
        """A network manager makes it a link to a file of its own, in a folder that is there."""
        for user in ("", "nobody"):
            for folder in ("NetworkManager", "systemd/resolve", "resolvconf"):
                with self.subTest(user=user, folder=folder):
                    first = self.enterContext(NameServer(Zone({})))
                    second = self.enterContext(NameServer(Zone({GOOD: ["127.0.0.1"]})))
                    etc = self.etc(first, run=[folder])
                    daemon = self.start(etc, GOOD, proxy={"user": user, "sandbox": True})
                    self.greeted(daemon.port, UNREACHABLE)
                    (etc.run / folder / "resolv.conf").write_text(
                        f"nameserver {second.address}\n", encoding="ascii")
                    etc.link("resolv.conf", f"../run/{folder}/resolv.conf")
                    self.assert_greeted_later(daemon)

    def test_p4_resolv_conf_leads_nowhere_at_the_start(self):
        """The daemon starts early in the boot. The folder of the link comes later."""
        for user in ("", "nobody"):
            # The folders that are there, and the one that is missing.
            for there, folder in (["systemd"], "systemd/resolve"), ([], "NetworkManager"):
                with self.subTest(user=user, folder=folder):
                    server = self.enterContext(NameServer(Zone({GOOD: ["127.0.0.1"]})))
                    etc = self.enterContext(Etc(None, run=there))
                    etc.link("resolv.conf", f"/run/{folder}/resolv.conf")
                    daemon = self.start(etc, GOOD, proxy={"user": user, "sandbox": True})
                    self.greeted(daemon.port, UNREACHABLE)
                    (etc.run / folder).mkdir()
                    (etc.run / folder / "resolv.conf").write_text(
                        f"nameserver {server.address}\n", encoding="ascii")
                    self.assert_greeted_later(daemon)

    def test_p4_the_hosts_file_is_replaced(self):
        server = self.enterContext(NameServer(Zone({})))
        etc = self.etc(server)
        daemon = self.start(etc, GOOD, proxy={"sandbox": True})
        self.greeted(daemon.port, UNREACHABLE)
        etc.replace("hosts", f"127.0.0.1 {GOOD}\n")

        def greeted():
            with Client(daemon.port) as client:
                return client.line().startswith(b"220")

        wait.until(greeted, "the new file is read")


if __name__ == "__main__":
    main.main()

"""The programs that are compared, and how each is started. The rivals' configurations are in bench/rivals."""

import contextlib
import copy
import dataclasses
import os
import pathlib
import re
import subprocess
import time

from .ports import free_port
from .programs import BenchError, Program, descriptor_limit
from .tap import Tap

RIVALS = pathlib.Path(__file__).resolve().parents[1] / "rivals"
PACKAGES = ("stunnel4", "nginx", "libnginx-mod-mail", "libnginx-mod-stream", "haproxy", "hitch")
PROTOCOLS = ("smtp", "lmtp", "imap", "pop3", "sieve", "nntp")
# BoringSSL prefers these ciphers. The other subjects must use them too, so that all have the same.
CIPHER13 = "TLS_AES_128_GCM_SHA256"
CIPHERS12 = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
CIPHER12 = {"server": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "server-rsa": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}

# Bytes of a rival's buffer, if it has a setting. 16, 64, 128 and 256 KiB were compared, interleaved. 16
# cost HAProxy and nginx stream a fifth more for bulk; 128 were as good as any for all of them.
BUFFER = 65536
BULK_BUFFER = 131072
HANDSHAKES = 5  # handshakes of each subject that are looked at

OURS = "starttls-proxy"
PLAIN_RELAY = "plain relay"
SPLICE_RELAY = "splice relay"
RELAYS = {PLAIN_RELAY: "plain_relay", SPLICE_RELAY: "splice_relay"}  # our own, without TLS -> program
NGINX_PLAIN = "nginx without TLS"
DIRECT = "direct"

# No handshake may cost more than another one: no subject has a post-quantum group.
GROUP = "X25519"
OPENSSL_CONF = f"""openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = default
[default]
Groups = {GROUP}
"""
HOST_SUITE = "the host's"  # the release of Debian that the rivals are from, without --suite
RIVALS_LIBRARY = "rivals' TLS library"

STUNNEL = {"upgrade": ("smtp", "imap", "pop3", "nntp"), "terminate": ("smtp", "imap", "pop3"),
           "clear": ()}


@dataclasses.dataclass(frozen=True)
class Subject:
    """One contestant in one direction.

    kind is one of five. "ours"; "job" does the same; "data path" has implicit TLS in place of our
    STARTTLS; "limit" has no TLS; "direct" has nothing between load and backend. client and server are
    the TLS of either side; "opportunistic" meets a server without TLS. login is "connect" or "client" if
    the subject itself logs in to the server.
    """
    name: str
    kind: str
    client: str
    server: str
    login: str = ""


SUBJECTS = {
    "upgrade": (
        Subject(OURS, "ours", "none", "starttls"),
        Subject("stunnel", "job", "none", "starttls"),
        Subject("nginx stream", "data path", "none", "implicit"),
        Subject("HAProxy", "data path", "none", "implicit"),
        Subject(PLAIN_RELAY, "limit", "none", "none"),
        Subject(NGINX_PLAIN, "limit", "none", "none"),
        Subject(DIRECT, "direct", "none", "none"),
    ),
    "terminate": (
        Subject(OURS, "ours", "starttls", "none"),
        Subject("stunnel", "job", "starttls", "none"),
        Subject("nginx mail", "job", "starttls", "none"),
        Subject("nginx stream", "data path", "implicit", "none"),
        Subject("HAProxy", "data path", "implicit", "none"),
        Subject("hitch", "data path", "implicit", "none"),
        Subject(PLAIN_RELAY, "limit", "none", "none"),
        Subject(NGINX_PLAIN, "limit", "none", "none"),
        Subject(DIRECT, "direct", "starttls", "starttls"),
    ),
}
for _direction, _server in (("clear", "none"), ("left-clear", "opportunistic")):
    SUBJECTS[_direction] = (
        Subject(OURS, "ours", "none", _server),
        Subject("nginx stream", "data path", "none", "none"),
        Subject("HAProxy", "data path", "none", "none"),
        Subject(PLAIN_RELAY, "limit", "none", "none"),
        Subject(SPLICE_RELAY, "limit", "none", "none"),
        Subject(DIRECT, "direct", "none", "none"),
    )

# The same without a login of its own.
OURS_WITHOUT = f"{OURS} without login"
STUNNEL_WITHOUT = "stunnel without login"

# The subjects if the proxy logs in: before the client is greeted, or after the client's login.
LOGIN = {
    "connect": (
        Subject(OURS, "ours", "none", "starttls", "connect"),
        Subject(OURS_WITHOUT, "ours", "none", "starttls"),
        Subject("stunnel", "job", "none", "starttls", "connect"),
        Subject(STUNNEL_WITHOUT, "job", "none", "starttls"),
    ),
    "client": (
        Subject(OURS, "ours", "none", "starttls", "client"),
        Subject(OURS_WITHOUT, "ours", "none", "starttls"),
    ),
}


def rows():
    """Returns each subject of each table."""
    return [each for table in (SUBJECTS, LOGIN) for subjects in table.values() for each in subjects]


def names():
    """Returns the names of all subjects."""
    return {each.name for each in rows()}


def own_names():
    """Returns the names of the subjects that need no package."""
    return {each.name for each in rows() if each.kind in ("ours", "direct")} | set(RELAYS)


def builds():
    """Returns the names of ours and of its other builds, which are columns of their own."""
    return tuple(each.name for each in SUBJECTS["upgrade"] if each.kind == "ours")


def columns():
    """Returns the names of the subjects in the order of a table: ours, its other builds, the rivals."""
    return tuple(dict.fromkeys(each.name for direction in ("terminate", "upgrade")
                               for each in SUBJECTS[direction]))


def library_of(version):
    """Returns the TLS library in the version of a build of ours."""
    found = re.search(r"(?:AWS-LC|BoringSSL)[^,]*", version)
    return found[0] if found else version.rpartition(", ")[2]


def add_build(name):
    """Adds another build of ours to the subjects, after those that are there. Returns its full name."""
    full = f"{OURS} ({name})"
    for direction, subjects in SUBJECTS.items():
        ours = [each for each in subjects if each.kind == "ours"]
        SUBJECTS[direction] = (*ours, dataclasses.replace(ours[0], name=full), *subjects[len(ours):])
    return full


def speaks(subject, direction, protocol):
    """True if the subject can do the job in this protocol. A subject that only passes bytes on always can."""
    if subject.name in ("stunnel", STUNNEL_WITHOUT):
        return protocol in STUNNEL[direction]
    return subject.name != "nginx mail" or protocol == "smtp"


def template_of(subject, direction):
    """Returns the name of a rival's configuration in bench/rivals, without its suffix."""
    name = subject.name.removesuffix(" without login").lower().replace(" ", "-")
    if (subject.client, subject.server) == ("none", "none"):
        name, direction = "nginx-stream" if subject.name == NGINX_PLAIN else name, "clear"
    return f"{name}-{'login' if subject.login else direction}"


def _says(*argv, check=False):
    """Returns what a program prints, on either stream."""
    return subprocess.run(argv, check=check, text=True, timeout=20, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout


@dataclasses.dataclass
class Running:
    """A subject that accepts clients on a port. `program` is None if load connects to the backend."""
    subject: Subject
    program: Program | None
    port: int

    @property
    def name(self):
        return self.subject.name


class Field:
    """Starts backends and subjects; all end with the stack."""

    def __init__(self, options, stack, folder):
        self._build = options.build
        self._also = options.also  # full name of another build -> its program
        self._root = options.peers / "root"
        self._protocol = options.protocol
        self._tls = options.tls
        self.version = f"TLSv{options.tls}"
        self.cipher = CIPHER13 if options.tls == "1.3" else CIPHER12[options.certificate]
        self._stack = stack
        self.folder = folder
        cpus = sorted(options.cpus)
        self.proxy_cpus = {cpus[0]}
        self.other_cpus = set(cpus[1:]) or {cpus[0]}
        self.all_cpus = set(cpus)
        os.sched_setaffinity(0, self.other_cpus)  # this process must not use the proxy's CPU either
        subprocess.run([self.program("tools/pki/make-pki"), folder], check=True,
                       stdout=subprocess.DEVNULL)
        self.chain = folder / f"{options.certificate}.pem"
        self.key = folder / f"{options.certificate}.key"
        self.ca = folder / "ca.pem"
        combined = folder / "combined.pem"
        combined.touch(mode=0o600)
        combined.write_bytes(self.chain.read_bytes() + self.key.read_bytes())
        self._openssl_conf = folder / "openssl.cnf"
        self._openssl_conf.write_text(OPENSSL_CONF, encoding="utf-8")
        self._backends = {}

    def speaking(self, protocol):
        """Returns a copy with backends and subjects of another protocol."""
        other = copy.copy(self)
        other._protocol = protocol
        other._backends = {}
        return other

    def program(self, path):
        program = self._build / path
        if not program.exists():
            raise BenchError(f"{program} is missing: bench/run without --build makes it")
        return program

    def rival_command(self, path):
        """Returns the command of a rival's program, with the libraries it was built for and our OpenSSL
        settings. None if it is not installed."""
        # Loader and C library must be of one version. The link in usr/lib64 leads out of the tree.
        loader = next(self._root.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*"), None)
        if loader is None or not (self._root / path).exists():
            return None
        return ["env", f"OPENSSL_CONF={self._openssl_conf}", loader, "--library-path", loader.parent,
                self._root / path]

    def backend(self, tls, record=0):
        """Returns the port of the server of all subjects; there is one per TLS mode and record size."""
        tls = "none" if tls == "opportunistic" else tls
        if (tls, record) not in self._backends:
            more = ["--record", record] if record else []
            backend = self._stack.enter_context(Program("backend", [
                self.program("tools/mail_server/backend"), "--protocol", self._protocol, "--listen",
                "127.0.0.1:0", "--tls", tls, "--chain", self.chain, "--key", self.key, *more],
                self.other_cpus, self.folder))
            port = backend.wait_for(r"listening 127\.0\.0\.1:(\d+)\n")[1]
            self._backends[tls, record] = int(port)
        return self._backends[tls, record]

    def start(self, stack, subject, direction, record=0, extra=(), cpus=None, upstream=None,
              bulk=False):
        """Starts the subject; returns None if it is not installed. `extra`: flags of ours. `upstream`: a
        port in place of the backend's. `bulk`: rivals get buffers for much data, not for many sessions."""
        upstream = upstream or self.backend(subject.server, record)
        if subject.kind == "direct":
            return Running(subject, None, upstream)
        if subject.kind == "ours":
            return self._start_ours(stack, subject, upstream, extra, cpus or self.proxy_cpus)
        if subject.name in RELAYS:
            program = stack.enter_context(Program(subject.name, [
                self.program(f"bench/plain_relay/{RELAYS[subject.name]}"), "127.0.0.1", "0",
                "127.0.0.1", upstream], self.proxy_cpus, self.folder))
            port = int(program.wait_for(r"listening 127\.0\.0\.1:(\d+)\n")[1])
            return Running(subject, program, port)
        return self._start_rival(stack, subject, direction, upstream,
                                 BULK_BUFFER if bulk else BUFFER)

    def _start_ours(self, stack, subject, upstream, extra, cpus):
        argv = [self.own_program(subject.name), "--protocol", self._protocol, "--listen",
                "127.0.0.1:0", "--upstream", f"127.0.0.1:{upstream}", "--upstream-tls", subject.server,
                "--downstream-tls", subject.client]
        if subject.server != "none":
            argv += ["--server-name", "mail.test", "--ca-file", self.ca,
                     *self._without_post_quantum(argv[0])]
        if subject.client != "none":
            argv += ["--chain", self.chain, "--key", self.key]
        if os.geteuid() != 0:  # only root can measure a process in its sandbox
            argv += ["--sandbox", "false"]
        extra = list(extra) or ["--workers", "1"]
        if subject.login:
            argv, extra = [argv[0], "--config", self._login_configuration(subject, upstream)], []
        program = stack.enter_context(Program(subject.name, [*argv, *extra], cpus, self.folder))
        port = int(program.wait_for(r"msg=listening .*address=127\.0\.0\.1:(\d+)")[1])
        program.wait_for("msg=ready")
        return Running(subject, program, port)

    def own_program(self, name):
        """Returns the program of ours, or of another build of it."""
        return self._also.get(name) or self.program("proxy/starttls-proxy")

    @staticmethod
    def _without_post_quantum(program):
        """Returns the flags that leave a build with the group of all other subjects."""
        return ["--post-quantum", "off"] if "--post-quantum" in _says(program, "--help") else []

    def _login_configuration(self, subject, upstream):
        """Writes the configuration of ours with a login, which has no flags. The rest is as with flags."""
        text = (RIVALS / f"starttls-proxy-login-{subject.login}.toml").read_text(encoding="utf-8")
        values = {"PROTOCOL": self._protocol, "UPSTREAM": upstream, "CA": self.ca,
                  "SANDBOX": "true" if os.geteuid() == 0 else "false"}
        conf = self.folder / f"starttls-proxy-{subject.login}-{upstream}.toml"
        conf.write_text(re.sub("@([A-Z]+)@", lambda found: str(values[found[1]]), text), encoding="utf-8")
        return conf

    def start_services(self, stack, subject, count):
        """Starts ours with this many services, each with a server of its own. Returns it and the ports."""
        sandbox = "true" if os.geteuid() == 0 else "false"
        lines = ["[proxy]", "workers = 1", f"sandbox = {sandbox}", "max_sessions = 0"]
        for number in range(count):
            server = self.speaking(self._protocol).backend(subject.server)
            lines += ["[[service]]", f'name = "many-{number}"', f'protocol = "{self._protocol}"',
                      'listen = "127.0.0.1:0"', f'downstream.tls = "{subject.client}"',
                      f'upstream.address = "127.0.0.1:{server}"', f'upstream.tls = "{subject.server}"']
            if subject.server != "none":
                lines += ['upstream.server_name = "mail.test"', f'upstream.ca_file = "{self.ca}"']
            if subject.client != "none":
                lines += [f'downstream.certificates = [{{ chain = "{self.chain}", key = "{self.key}" }}]']
        conf = self.folder / f"many-{subject.server}.toml"
        conf.write_text("\n".join([*lines, ""]), encoding="utf-8")
        program = stack.enter_context(Program(
            subject.name, [self.own_program(subject.name), "--config", conf], self.proxy_cpus, self.folder))
        program.wait_for("msg=ready")
        return program, [int(port) for port in re.findall(
            r"msg=listening .*address=127\.0\.0\.1:(\d+)", program.text())]

    def _start_rival(self, stack, subject, direction, upstream, buffer):
        binary = {"stunnel": "usr/bin/stunnel4", "HAProxy": "usr/sbin/haproxy",
                  "hitch": "usr/sbin/hitch"}.get(subject.name.split()[0], "usr/sbin/nginx")
        command = self.rival_command(binary)
        if command is None:
            return None
        auth = 0
        if subject.name == "nginx mail":
            auth = free_port()
            conf = self._configure("nginx-auth", auth, upstream, buffer)
            authority = stack.enter_context(Program(
                "nginx auth", self._arguments(command, "nginx", conf), self.other_cpus,
                self.folder))
            authority.wait_for_port(auth)
        port = free_port()
        template = template_of(subject, direction)
        conf = self._configure(template, port, upstream, buffer, auth)
        program = stack.enter_context(Program(
            subject.name, self._arguments(command, template, conf), self.proxy_cpus, self.folder))
        program.wait_for_port(port)
        return Running(subject, program, port)

    def _arguments(self, command, template, conf):
        kind = template.partition("-")[0]
        return [*command, *{"nginx": ["-p", self.folder, "-e", "stderr", "-c", conf],
                            "haproxy": ["-db", "-f", conf],
                            "hitch": ["--config", conf],
                            "stunnel": [conf]}[kind]]

    def _configure(self, template, port, upstream, buffer, auth=0):
        name = f"{template}-{port}"
        # Started as root, hitch needs the name of a user to become. Other users cannot change their user.
        user = 'user = "nobody"' if os.geteuid() == 0 else ""
        values = {"PORT": port, "UPSTREAM": upstream, "AUTH": auth, "PROTOCOL": self._protocol,
                  "BUFFER": buffer,
                  "VERSION": self.version, "CIPHER": CIPHER13, "CIPHER12": CIPHERS12,
                  "CHAIN": self.chain, "KEY": self.key, "CA": self.ca,
                  "COMBINED": self.folder / "combined.pem", "FOLDER": self.folder,
                  "ROOT": self._root, "NAME": name, "USER": user,
                  "SESSIONS": min(8000, descriptor_limit() // 2 - 100)}
        text = (RIVALS / f"{template}.conf").read_text(encoding="utf-8")
        conf = self.folder / f"{name}.conf"
        conf.write_text(re.sub("@([A-Z0-9]+)@", lambda found: str(values[found[1]]), text),
                        encoding="utf-8")
        return conf

    def load(self, running, command, *arguments, cpus=None):
        """Starts a load generator."""
        return self.load_at(running.port, running.subject.client, command, *arguments, cpus=cpus)

    def load_at(self, port, tls, command, *arguments, cpus=None):
        more = [] if tls == "none" else ["--ca-file", self.ca, "--server-name", "mail.test",
                                         "--tls-version", self._tls]
        return Program("load", [
            self.program("bench/load/load"), command, "--connect", f"127.0.0.1:{port}",
            "--protocol", self._protocol, "--tls", tls, *more, *arguments],
            cpus or self.other_cpus, self.folder)

    def negotiated(self, subject, direction):
        """Returns the server's choices in a few handshakes of the subject, of which the first is full.
        None if the subject is not installed."""
        with contextlib.ExitStack() as stack:
            if direction == "upgrade":
                tap = stack.enter_context(Tap(self.backend(subject.server)))
                running = self.start(stack, subject, direction, upstream=tap.port)
            else:
                running = self.start(stack, subject, direction)
                if running is not None:
                    tap = stack.enter_context(Tap(running.port))
                    running = Running(subject, running.program, tap.port)
            if running is None:
                return None
            with self.load(running, "sessions", "--count", HANDSHAKES, "--concurrency", 1,
                           "--resume") as load:
                try:
                    load.result(60)
                except BenchError as error:
                    raise BenchError(f"{error}\nthe relay between them: {tap.failures}\n{subject.name}: "
                                     f"{running.program.text()[-2000:]}") from None
            end = time.monotonic() + 5  # the tap's threads may be late
            while len(tap.hellos) < HANDSHAKES and time.monotonic() < end:
                time.sleep(0.01)
            return tap.hellos

    def warm_flag(self):
        """Returns the proxy's flag for connections kept ready; None if it has none."""
        found = re.search(r"--(?:upstream-)?warm\b", _says(self.own_program(OURS), "--help"))
        return found and found[0]

    def versions(self):
        """Returns the versions that were compared; each of ours names its TLS library."""
        found = {name: ", ".join(_says(
            self.own_program(name), "--version", check=True).strip().split("\n"))
                 for name in builds()}
        for name, path, flag, pattern in (
                ("stunnel", "usr/bin/stunnel4", "-version", r"stunnel ([\d.]+)"),
                ("nginx", "usr/sbin/nginx", "-V", r"nginx/([\d.]+)"),
                ("HAProxy", "usr/sbin/haproxy", "-v", r"version ([\d.]+)"),
                ("hitch", "usr/sbin/hitch", "-V", r"hitch ([\d.]+)"),
                (RIVALS_LIBRARY, "usr/bin/stunnel4", "-version",
                 r"(?i)(?s:.*)(?:with|running) +(OpenSSL [\d.]+\w*)")):
            command = self.rival_command(path)
            if command is not None and (version := re.search(pattern, _says(*command, flag))):
                found[name] = version[1]
        return found

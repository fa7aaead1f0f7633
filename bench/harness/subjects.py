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
ANOTHER = "another build"  # another build of ours, with --against
DIRECT = "direct"

STUNNEL = {"upgrade": ("smtp", "imap", "pop3", "nntp"), "terminate": ("smtp", "imap", "pop3"),
           "clear": ()}


@dataclasses.dataclass(frozen=True)
class Subject:
    """One contestant in one direction.

    kind is one of five. "ours"; "job" does the same; "data path" has implicit TLS in place of our
    STARTTLS; "limit" has no TLS; "direct" has nothing between load and backend. client and server are
    the TLS of either side. login is "connect" or "client" if the subject itself logs in to the server.
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
        Subject("plain relay", "limit", "none", "none"),
        Subject(DIRECT, "direct", "none", "none"),
    ),
    "terminate": (
        Subject(OURS, "ours", "starttls", "none"),
        Subject("stunnel", "job", "starttls", "none"),
        Subject("nginx mail", "job", "starttls", "none"),
        Subject("nginx stream", "data path", "implicit", "none"),
        Subject("HAProxy", "data path", "implicit", "none"),
        Subject("hitch", "data path", "implicit", "none"),
        Subject("plain relay", "limit", "none", "none"),
        Subject(DIRECT, "direct", "starttls", "starttls"),
    ),
    "clear": (
        Subject(OURS, "ours", "none", "none"),
        Subject("nginx stream", "data path", "none", "none"),
        Subject("HAProxy", "data path", "none", "none"),
        Subject("plain relay", "limit", "none", "none"),
        Subject(DIRECT, "direct", "none", "none"),
    ),
}

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


def names():
    """Returns the names of all subjects."""
    return {each.name for table in (SUBJECTS, LOGIN) for rows in table.values() for each in rows}


def own_names():
    """Returns the names of the subjects that need no package."""
    return {each.name for table in (SUBJECTS, LOGIN) for rows in table.values() for each in rows
            if each.kind in ("ours", "limit", "direct")}


def add_another_build():
    """Adds another build of ours to the subjects, next to ours."""
    for direction, rows in SUBJECTS.items():
        ours = next(each for each in rows if each.name == OURS)
        SUBJECTS[direction] = (ours, dataclasses.replace(ours, name=ANOTHER), *rows[1:])


def speaks(subject, direction, protocol):
    """True if the subject can do the job in this protocol. A subject that only passes bytes on always can."""
    if subject.name in ("stunnel", STUNNEL_WITHOUT):
        return protocol in STUNNEL[direction]
    return subject.name != "nginx mail" or protocol == "smtp"


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
        self._against = options.against
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
        """Returns the command of a peer's program, with the libraries it was built for."""
        loader = next(self._root.glob("usr/lib*/ld-linux*.so.*"), None)
        if loader is None or not (self._root / path).exists():
            return None
        libraries = next(self._root.glob("usr/lib/*-linux-gnu*"))
        return [loader, "--library-path", libraries, self._root / path]

    def backend(self, tls, record=0):
        """Returns the port of the server of all subjects; there is one per TLS mode and record size."""
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
        if subject.kind == "limit":
            program = stack.enter_context(Program(subject.name, [
                self.program("bench/plain_relay/plain_relay"), "127.0.0.1", "0", "127.0.0.1",
                upstream], self.proxy_cpus, self.folder))
            port = int(program.wait_for(r"listening 127\.0\.0\.1:(\d+)\n")[1])
            return Running(subject, program, port)
        return self._start_rival(stack, subject, direction, upstream,
                                 BULK_BUFFER if bulk else BUFFER)

    def _start_ours(self, stack, subject, upstream, extra, cpus):
        another = subject.name == ANOTHER
        argv = [self._against if another else self.program("proxy/starttls-proxy"), "--protocol",
                self._protocol, "--listen", "127.0.0.1:0", "--upstream", f"127.0.0.1:{upstream}",
                "--upstream-tls", subject.server, "--downstream-tls", subject.client]
        if subject.server != "none":
            argv += ["--server-name", "mail.test", "--ca-file", self.ca]
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

    def _login_configuration(self, subject, upstream):
        """Writes the configuration of ours with a login, which has no flags. The rest is as with flags."""
        text = (RIVALS / f"starttls-proxy-login-{subject.login}.toml").read_text(encoding="utf-8")
        values = {"PROTOCOL": self._protocol, "UPSTREAM": upstream, "CA": self.ca,
                  "SANDBOX": "true" if os.geteuid() == 0 else "false"}
        conf = self.folder / f"starttls-proxy-{subject.login}-{upstream}.toml"
        conf.write_text(re.sub("@([A-Z]+)@", lambda found: str(values[found[1]]), text), encoding="utf-8")
        return conf

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
        name = subject.name.removesuffix(" without login").lower().replace(" ", "-")
        template = f"{name}-{'login' if subject.login else direction}"
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
                load.result(60)
            end = time.monotonic() + 5  # the tap's threads may be late
            while len(tap.hellos) < HANDSHAKES and time.monotonic() < end:
                time.sleep(0.01)
            return tap.hellos

    def warm_flag(self):
        """Returns the proxy's flag for connections kept ready; None if it has none."""
        text = subprocess.run([self.program("proxy/starttls-proxy"), "--help"], check=True,
                              capture_output=True, text=True).stdout
        found = re.search(r"--(?:upstream-)?warm\b", text)
        return found and found[0]

    def versions(self):
        """Returns the versions that were compared; ours names its TLS library."""
        own = subprocess.run([self.program("proxy/starttls-proxy"), "--version"], check=True,
                             capture_output=True, text=True).stdout
        found = {OURS: ", ".join(own.strip().split("\n"))}
        for name, path, flag, pattern in (
                ("stunnel", "usr/bin/stunnel4", "-version", r"stunnel ([\d.]+)"),
                ("nginx", "usr/sbin/nginx", "-V", r"nginx/([\d.]+)"),
                ("HAProxy", "usr/sbin/haproxy", "-v", r"version ([\d.]+)"),
                ("hitch", "usr/sbin/hitch", "-V", r"hitch ([\d.]+)")):
            command = self.rival_command(path)
            if command is None:
                continue
            said = subprocess.run([*command, flag], check=False, text=True, timeout=20,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
            if version := re.search(pattern, said):
                found[name] = version[1]
        if command := self.rival_command("usr/bin/stunnel4"):
            said = subprocess.run([*command, "-version"], check=False, text=True, timeout=20,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
            if libraries := re.findall(r"(?:with|running) +(OpenSSL [\d.]+\w*)", said, re.I):
                found["rivals' TLS library"] = libraries[-1]
        return found

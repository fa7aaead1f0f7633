"""Real programs from the peers folder, run in it with chroot; the network is the host's."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

from . import children, wait
from .client import Client, free_port
from .environment import PEERS, pki

POSTFIX_UID = 20890
POSTDROP_GID = 20891
NOBODY = 65534


def as_root(*argv):
    """Returns the command line that runs `argv` as root."""
    return [*([] if os.geteuid() == 0 else ["sudo", "-n"]), *map(str, argv)]


def require():
    """Skips the test if the peers were not unpacked."""
    if not (PEERS.parent / "stamp").exists():
        raise unittest.SkipTest(f"no peers in {PEERS.parent}: run tests/peers/fetch")


# Mounts /proc in the tree that is its first argument, and runs the others.
_WITH_PROC = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c",
              'mount --rbind /proc "$0/proc" && exec "$@"', str(PEERS)]


def command(*argv, uid=0, environment=(), proc=False):
    """Returns the command line that runs `argv` inside the peers' tree, as root or `uid`.

    `environment` has more variables, as "NAME=VALUE". With `proc` the program sees /proc, in a
    mount namespace of its own.
    """
    return as_root("/usr/bin/env", "-i", "LC_ALL=C", "PATH=/usr/sbin:/usr/bin", *environment,
                   *(_WITH_PROC if proc else []),
                   "/usr/sbin/chroot", f"--userspec={uid}:{uid}", PEERS, *argv)


def run(*argv, timeout=2 * wait.DEADLINE, uid=0, proc=False, **options):
    """Runs a peer to its end; never raises for its exit status."""
    return subprocess.run(command(*argv, uid=uid, proc=proc), capture_output=True, timeout=timeout,
                          check=False, **options)


@contextlib.contextmanager
def scratch():
    """Makes a folder below the peers' /tmp, writable for every user: (path outside, path inside)."""
    with tempfile.TemporaryDirectory(dir=PEERS / "tmp", prefix="st-") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder), pathlib.Path("/tmp") / pathlib.Path(folder).name


def tls_client(program, port, said, *, starttls=None, deadline=wait.DEADLINE):
    """Talks over TLS by "openssl" or "gnutls-cli". Returns what it received and printed.

    `said` must make the server end the session. `starttls` is the protocol to begin TLS with;
    None is TLS at once. The certificate is verified, for mail.test.
    """
    with scratch() as (outside, inside):
        shutil.copy(pki().ca, outside / "ca.pem")
        os.chmod(outside / "ca.pem", 0o644)
        ca = inside / "ca.pem"
        if program == "openssl":
            argv = ["/usr/bin/openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}",
                    "-CAfile", ca, "-verify_return_error", "-verify_hostname", "mail.test",
                    "-servername", "mail.test", *(["-starttls", starttls] if starttls else [])]
        else:
            argv = ["/usr/bin/gnutls-cli", "-p", port, "127.0.0.1", f"--x509cafile={ca}",
                    "--verify-hostname=mail.test", "--sni-hostname=mail.test",
                    *([f"--starttls-proto={starttls}"] if starttls else [])]
        # Neither program may see the end of its input before it has received everything.
        with subprocess.Popen(command(*argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, bufsize=0) as process:
            killer = threading.Timer(deadline, process.terminate)
            killer.start()
            process.stdin.write(said)
            heard = b""
            while piece := process.stdout.read(65536):
                heard += piece
            killer.cancel()
        if process.returncode != 0:
            raise AssertionError(f"{program}: exit status {process.returncode}\n{heard!r}")
        return heard


def make_folders(uid, gid, mode, *paths):
    """Makes folders of this owner and mode, parents included; changes those that exist."""
    subprocess.run(as_root("/usr/bin/install", "-d", "-o", uid, "-g", gid, "-m", mode, *paths),
                   check=True)


def read(path):
    """Returns the text of a peer's file, which may be root's alone; "" if there is none."""
    done = subprocess.run(as_root("/bin/cat", path), capture_output=True, check=False)
    return done.stdout.decode(errors="replace")


def stop(process, pid_file):
    """Sends TERM to a daemon started by children.start(command(...)), and KILL if it does not end.

    `pid_file` is the daemon's own: through sudo it is not our direct child.
    """
    if process.poll() is None:
        pid = int(read(pid_file) or process.pid)
        subprocess.run(as_root("/bin/kill", "-TERM", pid), check=False)
        try:
            process.wait(wait.DEADLINE)
        except subprocess.TimeoutExpired:
            subprocess.run(as_root("/bin/kill", "-KILL", pid), check=False)
            process.wait(wait.DEADLINE)
    process.stderr.close()


MAIN_CF = """\
compatibility_level = 3.6
config_directory = {inside}/etc
queue_directory = {inside}/spool
data_directory = {inside}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
shlib_directory = /usr/lib/postfix
maillog_file = {inside}/log/mail.log
maillog_file_prefixes = /tmp
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.test
mydestination =
# From 3.9 on Postfix refuses clients that send commands too early. The tests send all at once.
smtpd_forbid_unauth_pipelining = no
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = mail.test
virtual_mailbox_base = {inside}/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = 100000000
smtpd_tls_security_level = {level}
smtpd_tls_chain_files = {inside}/etc/server.key, {inside}/etc/server.pem
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_relay_restrictions = reject_unauth_destination
default_process_limit = 100
"""

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{implicit} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A Postfix of its own: smtpd on free loopback ports, mail in one Maildir.

    `level` is smtpd_tls_security_level; "encrypt" takes mail only after STARTTLS. `port` is the
    one with STARTTLS, `implicit` the one with TLS at once. `settings` are more lines of main.cf,
    `listen` more addresses with STARTTLS ("10.2.0.2:25"), `services` more lines of master.cf.
    """

    def __init__(self, level="encrypt", certificate="server", settings="", listen=(),
                 services=""):
        require()
        self._services = services
        self._listen = listen
        self._settings = settings
        self._level = level
        self._certificate = certificate
        self._seen = set()

    def __enter__(self):
        self.port = free_port()
        while (implicit := free_port()) == self.port:
            pass
        self.implicit = implicit
        folder = tempfile.mkdtemp(dir=PEERS / "tmp", prefix="postfix-")
        os.chmod(folder, 0o755)
        self._outside = pathlib.Path(folder)
        inside = pathlib.Path("/tmp") / self._outside.name
        # virtual(8) refuses to deliver as root.
        uid = os.geteuid() or NOBODY
        values = {"inside": inside, "port": self.port, "implicit": self.implicit,
                  "level": self._level, "uid": uid, "gid": os.getegid() or NOBODY}

        etc = self._outside / "etc"
        etc.mkdir()
        (etc / "main.cf").write_text(MAIN_CF.format(**values) + self._settings)
        (etc / "master.cf").write_text(MASTER_CF.format(**values) + "".join(
            f"{address} inet n - n - - smtpd\n" for address in self._listen) + self._services)
        chain, key = pki().pair(self._certificate)
        shutil.copy(chain, etc / "server.pem")
        shutil.copy(key, etc / "server.key")
        (self._outside / "mail" / "box").mkdir(parents=True)
        make_folders(uid, os.getegid() or NOBODY, "755", self._outside / "mail" / "box")
        make_folders(0, 0, "755", etc, self._outside / "spool", self._outside / "log")
        subprocess.run(as_root("/bin/chown", "0:0", etc / "server.key"), check=True)
        subprocess.run(as_root("/bin/chmod", "600", etc / "server.key"), check=True)
        spool = self._outside / "spool"
        make_folders(POSTFIX_UID, 0, "700", self._outside / "data", *(
            spool / name for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush",
                                      "hold", "incoming", "private", "saved", "trace")))
        make_folders(POSTFIX_UID, POSTDROP_GID, "730", spool / "maildrop")
        make_folders(POSTFIX_UID, POSTDROP_GID, "710", spool / "public")
        make_folders(0, 0, "755", spool / "pid")

        # Without -w master stays in the foreground, and so is always a child of ours.
        self._master = children.start(
            command("/usr/lib/postfix/sbin/master", "-d", "-c", inside / "etc"),
            death=signal.SIGTERM, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait.until(self._listening, lambda: f"Postfix listens\n{self.log()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # TERM makes master stop its children and go.
        stop(self._master, self._outside / "spool" / "pid" / "master.pid")
        subprocess.run(as_root("/bin/rm", "-rf", self._outside), check=False)

    def log(self):
        return read(self._outside / "log" / "mail.log")

    def new_mail(self, count=1):
        """Waits for `count` more messages. Returns their bytes as stored, in order of their time."""
        box = self._outside / "mail" / "box" / "new"

        def fresh():
            names = set(os.listdir(box)) - self._seen if box.exists() else set()
            return sorted(names) if len(names) >= count else None

        names = wait.until(fresh, lambda: f"{count} messages delivered\n{self.log()[-3000:]}")
        self._seen.update(names)
        names.sort(key=lambda name: (box / name).stat().st_mtime_ns)
        return [(box / name).read_bytes() for name in names]

    def _listening(self):
        if self._master.poll() is not None:
            raise AssertionError(f"master ended: {self._master.stderr.read()!r}\n{self.log()}")
        try:
            with Client(self.port) as client:
                return client.line().startswith(b"220 ")
        except OSError:
            return False

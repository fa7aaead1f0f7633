"""A Dovecot of its own: IMAP, POP3, ManageSieve, LMTP and submission, from the peers folder."""

import functools
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from . import canary, children, peers, wait
from .client import Client, free_port
from .directions import Directions
from .environment import PEERS, pki

VMAIL_UID = 20894
PASSWORD = canary.PASSWORD
USERS = ("box", "other", "third", "scan")

# Dovecot takes a client with the address that it connected to for its own machine, and as
# secured. So on OWN it offers login in the clear under any policy. The kernel's source for the
# whole of 127/8 is 127.0.0.1, so on STRANGE every client is from elsewhere.
OWN = "127.0.0.1"
STRANGE = "127.0.0.2"

# Dovecot's name of a listener with STARTTLS, and of the one with TLS from the first byte. On the
# latter ManageSieve now and then forgets a client, so only handshakes are of use there.
LISTENERS = {"imap": "imaps", "pop3": "pop3s", "submission": "submissions", "sieve": "sieves",
             "lmtp": "lmtps"}
SERVICES = {"imap": "imap-login", "pop3": "pop3-login", "submission": "submission-login",
            "sieve": "managesieve-login", "lmtp": "lmtp"}

# The part that is the same in all versions.
COMMON = """\
base_dir = {inside}/run
state_dir = {inside}/run
log_path = {inside}/log
listen = {own}, {strange}
protocols = {protocols}
hostname = mail.test
postmaster_address = postmaster@mail.test
ssl = {ssl}
auth_mechanisms = plain login scram-sha-256 apop
auth_verbose = yes
auth_failure_delay = 0
first_valid_uid = 1
maildir_very_dirty_syncs = yes
mail_max_userip_connections = 100
submission_relay_host = 127.0.0.1
submission_relay_port = {relay_port}
service anvil {{
  # Failed logins would be answered later and later.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""

# Debian 12.
CONF_2_3 = COMMON + """\
login_log_format_elements = user=<%u> method=%m rip=%r lip=%l %c %k
ssl_cert = <{inside}/etc/server.pem
ssl_key = <{inside}/etc/server.key
disable_plaintext_auth = {not_plaintext}
auth_username_format = %n
mail_location = maildir:~/Maildir
mail_plugins = zlib
lmtp_rcpt_check_quota = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%n {inside}/etc/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={inside}/mail/%n
}}
protocol imap {{
  mail_plugins = zlib imap_zlib
}}
plugin {{
  sieve = file:~/sieve;active=~/active.sieve
}}
"""

# Debian 13. The versions must come first.
CONF_2_4 = """\
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
""" + COMMON + """\
login_log_format_elements = user=<%{{user}}> method=%{{mechanism}} rip=%{{remote_ip}} lip=%{{local_ip}} \
%{{secured}} %{{ssl_security}}
ssl_server_cert_file = {inside}/etc/server.pem
ssl_server_key_file = {inside}/etc/server.key
auth_allow_cleartext = {plaintext}
auth_username_format = %{{user | username}}
mail_driver = maildir
mail_path = ~/Maildir
passdb passwd-file {{
  default_password_scheme = PLAIN
  passwd_file_path = {inside}/etc/users
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {uid}
    home = {inside}/mail/%{{user | username}}
  }}
}}
sieve_script personal {{
  path = ~/sieve
  active_path = ~/active.sieve
}}
"""

LISTENER = """\
service {service} {{
  inet_listener {plain} {{
    port = {port}
  }}
  inet_listener {implicit} {{
    port = {implicit_port}
    ssl = yes
  }}
}}
"""


@functools.cache
def version():
    """Returns the major and minor number of the peers' Dovecot."""
    said = peers.run("/usr/sbin/dovecot", "--version").stdout.decode()
    return tuple(int(number) for number in said.split(".")[:2])


class Dovecot:
    """Dovecot on free loopback ports, in the foreground; users USERS, all with PASSWORD.

    `ssl` is Dovecot's setting: "required", "yes" or "no"; `plaintext` allows password logins in the
    clear. Mechanisms: PLAIN, LOGIN, SCRAM-SHA-256, and APOP. `ports` maps imap, pop3, submission,
    sieve and lmtp to the port with STARTTLS; `implicit` to the port with TLS at once. Both answer
    on OWN and on STRANGE. Submission hands mail on to `relay_port`. `settings` are more lines,
    `fixed` the ports with STARTTLS that are not left to chance.
    """

    def __init__(self, ssl="required", *, plaintext=False, certificate="server", relay_port=25,
                 settings="", fixed=None):
        peers.require()
        self._ssl = ssl
        self._plaintext = plaintext
        self._certificate = certificate
        self._relay_port = relay_port
        self._settings = settings
        self._fixed = fixed or {}

    def __enter__(self):
        chain, key = pki().pair(self._certificate)
        ports = set()
        while len(ports) < 2 * len(LISTENERS):
            ports.add(free_port())
        self.ports = {name: ports.pop() for name in LISTENERS} | self._fixed
        self.implicit = {name: ports.pop() for name in LISTENERS}

        self._outside = pathlib.Path(tempfile.mkdtemp(dir=PEERS / "tmp", prefix="dovecot-"))
        inside = pathlib.Path("/tmp") / self._outside.name
        os.chmod(self._outside, 0o755)
        etc = self._outside / "etc"
        etc.mkdir()
        (etc / "dovecot.conf").write_text(self._configuration(inside))
        (etc / "users").write_text("".join(f"{user}:{PASSWORD}\n" for user in USERS))
        shutil.copy(chain, etc / "server.pem")
        shutil.copy(key, etc / "server.key")
        # The file is ours from the start, so that we may read what Dovecot adds as root.
        (self._outside / "log").touch(mode=0o644)
        peers.make_folders(0, 0, "755", self._outside / "run", self._outside / "mail")
        peers.make_folders(VMAIL_UID, VMAIL_UID, "755",
                           *(self._outside / "mail" / user for user in USERS))

        self._master = children.start(
            peers.command("/usr/sbin/dovecot", "-F", "-c", inside / "etc" / "dovecot.conf"),
            death=signal.SIGTERM, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait.until(self._listening, lambda: f"Dovecot listens\n{self.log()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # TERM makes the master end its children.
        peers.stop(self._master, self._outside / "run" / "master.pid")
        subprocess.run(peers.as_root("/bin/rm", "-rf", self._outside), check=False)

    def log(self):
        return peers.read(self._outside / "log")

    def logins(self, service, count=0):
        """Waits for `count` lines about logins to imap, pop3, sieve or submission. Returns them all."""
        words = "Logged in" if version() >= (2, 4) else "Login"
        mark = f"{SERVICES[service]}: Info: {words}: "

        def found():
            lines = [line for line in self.log().splitlines() if mark in line]
            return [lines] if len(lines) >= count else None

        return wait.until(found, lambda: f"{count} logins\n{self.log()[-3000:]}")[0]

    def await_logins(self, service, after, count, *words):
        """Waits until `count` lines about logins, not counting the first `after` lines, have all the words.
        A line of an earlier login may come late."""
        def found():
            return sum(all(each in line for each in words)
                       for line in self.logins(service)[after:]) >= count

        wait.until(found, lambda: f"{count} logins with {words}\n{self.log()[-3000:]}")

    def stored(self, user="box", count=1):
        """Waits for `count` messages as LMTP (or IMAP) stored them. Returns their bytes, by time."""
        folder = self._outside / "mail" / user / "Maildir" / "new"

        def paths():
            listed = subprocess.run(peers.as_root("/bin/ls", "-1tr", folder), check=False,
                                    capture_output=True, text=True).stdout.split()
            return listed if len(listed) >= count else None

        names = wait.until(paths, lambda: f"{count} messages delivered\n{self.log()[-3000:]}")
        return [subprocess.run(peers.as_root("/bin/cat", folder / name), check=True,
                               capture_output=True).stdout for name in names]

    def _configuration(self, inside):
        no_yes = ("no", "yes")
        text = (CONF_2_4 if version() >= (2, 4) else CONF_2_3).format(
            inside=inside, own=OWN, strange=STRANGE, protocols=" ".join(LISTENERS), ssl=self._ssl,
            plaintext=no_yes[self._plaintext], not_plaintext=no_yes[not self._plaintext],
            relay_port=self._relay_port, uid=VMAIL_UID)
        for plain, implicit in LISTENERS.items():
            text += LISTENER.format(service=SERVICES[plain], plain=plain, port=self.ports[plain],
                                    implicit=implicit, implicit_port=self.implicit[plain])
        return text + self._settings

    def _listening(self):
        if self._master.poll() is not None:
            raise AssertionError(f"Dovecot ended: {self._master.stderr.read()!r}\n{self.log()}")
        try:
            with Client(self.ports["imap"]) as client:
                return client.line().startswith(b"* OK ")
        except OSError:
            return False


class DovecotTest(unittest.TestCase):
    """Base of tests of one protocol in all directions.

    `secured` is the server with TLS, and takes logins only over TLS. `clear` is the server in the
    clear, and knows no TLS. Neither takes the proxy for a neighbour.
    """

    protocol = ""

    @classmethod
    def setUpClass(cls):
        cls.secured = cls.enterClassContext(Dovecot("required"))
        cls.clear = cls.enterClassContext(Dovecot("no", plaintext=True))
        cls.directions = cls.enterClassContext(Directions(cls.protocol, {
            "none": f"{STRANGE}:{cls.clear.ports[cls.protocol]}",
            "starttls": f"{STRANGE}:{cls.secured.ports[cls.protocol]}",
            "implicit": f"{STRANGE}:{cls.secured.implicit[cls.protocol]}",
        }))

    def server(self, pair):
        """Returns the Dovecot that the service of that pair of modes connects to."""
        return self.clear if pair[1] == "none" else self.secured

    def assert_login(self, pair, count, *words):
        """Waits for a login, from the server's `count`th on, with these words in its line. The line
        must show TLS exactly if the upstream leg has it. The line of an earlier session may come
        late, and then counts too."""
        server = self.server(pair)
        login = wait.until(
            lambda: next((line for line in server.logins(self.protocol, count)[count - 1:]
                          if all(word in line for word in words)), None),
            lambda: f"a login with {words}\n{server.log()[-3000:]}")
        self.assertEqual("TLSv1.3 with cipher" in login, pair[1] != "none", login)

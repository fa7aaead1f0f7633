"""An INN of its own: innd that keeps the articles, nnrpd that readers speak to."""

import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import tempfile

from . import canary, children, peers, wait
from .client import Client, free_port
from .environment import PEERS, pki

NEWS_UID = 20895
USER, PASSWORD = "reader", "very " + canary.PASSWORD
GROUP = "misc.test"

INN_CONF = """\
mta: "/bin/false %s"
mailcmd: /bin/false
ovmethod: tradindexed
hismethod: hisv6
enableoverview: true
pathhost: mail.test
domain: mail.test
pathnews: /usr/lib/news
pathbin: /usr/lib/news/bin
pathdb: {inside}/db
pathetc: {inside}/etc
pathfilter: {inside}/etc
pathlog: {inside}/log
pathhttp: {inside}/log
pathrun: {inside}/run
pathspool: {inside}/spool
pathtmp: {inside}/tmp
runasuser: news
runasgroup: news
bindaddress: 127.0.0.1
port: {innd}
nnrpdpostport: {innd}
initialtimeout: 60
nnrpdloadlimit: 0
tlscertfile: {inside}/etc/server.pem
tlskeyfile: {inside}/etc/server.key
"""

READERS_CONF = """\
auth "all" {{
  hosts: "*"
  {encrypted}
  auth: "ckpasswd -f {inside}/etc/users"
}}
access "users" {{
  users: "{user}"
  newsgroups: "*"
  access: RPA
}}
"""

GROUPS = ("control", "control.cancel", "control.checkgroups", "junk", GROUP)


class Inn:
    """INN on free loopback ports, with one group and one user. The user may log in only over TLS,
    unless `tls` is False: then nnrpd knows no TLS.

    `port` is nnrpd's with STARTTLS, `implicit` the one with TLS at once, `transit` innd's own.
    """

    def __init__(self, tls=True):
        peers.require()
        self._tls = tls
        self._started = []

    def __enter__(self):
        ports = set()
        while len(ports) < 3:
            ports.add(free_port())
        self.transit, self.port, self.implicit = ports
        self._outside = pathlib.Path(tempfile.mkdtemp(dir=PEERS / "tmp", prefix="inn-"))
        os.chmod(self._outside, 0o755)
        self._inside = pathlib.Path("/tmp") / self._outside.name
        self._write()
        try:
            self._run("makehistory", "-I", "-f", self._inside / "db" / "history")
            self._start("innd", "-d", "-P", self.transit, "-4", "127.0.0.1")
            self._wait_for(self.transit)
            readers = self._inside / "etc" / "readers.conf"
            common = ("-D", "-f", "-b", "127.0.0.1", "-c", readers)
            self._start("nnrpd", *common, "-p", self.port)
            self._wait_for(self.port)
            if self._tls:
                self._start("nnrpd", *common, "-S", "-p", self.implicit)
                self._wait_for(self.implicit, self._tls_greets)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self._started:
            # innd handles TERM only when something happens; nothing here must be kept.
            subprocess.run(peers.as_root("/bin/kill", "-KILL", self._pid(process)), check=False)
            process.wait(wait.DEADLINE)
            process.stderr.close()
        subprocess.run(peers.as_root("/bin/rm", "-rf", self._outside), check=False)

    def _write(self):
        etc = self._outside / "etc"
        for name in ("etc", "db", "log", "run", "tmp", "spool"):
            (self._outside / name).mkdir()
        for name in ("articles", "overview", "incoming/bad", "incoming/tmp", "outgoing", "archive"):
            (self._outside / "spool" / name).mkdir(parents=True)
        encrypted = "require_encryption: true" if self._tls else ""
        # ckpasswd wants the password as a crypt(3) hash.
        password = peers.run("/usr/bin/openssl", "passwd", "-1", PASSWORD).stdout.decode().strip()
        conf = INN_CONF.format(inside=self._inside, innd=self.transit)
        if not self._tls:
            conf = "".join(line for line in conf.splitlines(True) if not line.startswith("tls"))
        files = {
            "etc/inn.conf": conf,
            "etc/readers.conf": READERS_CONF.format(inside=self._inside, encrypted=encrypted,
                                                    user=USER),
            "etc/users": f"{USER}:{password}\n",
            "etc/storage.conf": "method tradspool {\n newsgroups: *\n class: 0\n}\n",
            "etc/newsfeeds": "ME:*::\nnobody:!*:Tf,Wnm:\n",  # innd wants a feed
            "etc/incoming.conf": 'peer ME {\n hostname: "127.0.0.1"\n}\n',
            "etc/expire.ctl": "/remember/:10\n*:A:1:10:never\n",
            "etc/control.ctl": "all:*:*:drop\n",
            "etc/moderators": "",
            "etc/distributions": "",
            "etc/inn-secrets.conf": "",
            "db/active": "".join(f"{name} 0000000000 0000000001 {'y' if name == GROUP else 'n'}\n"
                                 for name in GROUPS),
            "db/newsgroups": f"{GROUP}\tTests\n",
            "db/active.times": "",
        }
        for name, text in files.items():
            (self._outside / name).write_text(text)
        chain, key = pki().pair()
        shutil.copy(chain, etc / "server.pem")
        shutil.copy(key, etc / "server.key")
        os.chmod(etc / "server.key", 0o600)
        os.chmod(etc / "users", 0o600)
        subprocess.run(peers.as_root("/bin/chown", "-R", f"{NEWS_UID}:{NEWS_UID}",
                                     self._outside), check=True)

    def _command(self, program, *argv):
        return peers.command(f"/usr/lib/news/bin/{program}", *argv, uid=NEWS_UID,
                             environment=(f"INNCONF={self._inside}/etc/inn.conf",))

    def _run(self, *argv):
        subprocess.run(self._command(*argv), check=True, capture_output=True,
                       timeout=2 * wait.DEADLINE)

    def _start(self, *argv):
        self._started.append(children.start(self._command(*argv), death=signal.SIGTERM,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))

    @staticmethod
    def _pid(process):
        """Returns the id of the process; through sudo it is a child of our child."""
        children_file = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        below = children_file.read_text().split() if os.geteuid() else []
        return below[0] if below else process.pid

    @staticmethod
    def _greets(client):
        return client.line().startswith(b"200 ")

    @classmethod
    def _tls_greets(cls, client):
        client.start_tls(ssl.create_default_context(cafile=pki().ca), "mail.test")
        return cls._greets(client)

    def _wait_for(self, port, greets=None):
        process = self._started[-1]
        greets = greets or self._greets

        def listens():
            if process.poll() is not None:
                raise AssertionError(f"INN ended: {process.stderr.read()!r}")
            try:
                with Client(port) as client:
                    return greets(client)
            except OSError:
                return False

        wait.until(listens, "INN listens")

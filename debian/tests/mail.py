"""A mail server with STARTTLS, a certificate for it, and the installed proxy, for tests of the package."""

import pathlib
import pwd
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import time

FOLDER = pathlib.Path("/etc/starttls-proxy")
CONFIGURATION = FOLDER / "starttls-proxy.toml"
PROGRAM = "/usr/sbin/starttls-proxy"
USER = "starttls-proxy"
DEADLINE = 30  # seconds, for anything that this file waits for


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


class Server:
    """An SMTP server on localhost. It accepts mail after STARTTLS, and keeps it in `mails`."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            key, chain = f"{folder}/key", f"{folder}/chain"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                 "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                 "-keyout", key, "-out", chain],
                check=True, stderr=subprocess.DEVNULL)
            self.certificate = pathlib.Path(chain).read_text(encoding="ascii")
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(chain, key)
        self.mails = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection = self._listener.accept()[0]
            connection.settimeout(DEADLINE)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        file = connection.makefile("rwb", buffering=0)

        def say(text):
            file.write(text.encode() + b"\r\n")

        say("220 localhost ESMTP")
        while line := file.readline():
            verb, secure = line.split()[0].upper(), isinstance(connection, ssl.SSLSocket)
            if verb == b"EHLO":
                say("250 localhost" if secure else "250-localhost\r\n250 STARTTLS")
            elif verb == b"STARTTLS":
                say("220 go ahead")
                connection = self._tls.wrap_socket(connection, server_side=True)
                file = connection.makefile("rwb", buffering=0)
            elif verb == b"DATA" and secure:
                say("354 go ahead")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += file.readline()
                self.mails.append(text.decode())
                say("250 accepted")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 ok" if secure else "530 STARTTLS first")


def send(port, text):
    """Sends a mail without TLS to the proxy on this port, which may be starting still."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=DEADLINE) as client:
                client.sendmail("a@example.com", "b@example.com", f"Subject: test\r\n\r\n{text}\r\n")
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def check():
    """Runs --check as the user of the service. Returns the exit status."""
    return subprocess.run(["runuser", "-u", USER, "--", PROGRAM, "--config", CONFIGURATION, "--check"],
                          check=False).returncode


class Daemon:
    """The proxy as a process of its user, without systemd."""

    def __init__(self):
        user = pwd.getpwnam(USER)
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            [PROGRAM, "--config", CONFIGURATION], user=user.pw_uid, group=user.pw_gid, extra_groups=[],
            stderr=subprocess.PIPE, text=True)
        self.log = []
        threading.Thread(target=lambda: self.log.extend(self._process.stderr), daemon=True).start()

    def signal(self, number):
        self._process.send_signal(number)

    def wait_for(self, words):
        deadline = time.monotonic() + DEADLINE
        while not any(words in line for line in self.log):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no line with '{words}': {self.log}")
            time.sleep(0.05)

    def stop(self):
        """Ends the process, and returns its exit status."""
        self._process.terminate()
        return self._process.wait(DEADLINE)


def remove_configuration():
    for path in (CONFIGURATION, FOLDER / "ca.pem"):
        path.unlink(missing_ok=True)

"""Shows the whole job on one screen of 80 columns: the bytes on both sides of the proxy, as they are on the wire.

    demo.py BUILD_FOLDER [SCENE]

    smtp        a client that knows no TLS sends mail to a server that accepts mail only after STARTTLS
    imap        such a client reads mail
    terminate   a client that insists on TLS sends mail to a server that knows no TLS
    login       a client that cannot log in sends mail to a server that wants a login

Exit status 0 only if the message arrived byte for byte and nothing of it was readable on the protected side.
"""

import contextlib
import pathlib
import re
import ssl
import subprocess
import sys
import tempfile
import time

from demo_parts import DEADLINE, Client, Program, Screen, Tap

MESSAGE = (b"From: scanner@office.test\r\nTo: archive@mail.test\r\nSubject: Scan 4711\r\n\r\n"
           b"Page one: \xe2\x82\xac 1.000, confidential.\r\n"
           b".A line that begins with a dot.\r\n")
PASSWORD = b"correct horse battery"
LISTENING = r"msg=\"?listening\"? .*address=127\.0\.0\.1:(\d+)"


def send(port, context=None):
    """Sends the message by SMTP, with STARTTLS if there is a context. True if the server accepted it."""
    with Client(port) as client:
        accepted = client.reply().startswith(b"220")
        if accepted and context is not None:
            client.send(b"EHLO laptop.test\r\n")
            client.reply()
            client.send(b"STARTTLS\r\n")
            accepted = client.reply().startswith(b"220")
            client.start_tls(context, "mail.test")
        for command, wanted in ((b"EHLO scanner.office.test", b"250"),
                                (b"MAIL FROM:<scanner@office.test>", b"250"),
                                (b"RCPT TO:<archive@mail.test>", b"250"), (b"DATA", b"354")):
            if not accepted:
                return False
            client.send(command + b"\r\n")
            accepted = client.reply().startswith(wanted)
        # A dot at the beginning of a line is doubled (RFC 5321 4.5.2).
        client.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        accepted = client.reply().startswith(b"250")
        client.send(b"QUIT\r\n")
        client.reply()
        client.rest()
        return accepted


def read(port):
    """Reads the first message of the mailbox by IMAP, without TLS. Returns it."""
    with Client(port) as client:
        client.line()
        for tag, command in ((b"a1 ", b"LOGIN reader " + PASSWORD.split()[0]), (b"a2 ", b"SELECT INBOX")):
            client.send(tag + command + b"\r\n")
            if not client.until(tag).startswith(tag + b"OK"):
                return b""
        client.send(b"a3 UID FETCH 1 BODY[]\r\n")
        found = re.search(rb"\{(\d+)\}", client.until(b"* 1 FETCH"))
        message = client.read(int(found[1])) if found else b""
        client.until(b"a3 ")
        client.send(b"a4 LOGOUT\r\n")
        client.until(b"a4 ")
        client.rest()
        return message


def stored_message(folder):
    """Returns the content of the file that the server wrote."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        files = [path for path in folder.iterdir() if path.is_file()]
        if files:
            return files[0].read_bytes()
        time.sleep(0.01)
    return b""


class Scene:
    """The common parts of the scenes: a server with STARTTLS, and a client without."""

    protocol = "smtp"
    server_tls = "starttls"
    server_words = "accepts mail only after STARTTLS"
    heads = ("client to proxy, in the clear", "proxy to server, on the wire")
    hint = """\
For a real server, start the proxy like this and let the old device send to
port 2525:
  ./run --protocol smtp --listen 127.0.0.1:2525 \\
        --upstream smtp.example.com:587
The server's certificate must be valid for smtp.example.com."""

    def __init__(self, folder):
        self.folder = folder
        self.store = folder / "mail"
        self.store.mkdir()

    def arguments(self, port):
        """Returns the proxy's arguments for a server at this port."""
        return ["--protocol", self.protocol, "--listen", "127.0.0.1:0", "--upstream", f"127.0.0.1:{port}",
                "--server-name", "mail.test", "--ca-file", self.folder / "ca.pem"]

    def run(self, port):
        """Does the client's work. Returns the message as it has arrived."""
        return stored_message(self.store) if send(port) else b""

    def protected(self, client_side, server_side):
        """Returns the bytes of the side on which nothing may be readable."""
        del client_side
        return server_side


class Smtp(Scene):
    pass


class Imap(Scene):
    protocol = "imap"
    server_words = "has mail, for clients with STARTTLS only"
    hint = """\
For a real server, start the proxy like this and let the old mail program
read from port 1143:
  ./run --protocol imap --listen 127.0.0.1:1143 \\
        --upstream imap.example.com:993 --upstream-tls implicit"""

    def __init__(self, folder):
        super().__init__(folder)
        (self.store / "000001.eml").write_bytes(MESSAGE)

    def run(self, port):
        return read(port)


class Terminate(Scene):
    server_tls = "none"
    server_words = "knows no TLS"
    heads = ("client to proxy, on the wire", "proxy to server, in the clear")
    hint = """\
For a server of your own that knows no TLS, with your certificate:
  ./run --protocol imap --listen 127.0.0.1:143 --downstream-tls starttls \\
        --chain mail.pem --key mail.key \\
        --upstream 127.0.0.1:1143 --upstream-tls none"""

    def arguments(self, port):
        return ["--protocol", "smtp", "--listen", "127.0.0.1:0", "--downstream-tls", "starttls",
                "--chain", self.folder / "server.pem", "--key", self.folder / "server.key",
                "--upstream", f"127.0.0.1:{port}", "--upstream-tls", "none"]

    def run(self, port):
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        return stored_message(self.store) if send(port, context) else b""

    def protected(self, client_side, server_side):
        return client_side


class Login(Scene):
    server_words = "wants STARTTLS and a login"
    hint = """\
The client has no password: the proxy has logged in with its own, from a file.
docs/login.md and docs/recipes show this for real providers."""

    def arguments(self, port):
        password = self.folder / "password"
        password.write_bytes(PASSWORD + b"\n")
        password.chmod(0o600)
        config = self.folder / "proxy.toml"
        config.write_text(f"""
[[service]]
name = "scanner"
protocol = "smtp"
listen = "127.0.0.1:0"
upstream.address = "127.0.0.1:{port}"
upstream.server_name = "mail.test"
upstream.ca_file = "ca.pem"

[service.login]
when = "connect"
user = "scanner@office.test"
file = "password"
""", encoding="utf-8")
        return ["--config", config]


SCENES = {"smtp": Smtp, "imap": Imap, "terminate": Terminate, "login": Login}


def play(make_scene, build):
    screen = Screen()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="starttls-")))
        subprocess.run([build / "tools/pki/make-pki", folder], check=True, stdout=subprocess.DEVNULL)
        scene = make_scene(folder)
        server = stack.enter_context(Program(
            [build / "tools/mail_server/backend", "--protocol", scene.protocol, "--listen", "127.0.0.1:0",
             "--tls", scene.server_tls, "--store", scene.store,
             *(["--chain", folder / "server.pem", "--key", folder / "server.key"]
               if scene.server_tls != "none" else [])], "stdout", r"listening 127\.0\.0\.1:(\d+)"))
        to_server = Tap(screen.right, server.port)
        proxy = stack.enter_context(Program(
            [build / "proxy/starttls-proxy", *scene.arguments(to_server.port)], "stderr", LISTENING))
        to_proxy = Tap(screen.left, proxy.port)

        print(f"A server that {scene.server_words} listens on port {server.port}.\n"
              f"starttls-proxy listens on port {proxy.port}.\n")
        screen.heads(*scene.heads)
        arrived = scene.run(to_proxy.port)
        to_proxy.finish()
        to_server.finish()
        print("\nThe session in the proxy's log:\n")
        screen.paragraph(proxy.line(r".*outcome=.*")[0].strip())
        print()

    exact = arrived == MESSAGE
    wire = scene.protected(to_proxy.seen, to_server.seen)
    private = not any(line in wire for line in (*MESSAGE.split(b"\r\n"), PASSWORD) if line)
    screen.verdict(f"Message arrived, {len(MESSAGE)} bytes unchanged:", "yes" if exact else "NO", exact)
    screen.verdict("Any line of it readable on the wire:", "no" if private else "YES", private)
    print(f"\n{scene.hint}\nOther demos: ./run demo {'|'.join(SCENES)}. All options: ./run --help")
    return 0 if exact and private else 1


def main():
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and sys.argv[2] not in SCENES):
        sys.stderr.write(f"usage: demo.py BUILD_FOLDER [{'|'.join(SCENES)}]\n")
        return 64
    sys.stdout.reconfigure(errors="replace")  # not every terminal has the euro sign
    return play(SCENES[sys.argv[2] if len(sys.argv) == 3 else "smtp"], pathlib.Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())

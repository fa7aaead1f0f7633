"""Walks the way of an administrator with the service: install, start, reload, restart, upgrade, purge.
Prints each step.

    service_walk.py FOLDER   has one package of starttls-proxy

Run it as root in a Debian of its own, with systemd as its first process, as tests/platforms/service does.
"""

import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from steps import configure, install, mail, make_a_mistake, older, relays, run, step  # pylint: disable=wrong-import-position

FOLDER = pathlib.Path(sys.argv[1])
UNIT = "starttls-proxy.service"
WARNING = 4  # of syslog; lower numbers are worse


def journal():
    """Returns the entries of the unit so far."""
    run("journalctl", "--sync")
    lines = run("journalctl", "--unit", UNIT, "--output", "json").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


class News:
    """The entries of the unit's journal since this object was made."""

    def __init__(self):
        self._old = len(journal())

    def entries(self):
        return journal()[self._old:]

    def wait_for(self, words):
        deadline = time.monotonic() + mail.DEADLINE
        while not any(words in entry["MESSAGE"] for entry in self.entries()):
            if time.monotonic() > deadline:
                sys.exit(f"no line with '{words}': {self.texts()}")
            time.sleep(0.1)

    def texts(self):
        return [f'<{entry["PRIORITY"]}> {entry["MESSAGE"]}' for entry in self.entries()]


def show(name, unit=UNIT):
    return run("systemctl", "show", "--property", name, "--value", unit).strip()


def says(text):
    for line in text if isinstance(text, list) else [text]:
        print(f"walk:   {line}", flush=True)


def drop_in(unit, text):
    """Does what `systemctl edit` does."""
    path = pathlib.Path(f"/etc/systemd/system/{unit}.d/override.conf")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    run("systemctl", "daemon-reload")
    return path


def keep_the_key_as_a_credential(good, server):
    """Gives the service a second port, with TLS. Root alone can read its key."""
    port = mail.free_port()
    chain = mail.FOLDER / "mail.pem"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost", "-keyout", "/root/mail.key", "-out", chain)
    edited = drop_in(UNIT, "[Service]\nLoadCredential=mail.key:/root/mail.key\n"
                           "ExecReload=\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n")
    mail.CONFIGURATION.write_text(f"""{good}
[[service]]
name                    = "front"
protocol                = "smtp"
listen                  = "127.0.0.1:{port}"
downstream.tls          = "implicit"
downstream.certificates = [{{ chain = "mail.pem", key = "${{CREDENTIALS_DIRECTORY}}/mail.key" }}]
upstream.address        = "localhost:{server.port}"
upstream.ca_file        = "ca.pem"
""", encoding="utf-8")
    run("systemctl", "restart", UNIT)
    context = ssl.create_default_context(cafile=chain)
    with socket.create_connection(("127.0.0.1", port), mail.DEADLINE) as plain, \
            context.wrap_socket(plain, server_hostname="localhost") as client:
        assert client.recv(1024).startswith(b"220 ")
    news = News()
    run("systemctl", "reload", UNIT)
    news.wait_for("msg=reloaded")
    edited.unlink()
    run("systemctl", "daemon-reload")


def ask_for_a_token(user):
    """Asks the token socket as this user. Returns what it says, or the error's name."""
    program = """
import socket
try:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("/run/starttls-proxy-token/socket")
        s.sendall(b"scan@example.com\\n")
        print(repr(s.recv(1024)))
except OSError as error:
    print(type(error).__name__)
"""
    return run("runuser", "-u", user, "--", "python3", "-c", program).strip()


def replies_during_a_restart(port):
    """Restarts the service while a client connects. Returns the client's greeting."""
    restart = subprocess.Popen(["systemctl", "restart", UNIT])
    with restart, socket.create_connection(("127.0.0.1", port), mail.DEADLINE) as client:
        greeting = client.recv(1024)
    assert restart.returncode == 0
    return greeting


def main():
    [package] = FOLDER.glob("starttls-proxy_*.deb")
    # Many systems have no /bin/kill, and a reload must not need it.
    assert not shutil.which("kill")

    step("install version 0.0.9")
    says([line for line in install(older(package)).splitlines() if line.startswith("starttls-proxy: ")])
    assert run("systemctl", "is-enabled", UNIT).strip() == "enabled"

    step("start it before there is a configuration")
    run("systemctl", "start", UNIT)
    status = run("systemctl", "status", UNIT, status=3)
    [missing] = [line for line in status.splitlines()
                 if "/etc/starttls-proxy/starttls-proxy.toml was not met" in line]
    says(missing.strip())

    step("configure it with the sample, and restart")
    server, port = mail.Server(), mail.free_port()
    configure(server, port)
    run("systemctl", "restart", UNIT)
    assert show("StatusText") == "0 sessions, 1 service", show("StatusText")
    says(show("StatusText"))
    relays(server, port, "the first mail")

    step("reload with a typing error")
    news, process = News(), show("MainPID")
    good = make_a_mistake()
    run("systemctl", "reload", UNIT, status=1)
    news.wait_for("unknown key 'service.upstream.adress'")
    says([text for text in news.texts() if text < f"<{WARNING + 1}>"])
    relays(server, port, "the old configuration")

    step("correct it and reload")
    mail.CONFIGURATION.write_text(good, encoding="utf-8")
    news = News()
    run("systemctl", "reload", UNIT)
    news.wait_for("msg=reloaded")
    assert show("MainPID") == process

    step("a server that cannot be reached is a warning in the journal")
    news = News()
    mail.CONFIGURATION.write_text(good.replace(f"localhost:{server.port}", f"localhost:{mail.free_port()}"),
                                  encoding="utf-8")
    run("systemctl", "reload", UNIT)
    news.wait_for("msg=reloaded")
    with socket.create_connection(("127.0.0.1", port), mail.DEADLINE) as client:
        while client.recv(1024):
            pass
    news.wait_for("outcome=unreachable")
    warnings = [entry["MESSAGE"] for entry in news.entries() if int(entry["PRIORITY"]) == WARNING]
    says(warnings)
    assert any("session failed" in text for text in warnings), news.texts()
    # The journal has the time already.
    assert not any("time=" in text for text in warnings), warnings

    step(f"upgrade to {package.name}")
    mail.CONFIGURATION.write_text(good, encoding="utf-8")
    install(package)
    assert show("MainPID") not in ("0", process)
    relays(server, port, "the new version")

    step("let systemd open the port, and restart while a client connects")
    drop_in("starttls-proxy.socket", f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n")
    ours = f'"127.0.0.1:{port}"'
    assert ours in good
    mail.CONFIGURATION.write_text(good.replace(ours, '"systemd:smtp"'), encoding="utf-8")
    run("systemctl", "stop", UNIT)
    run("systemctl", "start", "starttls-proxy.socket")
    greeting = replies_during_a_restart(port)
    assert greeting.startswith(b"220 "), greeting
    relays(server, port, "through systemd's socket")

    step("stop it: nothing alarming in the journal")
    news = News()
    run("systemctl", "stop", "starttls-proxy.socket", UNIT)
    says(news.texts())
    assert all(int(entry["PRIORITY"]) > WARNING for entry in news.entries())
    assert show("Result") == "success"

    step("keep a key as a credential of systemd")
    keep_the_key_as_a_credential(good, server)

    step("ask for a token without an account")
    run("systemctl", "start", "starttls-proxy-token.socket")
    assert ask_for_a_token("nobody") == "PermissionError"
    assert ask_for_a_token("starttls-proxy") == "b''"
    reasons = run("journalctl", "--unit", "starttls-proxy-token@*", "--priority", "err", "--output", "cat")
    assert "starttls-token: " in reasons, reasons
    says(reasons.splitlines())

    step("purge it while it runs")
    mail.CONFIGURATION.write_text(good, encoding="utf-8")
    run("systemctl", "start", UNIT)
    run("apt-get", "-qq", "--yes", "purge", "starttls-proxy")
    assert show("ActiveState") == "inactive"
    assert show("LoadState") == "not-found"
    mail.remove_configuration()

    step("install it again, and run its autopkgtest")
    install(package)
    relay = pathlib.Path(__file__).resolve().parents[2] / "debian/tests/relay"
    says([line for line in run(relay).splitlines() if line.startswith("ok: ")])


main()

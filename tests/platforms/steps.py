"""The steps of an administrator with the Debian package, for the two walks: package_walk.py and
service_walk.py. Both run as root in a Debian of their own."""

import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "debian/tests"))
import mail  # pylint: disable=wrong-import-position,import-error

SAMPLE = mail.FOLDER / "starttls-proxy.toml.example"


def run(*command, status=0):
    """Runs a command that must end with this status. Returns its text on both outputs."""
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode != status:
        sys.exit(f"{' '.join(map(str, command))}: status {ended.returncode}, not {status}\n{ended.stdout}")
    return ended.stdout


def step(text):
    print(f"walk: {text}", flush=True)


def install(package):
    return run("apt-get", "-qq", "--yes", "--no-install-recommends", "install", package)


def older(package):
    """Makes the same package with a lower version, beside it."""
    folder = package.parent / "older"
    run("dpkg-deb", "--raw-extract", package, folder)
    control = folder / "DEBIAN/control"
    text = control.read_text(encoding="utf-8")
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 0.0.9", text), encoding="utf-8")
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", folder, package.parent / "older.deb")
    return package.parent / "older.deb"


def configure(server, port):
    """Does as the sample says: copies it, and puts in the server."""
    text = SAMPLE.read_text(encoding="utf-8")
    for before, after in (
            ('smtp.example.com:587"\n', f'localhost:{server.port}"\nupstream.ca_file = "ca.pem"\n'),
            ("127.0.0.1:2525", f"127.0.0.1:{port}")):
        assert before in text, before
        text = text.replace(before, after)
    mail.CONFIGURATION.write_text(text, encoding="utf-8")
    (mail.FOLDER / "ca.pem").write_text(server.certificate, encoding="ascii")


def make_a_mistake():
    """Puts a typing error into the configuration. Returns the text before."""
    good = mail.CONFIGURATION.read_text(encoding="utf-8")
    mail.CONFIGURATION.write_text(good.replace("upstream.address", "upstream.adress"), encoding="utf-8")
    return good


def relays(server, port, text):
    mail.send(port, text)
    assert any(text in received for received in server.mails), server.mails
    print("walk:   a mail arrives over TLS", flush=True)

"""Tests the Debian package. It is made, inspected and unpacked, and the program in it is run. Then it is
installed, upgraded, removed and purged in a small Debian.

    package.py BUILD_FOLDER HOST   HOST is a tree and its archives, from tests/lint/package_host

The package is that of debian/rules, with the programs of the build folder. Nothing is compiled, so Debian's
compiler flags are missing. tools/package/deb makes the real package, and tests/platforms/package installs
that one.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD, HOST = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "e2e"))
from support import main  # pylint: disable=wrong-import-position

FILES = """
    etc/starttls-proxy/starttls-proxy.toml.example
    usr/bin/starttls-token
    usr/lib/systemd/system/starttls-proxy.service usr/lib/systemd/system/starttls-proxy.socket
    usr/lib/systemd/system/starttls-proxy-token.socket
    usr/lib/systemd/system/starttls-proxy-token@.service
    usr/lib/sysusers.d/starttls-proxy.conf
    usr/lib/tmpfiles.d/starttls-proxy.conf usr/sbin/starttls-proxy
    usr/share/bash-completion/completions/starttls-proxy
    usr/share/bash-completion/completions/starttls-token
    usr/share/doc/starttls-proxy/changelog.gz usr/share/doc/starttls-proxy/copyright
    usr/share/lintian/overrides/starttls-proxy usr/share/man/man1/starttls-token.1.gz
    usr/share/man/man5/starttls-proxy.toml.5.gz
    usr/share/man/man8/starttls-proxy.8.gz""".split()
DEB = None  # its path
LIBUV = "libuv1(?:t64)?"  # Debian 12 and 13
EXAMPLES = "usr/share/doc/starttls-proxy/examples"
SAMPLE = "etc/starttls-proxy/starttls-proxy.toml.example"
ENABLED = "etc/systemd/system/multi-user.target.wants/starttls-proxy.service"
USER = "starttls-proxy"

# Files that dpkg and the tools that make users write for themselves.
OTHERS = re.compile(
    r"var/lib/dpkg/|var/log/dpkg.log$|etc/(passwd|group|shadow|gshadow)-?$|etc/.pwd.lock$")
# Replaces systemd. It says that everything is enabled and runs, and remembers the commands that it got.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/asked
case "$*" in *is-enabled*) echo enabled ;; esac
"""


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def make(folder, **environment):
    """Makes the package in `folder`, and returns its path."""
    shutil.copytree(ROOT / "debian", folder / "source/debian")
    environment = {**os.environ, "STARTTLS_BUILD": BUILD, "DEB_RULES_REQUIRES_ROOT": "no",
                   "DEB_BUILD_OPTIONS": "noautodbgsym", **environment}
    made = subprocess.run(["debian/rules", "binary"], cwd=folder / "source", env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode != 0:
        raise AssertionError(made.stdout)
    [deb] = folder.glob("*.deb")
    return deb


def setUpModule():
    global DEB  # pylint: disable=global-statement
    DEB = make(pathlib.Path(unittest.enterModuleContext(tempfile.TemporaryDirectory())))


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.root = cls.folder / "root"
        run("dpkg-deb", "--extract", DEB, cls.root)
        cls.control = cls.folder / "control"
        run("dpkg-deb", "--control", DEB, cls.control)
        cls.program = cls.root / "usr/sbin/starttls-proxy"
        cls.token = cls.root / "usr/bin/starttls-token"

    def test_it_has_exactly_the_expected_files(self):
        expected = set(FILES) | {f"{EXAMPLES}/reference.toml"}
        expected |= {f"{EXAMPLES}/{path.name}" for path in (ROOT / "conf/examples").iterdir()}
        # Files that examples, manual and units refer to. None of them has an effect by itself.
        documents = pathlib.Path(EXAMPLES).parent
        for folder in ("nftables", "helm", "kubernetes", "prometheus", "grafana",
                       "systemd/starttls-proxy.service.d"):
            source = ROOT / "conf" / folder
            files = [path for path in source.rglob("*") if path.is_file()]
            self.assertTrue(files, folder)
            expected |= {str(documents / source.name / path.relative_to(source)) for path in files}
        pages = [ROOT / "bench/chart.svg", *(ROOT / "docs").rglob("*.md"),
                 *(ROOT / "docs").rglob("*.svg"),
                 *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "SECURITY", "CONTRIBUTING"))]
        expected |= {str(documents / path.relative_to(ROOT)) for path in pages}
        self.assertEqual({str(path.relative_to(self.root)) for path in self.root.rglob("*")
                          if path.is_file()}, expected)
        for path in self.root.rglob("*"):
            wanted = 0o755 if path.is_dir() or path in (self.program, self.token) else 0o644
            self.assertEqual(path.stat().st_mode & 0o7777, wanted, path)

    def test_it_depends_on_the_libraries_of_the_program(self):
        depends = run("dpkg-deb", "--field", DEB, "Depends")
        for package in ("ca-certificates", "android-libboringssl", LIBUV, "libc6", r"libstdc\+\+6",
                        "libcurl3(?:t64)?-gnutls", "libgnutls30(?:t64)?"):
            self.assertRegex(depends, rf"(^|, ){package}( \(|,|$)")
        self.assertRegex(depends, r"\bsystemd \| systemd-standalone-sysusers\b")

    def test_the_program_in_it_runs(self):
        version = run(self.program, "--version")
        self.assertIn("BoringSSL", version)
        self.assertIn("starttls-token ", run(self.token, "--version"))
        # The programs must not find the libraries of the build folder.
        for program in (self.program, self.token):
            self.assertNotIn(str(BUILD), run("readelf", "-d", program))
        # Only the proxy has a reason to look into BoringSSL's folder.
        self.assertNotIn("RUNPATH", run("readelf", "-d", self.token))

    def test_its_examples_pass_the_check(self):
        folder = self.folder / "examples"
        shutil.copytree(self.root / EXAMPLES, folder)
        run(BUILD / "tools/pki/make-pki", self.folder / "pki")
        texts = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir()
                        if path.name != "reference.toml")
        for name in set(re.findall(r"\$\{file:([a-z.-]+)\}", texts)):
            (folder / name).write_text("s3cret\n", encoding="utf-8")
        for name in set(re.findall(r'"([a-z.-]+\.(?:pem|key))"', texts)):
            shutil.copy(self.folder / "pki" / f"server{pathlib.Path(name).suffix}", folder / name)
        for path in sorted(folder.glob("*.toml")):
            if path.name == "reference.toml":
                continue
            result = subprocess.run([self.program, "--config", path, "--check"],
                                    capture_output=True, text=True,
                                    env={**os.environ, "MAIL_SERVER": "smtp.example.com"})
            self.assertEqual(result.returncode, 0, f"{path.name}: {result.stderr}")
            self.assertRegex(result.stdout, r"(?m)^service ")

    def test_its_sample_passes_the_check(self):
        folder = self.folder / "sample"
        (folder / "keys").mkdir(parents=True)
        run(BUILD / "tools/pki/make-pki", self.folder / "sample-pki")
        for kind in ("pem", "key"):
            shutil.copy(self.folder / f"sample-pki/server.{kind}", folder / f"keys/mail.example.com.{kind}")
        sample = (self.root / SAMPLE).read_text(encoding="utf-8")
        everything = re.sub(r"(?m)^#(?=\S)", "", sample)
        for text, services in ((sample, 1), (everything, 2)):
            (folder / "starttls-proxy.toml").write_text(text, encoding="utf-8")
            result = subprocess.run([self.program, "--config", folder / "starttls-proxy.toml", "--check"],
                                    capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(len(re.findall(r"(?m)^service ", result.stdout)), services)

    def test_two_packages_of_the_same_programs_are_equal(self):
        other = self.folder / "a-folder-of-another-length"
        previous = os.umask(0o077)
        try:
            again = make(other, TZ="Asia/Tokyo", LC_ALL="C")
        finally:
            os.umask(previous)
        self.assertEqual(again.read_bytes(), DEB.read_bytes())

    def test_lintian_is_content(self):
        if not shutil.which("lintian"):
            self.skipTest("lintian is not here")
        said = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", DEB],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual((said.returncode, said.stdout), (0, ""))

    def test_the_packages_to_build_it_are_those_of_the_setup(self):
        control = (ROOT / "debian/control").read_text(encoding="utf-8")
        [needs] = re.findall(r"(?m)^Build-Depends:((?:.*\n)(?: .*\n)*)", control)
        needs = set(re.findall(r"(?m)^ ([a-z0-9.+-]+)", needs))
        setup = (ROOT / "tests/setup/install").read_text(encoding="utf-8")
        installed = set(" ".join(re.findall(r'\bbuild="([^"]*)"', setup)).split())
        self.assertEqual(needs - installed, {"debhelper-compat", "dh-sequence-installsysusers"})

    def test_its_version_is_that_of_its_changelog(self):
        changelog = run("zcat", self.root / "usr/share/doc/starttls-proxy/changelog.gz")
        version = run("dpkg-deb", "--field", DEB, "Version").strip()
        self.assertTrue(changelog.startswith(f"starttls-proxy ({version}) "), changelog)
        self.assertIn(version, run(self.program, "--version"))

    def test_its_service_restarts_and_sees_its_addresses(self):
        text = (self.root / "usr/lib/systemd/system/starttls-proxy.service").read_text(
            encoding="utf-8")
        unit, _, service = text.partition("[Service]\n")
        # Without this, five starts within ten seconds would be the last ones. But an address may come later.
        self.assertIn("\nStartLimitIntervalSec=0\n", unit)
        self.assertIn("\nRestart=on-failure\n", service)
        self.assertIn("\nRestartSec=1s\n", service)
        # getifaddrs(3) needs it. Without it the program does not know the host's own addresses.
        [families] = re.findall(r"(?m)^RestrictAddressFamilies=(.*)$", service)
        self.assertIn("AF_NETLINK", families.split())

    def test_its_scripts_are_well_formed(self):
        for name in ("postinst", "prerm", "postrm"):
            run("sh", "-n", self.control / name)
            self.assertEqual((self.control / name).stat().st_mode & 0o777, 0o755)

    def test_its_units_are_well_formed_and_hardened(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not here")
        folder = "usr/lib/systemd/system/starttls-proxy"
        services = (f"{folder}.service", f"{folder}-token@.service")
        units = (*services, f"{folder}.socket", f"{folder}-token.socket")
        root = self.folder / "host"  # has the units and the commands that they name
        for name in (*units, "usr/sbin/starttls-proxy", "usr/bin/starttls-token", "bin/sh"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch(0o755)
        for name in units:
            (root / name).write_bytes((self.root / name).read_bytes())
            (root / name).chmod(0o644)
        # The other units of a host are missing here, so only messages about this unit count.
        said = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}",
             *(pathlib.Path(name).name.replace("@", "@1") for name in units)],
            capture_output=True, text=True)
        self.assertEqual((said.stdout + said.stderr, said.returncode), ("", 0))
        # 20 means 2.0 of 10.
        for service in services:
            run("systemd-analyze", "security", "--offline=true", "--threshold=20", root / service)


class Host:
    """A small Debian to install the package in. It has its own tree, and a dpkg that knows its content."""

    def __init__(self, root, source, *options):
        """Copies the tree `source`, with links, owners and modes. `options` are for cp."""
        self.root = root
        run("cp", "--archive", *options, source, root)

    def prepare(self):
        """Turns the tree that tests/peers/fetch has unpacked into an installed host."""
        for much in ("doc", "info", "locale", "man"):
            shutil.rmtree(self.root / "usr/share" / much)
        self.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        self.write("etc/group", "root:x:0:\n")
        database = self.root / "var/lib/dpkg"
        (database / "info").mkdir(exist_ok=True)
        status = []
        for archive in sorted((HOST / "archives").glob("*.deb")):
            fields = run("dpkg-deb", "--field", archive)
            status.append(f"Status: install ok installed\n{fields}")
            name, arch = (re.search(rf"^{key}: (.*)$", fields, re.M)[1]
                          for key in ("Package", "Architecture"))
            for file in (name, f"{name}:{arch}"):
                (database / "info" / f"{file}.list").touch()
        (database / "status").write_text("\n".join(status), encoding="utf-8")
        (self.root / "var/log").mkdir(exist_ok=True)
        # The file that the maintainer script of ca-certificates would make.
        self.write("etc/ssl/certs/ca-certificates.crt", "".join(
            path.read_text(encoding="ascii") for path in sorted(
                (self.root / "usr/share/ca-certificates/mozilla").glob("*.crt"))))
        shutil.copy(DEB, self.root / "tmp/package.deb")

    def write(self, path, text):
        (self.root / path).write_text(text, encoding="utf-8")

    def run(self, *command, user=None, **options):
        """Runs a command in the tree, as root or `user`. Returns its text on both outputs."""
        options = {"check": True, **options}
        return subprocess.run(
            ["chroot", *([f"--userspec={user}:{user}"] if user else []), self.root, "/usr/bin/env", "-i",
             "PATH=/usr/sbin:/usr/bin", "LC_ALL=C", *command], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **options).stdout

    def files(self):
        return {name for name in (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
                if not OTHERS.match(name)}

    def boot(self):
        """Adds a systemd to the host, for commands from now on."""
        (self.root / "run/systemd/system").mkdir(parents=True)
        self.write("usr/bin/systemctl", SYSTEMCTL)
        (self.root / "usr/bin/systemctl").chmod(0o755)

    def asked(self):
        """Returns the commands that systemd got since the last call."""
        file = self.root / "asked"
        if not file.exists():
            return []
        lines = file.read_text(encoding="ascii").splitlines()
        file.unlink()
        return lines


@unittest.skipUnless(os.geteuid() == 0, "only root may chroot")
class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="starttls-host-")))
        cls.prepared = Host(cls.folder / "prepared", HOST / "root")
        cls.prepared.prepare()

    def setUp(self):
        # Hard links are quick. They are safe, since files are replaced there and never written to.
        self.host = Host(self.folder / self.id().rpartition(".")[2], self.prepared.root, "--link")
        self.before = self.host.files()

    def install(self):
        said = self.host.run("dpkg", "--install", "/tmp/package.deb", check=False)
        status = self.host.run("dpkg-query", "--show", "--showformat=${Status}", "starttls-proxy",
                               check=False)
        self.assertEqual(status, "install ok installed", said)
        for word in ("not found", "rror", "ailed"):
            self.assertNotIn(word, said)
        return said

    def links(self):
        """Returns the links in /etc/systemd/system and their targets."""
        folder = self.host.root / "etc/systemd/system"
        return {str(path.relative_to(folder)): os.readlink(path)
                for path in folder.rglob("*") if path.is_symlink()}

    def test_its_dependencies_are_sufficient(self):
        """The host has the dependencies and nothing else, and dpkg knows that they are needed."""
        self.install()
        self.assertIn("BoringSSL", self.host.run("starttls-proxy", "--version"))
        self.assertIn("Usage: ", self.host.run("starttls-token", "--help"))
        said = self.host.run("starttls-proxy", "--config", f"/{EXAMPLES}/office.toml", "--check",
                             user=USER)
        self.assertTrue(said.startswith("service office (smtp)\n"), said)
        self.assertIn("the system's trust store", said)
        [package] = re.findall(rf"(?:^|, )({LIBUV})\b", run("dpkg-deb", "--field", DEB, "Depends"))
        self.assertIn(f"starttls-proxy depends on {package}",
                      self.host.run("dpkg", "--remove", package, check=False))

    def test_it_makes_a_user_and_a_folder_for_keys(self):
        self.install()
        [entry] = [line.split(":") for line in
                   (self.host.root / "etc/passwd").read_text(encoding="utf-8").splitlines()
                   if line.startswith(f"{USER}:")]
        uid, shell = int(entry[2]), entry[6]
        self.assertTrue(0 < uid < 1000, uid)
        self.assertEqual(shell, "/usr/sbin/nologin")
        for name, owner, mode in (("etc/starttls-proxy", 0, 0o755),
                                  ("etc/starttls-proxy/keys", uid, 0o700),
                                  ("var/lib/starttls-proxy/tokens", uid, 0o700)):
            status = os.stat(self.host.root / name)
            self.assertEqual((status.st_uid, status.st_mode & 0o7777), (owner, mode), name)
        self.assertEqual(self.links(), {
            "multi-user.target.wants/starttls-proxy.service":
                "/lib/systemd/system/starttls-proxy.service"})

    def test_a_purge_leaves_nothing(self):
        self.install()
        self.host.run("dpkg", "--purge", "starttls-proxy")
        self.assertEqual(self.host.files() ^ self.before, set())
        # The user stays, as usual in Debian: it may own files anywhere.
        self.assertIn(f"\n{USER}:", (self.host.root / "etc/passwd").read_text(encoding="utf-8"))

    def test_the_administrators_files_stay(self):
        self.install()
        own = ("etc/starttls-proxy/starttls-proxy.toml", "etc/starttls-proxy/keys/mail.key",
               "var/lib/starttls-proxy/tokens/a.json")
        for name in own:
            self.host.write(name, "")
        self.host.run("dpkg", "--remove", "starttls-proxy")
        self.assertFalse({name for name in self.host.files() - self.before if name.startswith("usr/")})
        self.install()
        self.host.run("dpkg", "--purge", "starttls-proxy")
        self.assertEqual(self.host.files() - self.before,
                         {*own, "etc/starttls-proxy", "etc/starttls-proxy/keys",
                          "var/lib/starttls-proxy", "var/lib/starttls-proxy/tokens"})

    def test_a_service_that_was_switched_off_stays_off(self):
        self.install()
        (self.host.root / ENABLED).unlink()
        self.install()  # an upgrade
        self.assertEqual(self.links(), {})

    def test_a_removed_service_comes_back_as_it_was(self):
        self.install()
        before = self.links()
        for links in (before, {}):
            if not links:
                (self.host.root / ENABLED).unlink()
            self.host.run("dpkg", "--remove", "starttls-proxy")
            self.install()
            self.assertEqual(self.links(), links)

    def test_a_new_installation_says_what_to_do_next(self):
        words = "copy /etc/starttls-proxy/starttls-proxy.toml.example to starttls-proxy.toml"
        self.assertIn(words, self.install())
        self.host.write("etc/starttls-proxy/starttls-proxy.toml", "")
        self.assertNotIn(words, self.install())

    def test_systemd_is_notified(self):
        """systemd must start it, restart it after an upgrade while its sockets stay, and stop both."""
        self.host.boot()
        self.install()
        self.assertEqual(self.started(), ["start starttls-proxy.service"])
        self.install()
        self.assertEqual(self.started(), ["restart starttls-proxy.service"])
        self.host.run("dpkg", "--remove", "starttls-proxy")
        self.assertEqual(self.started(), [
            "stop starttls-proxy.socket starttls-proxy-token.socket", "stop starttls-proxy.service"])

    def started(self):
        """Returns the commands for running units. Before them, systemd must have read its units again."""
        asked = self.host.asked()
        self.assertTrue(any("daemon-reload" in line for line in asked), asked)
        lines = (" ".join(word for word in line.split() if not word.startswith("-")) for line in asked)
        return [line for line in lines if line.startswith(("start ", "restart ", "stop "))]


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C.UTF-8"
    del sys.argv[1:]  # unittest would read them as names of tests
    main.main()

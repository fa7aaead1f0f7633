"""The Debian package: made, looked into, unpacked, and the program in it run.

    package.py BUILD_FOLDER
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(sys.argv[1]).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]

FILES = """
    usr/lib/systemd/system/starttls-proxy.service usr/lib/systemd/system/starttls-proxy.socket
    usr/lib/sysusers.d/starttls-proxy.conf
    usr/lib/tmpfiles.d/starttls-proxy.conf usr/sbin/starttls-proxy
    usr/share/bash-completion/completions/starttls-proxy
    usr/share/doc/starttls-proxy/changelog.gz usr/share/doc/starttls-proxy/copyright
    usr/share/lintian/overrides/starttls-proxy usr/share/man/man5/starttls-proxy.toml.5.gz
    usr/share/man/man8/starttls-proxy.8.gz""".split()
EXAMPLES = "usr/share/doc/starttls-proxy/examples"


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        run("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", cls.folder)
        [cls.deb] = cls.folder.glob("*.deb")
        cls.root = cls.folder / "root"
        run("dpkg-deb", "--extract", cls.deb, cls.root)
        cls.control = cls.folder / "control"
        run("dpkg-deb", "--control", cls.deb, cls.control)
        cls.program = cls.root / "usr/sbin/starttls-proxy"

    def test_it_has_what_it_should_and_no_more(self):
        expected = set(FILES) | {f"{EXAMPLES}/reference.toml"}
        expected |= {f"{EXAMPLES}/{path.name}" for path in (ROOT / "conf/examples").iterdir()}
        self.assertEqual({str(path.relative_to(self.root)) for path in self.root.rglob("*")
                          if path.is_file()}, expected)
        for path in self.root.rglob("*"):
            wanted = 0o755 if path.is_dir() or path == self.program else 0o644
            self.assertEqual(path.stat().st_mode & 0o7777, wanted, path)

    def test_it_depends_on_the_libraries_of_the_program(self):
        depends = run("dpkg-deb", "--field", self.deb, "Depends")
        for package in ("ca-certificates", "android-libboringssl", "libuv1", "libc6", "libstdc++6"):
            self.assertRegex(depends, rf"(^|, ){re.escape(package)}( \(|,|$)")
        self.assertRegex(depends, r"\bsystemd \| systemd-standalone-sysusers\b")

    def test_the_program_in_it_runs(self):
        version = run(self.program, "--version")
        self.assertIn("BoringSSL", version)
        # What it was built beside is not what it is to find.
        self.assertNotIn(str(BUILD), run("readelf", "-d", self.program))

    def test_its_examples_pass_the_check(self):
        folder = self.folder / "examples"
        shutil.copytree(self.root / EXAMPLES, folder)
        run(BUILD / "bench/pki/make-pki", self.folder / "pki")
        for name in set(re.findall(r'"([a-z.-]+\.(?:pem|key))"', "".join(
                path.read_text(encoding="utf-8") for path in folder.iterdir()
                if path.name != "reference.toml"))):
            shutil.copy(self.folder / "pki" / f"server{pathlib.Path(name).suffix}", folder / name)
        for path in sorted(folder.glob("*.toml")):
            if path.name == "reference.toml":
                continue
            result = subprocess.run([self.program, "--config", path, "--check"],
                                    capture_output=True, text=True,
                                    env={**os.environ, "MAIL_SERVER": "smtp.example.com"})
            self.assertEqual(result.returncode, 0, f"{path.name}: {result.stderr}")
            self.assertTrue(result.stdout.startswith("service "), result.stdout)

    def test_its_version_is_that_of_its_changelog(self):
        changelog = run("zcat", self.root / "usr/share/doc/starttls-proxy/changelog.gz")
        version = run("dpkg-deb", "--field", self.deb, "Version").strip()
        self.assertTrue(changelog.startswith(f"starttls-proxy ({version}) "), changelog)
        self.assertIn(version, run(self.program, "--version"))

    def test_its_scripts_are_well_formed(self):
        for name in ("postinst", "prerm", "postrm"):
            run("sh", "-n", self.control / name)
            self.assertEqual((self.control / name).stat().st_mode & 0o777, 0o755)

    def test_its_units_are_well_formed_and_hardened(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not here")
        unit = "usr/lib/systemd/system/starttls-proxy.service"
        units = (unit, unit.replace(".service", ".socket"))
        root = self.folder / "host"  # of the unit, and of the commands that it names
        for name in (*units, "usr/sbin/starttls-proxy", "bin/kill"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch(0o755)
        for name in units:
            (root / name).write_bytes((self.root / name).read_bytes())
            (root / name).chmod(0o644)
        # Without the other units of a host: only what is said about this one counts.
        said = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}",
             *(pathlib.Path(name).name for name in units)], capture_output=True, text=True)
        self.assertEqual((said.stdout + said.stderr, said.returncode), ("", 0))
        # 20 is 2.0 of 10.
        run("systemd-analyze", "security", "--offline=true", "--threshold=20",
            root / unit)

    def test_lintian(self):
        if not shutil.which("lintian"):
            self.skipTest("lintian is not here")
        run("lintian", "--fail-on", "error,warning", self.deb)


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C.UTF-8"
    unittest.main(argv=sys.argv[:1], verbosity=2)

"""./run: what it shows while it builds, and what it starts. Scripts replace the installation and the build."""

import os
import pathlib
import pty
import shutil
import subprocess
import tempfile
import unittest

from support import main, wait
from support.environment import ROOT

INSTALL = """#!/bin/sh
echo "Setting up g++ (4:12)"
until [ -e {folder}/installed ]; do sleep 0.05; done
"""
CMAKE = """#!/bin/sh
case $* in
  *--build*) ;;
  *) exit 0 ;;
esac
echo "[1/2] Building CXX object lib/x.cc.o"
until [ -e {folder}/go ]; do sleep 0.05; done
exit {status}
"""


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-run-")))
        shutil.copy(ROOT / "run", self.folder / "run")
        self.write("tests/setup/install", "#!/bin/sh\n")
        self.write("tools/demo.py", 'import sys\nprint("demo", sys.argv[2:])\n')
        self.write("build/release/proxy/starttls-proxy", '#!/bin/sh\necho "proxy $*"\n')
        self.write("bin/cmake", CMAKE.format(folder=self.folder, status=0))

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    @property
    def environment(self):
        return {**os.environ, "TERM": "xterm", "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def run_it(self, *arguments):
        (self.folder / "go").touch()
        return subprocess.run([self.folder / "run", *arguments], check=False, capture_output=True,
                              text=True, timeout=wait.DEADLINE, env=self.environment)

    def test_it_starts_the_demo_or_the_proxy(self):
        for arguments, output in (((), "demo []\n"), (("demo", "imap"), "demo ['imap']\n"),
                                  (("--config", "a b"), "proxy --config a b\n")):
            done = self.run_it(*arguments)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, output, ""))

    def test_a_build_that_fails_is_shown(self):
        self.write("bin/cmake", CMAKE.format(folder=self.folder, status=1))
        done = self.run_it()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "[1/2] Building CXX object lib/x.cc.o\n")

    def test_a_terminal_sees_packages_and_the_build_move(self):
        self.write("tests/setup/install", INSTALL.format(folder=self.folder))
        terminal, other = pty.openpty()
        self.addCleanup(os.close, terminal)
        process = subprocess.Popen([self.folder / "run"], stdin=subprocess.DEVNULL, stdout=other,
                                   stderr=other, env=self.environment)
        os.close(other)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        text = b""
        while b"Setting up g++" not in text:  # the installation waits until it is seen, as the build does
            text += os.read(terminal, 4096)
        (self.folder / "installed").touch()
        while b"[1/2] Building" not in text:
            text += os.read(terminal, 4096)
        (self.folder / "go").touch()
        while b"demo []" not in text:
            text += os.read(terminal, 4096)
        self.assertEqual(process.wait(wait.DEADLINE), 0)
        # The line is wiped before the demo begins.
        self.assertIn(b"\r\033[Kdemo []", text)


if __name__ == "__main__":
    main.main()

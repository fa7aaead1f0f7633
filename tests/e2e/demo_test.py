"""tools/demo.py, which ./run starts: with the programs as they are, and with a proxy that dies."""

import os
import pathlib
import pty
import subprocess
import sys
import tempfile
import unittest

from support import main, wait
from support.environment import BACKEND, MAKE_PKI, PROXY, ROOT

DEMO = ROOT / "tools" / "demo.py"
LISTENING = "echo 'msg=listening service=smtp address=127.0.0.1:1' >&2\necho 'last words' >&2\n"


class Demo(unittest.TestCase):
    def build_folder(self, proxy=None):
        """Makes a build folder for the demo. If `proxy` is given, this shell script replaces the proxy."""
        build = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-demo-")))
        for program, place in ((MAKE_PKI, "tools/pki/make-pki"), (BACKEND, "tools/mail_server/backend"),
                               (PROXY, "proxy/starttls-proxy")):
            (build / place).parent.mkdir(parents=True)
            (build / place).symlink_to(program)
        if proxy is not None:
            path = build / "proxy" / "starttls-proxy"
            path.unlink()
            path.write_text(f"#!/bin/sh\n{proxy}\n", encoding="ascii")
            path.chmod(0o755)
        return build

    def demo(self, proxy=None, scene=(), **environment):
        return subprocess.run([sys.executable, DEMO, self.build_folder(proxy), *scene], check=False,
                              capture_output=True, text=True, timeout=60, env={**os.environ, **environment})

    def on_terminal(self, **environment):
        """Returns the output on a terminal."""
        main_end, other = pty.openpty()
        process = subprocess.Popen([sys.executable, DEMO, self.build_folder()], stdout=other, stderr=other,
                                   stdin=subprocess.DEVNULL,
                                   env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment})
        os.close(other)
        text = b""
        try:
            while piece := os.read(main_end, 65536):
                text += piece
        except OSError:  # the other end is closed
            pass
        os.close(main_end)
        self.assertEqual(process.wait(wait.DEADLINE), 0, text)
        return text.decode()

    def test_a_message_arrives(self):
        for scene in ((), ("smtp",), ("imap",), ("terminate",), ("login",)):
            with self.subTest(scene):
                done = self.demo(scene=scene)
                self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
                self.assertRegex(done.stdout, r"Message arrived, \d+ bytes unchanged: +yes")
                self.assertRegex(done.stdout, r"readable on the wire: +no")
                self.assertIn("TLS encrypted", done.stdout)
                self.assertNotIn("\033", done.stdout)
                self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80)

    def test_a_terminal_gets_colours_unless_they_are_switched_off(self):
        self.assertIn("\033[32m", self.on_terminal())
        self.assertNotIn("\033", self.on_terminal(NO_COLOR="1"))
        self.assertNotIn("\033", self.on_terminal(TERM="dumb"))

    def test_a_terminal_without_the_euro_sign(self):
        done = self.demo(PYTHONIOENCODING="ascii")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("-> Page one: ? 1.000", done.stdout)

    def test_an_unknown_scene(self):
        done = self.demo(scene=("nonsense",))
        self.assertEqual(done.returncode, 64)
        self.assertIn("smtp|imap|terminate|login", done.stderr)

    def test_a_proxy_that_dies_is_quoted(self):
        for end, words in (("exit 3", "exit status 3"), ("kill -ABRT $$", "signal SIGABRT")):
            for script in (LISTENING + end, "echo 'last words' >&2\n" + end):
                with self.subTest(script):
                    done = self.demo(script)
                    self.assertEqual(done.returncode, 1)
                    self.assertRegex(done.stderr,
                                     rf"starttls-proxy has ended \({words}\)\. It said:\n")
                    self.assertIn("last words\n", done.stderr)
                    self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    main.main()

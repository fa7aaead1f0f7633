"""tools/demo.py, which ./run starts: with the programs as they are, and with a proxy that dies."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

from support import main
from support.environment import BACKEND, MAKE_PKI, PROXY, ROOT

LISTENING = "echo 'msg=listening service=smtp address=127.0.0.1:1' >&2\necho 'last words' >&2\n"


class Demo(unittest.TestCase):
    def demo(self, proxy=None):
        """Runs the demo in a build folder. If `proxy` is given, this shell script replaces the proxy."""
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
        return subprocess.run([sys.executable, ROOT / "tools" / "demo.py", build], check=False,
                              capture_output=True, text=True, timeout=60)

    def test_a_message_arrives(self):
        done = self.demo()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertRegex(done.stdout, r"Message arrived, \d+ bytes unchanged: +yes")
        self.assertRegex(done.stdout, r"readable on the wire: +no")

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

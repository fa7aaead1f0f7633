"""Loads pages in headless Chromium, which tests/peers/fetch has unpacked. Only root may run it."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from . import wait
from .environment import ROOT

BROWSER = pathlib.Path(os.environ.get("STARTTLS_BROWSER") or ROOT / "build" / "browser") / "root"

_CONSOLE = re.compile(r":CONSOLE[(:]\d+\)?\] (.*)")


def require():
    """Skips the test if there is no browser."""
    if not (BROWSER.parent / "stamp").is_file() or os.geteuid() != 0:
        raise unittest.SkipTest("no browser: run tests/peers/fetch DIR chromium-headless-shell, as root")


@dataclasses.dataclass
class Visit:
    page: str       # the elements of the page that the browser ended at, with its scripts run
    console: list   # lines of the console: errors, and what a policy has stopped
    requests: list  # the addresses that the browser has asked, in order


def _chromium(folder, *options):
    """Runs Chromium. The folder is its /tmp."""
    argv = ["unshare", "--mount", "sh", "-c",
            'mount --rbind /proc "$0/proc" && mount --bind "$1" "$0/tmp" && shift && exec "$@"',
            str(BROWSER), str(folder),
            "env", "-i", "PATH=/usr/sbin:/usr/bin", "HOME=/tmp", "chroot", str(BROWSER),
            "/usr/lib/chromium/chromium-headless-shell", "--no-sandbox", "--disable-gpu",
            "--disable-dev-shm-usage", "--no-proxy-server", "--user-data-dir=/tmp/profile",
            "--enable-logging=stderr", *options]
    result = subprocess.run(argv, capture_output=True, text=True, check=False,
                            timeout=2 * wait.DEADLINE, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise AssertionError(f"chromium: {result.returncode}\n{result.stderr[-3000:]}")
    return result


def _requests(log):
    """Returns the addresses of the requests in a network log."""
    log = json.loads(log)
    kinds = log["constants"]["logEventTypes"]
    begun = kinds["URL_REQUEST_START_JOB"]
    return [event["params"]["url"] for event in log["events"]
            if event["type"] == begun and "url" in event.get("params", {})]


def visit(address, milliseconds=20000):
    """Opens an address, and lets this much of the browser's own time pass."""
    with tempfile.TemporaryDirectory(prefix="starttls-browser-") as folder:
        result = _chromium(folder, "--log-net-log=/tmp/net.json", f"--virtual-time-budget={milliseconds}",
                           "--dump-dom", address)
        requests = _requests((pathlib.Path(folder) / "net.json").read_text(encoding="utf-8"))
    return Visit(result.stdout, _CONSOLE.findall(result.stderr), requests)


def picture(address, file, size=(1280, 1000), dark=False):
    """Writes a picture of a page, as PNG."""
    with tempfile.TemporaryDirectory(prefix="starttls-browser-") as folder:
        _chromium(folder, f"--window-size={size[0]},{size[1]}", "--hide-scrollbars",
                  f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                  "--virtual-time-budget=2000", "--screenshot=/tmp/picture.png", address)
        pathlib.Path(file).write_bytes((pathlib.Path(folder) / "picture.png").read_bytes())

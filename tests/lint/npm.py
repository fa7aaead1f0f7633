"""Runs the scripts of tests/peers/npm with the packages that its fetch has unpacked."""

import json
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tests" / "peers" / "npm"
PACKAGES = pathlib.Path(os.environ.get("STARTTLS_NPM_PEERS") or ROOT / "build" / "npm-peers") / "node_modules"
MISSING = f"no packages in {PACKAGES}: run tests/peers/npm/fetch"


def are_here(*names):
    return shutil.which("node") is not None and all((PACKAGES / name).is_dir() for name in names)


def run(script, request):
    """Returns the JSON that a script makes of the request, which it gets as JSON."""
    done = subprocess.run(["node", SCRIPTS / script], input=json.dumps(request).encode(), capture_output=True,
                          timeout=60, check=False, env={"PATH": os.environ["PATH"], "NODE_PATH": str(PACKAGES)})
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    return json.loads(done.stdout)

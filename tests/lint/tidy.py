"""clang-tidy over the sources, two at a time, only where something has changed.

A file that was clean leaves a stamp named by the hash of everything its result depends on: the
checks, the compile command, its text and that of every project header below it.

    tidy.py BUILD_FOLDER STAMP_FOLDER
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("lib", "proxy")

_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def closure(path, seen):
    """The file and all project headers that it includes, however deep."""
    if path in seen or not path.is_file():
        return seen
    seen.add(path)
    for header in _INCLUDE.findall(path.read_text(encoding="utf-8")):
        closure(ROOT / header, seen)
    return seen


def key(entry, version):
    digest = hashlib.sha256(version + (ROOT / ".clang-tidy").read_bytes())
    digest.update(entry.get("command", "").encode())
    for path in sorted(closure(pathlib.Path(entry["file"]), set())):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def check(build, entry):
    result = subprocess.run(
        # The compile commands are g++'s; clang need not know its warnings.
        ["clang-tidy", "--quiet", "-p", build, "--extra-arg=-Wno-unknown-warning-option",
         entry["file"]], cwd=ROOT, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return result.returncode, result.stdout


def main():
    build, stamps = sys.argv[1], pathlib.Path(sys.argv[2])
    stamps.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    entries = {}
    for entry in json.loads((pathlib.Path(build) / "compile_commands.json").read_text()):
        name = os.path.relpath(entry["file"], ROOT)
        if name.startswith(tuple(folder + os.sep for folder in FOLDERS)):
            entries[name] = entry

    keys = {name: key(entry, version) for name, entry in entries.items()}
    dirty = [name for name in sorted(entries) if not (stamps / keys[name]).exists()]
    failed = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda name: check(build, entries[name]), dirty)
        for name, (status, output) in zip(dirty, results):
            if status == 0:
                (stamps / keys[name]).touch()
            else:
                failed.append(name)
                print(f"== {name}\n{output}", flush=True)
    for stamp in stamps.iterdir():
        if stamp.name not in keys.values():
            stamp.unlink()
    print(f"clang-tidy: {len(dirty)} of {len(entries)} files checked, {len(failed)} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs clang-tidy on the sources that have changed, several at a time.

A clean file leaves a stamp. Its name is the hash of everything that the result depends on: the
checks, the compile command, the file's text and the text of every project header below it.

clang-tidy spends nearly all of its time on the standard library's headers. So files of one folder
with the same compile flags are checked together, in bundles. A bundle with findings is halved until
it is one file. The same is done if two files of a bundle define the same name and do not compile.

    tidy.py BUILD_FOLDER STAMP_FOLDER
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("lib", "proxy", "token")
BUNDLE = 8

_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def closure(path, seen):
    """Returns the file and all project headers that it includes, at any depth."""
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


def flags(entry):
    """Returns the compile flags, without the names of the source and the object."""
    words = shlex.split(entry["command"])[1:]
    out = words.index("-o")
    return tuple(word for word in words[:out] + words[out + 2:] if word not in ("-c", entry["file"]))


def bundles(names, entries):
    """Yields the names in lists of files that can be checked together."""
    alike = {}
    for name in names:
        alike.setdefault((os.path.dirname(name), flags(entries[name])), []).append(name)
    for group in alike.values():
        parts = -(-len(group) // BUNDLE)
        for part in range(parts):
            yield group[part::parts]


def findings(names, entries, folder):
    """Returns (name, output of clang-tidy) for the files that are not clean."""
    with tempfile.NamedTemporaryFile("w", suffix=".cc", dir=folder) as bundle:
        bundle.writelines(f'#include "{entries[name]["file"]}"\n' for name in names)
        bundle.flush()
        result = subprocess.run(
            ["clang-tidy", "--quiet", f"--config-file={ROOT / '.clang-tidy'}",
             "--header-filter=(lib|proxy|token|bench|tools)/.*[.](h|cc)$", bundle.name,
             # The compile commands are for g++. clang need not know all of its warnings.
             "--", *flags(entries[names[0]]), "-Wno-unknown-warning-option"], cwd=ROOT, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if result.returncode == 0:
        return []
    if len(names) == 1:
        return [(names[0], result.stdout)]
    half = len(names) // 2
    return findings(names[:half], entries, folder) + findings(names[half:], entries, folder)


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
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        work = list(bundles(dirty, entries))
        for bundle, found in zip(work, pool.map(lambda names: findings(names, entries, folder), work)):
            for name, output in found:
                print(f"== {name}\n{output}", flush=True)
            failed += (name for name, _ in found)
            for name in bundle:
                if name not in failed:
                    (stamps / keys[name]).touch()
    for stamp in stamps.iterdir():
        if stamp.name not in keys.values():
            stamp.unlink()
    print(f"clang-tidy: {len(dirty)} of {len(entries)} files checked, {len(failed)} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

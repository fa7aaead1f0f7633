"""clang-tidy over the sources, several at a time, only where something has changed.

A file that was clean leaves a stamp named by the hash of everything its result depends on: the
checks, the compile command, its text and that of every project header below it.

Nearly all of clang-tidy's time goes to the standard library's headers, so files of one folder that
are compiled alike are looked at as one, in bundles. A bundle with findings, or one that does not
compile because two files use a name of their own each, is halved until it is one file.

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
FOLDERS = ("lib", "proxy")
BUNDLE = 8

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


def flags(entry):
    """What it is compiled with, but for its own name and that of the object."""
    words = shlex.split(entry["command"])[1:]
    out = words.index("-o")
    return tuple(word for word in words[:out] + words[out + 2:] if word not in ("-c", entry["file"]))


def bundles(names, entries):
    """The names in lists of files that may be looked at as one."""
    alike = {}
    for name in names:
        alike.setdefault((os.path.dirname(name), flags(entries[name])), []).append(name)
    for group in alike.values():
        parts = -(-len(group) // BUNDLE)
        for part in range(parts):
            yield group[part::parts]


def findings(names, entries, folder):
    """(name, what clang-tidy says) of those that are not clean."""
    with tempfile.NamedTemporaryFile("w", suffix=".cc", dir=folder) as bundle:
        bundle.writelines(f'#include "{entries[name]["file"]}"\n' for name in names)
        bundle.flush()
        result = subprocess.run(
            ["clang-tidy", "--quiet", f"--config-file={ROOT / '.clang-tidy'}",
             "--header-filter=(lib|proxy|bench|tools)/.*[.](h|cc)$", bundle.name,
             # The compile commands are g++'s; clang need not know its warnings.
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

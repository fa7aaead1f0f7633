"""Finds the shared libraries that a program needs, as the dynamic loader would, but in a pool of packages."""

import contextlib
import posixpath
import re
import subprocess
import sysconfig
import tempfile

_INTERPRETER = re.compile(r"\[Requesting program interpreter: (.*)\]")
_NEEDED = re.compile(r"\(NEEDED\).*\[(.*)\]")
_RUNPATH = re.compile(r"\(RUNPATH\).*\[(.*)\]")


def described(data):
    """Returns what readelf says about the bytes of a program or library."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return subprocess.run(["readelf", "--wide", "--program-headers", "--dynamic", file.name],
                              check=True, stdout=subprocess.PIPE, text=True).stdout


def needed(program, pool):
    """Returns the loader and the libraries of a program (its bytes), with the links to them: path -> file."""
    multiarch = sysconfig.get_config_var("MULTIARCH")
    usual = [f"/usr/lib/{multiarch}", "/usr/lib"]
    text = described(program)
    found = pool.follow(_INTERPRETER.search(text)[1])
    waiting, seen = [text], set()
    while waiting:
        text = waiting.pop()
        runpath = [folder for line in _RUNPATH.findall(text) for folder in line.split(":")]
        for name in _NEEDED.findall(text):
            if name in seen:
                continue
            seen.add(name)
            files = _library(name, (*runpath, *usual), pool)
            found |= files
            waiting.append(described(list(files.values())[-1].data))
    return found


def _library(name, folders, pool):
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            return pool.follow(posixpath.join(folder, name))
    raise FileNotFoundError(f"no package has the library {name}")

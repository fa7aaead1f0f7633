"""Compiles intruder.cc, which plays tricks on a daemon from inside."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

_SOURCE = pathlib.Path(__file__).with_name("intruder.cc")
_folder = None


def library():
    """Returns the path of the library to preload, compiled once."""
    global _folder  # pylint: disable=global-statement
    if _folder is None:
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        if compiler is None:
            raise unittest.SkipTest("no compiler")
        folder = tempfile.TemporaryDirectory(prefix="starttls-intruder-")
        subprocess.run([compiler, "-std=c++20", "-shared", "-fPIC", "-o", f"{folder.name}/intruder.so",
                        _SOURCE], check=True)
        _folder = folder  # removed with the program
    return pathlib.Path(_folder.name) / "intruder.so"

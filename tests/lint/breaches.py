"""A tree with faults in it, for the tests that a check can fail."""

import contextlib
import pathlib
import tempfile


@contextlib.contextmanager
def tree_of(files):
    """Makes a temporary folder with these files, name -> text, and returns its path."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        yield root

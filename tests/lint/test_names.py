"""Checks the names of tests: no test hides another one, and each mutant names tests that exist.

A second method of the same name in a Python class silently replaces the first one. A mutant that names a
test that was renamed fails only after the long run of all mutants.
"""

import ast
import collections
import pathlib
import re
import sys
import tomllib
import unittest

import breaches

ROOT = pathlib.Path(__file__).resolve().parents[2]

_KILLERS = re.compile(r"^Killers: (.*)$", re.M)


def classes(module):
    """Returns the classes of a Python file: name -> (names of its bases, names of its own tests)."""
    return {node.name: ([base.id for base in node.bases if isinstance(base, ast.Name)],
                        [method.name for method in node.body
                         if isinstance(method, ast.FunctionDef) and method.name.startswith("test")])
            for node in ast.parse(module.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef)}


def tests_of(name, found):
    """Returns the tests of a class and of its bases in the same file."""
    bases, own = found.get(name, ((), ()))
    return set(own).union(*(tests_of(base, found) for base in bases))


def hidden(root):
    """Yields each test that a later one of the same name in its class hides."""
    for path in sorted((root / "tests").rglob("*.py")):
        for name, (_, own) in classes(path).items():
            for method, times in collections.Counter(own).items():
                if times > 1:
                    yield f"{path.relative_to(root).as_posix()}: {name}.{method} is there {times} times"


def killers(root):
    """Yields (file, `module.Class.test`) for each test that a mutant names."""
    folder = root / "tests" / "mutants"
    for mutant, table in tomllib.loads((folder / "rules.toml").read_text(encoding="utf-8")).items():
        for killer in table["killers"]:
            yield f"rules.toml: {mutant}", killer
    for patch in sorted(folder.glob("*.patch")):
        for line in _KILLERS.findall(patch.read_text(encoding="utf-8").partition("\n\n")[0]):
            for killer in line.split(", "):
                yield patch.name, killer


def missing(root):
    """Yields each killer that does not exist."""
    for file, killer in killers(root):
        module, name, method = killer.split(".")
        path = root / "tests" / "e2e" / f"{module}.py"
        if not path.is_file() or method not in tests_of(name, classes(path)):
            yield f"{file}: there is no test {killer}"


class TestNames(unittest.TestCase):
    def test_no_test_hides_another(self):
        self.assertEqual(list(hidden(ROOT)), [])

    def test_the_tests_that_mutants_name_exist(self):
        self.assertEqual(list(missing(ROOT)), [])
        self.assertGreater(len(list(killers(ROOT))), 50)

    def test_a_violation_is_found(self):
        files = {
            "tests/e2e/a_test.py": "class Base:\n    def test_one(self): pass\n"
                                   "class A(Base):\n    def test_two(self): pass\n"
                                   "    def test_two(self): pass\n",
            "tests/mutants/rules.toml": '[x]\nkillers = ["a_test.A.test_one", "a_test.B.test_one"]\n',
            "tests/mutants/y.patch": "Rule: None.\nKillers: a_test.A.test_two, b_test.A.test_two\n\n--- a/x\n",
        }
        with breaches.tree_of(files) as root:
            self.assertEqual(list(hidden(root)), ["tests/e2e/a_test.py: A.test_two is there 2 times"])
            self.assertEqual(list(missing(root)), ["rules.toml: x: there is no test a_test.B.test_one",
                                                   "y.patch: there is no test b_test.A.test_two"])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
